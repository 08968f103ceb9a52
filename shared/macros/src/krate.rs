//! Which of Longshore's crates the generated code names.

use proc_macro_crate::{FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Error, Path, Result};

/// Crates that have `Job` and `JobOptions` at their root, in the order in which they are looked for.
const CANDIDATES: [&str; 3] = ["longshore-producer", "longshore-consumer", "longshore-model"];

/// The path of the crate: as the attribute says, else the first candidate among the dependencies in Cargo.toml,
/// under the name that they give it.
pub(crate) fn path(named: Option<Path>) -> Result<TokenStream> {
    if let Some(path) = named {
        return Ok(path.into_token_stream());
    }
    for candidate in CANDIDATES {
        let name = match crate_name(candidate) {
            // The crate itself, its tests or examples: its root declares its own name with `extern crate self`.
            Ok(FoundCrate::Itself) => candidate.replace('-', "_"),
            Ok(FoundCrate::Name(name)) => name,
            Err(_) => continue,
        };
        let name = Ident::new(&name, Span::call_site());
        return Ok(quote! { ::#name });
    }
    let why = "derive(Job) finds none of longshore-producer, longshore-consumer and longshore-model among the \
               dependencies: add one to Cargo.toml, or name the crate that re-exports it with \
               #[job(crate = \"path\")]";
    Err(Error::new(Span::call_site(), why))
}
