//! Events: what somebody tells of a job (N01), or an application tells the others (N03), to whoever wants to hear it.
//!
//! Owns their words ([`Kind`], [`Event`]) and what a listener asks for ([`Interest`]). They are told once, without any
//! promise: who has to know asks the store.

use crate::id::JobId;
use crate::record::State;
use crate::snapshot::ProgressView;
use crate::topic::{Topic, TopicPattern};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A job was accepted.
    Added,
    /// An attempt started.
    Started,
    /// A job succeeded.
    Finished,
    /// An attempt failed, and another one will follow.
    Failed,
    /// A job ended without success.
    Cancelled,
    /// A job was removed, or dropped.
    Removed,
    /// A running job told how far it is.
    Progress,
    /// An application told the others something.
    Application,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Added,
        Self::Started,
        Self::Finished,
        Self::Failed,
        Self::Cancelled,
        Self::Removed,
        Self::Progress,
        Self::Application,
    ];

    /// The name used in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Started => "started",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Removed => "removed",
            Self::Progress => "progress",
            Self::Application => "application",
        }
    }

    /// What one has to listen to for hearing it.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Progress => Class::Progress,
            Self::Application => Class::Application,
            _ => Class::Job,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What can be listened to apart from the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The life of jobs.
    Job,
    /// Progress of running jobs: there may be much of it.
    Progress,
    /// What applications tell each other.
    Application,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Job, Self::Progress, Self::Application];

    /// The first word of the routing key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Progress => "progress",
            Self::Application => "app",
        }
    }
}

/// What a listener wants to hear: written as class and pattern, space between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// Of what.
    pub class: Class,
    /// About which topics.
    pub topics: TopicPattern,
}

impl Interest {
    /// Whether it takes an event.
    #[must_use]
    pub fn takes(&self, class: Class, topic: &Topic) -> bool {
        self.class == class && self.topics.matches(topic)
    }
}

impl fmt::Display for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.class.as_str(), self.topics)
    }
}

impl FromStr for Interest {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not an interest: write `job`, `progress` or `app` and a topic pattern");
        let (class, topics) = text.split_once(' ').ok_or_else(bad)?;
        let class = Class::ALL.into_iter().find(|known| known.as_str() == class).ok_or_else(bad)?;
        Ok(Self { class, topics: topics.parse().map_err(|_| bad())? })
    }
}

/// One event. Fields that it has nothing to say of are absent in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub event: Kind,
    /// The job's topic, or that which the application chose.
    pub topic: Topic,
    /// Who tells it: an instance, or a process that sends. Set by Longshore, whatever the payload says.
    pub origin: String,
    /// When, RFC 3339, by the clock of the teller.
    pub at: String,
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<JobId>,
    /// Its queue, where the teller knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The job's payload, or what the application tells: the JSON as it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Box<RawValue>>,
    /// The state that the job came into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Number of the attempt, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// A time in ms: of `started` from the acceptance to this start; of `finished`, `failed` and `cancelled` how long the
    /// attempt ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// What the handler said, or what went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
}

impl Event {
    /// An event that says no more than this.
    #[must_use]
    pub const fn new(event: Kind, topic: Topic, origin: String, at: String) -> Self {
        Self {
            event,
            topic,
            origin,
            at,
            id: None,
            queue: None,
            title: None,
            labels: BTreeMap::new(),
            payload: None,
            state: None,
            attempt: None,
            ms: None,
            message: None,
            progress: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interests_read_as_they_are_written() {
        for text in ["job a/b", "progress a/*", "app **"] {
            assert_eq!(text.parse::<Interest>().unwrap().to_string(), text);
        }
        for bad in ["", "job", "jobs a", "job a//b"] {
            assert!(bad.parse::<Interest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_event_reads_as_it_is_written_and_says_nothing_of_what_it_does_not_know() {
        let topic = Topic::new("a/b").unwrap();
        let mut event = Event::new(Kind::Application, topic, "me".into(), "2026-11-30T00:00:00Z".into());
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"event":"application","topic":"a/b","origin":"me","at":"2026-11-30T00:00:00Z"}"#);
        event.payload = Some(RawValue::from_string(r#"{"n":1.50,"big":12345678901234567890}"#.into()).unwrap());
        let text = serde_json::to_string(&event).unwrap();
        let read: Event = serde_json::from_str(&text).unwrap();
        assert_eq!(read.payload.unwrap().get(), r#"{"n":1.50,"big":12345678901234567890}"#);
    }

    #[test]
    fn every_kind_is_named_as_in_json() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}
