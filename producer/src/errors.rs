//! What can go wrong, as types: refused (change something), unreachable (it did not happen, try again), unknown
//! (it may have happened, repeat it with the same id).
//!
//! Messages name the thing and the remedy. Nothing here holds an address with a password.

use crate::spool::SpoolError;
use longshore_link::Fault;
use longshore_link::error::NotAccepted;
use longshore_model::envelope::BadEnvelope;
use longshore_model::schedule::Problem;
use longshore_model::topic::BadTopic;
use longshore_model::{InstanceId, JobId, State, limits};
use std::path::PathBuf;

/// Why the topic matrix was not changed, or its instance not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// No live instance has this id or name, and no row either.
    #[error(
        "there is no instance `{0}`: neither a live one nor one with a row in the topic matrix; `longshore instance list` shows all"
    )]
    Unknown(String),
    /// Several live instances have the name.
    #[error("several live instances are named `{name}`; say which one by its id: {}", .ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Their ids.
        ids: Vec<InstanceId>,
    },
    /// What is asked for is out of bounds.
    #[error("{0}")]
    Refused(String),
    /// Others change the same row all the time.
    #[error("the row of {0} is being changed by others all the time; try again")]
    Busy(InstanceId),
    /// The store gave no answer, or refused.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a job was not sent, or not surely. See the variants: each asks for something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing was stored, and sending the same again is refused again: something has to change.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The job was surely not accepted before the deadline: nothing was stored. Sending it again later is right.
    #[error("job {id} was not sent: {fault}")]
    Unreachable {
        /// The id that the job would have had.
        id: JobId,
        /// The last thing that was seen.
        fault: Fault,
    },
    /// As [`Self::Unreachable`], and the spool of this machine could not keep it either.
    #[error("job {id} was not sent: {fault}; nor could it be kept: {spool}")]
    NotSpooled {
        /// The id that the job would have had.
        id: JobId,
        /// The last thing that was seen of the services.
        fault: Fault,
        /// Why it was not kept.
        spool: SpoolError,
    },
    /// The deadline passed without an answer: the job may have been accepted. Sending it again is safe with the same
    /// id ([`JobBuilder::id`](crate::JobBuilder::id)), and only with that.
    #[error(
        "the outcome of sending job {id} is unknown: {fault}; repeat it with the same id, or look it up under that id"
    )]
    Unknown {
        /// The job.
        id: JobId,
        /// The last thing that was seen.
        fault: Fault,
    },
}

impl SendError {
    /// Whether the same job can be sent again, with the same id, without changing anything.
    #[must_use]
    pub const fn may_repeat(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }

    /// Whether the job may have been accepted all the same.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// After how long the same send may be accepted, where the store asks for patience: it began anew and gives no new unique
    /// keys for a while ([`NotAccepted::KeysWait`]).
    #[must_use]
    pub const fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Refused(Refusal::NotAccepted(NotAccepted::KeysWait { ms })) => {
                Some(std::time::Duration::from_millis(*ms))
            }
            _ => None,
        }
    }

    /// The reason of a refusal.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Why a job is refused. Nothing was stored for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The topic breaks the grammar.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The payload is not JSON, or its type cannot be written as JSON.
    #[error("the payload is not JSON: {0}")]
    NotJson(String),
    /// The payload is larger than what travels inline.
    #[error(
        "the payload has {bytes} bytes, more than {max}; send large input as a file (`.file(path)`, `--input FILE`)",
        max = limits::INLINE_BYTES
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// An option, a label, the title or the nesting of the payload is out of bounds.
    #[error("the job is refused: {0}")]
    OutOfBounds(String),
    /// A payload file cannot be sent.
    #[error(transparent)]
    File(#[from] FileError),
    /// The store has its reason: the id is taken, the namespace is full of topics, …
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    /// The store refuses for a reason that somebody has to remove: rights, memory, a wrong version.
    #[error("{0}")]
    Store(Fault),
}

impl From<BadEnvelope> for Refusal {
    fn from(bad: BadEnvelope) -> Self {
        match bad {
            BadEnvelope::TooLarge(bytes) => Self::TooLarge { bytes },
            BadEnvelope::Malformed(why) => Self::NotJson(why),
            BadEnvelope::OutOfBounds(why) => Self::OutOfBounds(why),
            other @ BadEnvelope::TooNew(_) => Self::OutOfBounds(other.to_string()),
        }
    }
}

/// Why a file could not be read, kept or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The name cannot be used in the attempt's directory.
    #[error("{0}")]
    Name(String),
    /// The local file system said no.
    #[error("file {}: {detail}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// Larger than `blobs.max_file_bytes`.
    #[error("file `{name}` has {bytes} bytes, more than {max} (setting blobs.max_file_bytes)")]
    TooLarge {
        /// Its name.
        name: String,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// The blob store does not take it, does not have it, or has something else under its digest.
    #[error("file `{name}`: {fault}")]
    Blob {
        /// Its name.
        name: String,
        /// What was said.
        fault: Fault,
    },
}

/// Why a question about jobs has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The store gave no answer; asking again is safe.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A topic pattern breaks the grammar.
    #[error(transparent)]
    Pattern(#[from] BadTopic),
    /// A condition of a template is written wrong: which, and how to write it.
    #[error("{0}")]
    Template(String),
    /// What the store holds of a job cannot be read.
    #[error("{0}")]
    Damaged(String),
}

/// Why waiting for an outcome ended without one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The job did not end within the time given. It goes on; wait again, or stop it.
    #[error("job {id} has not ended after {}; it goes on: wait longer, or see why it waits with `show`", longshore_model::span::show(*after))]
    TimedOut {
        /// The job.
        id: JobId,
        /// How long was waited.
        after: std::time::Duration,
    },
    /// The store has no such job: it never had, or the job ended and was removed or purged before anybody asked.
    #[error("there is no job {0}: the id is wrong, or it has ended and was removed")]
    Gone(JobId),
    /// What the store holds of the job cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// This process is shutting down.
    #[error("job {0} is not waited for any more: this process is shutting down")]
    ShutDown(JobId),
}

/// Why the result of a job is not what the caller asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// The job did not succeed.
    #[error("job {id} ended as {state}: {message}")]
    Failed {
        /// The job.
        id: JobId,
        /// How it ended.
        state: State,
        /// What its last attempt said.
        message: String,
    },
    /// It succeeded, and its result is of another shape.
    #[error("the result of job {id} is not what was asked for: {detail}")]
    Shape {
        /// The job.
        id: JobId,
        /// What does not fit.
        detail: String,
    },
}

/// Why something was not done to a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The definition is wrong, in all these places; nothing was stored.
    #[error("the schedule is refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Problem>),
    /// There is no such schedule.
    #[error("there is no schedule `{0}`: the name is wrong, it was removed, or its last time is over")]
    NotFound(String),
    /// There are as many as there may be.
    #[error("there are {max} schedules already; remove some, or let one send a job that does the work of several", max = limits::SCHEDULES)]
    Full,
    /// It sends no other job before the last one has ended.
    #[error("schedule `{name}` sends nothing now: its overlap policy forbids it until job {running} has ended")]
    Running {
        /// The schedule.
        name: String,
        /// The job that has not ended.
        running: JobId,
    },
    /// The store refused the job.
    #[error(transparent)]
    NotAccepted(NotAccepted),
    /// Others changed it all the time; trying again is safe.
    #[error("schedule `{0}` is being changed by others all the time; try again")]
    Contended(String),
    /// The store gave no answer; everything that is done to schedules may be done again.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an attempt was not ended by its token. But for [`Self::Fault`], nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// Somebody completed it with the same token before.
    #[error("the attempt of job {id} was completed before; the job is {state}")]
    AlreadyCompleted {
        /// The job.
        id: JobId,
        /// Where it is now.
        state: State,
    },
    /// The attempt ended otherwise.
    #[error("attempt {attempt} of job {id} {why}; the job is {state}")]
    Over {
        /// The job.
        id: JobId,
        /// The attempt's number.
        attempt: u32,
        /// Where the job is now.
        state: State,
        /// What became of the attempt.
        why: Lost,
    },
    /// The attempt runs, and this is not its token.
    #[error("this is not the token of the attempt of job {0} that runs; use the text that its handler was given")]
    NotItsToken(JobId),
    /// There is no such job.
    #[error("there is no job {0}: it was removed, or its history was purged")]
    NotFound(JobId),
    /// The store has lost the attempt, and the instance that runs it has not brought it back yet.
    #[error("the store has lost the attempt of job {0}; the instance that runs it brings it back: try again")]
    Forgotten(JobId),
    /// What the store holds of it cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// The store gave no answer. It may have happened all the same: try again, and take
    /// [`Self::AlreadyCompleted`] for a yes then.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What became of an attempt whose token came too late.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The process that held it went away, and its lease was taken back.
    #[error("was lost with the process that held it")]
    Rescued,
    /// The instance that held it shut down, or could not prove that it was alive.
    #[error("was interrupted: the instance that held it shut down or lost its lease")]
    Interrupted,
    /// Somebody asked the job to stop.
    #[error("was stopped")]
    Stopped,
    /// Somebody removed the job.
    #[error("was removed")]
    Removed,
    /// It ended by itself: its handler said something else, or it ran out of time.
    #[error("ended as {outcome} before{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Ended {
        /// `succeeded`, `failed`, `error`, `snoozed`; `over` where nobody remembers.
        outcome: String,
        /// What was said.
        detail: Option<String>,
    },
}

/// Why the other applications were not told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// What was to be told is not JSON.
    #[error("the payload is not JSON: {0}")]
    NotJson(String),
    /// It is too large.
    #[error(
        "the payload has {bytes} bytes, more than {limit}: put it where the others can fetch it, and tell them where"
    )]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// The broker did not take it. What it may have taken all the same ([`Fault::Unknown`]) is heard twice if it is told again.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why instances were not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The name of the question breaks the grammar of topics.
    #[error(transparent)]
    Name(#[from] BadTopic),
    /// What they were to be asked is not JSON.
    #[error("the payload is not JSON: {0}")]
    NotJson(String),
    /// It is too large.
    #[error(
        "the payload has {bytes} bytes, more than {limit}: put it where instances can fetch it, and ask them where it is"
    )]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A time or a label is out of bounds.
    #[error("{0}")]
    Refused(String),
    /// The store gave no answer, or has as many questions as it may. Where it is [`Fault::Unknown`], instances may have been
    /// asked; nobody hears their answers.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a job of the history was not sent again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// There is no such job.
    #[error("there is no job {0}: the id is wrong, or it was removed")]
    NotFound(JobId),
    /// It has not ended.
    #[error("job {id} is {state}: only a job that has ended can be retried")]
    NotEnded {
        /// The job.
        id: JobId,
        /// Where it is.
        state: State,
    },
    /// An earlier retry of it has not ended, and a change would not reach that one. Stop it first, or wait for it.
    #[error("job {id} was sent again as {again}, which has not ended: stop that one first, or wait for it")]
    Retried {
        /// The job.
        id: JobId,
        /// Its retry.
        again: JobId,
    },
    /// What the store holds of it cannot be read.
    #[error("{0}")]
    Damaged(String),
    /// The store gave no answer when it was looked up; nothing was sent.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Sending the new job failed.
    #[error(transparent)]
    Send(#[from] SendError),
}
