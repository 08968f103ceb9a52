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
    /// Which topics it may take at all.
    #[serde(default, skip_serializing_if = "Allowed::is_open")]
    pub allowed: Allowed,
    /// Jobs it may run at once.
    pub slots: u32,
    /// Jobs it runs now.
    pub running: u32,
    /// Deliveries that wait here for a slot, by topic: with what is in the lanes, the broker's copies of queued jobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Topic, u64>,
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
        !self.draining
            && self.allowed.admits(topic)
            && self.capabilities.iter().any(|capability| capability.pattern.matches(topic))
    }

    /// Whether the instance takes jobs of this topic with this version of the payload: the handler that it would
    /// choose, the nearest pattern, decides.
    #[must_use]
    pub fn reads(&self, topic: &Topic, version: u32) -> bool {
        self.newest(topic).is_some_and(|newest| newest == 0 || newest >= version)
    }

    /// The newest version of the payload that the instance reads for this topic (0: any); `None` when it does not
    /// take the topic.
    #[must_use]
    pub fn newest(&self, topic: &Topic) -> Option<u32> {
        let matching = self.capabilities.iter().filter(|capability| capability.pattern.matches(topic));
        let nearest = matching.min_by_key(|capability| capability.pattern.distance(topic))?;
        self.takes(topic).then_some(nearest.version)
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

    /// The leader of a cluster: the instance of it that joined first.
    #[must_use]
    pub fn leader(&self, cluster: &str) -> Option<&Card> {
        self.instances.iter().find(|card| card.cluster == cluster)
    }

    /// The instances that take a topic, in the order in which a job of this cluster would prefer them: those of the
    /// cluster first, its leader before its others, then all others; among equals by id. The leader of another
    /// cluster is nothing special here.
    #[must_use]
    pub fn candidates<'v>(&'v self, topic: &'v Topic, cluster: &str) -> Vec<&'v Card> {
        let leader = self.leader(cluster).map(|card| &card.owner);
        let mut found: Vec<&Card> = self.capable(topic).collect();
        found.sort_by_key(|card| (card.cluster != cluster, Some(&card.owner) != leader, &card.owner.instance));
        found
    }
}

/// Which topics an instance may take at all, whatever its handlers (U05): what `allow` admits, less what `deny` takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// `None`: everything. An empty list: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<TopicPattern>>,
    /// Taken away again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<TopicPattern>,
}

impl Allowed {
    /// Whether the instance may take a topic.
    #[must_use]
    pub fn admits(&self, topic: &Topic) -> bool {
        let any = |patterns: &[TopicPattern]| patterns.iter().any(|pattern| pattern.matches(topic));
        self.allow.as_deref().is_none_or(any) && !any(&self.deny)
    }

    /// Whether there is no restriction.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, InstanceId};

    fn card(id: &str, cluster: &str, takes: &str) -> Card {
        let incarnation = Incarnation(format!("{id}-1"));
        Card {
            owner: Owner { instance: InstanceId(id.to_owned()), incarnation },
            name: id.to_owned(),
            cluster: cluster.to_owned(),
            version: String::new(),
            started: 0,
            capabilities: vec![Capability { pattern: TopicPattern::new(takes).unwrap(), version: 0 }],
            allowed: Allowed::default(),
            slots: 1,
            running: 0,
            held: BTreeMap::new(),
            draining: false,
            properties: BTreeMap::new(),
        }
    }

    #[test]
    fn tm_08_candidates_are_the_local_leader_its_cluster_and_then_the_others() {
        let order = |instances: Vec<Card>| {
            let view = View { instances, ..View::default() };
            let topic = Topic::new("a/b").unwrap();
            view.candidates(&topic, "local").iter().map(|card| card.owner.instance.0.clone()).collect::<Vec<_>>()
        };
        // Whoever joined first leads its cluster: `l` here and `r` there.
        let l = || card("l", "local", "a/b");
        let others = || vec![card("b", "local", "a/*"), card("a", "local", "**")];
        let remote = || vec![card("r", "remote", "a/b"), card("q", "remote", "a/b")];
        for instances in [[vec![l()], others(), remote()], [remote(), vec![l()], others()]] {
            assert_eq!(order(instances.concat()), ["l", "a", "b", "q", "r"]);
        }
        // A leader that does not take the topic leads all the same; nobody takes its place.
        let elsewhere = card("l", "local", "x");
        assert_eq!(order([vec![elsewhere], others(), remote()].concat()), ["a", "b", "q", "r"]);
        assert_eq!(order(Vec::new()), [""; 0]);
    }

    #[test]
    fn tm_09_allow_and_deny_lists_bound_what_is_taken() {
        let topic = |text: &str| Topic::new(text).unwrap();
        let pattern = |text: &str| TopicPattern::new(text).unwrap();
        let nothing = Allowed { allow: Some(vec![]), deny: vec![] };
        assert!(!nothing.admits(&topic("a")));
        let all_but = Allowed { allow: Some(vec![pattern("**")]), deny: vec![pattern("a/b")] };
        assert!(all_but.admits(&topic("a/c")) && !all_but.admits(&topic("a/b")));
        let denied = Allowed { allow: None, deny: vec![pattern("**")] };
        assert!(!denied.admits(&topic("a")));
        assert!(Allowed::default().admits(&topic("a")));
    }
}
