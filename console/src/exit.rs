//! How the program ends, as scripts see it.

use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: it was tried and failed, or the job that was waited for did not succeed.
    Failed,
    /// 2: the command line or the settings are wrong; nothing was done.
    Usage,
    /// 3: there is no such thing.
    NotFound,
    /// 4: the time given was over; nothing was lost.
    TimedOut,
    /// 130: ended by Ctrl-C, as shells expect it.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::TimedOut => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
