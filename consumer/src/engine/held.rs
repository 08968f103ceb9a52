//! What waits here for a slot: how many deliveries of each topic, from either of its lanes, told with every beat, so that
//! whoever compares the broker with the store knows of the copies that are in no lane; and how many bytes, which are
//! bounded.

use longshore_link::broker::Delivery;
use longshore_model::topic::Topic;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Held {
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    /// A topic without any is not in it.
    counts: BTreeMap<Topic, u64>,
    bytes: u64,
    /// Since when the delivery waits that waits longest, by the boot clock, as the intake saw it last.
    oldest: Option<Duration>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub(crate) fn add(&self, delivery: &Delivery) {
        let sums = &mut *self.lock();
        sums.bytes += delivery.body.len() as u64;
        match sums.counts.get_mut(&delivery.lane.topic) {
            Some(count) => *count += 1,
            None => drop(sums.counts.insert(delivery.lane.topic.clone(), 1)),
        }
    }

    /// One fewer.
    pub(crate) fn take(&self, delivery: &Delivery) {
        let sums = &mut *self.lock();
        sums.bytes = sums.bytes.saturating_sub(delivery.body.len() as u64);
        if let Some(count) = sums.counts.get_mut(&delivery.lane.topic) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sums.counts.remove(&delivery.lane.topic);
            }
        }
    }

    /// Since when the one waits that waits longest.
    pub(crate) fn note_oldest(&self, since: Option<Duration>) {
        self.lock().oldest = since;
    }

    /// How long the one has waited that waits longest.
    pub(crate) fn lag(&self, now: Duration) -> Duration {
        self.lock().oldest.map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// None at all: the session that they came through is over.
    pub(crate) fn clear(&self) {
        *self.lock() = Sums::default();
    }

    /// All counts, now.
    pub(crate) fn counts(&self) -> BTreeMap<Topic, u64> {
        self.lock().counts.clone()
    }

    /// Bytes of all of them, now.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }
}
