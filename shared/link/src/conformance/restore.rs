//! T6 without a claim: a store that lost its jobs gets them back from copies that somebody found in the broker.

use super::bench::{Bench, LONG, succeeded};
use crate::store::{Claim, Claimed, Restore, Restored};
use longshore_model::id::{Fence, Generation};
use longshore_model::record::{Start, State};
use longshore_model::transition::Answer;

async fn restore(bench: &Bench, job: &Restore, dry: bool) -> Restored {
    bench.a.store.restore(vec![job.clone()], dry).await.unwrap().remove(0)
}

async fn found(bench: &Bench, copy: Option<u64>) -> Restore {
    let enqueued = bench.a.store.ping().await.unwrap();
    Restore { job: bench.job(), enqueued, copy: copy.map(Generation), fence: Fence(7) }
}

pub async fn a_copy_in_the_broker_becomes_a_queued_job_again(bench: &Bench) {
    let job = found(bench, Some(3)).await;
    let id = job.job.admission.id;
    assert_eq!(restore(bench, &job, false).await, Restored::Made(State::Queued));
    let record = bench.record(id).await;
    assert_eq!((record.generation, record.fence, record.created), (Generation(3), Fence(7), job.enqueued));
    assert!(record.outbox.is_none() && record.published.is_some(), "{record:?}");
    // The copy is good, and one that was older is not.
    let old = Claim { generation: Generation(2), ..bench.claim(id) };
    let outdated = bench.claim_as(&super::bench::me(), LONG, old).await;
    assert!(matches!(outdated, Claimed::Known(Answer::Outdated { .. })), "{outdated:?}");
    let current = Claim { generation: Generation(3), ..bench.claim(id) };
    let run = bench.claim_as(&super::bench::me(), LONG, current).await;
    assert!(matches!(run, Claimed::Known(Answer::Run { fence, .. }) if fence > Fence(7)), "{run:?}");
}

pub async fn a_job_without_a_copy_is_to_be_published(bench: &Bench) {
    let job = found(bench, None).await;
    assert_eq!(restore(bench, &job, false).await, Restored::Made(State::Queued));
    let record = bench.record(job.job.admission.id).await;
    assert!(record.outbox.is_some() && record.published.is_none(), "{record:?}");
}

pub async fn a_job_waits_for_its_time_again(bench: &Bench) {
    let mut job = found(bench, None).await;
    job.job.admission.start = Start::At(job.enqueued + LONG);
    assert_eq!(restore(bench, &job, false).await, Restored::Made(State::Scheduled));
    let record = bench.record(job.job.admission.id).await;
    assert_eq!((record.state, record.due), (State::Scheduled, Some(job.enqueued + LONG)));
}

pub async fn a_dry_restore_changes_nothing(bench: &Bench) {
    let mut job = found(bench, Some(1)).await;
    assert_eq!(restore(bench, &job, true).await, Restored::Made(State::Queued));
    job.job.admission.start = Start::At(job.enqueued + LONG);
    assert_eq!(restore(bench, &job, true).await, Restored::Made(State::Scheduled));
    assert!(bench.maybe(job.job.admission.id).await.is_none());
    assert_eq!(bench.ledger().await.total().accepted, 0);
}

pub async fn what_the_store_knows_or_has_buried_is_left_alone(bench: &Bench) {
    let mut job = found(bench, Some(1)).await;
    job.job.admission.id = bench.done().await;
    assert_eq!(restore(bench, &job, false).await, Restored::Known(State::Succeeded));
    bench.remove(job.job.admission.id).await;
    assert_eq!(restore(bench, &job, false).await, Restored::Ended);
    let job = found(bench, Some(1)).await;
    let id = bench.accept(job.job.clone()).await;
    let fence = bench.run(id).await;
    assert_eq!(restore(bench, &job, false).await, Restored::Known(State::Active));
    bench.finish(id, fence, succeeded()).await;
    assert_eq!(bench.ledger().await.total().accepted, 2);
}
