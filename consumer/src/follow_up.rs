//! Follow-up jobs: what an attempt sends if it succeeds.
//!
//! Owns the description of such a job and its checks. It becomes part of the commit of the attempt;
//! nothing is sent by itself.

use bytes::Bytes;
use longshore_link::store::NewJob;
use longshore_model::Job;
use longshore_model::envelope::{self, Envelope, LimitUse, Trace};
use longshore_model::id::JobId;
use longshore_model::kind::RetryRules;
use longshore_model::limits;
use longshore_model::placement::{Origin, Placement};
use longshore_model::priority::Priority;
use longshore_model::queue::Queues;
use longshore_model::record::{Admission, Expiry, Start};
use longshore_model::span::ms;
use longshore_model::topic::Topic;
use longshore_model::unique::{Unique, UniqueMode};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a follow-up job would be refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("follow-up job refused: {0}")]
pub struct BadFollowUp(pub String);

/// A job to be sent with the success of another.
#[derive(Debug, Clone)]
pub struct FollowUp {
    topic: Topic,
    payload: Box<RawValue>,
    version: u32,
    delay: Duration,
    retries: Option<i32>,
    retry_delay: Option<Duration>,
    timeout: Option<Duration>,
    soft_timeout: Option<Duration>,
    stall_timeout: Option<Duration>,
    retry_for: Option<Duration>,
    retry_on: RetryRules,
    expires_in: Option<Duration>,
    title: Option<String>,
    labels: BTreeMap<String, String>,
    order_key: Option<String>,
    limits: Vec<LimitUse>,
    turn: Option<String>,
    priority: Option<Priority>,
    placement: Option<Placement>,
    unique: Option<Unique>,
    indexed: Vec<String>,
}

impl FollowUp {
    /// Describes a follow-up job with the defaults of its kind.
    ///
    /// # Errors
    /// [`BadFollowUp`] when the payload is not JSON, is too large, or the topic is illegal.
    pub fn new<J: Job>(job: &J) -> Result<Self, BadFollowUp> {
        let topic = J::topic().map_err(|error| BadFollowUp(error.to_string()))?;
        let options = J::options();
        let text = serde_json::to_string(job).map_err(|error| BadFollowUp(format!("payload: {error}")))?;
        let mut described = Self::raw(topic, text)?;
        described.version = J::VERSION;
        described.retries = options.retries;
        described.retry_delay = options.retry_delay;
        described.timeout = options.timeout;
        described.soft_timeout = options.soft_timeout;
        described.stall_timeout = options.stall_timeout;
        described.retry_for = options.retry_for;
        described.retry_on = options.retry_on;
        described.expires_in = options.expires_in;
        described.indexed = options.index;
        described.priority = options.priority;
        described.placement = options.placement;
        Ok(described)
    }

    /// Describes a follow-up job by its topic and its payload's JSON text.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn raw(topic: Topic, payload: String) -> Result<Self, BadFollowUp> {
        if payload.len() > limits::INLINE_BYTES {
            let size = payload.len();
            return Err(BadFollowUp(format!("payload: {size} bytes is more than {}", limits::INLINE_BYTES)));
        }
        let payload = RawValue::from_string(payload).map_err(|error| BadFollowUp(format!("payload: {error}")))?;
        Ok(Self {
            topic,
            payload,
            version: 1,
            delay: Duration::ZERO,
            retries: None,
            retry_delay: None,
            timeout: None,
            soft_timeout: None,
            stall_timeout: None,
            retry_for: None,
            retry_on: RetryRules::new(),
            expires_in: None,
            title: None,
            labels: BTreeMap::new(),
            order_key: None,
            limits: Vec::new(),
            turn: None,
            priority: None,
            placement: None,
            unique: None,
            indexed: Vec::new(),
        })
    }

    /// Runs it this long after the commit.
    #[must_use]
    pub const fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a label.
    ///
    /// # Errors
    /// [`BadFollowUp`] when the label breaks a limit.
    pub fn label(mut self, name: &str, value: &str) -> Result<Self, BadFollowUp> {
        envelope::check_label(name, value).map_err(BadFollowUp)?;
        self.labels.insert(name.to_owned(), value.to_owned());
        Ok(self)
    }

    /// Runs it after the jobs of its queue that have the same key, one at a time, in order.
    #[must_use]
    pub fn order_key(mut self, key: &str) -> Self {
        self.order_key = Some(key.to_owned());
        self
    }

    /// Makes it count against a named limit; `key` is whose share of it, or empty.
    #[must_use]
    pub fn limit(mut self, name: &str, key: &str) -> Self {
        self.limits.push(LimitUse { name: name.to_owned(), key: key.to_owned() });
        self
    }

    /// Makes it the only job of its topic with this key, for as long as the mode says; while another has the key, that one
    /// stands for it. `span` is for the modes `period` and `debounce`.
    #[must_use]
    pub fn unique(mut self, key: &str, mode: UniqueMode, span: Duration) -> Self {
        if mode == UniqueMode::Debounce && self.delay.is_zero() {
            self.delay = span;
        }
        self.unique = Some(Unique { key: key.to_owned(), mode, ms: ms(span) });
        self
    }

    /// Whose turn it is first where jobs wait for a limit or a pause. A class is worth a minute of waiting: an urgent job goes
    /// before normal ones that have waited up to a minute longer, so none starves. Orders stay in their order.
    #[must_use]
    pub const fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Where it runs: near its sender, on the leader, on instances with a label, on one instance; default as its queue says,
    /// which is anywhere. What is preferred holds while somebody there takes its topic; else the job runs anywhere.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = Some(placement);
        self
    }

    /// On whose behalf it waits for a limit: jobs of different turns are let through by turns.
    #[must_use]
    pub fn turn(mut self, turn: &str) -> Self {
        self.turn = Some(turn.to_owned());
        self
    }

    /// Keeps an index of a field of its payload, such as `asset.name`, beside those of its kind and its queue.
    #[must_use]
    pub fn index(mut self, path: &str) -> Self {
        if !self.indexed.iter().any(|known| known == path) {
            self.indexed.push(path.to_owned());
        }
        self
    }

    /// Gives it a title.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        self.title = Some(limits::cut(title, limits::TITLE_BYTES));
        self
    }

    /// Its topic.
    #[must_use]
    pub const fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Its payload, JSON text.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.payload.get()
    }

    /// The job as the store accepts it, sent now (ms since 1970, by this machine's clock).
    pub(crate) fn prepare(
        self,
        id: JobId,
        parent: JobId,
        trace: Option<Trace>,
        queues: &Queues,
        origin: &Origin,
        now_ms: u64,
    ) -> Result<NewJob, BadFollowUp> {
        let queue = queues.resolve(&self.topic);
        let placement = self.placement.as_ref().unwrap_or(&queue.config.placement);
        let site = placement.site(origin, &self.topic).map_err(BadFollowUp)?;
        let mut envelope = Envelope {
            v: envelope::VERSION,
            id,
            topic: self.topic.clone(),
            payload: self.payload,
            payload_version: self.version,
            queue: Some(queue.name.clone()),
            title: self.title,
            labels: self.labels.clone(),
            retries: self.retries,
            retry_delay_ms: self.retry_delay.map(ms),
            timeout_ms: self.timeout.map(ms),
            soft_timeout_ms: self.soft_timeout.map(ms),
            stall_timeout_ms: self.stall_timeout.map(ms),
            retry_for_ms: self.retry_for.map(ms),
            retry_on: self.retry_on,
            expires_ms: self.expires_in.map(|span| now_ms + ms(span)),
            created_by: Some(format!("job {parent}")),
            parent: Some(parent),
            retry_of: None,
            trace,
            files: Vec::new(),
            order_key: self.order_key,
            limits: self.limits,
            turn: self.turn,
            priority: self.priority,
            site,
            unique: self.unique,
            schedule: None,
            indexed: self.indexed,
        };
        queue.apply(&mut envelope);
        let start = if self.delay.is_zero() { Start::Now } else { Start::After(ms(self.delay)) };
        let start = queue.start(start);
        let fields = envelope.fields();
        let bytes = envelope.encode().map_err(|error| BadFollowUp(error.to_string()))?;
        Ok(NewJob {
            admission: Admission {
                id,
                topic: self.topic,
                gates: envelope.gates(&queue.name),
                site: envelope.site,
                unique: envelope.unique,
                queue: queue.name,
                start,
                max_retries: self.retries.unwrap_or(queue.config.retries),
                max_crashes: limits::CRASHES,
                expires: self.expires_in.map(|span| Expiry::After(ms(span))),
            },
            envelope: Bytes::from(bytes),
            labels: self.labels,
            fields,
            again: false,
            retry_of: None,
        })
    }
}
