//! How a handler says how it went: done, try again, come back later, never again.
//!
//! Owns the outcome type, the error that carries an intent, and the conversion from what handlers
//! return. What an outcome *does* to the job is the engine's business.

use crate::ctx::Cancelled;
use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::time::Duration;

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done. The job ends as `succeeded`.
    Done {
        /// The result, JSON text.
        result: Option<String>,
        /// A sentence for people.
        message: Option<String>,
    },
    /// It failed; it is tried again if retries are left (S06 `failed`, `failed(delay)`).
    Retry {
        /// Back-off, instead of the job's and the queue's; zero: at once.
        after: Option<Duration>,
        /// What went wrong.
        error: String,
        /// What kind of error it was, for rules by kind.
        kind: Option<String>,
    },
    /// Not now: run it again after a while. Costs no retry.
    Snooze {
        /// How long.
        after: Duration,
        /// Why, for people.
        message: String,
    },
    /// It failed and trying again is useless. The job ends as `error` (S06 `cancelled`).
    Fail {
        /// What went wrong.
        error: String,
    },
    /// The end comes later, through [`crate::Deferred::complete`]; the job keeps its slot until then (S07).
    Deferred,
    /// Whoever got the attempt's token ([`crate::Ctx::token`]) ends it, from anywhere; the job keeps its slot, its order
    /// and its limits until then (S07).
    GivenAway,
    /// The attempt was cancelled and did not finish; what that means depends on who cancelled it.
    Cancelled(Cancelled),
    /// The result cannot be kept: too large, or not JSON. The job ends as `error`.
    BadResult {
        /// What is wrong with it.
        error: String,
    },
}

impl Outcome {
    /// Done, without a result.
    #[must_use]
    pub const fn done() -> Self {
        Self::Done { result: None, message: None }
    }

    /// Done, with a result that whoever waits for the job receives.
    #[must_use]
    pub fn result(value: impl Serialize) -> Self {
        match serde_json::to_string(&value) {
            Ok(text) if text.len() > longshore_model::limits::RESULT_BYTES => Self::BadResult {
                error: format!(
                    "the result has {} bytes, more than {}; leave large output as a file",
                    text.len(),
                    longshore_model::limits::RESULT_BYTES
                ),
            },
            Ok(text) => Self::Done { result: Some(text), message: None },
            Err(error) => Self::BadResult { error: format!("the result is not JSON: {error}") },
        }
    }

    /// Adds a sentence for people to a success (S08).
    #[must_use]
    pub fn message(self, text: impl Into<String>) -> Self {
        match self {
            Self::Done { result, .. } => Self::Done { result, message: Some(text.into()) },
            other => other,
        }
    }

    /// Failed: try again with the usual back-off.
    #[must_use]
    pub fn retry(error: impl fmt::Display) -> Self {
        Self::Retry { after: None, error: error.to_string(), kind: None }
    }

    /// Failed: try again after this long.
    #[must_use]
    pub fn retry_in(after: Duration, error: impl fmt::Display) -> Self {
        Self::Retry { after: Some(after), error: error.to_string(), kind: None }
    }

    /// Names the kind of error of a failure that is tried again, for the rules by kind of its job, handler and queue, and
    /// for the history: 1 to 64 letters, digits, `-`, `_` and `.`; other characters become `-`.
    #[must_use]
    pub fn kind(self, kind: impl Into<String>) -> Self {
        match self {
            Self::Retry { after, error, .. } => Self::Retry { after, error, kind: Some(kind.into()) },
            other => other,
        }
    }

    /// Not now: again after this long, without spending a retry.
    #[must_use]
    pub fn snooze(after: Duration, message: impl fmt::Display) -> Self {
        Self::Snooze { after, message: message.to_string() }
    }

    /// Whoever got the attempt's token ends it.
    #[must_use]
    pub const fn given_away() -> Self {
        Self::GivenAway
    }

    /// Failed for good.
    #[must_use]
    pub fn fail(error: impl fmt::Display) -> Self {
        Self::Fail { error: error.to_string() }
    }
}

/// An error that carries an intent, for use with `?`. Any other error means: try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError(Outcome);

impl JobError {
    /// Failed for good.
    #[must_use]
    pub fn permanent(error: impl fmt::Display) -> Self {
        Self(Outcome::fail(error))
    }

    /// Failed: try again with the usual back-off.
    #[must_use]
    pub fn retry(error: impl fmt::Display) -> Self {
        Self(Outcome::retry(error))
    }

    /// Names the kind of error of a failure that is tried again: see [`Outcome::kind`].
    #[must_use]
    pub fn kind(self, kind: impl Into<String>) -> Self {
        Self(self.0.kind(kind))
    }

    /// Failed: try again after this long.
    #[must_use]
    pub fn retry_in(after: Duration, error: impl fmt::Display) -> Self {
        Self(Outcome::retry_in(after, error))
    }

    /// Not now: again after this long, without spending a retry.
    #[must_use]
    pub fn snooze(after: Duration, message: impl fmt::Display) -> Self {
        Self(Outcome::snooze(after, message))
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Outcome::Retry { error, .. } | Outcome::Fail { error } => f.write_str(error),
            Outcome::Snooze { message, .. } => f.write_str(message),
            other => write!(f, "{other:?}"),
        }
    }
}

impl Error for JobError {}

/// Names the kind of an error on its way: `client.get(url).await.kind("unreachable")?`.
pub trait WithKind<T> {
    /// Gives the error this kind, unless it carries another intent than to be tried again.
    ///
    /// # Errors
    /// The error, with its kind and the texts of all its causes.
    fn kind(self, kind: &str) -> Result<T, JobError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> WithKind<T> for Result<T, E> {
    fn kind(self, kind: &str) -> Result<T, JobError> {
        self.map_err(|error| JobError(outcome_of_error(error.into().as_ref()).kind(kind)))
    }
}

/// What a handler may return: `()`, an [`Outcome`], a [`Json`] result, or a `Result` of those with any error.
pub trait IntoOutcome {
    /// Converts.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::done()
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

/// A result: `Ok(Json(value))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoOutcome for Json<T> {
    fn into_outcome(self) -> Outcome {
        Outcome::result(self.0)
    }
}

impl<T: IntoOutcome, E: Into<Box<dyn Error + Send + Sync>>> IntoOutcome for Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => outcome_of_error(error.into().as_ref()),
        }
    }
}

/// The intent that an error, or one of its causes, carries; without one: try again. The text has every cause.
pub(crate) fn outcome_of_error(error: &(dyn Error + 'static)) -> Outcome {
    let mut text = error.to_string();
    let mut cause = Some(error);
    while let Some(now) = cause {
        if let Some(JobError(outcome)) = now.downcast_ref() {
            return outcome.clone();
        }
        if let Some(cancelled) = now.downcast_ref::<Cancelled>() {
            return Outcome::Cancelled(cancelled.clone());
        }
        cause = now.source();
        if let Some(cause) = cause {
            let part = cause.to_string();
            if !text.contains(&part) {
                text = format!("{text}: {part}");
            }
        }
    }
    Outcome::retry(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot send")]
    struct Outer(#[source] JobError);

    #[test]
    fn s_06_errors_mean_what_they_carry() {
        let plain: Result<(), String> = Err("boom".into());
        assert_eq!(plain.into_outcome(), Outcome::retry("boom"));
        let named: Result<(), JobError> = Err::<(), _>("boom").kind("busy");
        assert_eq!(named.into_outcome(), Outcome::retry("boom").kind("busy"));
        let permanent: Result<(), JobError> = Err::<(), _>(JobError::permanent("no")).kind("busy");
        assert_eq!(permanent.into_outcome(), Outcome::fail("no"), "another intent is left alone");
        let wrapped: Result<(), Outer> = Err(Outer(JobError::permanent("no such mailbox")));
        assert_eq!(wrapped.into_outcome(), Outcome::Fail { error: "no such mailbox".into() });
        let snoozed: Result<Outcome, JobError> = Err(JobError::snooze(Duration::from_secs(3), "busy"));
        assert_eq!(snoozed.into_outcome(), Outcome::snooze(Duration::from_secs(3), "busy"));
    }

    #[test]
    fn a_result_that_cannot_be_kept_is_no_success() {
        assert!(matches!(Outcome::result("x".repeat(70_000)), Outcome::BadResult { .. }));
        assert_eq!(Json(5).into_outcome(), Outcome::Done { result: Some("5".into()), message: None });
    }
}
