//! How long the ended jobs of a queue are kept, and how many of them, by the state in which they ended.

use crate::record::State;
use std::time::Duration;

/// How long, and how many. What is `None` is left to what is said more generally.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// From their end on.
    pub age: Option<Duration>,
    /// The newest so many.
    pub count: Option<u64>,
}

/// What a queue says of its history: for a state; else, where it is not success, for all failures; else it is left to the
/// settings under `retention`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Succeeded jobs.
    pub succeeded: Kept,
    /// Every other end.
    pub failed: Kept,
    /// Jobs that failed for good at once.
    pub error: Kept,
    /// Jobs whose retries were used up.
    pub given_up: Kept,
    /// Jobs that somebody stopped.
    pub stopped: Kept,
    /// Jobs that were removed, replaced, or not started in time.
    pub dropped: Kept,
}

impl Keep {
    /// What is said of each, by its name in settings.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Kept); 6] {
        [
            ("succeeded", self.succeeded),
            ("failed", self.failed),
            ("error", self.error),
            ("given_up", self.given_up),
            ("stopped", self.stopped),
            ("dropped", self.dropped),
        ]
    }

    /// What it says of jobs that ended in this state.
    #[must_use]
    pub fn of(&self, state: State) -> Kept {
        let own = match state {
            State::Succeeded => return self.succeeded,
            State::Error => self.error,
            State::GivenUp => self.given_up,
            State::Stopped => self.stopped,
            _ => self.dropped,
        };
        Kept { age: own.age.or(self.failed.age), count: own.count.or(self.failed.count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l02_a_state_wins_over_all_failures_and_what_is_not_said_is_left_open() {
        let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
        let keep = Keep {
            failed: Kept { age: Some(day), count: Some(7) },
            dropped: Kept { age: Some(hour), count: None },
            ..Keep::default()
        };
        assert_eq!(keep.of(State::Dropped), Kept { age: Some(hour), count: Some(7) });
        assert_eq!(keep.of(State::Error), Kept { age: Some(day), count: Some(7) });
        assert_eq!(keep.of(State::Succeeded), Kept::default());
    }
}
