//! Longshore's vocabulary: what a job, a topic, a queue, a state and an envelope *are*.
//!
//! This crate does no I/O, starts no task and reads no clock: time and randomness come in as arguments.

pub mod topic;
pub mod id;
pub mod span;
pub mod limits;

pub use id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
pub use topic::{Topic, TopicPattern};
