//! One service lost what it held, and is put together again from the other, on real services: what `longshore doctor`
//! and the commands of `docs/operating.md` do.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore_consumer::{Consumer, Ctx, Running};
use longshore_link::World;
use longshore_model::names::{Namespace, StoreNames, shard_keys};
use longshore_model::settings::Settings;
use longshore_model::{Lane, Secret, State, Topic};
use longshore_producer::{Link, Priority, Producer, ProducerOptions, Severity};
use longshore_tests::services::{RabbitMq, Redis, namespace};
use longshore_tests::wait::{eventually, within};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);
const HOUR: Duration = Duration::from_secs(3_600);

struct Bench {
    settings: Settings,
    rabbitmq: RabbitMq,
    redis: Redis,
    directory: tempfile::TempDir,
}

impl Bench {
    async fn start(name: &str, journal: bool) -> Self {
        let (rabbitmq, redis) = tokio::join!(RabbitMq::start(), Redis::start());
        let mut settings = Settings { namespace: Namespace::new(&namespace(name)).unwrap(), ..Settings::default() };
        settings.broker.url = Secret::new(rabbitmq.url());
        settings.store.url = Secret::new(redis.url());
        settings.broker.journal.enabled = journal;
        Self { settings, rabbitmq, redis, directory: tempfile::tempdir().unwrap() }
    }

    async fn producer(&self) -> Producer {
        let link = Link::connect(&self.settings, World::system(), "test").await.unwrap();
        Producer::connect_with(link, ProducerOptions::from_settings(&self.settings))
    }

    /// An instance that takes one topic.
    async fn consumer(&self, name: &str, topic: &str) -> Running {
        let mut settings = self.settings.clone();
        settings.instance.name = Some(name.into());
        settings.instance.home = Some(self.directory.path().join(name));
        let running = Box::pin(Consumer::new(settings).on(topic, async |_: Ctx| ()).start()).await.unwrap();
        within(LONG, "the consumer is ready", running.ready()).await;
        running
    }
}

async fn send(producer: &Producer, topic: &str, count: usize, delay: Option<Duration>) {
    let jobs = (0..count).map(|number| {
        let job = producer.raw(topic, &format!("{{\"number\":{number}}}"));
        match delay {
            Some(delay) => job.after(delay),
            None => job,
        }
    });
    let jobs: Vec<_> = jobs.collect();
    for sent in producer.send_all(jobs).await {
        sent.unwrap();
    }
    producer.flush().await;
}

async fn count(producer: &Producer, state: State) -> u64 {
    let counts = producer.counts().await.unwrap();
    counts.values().filter_map(|states| states.get(&state)).sum()
}

/// A broker may take a moment to count.
async fn has_all_copies(producer: &Producer) {
    eventually(LONG, "every queued job has its copy", async || {
        let found = producer.compare_lanes().await.ok()?;
        (found.missing() == 0 && found.outbox == 0).then_some(())
    })
    .await;
}

async fn balanced(producer: &Producer) {
    let ledger = producer.ledger().await.unwrap();
    assert_eq!(ledger.drifts(), [], "{ledger:?}");
}

/// Two beats of the instance, so that it knows what waits.
async fn beats(bench: &Bench) {
    let key = format!("{}{}", StoreNames::new(bench.settings.namespace.clone()).shard(None), shard_keys::SHARD);
    let mut connection = bench.redis.connection().await;
    let mut tick = async || redis::cmd("HGET").arg(&key).arg("tick").query_async::<u64>(&mut connection).await.unwrap();
    for _ in 0..2 {
        let before = tick().await;
        eventually(LONG, "a beat", async || (tick().await > before).then_some(())).await;
    }
}

async fn flush_all(redis: &Redis) {
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis.connection().await).await.unwrap();
}

/// An instance has told the new store what the old one had.
async fn told(producer: &Producer) -> (u64, u64) {
    eventually(LONG, "an instance tells what the store had", async || {
        let losses = producer.link().store.losses().await.ok()?;
        let before = losses.last()?.before?;
        Some((before.scheduled, before.queued))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flushed_store_gets_everything_back_from_the_broker_and_the_journal() {
    let bench = Bench::start("rebuild-journal", true).await;
    let (producer, bystander) = (bench.producer().await, bench.consumer("bystander", "nothing").await);
    send(&producer, "idle", 300, None).await;
    send(&producer, "later", 500, Some(HOUR)).await;
    beats(&bench).await;
    // Their sender would send again what it remembers.
    drop(producer);
    let producer = bench.producer().await;
    flush_all(&bench.redis).await;
    assert_eq!(told(&producer).await, (500, 300));

    let rebuild = producer.rebuild_store().topic(Topic::new("idle").unwrap());
    let plan = rebuild.plan().await.unwrap();
    assert_eq!(plan.made(), 800, "{plan:?}");
    assert_eq!(producer.ledger().await.unwrap().total().accepted, 0, "a plan changes nothing");
    let done = rebuild.run().await.unwrap();
    assert_eq!(done.made(), 800, "{done:?}");
    assert_eq!((count(&producer, State::Queued).await, count(&producer, State::Scheduled).await), (300, 500));
    assert_eq!(rebuild.run().await.unwrap().made(), 0, "a repetition finds nothing to do");
    has_all_copies(&producer).await;

    // They run, each once.
    let worker = bench.consumer("worker", "idle").await;
    eventually(LONG, "all have run", async || (count(&producer, State::Succeeded).await == 300).then_some(())).await;
    balanced(&producer).await;
    worker.drain().await;
    bystander.drain().await;
}

/// Nobody lives that knew of the high lane, so that only looking tells of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q13_a_flushed_store_gets_urgent_jobs_back_from_their_lane() {
    let bench = Bench::start("rebuild-urgent", false).await;
    let producer = bench.producer().await;
    send(&producer, "idle", 10, None).await;
    let urgent = (0..20).map(|_| producer.raw("idle", "{}").priority(Priority::Urgent));
    for sent in producer.send_all(urgent.collect::<Vec<_>>()).await {
        sent.unwrap();
    }
    producer.flush().await;
    has_all_copies(&producer).await;
    let lanes = producer.compare_lanes().await.unwrap().lanes;
    assert_eq!((lanes[0].queued, lanes[0].lane, lanes[0].high), (30, Some(10), Some(20)), "{lanes:?}");
    drop(producer);
    let producer = bench.producer().await;
    flush_all(&bench.redis).await;

    let topic = Topic::new("idle").unwrap();
    let rebuild = producer.rebuild_store().topic(topic.clone());
    let plan = rebuild.plan().await.unwrap();
    let of = |name: &str| plan.places.iter().find(|place| place.place == name).map(|place| place.copies);
    assert_eq!((of("lane idle"), of("lane idle (high)")), (Some(10), Some(20)), "{plan:?}");
    assert_eq!(producer.link().store.lanes().await.unwrap(), [], "a plan changes nothing");
    assert_eq!(rebuild.run().await.unwrap().made(), 30);
    assert_eq!(producer.link().store.lanes().await.unwrap(), Lane::both(&topic));
    has_all_copies(&producer).await;
    let worker = bench.consumer("worker", "idle").await;
    eventually(LONG, "all have run", async || (count(&producer, State::Succeeded).await == 30).then_some(())).await;
    balanced(&producer).await;
    worker.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_journal_the_lost_scheduled_jobs_are_reported() {
    let bench = Bench::start("rebuild-plain", false).await;
    let (producer, bystander) = (bench.producer().await, bench.consumer("bystander", "nothing").await);
    send(&producer, "later", 40, Some(HOUR)).await;
    beats(&bench).await;
    // Their sender would send again what it remembers.
    drop(producer);
    let producer = bench.producer().await;
    flush_all(&bench.redis).await;
    assert_eq!(told(&producer).await.0, 40);
    let findings = producer.examine().await;
    let lost = findings.iter().find(|finding| finding.about == "losses").unwrap();
    assert!(lost.severity == Severity::Fail && lost.detail.contains("up to 40 scheduled jobs"), "{lost:?}");
    assert!(findings.iter().any(|finding| finding.detail.starts_with("Redis 7")), "{findings:?}");
    assert_eq!(producer.rebuild_store().run().await.unwrap().made(), 0);
    balanced(&producer).await;
    bystander.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_broker_gets_its_lanes_and_messages_back_from_the_store() {
    let mut bench = Bench::start("rebuild-broker", false).await;
    let producer = bench.producer().await;
    send(&producer, "idle", 400, None).await;
    send(&producer, "later", 5, Some(HOUR)).await;
    bench.rabbitmq.stop().await;
    bench.rabbitmq.wipe();
    bench.rabbitmq.resume().await;
    let producer = bench.producer().await;
    assert_eq!(producer.compare_lanes().await.unwrap().missing(), 400);
    let done = producer.rebuild_broker().await.unwrap();
    assert_eq!(done.published, 400, "{done:?}");
    has_all_copies(&producer).await;
    let worker = bench.consumer("worker", "idle").await;
    eventually(LONG, "all have run", async || (count(&producer, State::Succeeded).await == 400).then_some(())).await;
    balanced(&producer).await;
    worker.drain().await;
}

/// Copies a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_a_backup_of_both_is_restored_and_what_came_after_it_is_not_lost_with_the_broker() {
    let mut bench = Bench::start("backup", false).await;
    let backup: PathBuf = bench.directory.path().join("backup");
    std::fs::create_dir(&backup).unwrap();
    let producer = bench.producer().await;
    send(&producer, "idle", 100, None).await;
    send(&producer, "later", 50, Some(HOUR)).await;
    // The broker first, then the store: what a message is there of has its record.
    bench.rabbitmq.stop().await;
    copy(&bench.rabbitmq.directory().join("data"), &backup.join("rabbitmq"));
    bench.rabbitmq.resume().await;
    bench.redis.back_up(&backup.join("store.rdb"));

    // Work goes on; then the store is lost with its disk.
    let producer = bench.producer().await;
    send(&producer, "idle", 30, None).await;
    bench.redis.stop().await;
    bench.redis.wipe();
    bench.redis.restore(&backup.join("store.rdb")).await;
    let producer = bench.producer().await;
    assert_eq!((count(&producer, State::Queued).await, count(&producer, State::Scheduled).await), (100, 50));
    // What was accepted after the backup is still in the broker.
    let done = producer.rebuild_store().run().await.unwrap();
    assert_eq!(done.made(), 30, "{done:?}");
    balanced(&producer).await;

    // The broker is lost as well, later, and restored: its backup has no message of the last 30 jobs.
    bench.rabbitmq.stop().await;
    bench.rabbitmq.wipe();
    copy(&backup.join("rabbitmq"), &bench.rabbitmq.directory().join("data"));
    bench.rabbitmq.resume().await;
    let producer = bench.producer().await;
    producer.rebuild_broker().await.unwrap();
    let worker = bench.consumer("worker", "idle").await;
    eventually(LONG, "all have run", async || (count(&producer, State::Succeeded).await == 130).then_some(())).await;
    assert_eq!(count(&producer, State::Scheduled).await, 50);
    balanced(&producer).await;
    worker.drain().await;

    // At the end the namespace goes, and nothing of it stays.
    let contents = producer.namespace_contents().await.unwrap();
    assert_eq!(contents.jobs[&State::Succeeded], 130, "{contents:?}");
    let (queues, keys) = producer.remove_namespace(&[]).await.unwrap();
    assert!(queues >= 8 && keys > 180, "{queues} queues, {keys} keys");
    let left: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut bench.redis.connection().await).await.unwrap();
    let left: Vec<_> = left.iter().filter(|key| !key.contains("meta")).collect();
    assert!(left.is_empty(), "{left:?}");
    let listed = bench.rabbitmq.ctl(&["list_queues", "name", "--no-table-headers"]).await;
    assert!(!listed.contains(bench.settings.namespace.as_str()), "{listed}");
}

/// What a store that syncs its file every second, or a replica, may not have had: everything of the last seconds. It may
/// lose that twice in a row, and what it got back is of the last seconds by then.
#[tokio::test]
async fn what_the_store_forgot_of_the_last_seconds_is_offered_again() {
    let mut bench = Bench::start("forgot", false).await;
    let (producer, topic) = (bench.producer().await, "forgot/done");
    let consumer = bench.consumer("worker", topic).await;
    let copies = ["first", "second"].map(|name| bench.directory.path().join(name));
    bench.redis.stop().await;
    copies.iter().for_each(|copy| bench.redis.set_aside(copy));
    bench.redis.resume().await;
    let known = eventually(LONG, "a beat after the restart", async || {
        Some(producer.link().store.losses().await.ok()?.last()?.epoch)
    });
    let mut known = known.await;

    let later = producer.raw("forgot/later", "{}").after(HOUR).send().await.unwrap();
    let done = producer.raw(topic, "{}").send().await.unwrap();
    assert!(done.outcome().timeout(LONG).await.unwrap().is_success());
    for (times, copy) in (1..).zip(copies) {
        bench.redis.kill();
        bench.redis.bring_back(&copy);
        bench.redis.resume().await;

        let state = async |id| producer.link().store.records(vec![id]).await.ok()?.remove(0).map(|record| record.state);
        eventually(LONG, "the sender has sent again what only the store had", async || {
            (state(later.id).await == Some(State::Scheduled)).then_some(())
        })
        .await;
        eventually(LONG, "the worker has committed its result again", async || {
            (state(done.id).await == Some(State::Succeeded)).then_some(())
        })
        .await;
        let told = format!("longshore_recommitted_total {times}\n");
        eventually(LONG, "the worker has counted it", async || consumer.metrics().contains(&told).then_some(())).await;
        let losses = producer.link().store.losses().await.unwrap();
        let epoch = losses.last().unwrap().epoch;
        assert!(epoch > known, "{losses:?}");
        known = epoch;
    }
    assert!(producer.pauses().await.unwrap().is_empty(), "it went back by seconds");
    consumer.drain().await;
}
