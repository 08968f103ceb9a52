//! Who may run a job (T5): only a claim permits it.

use super::bench::{Bench, LONG, me, owner, permanent, topic};
use crate::store::{Claim, Claimed, Controlled, Report};
use longshore_model::id::{Fence, Generation};
use longshore_model::record::{Expiry, Reason, Start, State};
use longshore_model::snapshot::Progress;
use longshore_model::transition::Answer;

pub async fn t5_a_claim_starts_an_attempt_under_a_new_fence(bench: &Bench) {
    let id = bench.queued().await;
    let claim = Claim { generation: Generation(1), ..bench.claim(id) };
    let claimed = bench.claim_as(&me(), LONG, claim.clone()).await;
    let Claimed::Known(Answer::Run { fence, attempt: 1, failures: 0, crashes: 0, last: false, .. }) = claimed else {
        panic!("{claimed:?}")
    };
    let record = bench.record(id).await;
    assert!(fence.0 / 1_000 <= record.since + 1 && fence.0 / 1_000 + 1 >= record.since, "microseconds of its clock");
    assert_eq!((record.state, record.fence, record.attempts), (State::Active, fence, 1));
    assert_eq!((record.owner, record.nonce), (Some(me()), claim.nonce));
    assert_eq!((record.started, record.lease), (Some(record.since), Some(record.since + LONG)));
    assert_eq!((record.outbox, record.reason, record.message), (None, None, None));
}

pub async fn t5a_repeating_a_claim_answers_the_same(bench: &Bench) {
    let id = bench.queued().await;
    let claim = bench.claim(id);
    let first = bench.claim_as(&me(), LONG, claim.clone()).await;
    let record = bench.record(id).await;
    assert!(bench.a.store.report(vec![(id, record.fence, progress(1))]).await.unwrap()[0]);
    assert_eq!(bench.claim_as(&me(), LONG, claim).await, first);
    assert_eq!(bench.record(id).await.attempts, 1);
    let snapshot = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!(snapshot.progress, progress(1).progress, "what was reported meanwhile stays");
}

pub async fn t5b_another_delivery_of_a_running_job_is_busy(bench: &Bench) {
    let id = bench.queued().await;
    let claim = bench.claim(id);
    bench.claim_as(&me(), LONG, claim.clone()).await;
    for (owner, claim) in [(me(), bench.claim(id)), (owner("other", 1), claim)] {
        let claimed = bench.claim_as(&owner, LONG, claim).await;
        let Claimed::Known(Answer::Busy { lease_left_ms }) = claimed else { panic!("{claimed:?}") };
        assert!((1..=LONG).contains(&lease_left_ms));
    }
}

pub async fn t5b_a_job_that_waits_is_not_run(bench: &Bench) {
    let mut job = bench.job();
    job.admission.start = Start::After(LONG);
    let id = bench.accept(job).await;
    let claimed = bench.claim_as(&me(), LONG, bench.claim(id)).await;
    let Claimed::Known(Answer::Waiting { state: State::Scheduled, left_ms: Some(left) }) = claimed else {
        panic!("{claimed:?}")
    };
    assert!((1..=LONG).contains(&left));
    assert_eq!(bench.record(id).await.attempts, 0);
}

pub async fn t5b_an_outdated_copy_is_told_so(bench: &Bench) {
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, super::bench::failed(0)).await;
    let old = Claim { generation: Generation(1), ..bench.claim(id) };
    assert_eq!(bench.claim_as(&me(), LONG, old).await, Claimed::Known(Answer::Outdated { replaced: false }));
    // Once a newer copy is with the broker, the old one may go.
    bench.a.store.published(vec![(id, Generation(2))]).await.unwrap();
    let old = Claim { generation: Generation(1), ..bench.claim(id) };
    assert_eq!(bench.claim_as(&me(), LONG, old).await, Claimed::Known(Answer::Outdated { replaced: true }));
    let current = Claim { generation: Generation(2), ..bench.claim(id) };
    assert!(matches!(bench.claim_as(&me(), LONG, current).await, Claimed::Known(Answer::Run { attempt: 2, .. })));
}

pub async fn t5b_a_job_that_ended_is_told_so(bench: &Bench) {
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, permanent()).await;
    let claimed = bench.claim_as(&me(), LONG, bench.claim(id)).await;
    assert_eq!(claimed, Claimed::Known(Answer::Ended { state: State::Error }));
}

pub async fn an_expired_job_is_dropped_at_its_claim(bench: &Bench) {
    let mut job = bench.job();
    job.admission.expires = Some(Expiry::After(20));
    let id = bench.accept(job).await;
    bench.sleep(40).await;
    let claimed = bench.claim_as(&me(), LONG, bench.claim(id)).await;
    assert_eq!(claimed, Claimed::Known(Answer::Ended { state: State::Dropped }));
    let record = bench.record(id).await;
    assert_eq!((record.state, record.reason, record.attempts), (State::Dropped, Some(Reason::Expired), 0));
    assert_eq!(record.outbox, None);
}

pub async fn a_fence_is_greater_than_the_floor_that_a_copy_carries(bench: &Bench) {
    let id = bench.queued().await;
    let floor = Fence(8_000_000_000_000_000);
    let claimed = bench.claim_as(&me(), LONG, Claim { floor, ..bench.claim(id) }).await;
    let Claimed::Known(Answer::Run { fence, .. }) = claimed else { panic!("{claimed:?}") };
    assert_eq!(fence, Fence(floor.0 + 1));
    bench.finish(id, fence, super::bench::failed(0)).await;
    assert_eq!(bench.run(id).await, Fence(floor.0 + 2), "and grows on from there");
}

pub async fn an_unknown_job_and_a_tombstone_are_told_apart(bench: &Bench) {
    let unknown = bench.a.world.job_id(None);
    assert_eq!(bench.claim_as(&me(), LONG, bench.claim(unknown)).await, Claimed::Unknown);
    let id = bench.done().await;
    assert_eq!(bench.remove(id).await, Controlled::Known(Answer::Purge));
    assert_eq!(bench.claim_as(&me(), LONG, bench.claim(id)).await, Claimed::Tombstone);
}

pub async fn a_claim_clears_what_the_last_attempt_reported(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let mut report = progress(3);
    report.log.push(("info".into(), "hello".into()));
    report.properties.insert("p".into(), "1".into());
    assert!(bench.a.store.report(vec![(id, fence, report)]).await.unwrap()[0]);
    bench.finish(id, fence, super::bench::failed(0)).await;
    let kept = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!((kept.progress, kept.log.len(), kept.properties.len()), (progress(3).progress, 1, 1));
    bench.run(id).await;
    let cleared = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!((cleared.progress, cleared.log.len(), cleared.properties.len()), (None, 0, 0));
    assert_eq!(cleared.attempts.len(), 1, "attempts are history and stay");
}

pub async fn a_batch_answers_for_each_claim(bench: &Bench) {
    let (first, second) = (bench.queued().await, bench.accept(bench.job_on("test/two")).await);
    let unknown = bench.a.world.job_id(None);
    let claims = vec![bench.claim(first), bench.claim(unknown), bench.claim(second), bench.claim(first)];
    let answers = bench.a.store.claim(&me(), LONG, claims).await.unwrap();
    assert!(matches!(answers[0], Claimed::Known(Answer::Run { .. })));
    assert_eq!(answers[1], Claimed::Unknown);
    assert!(matches!(answers[2], Claimed::Known(Answer::Run { .. })));
    assert!(matches!(answers[3], Claimed::Known(Answer::Busy { .. })));
    assert_eq!(bench.record(second).await.topic, topic("test/two"));
}

fn progress(step: u64) -> Report {
    Report { progress: Some(Progress { step, steps: 10, eta: None, text: Some("so far".into()) }), ..Report::default() }
}
