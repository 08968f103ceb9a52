//! Removing everything that Longshore keeps under one namespace, in broker and store.

use crate::connect::Producer;
use longshore_link::broker::{Copies, Letters};
use longshore_link::error::Fault;
use longshore_model::names::Park;
use longshore_model::{Lane, State, Topic};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a namespace holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NamespaceContents {
    /// Jobs by state, history included.
    pub jobs: BTreeMap<State, u64>,
    /// Topics, each with a lane.
    pub topics: usize,
    /// Messages in lanes and at rest.
    pub messages: u64,
    /// Letters of all three places.
    pub letters: u64,
    /// Instances that are live, by name: while there are any, nothing is removed.
    pub instances: Vec<String>,
}

/// Why a namespace was not removed, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemovalError {
    /// A service gave no answer. Repeating it goes on.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Somebody uses it.
    #[error("instances are live ({}): stop them first, or they would make anew what is removed", .0.join(", "))]
    InUse(Vec<String>),
}

impl Producer {
    /// What the namespace of this producer holds.
    ///
    /// # Errors
    /// [`Fault`] when a service gives no answer.
    pub async fn namespace_contents(&self) -> Result<NamespaceContents, Fault> {
        let link = self.link();
        let mut contents = NamespaceContents::default();
        for (state, count) in link.store.counts().await?.into_values().flatten() {
            *contents.jobs.entry(state).or_default() += count;
        }
        for lane in link.store.lanes().await? {
            contents.topics += usize::from(lane.is_first());
            contents.messages += link.broker.depth(&lane).await?.unwrap_or(0);
        }
        for park in Park::ALL {
            contents.messages += link.broker.count_copies(&Copies::Parked(park)).await?.unwrap_or(0);
        }
        for place in Letters::ALL {
            contents.letters += link.broker.count_letters(place).await?;
        }
        contents.instances = link.store.view().await?.instances.into_iter().map(|card| card.name).collect();
        Ok(contents)
    }

    /// Removes everything of the namespace, for good: queues and exchanges first, then what the store holds, since that
    /// names the lanes. `topics`: those of lanes that the store does not know of. Files in the place of files stay. May be
    /// repeated. Answers how many queues and keys there were.
    ///
    /// # Errors
    /// [`RemovalError`].
    pub async fn remove_namespace(&self, topics: &[Topic]) -> Result<(u64, u64), RemovalError> {
        let link = self.link();
        let instances = link.store.view().await?.instances;
        if !instances.is_empty() {
            return Err(RemovalError::InUse(instances.into_iter().map(|card| card.name).collect()));
        }
        let mut known = link.store.lanes().await?;
        known.extend(link.store.topics().await?.iter().chain(topics).flat_map(Lane::both));
        let queues = link.broker.erase(&known).await?;
        let keys = link.store.erase().await?;
        Ok((queues, keys))
    }
}
