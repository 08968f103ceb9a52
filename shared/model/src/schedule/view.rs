//! A schedule as people and programs see it: one JSON shape for the library and the command line.

use super::{Schedule, Times, Timing, timing};
use crate::envelope::Envelope;
use crate::id::JobId;
use crate::limits;
use crate::record::State;
use crate::span::{self, rfc3339};
use crate::topic::Topic;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// A schedule as shown. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// The topic of its jobs.
    pub topic: Topic,
    /// Their payload.
    pub payload: Box<RawValue>,
    /// Their title.
    pub title: Option<String>,
    /// Their labels, beside that of the schedule.
    pub labels: BTreeMap<String, String>,
    /// Failures allowed before the last one; absent: the queue's.
    pub retries: Option<i32>,
    /// When it fires.
    pub timings: Vec<TimingView>,
    /// The zone whose clock calendar timings go by.
    pub zone: String,
    /// What happens while the job before has not ended: `allow`, `skip` or `queue_one`.
    pub overlap: String,
    /// What happens with times that nobody was there for: `skip`, `last` or `all:WINDOW`.
    pub missed: String,
    /// By up to how much each time is put off.
    pub jitter: String,
    /// Who suspended it, if somebody did.
    pub suspended: Option<SuspensionView>,
    /// The next time, the first of `upcoming`; while it is suspended, what would be next.
    pub next: Option<String>,
    /// The next ten times.
    pub upcoming: Vec<RunView>,
    /// The jobs that it sent last, newest first, and what became of them.
    pub last: Vec<FiredView>,
    /// Whether a job waits for the end of the one before.
    pub waiting: bool,
    /// Jobs that it sent.
    pub fired: u64,
    /// Times that passed because the job before had not ended.
    pub skipped: u64,
    /// Times that passed because nobody was there.
    pub missed_count: u64,
    /// Times whose job the store refused.
    pub refused: u64,
    /// Why it could not do what it should, the last time.
    pub problem: Option<String>,
    /// How often it was defined anew, from 1.
    pub version: u64,
    /// When it was made.
    pub created: String,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was defined.
    pub changed: String,
}

/// One timing as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimingView {
    /// `at`, `every`, `hourly`, `daily`, `weekly`, `monthly`, `yearly` or `cron`.
    pub r#type: String,
    /// In words.
    pub text: String,
}

/// A time to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// When its job is sent: the slot with its jitter.
    pub at: String,
    /// The same in the schedule's zone.
    pub local: String,
    /// The slot.
    pub slot: String,
}

/// A suspension as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspensionView {
    /// Who, and why.
    pub by: String,
    /// Since when.
    pub since: String,
}

/// A job that a schedule sent, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FiredView {
    /// The job.
    pub job: JobId,
    /// The slot; absent when somebody asked for it.
    pub slot: Option<String>,
    /// When it was sent.
    pub at: String,
    /// Its state; absent when it is not kept any more.
    pub state: Option<State>,
}

/// Times to come that are shown.
const UPCOMING: usize = 10;

impl ScheduleView {
    /// Puts a view together, at a time of the store's clock (ms); `states` are those of the jobs that it sent.
    #[must_use]
    pub fn build(schedule: &Schedule, states: &BTreeMap<JobId, State>, now: u64) -> Self {
        let spec = &schedule.spec;
        let Envelope { topic, payload, title, labels, retries, created_by, .. } = &spec.job.envelope;
        let upcoming = upcoming(schedule, now);
        let fired = schedule.recent.iter().rev().map(|fired| FiredView {
            job: fired.job,
            slot: fired.slot.map(rfc3339),
            at: rfc3339(fired.at),
            state: states.get(&fired.job).copied(),
        });
        let suspended = schedule.suspended.as_ref();
        Self {
            name: spec.name.clone(),
            topic: topic.clone(),
            payload: payload.clone(),
            title: title.clone(),
            labels: labels.clone(),
            retries: *retries,
            timings: spec.timings.iter().map(TimingView::from).collect(),
            zone: spec.zone.clone(),
            overlap: spec.overlap.to_string(),
            missed: spec.missed.to_string(),
            jitter: span::show(Duration::from_millis(spec.jitter_ms)),
            suspended: suspended.map(|by| SuspensionView { by: by.by.clone(), since: rfc3339(by.since) }),
            next: upcoming.first().map(|run| run.at.clone()),
            upcoming,
            last: fired.collect(),
            waiting: schedule.waiting.is_some(),
            fired: schedule.fired,
            skipped: schedule.skipped,
            missed_count: schedule.missed,
            refused: schedule.refused,
            problem: schedule.problem.clone(),
            version: schedule.version,
            created: rfc3339(schedule.created),
            created_by: created_by.clone(),
            changed: rfc3339(schedule.changed),
        }
    }
}

impl From<&Timing> for TimingView {
    fn from(timing: &Timing) -> Self {
        let kind = match timing {
            Timing::At { .. } => "at",
            Timing::Every { .. } => "every",
            Timing::Hourly { .. } => "hourly",
            Timing::Daily { .. } => "daily",
            Timing::Weekly { .. } => "weekly",
            Timing::Monthly { .. } => "monthly",
            Timing::Yearly { .. } => "yearly",
            Timing::Cron { .. } => "cron",
        };
        Self { r#type: kind.to_owned(), text: timing.to_string() }
    }
}

fn upcoming(schedule: &Schedule, now: u64) -> Vec<RunView> {
    let spec = &schedule.spec;
    let (Ok(times), Ok(zone)) = (Times::new(&spec.timings, &spec.zone, schedule.anchor), timing::zone(&spec.zone))
    else {
        return Vec::new();
    };
    // While it is suspended time passes without being dealt with.
    let after = if schedule.suspended.is_some() { schedule.after.max(now) } else { schedule.after };
    let local = |ms: u64| {
        let stamp = jiff::Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        Some(limits::cut(&stamp.to_zoned(zone.clone()).to_string(), 100))
    };
    let run = |slot: u64| {
        let at = slot.saturating_add(spec.jitter(slot));
        RunView { at: rfc3339(at), local: local(at).unwrap_or_default(), slot: rfc3339(slot) }
    };
    times.upcoming(after, UPCOMING).into_iter().map(run).collect()
}
