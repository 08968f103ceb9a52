//! Who is there: the card that an instance shows, and the view that the store keeps of all of them.

use crate::id::Owner;
use crate::topic::{Topic, TopicPattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an instance says of itself with every beat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Which start of which instance.
    pub owner: Owner,
    /// For people; the host name by default.
    pub name: String,
    /// The cluster; by default the instance's own.
    pub cluster: String,
    /// Version of Longshore.
    pub version: String,
    /// When it started, ms since 1970 of the store's clock (0 until the first beat was answered).
    #[serde(default)]
    pub started: u64,
    /// What it takes, with the newest payload version it reads (0: any).
    pub capabilities: Vec<Capability>,
    /// Jobs it may run at once.
    pub slots: u32,
    /// Jobs it runs now.
    pub running: u32,
    /// It takes no new work and will leave.
    #[serde(default)]
    pub draining: bool,
    /// Free-form properties.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// A topic pattern that an instance consumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// The pattern.
    pub pattern: TopicPattern,
    /// The newest payload version that its handler reads; 0 means any.
    #[serde(default)]
    pub version: u32,
}

impl Card {
    /// Whether the instance takes jobs of this topic, whatever the payload's version.
    #[must_use]
    pub fn takes(&self, topic: &Topic) -> bool {
        !self.draining && self.capabilities.iter().any(|capability| capability.pattern.matches(topic))
    }

    /// Whether the instance takes jobs of this topic with this version of the payload: the handler that it would
    /// choose, the nearest pattern, decides.
    #[must_use]
    pub fn reads(&self, topic: &Topic, version: u32) -> bool {
        let nearest = self
            .capabilities
            .iter()
            .filter(|capability| capability.pattern.matches(topic))
            .min_by_key(|capability| capability.pattern.distance(topic));
        !self.draining && nearest.is_some_and(|found| found.version == 0 || found.version >= version)
    }
}

/// The live instances at one moment, in the order in which they joined.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Grows whenever the set of instances or the coordinator changes.
    pub number: u64,
    /// Grows whenever another incarnation becomes coordinator.
    pub term: u64,
    /// The coordinator's incarnation.
    pub coordinator: Option<Owner>,
    /// The instances.
    pub instances: Vec<Card>,
}

impl View {
    /// The instances that take a topic.
    pub fn capable<'v>(&'v self, topic: &'v Topic) -> impl Iterator<Item = &'v Card> {
        self.instances.iter().filter(move |card| card.takes(topic))
    }
}
