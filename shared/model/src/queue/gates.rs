//! What a queue asks of gates on behalf of its jobs: its kind, its own limit, named limits, and turns.
//!
//! Owns how these are written and how they become the options of one job ([`QueueConfig::apply`]). What they do there is
//! [`crate::gate`]'s.

use super::{QueueConfig, Resolved, legal_name};
use crate::envelope::{Envelope, LimitUse};
use crate::gate::{Length, LimitPolicy, QUEUE_LIMIT, check_key, check_limit_name};
use crate::limits;
use crate::priority::Priority;
use crate::record::Start;
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// How a queue runs its jobs (Q01 to Q04).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum QueueKind {
    /// Beside each other, oldest first.
    #[default]
    Unordered,
    /// One after the other over all topics and instances, in the order in which they were accepted. A failing one holds
    /// up the others until it has ended.
    Ordered,
    /// Beside each other, topics by turns.
    RoundRobin,
    /// Not at all: they wait until the queue is of another kind.
    Hold,
    /// Not at all: they are dropped when they arrive.
    Drop,
}

impl QueueKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Unordered, Self::Ordered, Self::RoundRobin, Self::Hold, Self::Drop];

    /// The name used in settings and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unordered => "unordered",
            Self::Ordered => "ordered",
            Self::RoundRobin => "round_robin",
            Self::Hold => "hold",
            Self::Drop => "drop",
        }
    }
}

impl fmt::Display for QueueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for QueueKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("`{text}` is not a kind of queue: use one of {}", names.join(", "))
        })
    }
}

/// Where a key comes from, job by job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// The value of a label: `label:NAME`.
    Label(String),
    /// What a JSON pointer finds in the payload: `payload:/customer/id`.
    Payload(String),
    /// The topic: `topic`.
    Topic,
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name) => write!(f, "label:{name}"),
            Self::Payload(pointer) => write!(f, "payload:{pointer}"),
            Self::Topic => f.write_str("topic"),
        }
    }
}

impl FromStr for KeySource {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "topic" => Ok(Self::Topic),
            Some(("label", name)) if !name.is_empty() && name.len() <= limits::LABEL_BYTES => {
                Ok(Self::Label(name.into()))
            }
            Some(("payload", pointer)) if pointer.starts_with('/') && pointer.len() <= limits::KEY_BYTES => {
                Ok(Self::Payload(pointer.into()))
            }
            _ => Err(format!(
                "`{}` is no place for a key: write label:NAME, payload:/POINTER or topic",
                limits::cut(text, 80).escape_debug()
            )),
        }
    }
}

impl KeySource {
    /// The key of a job; empty where it has none, or one that cannot be a key.
    fn of(&self, envelope: &Envelope) -> String {
        let key = match self {
            Self::Label(name) => envelope.labels.get(name).cloned(),
            Self::Topic => Some(envelope.topic.to_string()),
            Self::Payload(pointer) => {
                let payload: Option<Value> = serde_json::from_str(envelope.payload.get()).ok();
                payload.as_ref().and_then(|payload| payload.pointer(pointer)).and_then(|value| match value {
                    Value::String(text) => Some(text.clone()),
                    Value::Number(number) => Some(number.to_string()),
                    Value::Bool(flag) => Some(flag.to_string()),
                    _ => None,
                })
            }
        };
        key.filter(|key| check_key("key", key).is_ok()).unwrap_or_default()
    }
}

/// A named limit that all jobs of a queue count against: `NAME`, or `NAME=SOURCE` for the share of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLimit {
    /// The limit.
    pub name: String,
    /// Whose share; `None`: one for all.
    pub key: Option<KeySource>,
}

impl fmt::Display for QueueLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}={key}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for QueueLimit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, key) = text.split_once('=').map_or((text, None), |(name, key)| (name, Some(key)));
        check_limit_name(name)?;
        Ok(Self { name: name.to_owned(), key: key.map(str::parse).transpose()? })
    }
}

/// The queues' own limits, by name, of those that have any.
#[must_use]
pub fn own_limits(configs: &[QueueConfig]) -> Vec<(String, LimitPolicy)> {
    configs.iter().filter_map(|config| Some((config.own_limit(), config.own_policy()?))).collect()
}

impl Resolved<'_> {
    /// Writes what the queue asks of gates and of indexes into the envelope of a job, if anybody configured it.
    pub fn apply(&self, envelope: &mut Envelope) {
        if self.configured {
            self.config.apply(&self.name, envelope);
        }
    }

    /// When a job of this queue starts that was to start then.
    #[must_use]
    pub fn start(&self, start: Start) -> Start {
        if self.config.kind == QueueKind::Drop { Start::Never } else { start }
    }
}

impl QueueConfig {
    /// The limit that all jobs of this queue count against, whatever it allows now; where `{0}` makes one queue for each
    /// remainder, each is a key of it.
    #[must_use]
    pub fn own_limit(&self) -> String {
        format!("{QUEUE_LIMIT}{}", legal_name(&self.name))
    }

    /// What that limit says of the jobs of the queue; `None`: nothing.
    #[must_use]
    pub fn own_policy(&self) -> Option<LimitPolicy> {
        let policy = LimitPolicy {
            max: if self.kind == QueueKind::Hold { Some(0) } else { self.max_in_fleet },
            length: self.max_length.map(|max| Length { max, full: self.when_full }),
            on_failure: self.on_failure,
            ..LimitPolicy::default()
        };
        (policy != LimitPolicy::default()).then_some(policy)
    }

    /// Writes what the queue asks of gates and of indexes into the envelope of a job that is accepted under this name. What the sender
    /// asked for stays; in an ordered queue its order is the queue's.
    pub fn apply(&self, name: &str, envelope: &mut Envelope) {
        if self.kind == QueueKind::Ordered {
            envelope.order_key = Some(String::new());
        }
        for path in &self.index {
            if !envelope.indexed.contains(path) {
                envelope.indexed.push(path.clone());
            }
        }
        if self.priority != Priority::Normal && envelope.priority.is_none() {
            envelope.priority = Some(self.priority);
        }
        let key = if self.name.contains("{0}") { name.to_owned() } else { String::new() };
        let own = LimitUse { name: self.own_limit(), key };
        let named = self.limits.iter().map(|limit| LimitUse {
            name: limit.name.clone(),
            key: limit.key.as_ref().map(|key| key.of(envelope)).unwrap_or_default(),
        });
        let all: Vec<LimitUse> = std::iter::once(own).chain(named).collect();
        for limit in all {
            if !envelope.limits.contains(&limit) {
                envelope.limits.push(limit);
            }
        }
        let by_topic = (self.kind == QueueKind::RoundRobin).then_some(&KeySource::Topic);
        if let Some(source) = self.turn.as_ref().or(by_topic).filter(|_| envelope.turn.is_none()) {
            envelope.turn = Some(source.of(envelope)).filter(|turn| !turn.is_empty());
        }
    }
}
