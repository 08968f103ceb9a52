//! How the time of jobs comes (T13).

use super::bench::{Bench, LONG, failed};
use longshore_model::id::{Generation, JobId};
use longshore_model::record::{Reason, Start, State};

async fn delayed(bench: &Bench, ms: u64) -> JobId {
    let mut job = bench.job();
    job.admission.start = Start::After(ms);
    bench.accept(job).await
}

pub async fn t13_a_due_job_becomes_runnable(bench: &Bench) {
    let id = delayed(bench, 100).await;
    let due = bench.record(id).await.due;
    let early = bench.b.store.promote(10).await.unwrap();
    assert_eq!((early.runnable.len(), early.next, early.more), (0, due, false));
    bench.sleep(130).await;
    let moved = bench.b.store.promote(10).await.unwrap();
    assert_eq!((moved.runnable.len(), moved.next), (1, None));
    assert!(moved.now >= due.unwrap(), "the store's clock comes with it");
    assert_eq!((moved.runnable[0].id, moved.runnable[0].generation), (id, Generation(1)));
    let record = bench.record(id).await;
    assert_eq!((record.state, record.reason, record.due), (State::Queued, None, None));
    assert!(record.outbox.is_some());
    assert!(bench.a.store.promote(10).await.unwrap().runnable.is_empty(), "once");
}

pub async fn t13_a_failed_job_returns_with_its_reason(bench: &Bench) {
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, failed(20)).await;
    bench.sleep(40).await;
    let moved = bench.b.store.promote(10).await.unwrap();
    assert_eq!((moved.runnable[0].id, moved.runnable[0].generation), (id, Generation(2)));
    assert_eq!(moved.runnable[0].fence, fence, "a copy carries the newest fence");
    let record = bench.record(id).await;
    assert_eq!((record.reason, record.message.as_deref()), (Some(Reason::Failed), Some("no luck")));
}

pub async fn t13_promotion_is_bounded_in_order_and_tells_the_next_time(bench: &Bench) {
    let (third, first, second) = (delayed(bench, 60).await, delayed(bench, 10).await, delayed(bench, 30).await);
    let far = delayed(bench, LONG).await;
    bench.sleep(100).await;
    let moved = bench.a.store.promote(2).await.unwrap();
    assert_eq!(moved.runnable.iter().map(|out| out.id).collect::<Vec<_>>(), [first, second]);
    assert!(moved.more);
    let moved = bench.a.store.promote(2).await.unwrap();
    assert_eq!(moved.runnable.iter().map(|out| out.id).collect::<Vec<_>>(), [third]);
    assert_eq!((moved.more, moved.next), (false, bench.record(far).await.due));
}
