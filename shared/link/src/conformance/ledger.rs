//! The conservation ledger: what was accepted has ended, waits or runs. After every other case it is checked as well.

use super::bench::{Bench, LONG, TOPIC, failed, me, permanent, succeeded, topic};
use crate::store::{Adopt, Claimed, Rebuild, Rebuilt, Retention};
use longshore_model::id::Fence;
use longshore_model::ledger::{Account, Sums};
use longshore_model::record::{Start, State};
use longshore_model::transition::Answer;

async fn account(bench: &Bench) -> Account {
    bench.ledger().await.topics.remove(&topic(TOPIC)).unwrap_or_default()
}

pub async fn what_was_accepted_has_ended_waits_or_runs(bench: &Bench) {
    assert_eq!(bench.ledger().await.total(), Sums::default());
    bench.done().await;
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, permanent()).await;
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, failed(LONG)).await;
    bench.running().await;
    let id = bench.queued().await;
    bench.stop(id).await;
    let id = bench.queued().await;
    bench.remove(id).await;
    bench.queued().await;
    bench.accept(bench.job_on("other")).await;
    let mut job = bench.job();
    job.admission.start = Start::After(LONG);
    bench.accept(job).await;
    let ledger = bench.ledger().await;
    let total = Sums { accepted: 9, succeeded: 1, failed: 1, stopped: 1, dropped: 1, waiting: 4, active: 1, drift: 0 };
    assert_eq!(ledger.total(), total);
    assert_eq!((ledger.open, ledger.outbox, ledger.published()), (5, 2, 0));
    assert_eq!(account(bench).await.sums().accepted, 8);
    assert_eq!(ledger.indexed[&State::Retrying], 1);
}

pub async fn what_is_forgotten_stays_accounted_for(bench: &Bench) {
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, succeeded()).await;
    bench.remove(id).await;
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, permanent()).await;
    bench.sleep(5).await;
    assert_eq!(bench.a.store.purge(&Retention::of(LONG, 1), 10).await.unwrap().gone, 1);
    let account = account(bench).await;
    assert_eq!(account.forgotten, [(State::Succeeded, 1), (State::Error, 1)].into());
    assert_eq!((account.indexed, account.now.values().sum::<i64>()), (0, 0));
    assert_eq!(account.sums(), Sums { accepted: 2, succeeded: 1, failed: 1, ..Sums::default() });
}

pub async fn what_is_rebuilt_or_taken_back_was_accepted(bench: &Bench) {
    let now = bench.a.store.ping().await.unwrap();
    let job = bench.job();
    let claim = bench.claim(job.admission.id);
    let rebuild = Rebuild { job, enqueued: now, claim };
    for _ in 0..2 {
        let rebuilt = bench.a.store.rebuild(&me(), LONG, rebuild.clone()).await.unwrap();
        assert!(matches!(rebuilt, Rebuilt::Claimed(Claimed::Known(Answer::Run { .. }))), "{rebuilt:?}");
    }
    let job = bench.job();
    let claim = bench.claim(job.admission.id);
    let fence = Fence(now * 1_000);
    let adopt = Adopt { job, enqueued: now, claim, fence, attempt: 2, failures: 1, crashes: 0 };
    for _ in 0..2 {
        let adopted = bench.a.store.adopt(&me(), LONG, adopt.clone()).await.unwrap();
        assert!(matches!(adopted, Claimed::Known(Answer::Run { .. })), "{adopted:?}");
    }
    assert_eq!(account(bench).await.sums(), Sums { accepted: 2, active: 2, ..Sums::default() });
}

pub async fn a_refused_job_was_not_accepted(bench: &Bench) {
    let job = bench.job();
    bench.accept(job.clone()).await;
    let mut other = job.clone();
    other.admission.topic = topic("other");
    bench.a.store.enqueue(vec![other, job]).await.unwrap().remove(0).unwrap_err();
    assert_eq!(bench.ledger().await.total(), Sums { accepted: 1, waiting: 1, ..Sums::default() });
}
