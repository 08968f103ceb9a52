//! The job type: a payload with a stable topic and its defaults, shared by producer and consumer.

use crate::kind::RetryRules;
use crate::placement::Placement;
use crate::priority::Priority;
use crate::topic::Topic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A kind of job: a payload type with the topic it is sent under.
///
/// `#[derive(Job)]` writes this implementation from an attribute; by hand it is as short:
///
/// ```
/// use longshore_model::Job;
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Thumbnail {
///     asset: String,
/// }
///
/// impl Job for Thumbnail {
///     const TOPIC: &'static str = "media/thumbnail";
/// }
/// ```
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// The topic, such as `media/thumbnail`. It is chosen, never taken from a Rust name, so that renaming a type
    /// does not strand its jobs.
    const TOPIC: &'static str;

    /// The version of the payload's shape. A consumer reads its own version and older ones; a newer job waits
    /// until an instance that reads it is there. Default 1.
    const VERSION: u32 = 1;

    /// Defaults of this kind of job; what a sender sets on one job wins over them.
    #[must_use]
    fn options() -> JobOptions {
        JobOptions::default()
    }

    /// The checked topic.
    ///
    /// # Errors
    /// [`crate::topic::BadTopic`] when [`Self::TOPIC`] breaks the grammar (the derive refuses that at compile time).
    fn topic() -> Result<Topic, crate::topic::BadTopic> {
        Topic::new(Self::TOPIC)
    }
}

/// Defaults of a kind of job. What is `None` is left to the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobOptions {
    /// Failures allowed before the last one (`2` means three runs); -1 without end.
    pub retries: Option<i32>,
    /// Fixed back-off between attempts.
    pub retry_delay: Option<Duration>,
    /// Longest run of one attempt.
    pub timeout: Option<Duration>,
    /// After so long an attempt is told that it had better come to an end.
    pub soft_timeout: Option<Duration>,
    /// An attempt that gives no sign of life for so long is cancelled.
    pub stall_timeout: Option<Duration>,
    /// No attempt begins later than this after the start of the first that failed.
    pub retry_for: Option<Duration>,
    /// Rules by kind of error.
    pub retry_on: RetryRules,
    /// Not to be started later than this after it was accepted.
    pub expires_in: Option<Duration>,
    /// Fields of the payload that the store keeps an index of, as paths with dots; at most 8, with the queue's.
    pub index: Vec<String>,
    /// Whose turn it is first where jobs wait for a limit.
    pub priority: Option<Priority>,
    /// Where it runs.
    pub placement: Option<Placement>,
}
