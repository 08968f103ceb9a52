//! Services that go away while jobs are sent and run: nothing that was accepted is lost, and work resumes by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "test code outside of test functions; what was measured is part of the result"
)]

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use longshore_consumer::{Consumer, Ctx, Running};
use longshore_model::names::{BrokerNames, Namespace};
use longshore_model::settings::Settings;
use longshore_model::{Secret, Topic};
use longshore_producer::{JobId, Producer, State};
use longshore_tests::services::{RabbitMq, Redis, namespace};
use longshore_tests::wait::{eventually, within};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const JOBS: usize = 20_000;
const PART: usize = 200;
const CONSUMERS: usize = 2;
/// From the return of a service to registered consumers.
const RESUMED: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(300);

struct Bench {
    settings: Settings,
    rabbitmq: RabbitMq,
    redis: Redis,
    consumers: Vec<Running>,
    executed: Arc<AtomicUsize>,
    _directory: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let (rabbitmq, redis) = tokio::join!(RabbitMq::start(), Redis::start());
        let directory = tempfile::tempdir().unwrap();
        let mut settings = Settings { namespace: Namespace::new(&namespace("outage")).unwrap(), ..Settings::default() };
        settings.broker.url = Secret::new(rabbitmq.url());
        settings.store.url = Secret::new(redis.url());
        settings.instance.concurrency = 64;
        let executed = Arc::new(AtomicUsize::new(0));
        let mut consumers = Vec::new();
        for number in 0..CONSUMERS {
            let mut settings = settings.clone();
            settings.instance.name = Some(format!("consumer-{number}"));
            settings.instance.home = Some(directory.path().join(number.to_string()));
            let executed = Arc::clone(&executed);
            let consumer = Consumer::new(settings).on("work/nothing", move |_: Ctx| {
                executed.fetch_add(1, Ordering::Relaxed);
                std::future::ready(())
            });
            let running = Box::pin(consumer.on("work/probe", async |_: Ctx| ()).start()).await.unwrap();
            within(LONG, "a consumer is ready", running.ready()).await;
            consumers.push(running);
        }
        Self { settings, rabbitmq, redis, consumers, executed, _directory: directory }
    }

    /// How many consumers the broker has on a lane; `None` when it does not answer.
    async fn registered(&self, topic: &str) -> Option<u32> {
        let connection = Connection::connect(&self.rabbitmq.url(), ConnectionProperties::default()).await.ok()?;
        let channel = connection.create_channel().await.ok()?;
        let lane = BrokerNames::new(self.settings.namespace.clone()).lane(&Topic::new(topic).unwrap().into());
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(lane.into(), options, FieldTable::default()).await.ok()?;
        Some(queue.consumer_count())
    }

    /// The service is back: consumers are registered in time, say so themselves, and run a new job.
    async fn resumed(&self, producer: &Producer, what: &str) {
        let begun = Instant::now();
        let registered = async || {
            let known = self.registered("work/nothing").await == Some(CONSUMERS as u32)
                && self.registered("work/probe").await == Some(CONSUMERS as u32)
                && self.consumers.iter().all(Running::is_ready);
            known.then_some(())
        };
        eventually(LONG, &format!("consumers are registered after {what}"), registered).await;
        let after = begun.elapsed();
        let probe = send(producer, "work/probe", &[producer.new_id()]).await;
        let report = producer.outcome(probe[0]).timeout(LONG).await.unwrap();
        println!("after {what}: registered again after {after:?}, a new job had run after {:?}", begun.elapsed());
        assert!(report.is_success());
        assert!(after <= RESUMED, "after {what} consumers were registered only after {after:?}");
    }
}

/// Sends jobs until each is accepted: what was not answered is sent again, with the same id.
async fn send(producer: &Producer, topic: &str, ids: &[JobId]) -> Vec<JobId> {
    let mut left = ids.to_vec();
    while !left.is_empty() {
        let jobs: Vec<_> = left.iter().map(|id| producer.raw(topic, "{}").id(*id)).collect();
        let answers = producer.send_all(jobs).await;
        left = left
            .into_iter()
            .zip(answers)
            .filter_map(|(id, answer)| match answer {
                Ok(_) => None,
                Err(error) if error.may_repeat() => Some(id),
                Err(error) => panic!("{id} was refused: {error}"),
            })
            .collect();
    }
    ids.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_outages_of_broker_and_store_lose_nothing() {
    let mut bench = Bench::start().await;
    let producer = Producer::connect(&bench.settings).await.unwrap();
    let ids: Vec<JobId> = (0..JOBS).map(|_| producer.new_id()).collect();
    let accepted = Arc::new(AtomicUsize::new(0));
    let sending = {
        let (producer, ids, accepted) = (producer.clone(), ids.clone(), Arc::clone(&accepted));
        let tasks = producer.link().world.tasks.clone();
        tasks.spawn(async move {
            for part in ids.chunks(PART) {
                send(&producer, "work/nothing", part).await;
                accepted.fetch_add(part.len(), Ordering::Relaxed);
            }
        })
    };
    let sent = async |count: usize| {
        eventually(LONG, &format!("{count} jobs are accepted"), async || {
            (accepted.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await;
    };

    sent(3_000).await;
    bench.rabbitmq.close_all_connections().await;
    bench.resumed(&producer, "the broker closed all connections").await;
    sent(7_000).await;
    bench.rabbitmq.restart().await;
    bench.resumed(&producer, "a restart of the broker").await;
    sent(13_000).await;
    bench.redis.restart().await;
    bench.resumed(&producer, "a restart of the store").await;

    within(LONG, "all jobs are accepted", sending).await.unwrap();
    let states = async || {
        let mut states: BTreeMap<String, usize> = BTreeMap::new();
        for part in ids.chunks(PART) {
            for record in producer.link().store.records(part.to_vec()).await.ok()? {
                let state = record.map_or_else(|| "lost".to_owned(), |record| record.state.to_string());
                *states.entry(state).or_default() += 1;
            }
        }
        Some(states)
    };
    eventually(LONG, "every accepted job has succeeded", async || {
        let states = states().await?;
        assert!(!states.contains_key("lost"), "{states:?}");
        (states.get(&State::Succeeded.to_string()) == Some(&JOBS)).then_some(())
    })
    .await;
    let executed = bench.executed.load(Ordering::Relaxed);
    println!("{executed} executions of {JOBS} jobs");
    assert!(executed >= JOBS);
    for running in &bench.consumers {
        within(LONG, "a consumer drains", running.drain()).await;
    }
}
