//! How history goes (T19), and jobs that were not started in time (T20).

use super::bench::{Bench, LONG, permanent};
use crate::error::NotAccepted;
use crate::store::{Bound, Retention};
use longshore_model::gate::GateName;
use longshore_model::id::JobId;
use longshore_model::queue::{Keep, Kept};
use longshore_model::record::{Expiry, Reason, Start, State};

const NOTHING: Retention = Retention::of(LONG, LONG);

pub async fn l02_l03_t19_history_goes_when_its_time_has_come(bench: &Bench) {
    let job = bench.job();
    let id = bench.accept(job.clone()).await;
    let fence = bench.run(id).await;
    bench.finish(id, fence, super::bench::succeeded()).await;
    let open = bench.queued().await;
    assert_eq!(bench.a.store.purge(&NOTHING, 10).await.unwrap().gone, 0);
    bench.sleep(30).await;
    let short = Retention::of(20, 20);
    assert_eq!(bench.a.store.purge(&short, 10).await.unwrap().gone, 1);
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
    assert_eq!(bench.a.store.purge(&Retention::of(20, LONG), 10).await.unwrap().gone, 1);
    assert_eq!(bench.maybe(done).await, None);
    assert_eq!(bench.a.store.purge(&Retention::of(LONG, 20), 10).await.unwrap().gone, 2);
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
    assert_eq!(bench.a.store.purge(&NOTHING, 10).await.unwrap().gone, 2);
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
    let short = Retention::of(20, 20);
    assert_eq!(bench.a.store.purge(&short, 2).await.unwrap().gone, 2);
    assert_eq!(bench.a.store.purge(&short, 2).await.unwrap().gone, 1);
    assert_eq!(bench.a.store.purge(&short, 2).await.unwrap().gone, 0);
}

/// Of one queue, ended well.
async fn done_in(bench: &Bench, queue: &str) -> JobId {
    let mut job = bench.job();
    job.admission.queue = queue.into();
    let id = bench.accept(job).await;
    let fence = bench.run(id).await;
    bench.finish(id, fence, super::bench::succeeded()).await;
    bench.sleep(2).await;
    id
}

async fn purge(bench: &Bench, retention: &Retention) -> u64 {
    let mut gone = 0;
    loop {
        let purged = bench.a.store.purge(retention, 2).await.unwrap();
        gone += purged.gone;
        if !purged.more {
            return gone;
        }
    }
}

async fn left(bench: &Bench, ids: &[JobId]) -> Vec<bool> {
    bench.a.store.records(ids.to_vec()).await.unwrap().iter().map(Option::is_some).collect()
}

fn newest(count: u64) -> Kept {
    Kept { age: None, count: Some(count) }
}

pub async fn l02_more_than_enough_of_a_state_goes_oldest_first(bench: &Bench) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(done_in(bench, "main").await);
    }
    let (broken, fence) = bench.running().await;
    bench.finish(broken, fence, permanent()).await;
    let retention = Retention { succeeded: Bound { age_ms: LONG, count: Some(2) }, ..NOTHING };
    assert_eq!(purge(bench, &retention).await, 3);
    assert_eq!(left(bench, &ids).await, [false, false, false, true, true]);
    assert_eq!(left(bench, &[broken]).await, [true], "each state by itself");
    assert_eq!(bench.a.store.ledger().await.unwrap().drifts(), []);
}

pub async fn q11_l02_each_queue_keeps_what_it_says(bench: &Bench) {
    let (mut few, mut long, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        long.push(done_in(bench, "long").await);
        few.push(done_in(bench, "few").await);
        other.push(done_in(bench, "main").await);
    }
    // A queue with `{0}` in its name says it for all that it makes.
    let mut named = bench.job();
    named.admission.queue = "q-x".into();
    named.admission.gates.limits = vec![GateName::limit("queue.q-_0_", "q-x")];
    let named = bench.accept(named).await;
    let fence = bench.run(named).await;
    bench.finish(named, fence, super::bench::succeeded()).await;
    bench.sleep(30).await;
    let days = Kept { age: Some(std::time::Duration::from_secs(86_400)), count: None };
    let queues = vec![
        ("few".to_owned(), Keep { succeeded: newest(1), ..Keep::default() }),
        ("long".to_owned(), Keep { succeeded: days, ..Keep::default() }),
        ("q-_0_".to_owned(), Keep { succeeded: newest(0), ..Keep::default() }),
    ];
    let retention = Retention { queues, ..Retention::of(LONG, LONG) };
    assert_eq!(purge(bench, &retention).await, 3, "two of `few`, and the one of q-x");
    assert_eq!((left(bench, &few).await, left(bench, &[named]).await), (vec![false, false, true], vec![false]));
    let short = Retention { succeeded: Bound { age_ms: 20, count: None }, ..retention.clone() };
    assert_eq!(purge(bench, &short).await, 4, "all others, and what few keeps by its number is also too old");
    assert_eq!(left(bench, &long).await, [true; 3], "what one queue keeps for long is in nobody's way");
    assert_eq!(left(bench, &other).await, [false; 3]);

    // Removed by hand they do not count; without rules, and with others, everything is looked at anew.
    bench.remove(long[2]).await;
    let fewer = vec![("long".to_owned(), Keep { succeeded: newest(1), ..Keep::default() })];
    assert_eq!(purge(bench, &Retention { queues: fewer, ..NOTHING }).await, 1);
    assert_eq!(left(bench, &long).await, [false, true, false]);
    bench.sleep(30).await;
    assert_eq!(purge(bench, &Retention::of(20, LONG)).await, 1);
    assert_eq!(bench.a.store.ledger().await.unwrap().drifts(), []);
}
