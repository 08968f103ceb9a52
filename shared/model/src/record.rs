//! The hot record of a job: what changes while it lives, and what the state machine reads.
//!
//! Everything that never changes (payload, labels, title, options) is in the envelope; everything
//! bulky (result, log, properties) has a place of its own in the store. The record stays small.

use crate::gate::{GateName, Gates};
use crate::id::{Fence, Generation, JobId, Owner};
use crate::kind::KindCounts;
use crate::lane::Lane;
use crate::limits;
use crate::placement::Site;
use crate::snapshot::Progress;
use crate::topic::Topic;
use crate::unique::Unique;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waits in the store for its time: a delay, or a snooze.
    Scheduled,
    /// Waits in the store for a gate: an order key, a limit, a dependency.
    Blocked,
    /// Runnable: a lane of the broker holds a message for it.
    Queued,
    /// An instance runs it under a lease.
    Active,
    /// The last attempt failed; waits in the store for its back-off.
    Retrying,
    /// Done. Terminal.
    Succeeded,
    /// Failed for good: a permanent error, a panic, an unreadable payload or result. Terminal.
    Error,
    /// Its retries, or its crash budget, are used up. Terminal.
    GivenUp,
    /// Stopped by somebody. Terminal.
    Stopped,
    /// Removed or expired before it ended. Terminal.
    Dropped,
}

impl State {
    /// Every state, waiting ones first.
    pub const ALL: [Self; 10] = [
        Self::Scheduled,
        Self::Blocked,
        Self::Queued,
        Self::Active,
        Self::Retrying,
        Self::Succeeded,
        Self::Error,
        Self::GivenUp,
        Self::Stopped,
        Self::Dropped,
    ];

    /// The name used in the store, in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Blocked => "blocked",
            Self::Queued => "queued",
            Self::Active => "active",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Error => "error",
            Self::GivenUp => "given_up",
            Self::Stopped => "stopped",
            Self::Dropped => "dropped",
        }
    }

    /// Whether the job has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Error | Self::GivenUp | Self::Stopped | Self::Dropped)
    }

    /// Whether a job in this state ends when it was not started in time.
    #[must_use]
    pub const fn may_expire(self) -> bool {
        matches!(self, Self::Queued | Self::Scheduled | Self::Blocked)
    }

    /// Whether a job in this state counts as one of those that a limit let through.
    #[must_use]
    pub const fn holds_limits(self) -> bool {
        matches!(self, Self::Queued | Self::Active)
    }

    /// Whether the job waits in the store for a point in time.
    #[must_use]
    pub const fn waits_for_time(self) -> bool {
        matches!(self, Self::Scheduled | Self::Retrying)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|state| state.as_str()).collect();
            format!("`{text}` is not a state: use one of {}", names.join(", "))
        })
    }
}

/// Why a job is in its state, where the state alone does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `scheduled`: the sender asked for a delay.
    Delayed,
    /// `scheduled`: the handler asked to be called again later.
    Snoozed,
    /// `scheduled`: its files could not be fetched or kept for now, which is charged to nobody.
    Files,
    /// `retrying` or `queued`: the last attempt failed.
    Failed,
    /// `queued`: the attempt was interrupted (drain, lost lease) and charged to nobody.
    Interrupted,
    /// `queued`: the process that ran it went away without a verdict.
    Crashed,
    /// `error`: the handler said that trying again is useless.
    Permanent,
    /// `error`: the handler panicked.
    Panicked,
    /// `error`: this version of the payload is known, yet it cannot be read.
    UnreadablePayload,
    /// `error`: the result is too large or not JSON.
    BadResult,
    /// `given_up`: failed more often than its retries allow.
    RetriesExhausted,
    /// `given_up`: failed more often in one way than the rule for that kind of error allows.
    KindRetriesExhausted,
    /// `given_up`: its next attempt would begin later than its time for retries allows.
    RetryTimeOver,
    /// `given_up`: its process went away too often, always with others beside it.
    CrashesExhausted,
    /// `given_up`: it takes down every process that runs it; the last one ran nothing else.
    Poison,
    /// `stopped`: somebody asked for it.
    StopRequested,
    /// `dropped`: somebody removed it.
    Removed,
    /// `dropped`: it was not started in time.
    Expired,
    /// `blocked`: jobs before it in its order have not ended.
    Order,
    /// `blocked`: as many as a limit allows are under way, or were let through in its time.
    Limit,
    /// `blocked`: its queue, its topic or its key is paused.
    Paused,
    /// `dropped`: a newer job took its place in the line of a limit.
    Replaced,
    /// `dropped`: its queue drops whatever arrives.
    Discarded,
    /// `dropped`: its queue was full, and a newer job took its place.
    Displaced,
    /// `dropped`: a job before it in its order failed for good.
    Skipped,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 25] = [
        Self::Delayed,
        Self::Snoozed,
        Self::Files,
        Self::Failed,
        Self::Interrupted,
        Self::Crashed,
        Self::Permanent,
        Self::Panicked,
        Self::UnreadablePayload,
        Self::BadResult,
        Self::RetriesExhausted,
        Self::KindRetriesExhausted,
        Self::RetryTimeOver,
        Self::CrashesExhausted,
        Self::Poison,
        Self::StopRequested,
        Self::Removed,
        Self::Expired,
        Self::Order,
        Self::Limit,
        Self::Paused,
        Self::Replaced,
        Self::Discarded,
        Self::Displaced,
        Self::Skipped,
    ];

    /// The name used in the store and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delayed => "delayed",
            Self::Snoozed => "snoozed",
            Self::Files => "files",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Crashed => "crashed",
            Self::Permanent => "permanent",
            Self::Panicked => "panicked",
            Self::UnreadablePayload => "unreadable_payload",
            Self::BadResult => "bad_result",
            Self::RetriesExhausted => "retries_exhausted",
            Self::KindRetriesExhausted => "kind_retries_exhausted",
            Self::RetryTimeOver => "retry_time_over",
            Self::CrashesExhausted => "crashes_exhausted",
            Self::Poison => "poison",
            Self::StopRequested => "stop_requested",
            Self::Removed => "removed",
            Self::Expired => "expired",
            Self::Order => "order",
            Self::Limit => "limit",
            Self::Paused => "paused",
            Self::Replaced => "replaced",
            Self::Discarded => "discarded",
            Self::Displaced => "displaced",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or_else(|| format!("`{text}` is not a reason"))
    }
}

/// The hot record of a job. All times are milliseconds of the store's clock since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The job.
    pub id: JobId,
    /// Its topic.
    pub topic: Topic,
    /// The queue under which it was accepted.
    pub queue: String,
    /// Where it is in its life.
    pub state: State,
    /// Why it is there, where the state alone does not say it.
    pub reason: Option<Reason>,
    /// How often it entered `queued`; a copy in the broker with a smaller one is out of date.
    pub generation: Generation,
    /// The fence of the current or last attempt; grows with every claim and whenever an attempt is taken away.
    pub fence: Fence,
    /// Attempts started.
    pub attempts: u32,
    /// Attempts that failed, counted against `max_retries`.
    pub failures: u32,
    /// Attempts that ended without a verdict. From [`limits::SUSPECT_CRASHES`] on the job runs alone only.
    pub crashes: u32,
    /// Failures that are allowed before the last one; -1 without end.
    pub max_retries: i32,
    /// The crash that gives the job up, if nothing ran beside it; else it is [`limits::SHARED_CRASHES`].
    pub max_crashes: u32,
    /// Who runs it, or who ran it last.
    pub owner: Option<Owner>,
    /// The delivery under which it was claimed, so that a claim whose answer was lost can be repeated.
    pub nonce: String,
    /// When it was accepted.
    pub created: u64,
    /// When it entered its state.
    pub since: u64,
    /// When it becomes runnable (`scheduled`, `retrying`).
    pub due: Option<u64>,
    /// When the current or last attempt started.
    pub started: Option<u64>,
    /// When it ended.
    pub finished: Option<u64>,
    /// When the lease of the current attempt ends (`active`).
    pub lease: Option<u64>,
    /// Not to be started at or after this time.
    pub expires: Option<u64>,
    /// Who asked the running attempt to stop.
    pub cancel: Option<String>,
    /// The message of the last attempt: an error, or what a successful handler said.
    pub message: Option<String>,
    /// When the relay may publish it (`queued`, until a publish was confirmed).
    pub outbox: Option<u64>,
    /// When the broker last confirmed a copy of this generation (`queued`).
    pub published: Option<u64>,
    /// How often this generation went back into the outbox because the broker had lost its copies (`queued`).
    pub republished: u32,
    /// The newest job that was made from this one by a retry of its history.
    pub retried_as: Option<JobId>,
    /// What it has to pass before it is queued.
    pub gates: Gates,
    /// Where it is to run; `None`: wherever somebody takes its topic.
    pub site: Option<Site>,
    /// The key that no other job may have, and for how long.
    pub unique: Option<Unique>,
    /// Its place in every line: grows with each job that asks something of gates. Kept for life.
    pub place: Option<u64>,
    /// The gate that it waits at (`blocked`), and the turn under which it waits there.
    pub waits_at: Option<WaitsAt>,
    /// Attempts that failed in a way that has retries of its own; they are not among `failures`.
    pub kinds: KindCounts,
    /// No attempt begins after this time. Set by the first failure that has a time for retries.
    pub retry_until: Option<u64>,
}

/// Where a blocked job waits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WaitsAt {
    /// The gate.
    pub gate: GateName,
    /// On whose behalf; empty where nobody takes turns.
    pub turn: String,
}

/// What the store is told when a job is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The job.
    pub id: JobId,
    /// Its topic.
    pub topic: Topic,
    /// Its queue.
    pub queue: String,
    /// When it becomes runnable.
    pub start: Start,
    /// See [`Record::max_retries`].
    pub max_retries: i32,
    /// See [`Record::max_crashes`].
    pub max_crashes: u32,
    /// Not to be started at or after this time.
    pub expires: Option<Expiry>,
    /// What it has to pass before it is queued.
    pub gates: Gates,
    /// See [`Record::site`].
    pub site: Option<Site>,
    /// The key that no other job may have, and for how long.
    pub unique: Option<Unique>,
}

/// When a new job becomes runnable, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At once.
    Now,
    /// After so many milliseconds.
    After(u64),
    /// At a time, in milliseconds since 1970.
    At(u64),
    /// Never: it is dropped when it arrives, as its queue says.
    Never,
}

impl Start {
    /// The time of a job that was accepted then, ms.
    #[must_use]
    pub const fn at(self, accepted_ms: u64) -> u64 {
        match self {
            Self::Now | Self::Never => accepted_ms,
            Self::After(ms) => accepted_ms.saturating_add(ms),
            Self::At(at) => at,
        }
    }
}

/// The last moment at which a job may be started, by the store's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// So many milliseconds after it was accepted.
    After(u64),
    /// At a time, in milliseconds since 1970.
    At(u64),
}

impl Admission {
    /// The lane in which it waits once it is runnable.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::of(self.topic.clone(), self.gates.priority, self.site.clone())
    }
}

impl Record {
    /// The lane in which it waits while it is runnable.
    #[must_use]
    pub fn lane(&self) -> Lane {
        Lane::of(self.topic.clone(), self.gates.priority, self.site.clone())
    }

    /// The record of a job that somebody made again of what the broker holds (T6, without the claim). `copy`: the
    /// generation of the broker's copy, if it has a runnable one.
    #[must_use]
    pub fn restore(admission: &Admission, now_ms: u64, enqueued: u64, copy: Option<Generation>, fence: Fence) -> Self {
        let mut record = Self { created: enqueued.min(now_ms), fence, ..Self::admit(admission, now_ms) };
        if let (State::Queued, Some(copy)) = (record.state, copy) {
            record.generation = record.generation.max(copy);
            (record.outbox, record.published) = (None, Some(now_ms));
        }
        record
    }

    /// The record of a job that is accepted now (T1, T2): `queued` and in the outbox, or `scheduled`.
    #[must_use]
    pub fn admit(admission: &Admission, now_ms: u64) -> Self {
        let due = Some(admission.start.at(now_ms)).filter(|due| *due > now_ms);
        let dropped = admission.start == Start::Never;
        let expires = admission.expires.map(|expiry| match expiry {
            Expiry::After(ms) => now_ms + ms,
            Expiry::At(at) => at,
        });
        Self {
            id: admission.id,
            topic: admission.topic.clone(),
            queue: admission.queue.clone(),
            state: match due {
                _ if dropped => State::Dropped,
                Some(_) => State::Scheduled,
                None => State::Queued,
            },
            reason: if dropped { Some(Reason::Discarded) } else { due.map(|_| Reason::Delayed) },
            generation: Generation(u64::from(due.is_none() && !dropped)),
            fence: Fence(0),
            attempts: 0,
            failures: 0,
            crashes: 0,
            max_retries: admission.max_retries,
            max_crashes: admission.max_crashes,
            owner: None,
            nonce: String::new(),
            created: now_ms,
            since: now_ms,
            due,
            started: None,
            finished: dropped.then_some(now_ms),
            lease: None,
            expires,
            cancel: None,
            message: None,
            outbox: (due.is_none() && !dropped).then_some(now_ms + limits::OUTBOX_GRACE_MS),
            published: None,
            republished: 0,
            retried_as: None,
            gates: admission.gates.clone(),
            site: admission.site.clone(),
            unique: admission.unique.clone(),
            place: None,
            waits_at: None,
            kinds: KindCounts::default(),
            retry_until: None,
        }
    }
}

/// How one attempt ended, as kept with the job. The last attempt of a job that succeeded is not kept here: the
/// record itself tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastAttempt {
    /// Its number; the first is 1.
    pub number: u32,
    /// The instance that ran it.
    pub instance: String,
    /// When it started, ms since 1970.
    pub started: u64,
    /// When it ended, ms since 1970.
    pub ended: u64,
    /// `failed`, `error`, `snoozed`, `interrupted`, `crashed`, `stopped`, `removed`.
    pub outcome: String,
    /// What the handler, or Longshore, said about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The kind of that error, where somebody named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// What is known of its process, where that went away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<Crash>,
}

/// What is known of an attempt whose process went away; those of a job are its dossier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crash {
    /// The start of the instance that went away.
    pub incarnation: String,
    /// Whether nothing else ran in the process, as far as the store can tell.
    pub alone: bool,
    /// How many attempts of other jobs it took with it.
    pub beside: u32,
    /// Some of those jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<JobId>,
    /// The last progress that the attempt reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl Record {
    /// Whether it is too late to start it.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires.is_some_and(|expires| expires <= now_ms)
    }

    /// Whether it is too late for another attempt of a job that has failed.
    #[must_use]
    pub fn is_over_time(&self, now_ms: u64) -> bool {
        self.retry_until.is_some_and(|until| until < now_ms)
    }

    /// Attempts that failed, in whatever way.
    #[must_use]
    pub fn all_failures(&self) -> u32 {
        self.failures.saturating_add(self.kinds.total())
    }

    /// Whether a copy of this generation is older than the record. A copy of generation 0 carries none.
    #[must_use]
    pub const fn is_outdated(&self, copy: Generation) -> bool {
        copy.0 != 0 && copy.0 < self.generation.0
    }

    /// Whether the job runs alone in its process, or not at all.
    #[must_use]
    pub const fn is_suspect(&self) -> bool {
        self.crashes >= limits::SUSPECT_CRASHES
    }
}
