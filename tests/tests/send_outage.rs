//! Sends while RabbitMQ, Redis or both cannot be reached: every one is answered within its deadline, by what was seen,
//! and whatever was accepted runs once when they are back.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a failed step is a failed test")]

use futures_util::future::join_all;
use longshore_consumer::{Consumer, Ctx};
use longshore_model::Secret;
use longshore_model::names::Namespace;
use longshore_model::settings::{Settings, WithoutStore};
use longshore_producer::{Custody, JobId, Producer, SendError, Sent};
use longshore_tests::proxy::{Direction, Proxy};
use longshore_tests::services::{Shared, namespace};
use longshore_tests::wait::{eventually, within};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TOPIC: &str = "work/outage";
const DEADLINE: Duration = Duration::from_secs(3);
/// A loaded machine may be so much late.
const SLACK: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(60);
/// Sends at once.
const SENDS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// Connections end, and new ones are refused.
    Cut,
    /// Nothing arrives anywhere, and nobody is told.
    BlackHole,
    /// Requests arrive, replies do not.
    NoReplies,
}

impl Outage {
    async fn begin(self, proxy: &Proxy) {
        match self {
            Self::Cut => {
                proxy.refuse().await;
                proxy.cut();
            }
            Self::BlackHole => {
                proxy.swallow(Direction::ToService);
                proxy.swallow(Direction::ToClient);
            }
            Self::NoReplies => proxy.swallow(Direction::ToClient),
        }
    }
}

/// Three producers that see the services through proxies.
struct Bench {
    store: Proxy,
    broker: Proxy,
    /// Without any way out.
    plain: Producer,
    /// One that may use the broker alone.
    degraded: Producer,
    /// One that may use the broker alone, and has a spool.
    spooling: Producer,
    direct: Settings,
    accepted: Vec<JobId>,
    _directory: tempfile::TempDir,
    _shared: Shared,
}

impl Bench {
    async fn start(test: &str) -> Self {
        let (shared, directory) = (Shared::services().await, tempfile::tempdir().unwrap());
        let mut direct = Settings { namespace: Namespace::new(&namespace(test)).unwrap(), ..Settings::default() };
        direct.broker.url = Secret::new(shared.broker_url.as_str());
        direct.store.url = Secret::new(shared.store_url.as_str());
        direct.instance.home = Some(directory.path().join("home"));
        let (store, store_url) = Proxy::before(&shared.store_url).await;
        let (broker, broker_url) = Proxy::before(&shared.broker_url).await;
        let mut settings = direct.clone();
        settings.broker.url = Secret::new(broker_url);
        settings.store.url = Secret::new(store_url);
        settings.send.deadline = DEADLINE;
        settings.broker.publish_timeout = Duration::from_secs(1);
        settings.store.call_timeout = Duration::from_secs(1);
        let plain = Producer::connect(&settings).await.unwrap();
        settings.send.without_store = WithoutStore::Broker;
        let degraded = Producer::connect(&settings).await.unwrap();
        settings.send.spool = Some(directory.path().join("spool"));
        let spooling = Producer::connect(&settings).await.unwrap();
        // A second producer may not have the same spool.
        let taken = Producer::connect(&settings).await.unwrap_err();
        assert!(taken.to_string().contains("another process"), "{taken}");
        let accepted = Vec::new();
        Self { store, broker, plain, degraded, spooling, direct, accepted, _directory: directory, _shared: shared }
    }

    /// Sends several jobs at once, each of which is answered in time.
    async fn send(&mut self, producer: &Producer) -> Vec<Result<Sent, SendError>> {
        let answers = join_all((0..SENDS).map(async |_| {
            let begun = Instant::now();
            let answer = producer.raw(TOPIC, "{}").send().await;
            let took = begun.elapsed();
            assert!(took <= DEADLINE + SLACK, "answered only after {took:?}: {answer:?}");
            answer
        }));
        let answers = answers.await;
        self.accepted.extend(answers.iter().flatten().map(|sent| sent.id));
        answers
    }

    async fn all_in(&mut self, producer: &Producer, custody: Custody) {
        for answer in self.send(producer).await {
            let sent = answer.unwrap();
            assert_eq!(sent.custody, custody, "{sent:?}");
            assert!(custody == Custody::Both || sent.held_up.is_some(), "it says why: {sent:?}");
        }
    }

    async fn none(&mut self, producer: &Producer) {
        for answer in self.send(producer).await {
            let error = answer.unwrap_err();
            assert!(error.may_repeat(), "{error}");
        }
    }

    /// The services are back for all producers.
    async fn heal(&mut self) {
        self.store.heal().await;
        self.broker.heal().await;
        for producer in [&self.plain, &self.degraded, &self.spooling] {
            eventually(LONG, "both are reached again", async || {
                let sent = producer.raw(TOPIC, "{}").send().await.ok()?;
                self.accepted.push(sent.id);
                (sent.custody == Custody::Both).then_some(())
            })
            .await;
        }
    }
}

async fn outage(test: &str, outage: Outage) {
    let mut bench = Bench::start(test).await;
    let (plain, degraded, spooling) = (bench.plain.clone(), bench.degraded.clone(), bench.spooling.clone());
    for producer in [&plain, &degraded, &spooling] {
        bench.all_in(producer, Custody::Both).await;
    }

    outage.begin(&bench.broker).await;
    for producer in [&plain, &degraded, &spooling] {
        bench.all_in(producer, Custody::Store).await;
    }
    bench.heal().await;

    outage.begin(&bench.store).await;
    bench.none(&plain).await;
    bench.all_in(&degraded, Custody::Broker).await;
    bench.all_in(&spooling, Custody::Broker).await;
    bench.heal().await;

    outage.begin(&bench.store).await;
    outage.begin(&bench.broker).await;
    bench.none(&plain).await;
    bench.none(&degraded).await;
    bench.all_in(&spooling, Custody::Spool).await;
    assert_eq!(spooling.spooled().jobs, SENDS as u64);
    bench.heal().await;
    eventually(LONG, "the spool is drained", async || (spooling.spooled().jobs == 0).then_some(())).await;

    let runs: Arc<Mutex<BTreeMap<JobId, usize>>> = Arc::default();
    let seen = Arc::clone(&runs);
    let consumer = Consumer::new(bench.direct.clone()).on(TOPIC, move |ctx: Ctx| {
        *seen.lock().unwrap().entry(ctx.id()).or_default() += 1;
        std::future::ready(())
    });
    let running = Box::pin(consumer.start()).await.unwrap();
    let direct = Producer::connect(&bench.direct).await.unwrap();
    for id in &bench.accepted {
        // Some become known only when they are claimed.
        eventually(LONG, &format!("{id} is known"), async || direct.show(*id).await.ok().flatten()).await;
        assert!(direct.outcome(*id).timeout(LONG).await.unwrap().is_success());
    }
    within(LONG, "the consumer drains", running.drain()).await;
    let runs = runs.lock().unwrap();
    let twice: Vec<_> = runs.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(bench.accepted.iter().all(|id| runs.contains_key(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_are_answered_in_time_and_lose_nothing() {
    Box::pin(outage("send-cut", Outage::Cut)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn black_holes_are_answered_in_time_and_lose_nothing() {
    Box::pin(outage("send-hole", Outage::BlackHole)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_replies_are_answered_in_time_and_double_nothing() {
    Box::pin(outage("send-lost", Outage::NoReplies)).await;
}
