//! Run Longshore jobs: write handlers as plain async functions, register them, run.
//!
//! ```
//! use longshore_consumer::{Consumer, Ctx, Job, Outcome, Settings, State};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Job)]
//! #[job(topic = "mail/send", retries = 5, timeout = "2m")]
//! struct SendMail {
//!     to: String,
//! }
//!
//! #[derive(Clone)]
//! struct App;
//!
//! async fn send_mail(job: SendMail, ctx: Ctx, State(_app): State<App>) -> Result<Outcome, std::io::Error> {
//!     ctx.log(format!("sending to {}", job.to));
//!     Ok(Outcome::done())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let consumer = Consumer::new(Settings::embedded("doc")).state(App).handle(send_mail);
//! let running = consumer.start().await?;
//! running.drain().await;
//! # Ok(())
//! # }
//! ```
//!
//! What a job goes through, in reading order: [`consumer`] starts an instance, `engine` takes it from
//! delivery to acknowledgement, `duties` move what waits, [`testing`] runs a handler without any of it.

#[allow(unused_extern_crates, reason = "derive(Job) names this crate by its name, in its own tests as well")]
extern crate self as longshore_consumer;
pub mod batch;
pub mod consumer;
pub mod ctx;
mod duties;
mod engine;
pub mod follow_up;
pub mod handler;
pub mod home;
pub mod instance;
pub mod metrics;

#[cfg(feature = "program")]
#[doc(hidden)]
pub mod program;

pub mod outcome;
pub mod properties;
pub mod question;
pub mod registry;
pub mod testing;
pub mod topology;

pub use batch::{Batched, IntoOutcomes, Item, batch};
pub use consumer::{Consumer, StartError};
pub use ctx::{Cancelled, Ctx, Deferred};
pub use engine::Status;
pub use follow_up::FollowUp;
pub use handler::{FromCtx, FromRef, HandlerExt, HandlerOptions, State};
pub use instance::{RunError, Running};
pub use longshore_macros::Job;
pub use longshore_model::settings::{Loaded, Settings};
pub use longshore_model::{
    Job, JobId, JobOptions, Lane, Placement, Priority, RetryRule, RetryRules, Token, Topic, TopicPattern,
};
pub use longshore_producer::SettingsError;
pub use longshore_producer::{Answers, Ask, AskError, AskOutcome, InstanceAnswer, Ran};
pub use outcome::{IntoOutcome, JobError, Json, Outcome, WithKind};
pub use properties::{BadProperty, Provided};
pub use question::Question;
pub use topology::{Topology, TopologyEvents, TopologyView};
