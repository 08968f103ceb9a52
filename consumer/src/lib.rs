//! Placeholder.

#[allow(unused_extern_crates, reason = "derive(Job) names this crate by its name, in its own tests as well")]
extern crate self as longshore_consumer;

#[cfg(feature = "program")]
#[doc(hidden)]
pub mod program;

pub use longshore_macros::Job;
pub use longshore_model::{Job, JobOptions};
