//! How queued jobs whose copies the broker has lost get new ones.

use super::bench::{Bench, TOPIC, normal};
use crate::store::{Depleted, Republished};
use longshore_model::id::JobId;

/// A job whose copy was confirmed a while ago.
async fn sent(bench: &Bench, on: &str) -> JobId {
    let id = bench.accept(bench.job_on(on)).await;
    let generation = bench.record(id).await.generation;
    bench.a.store.published(vec![(id, generation)]).await.unwrap();
    bench.sleep(5).await;
    id
}

fn lane(on: &str, copies: Option<u64>) -> Vec<Depleted> {
    vec![Depleted { lane: normal(on), copies }]
}

async fn republish(bench: &Bench, lanes: &[Depleted]) -> u64 {
    bench.b.store.republish(lanes, 1, 0, 100).await.unwrap().jobs
}

pub async fn a_job_whose_copies_are_lost_goes_back_into_the_outbox(bench: &Bench) {
    let id = sent(bench, TOPIC).await;
    let before = bench.record(id).await;
    assert!(before.published.is_some() && before.outbox.is_none());
    assert_eq!(republish(bench, &lane(TOPIC, None)).await, 1);
    let record = bench.record(id).await;
    assert_eq!((record.generation, record.republished, record.since), (before.generation, 1, before.since));
    let out = bench.a.store.outbox(10, 1_000).await.unwrap();
    assert_eq!(out.iter().map(|out| (out.id, out.generation)).collect::<Vec<_>>(), [(id, record.generation)]);
    bench.a.store.published(vec![(id, record.generation)]).await.unwrap();
    let record = bench.record(id).await;
    assert!(record.outbox.is_none() && record.published > before.published);
}

pub async fn a_copy_that_may_be_under_way_is_not_doubled(bench: &Bench) {
    let id = sent(bench, TOPIC).await;
    let done = bench.b.store.republish(&lane(TOPIC, None), 60_000, 0, 100).await.unwrap();
    assert_eq!(done, Republished::default());
    assert_eq!(bench.record(id).await.outbox, None);
    // What is in the outbox already, and what runs, is not touched either.
    let fresh = bench.queued().await;
    let outbox = bench.record(fresh).await.outbox;
    bench.run(id).await;
    bench.sleep(5).await;
    assert_eq!(republish(bench, &lane(TOPIC, None)).await, 0);
    assert_eq!(bench.record(fresh).await.outbox, outbox);
}

pub async fn a_lane_that_holds_as_many_copies_as_jobs_is_left_alone(bench: &Bench) {
    for _ in 0..3 {
        sent(bench, TOPIC).await;
    }
    assert_eq!(republish(bench, &lane(TOPIC, Some(3))).await, 0);
    assert_eq!(republish(bench, &lane(TOPIC, Some(9))).await, 0);
}

pub async fn only_as_many_go_back_as_are_missing_oldest_first(bench: &Bench) {
    let (first, second, third) = (sent(bench, TOPIC).await, sent(bench, TOPIC).await, sent(bench, TOPIC).await);
    assert_eq!(republish(bench, &lane(TOPIC, Some(1))).await, 2);
    let mut back = Vec::new();
    for id in [first, second, third] {
        back.push(bench.record(id).await.outbox.is_some());
    }
    assert_eq!(back, [true, true, false]);
    // What waits in the outbox is not missing.
    assert_eq!(republish(bench, &lane(TOPIC, Some(1))).await, 0);
}

pub async fn other_lanes_are_left_alone(bench: &Bench) {
    let (one, other) = (sent(bench, TOPIC).await, sent(bench, "test/other").await);
    assert_eq!(republish(bench, &lane("test/other", None)).await, 1);
    assert_eq!(bench.record(one).await.outbox, None);
    assert!(bench.record(other).await.outbox.is_some());
    assert_eq!(republish(bench, &[]).await, 0);
}

pub async fn a_round_is_bounded_and_goes_on_where_it_ended(bench: &Bench) {
    for _ in 0..3 {
        sent(bench, TOPIC).await;
    }
    let first = bench.b.store.republish(&lane(TOPIC, None), 1, 0, 2).await.unwrap();
    assert_eq!(first, Republished { jobs: 2, next: 2 });
    let second = bench.b.store.republish(&lane(TOPIC, None), 1, first.next, 2).await.unwrap();
    assert_eq!(second, Republished { jobs: 1, next: 0 });
}

pub async fn a_job_rests_longer_after_each_time(bench: &Bench) {
    let id = sent(bench, TOPIC).await;
    assert_eq!(republish(bench, &lane(TOPIC, None)).await, 1);
    let generation = bench.record(id).await.generation;
    bench.a.store.published(vec![(id, generation)]).await.unwrap();
    bench.sleep(5).await;
    assert_eq!(republish(bench, &lane(TOPIC, None)).await, 0, "a minute has not passed");
}
