//! The context of an attempt: what a handler may know of its job and say about it.
//!
//! Cheap to clone, safe to move into tasks. It never shows the broker or the store: what a handler
//! reports goes through [`ReportSink`] to whoever runs it (the engine, or a test run), fenced there.

use crate::follow_up::{BadFollowUp, FollowUp};
use crate::outcome::Outcome;
use longshore_link::signal;
use longshore_link::store::Report;
use longshore_link::world::Clock;
use longshore_model::envelope::{Envelope, Trace};
use longshore_model::id::{Fence, JobId};
use longshore_model::kind::{self, RetryRules};
use longshore_model::limits;
use longshore_model::snapshot::Progress;
use longshore_model::token::Token;
use longshore_model::topic::Topic;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Why an attempt was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cancelled {
    /// Somebody asked for the job to be stopped; it ends as `stopped` unless the handler succeeds all the same.
    #[error("stop was requested: {0}")]
    Stopped(String),
    /// The process shuts down and its grace is over; the job runs again elsewhere and is charged nothing.
    #[error("the instance shuts down")]
    Shutdown,
    /// The instance cannot prove that it is alive, or the job was taken away; what the attempt still does counts for
    /// nothing.
    #[error("the lease was lost: {0}")]
    LeaseLost(String),
    /// It ran longer than it may; a failed attempt.
    #[error("it ran longer than {}", longshore_model::span::show(*.0))]
    TimedOut(Duration),
    /// It gave no sign of life for so long; a failed attempt.
    #[error("it gave no sign of life for {}", longshore_model::span::show(*.0))]
    Stalled(Duration),
}

impl Cancelled {
    /// The kind of error of an attempt that failed for this reason.
    pub(crate) const fn kind(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut(_) => Some(kind::TIMEOUT),
            Self::Stalled(_) => Some(kind::STALLED),
            Self::Stopped(_) | Self::Shutdown | Self::LeaseLost(_) => None,
        }
    }
}

/// What does not change during an attempt.
#[derive(Debug)]
pub struct JobInfo {
    /// The job.
    pub id: JobId,
    /// Its topic.
    pub topic: Topic,
    /// Number of the attempt, from 1; counts every start.
    pub attempt: u32,
    /// Failures before it, of whatever kind.
    pub retry: u32,
    /// The attempt's fence: strictly greater than that of every earlier attempt of the job. Hand it, with the id, to
    /// whatever the handler writes to, so that a late writer can be refused there as well.
    pub fence: Fence,
    /// How long the attempt may run, where somebody said so.
    pub timeout: Option<Duration>,
    /// When it is told that it had better come to an end, where somebody said so.
    pub soft_timeout: Option<Duration>,
    /// The rules by kind of error that hold for it: the job's, its handler's, its queue's.
    pub retry_rules: RetryRules,
    /// The envelope.
    pub envelope: Arc<Envelope>,
    /// The right to end the attempt from anywhere.
    pub token: Token,
    /// Input files were delivered here.
    pub input_dir: Option<PathBuf>,
}

/// The context of an attempt.
#[derive(Clone, Debug)]
pub struct Ctx {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    job: JobInfo,
    cancel: signal::Receiver<Option<Cancelled>>,
    sink: ReportSink,
    clock: Clock,
    work_dir: PathBuf,
    output_dir: OnceLock<PathBuf>,
    progress: Mutex<ProgressState>,
    follow_ups: Mutex<Vec<(JobId, FollowUp)>>,
    /// Names of the properties that this attempt has set.
    named: Mutex<BTreeSet<String>>,
    deferred: Mutex<Option<oneshot::Receiver<Outcome>>>,
    /// Whether the soft timeout has passed.
    finish: AtomicBool,
    /// Woken when it passes.
    told: Notify,
    /// The last sign of life, microseconds of the boot clock.
    sign: AtomicU64,
}

#[derive(Debug, Default)]
struct ProgressState {
    started: Option<Duration>,
    now: Progress,
}

/// What an attempt wants to be written, collected until somebody takes it.
#[derive(Clone, Debug)]
pub struct ReportSink {
    inner: Arc<SinkInner>,
}

#[derive(Debug, Default)]
struct SinkInner {
    pending: Mutex<Report>,
    /// Kept log lines of the attempt.
    keep: usize,
    /// Woken when there is something to take.
    filled: Notify,
    /// Every progress that was ever said, for test runs.
    journal: Option<Mutex<Vec<Progress>>>,
}

impl ReportSink {
    /// A sink for an attempt of whose log so many lines are kept.
    #[must_use]
    pub fn keeping(lines: usize) -> Self {
        Self { inner: Arc::new(SinkInner { keep: lines, ..SinkInner::default() }) }
    }

    /// A sink that remembers every progress.
    pub(crate) fn journalled() -> Self {
        Self {
            inner: Arc::new(SinkInner {
                journal: Some(Mutex::default()),
                keep: limits::LOG_LINES,
                ..SinkInner::default()
            }),
        }
    }

    /// Every progress so far, of a journalled sink.
    pub(crate) fn journal(&self) -> Vec<Progress> {
        let journal = self.inner.journal.as_ref();
        journal.map(|journal| journal.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }

    /// Takes everything collected so far.
    #[must_use]
    pub fn take(&self) -> Report {
        std::mem::take(&mut *self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts back what could not be written, older than anything collected since.
    pub fn put_back(&self, mut older: Report) {
        let mut pending = self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = std::mem::take(&mut *pending);
        older.log.extend(newer.log);
        older.properties.extend(newer.properties);
        older.progress = newer.progress.or(older.progress);
        older.dropped += newer.dropped;
        trim_log(&mut older, self.inner.keep);
        *pending = older;
    }

    /// Waits until there is something to take.
    pub async fn filled(&self) {
        self.inner.filled.notified().await;
    }

    /// Files are on their way: so many bytes of so many. The handler's own progress is not touched by it.
    pub(crate) fn transfer(&self, done: u64, of: u64, text: String) {
        let progress = Progress { step: done, steps: of, eta: None, text: Some(text) };
        self.with(|report| report.progress = Some(progress));
    }

    /// A line for the job's log that no handler wrote.
    pub(crate) fn warn(&self, text: &str) {
        let line = limits::cut(text, limits::LOG_LINE_BYTES);
        self.with(|report| report.log.push(("warn".into(), line)));
    }

    fn with(&self, change: impl FnOnce(&mut Report)) {
        let mut pending = self.inner.pending.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut pending);
        trim_log(&mut pending, self.inner.keep);
        let empty = pending.is_empty();
        drop(pending);
        if !empty {
            self.inner.filled.notify_one();
        }
    }
}

/// The newest lines are kept, and the others counted.
fn trim_log(report: &mut Report, keep: usize) {
    let over = report.log.len().saturating_sub(keep);
    report.log.drain(..over);
    report.dropped += over as u64;
    report.keep = (!report.log.is_empty()).then_some(keep);
}

/// A property that cannot be set, or one too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("property `{name}`: {why}")]
pub struct BadProperty {
    /// Its name, shortened.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// The attempt had been completed before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the attempt was completed before, or is over")]
pub struct AlreadyCompleted;

/// Completes a deferred attempt, from any task, once.
#[derive(Debug)]
pub struct Deferred {
    sender: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl Deferred {
    /// Ends the attempt.
    ///
    /// # Errors
    /// [`AlreadyCompleted`] for a second call, and when the attempt is over for another reason (PR-04).
    pub fn complete(&self, outcome: Outcome) -> Result<(), AlreadyCompleted> {
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(AlreadyCompleted)?;
        sender.send(outcome).map_err(|_| AlreadyCompleted)
    }
}

/// What whoever runs the handler keeps of a context.
#[derive(Debug)]
pub(crate) struct Controls {
    /// Cancels the attempt.
    pub(crate) cancel: signal::Sender<Option<Cancelled>>,
    /// What the handler reports.
    pub(crate) sink: ReportSink,
}

impl Ctx {
    pub(crate) fn new(job: JobInfo, clock: Clock, work_dir: PathBuf, sink: ReportSink) -> (Self, Controls) {
        let cancel = signal::Sender::new(None);
        let receiver = cancel.subscribe();
        let inner = Inner {
            job,
            cancel: receiver,
            sink: sink.clone(),
            clock,
            work_dir,
            output_dir: OnceLock::new(),
            progress: Mutex::default(),
            follow_ups: Mutex::default(),
            named: Mutex::default(),
            deferred: Mutex::default(),
            finish: AtomicBool::new(false),
            told: Notify::new(),
            sign: AtomicU64::new(0),
        };
        (Self { inner: Arc::new(inner) }, Controls { cancel, sink })
    }

    /// What is known of the job.
    #[must_use]
    pub fn job(&self) -> &JobInfo {
        &self.inner.job
    }

    /// The job's id: use it as idempotency key for effects outside.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.inner.job.id
    }

    /// The job's topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.inner.job.topic
    }

    /// Number of this attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.inner.job.attempt
    }

    /// Failed attempts before this one, from 0.
    #[must_use]
    pub fn retry(&self) -> u32 {
        self.inner.job.retry
    }

    /// The attempt's fence.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.inner.job.fence
    }

    /// The right to end this attempt (S07): a text that this handler gives to somebody else, who ends the attempt with
    /// `Producer::complete` or `longshore job complete`, in any process that reaches the store. Return
    /// [`Outcome::GivenAway`] after handing it over. Keep it as you keep a password: whoever has it says how the job
    /// ends.
    #[must_use]
    pub fn token(&self) -> Token {
        self.inner.job.token.clone()
    }

    /// The payload as it was sent, JSON.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.inner.job.envelope.payload.get()
    }

    /// The payload as a type.
    ///
    /// # Errors
    /// What serde says when the payload has another shape.
    pub fn payload_as<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.payload())
    }

    /// The trace context of whoever sent the job.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        self.inner.job.envelope.trace.as_ref()
    }

    /// Where the payload files are, if the job has any.
    #[must_use]
    pub fn input_dir(&self) -> Option<&Path> {
        self.inner.job.input_dir.as_deref()
    }

    /// Where to leave output files. They are kept with the job when the attempt succeeds, before its state says so.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn output_dir(&self) -> std::io::Result<&Path> {
        if let Some(made) = self.inner.output_dir.get() {
            return Ok(made);
        }
        let dir = self.inner.work_dir.join(format!("{}-{}-out", self.id(), self.fence().0));
        std::fs::create_dir_all(&dir)?;
        Ok(self.inner.output_dir.get_or_init(|| dir))
    }

    pub(crate) fn made_output_dir(&self) -> Option<PathBuf> {
        self.inner.output_dir.get().cloned()
    }

    /// Why the attempt was cancelled, if it was.
    #[must_use]
    pub fn cancelled(&self) -> Option<Cancelled> {
        self.inner.cancel.borrow().clone()
    }

    /// Whether the handler should stop soon (U10).
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.inner.cancel.borrow().is_some()
    }

    /// Waits until the attempt is cancelled.
    pub async fn until_cancelled(&self) -> Cancelled {
        let mut cancel = self.inner.cancel.clone();
        let found = cancel.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match found {
            Some(reason) => reason,
            // Nobody is left who could cancel: the attempt is over.
            None => Cancelled::LeaseLost("the attempt is over".into()),
        }
    }

    /// Whether the handler had better come to an end: its soft timeout has passed, or it was cancelled. What it answers
    /// after its soft timeout counts as ever: a result, a snooze to go on later, a failure.
    #[must_use]
    pub fn should_finish(&self) -> bool {
        self.inner.finish.load(Ordering::Acquire) || self.is_stopped()
    }

    /// Waits until [`Self::should_finish`]; for ever, where there is no soft timeout and nobody cancels.
    pub async fn until_should_finish(&self) {
        let told = self.inner.told.notified();
        if !self.should_finish() {
            tokio::select! {
                biased;
                () = told => {}
                _ = self.until_cancelled() => {}
            }
        }
    }

    pub(crate) fn tell_to_finish(&self) {
        self.inner.finish.store(true, Ordering::Release);
        self.inner.told.notify_waiters();
    }

    /// A sign of life, and nothing else: the stall timeout begins anew. Progress, log lines and properties are signs of
    /// life as well.
    pub fn beat(&self) {
        let now = u64::try_from(self.inner.clock.boot().as_micros()).unwrap_or(u64::MAX);
        self.inner.sign.fetch_max(now, Ordering::Relaxed);
    }

    /// No sign of life is expected any more.
    pub(crate) fn rest(&self) {
        self.inner.sign.store(u64::MAX, Ordering::Relaxed);
    }

    /// When the last sign of life was, by the boot clock.
    pub(crate) fn last_sign(&self) -> Duration {
        Duration::from_micros(self.inner.sign.load(Ordering::Relaxed))
    }

    /// A good moment to stop: fails when the attempt was cancelled. Use it with `?` between pieces of work.
    ///
    /// # Errors
    /// [`Cancelled`] with the reason.
    pub async fn checkpoint(&self) -> Result<(), Cancelled> {
        tokio::task::yield_now().await;
        self.cancelled().map_or(Ok(()), Err)
    }

    /// Waits, but not beyond a cancellation.
    ///
    /// # Errors
    /// [`Cancelled`] with the reason.
    pub async fn sleep(&self, span: Duration) -> Result<(), Cancelled> {
        tokio::select! {
            biased;
            reason = self.until_cancelled() => Err(reason),
            () = self.inner.clock.sleep(span) => Ok(()),
        }
    }

    /// Begins to count steps, with an expected duration where one is known. Only the first call of an attempt counts
    /// (U07).
    pub fn init_progress(&self, steps: u64, expected: Option<Duration>) {
        let eta = expected.filter(|span| !span.is_zero()).map(|span| self.unix_ms() + longshore_model::span::ms(span));
        self.change_progress(|state, boot| {
            if state.started.is_none() {
                state.started = Some(boot);
                state.now.steps = steps;
                state.now.eta = eta;
            }
        });
    }

    /// Counts steps done, at most as many as there are, and works the expected end out anew from the pace so far.
    /// Nothing happens before [`Self::init_progress`] or without steps.
    pub fn advance(&self, steps: u64) {
        let now = self.unix_ms();
        self.change_progress(|state, boot| {
            let Some(started) = state.started.filter(|_| state.now.steps > 0 && steps > 0) else { return };
            state.now.step = (state.now.step + steps).min(state.now.steps);
            let elapsed = longshore_model::span::ms(boot.saturating_sub(started));
            let left = state.now.steps - state.now.step;
            state.now.eta = Some(now + elapsed.saturating_mul(left) / state.now.step.max(1));
        });
    }

    /// Sets the expected time left, or takes it back (`None`). Nothing happens before [`Self::init_progress`].
    pub fn expect(&self, left: Option<Duration>) {
        let eta = left.filter(|span| !span.is_zero()).map(|span| self.unix_ms() + longshore_model::span::ms(span));
        self.change_progress(|state, _| {
            if state.started.is_some() {
                state.now.eta = eta;
            }
        });
    }

    /// Says where the work stands, in one call: `step` of `steps`, and a sentence.
    pub fn progress(&self, step: u64, steps: u64, text: impl Into<String>) -> &Self {
        let (now, text) = (self.unix_ms(), limits::cut(&text.into(), limits::MESSAGE_BYTES));
        self.change_progress(|state, boot| {
            let started = *state.started.get_or_insert(boot);
            state.now.steps = steps;
            state.now.step = if steps > 0 { step.min(steps) } else { step };
            state.now.text = (!text.is_empty()).then_some(text);
            let elapsed = longshore_model::span::ms(boot.saturating_sub(started));
            let left = steps.saturating_sub(state.now.step);
            state.now.eta =
                (state.now.step > 0 && left > 0).then(|| now + elapsed.saturating_mul(left) / state.now.step);
        });
        self
    }

    fn change_progress(&self, change: impl FnOnce(&mut ProgressState, Duration)) {
        self.beat();
        let boot = self.inner.clock.boot();
        let mut state = self.inner.progress.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state, boot);
        let now = state.now.clone();
        drop(state);
        if let Some(journal) = &self.inner.sink.inner.journal {
            journal.lock().unwrap_or_else(PoisonError::into_inner).push(now.clone());
        }
        self.inner.sink.with(|report| report.progress = Some(now));
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    fn unix_ms(&self) -> u64 {
        self.inner.clock.unix_ms()
    }

    /// Adds a line to the job's log: the newest 200 are kept, or as many as `instance.log_lines` says; long ones are cut
    /// (U08).
    pub fn log(&self, text: impl Into<String>) -> &Self {
        self.log_at("info", text)
    }

    /// Adds a line with a level of its own: `debug`, `info`, `warn`, `error`.
    pub fn log_at(&self, level: &str, text: impl Into<String>) -> &Self {
        self.beat();
        let line = limits::cut(&text.into(), limits::LOG_LINE_BYTES);
        let level = limits::cut(level, 16);
        self.inner.sink.with(|report| report.log.push((level, line)));
        self
    }

    /// Sets a property of the job, visible to whoever looks at it (U09).
    ///
    /// # Errors
    /// [`BadProperty`] when the name is empty, too long or begins with `longshore.` or `slingevent:`, and when the
    /// value is null, not JSON or too large (PR-03), or when it is one more than [`limits::PROPERTIES`].
    pub fn set(&self, name: &str, value: impl Serialize) -> Result<(), BadProperty> {
        self.beat();
        let bad = |why: &str| BadProperty { name: limits::cut(name, 80), why: why.to_owned() };
        if name.is_empty() || name.len() > limits::LABEL_BYTES {
            return Err(bad("give it a name of 1 to 256 bytes"));
        }
        if ["longshore.", "slingevent:", ":slingevent:", ":longshore"].iter().any(|own| name.starts_with(own)) {
            return Err(bad("this prefix is reserved; choose another name"));
        }
        let text = serde_json::to_string(&value).map_err(|error| bad(&format!("its value is not JSON: {error}")))?;
        if text == "null" {
            return Err(bad("its value is null; there is nothing to set"));
        }
        if text.len() > limits::PROPERTY_BYTES {
            return Err(bad(&format!("its value has {} bytes, more than {}", text.len(), limits::PROPERTY_BYTES)));
        }
        let mut named = self.inner.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= limits::PROPERTIES && !named.contains(name) {
            return Err(bad(&format!(
                "it is one more than {}; put several values into one object",
                limits::PROPERTIES
            )));
        }
        named.insert(name.to_owned());
        drop(named);
        self.inner.sink.with(|report| {
            report.properties.insert(name.to_owned(), text);
        });
        Ok(())
    }

    /// Sends a follow-up job if, and only if, this attempt succeeds: it is accepted in the same step that ends this
    /// job. Its id is derived from this job's, so that a repeated attempt sends the same jobs, not more.
    ///
    /// # Errors
    /// [`BadFollowUp`] for a job that would be refused, or one too many.
    pub fn enqueue<J: longshore_model::Job>(&self, job: &J) -> Result<JobId, BadFollowUp> {
        self.enqueue_with(FollowUp::new(job)?)
    }

    /// As [`Self::enqueue`], with options.
    ///
    /// # Errors
    /// As [`Self::enqueue`].
    pub fn enqueue_with(&self, job: FollowUp) -> Result<JobId, BadFollowUp> {
        let mut follow_ups = self.inner.follow_ups.lock().unwrap_or_else(PoisonError::into_inner);
        if follow_ups.len() >= limits::FOLLOW_UPS {
            return Err(BadFollowUp(format!("an attempt sends at most {} follow-up jobs", limits::FOLLOW_UPS)));
        }
        let id = self.id().follow_up(u32::try_from(follow_ups.len()).unwrap_or(u32::MAX));
        follow_ups.push((id, job));
        Ok(id)
    }

    /// Whether the attempt has something to commit that nobody but this process could.
    pub(crate) fn has_own_output(&self) -> bool {
        let follow_ups = self.inner.follow_ups.lock().unwrap_or_else(PoisonError::into_inner);
        !follow_ups.is_empty() || self.made_output_dir().is_some()
    }

    pub(crate) fn take_follow_ups(&self) -> Vec<(JobId, FollowUp)> {
        std::mem::take(&mut *self.inner.follow_ups.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the attempt end later: return [`Outcome::Deferred`] and complete the handle from anywhere in this process.
    ///
    /// # Errors
    /// [`AlreadyCompleted`] when the attempt has been deferred before.
    pub fn defer(&self) -> Result<Deferred, AlreadyCompleted> {
        let (sender, receiver) = oneshot::channel();
        let mut deferred = self.inner.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        if deferred.is_some() {
            return Err(AlreadyCompleted);
        }
        *deferred = Some(receiver);
        Ok(Deferred { sender: Mutex::new(Some(sender)) })
    }

    pub(crate) fn take_deferred(&self) -> Option<oneshot::Receiver<Outcome>> {
        self.inner.deferred.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
