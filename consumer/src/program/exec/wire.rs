//! What consumer and guard say to each other over their socket. Pure.
//!
//! Consumer to guard: the payload (length as `u32`, big endian, then the bytes), then commands of one byte. Guard to
//! consumer: reports of five bytes. Both are the same program, so there is no version.

use rustix::process::WaitStatus;

/// What the consumer asks of the guard. The end of the stream means [`Command::Kill`] with nobody left to report to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// Tell the program that it had better come to an end (SIGUSR1), if it listens.
    Hint,
    /// Ask the job's process group to end (SIGTERM).
    Terminate,
    /// End every process of the job (SIGKILL).
    Kill,
}

impl Command {
    pub(super) fn encode(self) -> [u8; 1] {
        match self {
            Self::Hint => *b"H",
            Self::Terminate => *b"T",
            Self::Kill => *b"K",
        }
    }

    /// An unknown byte is taken as the safe command: it can only come from a consumer that lost its mind.
    pub(super) fn decode(byte: u8) -> Self {
        match byte {
            b'H' => Self::Hint,
            b'T' => Self::Terminate,
            _ => Self::Kill,
        }
    }
}

/// What the guard tells the consumer. Each job has at most one [`Report::Started`], then one of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// The job's first process, which also is the number of its process group.
    Started(i32),
    /// It ended by itself with this exit status.
    Exited(i32),
    /// It was ended by this signal.
    Signalled(i32),
    /// It could not be started (operating system error number).
    Unstarted(i32),
}

impl Report {
    pub(super) const BYTES: usize = 5;

    /// The report of a process that has ended; nothing when it only stopped or went on.
    pub(super) fn of(status: WaitStatus) -> Option<Self> {
        status.exit_status().map(Self::Exited).or_else(|| status.terminating_signal().map(Self::Signalled))
    }

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let (tag, number) = match self {
            Self::Started(pid) => (b'P', pid),
            Self::Exited(code) => (b'E', code),
            Self::Signalled(signal) => (b'S', signal),
            Self::Unstarted(error) => (b'U', error),
        };
        let [a, b, c, d] = number.to_be_bytes();
        [tag, a, b, c, d]
    }

    pub(super) fn decode([tag, a, b, c, d]: [u8; Self::BYTES]) -> Option<Self> {
        let number = i32::from_be_bytes([a, b, c, d]);
        match tag {
            b'P' => Some(Self::Started(number)),
            b'E' => Some(Self::Exited(number)),
            b'S' => Some(Self::Signalled(number)),
            b'U' => Some(Self::Unstarted(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_and_commands_survive_the_wire() {
        for report in [Report::Started(77), Report::Exited(255), Report::Signalled(9), Report::Unstarted(2)] {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        assert_eq!(Report::decode(*b"xxxxx"), None);
        for command in [Command::Hint, Command::Terminate, Command::Kill] {
            assert_eq!(Command::decode(command.encode()[0]), command);
        }
        assert_eq!(Command::decode(0), Command::Kill);
    }
}
