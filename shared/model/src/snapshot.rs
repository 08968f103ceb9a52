//! A job as people and programs see it: one JSON shape for the library, the command line and HTTP.
//!
//! [`JobView::build`] puts it together from what the store keeps; nothing here changes afterwards (J11).

use crate::envelope::{Envelope, FileRef, LimitUse, Trace};
use crate::id::JobId;
use crate::kind::KindCounts;
use crate::limits;
use crate::placement::Site;
use crate::priority::Priority;
use crate::record::{Crash, PastAttempt, Reason, Record, State};
use crate::span::rfc3339;
use crate::topic::Topic;
use crate::unique::Unique;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What the store keeps of one job, read at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The hot record.
    pub record: Record,
    /// The envelope as it was sent.
    pub envelope: Vec<u8>,
    /// The result, JSON.
    pub result: Option<String>,
    /// Progress of the current or last attempt.
    pub progress: Option<Progress>,
    /// What the handler set, name to JSON.
    pub properties: BTreeMap<String, String>,
    /// Its log, oldest first.
    pub log: Vec<LogLine>,
    /// How many older lines of it were let go.
    pub log_dropped: u64,
    /// Output files.
    pub outputs: Vec<FileRef>,
    /// Attempts that ended otherwise than well, oldest first.
    pub attempts: Vec<PastAttempt>,
    /// What attempts before the last one reported, by their number.
    pub past: BTreeMap<u32, PastReport>,
    /// The store's clock when it was read, ms since 1970.
    pub now: u64,
}

/// Progress of an attempt (U07).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all; 0 when not known.
    pub steps: u64,
    /// When the attempt expects to end, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<u64>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// One line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When, ms since 1970, by the store's clock.
    pub at: u64,
    /// `info`, `warn`, `error`, …
    pub level: String,
    /// The line.
    pub text: String,
}

/// What is kept of the reports of an attempt after which there was another: the end of its log, and its last progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastReport {
    /// Its last lines, oldest first: at most [`limits::PAST_LOG_LINES`] and [`limits::PAST_LOG_BYTES`].
    #[serde(default)]
    pub log: Vec<LogLine>,
    /// Its last progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl PastReport {
    /// What is kept of a report; `None` when it says nothing.
    #[must_use]
    pub fn of<'l>(log: impl DoubleEndedIterator<Item = &'l LogLine>, progress: Option<&Progress>) -> Option<Self> {
        let mut bytes = 0;
        let fits = |line: &&LogLine| {
            bytes += serde_json::to_string(line).map_or(usize::MAX, |text| text.len());
            bytes <= limits::PAST_LOG_BYTES
        };
        let mut log: Vec<LogLine> = log.rev().take(limits::PAST_LOG_LINES).take_while(fits).cloned().collect();
        log.reverse();
        (!log.is_empty() || progress.is_some()).then(|| Self { log, progress: progress.cloned() })
    }
}

/// Why a job waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// A stable word: `time`, `retry`, `slot`, `no_capable_instance`, `payload_version`, `publish`, `order`, `limit`,
    /// `paused`, `alone`, `files`.
    pub reason: String,
    /// A sentence for people.
    pub detail: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// One attempt as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// From 1.
    pub number: u32,
    /// Who ran it.
    pub instance: String,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339; absent while it runs.
    pub ended: Option<String>,
    /// How it ended; `running` while it runs.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// The kind of that error, where somebody named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is known of its process, where that went away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<CrashView>,
    /// The last progress that it reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    /// Its log, oldest first: of the last attempt all that is kept, of ten before it the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<LogView>,
}

/// The end of a process as shown with the attempt that it ended; those of a job are its dossier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashView {
    /// The start of the instance that went away.
    pub incarnation: String,
    /// Whether nothing else ran in the process, as far as the store can tell.
    pub alone: bool,
    /// How many attempts of other jobs it took with it.
    pub beside: u32,
    /// Some of those jobs.
    pub neighbours: Vec<JobId>,
    /// The last progress that the attempt had reported.
    pub progress: Option<ProgressView>,
}

impl From<Crash> for CrashView {
    fn from(crash: Crash) -> Self {
        let Crash { incarnation, alone, beside, neighbours, progress } = crash;
        Self { incarnation, alone, beside, neighbours, progress: progress.map(Into::into) }
    }
}

impl From<Progress> for ProgressView {
    fn from(progress: Progress) -> Self {
        Self { step: progress.step, steps: progress.steps, eta: progress.eta.map(rfc3339), text: progress.text }
    }
}

/// A log line as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// RFC 3339.
    pub at: String,
    /// `info`, `warn`, `error`, …
    pub level: String,
    /// The line.
    pub text: String,
    /// With the last line: older ones were let go, because there were too many.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

impl From<LogLine> for LogView {
    fn from(line: LogLine) -> Self {
        Self { at: rfc3339(line.at), level: line.level, text: line.text, truncated: false }
    }
}

/// Progress as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    /// Steps done.
    pub step: u64,
    /// Steps in all; 0 when not known.
    pub steps: u64,
    /// Expected end, RFC 3339.
    pub eta: Option<String>,
    /// For people.
    pub text: Option<String>,
}

/// A job as shown. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// Its topic.
    pub topic: Topic,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: State,
    /// Why it is in that state.
    pub reason: Option<Reason>,
    /// Why it waits; filled in where the topology is known as well.
    pub waiting: Option<Waiting>,
    /// For people.
    pub title: Option<String>,
    /// For finding it.
    pub labels: BTreeMap<String, String>,
    /// The payload.
    pub payload: Box<RawValue>,
    /// The version of its shape.
    pub payload_version: u32,
    /// Payload files.
    pub inputs: Vec<FileRef>,
    /// Files that the handler left.
    pub outputs: Vec<FileRef>,
    /// Attempts started.
    pub attempt: u32,
    /// Failures so far.
    pub retries: u32,
    /// Those of them that have retries of their own, by kind.
    #[serde(default, skip_serializing_if = "KindCounts::is_empty")]
    pub kinds: KindCounts,
    /// Failures allowed before the last one; -1 without end.
    pub max_retries: i32,
    /// Crashes so far.
    pub crashes: u32,
    /// When it was accepted.
    pub created: String,
    /// Who sent it.
    pub created_by: Option<String>,
    /// When it becomes runnable.
    pub due: Option<String>,
    /// Not to be started at or after.
    pub expires: Option<String>,
    /// No attempt begins after this time: the job's time for retries is over then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_until: Option<String>,
    /// Start of the current or last attempt.
    pub started: Option<String>,
    /// Runs after the jobs of its queue that have the same one.
    pub order_key: Option<String>,
    /// The limits that it counts against.
    pub limits: Vec<LimitUse>,
    /// The key that no other job of its topic may have, and for how long.
    pub unique: Option<Unique>,
    /// On whose behalf it waits for a limit.
    pub turn: Option<String>,
    /// `urgent` or `low`, where it is not normal.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// Where it is to run, where that is not anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
    /// Who runs it, or ran it last.
    pub instance: Option<String>,
    /// When it ended.
    pub finished: Option<String>,
    /// What it produced.
    pub result: Option<Box<RawValue>>,
    /// What the handler, or Longshore, said last.
    pub message: Option<String>,
    /// Progress of the current or last attempt.
    pub progress: Option<ProgressView>,
    /// Its log, oldest first.
    pub log: Vec<LogView>,
    /// What the handler set.
    pub properties: BTreeMap<String, Value>,
    /// Every attempt, oldest first.
    pub attempts: Vec<AttemptView>,
    /// The job whose attempt sent it.
    pub parent: Option<JobId>,
    /// The history job that it repeats.
    pub retry_of: Option<JobId>,
    /// The newest job that repeats it.
    pub retried_as: Option<JobId>,
    /// Trace context.
    pub trace: Option<Trace>,
    /// The schedule that sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<SlotView>,
}

/// The time of a schedule for which a job was sent, as shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotView {
    /// The schedule.
    pub name: String,
    /// The time, RFC 3339; absent when somebody asked for a run beside its times.
    pub slot: Option<String>,
}

impl JobView {
    /// Puts a view together.
    ///
    /// # Errors
    /// A sentence when the kept envelope cannot be read (the store was written by something else).
    pub fn build(snapshot: Snapshot) -> Result<Self, String> {
        let Snapshot {
            record,
            envelope,
            result,
            progress,
            properties,
            log,
            log_dropped,
            outputs,
            mut attempts,
            mut past,
            now: _,
        } = snapshot;
        let envelope = Envelope::decode(&envelope).map_err(|error| format!("job {}: {error}", record.id))?;
        let retries = record.all_failures();
        let instance = record.owner.as_ref().map(|owner| owner.instance.0.clone());
        let progress: Option<ProgressView> = progress.map(Into::into);
        let mut log: Vec<LogView> = log.into_iter().map(Into::into).collect();
        if let Some(last) = log.last_mut() {
            last.truncated = log_dropped > 0;
        }
        let last = record.attempts;
        let mut reported = |number: u32| {
            if number == last {
                return (progress.clone(), log.clone());
            }
            let PastReport { log, progress } = past.remove(&number).unwrap_or_default();
            (progress.map(Into::into), log.into_iter().map(Into::into).collect())
        };
        let mut shown: Vec<AttemptView> = attempts
            .drain(..)
            .map(|past| {
                let (progress, log) = reported(past.number);
                AttemptView {
                    number: past.number,
                    instance: past.instance,
                    started: rfc3339(past.started),
                    ended: Some(rfc3339(past.ended)),
                    outcome: past.outcome,
                    error: past.error,
                    kind: past.kind,
                    crash: past.crash.map(Into::into),
                    progress,
                    log,
                }
            })
            .collect();
        if matches!(record.state, State::Active | State::Succeeded) {
            let (progress, log) = reported(record.attempts);
            shown.push(AttemptView {
                number: record.attempts,
                instance: instance.clone().unwrap_or_default(),
                started: record.started.map(rfc3339).unwrap_or_default(),
                ended: record.finished.map(rfc3339),
                outcome: if record.state == State::Active { "running" } else { "succeeded" }.into(),
                error: None,
                kind: None,
                crash: None,
                progress,
                log,
            });
        }
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Self {
            id: record.id,
            topic: record.topic,
            queue: record.queue,
            state: record.state,
            reason: record.reason,
            waiting: None,
            title: envelope.title,
            labels: envelope.labels,
            payload: envelope.payload,
            payload_version: envelope.payload_version,
            inputs: envelope.files,
            outputs,
            attempt: record.attempts,
            retries,
            kinds: record.kinds,
            max_retries: record.max_retries,
            crashes: record.crashes,
            created: rfc3339(record.created),
            created_by: envelope.created_by,
            due: record.due.map(rfc3339),
            expires: record.expires.map(rfc3339),
            retry_until: record.retry_until.map(rfc3339),
            started: record.started.map(rfc3339),
            order_key: envelope.order_key,
            limits: envelope.limits,
            turn: envelope.turn,
            priority: envelope.priority,
            site: record.site,
            unique: envelope.unique,
            instance,
            finished: record.finished.map(rfc3339),
            result: result.and_then(|text| RawValue::from_string(text).ok()),
            message: record.message,
            progress,
            log,
            properties: properties.into_iter().map(|(name, text)| (name, json(text))).collect(),
            attempts: shown,
            parent: envelope.parent,
            retry_of: envelope.retry_of,
            retried_as: record.retried_as,
            trace: envelope.trace,
            schedule: envelope.schedule.map(|by| SlotView { name: by.name, slot: by.slot_ms.map(rfc3339) }),
        })
    }
}
