//! Why a command ended early: one clear message for stderr, and the exit code that goes with it.

use crate::exit::Exit;
use longshore_producer::{
    AskError, CompleteError, Fault, FileError, MatrixError, QueryError, Refusal, RetryError, ScheduleError, SendError,
    SettingsError, WaitError,
};
use std::io;

/// Why a command ended early. The message names the thing and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Tried, and failed.
    #[error("{0}")]
    Failed(String),
    /// The command line, a file that it names, or the settings are wrong.
    #[error("{0}")]
    Usage(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The time given was over.
    #[error("{0}")]
    TimedOut(String),
    /// Ctrl-C.
    #[error("{0}")]
    Interrupted(String),
    /// Whoever read stdout went away (`longshore … | head`). Not worth a word.
    #[error("nobody reads the output any more")]
    Closed,
}

impl Failure {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Failed(_) => Exit::Failed,
            Self::Usage(_) => Exit::Usage,
            Self::NotFound(_) => Exit::NotFound,
            Self::TimedOut(_) => Exit::TimedOut,
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Closed => Exit::Done,
        }
    }

    /// Of writing to stdout.
    pub(crate) fn writing(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(format!("the output cannot be written: {error}")),
        }
    }

    pub(crate) fn no_job(id: longshore_producer::JobId) -> Self {
        Self::NotFound(format!("there is no job {id}: the id is wrong, or the job ended and was removed or purged"))
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let more = match &fault {
            Fault::Unreachable { .. } => {
                "; is it running, and is its address right? `longshore config` shows it and where it was set"
            }
            Fault::Unknown { .. } => "; running the command again is safe",
            Fault::Blocked { .. } => "; it has to get memory or disk space",
            Fault::Refused { .. } => "",
        };
        Self::Failed(format!("{fault}{more}"))
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Fault(fault) => fault.into(),
            QueryError::Pattern(bad) => Self::Usage(bad.to_string()),
            QueryError::Template(bad) => Self::Usage(bad),
            QueryError::Damaged(detail) => Self::Failed(detail),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Topic(_) | Refusal::NotJson(_) | Refusal::TooLarge { .. } | Refusal::OutOfBounds(_) => {
                Self::Usage(refusal.to_string())
            }
            Refusal::Store(fault) => fault.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<MatrixError> for Failure {
    fn from(error: MatrixError) -> Self {
        match error {
            MatrixError::Fault(fault) => fault.into(),
            MatrixError::Unknown(_) => Self::NotFound(error.to_string()),
            MatrixError::Ambiguous { .. } | MatrixError::Refused(_) => Self::Usage(error.to_string()),
            MatrixError::Busy(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Fault(fault) if fault.is_unknown() => Self::Failed(format!(
                "{fault}; instances may have been asked, and nobody hears their answers: ask again if asking twice is fine"
            )),
            AskError::Fault(fault) => fault.into(),
            other => Self::Usage(other.to_string()),
        }
    }
}

impl From<CompleteError> for Failure {
    fn from(error: CompleteError) -> Self {
        match error {
            CompleteError::Fault(fault) => fault.into(),
            CompleteError::NotFound(_) => Self::NotFound(error.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Refused(refusal) => refusal.into(),
            SendError::Unknown { id, fault } => Self::Failed(format!(
                "it is not known whether job {id} was accepted: {fault}; send it again with `--id {id}`, which cannot \
                 make two of it"
            )),
            SendError::Unreachable { .. } | SendError::NotSpooled { .. } => {
                Self::Failed(format!("{error}; nothing was stored, send it again later"))
            }
        }
    }
}

impl From<RetryError> for Failure {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::NotFound(id) => Self::no_job(id),
            RetryError::Fault(fault) => fault.into(),
            RetryError::Send(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<ScheduleError> for Failure {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::Refused(_) => Self::Usage(error.to_string()),
            ScheduleError::NotFound(_) => Self::NotFound(error.to_string()),
            ScheduleError::Fault(fault) => fault.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::TimedOut { id, after } => Self::TimedOut(format!(
                "job {id} has not ended after {}; it goes on: `longshore job wait {id}` waits longer, `longshore job \
                 explain {id}` tells why",
                longshore_model::span::show(after)
            )),
            WaitError::Gone(id) => Self::no_job(id),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        Self::Failed(error.to_string())
    }
}
