//! Schedules: jobs that are sent again and again, or once, at times that are known before.
//!
//! A *slot* is one time of a schedule, ms since 1970. This module owns what a schedule is ([`Spec`]), when its
//! slots are ([`Times`]), what is kept of it ([`Schedule`]) and every change to that ([`change`]): who puts it
//! into the store compares and exchanges what these functions answer, and knows nothing of schedules itself.
//! A slot is *dealt with* when it was fired, skipped, or counted as missed; all slots up to
//! [`Schedule::after`] are.

pub mod change;
mod spec;
mod timing;
mod view;

pub use spec::{LABEL, Missed, Overlap, Problem, Spec, Template, check_name};
pub use timing::{DAYS, Times, Timing, UTC, zone};
pub use view::{FiredView, RunView, ScheduleView, SuspensionView, TimingView};

use crate::id::JobId;
use serde::{Deserialize, Serialize};

/// A schedule as the store keeps it. All times are milliseconds since 1970, by the store's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Schedule {
    /// What it is to do. Times that come once are taken out when they are over.
    pub spec: Spec,
    /// Tells it from others that had the name before; every slot's job id is made from it.
    pub incarnation: JobId,
    /// How often it was defined anew, from 1.
    pub version: u64,
    /// When it was made.
    pub created: u64,
    /// When it was defined.
    pub changed: u64,
    /// When [`Timing::Every`] begins.
    pub anchor: u64,
    /// Every slot up to this time has been dealt with.
    pub after: u64,
    /// The next slot.
    pub next: Option<u64>,
    /// When somebody has to look at it: the next slot with its jitter, or sooner while a job waits for another.
    pub due: Option<u64>,
    /// While it fires nothing.
    pub suspended: Option<Suspension>,
    /// The slot whose job waits for the end of the one before.
    pub waiting: Option<Waiting>,
    /// Jobs that it sent.
    pub fired: u64,
    /// Slots that passed because the job before had not ended.
    pub skipped: u64,
    /// Slots that passed because nobody was there. After a very long time it is at least this many.
    pub missed: u64,
    /// Slots whose job the store refused.
    pub refused: u64,
    /// The jobs that it sent last, oldest first.
    pub recent: Vec<Fired>,
    /// Why it could not do what it should, the last time.
    pub problem: Option<String>,
}

/// Somebody suspended a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Who, and why.
    pub by: String,
    /// Since when, ms.
    pub since: u64,
}

/// A job that is sent when the one before it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The job's id.
    pub job: JobId,
    /// The slot; `None` when somebody asked for it.
    pub slot: Option<u64>,
}

/// A job that a schedule sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// The job.
    pub job: JobId,
    /// The slot; `None` when somebody asked for it.
    pub slot: Option<u64>,
    /// When it was sent, ms.
    pub at: u64,
}

impl Schedule {
    /// The job that it sent last.
    #[must_use]
    pub fn last(&self) -> Option<JobId> {
        self.recent.last().map(|fired| fired.job)
    }

    /// The id of a slot's job: the same whoever fires it, and however often.
    #[must_use]
    pub fn job_id(&self, slot: u64) -> JobId {
        self.incarnation.slot(slot)
    }

    /// The next slots after a time, at most `most`.
    #[must_use]
    pub fn upcoming(&self, most: usize) -> Vec<u64> {
        self.spec.times(self.anchor).map_or_else(|_| Vec::new(), |times| times.upcoming(self.after, most))
    }
}

#[cfg(test)]
mod tests;
