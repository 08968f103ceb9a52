//! `#[derive(Job)]`: a payload type with a stable topic and its defaults.
//!
//! Everything in the attribute is checked while compiling, with the same functions that check it at
//! run time. The code that comes out names one crate of Longshore, whichever of them the user
//! depends on.

mod attribute;
mod krate;

use attribute::JobAttribute;
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use std::time::Duration;
use syn::{Data, DeriveInput, Error, Result};

/// Makes a type a job.
///
/// ```
/// use longshore_macros::Job;
/// use longshore_model::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Job)]
/// #[job(topic = "media/thumbnail", version = 2, retries = 5, retry_delay = "30s", timeout = "2m", expires_in = "1h")]
/// #[job(index = ["asset", "width"])]
/// struct Thumbnail {
///     asset: String,
///     width: u32,
/// }
///
/// assert_eq!(Thumbnail::TOPIC, "media/thumbnail");
/// assert_eq!(Thumbnail::options().retries, Some(5));
/// ```
///
/// | Key | Meaning | Default |
/// |---|---|---|
/// | `topic` | what kind of job it is: segments of letters, digits, `_` and `-`, joined by `/` | none: it must be given |
/// | `version` | version of the payload's shape, from 1 | 1 |
/// | `retries` | failures allowed before the last one; -1 without end | the queue's |
/// | `retry_delay` | fixed back-off between attempts | the queue's |
/// | `retry_for` | no attempt begins later than this after the start of the first that failed | the queue's |
/// | `retry_on` | rules by kind of error, parted by `;`: `"timeout=2; busy=100,30s,x2,10m"` | the handler's, then the queue's |
/// | `timeout` | longest run of one attempt | the queue's |
/// | `soft_timeout` | after so long an attempt is told that it had better come to an end | the queue's |
/// | `stall_timeout` | an attempt that gives no sign of life for so long is cancelled | the queue's |
/// | `expires_in` | not to be started later than this after it was accepted | no limit |
/// | `index` | fields of the payload that jobs are found by without a look at each, as paths with dots | none |
/// | `priority` | whose turn it is first where jobs wait for a limit: `"urgent"`, `"normal"`, `"low"` | the queue's |
/// | `placement` | where it runs: `"any"`, `"local_first"`, `"prefer_creator"`, `"leader"`, `"label:NAME=VALUE"`, `"prefer_label:NAME=VALUE"`, `"target:INSTANCE"` | the queue's |
/// | `crate` | path of the crate that has `Job` and `JobOptions`, where it is re-exported | found in Cargo.toml |
#[proc_macro_derive(Job, attributes(job))]
pub fn derive_job(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let expanded = syn::parse(input).and_then(|input| expand(&input));
    expanded.unwrap_or_else(|error| error.into_compile_error()).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    if let Data::Union(union) = &input.data {
        return Err(Error::new_spanned(
            union.union_token,
            "a job is a struct or an enum; a union cannot be serialised",
        ));
    }
    if !input.generics.params.is_empty() {
        let why = "a job is one concrete type: with parameters, different payloads would share one topic; remove \
                   them, or make one type for each";
        return Err(Error::new_spanned(&input.generics.params, why));
    }
    let attribute = JobAttribute::read(&input.ident, &input.attrs)?;
    let krate = krate::path(attribute.krate)?;
    let JobAttribute { topic, version, retries, retry_delay, retry_for, retry_on, .. } = attribute;
    let JobAttribute { timeout, soft_timeout, stall_timeout, expires_in, priority, placement, index, .. } = attribute;
    let version = version.map(|version| quote! { const VERSION: u32 = #version; });
    let options = [
        set("retries", retries),
        set("retry_delay", retry_delay.map(duration)),
        set("retry_for", retry_for.map(duration)),
        set("timeout", timeout.map(duration)),
        set("soft_timeout", soft_timeout.map(duration)),
        set("stall_timeout", stall_timeout.map(duration)),
        set("expires_in", expires_in.map(duration)),
        priority.map(|priority| named("priority", priority.as_str())),
        placement.map(|placement| named("placement", &placement.to_string())),
    ];
    let index = (!index.is_empty()).then(|| {
        quote! { options.index = [#(#index),*].into_iter().map(::std::string::String::from).collect(); }
    });
    let rules = (!retry_on.is_empty()).then(|| {
        quote! {
            if let ::core::result::Result::Ok(rules) = #krate::RetryRules::parse([#(#retry_on),*]) {
                options.retry_on = rules;
            }
        }
    });
    let name = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl #krate::Job for #name {
            const TOPIC: &'static str = #topic;
            #version
            fn options() -> #krate::JobOptions {
                #[allow(unused_mut)]
                let mut options = <#krate::JobOptions as ::core::default::Default>::default();
                #(#options)*
                #index
                #rules
                options
            }
        }
    })
}

fn set(field: &str, value: Option<impl ToTokens>) -> Option<TokenStream> {
    let field = proc_macro2::Ident::new(field, proc_macro2::Span::call_site());
    value.map(|value| quote! { options.#field = ::core::option::Option::Some(#value); })
}

/// Read from its text, so that a crate which re-exports `Job` need not export the type of the field.
fn named(field: &str, text: &str) -> TokenStream {
    let field = proc_macro2::Ident::new(field, proc_macro2::Span::call_site());
    quote! { options.#field = ::core::result::Result::ok(::core::str::FromStr::from_str(#text)); }
}

fn duration(span: Duration) -> TokenStream {
    let ms = longshore_model::span::ms(span);
    quote! { ::core::time::Duration::from_millis(#ms) }
}
