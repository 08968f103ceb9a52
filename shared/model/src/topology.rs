//! Who is there: the card that an instance shows, and the view that the store keeps of all of them.

pub mod asking;
pub mod events;
pub mod matrix;
pub mod properties;
pub mod table;

use self::matrix::{Row, Stand};
use crate::id::Owner;
use crate::lane::Lane;
use crate::placement::Site;
use crate::topic::{Topic, TopicPattern};
use crate::trust::Signature;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
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
    /// How much it is to lead, by its settings: `instance.leader_preference`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub leader_preference: i32,
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
    /// The row of the matrix that it goes by now.
    #[serde(default, skip_serializing_if = "Row::is_open")]
    pub row: Row,
    /// Jobs it may run at once.
    pub slots: u32,
    /// Jobs it runs now.
    pub running: u32,
    /// Deliveries that wait here for a slot and may run anywhere, by topic: with what is in the lanes, the broker's copies of queued jobs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<Topic, u64>,
    /// The same of jobs that are to run at a site, by topic and site, as [`Lane::spelled`] of the normal lane.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held_at: BTreeMap<String, u64>,
    /// It takes no new work and will leave.
    #[serde(default)]
    pub draining: bool,
    /// It has found that it does not belong to the fleet, and takes nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
    /// How long the delivery has waited that waits longest here for a slot, ms.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lag_ms: u64,
    /// By how much its clock is ahead of the store's, ms; behind where negative. Known from the second beat on, to about
    /// the time that a beat takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    /// What it is, by its settings: `instance.labels`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Where it can be reached, by its settings: `instance.endpoints`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<String>,
    /// What its application says of it while it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// That it belongs to the fleet, where it has the fleet's keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// The card of an instance that says nothing of itself.
    #[must_use]
    pub const fn bare(owner: Owner) -> Self {
        Self {
            owner,
            name: String::new(),
            cluster: String::new(),
            leader_preference: 0,
            version: String::new(),
            started: 0,
            capabilities: Vec::new(),
            allowed: Allowed { allow: None, deny: Vec::new() },
            row: Row { rules: BTreeMap::new(), drained: false, by: String::new() },
            slots: 0,
            running: 0,
            held: BTreeMap::new(),
            held_at: BTreeMap::new(),
            draining: false,
            outside: false,
            lag_ms: 0,
            skew_ms: None,
            labels: BTreeMap::new(),
            endpoints: Vec::new(),
            properties: BTreeMap::new(),
            signature: None,
        }
    }

    /// What stays the same from beat to beat: whoever follows properties hears of changes of this, and not of load.
    #[must_use]
    pub fn profile(&self) -> Self {
        Self {
            started: 0,
            running: 0,
            held: BTreeMap::new(),
            held_at: BTreeMap::new(),
            lag_ms: 0,
            skew_ms: None,
            signature: None,
            ..self.clone()
        }
    }

    /// How many deliveries of the pair of a lane wait here for a slot; `lane`: its normal one.
    #[must_use]
    pub fn holds(&self, lane: &Lane) -> u64 {
        let held = match &lane.site {
            None => self.held.get(&lane.topic),
            Some(_) => self.held_at.get(&lane.spelled()),
        };
        held.copied().unwrap_or(0)
    }

    /// How the instance stands to a topic, whatever the payload's version. Of several reasons not to take it the one
    /// that is hardest to change is told.
    #[must_use]
    pub fn stand(&self, topic: &Topic) -> Stand {
        if !self.capabilities.iter().any(|capability| capability.pattern.matches(topic)) {
            Stand::NoHandler
        } else if !self.allowed.admits(topic) {
            Stand::Denied
        } else if self.outside {
            Stand::Outside
        } else if self.draining {
            Stand::Stopping
        } else {
            self.row.stand(topic)
        }
    }

    /// Whether the instance takes jobs of this topic, whatever the payload's version.
    #[must_use]
    pub fn takes(&self, topic: &Topic) -> bool {
        self.stand(topic) == Stand::Takes
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

    /// The instances of a site that take a topic.
    pub fn at<'v>(&'v self, site: &'v Site, topic: &'v Topic) -> impl Iterator<Item = &'v Card> {
        self.capable(topic).filter(move |card| site.has(card, self))
    }

    /// Whether a lane is there for an instance that takes its topic: no site keeps the instance away, or that is a
    /// preference and nobody of the site takes the topic.
    #[must_use]
    pub fn is_for(&self, lane: &Lane, card: &Card) -> bool {
        let open = |site: &Site| !site.is_firm() && self.at(site, &lane.topic).next().is_none();
        lane.site.as_ref().is_none_or(|site| site.has(card, self) || open(site))
    }

    /// The leader of a cluster: of its most preferred instances the one that joined first. So it stays who it is until a
    /// more preferred one joins, and whoever was away queues last among its like.
    #[must_use]
    pub fn leader(&self, cluster: &str) -> Option<&Card> {
        let of_cluster = self.instances.iter().filter(|card| card.cluster == cluster);
        of_cluster.min_by_key(|card| Reverse(card.leader_preference))
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
    use super::table::TopicLine;
    use super::*;
    use crate::id::{Incarnation, InstanceId};
    use crate::record::State;

    fn card(id: &str, cluster: &str, takes: &str) -> Card {
        let incarnation = Incarnation(format!("{id}-1"));
        Card {
            name: id.to_owned(),
            cluster: cluster.to_owned(),
            capabilities: vec![Capability { pattern: TopicPattern::new(takes).unwrap(), version: 0 }],
            ..Card::bare(Owner { instance: InstanceId(id.to_owned()), incarnation })
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
    fn v09_of_the_most_preferred_who_joined_first_leads_its_cluster() {
        let of = |id: &str, cluster: &str, leader_preference| Card { leader_preference, ..card(id, cluster, "a") };
        let leader = |instances: Vec<Card>| {
            let view = View { instances, ..View::default() };
            view.leader("c").map(|card| card.owner.instance.0.clone()).unwrap_or_default()
        };
        let (avoids, usual, first, second) = (of("w", "c", -1), of("x", "c", 0), of("y", "c", 5), of("z", "c", 5));
        let elsewhere = of("v", "d", 9);
        assert_eq!(leader(vec![avoids.clone()]), "w", "somebody has to");
        assert_eq!(leader(vec![avoids.clone(), usual.clone()]), "x");
        assert_eq!(leader(vec![elsewhere.clone(), avoids, usual, first.clone(), second.clone()]), "y");
        assert_eq!(leader(vec![second, first]), "z", "who was away queues last");
        assert_eq!(leader(vec![elsewhere]), "");
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

    #[test]
    fn p03_a_preferred_site_is_everybodys_while_nobody_of_it_takes_the_topic() {
        let lane = |site: &str| Lane { site: Some(site.parse().unwrap()), ..Topic::new("a/b").unwrap().into() };
        let mut view = View {
            instances: vec![card("a", "web", "a/b"), card("b", "web", "x"), card("c", "c", "a/*")],
            ..View::default()
        };
        view.instances[2].labels.insert("gpu".into(), "yes".into());
        view.coordinator = Some(view.instances[1].owner.clone());
        let takers = |view: &View, site: &str| {
            let (lane, cards) = (lane(site), view.instances.iter());
            cards.filter(|card| view.is_for(&lane, card)).map(|card| card.name.as_str()).collect::<String>()
        };
        for (site, before, after) in [
            ("cluster:web", "ab", "abc"),
            ("cluster:gone", "abc", "abc"),
            ("instance:a", "a", "abc"),
            // It is there and does not take the topic.
            ("instance:b", "abc", "abc"),
            ("leader", "b", "b"),
            ("label:gpu=yes", "c", "c"),
            ("label:gpu=no", "", ""),
            ("prefer_label:gpu", "c", "c"),
            ("prefer_label:gpu=no", "abc", "abc"),
        ] {
            view.instances[0].draining = false;
            assert_eq!(takers(&view, site), before, "{site}");
            view.instances[0].draining = true;
            assert_eq!(takers(&view, site), after, "{site}, and a takes nothing more");
        }
        let [normal, high] = Lane::both(&Topic::new("a/b").unwrap());
        assert!(view.instances.iter().all(|card| view.is_for(&normal, card) && view.is_for(&high, card)));
    }

    #[test]
    fn o08_a_row_never_gives_what_settings_deny_or_no_handler_takes() {
        let (topic, other) = (Topic::new("a/b").unwrap(), Topic::new("x").unwrap());
        let pattern = |text: &str| TopicPattern::new(text).unwrap();
        let mut card = card("one", "c", "a/*");
        assert_eq!((card.stand(&topic), card.stand(&other)), (Stand::Takes, Stand::NoHandler));
        card.row = Row::default().set(&pattern("x"), matrix::Rule::Exclusive, "").unwrap();
        assert_eq!((card.stand(&topic), card.stand(&other)), (Stand::Excluded, Stand::NoHandler));
        assert!(!card.reads(&topic, 0));
        card.allowed.deny = vec![pattern("a/b")];
        card.row = Row::default().set(&pattern("a/b"), matrix::Rule::Exclusive, "").unwrap();
        assert_eq!(card.stand(&topic), Stand::Denied, "an exclusive topic that is denied stays denied");
        (card.allowed, card.draining) = (Allowed::default(), true);
        assert_eq!(card.stand(&topic), Stand::Stopping);
    }

    #[test]
    fn o08_a_gap_is_where_jobs_wait_and_nobody_takes_them() {
        let topic = Topic::new("media/raw").unwrap();
        let counts = BTreeMap::from([(State::Queued, 12), (State::Active, 1), (State::Succeeded, 5)]);
        let disabled = |mut card: Card| {
            card.row = Row::default().set(&TopicPattern::everything(), matrix::Rule::Disabled, "").unwrap();
            card
        };
        let kept_away = View { instances: vec![disabled(card("w", "c", "media/*"))], ..View::default() };
        let line = TopicLine::new(topic.clone(), Some(&counts), &BTreeMap::new(), &kept_away);
        assert_eq!(line.gap.as_deref(), Some("12 jobs wait, no live instance takes media/raw"));
        assert_eq!((line.waiting, line.running, line.instances[0].stand), (12, 1, Stand::Disabled));
        let taken = View { instances: vec![card("w", "c", "media/*")], ..View::default() };
        assert_eq!(TopicLine::new(topic.clone(), Some(&counts), &BTreeMap::new(), &taken).gap, None);
        let at = |site: &str| Lane { site: Some(site.parse().unwrap()), ..Lane::from(topic.clone()) };
        let gap = |site| {
            let queued_at = BTreeMap::from([(at(site), 3), (at("label:none"), 0)]);
            TopicLine::new(topic.clone(), Some(&counts), &queued_at, &taken).gap
        };
        let untaken = "3 jobs wait for instances with the label gpu=yes, which take no media/raw";
        assert_eq!(gap("label:gpu=yes").as_deref(), Some(untaken));
        assert_eq!(["cluster:c", "cluster:gone", "instance:gone"].map(gap), [None, None, None]);
        assert_eq!(TopicLine::new(topic, None, &BTreeMap::new(), &View::default()).gap, None, "nothing waits");
    }
}
