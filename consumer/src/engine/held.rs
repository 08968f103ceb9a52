//! What waits here for a slot: how many deliveries of each topic and site, from either of its lanes, told with every
//! beat, so that whoever compares the broker with the store knows of the copies that are in no lane; and how many
//! bytes, which are bounded.

use longshore_link::broker::Delivery;
use longshore_model::lane::Lane;
use longshore_model::topic::Topic;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The normal lane of a delivery's pair.
fn normal(delivery: &Delivery) -> Cow<'_, Lane> {
    let lane = &delivery.lane;
    if lane.high { Cow::Owned(Lane { high: false, ..lane.clone() }) } else { Cow::Borrowed(lane) }
}

/// The sums.
#[derive(Debug, Default)]
pub(crate) struct Held {
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    /// By the normal lane; one without any is not in it.
    counts: BTreeMap<Lane, u64>,
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
        let lane = normal(delivery);
        match sums.counts.get_mut(&*lane) {
            Some(count) => *count += 1,
            None => drop(sums.counts.insert(lane.into_owned(), 1)),
        }
    }

    /// One fewer.
    pub(crate) fn take(&self, delivery: &Delivery) {
        let sums = &mut *self.lock();
        sums.bytes = sums.bytes.saturating_sub(delivery.body.len() as u64);
        let lane = normal(delivery);
        if let Some(count) = sums.counts.get_mut(&*lane) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                sums.counts.remove(&*lane);
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

    /// How many may run anywhere, by topic, now.
    pub(crate) fn counts(&self) -> BTreeMap<Topic, u64> {
        let sums = self.lock();
        let anywhere = sums.counts.iter().filter(|(lane, _)| lane.site.is_none());
        anywhere.map(|(lane, count)| (lane.topic.clone(), *count)).collect()
    }

    /// How many are to run at a site, by topic and site, now.
    pub(crate) fn counts_at(&self) -> BTreeMap<String, u64> {
        let sums = self.lock();
        let placed = sums.counts.iter().filter(|(lane, _)| lane.site.is_some());
        placed.map(|(lane, count)| (lane.spelled(), *count)).collect()
    }

    /// Bytes of all of them, now.
    pub(crate) fn bytes(&self) -> u64 {
        self.lock().bytes
    }
}
