//! What counts of an event that changed a job.

use crate::record::{Record, State};
use crate::transition::{Event, Verdict};

/// What has to be known of a job before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    state: State,
    since: u64,
    started: Option<u64>,
}

/// What counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// An attempt started, so many ms after its job had entered the lane.
    Started(u64),
    /// A job succeeded; its attempt ran for so many ms.
    Finished(u64),
    /// An attempt failed, or its process went away, and another one will follow.
    Failed,
    /// A job ended as `error`, `given_up` or `stopped`.
    Cancelled,
}

impl Before {
    /// Of this job.
    #[must_use]
    pub const fn of(record: &Record) -> Self {
        Self { state: record.state, since: record.since, started: record.started }
    }
}

impl Happened {
    /// What an event that was applied at `now` (ms) brought about.
    #[must_use]
    pub fn by(event: &Event, before: &Before, after: &Record, now: u64) -> Option<Self> {
        if after.state == before.state {
            return None;
        }
        match after.state {
            State::Active => {
                matches!(event, Event::Claim { .. }).then(|| Self::Started(now.saturating_sub(before.since)))
            }
            State::Succeeded => Some(Self::Finished(now.saturating_sub(before.started.unwrap_or(now)))),
            State::Error | State::GivenUp | State::Stopped => Some(Self::Cancelled),
            State::Dropped => None,
            State::Scheduled | State::Blocked | State::Queued | State::Retrying => {
                let failed = match event {
                    Event::Finish { verdict, .. } | Event::Complete { verdict, .. } => {
                        matches!(verdict, Verdict::Failed { .. })
                    }
                    Event::LeaseGone { .. } => true,
                    _ => false,
                };
                failed.then_some(Self::Failed)
            }
        }
    }
}
