//! How many deliveries wait here for a slot, by topic: told with every beat, so that whoever compares the broker with
//! the store knows of the copies that are in no lane.

use longshore_model::topic::Topic;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counts; a topic without any is not in it.
#[derive(Debug, Default)]
pub(crate) struct Held {
    counts: Mutex<BTreeMap<Topic, u64>>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub(crate) fn add(&self, topic: &Topic) {
        let mut counts = self.lock();
        match counts.get_mut(topic) {
            Some(count) => *count += 1,
            None => drop(counts.insert(topic.clone(), 1)),
        }
    }

    /// So many fewer.
    pub(crate) fn take(&self, topic: &Topic, many: usize) {
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(topic) {
            *count = count.saturating_sub(many as u64);
            if *count == 0 {
                counts.remove(topic);
            }
        }
    }

    /// None at all: the session that they came through is over.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// All counts, now.
    pub(crate) fn counts(&self) -> BTreeMap<Topic, u64> {
        self.lock().clone()
    }
}
