//! Broker, store and blobs in this process: for development, tests and simulation.
//!
//! The same promises as RabbitMQ and Redis, held to them by the same conformance suite, with no
//! service and no file; nothing survives the process. The store runs on the model's transition
//! function and is the executable model of the Redis scripts. On a paused single-threaded runtime a
//! seeded run repeats itself: every map is ordered, no task or thread is started, and time comes from
//! the world that the backend was made with.
//!
//! [`Embedded`] is the backend, [`Embedded::link`] one process's connection to it. Tests and
//! simulations bring about on it what happens to services: restarts, wipes, cut connections, deleted
//! lanes, alarms, lost answers.

mod admit;
mod attempt;
mod broker;
mod company;
mod core;
mod deeds;
mod duty;
mod ears;
mod epoch;
mod files;
mod find;
mod fleet;
mod gates;
mod limits;
mod outage;
mod questions;
pub(crate) mod registry;
mod rules;
mod schedules;
mod scrub;
mod store;
mod table;
#[cfg(test)]
mod tests;
mod unique;
mod watcher;
mod weather;

pub use self::watcher::Sight;

use self::broker::EmbeddedBroker;
use self::broker::exchange::Exchange;
use self::core::Core;
use self::store::EmbeddedStore;
use self::watcher::Watcher;
use self::weather::Weather;
use crate::blobs::Blobs;
use crate::broker::{Letters, Message};
use crate::connect::Link;
use crate::error::Service;
use crate::events::Events;
use crate::trusted::Trust;
use crate::world::{Clock, World};
#[cfg(any(test, feature = "conformance"))]
use longshore_model::id::InstanceId;
use longshore_model::lane::Lane;
use longshore_model::names::{BrokerNames, Namespace};
use longshore_model::record::Record;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A backend in this process. Cheap to clone; clones and links share it, and it lives as long as any of them.
#[derive(Debug, Clone)]
pub struct Embedded {
    backend: Arc<Backend>,
}

/// What all links to one backend share. Nothing waits while it holds one of the locks, and none holds both.
#[derive(Debug)]
struct Backend {
    clock: Clock,
    core: Mutex<Core>,
    exchange: Mutex<Exchange>,
    store_weather: Weather,
    broker_weather: Weather,
    blobs: Blobs,
}

impl Backend {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker's state, with every parked message that is due back in its lane.
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
        exchange.unpark(self.broker_us());
        exchange
    }

    /// The broker's clock, us: parked messages come back after a time, whatever the wall clock says.
    fn broker_us(&self) -> u64 {
        u64::try_from(self.clock.boot().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Embedded {
    /// A new, empty backend, whose clock is that of `world`.
    #[must_use]
    pub fn new(world: &World) -> Self {
        Self {
            backend: Arc::new(Backend {
                clock: world.clock.clone(),
                core: Mutex::default(),
                exchange: Mutex::default(),
                store_weather: Weather::fair(Service::Store),
                broker_weather: Weather::fair(Service::Broker),
                blobs: Blobs::in_memory(world),
            }),
        }
    }

    /// Connects one process, with its own tasks and its own watches.
    #[must_use]
    pub fn link(&self, world: World) -> Link {
        Link {
            events: Events::new(&world),
            world,
            store: Arc::new(EmbeddedStore::new(self.backend.clone())),
            broker: Arc::new(EmbeddedBroker::new(self.backend.clone())),
            blobs: self.blobs(),
            trust: Trust::default(),
        }
    }

    /// The blobs of this backend, which keep it alive.
    pub(crate) fn blobs(&self) -> Blobs {
        self.backend.blobs.clone().keeping(self.backend.clone())
    }

    /// The store loses everything it held. Answers the records that it had.
    pub fn wipe_store(&self) -> Vec<Record> {
        self.operate(Core::wipe)
    }

    /// The store restarts and has lost nothing.
    pub fn restart_store(&self) {
        self.operate(Core::restart);
    }

    /// Every call to the store fails as unreachable, until this is called with `None`.
    pub fn set_store_away(&self, why: Option<&str>) {
        self.backend.store_weather.set_away(why);
    }

    /// The next `calls` calls to the store happen, and their callers get [`crate::Fault::Unknown`].
    pub fn lose_store_answers(&self, calls: u32) {
        self.backend.store_weather.lose_answers(calls);
    }

    /// The broker restarts, or its connections are closed: every session of consuming ends, and what was not settled
    /// goes back to the front of its lane.
    pub fn close_all_sessions(&self, why: &str) {
        self.backend.exchange().end_all(why);
    }

    /// Publishing and opening sessions fails as unreachable, until this is called with `None`; sessions end.
    pub fn set_broker_away(&self, why: Option<&str>) {
        self.backend.broker_weather.set_away(why);
        if let Some(why) = why {
            self.close_all_sessions(why);
        }
    }

    /// The next `publishes` calls happen, and their callers get [`crate::Fault::Unknown`] for every message.
    pub fn lose_confirms(&self, publishes: u32) {
        self.backend.broker_weather.lose_answers(publishes);
    }

    /// Reading and keeping payload files fails as unreachable, until this is called with `None`.
    pub fn set_blobs_away(&self, why: Option<&str>) {
        self.backend.blobs.set_away(why);
    }

    /// The broker refuses publishes for now, as with a full disk.
    pub fn set_blocked(&self, why: Option<&str>) {
        let now = self.backend.clock.boot();
        self.backend.exchange().set_blocked(why, now);
    }

    /// Most bytes of letters in quarantine, as the setting `broker.quarantine_bytes` says for a real broker. Default: any
    /// number.
    pub fn set_quarantine_bytes(&self, bytes: u64) {
        self.backend.exchange().set_quarantine_bytes(bytes);
    }

    /// Deletes a lane with every message in it; its consumers lose it.
    pub fn delete_lane(&self, lane: &Lane) {
        self.backend.exchange().delete(lane);
    }

    /// Puts everything that waits in a lane among the dead, as a broker does with messages that came back too often.
    pub fn evict_lane(&self, lane: &Lane) {
        let queue = BrokerNames::new(Namespace::default()).lane(lane);
        self.backend.exchange().evict(lane, "delivery_limit", &queue);
    }

    /// The broker loses every copy of a lane: waiting, parked, and with consumers, who do not notice.
    pub fn lose_copies(&self, lane: &Lane) {
        self.backend.exchange().lose(lane);
    }

    /// The broker loses everything it held, and every session ends.
    pub fn wipe_broker(&self) {
        self.backend.exchange().wipe();
    }

    /// The broker delivers copies of a lane once more, also of those that a consumer has; at most `limit` of them.
    pub fn duplicate_copies(&self, lane: &Lane, limit: usize) {
        self.backend.exchange().duplicate(lane, limit);
    }

    /// A moment of the store's clock, ms: not before any operation that has happened, and before all that follow.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.operate(|core| core.now())
    }

    /// How many copies of a message the broker has, wherever they are.
    #[must_use]
    pub fn copies(&self, message_id: &str) -> usize {
        self.backend.exchange().copies(message_id)
    }

    /// What lies in one of the places for people, oldest first.
    #[must_use]
    pub fn letters(&self, place: Letters) -> Vec<Message> {
        self.backend.exchange().letters(place)
    }

    /// Messages that nobody holds in a lane (waiting or parked) and those that a session holds, for tests of what may
    /// be left over.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.backend.exchange().messages()
    }

    /// What [`Self::messages`] counts, for people.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        self.backend.exchange().left()
    }

    /// Has somebody look at the store after each of its operations, whoever asked for it; the last one that is named
    /// here.
    pub fn watch(&self, watch: impl FnMut(&Sight<'_>) + Send + 'static) {
        self.backend.core().watcher = Watcher::new(watch);
    }

    /// The store takes an instance's last beat for one of so much longer ago, ms.
    #[cfg(any(test, feature = "conformance"))]
    pub fn set_back(&self, instance: &InstanceId, ms: u64) {
        self.operate(|core| core.fleet.set_back(instance, ms));
    }

    /// Compares every index of the store with its records.
    ///
    /// # Errors
    /// The first disagreement, in words.
    #[cfg(any(test, feature = "conformance"))]
    pub fn check(&self) -> Result<(), String> {
        self.backend.core().table.check()
    }

    fn operate<A>(&self, operation: impl FnOnce(&mut Core) -> A) -> A {
        self.backend.core().operate(self.backend.clock.unix_us(), operation)
    }
}
