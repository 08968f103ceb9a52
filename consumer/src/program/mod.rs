//! What only the ready-made program needs: running a job as a process or as an HTTP request.
//!
//! These modules know jobs only as a payload and a few facts, and answer with an outcome of their own; how an outcome
//! becomes a state of the job is decided by whoever calls them. They keep no state between calls.

pub mod exec;
pub mod http;
pub mod reply;
