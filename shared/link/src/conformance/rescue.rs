//! How the jobs of the dead are taken back (T12), and who is blamed.

use super::bench::{Bench, LONG, me, owner};
use crate::store::{Claim, Claimed};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::record::{Reason, State};
use longshore_model::transition::{Answer, crash_backoff_ms};

/// The job's next attempt dies at once, in a process that runs nothing else.
async fn die(bench: &Bench, id: JobId) {
    let start = bench.a.world.random.below(1_000_000);
    bench.run_for(&owner("dead", start), id, 1).await;
    bench.sleep(10).await;
}

pub async fn s10_t12_an_expired_lease_is_taken_back(bench: &Bench) {
    let job = bench.job();
    let id = bench.accept(job.clone()).await;
    let fence = bench.run_for(&owner("dead", 1), id, 1).await;
    bench.sleep(10).await;
    let moved = bench.rescue(10).await;
    assert_eq!((moved.runnable.len(), moved.ended, moved.more), (1, 0, false));
    let record = bench.record(id).await;
    let outgoing = &moved.runnable[0];
    assert_eq!((outgoing.id, outgoing.generation, outgoing.fence), (id, record.generation, record.fence));
    assert_eq!((&outgoing.lane, outgoing.created, &outgoing.envelope), (&record.lane(), record.created, &job.envelope));
    assert_eq!((record.state, record.reason), (State::Queued, Some(Reason::Crashed)));
    assert_eq!((record.crashes, record.failures, record.generation.0), (1, 0, 2));
    assert!(record.fence > fence, "the dead attempt can change nothing");
    let past = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap().attempts.remove(0);
    assert_eq!((past.number, past.instance.as_str(), past.outcome.as_str()), (1, "dead", "crashed"));
}

pub async fn t12_a_living_lease_is_left_alone(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let moved = bench.rescue(10).await;
    assert_eq!((moved.runnable.len(), moved.ended), (0, 0));
    assert_eq!((bench.state(id).await, bench.record(id).await.fence), (State::Active, fence));
}

pub async fn t12_a_process_killer_is_given_up(bench: &Bench) {
    let id = bench.queued().await;
    for crash in 1..=3 {
        die(bench, id).await;
        let moved = bench.rescue(10).await;
        assert_eq!(bench.record(id).await.crashes, crash);
        assert_eq!(moved.ended, u64::from(crash == 3));
    }
    let record = bench.record(id).await;
    assert_eq!((record.state, record.reason), (State::GivenUp, Some(Reason::Poison)));
    assert_eq!((record.attempts, record.outbox), (3, None));
    assert!(matches!(
        bench.claim_as(&me(), LONG, bench.claim(id)).await,
        Claimed::Known(Answer::Ended { state: State::GivenUp })
    ));
}

pub async fn t12_only_the_first_crash_is_published_at_once(bench: &Bench) {
    let id = bench.queued().await;
    die(bench, id).await;
    assert_eq!(bench.rescue(10).await.runnable.len(), 1);
    let record = bench.record(id).await;
    assert_eq!(record.outbox, Some(record.since + limits::OUTBOX_GRACE_MS), "the relay is the net");
    die(bench, id).await;
    assert!(bench.rescue(10).await.runnable.is_empty(), "the relay publishes it after a rest");
    let record = bench.record(id).await;
    assert_eq!((record.state, record.outbox), (State::Queued, Some(record.since + crash_backoff_ms(2))));
    let mut sent = Vec::new();
    bench
        .eventually("the relay gets it", async || {
            sent = bench.a.store.outbox(10, LONG).await.unwrap();
            !sent.is_empty()
        })
        .await;
    assert_eq!((sent[0].id, sent[0].generation), (id, record.generation));
}

pub async fn t12_a_job_that_was_to_stop_stops(bench: &Bench) {
    let id = bench.queued().await;
    bench.run_for(&owner("dead", 1), id, 1).await;
    bench.stop(id).await;
    bench.sleep(10).await;
    let moved = bench.rescue(10).await;
    assert_eq!((moved.runnable.len(), moved.ended), (0, 1));
    assert_eq!(bench.record(id).await.reason, Some(Reason::StopRequested));
}

pub async fn t12_a_rescue_takes_the_longest_expired_first(bench: &Bench) {
    let (late, early) = (bench.queued().await, bench.queued().await);
    bench.run_for(&me(), late, 40).await;
    bench.run_for(&me(), early, 1).await;
    bench.sleep(80).await;
    let moved = bench.rescue(10).await;
    assert_eq!(moved.runnable.iter().map(|out| out.id).collect::<Vec<_>>(), [early, late]);
}

pub async fn t12_a_rescue_is_bounded_and_says_so(bench: &Bench) {
    for _ in 0..3 {
        let id = bench.queued().await;
        bench.run_for(&me(), id, 1).await;
    }
    bench.sleep(10).await;
    let first = bench.rescue(2).await;
    assert_eq!((first.runnable.len(), first.more), (2, true));
    let second = bench.rescue(2).await;
    assert_eq!((second.runnable.len(), second.more), (1, false));
}

pub async fn s09_proof_of_death_ends_the_leases_of_older_incarnations_only(bench: &Bench) {
    let (old, new, other) = (bench.queued().await, bench.queued().await, bench.queued().await);
    bench.run_for(&owner("one", 1), old, LONG).await;
    bench.run_for(&owner("one", 2), new, LONG).await;
    bench.run_for(&owner("two", 1), other, LONG).await;
    assert_eq!(bench.a.store.bury(&owner("one", 2)).await.unwrap(), 1);
    bench.sleep(2).await;
    let moved = bench.rescue(10).await;
    assert_eq!(moved.runnable.iter().map(|out| out.id).collect::<Vec<_>>(), [old]);
    assert_eq!((bench.state(new).await, bench.state(other).await), (State::Active, State::Active));
    let claim = Claim { generation: moved.runnable[0].generation, ..bench.claim(old) };
    assert!(matches!(
        bench.claim_as(&owner("one", 2), LONG, claim).await,
        Claimed::Known(Answer::Run { crashes: 1, .. })
    ));
}
