//! What a schedule is to do, as its maker defines it, and everything that can be wrong with that.

use super::timing::{self, Times, Timing};
use crate::envelope::{Envelope, Slot};
use crate::id::JobId;
use crate::queue::Queues;
use crate::record::{Admission, Expiry, Start};
use crate::{limits, span};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The label by which the jobs of a schedule are found; its value is the schedule's name.
pub const LABEL: &str = "schedule";

/// What a schedule is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// Its name in the namespace: 1 to 128 letters, digits and `-_./:`.
    pub name: String,
    /// The job that it sends.
    pub job: Template,
    /// When it sends it: the union of these.
    pub timings: Vec<Timing>,
    /// The zone whose clock calendar timings go by; an IANA name.
    pub zone: String,
    /// What happens while the job before has not ended.
    pub overlap: Overlap,
    /// What happens with times that nobody was there for.
    pub missed: Missed,
    /// Each time is put off by up to so much, ms: always the same for one name and one time.
    pub jitter_ms: u64,
}

/// The job that a schedule sends, but for what each sending has of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Template {
    /// As it will travel; id, queue and expiry are set when it is sent.
    pub envelope: Envelope,
    /// Not to be started so long after it was sent, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
}

/// What a schedule does when its time comes and the job that it sent last has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It sends one more.
    #[default]
    Allow,
    /// It lets this time pass.
    Skip,
    /// It sends one when that has ended; further times until then pass.
    QueueOne,
}

impl Overlap {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Skip, Self::QueueOne];

    /// The word in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::QueueOne => "queue_one",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Overlap {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|overlap| overlap.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is not an overlap policy: use allow, skip or queue_one"))
    }
}

/// What a schedule does about times that passed more than [`limits::SCHEDULE_LATE_MS`] ago, because nobody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// They are over.
    Skip,
    /// However many there were, it sends one job, for the newest.
    #[default]
    Last,
    /// It sends one job for each that is not older than this, oldest first.
    All {
        /// The age, ms.
        window_ms: u64,
    },
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::Last => f.write_str("last"),
            Self::All { window_ms } => write!(f, "all:{}", span::show(Duration::from_millis(*window_ms))),
        }
    }
}

impl FromStr for Missed {
    type Err = String;

    /// Reads `skip`, `last`, or `all:6h`, where `6h` is the window.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "skip" => Ok(Self::Skip),
            "last" => Ok(Self::Last),
            _ => {
                let window = text.strip_prefix("all:").ok_or_else(|| {
                    format!("`{text}` is not a policy for missed times: use skip, last or all:WINDOW, such as all:6h")
                })?;
                let window = span::parse(window).map_err(|error| error.to_string())?;
                Ok(Self::All { window_ms: span::ms(window) })
            }
        }
    }
}

/// Something wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `timings[0].hour`.
    pub field: String,
    /// What is wrong, and the remedy.
    pub why: String,
}

impl Problem {
    /// Something wrong.
    #[must_use]
    pub fn new(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { field: field.into(), why: why.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

/// Checks the name of a schedule.
///
/// # Errors
/// A sentence that names the text and the grammar.
pub fn check_name(name: &str) -> Result<(), String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"-_./:".contains(&b);
    if name.is_empty() || name.len() > limits::SCHEDULE_NAME_BYTES || !name.bytes().all(legal) {
        let (shown, most) = (limits::cut(name, 80), limits::SCHEDULE_NAME_BYTES);
        return Err(format!("`{}` is not a name: use 1 to {most} letters, digits and `-_./:`", shown.escape_debug()));
    }
    Ok(())
}

impl Spec {
    /// Everything that is wrong with it, at a time (ms since 1970); `before` are timings that it had already and that
    /// may therefore be due.
    #[must_use]
    pub fn problems(&self, now: u64, before: &[Timing]) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Err(why) = check_name(&self.name) {
            problems.push(Problem::new("name", why));
        }
        self.job.check(&mut problems);
        if self.timings.is_empty() {
            problems.push(Problem::new("timings", "there are none; say when it is to fire, such as every 10m"));
        }
        let (count, most) = (self.timings.len(), limits::SCHEDULE_TIMINGS);
        if count > most {
            problems.push(Problem::new("timings", format!("{count} is more than {most}; make several schedules")));
        }
        for (index, timing) in self.timings.iter().enumerate().take(most) {
            let field = format!("timings[{index}]");
            timing.check(&field, &mut problems);
            if let Timing::At { ms } = timing
                && !before.contains(timing)
                && let Err(why) = check_ahead(*ms, now)
            {
                problems.push(Problem::new(format!("{field}.at"), why));
            }
        }
        if let Err(why) = timing::zone(&self.zone) {
            problems.push(Problem::new("zone", why));
        }
        if self.jitter_ms > limits::SCHEDULE_JITTER_MS {
            problems.push(Problem::new("jitter", "more than a day; choose a shorter one"));
        }
        self.check_window(now, &mut problems);
        problems
    }

    /// Refuses what would make more jobs up at once than anybody means.
    fn check_window(&self, now: u64, problems: &mut Vec<Problem>) {
        let Missed::All { window_ms } = self.missed else { return };
        if !(1..=limits::SCHEDULE_WINDOW_MS).contains(&window_ms) {
            problems.push(Problem::new("missed", "the window is not between 1ms and 7d; choose another length"));
            return;
        }
        // Only where everything else can be read.
        let Some(times) = problems.is_empty().then(|| self.times(now)).and_then(Result::ok) else { return };
        let most = limits::SCHEDULE_CATCH_UP;
        let upcoming = times.upcoming(now, most + 1);
        if upcoming.get(most).is_some_and(|last| *last <= now.saturating_add(window_ms)) {
            let why = format!("it would make up more than {most} times at once; shorten the window");
            problems.push(Problem::new("missed", why));
        }
    }

    /// Its timings, ready to be asked.
    ///
    /// # Errors
    /// As [`Times::new`].
    pub fn times(&self, anchor: u64) -> Result<Times, String> {
        Times::new(&self.timings, &self.zone, anchor)
    }

    /// By how much a time is put off, ms.
    #[must_use]
    pub fn jitter(&self, slot: u64) -> u64 {
        if self.jitter_ms == 0 { 0 } else { mixed(&self.name, slot) % (self.jitter_ms + 1) }
    }

    /// Whether two definitions are the same, whatever their JSON looks like.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let value = |spec: &Self| serde_json::to_value(spec).ok();
        value(self).is_some_and(|mine| Some(mine) == value(other))
    }
}

/// A time that is to come must not be over before the schedule is known everywhere.
fn check_ahead(at: u64, now: u64) -> Result<(), String> {
    if at < now.saturating_add(limits::SCHEDULE_LEAD_MS) {
        let lead = span::show(Duration::from_millis(limits::SCHEDULE_LEAD_MS));
        return Err(format!(
            "{} is less than {lead} ahead; choose a later time, or send the job now",
            span::rfc3339(at)
        ));
    }
    if at - now > limits::DELAY_MS {
        return Err(format!("{} is more than a year ahead; choose an earlier time, or cron", span::rfc3339(at)));
    }
    Ok(())
}

/// A number that is always the same for a name and a time, and spread evenly (FNV-1a with a finish).
fn mixed(name: &str, slot: u64) -> u64 {
    let bytes = name.bytes().chain(slot.to_be_bytes());
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

impl Template {
    /// About how much a job takes, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.envelope.payload.get().len() + 1_024
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        let mut wrong = |field: &str, why: String| problems.push(Problem::new(field, why));
        let bytes = self.envelope.payload.get().len();
        if bytes > limits::INLINE_BYTES {
            wrong(
                "job.payload",
                format!("{bytes} bytes is more than {}; let the handler fetch it", limits::INLINE_BYTES),
            );
        }
        if let Err(why) = self.envelope.encode() {
            wrong("job", why.to_string());
        }
        if !self.envelope.files.is_empty() {
            wrong("job.files", "a schedule's jobs have none; let the handler fetch them".into());
        }
        if self.envelope.labels.contains_key(LABEL) {
            wrong("job.labels", format!("`{LABEL}` is set to the schedule's name; choose another label"));
        } else if self.envelope.labels.len() >= limits::LABELS {
            wrong("job.labels", format!("one of {} is for the schedule; leave one out", limits::LABELS));
        }
        if self.expires_in_ms.is_some_and(|ms| ms == 0 || ms > limits::DELAY_MS) {
            wrong("job.expires_in", "it is not between 1ms and a year; leave it out for never".into());
        }
    }

    /// The job of one sending: how it is accepted, and what travels. `slot` is the time that it is sent for, `now` the
    /// store's clock, ms.
    #[must_use]
    pub fn job(&self, id: JobId, name: &str, slot: Option<u64>, now: u64, queues: &Queues) -> (Admission, Envelope) {
        let mut envelope = self.envelope.clone();
        envelope.id = id;
        envelope.created_by.get_or_insert_with(|| format!("schedule {name}"));
        let queue = queues.resolve(&envelope.topic);
        queue.apply(&mut envelope);
        envelope.site = envelope.site_in(queues);
        let start = queue.start(Start::Now);
        envelope.queue = Some(queue.name);
        envelope.expires_ms = self.expires_in_ms.map(|ms| now.saturating_add(ms));
        envelope.labels.insert(LABEL.to_owned(), name.to_owned());
        envelope.schedule = Some(Slot { name: name.to_owned(), slot_ms: slot });
        let mut admission = envelope.admission(queues);
        admission.start = start;
        admission.expires = self.expires_in_ms.map(Expiry::After);
        (admission, envelope)
    }
}
