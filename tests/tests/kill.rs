//! Consumers that are killed while they run jobs: nothing is lost, little is done twice, others go on at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "test code outside of test functions; what was measured is part of the result"
)]

use longshore_model::record::Record;
use longshore_producer::{JobId, Producer, State};
use longshore_tests::fleet::{Fleet, Process, descendants};
use longshore_tests::services::{RabbitMq, Redis, namespace};
use longshore_tests::wait::eventually;
use std::time::{Duration, Instant};

const JOBS: usize = 5_000;
const NAMES: [&str; 3] = ["one", "two", "three"];
/// From a kill to the start of the first re-run, with default settings.
const TAKEN_OVER: Duration = Duration::from_secs(12);
/// From a kill to the end of the last process of its jobs.
const ORPHANS: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(400);

/// A program that ends after a moment, so that a killed consumer has jobs in all its slots.
const HANDLERS: &str = "[[handlers]]\ntopic = \"work/short\"\nexec = [\"sleep\", \"0.1\"]\n";

async fn records(producer: &Producer, ids: &[JobId]) -> Vec<Record> {
    let mut found = Vec::with_capacity(ids.len());
    for part in ids.chunks(200) {
        let records = producer.link().store.records(part.to_vec()).await.expect("the store answers");
        found.extend(records.into_iter().map(|record| record.expect("an accepted job is known")));
    }
    found
}

async fn succeeded(producer: &Producer) -> u64 {
    let counts = producer.counts().await.expect("the store answers");
    counts.values().filter_map(|states| states.get(&State::Succeeded)).sum()
}

async fn until_succeeded(producer: &Producer, count: u64) {
    eventually(LONG, &format!("{count} jobs have succeeded"), async || {
        (succeeded(producer).await >= count).then_some(())
    })
    .await;
}

async fn coordinator(producer: &Producer) -> String {
    let view = producer.topology().await.expect("the store answers");
    let owner = view.coordinator.expect("there is a coordinator");
    view.instances.into_iter().find(|card| card.owner == owner).expect("the coordinator is in the view").name
}

/// Jobs that the store says run on a consumer.
async fn running_on(producer: &Producer, name: &str) -> Vec<(JobId, u32)> {
    let active = producer.jobs().state(State::Active).ids().await.expect("the store answers");
    let records = records(producer, &active).await;
    let own = |record: &Record| {
        let owner = record.owner.as_ref().filter(|_| record.state == State::Active);
        owner.is_some_and(|owner| owner.instance.0.starts_with(&format!("{name}-")))
    };
    records.into_iter().filter(own).map(|record| (record.id, record.attempts)).collect()
}

/// Kills a consumer that runs jobs; answers how many ran, and how long it took until the first of them ran again.
async fn kill(fleet: &mut Fleet, producer: &Producer, name: &str) -> (usize, Duration) {
    // Frozen for an instant, so that what runs can be counted: its last calls arrive, and no new ones come.
    let begun = Instant::now();
    fleet.member(name).freeze();
    let mut before = Vec::new();
    let running = eventually(Duration::from_secs(5), "what runs on a frozen consumer does not change", async || {
        let now = running_on(producer, name).await;
        let stable = now == before && !now.is_empty();
        before.clone_from(&now);
        stable.then_some(now)
    })
    .await;
    let family = descendants(fleet.member(name).pid());
    assert!(!family.is_empty(), "its jobs are processes");
    fleet.member_mut(name).kill();
    eventually(ORPHANS, "no process of the killed consumer's jobs is left", async || {
        (!family.iter().any(Process::is_alive)).then_some(())
    })
    .await;

    let ids: Vec<JobId> = running.iter().map(|(id, _)| *id).collect();
    eventually(Duration::from_secs(30), "a job of the killed consumer runs again", async || {
        let now = records(producer, &ids).await;
        now.iter().zip(&running).any(|(record, (_, attempts))| record.attempts > *attempts).then_some(())
    })
    .await;
    (running.len(), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_two_killed_consumers_lose_nothing_and_are_taken_over_in_time() {
    let (rabbitmq, redis) = tokio::join!(RabbitMq::start(), Redis::start());
    let mut fleet = Fleet::new(&namespace("kill"), &rabbitmq.url(), &redis.url(), HANDLERS);
    for name in NAMES {
        fleet.start(name).await;
    }
    let producer = Producer::connect(fleet.settings()).await.unwrap();
    let mut ids = Vec::with_capacity(JOBS);
    for sent in producer.send_all((0..JOBS).map(|_| producer.raw("work/short", "{}"))).await {
        ids.push(sent.unwrap().id);
    }

    until_succeeded(&producer, 300).await;
    let leader = coordinator(&producer).await;
    let other = NAMES.into_iter().find(|name| *name != leader).unwrap();
    let (first, first_after) = kill(&mut fleet, &producer, other).await;
    fleet.start(other).await;
    let leader = coordinator(&producer).await;
    let (second, second_after) = kill(&mut fleet, &producer, &leader).await;
    fleet.start(&leader).await;

    until_succeeded(&producer, JOBS as u64).await;
    let records = records(&producer, &ids).await;
    assert_eq!(records.iter().filter(|record| record.state == State::Succeeded).count(), JOBS, "all succeed");
    let extra: u32 = records.iter().map(|record| record.attempts - 1).sum();
    println!(
        "killed with {first} and {second} jobs running; run again after {first_after:?} and {second_after:?}; \
         {extra} extra executions"
    );
    assert!(extra as usize <= first + second, "{extra} extra executions of {first} + {second} running jobs");
    assert!(first_after <= TAKEN_OVER, "taken over after {first_after:?}");
    assert!(second_after <= TAKEN_OVER, "the coordinator's jobs were taken over after {second_after:?}");
    for name in NAMES {
        let status = fleet.member_mut(name).terminate().await;
        assert_eq!(status.code(), Some(0), "{name} ends in order:\n{}", fleet.member(name).log());
    }
}
