//! Longshore's vocabulary: what a job, a topic, a queue, a state and an envelope *are*.
//!
//! This crate owns every rule that can be stated without touching a network: the topic grammar, the
//! one function that changes a job's state ([`transition::transition`]), retry arithmetic, the wire
//! format, the settings and their validation, and the name of every exchange, queue and key
//! ([`names`]). It does no I/O, starts no task and reads no clock: time and randomness come in as
//! arguments.
//!
//! Reading order: [`topic`], [`job`], [`record`], [`transition`], [`queue`], [`envelope`], [`schedule`],
//! [`names`], [`settings`].

pub mod audit;
pub mod envelope;
pub mod event;
pub mod explain;
pub mod gate;
pub mod id;
pub mod indexed;
pub mod job;
pub mod kind;
pub mod lane;
pub mod ledger;
pub mod limits;
pub mod names;
pub mod placement;
pub mod priority;
pub mod queue;
pub mod record;
pub mod retry;
pub mod schedule;
pub mod secret;
pub mod settings;
pub mod snapshot;
pub mod span;
pub mod statistics;
pub mod suggest;
pub mod template;
pub mod token;
pub mod topic;
pub mod topology;
pub mod transition;
pub mod trust;
pub mod unique;

pub use id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
pub use job::{Job, JobOptions};
pub use kind::{RetryRule, RetryRules};
pub use lane::Lane;
pub use placement::{Placement, Site};
pub use priority::Priority;
pub use record::{Reason, Record, State};
pub use secret::Secret;
pub use snapshot::JobView;
pub use token::Token;
pub use topic::{Topic, TopicPattern};
