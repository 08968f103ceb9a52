//! What people do to jobs: stop (T15, T16) and remove (J12).

use super::bench::{Bench, LONG, failed, succeeded};
use crate::error::NotAccepted;
use crate::store::Controlled;
use longshore_model::id::JobId;
use longshore_model::record::{Reason, Start, State};
use longshore_model::transition::Answer;

/// One job in each state that waits.
async fn waiting(bench: &Bench) -> Vec<JobId> {
    let mut job = bench.job();
    job.admission.start = Start::After(LONG);
    let scheduled = bench.accept(job).await;
    let queued = bench.queued().await;
    let (retrying, fence) = bench.running().await;
    bench.finish(retrying, fence, failed(LONG)).await;
    vec![scheduled, queued, retrying]
}

pub async fn j13_t15_a_waiting_job_stops_at_once(bench: &Bench) {
    for id in waiting(bench).await {
        assert_eq!(bench.stop(id).await, Controlled::Known(Answer::Moved { state: State::Stopped }));
        let record = bench.record(id).await;
        assert_eq!((record.reason, record.message.as_deref()), (Some(Reason::StopRequested), Some("an operator")));
        assert_eq!((record.due, record.outbox), (None, None));
    }
}

pub async fn j13_t16_a_running_job_is_asked_to_stop(bench: &Bench) {
    let (id, fence) = bench.running().await;
    assert_eq!(bench.stop(id).await, Controlled::Known(Answer::Asked));
    let record = bench.record(id).await;
    assert_eq!((record.state, record.fence, record.cancel.as_deref()), (State::Active, fence, Some("an operator")));
    let again = bench.a.store.stop("somebody else", vec![id]).await.unwrap().remove(0);
    assert_eq!(again, Controlled::Known(Answer::Asked));
    assert_eq!(bench.record(id).await.cancel.as_deref(), Some("an operator"), "the first one asked");
}

pub async fn j13_t16_a_failure_after_the_request_is_a_stop(bench: &Bench) {
    let (id, fence) = bench.running().await;
    bench.stop(id).await;
    assert_eq!(bench.finish(id, fence, failed(0)).await, Answer::Moved { state: State::Stopped });
    let record = bench.record(id).await;
    assert_eq!((record.reason, record.failures), (Some(Reason::StopRequested), 0));
}

pub async fn j13_t16_a_success_after_the_request_is_a_success(bench: &Bench) {
    let (id, fence) = bench.running().await;
    bench.stop(id).await;
    assert_eq!(bench.finish(id, fence, succeeded()).await, Answer::Moved { state: State::Succeeded });
}

pub async fn j12_a_waiting_job_is_dropped(bench: &Bench) {
    for id in waiting(bench).await {
        assert_eq!(bench.remove(id).await, Controlled::Known(Answer::Moved { state: State::Dropped }));
        let record = bench.record(id).await;
        assert_eq!((record.reason, record.due, record.outbox), (Some(Reason::Removed), None, None));
    }
}

pub async fn j12_a_running_job_is_dropped_and_its_attempt_is_stale(bench: &Bench) {
    let (id, fence) = bench.running().await;
    assert_eq!(bench.remove(id).await, Controlled::Known(Answer::Moved { state: State::Dropped }));
    assert!(bench.record(id).await.fence > fence);
    assert_eq!(bench.finish(id, fence, succeeded()).await, Answer::Stale { state: State::Dropped });
    let past = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap().attempts.remove(0);
    assert_eq!((past.number, past.outcome.as_str(), past.error), (1, "removed", None));
}

pub async fn j12_history_is_purged_and_leaves_a_tombstone(bench: &Bench) {
    let job = bench.job();
    let id = bench.accept(job.clone()).await;
    let fence = bench.run(id).await;
    bench.finish(id, fence, succeeded()).await;
    assert_eq!(bench.remove(id).await, Controlled::Known(Answer::Purge));
    assert_eq!(bench.maybe(id).await, None);
    assert!(bench.a.store.load(vec![id]).await.unwrap()[0].is_none());
    assert!(bench.find(super::bench::everything()).await.is_empty());
    assert!(bench.a.store.counts().await.unwrap().is_empty());
    assert_eq!(bench.remove(id).await, Controlled::NotFound);
    let again = bench.a.store.enqueue(vec![job]).await.unwrap().remove(0);
    assert_eq!(again, Err(NotAccepted::Ended(id)), "a late copy of the send does not bring it back");
}

pub async fn what_does_not_exist_is_not_found(bench: &Bench) {
    let (known, unknown) = (bench.queued().await, bench.a.world.job_id(None));
    let stopped = bench.a.store.stop("me", vec![unknown, known]).await.unwrap();
    assert_eq!(stopped, [Controlled::NotFound, Controlled::Known(Answer::Moved { state: State::Stopped })]);
    assert_eq!(bench.remove(unknown).await, Controlled::NotFound);
}

pub async fn what_has_ended_cannot_be_stopped(bench: &Bench) {
    let id = bench.done().await;
    assert_eq!(bench.stop(id).await, Controlled::Known(Answer::Ended { state: State::Succeeded }));
}
