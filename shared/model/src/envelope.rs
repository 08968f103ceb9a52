//! The envelope: what travels as the body of a message, and what the store keeps of a job that never changes.
//!
//! JSON, versioned, readable and writable by any language; `docs/protocol.md` is its reference.
//! Unknown fields are kept out of the way (a newer producer may send them); unknown versions are
//! refused. What does change from copy to copy (generation, fence) is in the message's headers, so
//! that the body of one job is the same bytes everywhere.

use crate::gate::{GateName, Gates, check_key, check_limit_name};
use crate::id::JobId;
use crate::indexed::{self, Fields};
use crate::kind::RetryRules;
use crate::limits;
use crate::placement::{Origin, Site};
use crate::priority::Priority;
use crate::queue::Queues;
use crate::record::{Admission, Expiry, Start};
use crate::topic::Topic;
use crate::unique::{Unique, UniqueMode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The version of the envelope that this code writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// A job as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// Version of this format.
    pub v: u32,
    /// The job.
    pub id: JobId,
    /// What kind of job it is.
    pub topic: Topic,
    /// The payload, any JSON value.
    pub payload: Box<RawValue>,
    /// The version of the payload's shape; a consumer that reads only older ones leaves the job waiting.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub payload_version: u32,
    /// The queue whose policy it has; absent in messages from foreign clients, which get the main queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For finding it again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Failures allowed before the last one; -1 without end. Absent: the handler's, else the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// Fixed back-off, ms. Absent: the handler's, else the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_delay_ms: Option<u64>,
    /// Longest run of one attempt, ms. Absent: the handler's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// After so long an attempt is told that it had better come to an end, ms. Absent: the handler's, else the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_timeout_ms: Option<u64>,
    /// An attempt that gives no sign of life for so long is cancelled, ms. Absent: the handler's, else the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_timeout_ms: Option<u64>,
    /// No attempt begins later than this after the start of the first that failed, ms. Absent: the handler's, else the
    /// queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_for_ms: Option<u64>,
    /// Rules by kind of error; for other kinds the handler's, then the queue's.
    #[serde(default, skip_serializing_if = "RetryRules::is_empty")]
    pub retry_on: RetryRules,
    /// Not to be started at or after this time, ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Runs after the jobs of its queue that have the same one, and before later ones. Empty: that of the whole queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_key: Option<String>,
    /// The limits that it counts against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitUse>,
    /// On whose behalf it waits for a limit: jobs of different turns are let through by turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<String>,
    /// Whose turn it is first where jobs wait for a limit or a pause. Absent: normal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Where it is to run. Absent: wherever somebody takes its topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
    /// The key that no other job of its topic may have, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<Unique>,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The job whose attempt sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<JobId>,
    /// The history job that it repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<JobId>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Payload files, delivered before the handler starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
    /// The schedule that sent it, and for which of its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Slot>,
    /// Fields of the payload that the store is to keep an index of, as paths with dots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexed: Vec<String>,
}

/// One time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The schedule.
    pub name: String,
    /// The time, ms since 1970; absent when somebody asked for a run beside its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_ms: Option<u64>,
}

/// One limit that a job counts against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitUse {
    /// The limit's name.
    pub name: String,
    /// Whose share of it; empty: that of all who name no key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_one(version: &u32) -> bool {
    *version == 1
}

/// W3C trace context: `traceparent` and `tracestate` as those headers spell them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// `00-<trace id>-<span id>-<flags>`.
    pub traceparent: String,
    /// Vendor data, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

/// A payload or result file: by content, never by address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// Its name in the attempt's input or output directory: no separators, not `.` or `..`.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content, lower-case hex.
    pub sha256: String,
    /// The content itself in base64, for small files; absent: the content is in the blob store under its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
}

impl FileRef {
    /// Checks the name and the digest of a reference that came from outside.
    ///
    /// # Errors
    /// A sentence that names the field and the remedy.
    pub fn check(&self) -> Result<(), String> {
        check_file_name(&self.name)?;
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(format!("file `{}`: sha256 must be 64 lower-case hex digits", self.name));
        }
        if self.size > limits::FILE_BYTES {
            let (name, size, most) = (&self.name, self.size, limits::FILE_BYTES);
            return Err(format!("file `{name}`: {size} bytes is more than {most}; split it into several"));
        }
        Ok(())
    }
}

/// Checks the name of a payload or output file.
///
/// # Errors
/// A sentence that names the file and what is wrong with it.
pub fn check_file_name(name: &str) -> Result<(), String> {
    let shown = limits::cut(name, 80);
    if name.is_empty() || name.len() > limits::FILE_NAME_BYTES {
        return Err(format!("file name `{shown}`: use 1 to {} bytes", limits::FILE_NAME_BYTES));
    }
    if name == "." || name == ".." || name.chars().any(|c| c == '/' || c == '\\' || c.is_control()) {
        return Err(format!(
            "file name `{}`: no separators, no control characters, not `.` or `..`",
            shown.escape_debug()
        ));
    }
    Ok(())
}

/// Why bytes are not an envelope. The consumer puts such a message into quarantine with this text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEnvelope {
    /// Larger than [`limits::ENVELOPE_BYTES`].
    #[error("the message has {0} bytes, more than {max}; send large input as a file", max = limits::ENVELOPE_BYTES)]
    TooLarge(usize),
    /// Not JSON, or a field is missing or of the wrong kind.
    #[error("the message is not a Longshore envelope: {0}")]
    Malformed(String),
    /// Written by a newer Longshore.
    #[error("the envelope has version {0}; this process reads up to {VERSION}: upgrade it")]
    TooNew(u32),
    /// A field is readable, but out of bounds.
    #[error("the envelope is refused: {0}")]
    OutOfBounds(String),
}

impl Envelope {
    /// A job that asks for nothing: no queue, no options, the first version of its payload.
    #[must_use]
    pub fn new(id: JobId, topic: Topic, payload: Box<RawValue>) -> Self {
        Self {
            v: VERSION,
            id,
            topic,
            payload,
            payload_version: 1,
            queue: None,
            title: None,
            labels: BTreeMap::new(),
            retries: None,
            retry_delay_ms: None,
            timeout_ms: None,
            soft_timeout_ms: None,
            stall_timeout_ms: None,
            retry_for_ms: None,
            retry_on: RetryRules::new(),
            expires_ms: None,
            order_key: None,
            limits: Vec::new(),
            turn: None,
            priority: None,
            site: None,
            unique: None,
            created_by: None,
            parent: None,
            retry_of: None,
            trace: None,
            files: Vec::new(),
            schedule: None,
            indexed: Vec::new(),
        }
    }

    /// How a job is accepted of which only the message is known: runnable at once, its queue's options where it has none
    /// of its own.
    #[must_use]
    pub fn admission(&self, queues: &Queues) -> Admission {
        let queue = queues.resolve(&self.topic);
        let site = self.site_in(queues);
        let (name, gates) = match &self.queue {
            Some(name) => (name.clone(), self.gates(name)),
            // Nobody looked at its queue yet.
            None => {
                let mut applied = self.clone();
                queue.apply(&mut applied);
                let gates = applied.gates(&queue.name);
                (queue.name, gates)
            }
        };
        Admission {
            id: self.id,
            topic: self.topic.clone(),
            gates,
            site,
            unique: self.unique.clone(),
            queue: name,
            start: Start::Now,
            max_retries: self.retries.unwrap_or(queue.config.retries),
            max_crashes: limits::CRASHES,
            expires: self.expires_ms.map(Expiry::At),
        }
    }

    /// Where the job is to run: as it says, or as its queue does where nobody looked at that yet. Who sent it is not known
    /// then.
    #[must_use]
    pub fn site_in(&self, queues: &Queues) -> Option<Site> {
        let by_queue = || queues.resolve(&self.topic).config.placement.site(&Origin::default(), &self.topic);
        match self.queue {
            Some(_) => self.site.clone(),
            // What no lane can be named after is a mistake in the queue, which is no reason to lose a job.
            None => self.site.clone().or_else(|| by_queue().unwrap_or_default()),
        }
    }

    /// What the job has to pass before it is queued, in this queue.
    #[must_use]
    pub fn gates(&self, queue: &str) -> Gates {
        let latest = self.unique.as_ref().filter(|unique| unique.mode == UniqueMode::Latest);
        let latest = latest.map(|unique| GateName::order(queue, &format!("{}:{}", self.topic, unique.key)));
        Gates {
            order: self.order_key.as_ref().map(|key| GateName::order(queue, key)).or(latest),
            limits: self.limits.iter().map(|limit| GateName::limit(&limit.name, &limit.key)).collect(),
            turn: self.turn.clone().unwrap_or_default(),
            priority: self.priority.unwrap_or_default(),
        }
    }

    /// What the store is to keep an index of.
    #[must_use]
    pub fn fields(&self) -> Fields {
        indexed::read(self.payload.get(), &self.indexed)
    }

    /// Reads and checks an envelope.
    ///
    /// # Errors
    /// [`BadEnvelope`], which says what is wrong; never panics on any input.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadEnvelope> {
        #[derive(Deserialize)]
        struct Head {
            v: u32,
        }
        if bytes.len() > limits::ENVELOPE_BYTES {
            return Err(BadEnvelope::TooLarge(bytes.len()));
        }
        check_shape(bytes)?;
        let malformed = |error: serde_json::Error| BadEnvelope::Malformed(limits::cut(&error.to_string(), 300));
        let known =
            |version: u32| if (1..=VERSION).contains(&version) { Ok(()) } else { Err(BadEnvelope::TooNew(version)) };
        let envelope: Self = match serde_json::from_slice(bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                // What a newer version changed must not look like damage.
                known(serde_json::from_slice::<Head>(bytes).map_err(malformed)?.v)?;
                return Err(malformed(error));
            }
        };
        known(envelope.v)?;
        envelope.check().map_err(BadEnvelope::OutOfBounds)?;
        Ok(envelope)
    }

    /// Writes the envelope.
    ///
    /// # Errors
    /// [`BadEnvelope::OutOfBounds`] or [`BadEnvelope::TooLarge`] when a bound is broken.
    pub fn encode(&self) -> Result<Vec<u8>, BadEnvelope> {
        self.check().map_err(BadEnvelope::OutOfBounds)?;
        let bytes = serde_json::to_vec(self).map_err(|error| BadEnvelope::Malformed(error.to_string()))?;
        if bytes.len() > limits::ENVELOPE_BYTES {
            return Err(BadEnvelope::TooLarge(bytes.len()));
        }
        check_shape(&bytes)?;
        Ok(bytes)
    }

    /// Checks every bound that the types do not.
    ///
    /// # Errors
    /// A sentence that names the field and the remedy.
    pub fn check(&self) -> Result<(), String> {
        if self.title.as_ref().is_some_and(|title| title.len() > limits::TITLE_BYTES) {
            return Err(format!("title: more than {} bytes; shorten it", limits::TITLE_BYTES));
        }
        if self.queue.as_ref().is_some_and(|queue| queue.is_empty() || queue.chars().any(char::is_control)) {
            return Err("queue: it is empty or has control characters; leave it out for the main queue".into());
        }
        if let Some(site) = &self.site {
            site.check(&self.topic)?;
        }
        let queue_bytes = limits::QUEUE_NAME_BYTES + limits::TOPIC_BYTES;
        let trace = self.trace.as_ref();
        for (what, text, most) in [
            ("queue", self.queue.as_ref(), queue_bytes),
            ("created_by", self.created_by.as_ref(), limits::CREATED_BY_BYTES),
            ("schedule.name", self.schedule.as_ref().map(|slot| &slot.name), limits::SCHEDULE_NAME_BYTES),
            ("trace.traceparent", trace.map(|trace| &trace.traceparent), limits::TRACEPARENT_BYTES),
            ("trace.tracestate", trace.and_then(|trace| trace.tracestate.as_ref()), limits::TRACESTATE_BYTES),
        ] {
            if let Some(text) = text.filter(|text| text.len() > most) {
                return Err(format!("{what}: {} bytes is more than {most}; shorten it", text.len()));
            }
        }
        if self.labels.len() > limits::LABELS {
            let why = "put what is only read, not searched for, into the payload";
            return Err(format!("labels: {} is more than {}; {why}", self.labels.len(), limits::LABELS));
        }
        for (name, value) in &self.labels {
            check_label(name, value)?;
        }
        indexed::check_paths(&self.indexed).map_err(|why| format!("indexed: {why}"))?;
        self.check_gates()?;
        if let Some(retries) = self.retries
            && !(-1..=limits::RETRIES).contains(&retries)
        {
            return Err(format!("retries: {retries} is not -1 (without end) to {}", limits::RETRIES));
        }
        self.check_times()?;
        self.retry_on.check().map_err(|why| format!("retry_on: {why}"))?;
        if self.files.len() > limits::FILES {
            let why = "put several into one archive";
            return Err(format!("files: {} is more than {}; {why}", self.files.len(), limits::FILES));
        }
        for (index, file) in self.files.iter().enumerate() {
            file.check()?;
            if self.files[..index].iter().any(|other| other.name == file.name) {
                return Err(format!("files: two are named `{}`", file.name));
            }
        }
        Ok(())
    }
}

impl Envelope {
    fn check_times(&self) -> Result<(), String> {
        for (what, ms) in [
            ("retry_delay_ms", self.retry_delay_ms),
            ("timeout_ms", self.timeout_ms),
            ("soft_timeout_ms", self.soft_timeout_ms),
            ("stall_timeout_ms", self.stall_timeout_ms),
            ("retry_for_ms", self.retry_for_ms),
        ] {
            if ms.is_some_and(|ms| ms > limits::DELAY_MS) {
                return Err(format!("{what}: more than a year ({} ms); choose a shorter time", limits::DELAY_MS));
            }
        }
        for (what, ms) in [
            ("timeout_ms", self.timeout_ms),
            ("soft_timeout_ms", self.soft_timeout_ms),
            ("stall_timeout_ms", self.stall_timeout_ms),
        ] {
            if ms == Some(0) {
                return Err(format!("{what}: 0 would never let it run; leave it out for no limit"));
            }
        }
        if let (Some(soft), Some(hard)) = (self.soft_timeout_ms, self.timeout_ms)
            && soft >= hard
        {
            return Err("soft_timeout_ms: it is not shorter than timeout_ms, and would never come".into());
        }
        Ok(())
    }

    fn check_gates(&self) -> Result<(), String> {
        if let Some(key) = &self.order_key {
            check_key("order_key", key)?;
        }
        if let Some(unique) = &self.unique {
            unique.check()?;
            if unique.mode == UniqueMode::Latest && self.order_key.is_some() {
                return Err("unique: the mode latest has an order of its own; leave order_key out".into());
            }
        }
        if let Some(turn) = &self.turn {
            check_key("turn", turn)?;
        }
        if self.limits.len() > limits::JOB_LIMITS {
            return Err(format!("limits: {} is more than {}", self.limits.len(), limits::JOB_LIMITS));
        }
        for (index, limit) in self.limits.iter().enumerate() {
            check_limit_name(&limit.name)?;
            check_key("limits.key", &limit.key)?;
            if self.limits[..index].contains(limit) {
                return Err(format!("limits: `{}` is named twice with the same key", limit.name));
            }
        }
        Ok(())
    }
}

/// The envelope under another id, if it was written by [`Envelope::encode`]: what a second job of a unique key becomes
/// when it replaces the first one's payload.
#[must_use]
pub fn with_id(envelope: &[u8], id: JobId) -> Option<Vec<u8>> {
    let head = format!("{{\"v\":{VERSION},\"id\":\"");
    let rest = envelope.strip_prefix(head.as_bytes())?;
    let after = rest.get(ID_CHARS..).filter(|after| after.first() == Some(&b'"'))?;
    Some([head.as_bytes(), id.to_string().as_bytes(), after].concat())
}

/// Characters of an id.
const ID_CHARS: usize = 36;

/// Checks one label.
///
/// # Errors
/// A sentence that names the label and the remedy.
pub fn check_label(name: &str, value: &str) -> Result<(), String> {
    let shown = limits::cut(name, 80);
    if name.is_empty() || name.len() > limits::LABEL_BYTES || value.len() > limits::LABEL_BYTES {
        return Err(format!(
            "label `{shown}`: name and value take at most {} bytes, the name at least one",
            limits::LABEL_BYTES
        ));
    }
    if name.chars().any(|c| c == '=' || c.is_control()) || value.chars().any(char::is_control) {
        return Err(format!("label `{}`: no control characters, no `=` in the name", shown.escape_debug()));
    }
    Ok(())
}

/// Refuses JSON that nests deeper than [`limits::JSON_DEPTH`] plus the envelope itself, or has more than
/// [`limits::JSON_TOKENS`] values and names, before any parser recurses or allocates.
fn check_shape(bytes: &[u8]) -> Result<(), BadEnvelope> {
    let (mut depth, mut tokens, mut in_text, mut escaped, mut in_word) = (0_usize, 0_usize, false, false, false);
    for byte in bytes {
        // Numbers and the three words; brackets and texts count where they begin.
        let word = !in_text && (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'));
        tokens += usize::from(word && !in_word);
        in_word = word;
        match (in_text, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (true, b'"') => in_text = false,
            (false, b'"') => {
                in_text = true;
                tokens += 1;
            }
            (false, b'[' | b'{') => {
                depth += 1;
                tokens += 1;
                if depth > limits::JSON_DEPTH + 1 {
                    let most = limits::JSON_DEPTH;
                    let why = format!("payload: nested deeper than {most}; send it as a file, or flatten it");
                    return Err(BadEnvelope::OutOfBounds(why));
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if tokens > limits::JSON_TOKENS {
            let most = limits::JSON_TOKENS;
            let why = format!("payload: more than {most} values and names; send it as a file");
            return Err(BadEnvelope::OutOfBounds(why));
        }
    }
    Ok(())
}
