//! One job before it is sent: what it is, and what its sender wants of it.
//!
//! A builder never fails half way: the first thing that is wrong with it is its answer when it is
//! sent. Owns the precedence of options (sender, then kind of job, then queue) and the making of the
//! envelope; sending it is [`crate::send`]'s work.

use crate::connect::{Producer, ProducerOptions};
use crate::errors::{FileError, Refusal, SendError};
use crate::files::{Bounds, Input, Source, Transfer, Watcher};
use crate::send::Sent;
use crate::time::Time;
use bytes::Bytes;
use longshore_link::store::NewJob;
use longshore_model::envelope::{Envelope, FileRef, LimitUse, Trace, VERSION, check_label};
use longshore_model::kind::{RetryRule, RetryRules};
use longshore_model::queue::Queues;
use longshore_model::record::{Admission, Expiry, Start};
use longshore_model::schedule::{Problem, Template};
use longshore_model::unique::{Unique, UniqueMode};
use longshore_model::{Job, JobId, JobOptions, Placement, Priority, Topic, limits, span};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncRead;

/// A job to be sent, with options. Made by [`Producer::job`] or [`Producer::raw`].
#[derive(Debug, Clone)]
#[must_use = "a job is sent by `.send().await`"]
pub struct JobBuilder {
    producer: Producer,
    /// The first thing that is wrong with it.
    wrong: Option<Refusal>,
    id: JobId,
    what: Option<(Topic, Box<RawValue>)>,
    version: u32,
    /// Defaults of the kind.
    kind: JobOptions,
    start: Start,
    retries: Option<i32>,
    retry_delay: Option<Duration>,
    timeout: Option<Duration>,
    soft_timeout: Option<Duration>,
    stall_timeout: Option<Duration>,
    retry_for: Option<Duration>,
    retry_on: RetryRules,
    expires: Option<Expiry>,
    title: Option<String>,
    labels: BTreeMap<String, String>,
    created_by: Option<String>,
    parent: Option<JobId>,
    trace: Option<Trace>,
    files: Vec<Input>,
    watcher: Watcher,
    order_key: Option<String>,
    limits: Vec<LimitUse>,
    turn: Option<String>,
    priority: Option<Priority>,
    placement: Option<Placement>,
    unique: Option<Unique>,
    indexed: Vec<String>,
}

impl Producer {
    /// A new id for a job, to be kept before the job is sent (in the transaction that decides about it), so that
    /// sending can be repeated whatever happens in between.
    #[must_use]
    pub fn new_id(&self) -> JobId {
        self.inner.link.world.job_id(None)
    }

    /// A job with options. `producer.send(job)` is the short form without.
    #[expect(clippy::needless_pass_by_value, reason = "a job is given away")]
    pub fn job<J: Job>(&self, job: J) -> JobBuilder {
        let what = J::topic().map_err(Refusal::from).and_then(|topic| Ok((topic, to_raw(&job)?)));
        JobBuilder::new(self, what, J::VERSION, J::options())
    }

    /// A job without a type: a topic and a payload that is JSON text. For tools; an application has types.
    pub fn raw(&self, topic: &str, payload: &str) -> JobBuilder {
        let what = Topic::new(topic).map_err(Refusal::from).and_then(|topic| Ok((topic, read_raw(payload)?)));
        JobBuilder::new(self, what, 1, JobOptions::default())
    }
}

fn to_raw<J: Serialize>(job: &J) -> Result<Box<RawValue>, Refusal> {
    serde_json::value::to_raw_value(job).map_err(|error| Refusal::NotJson(error.to_string()))
}

fn read_raw(text: &str) -> Result<Box<RawValue>, Refusal> {
    // Its size first: a parser should not see what is refused anyway.
    if text.len() > limits::INLINE_BYTES {
        return Err(Refusal::TooLarge { bytes: text.len() });
    }
    let not_json = |error: serde_json::Error| Refusal::NotJson(limits::cut(&error.to_string(), 300));
    RawValue::from_string(text.to_owned()).map_err(not_json)
}

impl JobBuilder {
    fn new(producer: &Producer, what: Result<(Topic, Box<RawValue>), Refusal>, version: u32, kind: JobOptions) -> Self {
        let (what, wrong) = match what {
            Ok(what) => (Some(what), None),
            Err(refusal) => (None, Some(refusal)),
        };
        Self {
            id: producer.new_id(),
            producer: producer.clone(),
            wrong,
            what,
            version,
            start: Start::Now,
            retries: None,
            retry_delay: None,
            timeout: None,
            soft_timeout: None,
            stall_timeout: None,
            retry_for: None,
            retry_on: RetryRules::new(),
            expires: None,
            title: None,
            labels: BTreeMap::new(),
            created_by: None,
            parent: None,
            trace: None,
            files: Vec::new(),
            watcher: Watcher::default(),
            order_key: None,
            limits: Vec::new(),
            turn: None,
            indexed: kind.index.clone(),
            kind,
            priority: None,
            placement: None,
            unique: None,
        }
    }

    /// The id it will have, unless [`Self::id`] sets another.
    #[must_use]
    pub const fn job_id(&self) -> JobId {
        self.id
    }

    /// The id of the job, chosen by the caller: sending the same id again is answered as the first time, with
    /// [`Sent::existed`], and makes no second job.
    pub const fn id(mut self, id: JobId) -> Self {
        self.id = id;
        self
    }

    /// Not to be run before so much time has passed, by the store's clock. Default at once.
    pub fn after(mut self, delay: Duration) -> Self {
        self.start = if delay.is_zero() { Start::Now } else { Start::After(span::ms(delay)) };
        self
    }

    /// Not to be run before this time; a time in the past means at once.
    pub fn at(mut self, time: impl Into<Time>) -> Self {
        self.start = Start::At(time.into().unix_ms());
        self
    }

    /// Failures allowed before the last one (`2` means three runs); -1 without end. Default: the kind's, else the
    /// queue's.
    pub const fn retries(mut self, retries: i32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Time between a failure and the next attempt. Default: the kind's, else the queue's.
    pub const fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = Some(delay);
        self
    }

    /// Longest run of one attempt. Default: the kind's, else the queue's.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// After so long an attempt is told that it had better come to an end; what it answers then counts as ever. Default:
    /// the kind's, else the queue's. Shorter than the timeout.
    pub const fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.soft_timeout = Some(timeout);
        self
    }

    /// An attempt that gives no sign of life (progress, a log line, a property, a beat) for so long is cancelled, and
    /// has failed. Default: the kind's, else the queue's.
    pub const fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = Some(timeout);
        self
    }

    /// No attempt begins later than this after the start of the first that failed: the job is given up instead, whatever
    /// retries are left. Default: the kind's, else the queue's.
    pub const fn retry_for(mut self, span: Duration) -> Self {
        self.retry_for = Some(span);
        self
    }

    /// How often, and after how long, a failure of this kind is tried again. For other kinds the rules of the kind of job,
    /// its handler and its queue hold.
    pub fn retry_on(mut self, kind: impl Into<String>, rule: RetryRule) -> Self {
        self.retry_on.set(kind, rule);
        self
    }

    /// As [`Self::retry_on`], several at once, as they are written down: `["timeout=2", "busy=100,30s,x2,10m"]`. What is
    /// wrong with them is the answer when the job is sent.
    pub fn retry_rules(mut self, texts: &[impl AsRef<str>]) -> Self {
        match RetryRules::parse(texts.iter().map(AsRef::as_ref)) {
            Ok(rules) => self.retry_on = rules.or(&self.retry_on),
            Err(why) => drop(self.wrong.get_or_insert_with(|| Refusal::OutOfBounds(format!("retry_on: {why}")))),
        }
        self
    }

    /// Dropped when it was not started so long after it was accepted. Default: the kind's, else never.
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expires = Some(Expiry::After(span::ms(span)));
        self
    }

    /// Dropped when it was not started before this time.
    pub fn expires_at(mut self, time: impl Into<Time>) -> Self {
        self.expires = Some(Expiry::At(time.into().unix_ms()));
        self
    }

    /// Runs after the jobs of its queue that have the same key, one at a time, in the order in which they were accepted; a
    /// failing one holds up those behind it until it has ended. Jobs of different keys run beside each other. A delayed
    /// job takes its place when its time has come.
    pub fn order_key(mut self, key: impl Into<String>) -> Self {
        self.order_key = Some(key.into());
        self
    }

    /// Counts against a named limit ([`Producer::set_limit`]). A limit that is not set lets everything through. At most 8.
    pub fn limit(self, name: impl Into<String>) -> Self {
        self.limit_key(name, "")
    }

    /// As [`Self::limit`], against the share of one key, such as a customer: the limit counts each key by itself.
    pub fn limit_key(mut self, name: impl Into<String>, key: impl Into<String>) -> Self {
        self.limits.push(LimitUse { name: name.into(), key: key.into() });
        self
    }

    /// The only job of its topic with this key until it has ended (J04). While another one has the key, that one is the
    /// answer: [`Sent::id`] is its id, and [`Sent::existed`] says so. [`Self::unique_mode`] for other modes.
    pub fn unique(self, key: impl Into<String>) -> Self {
        self.unique_mode(key, UniqueMode::UntilFinished, Duration::ZERO)
    }

    /// As [`Self::unique`], for as long as the mode says. `span` is for the modes that have a time, else zero: how long the
    /// key is taken (`Period`), or how long after the newest send the job starts (`Debounce`).
    pub fn unique_mode(mut self, key: impl Into<String>, mode: UniqueMode, span: Duration) -> Self {
        if mode == UniqueMode::Debounce {
            self.start = Start::After(span::ms(span));
        }
        self.unique = Some(Unique { key: key.into(), mode, ms: span::ms(span) });
        self
    }

    /// Whose turn it is first where jobs wait for a limit or a pause. A class is worth a minute of waiting: an urgent job goes
    /// before normal ones that have waited up to a minute longer, so none starves. Orders stay in their order.
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Where it runs: near its sender, on the leader, on instances with a label, on one instance; default as its queue says,
    /// which is anywhere. What is preferred holds while somebody there takes its topic; else the job runs anywhere.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = Some(placement);
        self
    }

    /// On whose behalf it waits for a limit: jobs of different turns are let through by turns, so that one tenant's many
    /// jobs do not hold up another's few.
    pub fn turn(mut self, turn: impl Into<String>) -> Self {
        self.turn = Some(turn.into());
        self
    }

    /// A label to find it by; at most 32.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// A field of the payload, such as `asset.name`, that the store keeps an index of, beside those of its kind and its
    /// queue: [`Find::matching`](crate::Find::matching) answers from it. At most 8 in all.
    pub fn index(mut self, path: impl Into<String>) -> Self {
        let path = path.into();
        if !self.indexed.contains(&path) {
            self.indexed.push(path);
        }
        self
    }

    /// A title for people.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Who sends it, for people. Default: [`crate::ProducerOptions::created_by`].
    pub fn created_by(mut self, who: impl Into<String>) -> Self {
        self.created_by = Some(who.into());
        self
    }

    /// The job on whose behalf it is sent.
    pub const fn parent(mut self, parent: JobId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// W3C trace context, as the headers `traceparent` and `tracestate` spell it.
    pub fn trace(mut self, traceparent: impl Into<String>, tracestate: Option<String>) -> Self {
        self.trace = Some(Trace { traceparent: traceparent.into(), tracestate });
        self
    }

    /// A payload file, read when the job is sent; it is in the attempt's input directory under its own name before
    /// the handler starts.
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => self.files.push(Input::Path { name: name.to_owned(), path: path.to_owned() }),
            None => {
                let why = format!("file {}: its name must be plain text; give one with `file_as`", path.display());
                self.wrong.get_or_insert_with(|| FileError::Name(why).into());
            }
        }
        self
    }

    /// As [`Self::file`], under another name.
    pub fn file_as(mut self, name: impl Into<String>, path: impl AsRef<Path>) -> Self {
        self.files.push(Input::Path { name: name.into(), path: path.as_ref().to_owned() });
        self
    }

    /// A payload file whose content is at hand.
    pub fn file_bytes(mut self, name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        self.files.push(Input::Bytes { name: name.into(), bytes: bytes.into() });
        self
    }

    /// A payload file whose content comes as it is read, once: sending the job reads it to its end, by way of a file in
    /// the system's directory for temporary ones. For what is neither in a file nor fits into memory.
    pub fn file_stream(mut self, name: impl Into<String>, content: impl AsyncRead + Send + 'static) -> Self {
        self.files.push(Input::Stream { name: name.into(), source: Source::new(content) });
        self
    }

    /// Tells how far each payload file is that goes to the blob store, while the job is sent.
    pub fn on_transfer(mut self, told: impl Fn(Transfer) + Send + Sync + 'static) -> Self {
        self.watcher = Watcher::new(told);
        self
    }

    /// Sends the job.
    ///
    /// # Errors
    /// [`SendError`]: refused, not sent, or unknown, within the producer's deadline. Each payload file has as long
    /// again, and a second more for each MiB.
    pub async fn send(self) -> Result<Sent, SendError> {
        let producer = self.producer.clone();
        producer.send_built(self).await
    }

    /// Checks everything and puts payload files where they belong.
    pub(crate) async fn prepare(self) -> Result<Prepared, SendError> {
        self.check()?;
        let id = self.id;
        let payload_bytes = self.what.as_ref().map_or(0, |(_, payload)| payload.get().len());
        let files = if self.files.is_empty() {
            Vec::new()
        } else {
            let Producer { inner, .. } = &self.producer;
            let room = limits::INLINE_BYTES.saturating_sub(payload_bytes);
            let ProducerOptions { deadline: time, max_file_bytes: max, .. } = inner.options;
            let bounds = Bounds { link: &inner.link, job: id, max, time, watcher: &self.watcher };
            let placed = crate::files::place(&self.files, room, &bounds).await;
            placed.map_err(|error| match error {
                // Nothing was sent yet, whatever became of the file.
                FileError::Blob { fault, .. } if fault.is_passing() => SendError::Unreachable { id, fault },
                other => Refusal::File(other).into(),
            })?
        };
        let queues = self.producer.inner.queues().await;
        Ok(self.build(files, &queues)?)
    }

    /// What can be said before any file was read.
    fn check(&self) -> Result<(), Refusal> {
        if let Some(refusal) = &self.wrong {
            return Err(refusal.clone());
        }
        let payload_bytes = self.what.as_ref().map_or(0, |(_, payload)| payload.get().len());
        if payload_bytes > limits::INLINE_BYTES {
            return Err(Refusal::TooLarge { bytes: payload_bytes });
        }
        let late = |ms: u64| ms > limits::DELAY_MS;
        if matches!(self.start, Start::After(ms) if late(ms)) {
            return Err(Refusal::OutOfBounds("delay: more than a year".into()));
        }
        if let Start::At(at) = self.start
            && late(at.saturating_sub(self.producer.inner.link.world.clock.unix_ms()))
        {
            return Err(Refusal::OutOfBounds("at: more than a year from now".into()));
        }
        if self.order_key.as_ref().is_some_and(String::is_empty) {
            let why = "order_key: it is empty; leave it out for a job without order";
            return Err(Refusal::OutOfBounds(why.into()));
        }
        if self.files.len() > limits::FILES {
            let why = format!("files: {} is more than {}", self.files.len(), limits::FILES);
            return Err(Refusal::OutOfBounds(why));
        }
        self.labels.iter().try_for_each(|(name, value)| check_label(name, value)).map_err(Refusal::OutOfBounds)
    }

    /// What a schedule sends again and again: without what only one sending has.
    pub(crate) fn into_template(self) -> Result<Template, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Some(refusal) = &self.wrong {
            problems.push(Problem::new("job", refusal.to_string()));
        }
        if self.start != Start::Now {
            problems.push(Problem::new("job", "it has a delay; give the schedule that time instead"));
        }
        if !self.files.is_empty() {
            problems.push(Problem::new("job.files", "a schedule's jobs have none; let the handler fetch them"));
        }
        let expires = self.expires.or_else(|| self.kind.expires_in.map(|span| Expiry::After(span::ms(span))));
        if matches!(expires, Some(Expiry::At(_))) {
            let why = "a point in time is over for all but the first; say how long after it was sent";
            problems.push(Problem::new("job.expires", why));
        }
        let Some((topic, payload)) = self.what.filter(|_| problems.is_empty()) else { return Err(problems) };
        let asked = self.placement.or(self.kind.placement).unwrap_or_default();
        let site = asked.site(&self.producer.inner.options.origin, &topic);
        let site = site.map_err(|why| vec![Problem::new("job.placement", why)])?;
        let envelope = Envelope {
            v: VERSION,
            id: JobId::nil(),
            topic,
            payload,
            payload_version: self.version,
            queue: None,
            title: self.title,
            labels: self.labels,
            retries: self.retries.or(self.kind.retries),
            retry_delay_ms: self.retry_delay.or(self.kind.retry_delay).map(span::ms),
            timeout_ms: self.timeout.or(self.kind.timeout).map(span::ms),
            soft_timeout_ms: self.soft_timeout.or(self.kind.soft_timeout).map(span::ms),
            stall_timeout_ms: self.stall_timeout.or(self.kind.stall_timeout).map(span::ms),
            retry_for_ms: self.retry_for.or(self.kind.retry_for).map(span::ms),
            retry_on: self.retry_on.or(&self.kind.retry_on),
            expires_ms: None,
            created_by: self.created_by,
            parent: None,
            retry_of: None,
            trace: None,
            files: Vec::new(),
            order_key: self.order_key,
            limits: self.limits,
            turn: self.turn,
            priority: self.priority.or(self.kind.priority),
            site,
            unique: self.unique,
            schedule: None,
            indexed: self.indexed,
        };
        let expires_in_ms = expires.and_then(|expires| match expires {
            Expiry::After(ms) => Some(ms),
            Expiry::At(_) => None,
        });
        Ok(Template { envelope, expires_in_ms })
    }

    fn build(self, files: Vec<FileRef>, queues: &Queues) -> Result<Prepared, Refusal> {
        let Producer { inner, .. } = &self.producer;
        let Some((topic, payload)) = self.what else {
            return Err(Refusal::NotJson("there is none".into()));
        };
        let queue = queues.resolve(&topic);
        let expires = self.expires.or_else(|| self.kind.expires_in.map(|span| Expiry::After(span::ms(span))));
        let now = inner.link.world.clock.unix_ms();
        let expires_ms = expires.map(|expires| match expires {
            Expiry::At(at) => at,
            // By this machine's clock, and only for a store that lost the job; the store goes by its own.
            Expiry::After(ms) => now.saturating_add(ms),
        });
        if expires_ms.is_some_and(|at| at.saturating_sub(now) > limits::DELAY_MS) {
            return Err(Refusal::OutOfBounds("expires: more than a year from now; leave it out for never".into()));
        }
        let asked = self.placement.as_ref().or(self.kind.placement.as_ref()).unwrap_or(&queue.config.placement);
        let site = asked.site(&inner.options.origin, &topic).map_err(Refusal::OutOfBounds)?;
        let retries = self.retries.or(self.kind.retries);
        let mut envelope = Envelope {
            v: VERSION,
            id: self.id,
            topic: topic.clone(),
            payload,
            payload_version: self.version,
            queue: Some(queue.name.clone()),
            title: self.title,
            labels: self.labels,
            retries,
            retry_delay_ms: self.retry_delay.or(self.kind.retry_delay).map(span::ms),
            timeout_ms: self.timeout.or(self.kind.timeout).map(span::ms),
            soft_timeout_ms: self.soft_timeout.or(self.kind.soft_timeout).map(span::ms),
            stall_timeout_ms: self.stall_timeout.or(self.kind.stall_timeout).map(span::ms),
            retry_for_ms: self.retry_for.or(self.kind.retry_for).map(span::ms),
            retry_on: self.retry_on.or(&self.kind.retry_on),
            expires_ms,
            created_by: self.created_by.or_else(|| inner.options.created_by.clone()),
            parent: self.parent,
            retry_of: None,
            trace: self.trace,
            files,
            order_key: self.order_key,
            limits: self.limits,
            turn: self.turn,
            priority: self.priority.or(self.kind.priority),
            site,
            unique: self.unique,
            schedule: None,
            indexed: self.indexed,
        };
        queue.apply(&mut envelope);
        let admission = Admission {
            id: self.id,
            topic,
            gates: envelope.gates(&queue.name),
            site: envelope.site.clone(),
            unique: envelope.unique.clone(),
            start: queue.start(self.start),
            queue: queue.name,
            max_retries: retries.unwrap_or(queue.config.retries),
            max_crashes: limits::CRASHES,
            expires,
        };
        Prepared::new(admission, envelope, None)
    }
}

/// A job that is ready to be accepted.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) job: NewJob,
    pub(crate) trace: Option<Trace>,
}

impl Prepared {
    pub(crate) fn new(admission: Admission, envelope: Envelope, retry_of: Option<JobId>) -> Result<Self, Refusal> {
        let (bytes, fields) = (Bytes::from(envelope.encode()?), envelope.fields());
        let Envelope { labels, trace, .. } = envelope;
        Ok(Self { job: NewJob { admission, envelope: bytes, labels, fields, again: false, retry_of }, trace })
    }
}
