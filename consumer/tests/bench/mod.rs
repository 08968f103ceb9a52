//! What the tests of the engine share: a producer and consumers on the embedded backend, in virtual time.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use longshore_consumer::{Consumer, Running, Settings};
use longshore_link::World;
use longshore_link::embedded::Embedded;
use longshore_producer::{Producer, ProducerOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(crate) struct Bench {
    pub(crate) backend: Embedded,
    pub(crate) world: World,
    pub(crate) producer: Producer,
    /// Runs that began, of handlers that count them.
    pub(crate) begun: Arc<AtomicUsize>,
}

impl Bench {
    pub(crate) fn new(seed: u64) -> Self {
        let world = World::simulated(seed);
        let backend = Embedded::new(&world);
        let producer = Producer::connect_with(backend.link(world.process()), ProducerOptions::default());
        Self { backend, world, producer, begun: Arc::default() }
    }

    /// A consumer of its own process, without handlers.
    pub(crate) fn consumer(&self, settings: Settings) -> Consumer {
        Consumer::new(settings).link(self.backend.link(self.world.process()))
    }

    pub(crate) async fn sleep(&self, seconds: u64) {
        self.world.clock.sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

/// Starts a consumer and waits until it takes jobs.
pub(crate) async fn started(consumer: Consumer) -> Running {
    let running = consumer.start().await.unwrap();
    running.ready().await;
    running
}

/// Settings of an instance with so many slots.
pub(crate) fn slots(slots: usize) -> Settings {
    let mut settings = Settings::default();
    settings.instance.concurrency = slots;
    settings
}
