//! Statistics: what happened to jobs counts once, by queue and topic, and outlives their records.

use super::bench::{Bench, LONG, TOPIC, failed, me, owner, permanent, succeeded, topic};
use crate::store::{Claim, Claimed, Complete, Completed, Renew};
use longshore_model::id::{Fence, JobId};
use longshore_model::record::{Start, State};
use longshore_model::statistics::{Overview, Selection, Summary};
use longshore_model::token::Token;
use longshore_model::topology::View;
use longshore_model::transition::Answer;
use std::collections::BTreeMap;

async fn overview(bench: &Bench) -> Overview {
    let statistics = bench.a.store.statistics().await.unwrap();
    statistics.overview(&Selection::default(), &View::default())
}

async fn all(bench: &Bench) -> Summary {
    overview(bench).await.all
}

fn counters(summary: &Summary) -> [u64; 5] {
    [summary.started, summary.finished, summary.failed, summary.cancelled, summary.processed]
}

/// Accepts a job and claims it some time later.
async fn waited(bench: &Bench, ms: u64) -> (JobId, Fence) {
    let id = bench.queued().await;
    bench.sleep(ms).await;
    let claim = bench.claim(id);
    match bench.claim_as(&me(), LONG, claim).await {
        Claimed::Known(Answer::Run { fence, .. }) => (id, fence),
        other => panic!("{other:?}"),
    }
}

pub async fn m01_what_happens_is_counted_once_whatever_is_repeated(bench: &Bench) {
    assert_eq!(counters(&all(bench).await), [0; 5]);
    let id = bench.queued().await;
    let claim = bench.claim(id);
    for _ in 0..2 {
        let claimed = bench.claim_as(&me(), LONG, claim.clone()).await;
        assert!(matches!(claimed, Claimed::Known(Answer::Run { .. })), "{claimed:?}");
    }
    assert_eq!(counters(&all(bench).await), [1, 0, 0, 0, 0]);
    let fence = bench.record(id).await.fence;
    for _ in 0..2 {
        bench.finish(id, fence, succeeded()).await;
    }
    assert_eq!(counters(&all(bench).await), [1, 1, 0, 0, 1]);
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, failed(LONG)).await;
    bench.finish(id, fence, failed(LONG)).await;
    assert_eq!(counters(&all(bench).await), [2, 1, 1, 0, 2]);
    for _ in 0..2 {
        bench.stop(id).await;
    }
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, permanent()).await;
    let all = all(bench).await;
    assert_eq!(counters(&all), [3, 1, 1, 2, 4]);
    assert_eq!((all.accepted, all.active, all.queued + all.unassigned), (3, 0, 0));
    assert!(all.processed_per_minute > 0.0);
}

pub async fn what_is_dropped_snoozed_or_taken_back_is_no_failure_but_a_crash_is(bench: &Bench) {
    let id = bench.queued().await;
    bench.remove(id).await;
    let (id, _) = bench.running().await;
    bench.remove(id).await;
    assert_eq!(counters(&all(bench).await), [1, 0, 0, 0, 0]);
    let id = bench.queued().await;
    let gone = owner("gone", 1);
    let claim = bench.claim(id);
    bench.claim_as(&gone, 1, claim).await;
    bench.sleep(5).await;
    let renew = Renew { owner: me(), lease_ms: LONG, beat_ms: LONG, running: Vec::new(), known: None };
    bench.a.store.heart().await.unwrap().renew(&renew).await.unwrap();
    let moved = bench.a.store.rescue(10, LONG).await.unwrap();
    assert_eq!(moved.runnable.len(), 1);
    assert_eq!(counters(&all(bench).await), [2, 0, 1, 0, 1]);
}

pub async fn an_attempt_that_is_ended_by_its_token_counts_as_any_other(bench: &Bench) {
    let id = bench.queued().await;
    let claim = bench.claim(id);
    let nonce = claim.nonce.clone();
    bench.claim_as(&me(), LONG, claim).await;
    let fence = bench.record(id).await.fence;
    let token = Token { id, fence, nonce, attempt: 1, delay_ms: 0, retry_for_ms: None, kinds: BTreeMap::new() };
    let completion = Complete { token, mark: "m".into(), verdict: succeeded(), result: None };
    let completed = bench.a.store.complete(completion).await.unwrap();
    assert_eq!(completed, Completed::Known(Answer::Moved { state: State::Succeeded }));
    assert_eq!(counters(&all(bench).await), [1, 1, 0, 0, 1]);
}

pub async fn st_02_times_are_those_between_the_steps(bench: &Bench) {
    let before = bench.a.store.ping().await.unwrap();
    let (id, fence) = waited(bench, 20).await;
    bench.sleep(30).await;
    bench.finish(id, fence, succeeded()).await;
    let after = bench.a.store.ping().await.unwrap();
    let all = all(bench).await;
    let took = after - before;
    assert!((20..=took).contains(&all.average_waiting), "{all:?}");
    assert!((30..=took).contains(&all.average_processing), "{all:?}");
    for (percentiles, mean) in [(all.waiting, all.average_waiting), (all.processing, all.average_processing)] {
        assert!(percentiles.p50.abs_diff(mean) * 8 <= mean, "{all:?}");
    }
    let times = i64::try_from(before).unwrap()..=i64::try_from(after).unwrap();
    assert!(times.contains(&all.last_activated) && times.contains(&all.last_finished), "{all:?}");
    assert!(all.since.is_some_and(|since| (before..=after).contains(&since)), "{all:?}");
}

pub async fn each_queue_and_topic_has_its_own_numbers(bench: &Bench) {
    for (on, queue, count) in [("a/one", "fast", 1), ("a/two", "fast", 2), ("a/two", "slow", 3)] {
        for _ in 0..count {
            let mut job = bench.job_on(on);
            job.admission.queue = queue.into();
            let id = bench.accept(job).await;
            let claim = bench.claim(id);
            bench.claim_as(&me(), LONG, claim).await;
            bench.finish(id, bench.record(id).await.fence, succeeded()).await;
        }
    }
    let overview = overview(bench).await;
    let finished = |summary: &Summary| (summary.accepted, summary.started, summary.finished);
    assert_eq!(finished(&overview.all), (6, 6, 6));
    assert_eq!(finished(&overview.queues["fast"]), (3, 3, 3));
    assert_eq!(finished(&overview.queues["slow"]), (3, 3, 3));
    assert_eq!(finished(&overview.topics[&topic("a/two")]), (5, 5, 5));
    let selection = Selection { queue: Some("fast".into()), topic: Some("a/two".parse().unwrap()) };
    let selected = bench.b.store.statistics().await.unwrap().overview(&selection, &View::default());
    assert_eq!(finished(&selected.all), (2, 2, 2));
}

pub async fn st_05_a_reset_keeps_what_waits_and_runs(bench: &Bench) {
    bench.done().await;
    bench.running().await;
    for _ in 0..3 {
        bench.queued().await;
    }
    let before = all(bench).await;
    assert_eq!((before.unassigned, before.active, before.finished), (3, 1, 1));
    bench.sleep(5).await;
    let other = Selection { queue: Some("other".into()), topic: None };
    assert_eq!(bench.a.store.reset_statistics(&other).await.unwrap(), 0);
    assert_eq!(counters(&all(bench).await), counters(&before));
    assert_eq!(bench.a.store.reset_statistics(&Selection::default()).await.unwrap(), 1);
    let after = all(bench).await;
    assert_eq!((after.unassigned, after.active, after.accepted), (3, 1, 5));
    assert_eq!(counters(&after), [0; 5]);
    assert_eq!((after.last_activated, after.last_finished, after.average_waiting), (-1, -1, 0));
    assert!(after.since > before.since, "{after:?}");
    bench.done().await;
    assert_eq!(counters(&all(bench).await), [1, 1, 0, 0, 1]);
}

pub async fn the_oldest_that_waits_is_told_with_its_age(bench: &Bench) {
    let mut delayed = bench.job();
    delayed.admission.start = Start::After(LONG);
    bench.accept(delayed).await;
    let nobody = all(bench).await;
    assert_eq!((nobody.oldest_waiting_since, nobody.oldest_waiting_age), (None, 0));
    let first = bench.queued().await;
    bench.sleep(15).await;
    let later = bench.accept(bench.job_on("other")).await;
    let overview = overview(bench).await;
    let since = bench.record(first).await.since;
    assert_eq!(overview.all.oldest_waiting_since, Some(since));
    assert!(overview.all.oldest_waiting_age >= 15, "{overview:?}");
    assert_eq!(overview.topics[&topic(TOPIC)].oldest_waiting_since, Some(since));
    let later = bench.record(later).await.since;
    assert_eq!(overview.topics[&topic("other")].oldest_waiting_since, Some(later));
    let claim: Claim = bench.claim(first);
    bench.claim_as(&me(), LONG, claim).await;
    assert_eq!(all(bench).await.oldest_waiting_since, Some(later));
}

pub async fn what_is_forgotten_stays_counted(bench: &Bench) {
    let id = bench.done().await;
    bench.remove(id).await;
    let all = all(bench).await;
    assert_eq!(counters(&all), [1, 1, 0, 0, 1]);
    assert_eq!((all.accepted, all.jobs, all.unassigned), (1, 0, 0));
}
