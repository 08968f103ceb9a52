//! Send jobs to Longshore, wait for them, find and control them.
//!
//! An application that sends jobs needs this crate only; what runs them is `longshore-consumer`.
//!
//! ```
//! use longshore_producer::{Job, Producer, Settings, State};
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize, Job)]
//! #[job(topic = "media/thumbnail", retries = 5, timeout = "2m")]
//! struct Thumbnail {
//!     asset: String,
//!     width: u32,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // `embedded:` runs broker and store in this process; in production the settings name RabbitMQ and Redis.
//! let producer = Producer::connect(&Settings::embedded("front-page")).await?;
//!
//! // Accepted means that it will end, whatever happens to this process.
//! let sent = producer.send(Thumbnail { asset: "cat.jpg".into(), width: 320 }).await?;
//! assert_eq!(sent.state, State::Queued);
//!
//! // With options: the sender's win over those of the kind, those over the queue's.
//! let later = producer
//!     .job(Thumbnail { asset: "dog.jpg".into(), width: 320 })
//!     .after(Duration::from_secs(300))
//!     .label("shoot", "2026-11")
//!     .title("Thumbnail of the dog")
//!     .send()
//!     .await?;
//!
//! // Find it again, and change your mind.
//! let found = producer.jobs().topic("media/**").label("shoot", "2026-11").list().await?;
//! assert_eq!(found.jobs[0].id, later.id);
//! producer.stop([later.id], "not needed any more").await?;
//!
//! // Wait for the end, from this process or any other.
//! let report = later.outcome().timeout(Duration::from_secs(5)).await?;
//! assert_eq!(report.job.state, State::Stopped);
//! # Ok(())
//! # }
//! ```
//!
//! Every `send` answers within a deadline (10 s): accepted ([`Sent`]), refused ([`Refusal`], with the
//! remedy), or unknown ([`SendError::Unknown`]: safe to repeat with the same id, which is why ids are
//! made here and not by the store). [`Custody`] tells who holds an accepted job, and [`Sent::held_up`] what was missing.
//!
//! | To | see |
//! |---|---|
//! | send one, with or without options | [`Producer::send`], [`Producer::job`], [`JobBuilder`] |
//! | send many | [`Producer::send_all`] |
//! | wait for the end, its result and files | [`Sent::outcome`], [`Producer::outcome`], [`Report`] |
//! | find, look at, follow | [`Producer::jobs`], [`Producer::show`], [`Producer::follow`] |
//! | send at times known before, again and again | [`Producer::schedule`], [`Producer::schedules`] |
//! | look after letters | [`Producer::letters`] |
//! | stop, remove, retry | [`Producer::stop`], [`Producer::remove`], [`Producer::retry`] |
//! | look at the whole | [`Producer::counts`], [`Producer::statistics`], [`Producer::ledger`], [`Producer::topics`], [`Producer::topology`] |
//! | examine and rebuild | [`Producer::examine`], [`Producer::rebuild_store`], [`Producer::rebuild_broker`] |
//! | end an attempt that was given away | [`Producer::complete`] |
//! | hear what happens; tell other applications something | [`Producer::events`], [`Producer::announce`] |
//! | change things in somebody's name, and see who changed what | [`Producer::on_behalf_of`], [`Producer::audited`] |
//! | ask live instances something, and know who has answered | [`Producer::ask`] |
//! | say which instance takes which topic | [`Producer::topic_table`], [`Producer::set_topic`], [`Producer::drain_instance`] |
//! | limit, pause and resume | [`Producer::set_limit`], [`Producer::pause`], [`Producer::resume`] |
//! | send exactly when a transaction commits | the example `transactional_outbox` |
//! | test code that sends | [`testing`] |
//!
//! Reading order of the code: `connect`, `builder`, `send`, `degraded`, `spool`, `outcome`, `find`, `control`, `again`, `complete`, `queues`,
//! `gates`, `matrix`, `asking`, `schedules`, `statistics`, `events`, `audit`, `follow`, `letters`, `health`, `rebuild`, `files`,
//! `errors`.

mod again;
mod asking;
mod audit;
mod builder;
mod complete;
mod connect;
mod control;
mod degraded;
mod errors;
mod events;
mod files;
mod find;
mod follow;
mod gates;
mod health;
mod history;
mod letters;
mod matrix;
mod namespace;
mod outcome;
mod queues;
mod rebuild;
mod reoffer;
mod schedules;
mod send;
pub mod settings;
mod spool;
mod statistics;
pub mod testing;
mod time;

// So that `derive(Job)` finds this crate under its own name inside it as well.
#[allow(unused_extern_crates, reason = "only this crate's own tests use it")]
extern crate self as longshore_producer;

pub use again::Edit;
pub use asking::{Answers, Ask, AskOutcome, InstanceAnswer, Member, Ran};
pub use builder::JobBuilder;
pub use complete::Completion;
pub use connect::{Producer, ProducerOptions, connect_link};
pub use control::{Removed, Stopped};
pub use errors::{
    AskError, CompleteError, EventError, FileError, Lost, MatrixError, QueryError, Refusal, ResultError, RetryError,
    ScheduleError, SendError, WaitError,
};
pub use events::{Events, Heard, Listen};
pub use files::{FileReader, Transfer};
pub use find::{Damaged, Find, Jobs};
pub use follow::{Change, Follow};
pub use health::{Finding, Severity};
pub use letters::{Handled, LetterError, LetterList, LetterName, LetterView, Letterbox, Place, Replayed};
pub use namespace::{NamespaceContents, RemovalError};
pub use outcome::{Outcome, Report};
pub use queues::{QueueChange, QueuesError};
pub use rebuild::{BrokerRebuild, FoundCopies, LaneState, RebuildError, RebuildStore, StoreRebuild};
pub use schedules::{Defined, FindSchedules, Resumed, RunNow, ScheduleHandle, SchedulePage};
pub use send::{Custody, IntoJob, Sent};
pub use settings::SettingsError;
pub use spool::{Spool, SpoolError, SpoolStatus};
pub use time::Time;

pub use longshore_link::error::NotAccepted;
pub use longshore_link::store::{KeyState, LimitState, PauseOrder, PauseState, QueueSet};
pub use longshore_link::{Fault, Link, World};
pub use longshore_macros::Job;
pub use longshore_model::envelope::FileRef;
pub use longshore_model::event::{Event, Kind as EventKind};
pub use longshore_model::gate::{GateKind, GateName, Length, LimitPolicy, OnFailure, Over, Pausable, Rate, WhenFull};
pub use longshore_model::kind::{RetryRule, RetryRules};
pub use longshore_model::ledger::{self, Ledger};
pub use longshore_model::queue::{QueueConfig, QueueKind, Queues};
pub use longshore_model::schedule::{self, Missed, Overlap, ScheduleView, Timing};
pub use longshore_model::settings::{Loaded, Settings};
pub use longshore_model::snapshot::JobView;
pub use longshore_model::statistics::{Overview, Percentiles, Selection, Summary};
pub use longshore_model::template::{Condition, Template};
pub use longshore_model::topology::View;
pub use longshore_model::topology::asking::QuestionId;
pub use longshore_model::topology::matrix::{KeptRow, Row, Rule, Stand};
pub use longshore_model::topology::table::{StandOf, TopicLine};
pub use longshore_model::trust::{Distrust, Ignored};
pub use longshore_model::unique::{Unique, UniqueMode};
pub use longshore_model::{
    InstanceId, Job, JobId, JobOptions, Placement, Priority, Reason, State, Token, Topic, TopicPattern,
};
