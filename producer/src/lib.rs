//! Send jobs to Longshore, wait for them, find and control them.

mod builder;
mod connect;
mod control;
mod errors;
pub mod files;
mod find;
mod follow;
mod outcome;
mod send;
pub mod settings;
pub mod testing;
mod time;

// So that `derive(Job)` finds this crate under its own name inside it as well.
#[allow(unused_extern_crates, reason = "only this crate's own tests use it")]
extern crate self as longshore_producer;

pub use builder::JobBuilder;
pub use connect::{Producer, ProducerOptions};
pub use control::{Removed, Stopped};
pub use errors::{FileError, QueryError, Refusal, ResultError, RetryError, SendError, WaitError};
pub use find::{Damaged, Find, Jobs};
pub use follow::{Change, Follow};
pub use outcome::{Outcome, Report};
pub use send::{Custody, IntoJob, Sent};
pub use settings::SettingsError;
pub use time::Time;

pub use longshore_link::{Fault, Link, World};
pub use longshore_macros::Job;
pub use longshore_model::envelope::FileRef;
pub use longshore_model::queue::{QueueConfig, Queues};
pub use longshore_model::settings::{Loaded, Settings};
pub use longshore_model::snapshot::JobView;
pub use longshore_model::topology::View;
pub use longshore_model::{Job, JobId, JobOptions, Reason, State, Topic, TopicPattern};
