//! How history goes (T19), and jobs that were not started in time (T20).

use super::bench::{Bench, LONG, permanent};
use crate::error::NotAccepted;
use crate::store::Retention;
use longshore_model::record::{Expiry, Reason, Start, State};

const NOTHING: Retention = Retention { succeeded_ms: LONG, failed_ms: LONG };

pub async fn l02_l03_t19_history_goes_when_its_time_has_come(bench: &Bench) {
    let job = bench.job();
    let id = bench.accept(job.clone()).await;
    let fence = bench.run(id).await;
    bench.finish(id, fence, super::bench::succeeded()).await;
    let open = bench.queued().await;
    assert_eq!(bench.a.store.purge(NOTHING, 10).await.unwrap(), 0);
    bench.sleep(30).await;
    let short = Retention { succeeded_ms: 20, failed_ms: 20 };
    assert_eq!(bench.a.store.purge(short, 10).await.unwrap(), 1);
    assert_eq!(bench.maybe(id).await, None);
    assert_eq!(bench.state(open).await, State::Queued, "only history goes");
    let again = bench.a.store.enqueue(vec![job]).await.unwrap().remove(0);
    assert_eq!(again, Err(NotAccepted::Ended(id)));
}

pub async fn l02_t19_success_and_failure_are_kept_for_their_own_times(bench: &Bench) {
    let (done, (broken, fence), stopped) = (bench.done().await, bench.running().await, bench.queued().await);
    bench.finish(broken, fence, permanent()).await;
    bench.stop(stopped).await;
    bench.sleep(30).await;
    assert_eq!(bench.a.store.purge(Retention { succeeded_ms: 20, failed_ms: LONG }, 10).await.unwrap(), 1);
    assert_eq!(bench.maybe(done).await, None);
    assert_eq!(bench.a.store.purge(Retention { succeeded_ms: LONG, failed_ms: 20 }, 10).await.unwrap(), 2);
    assert_eq!((bench.maybe(broken).await, bench.maybe(stopped).await), (None, None));
}

pub async fn t20_what_was_not_started_in_time_is_dropped(bench: &Bench) {
    let mut queued = bench.job();
    queued.admission.expires = Some(Expiry::After(20));
    let mut scheduled = queued.clone();
    scheduled.admission.id = bench.a.world.job_id(None);
    scheduled.admission.start = Start::After(LONG);
    let mut running = queued.clone();
    running.admission.id = bench.a.world.job_id(None);
    let mut later = bench.job();
    later.admission.expires = Some(Expiry::After(LONG));
    let (queued, scheduled) = (bench.accept(queued).await, bench.accept(scheduled).await);
    let (running, later) = (bench.accept(running).await, bench.accept(later).await);
    bench.run(running).await;
    bench.sleep(40).await;
    assert_eq!(bench.a.store.purge(NOTHING, 10).await.unwrap(), 2);
    for id in [queued, scheduled] {
        let record = bench.record(id).await;
        assert_eq!((record.state, record.reason), (State::Dropped, Some(Reason::Expired)));
    }
    assert_eq!((bench.state(running).await, bench.state(later).await), (State::Active, State::Queued));
}

pub async fn a_purge_is_bounded(bench: &Bench) {
    for _ in 0..3 {
        bench.done().await;
    }
    bench.sleep(30).await;
    let short = Retention { succeeded_ms: 20, failed_ms: 20 };
    assert_eq!(bench.a.store.purge(short, 2).await.unwrap(), 2);
    assert_eq!(bench.a.store.purge(short, 2).await.unwrap(), 1);
    assert_eq!(bench.a.store.purge(short, 2).await.unwrap(), 0);
}
