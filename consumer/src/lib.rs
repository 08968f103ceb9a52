//! Placeholder.

// So that `derive(Job)` finds this crate under its own name inside it as well.
extern crate self as longshore_consumer;

pub use longshore_macros::Job;
pub use longshore_model::{Job, JobOptions};
