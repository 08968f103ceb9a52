//! What a case gets: a producer, consumers to start, a clock to wait on; and the recorders that handlers write to.
//!
//! [`Fleet`] hides the backend behind [`Backend`]; how long a case waits depends on it ([`Pace`]): virtual time is free,
//! real time is kept short. Deadlines are generous, since a loaded machine must not fail a test; what a case says about
//! times it checks itself.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use longshore_consumer::{Consumer, Ctx, Running, Settings};
use longshore_link::trusted::Trust;
use longshore_link::{Link, World};
use longshore_model::Secret;
use longshore_model::lane::Lane;
use longshore_model::snapshot::Waiting;
use longshore_model::topic::Topic;
use longshore_producer::{JobBuilder, JobId, JobView, Producer, ProducerOptions, Queues, Report, Sent};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::wait;

/// Longest wait for anything that has to happen.
const LIMIT: Duration = Duration::from_secs(60);
/// Longest wait in real time for what must not happen.
const QUIET: Duration = Duration::from_millis(1_500);

/// Where a fleet runs.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// The connections of one more process.
    async fn link(&self, settings: &Settings, world: World) -> Link;

    /// What lies in quarantine, oldest first: bodies and reasons.
    async fn quarantined(&self) -> Vec<(Bytes, String)>;

    /// The broker puts everything that waits in a lane among the dead.
    async fn evict(&self, lane: &Lane);
}

/// What a second costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nothing: the clock is paused and jumps.
    Virtual,
    /// A second.
    Real,
}

/// A system for one case: a broker, a store, one producer, and as many consumers as the case starts.
#[derive(Debug)]
pub struct Fleet {
    backend: Box<dyn Backend>,
    settings: Settings,
    world: World,
    pace: Pace,
    producer: Producer,
    /// Every consumer has a home of its own, as every process on a machine has.
    homes: TempDir,
    consumers: AtomicUsize,
}

impl Fleet {
    /// A fleet on a backend that is empty, or a namespace that is.
    pub async fn new(backend: impl Backend + 'static, settings: Settings, world: World, pace: Pace) -> Self {
        let link = backend.link(&settings, world.process()).await;
        let producer = Producer::connect_with(link, ProducerOptions::from_settings(&settings));
        let homes = tempfile::tempdir().unwrap();
        Self { backend: Box::new(backend), settings, world, pace, producer, homes, consumers: AtomicUsize::new(0) }
    }

    /// The producer of the case.
    #[must_use]
    pub const fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Another producer, with queues.
    pub async fn producer_with(&self, queues: Queues) -> Producer {
        let options = ProducerOptions { queues, ..ProducerOptions::from_settings(&self.settings) };
        Producer::connect_with(self.link().await, options)
    }

    /// The connections of one more process.
    pub async fn link(&self) -> Link {
        self.backend.link(&self.settings, self.world.process()).await
    }

    /// The connections of one more process that has these keys (`trust.keys`).
    pub async fn link_with_keys(&self, keys: &str) -> Link {
        let mut settings = self.settings.clone();
        settings.trust.keys = Secret::new(keys);
        Link { trust: Trust::of(&settings).unwrap(), ..self.link().await }
    }

    /// A consumer in a process of its own, to be given handlers and started.
    pub async fn consumer(&self) -> Consumer {
        self.consumer_with(|_| ()).await
    }

    /// A consumer with other settings.
    pub async fn consumer_with(&self, change: impl FnOnce(&mut Settings)) -> Consumer {
        let mut settings = self.settings.clone();
        let number = self.consumers.fetch_add(1, Ordering::Relaxed) + 1;
        settings.instance.name = Some(format!("consumer-{number}"));
        settings.instance.home = Some(self.homes.path().join(number.to_string()));
        change(&mut settings);
        Consumer::new(settings).link(self.link().await)
    }

    /// The world of one more process, for [`Consumer::world`]: its tasks can be killed where time is virtual.
    #[must_use]
    pub fn process(&self) -> World {
        self.world.process()
    }

    /// Starts a consumer and waits until it consumes every lane that it takes.
    pub async fn start(&self, consumer: Consumer) -> Running {
        let running = wait::within(LIMIT, "the consumer starts", Box::pin(consumer.start())).await.unwrap();
        wait::within(LIMIT, "the consumer is ready", running.ready()).await;
        running
    }

    /// Sends one job, which must be accepted.
    pub async fn send(&self, job: JobBuilder) -> Sent {
        job.send().await.unwrap()
    }

    /// Sends one job of a topic, with an empty object as payload.
    pub async fn send_to(&self, topic: &str) -> Sent {
        self.send(self.producer.raw(topic, "{}")).await
    }

    /// Waits for the end of a job.
    pub async fn end(&self, sent: &Sent) -> Report {
        self.end_of(sent.id).await
    }

    /// Waits for the end of the job with this id.
    pub async fn end_of(&self, id: JobId) -> Report {
        match self.producer.outcome(id).timeout(LIMIT).await {
            Ok(report) => report,
            Err(error) => panic!("{error}; it is now {:?}", self.producer.show(id).await),
        }
    }

    /// The job as it is now.
    pub async fn show(&self, id: JobId) -> JobView {
        self.producer.show(id).await.unwrap().unwrap()
    }

    /// Why the job waits.
    pub async fn waiting(&self, id: JobId) -> Waiting {
        self.show(id).await.waiting.unwrap()
    }

    /// Waits until the job looks so.
    pub async fn looks(&self, id: JobId, what: &str, fits: impl Fn(&JobView) -> bool) -> JobView {
        wait::eventually_ok(LIMIT, what, async || {
            let view = self.show(id).await;
            if fits(&view) { Ok(view) } else { Err(Box::new(view)) }
        })
        .await
    }

    /// Jobs of the whole fleet that have not ended.
    pub async fn unfinished(&self) -> Vec<JobId> {
        self.producer.jobs().unfinished().limit(0).ids().await.unwrap()
    }

    /// Removes what no case waits for any more.
    pub async fn remove_unfinished(&self) {
        let left = self.unfinished().await;
        self.producer.remove(left).await.unwrap();
    }

    /// At the end of every case: what was accepted is accounted for.
    pub async fn balanced(&self) {
        let ledger = self.producer.ledger().await.unwrap();
        assert_eq!(ledger.drifts(), [], "{ledger:?}");
    }

    /// What lies in quarantine, oldest first: bodies and reasons. Waits until there are so many.
    pub async fn quarantined(&self, count: usize) -> Vec<(Bytes, String)> {
        let what = format!("{count} messages are in quarantine");
        wait::eventually_ok(LIMIT, &what, async || {
            let found = self.backend.quarantined().await;
            if found.len() >= count { Ok(found) } else { Err(found.len()) }
        })
        .await
    }

    /// The broker puts everything that waits in a lane among the dead.
    pub async fn evict(&self, lane: &Lane) {
        self.backend.evict(lane).await;
    }

    /// Waits until something that only asking tells is so.
    pub async fn eventually<T>(&self, what: &str, probe: impl AsyncFnMut() -> Option<T>) -> T {
        wait::eventually(LIMIT, what, probe).await
    }

    /// Awaits something that tells when it is done.
    pub async fn within<F: Future>(&self, what: &str, future: F) -> F::Output {
        wait::within(LIMIT, what, future).await
    }

    /// Lets time pass in which something must not happen: all of `full` where time is free.
    pub async fn quiet(&self, full: Duration) {
        self.pass(self.span(full, full.min(QUIET))).await;
    }

    /// Lets time pass.
    pub async fn pass(&self, span: Duration) {
        self.world.clock.sleep(span).await;
    }

    /// A time that the case sets: `full` where time is free, else `short`.
    #[must_use]
    pub const fn span(&self, full: Duration, short: Duration) -> Duration {
        match self.pace {
            Pace::Virtual => full,
            Pace::Real => short,
        }
    }

    /// How much later than due something may be seen: a loaded machine is slow, virtual time is not.
    #[must_use]
    pub const fn slack(&self) -> Duration {
        self.span(Duration::from_millis(150), Duration::from_secs(3))
    }

    /// The wall clock, ms since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.world.clock.unix_ms()
    }
}

/// One run of a handler.
#[derive(Debug, Clone)]
pub struct Run {
    /// The job.
    pub id: JobId,
    /// Its topic.
    pub topic: Topic,
    /// Number of the attempt.
    pub attempt: u32,
    /// Failures before it.
    pub retry: u32,
    /// Which handler ran it, where the case tells them apart.
    pub by: &'static str,
    /// When it began.
    pub at: Instant,
}

/// What handlers were called for. Clones share the record.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    seen: watch::Sender<Vec<Run>>,
}

impl Runs {
    /// Notes that a handler was called.
    pub fn note(&self, ctx: &Ctx) {
        self.note_by("", ctx);
    }

    /// Notes which handler was called.
    pub fn note_by(&self, by: &'static str, ctx: &Ctx) {
        let run = Run {
            id: ctx.id(),
            topic: ctx.topic().clone(),
            attempt: ctx.attempt(),
            retry: ctx.retry(),
            by,
            at: Instant::now(),
        };
        self.seen.send_modify(|seen| seen.push(run));
    }

    /// A handler that notes its call and does what it is told.
    pub fn then<F, Fut>(&self, work: F) -> impl Fn(Ctx) -> Fut + Send + Sync + 'static
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    {
        self.then_by("", work)
    }

    /// As [`Self::then`], with a name.
    pub fn then_by<F, Fut>(&self, by: &'static str, work: F) -> impl Fn(Ctx) -> Fut + Send + Sync + 'static
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    {
        let runs = self.clone();
        move |ctx| {
            runs.note_by(by, &ctx);
            work(ctx)
        }
    }

    /// As [`Self::then_by`], for work that goes on until somebody says so.
    pub fn until(
        &self,
        by: &'static str,
        go: &CancellationToken,
    ) -> impl Fn(Ctx) -> WaitForCancellationFutureOwned + Send + Sync + 'static {
        let go = go.clone();
        self.then_by(by, move |_| go.clone().cancelled_owned())
    }

    /// All runs so far.
    #[must_use]
    pub fn all(&self) -> Vec<Run> {
        self.seen.borrow().clone()
    }

    /// How many runs so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.seen.borrow().len()
    }

    /// The runs of one job.
    #[must_use]
    pub fn of(&self, id: JobId) -> Vec<Run> {
        self.all().into_iter().filter(|run| run.id == id).collect()
    }

    /// Waits for so many runs.
    pub async fn reach(&self, count: usize) -> Vec<Run> {
        let mut seen = self.seen.subscribe();
        let what = format!("{count} runs of a handler");
        let reached = wait::within(LIMIT, &what, seen.wait_for(|seen| seen.len() >= count)).await;
        reached.unwrap().clone()
    }
}

/// How many are at it, and how many ever were at once. Clones share the count.
#[derive(Debug, Clone, Default)]
pub struct Gauge {
    inner: Arc<(AtomicUsize, AtomicUsize)>,
}

impl Gauge {
    /// One more, until the answer is dropped.
    #[must_use]
    pub fn enter(&self) -> Inside {
        let (now, most) = &*self.inner;
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Inside(self.clone())
    }

    /// The most that ever were at once.
    #[must_use]
    pub fn most(&self) -> usize {
        self.inner.1.load(Ordering::SeqCst)
    }
}

/// One that is counted.
#[derive(Debug)]
pub struct Inside(Gauge);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inner.0.fetch_sub(1, Ordering::SeqCst);
    }
}
