//! Topics × instances: who takes what, what waits, and where nobody takes what waits (O08).

use super::matrix::Stand;
use super::{Card, View};
use crate::id::InstanceId;
use crate::lane::Lane;
use crate::record::State;
use crate::topic::Topic;
use serde::Serialize;
use std::collections::BTreeMap;

/// One topic, and how every live instance stands to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicLine {
    /// The topic.
    pub topic: Topic,
    /// Jobs that could run now, if somebody took them.
    pub waiting: u64,
    /// Jobs that run.
    pub running: u64,
    /// Every live instance, in the order in which they joined.
    pub instances: Vec<StandOf>,
    /// What is wrong, in a sentence: jobs wait, and nobody takes them.
    pub gap: Option<String>,
}

/// How one instance stands to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StandOf {
    /// The instance.
    pub instance: InstanceId,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub stand: Stand,
}

impl TopicLine {
    /// The line of a topic. `counts` is how many of its jobs are in each state, `queued_at` how many of those that could run
    /// now are to run at some site: of all topics, by the normal lane of each.
    #[must_use]
    pub fn new(
        topic: Topic,
        counts: Option<&BTreeMap<State, u64>>,
        queued_at: &BTreeMap<Lane, u64>,
        view: &View,
    ) -> Self {
        let count = |state| counts.and_then(|counts| counts.get(&state)).copied().unwrap_or(0);
        let (waiting, running) = (count(State::Queued), count(State::Active));
        let stand = |card: &Card| StandOf {
            instance: card.owner.instance.clone(),
            name: card.name.clone(),
            stand: card.stand(&topic),
        };
        let instances: Vec<StandOf> = view.instances.iter().map(stand).collect();
        let taken = instances.iter().any(|instance| instance.stand == Stand::Takes);
        let jobs = |count: u64| if count == 1 { "1 job waits".to_owned() } else { format!("{count} jobs wait") };
        let gap = if waiting > 0 && !taken {
            Some(format!("{}, no live instance takes {topic}", jobs(waiting)))
        } else {
            let of_topic = queued_at.iter().filter(|(lane, count)| lane.topic == topic && **count > 0);
            let mut untaken = of_topic.filter(|(lane, _)| !view.capable(&topic).any(|card| view.is_for(lane, card)));
            untaken.find_map(|(lane, count)| {
                Some(format!("{} for {}, which take no {topic}", jobs(*count), lane.site.as_ref()?.describe()))
            })
        };
        Self { topic, waiting, running, instances, gap }
    }
}
