//! What happens when the store has lost what it knew: attempts are taken back (T7b), and the loss is remembered.

use super::bench::{Bench, LONG, finish, me, owner, succeeded};
use crate::store::{Adopt, Claimed, Finished, Known, LossKind, NewJob, PauseOrder, Renew, Renewed};
use longshore_model::gate::Pausable;
use longshore_model::id::{Fence, Generation, JobId, Owner};
use longshore_model::limits;
use longshore_model::record::State;
use longshore_model::transition::Answer;

/// An attempt, its third, that claimed generation 2 of a job under this fence.
fn attempt(bench: &Bench, job: NewJob, fence: Fence) -> Adopt {
    let mut claim = bench.claim(job.admission.id);
    claim.generation = Generation(2);
    Adopt { enqueued: 1_700_000_000_000, job, claim, fence, attempt: 3, failures: 1, crashes: 1 }
}

async fn adopt(bench: &Bench, attempt: Adopt) -> Claimed {
    bench.a.store.adopt(&me(), LONG, attempt).await.unwrap()
}

/// A fence that is newer than every fence that the store has handed out.
async fn newer(bench: &Bench) -> Fence {
    Fence((bench.a.store.ping().await.unwrap() + 60_000) * 1_000)
}

async fn renew(bench: &Bench, owner: Owner, running: Vec<(JobId, Fence)>, known: Option<Known>) -> Renewed {
    let renew = Renew { owner, lease_ms: LONG, beat_ms: LONG, running, known };
    bench.a.store.heart().await.unwrap().renew(&renew).await.unwrap()
}

pub async fn t7b_an_attempt_whose_record_is_gone_is_taken_back_under_its_fence(bench: &Bench) {
    let (mut job, fence) = (bench.job(), Fence(7_000));
    job.labels.insert("asset".into(), "7".into());
    let id = job.admission.id;
    let adopted = adopt(bench, attempt(bench, job.clone(), fence)).await;
    let Claimed::Known(Answer::Run { fence: same, attempt: 3, failures: 1, crashes: 1, .. }) = adopted else {
        panic!("{adopted:?}")
    };
    assert_eq!(same, fence);
    let record = bench.record(id).await;
    assert_eq!((record.state, record.generation, record.owner), (State::Active, Generation(2), Some(me())));
    assert_eq!((record.created, record.outbox), (1_700_000_000_000, None));
    assert!(record.lease > Some(record.since));
    let labelled = crate::store::Query { labels: job.labels, ..super::bench::everything() };
    assert_eq!(bench.find(labelled).await, [id]);
    // From here on it is an attempt like any other.
    assert!(renew(bench, me(), vec![(id, fence)], None).await.behind.is_empty());
    assert_eq!(bench.finish(id, fence, succeeded()).await, Answer::Moved { state: State::Succeeded });
}

pub async fn t7b_an_attempt_that_is_ahead_of_its_record_is_taken_back(bench: &Bench) {
    let (queued, active) = (bench.job(), bench.job());
    for job in [&queued, &active] {
        bench.accept(job.clone()).await;
    }
    bench.run_for(&owner("before", 1), active.admission.id, LONG).await;
    let fence = newer(bench).await;
    for job in [queued, active] {
        let id = job.admission.id;
        assert!(matches!(adopt(bench, attempt(bench, job, fence)).await, Claimed::Known(Answer::Run { .. })));
        let record = bench.record(id).await;
        assert_eq!((record.state, record.fence, record.owner), (State::Active, fence, Some(me())));
        assert_eq!((record.attempts, record.outbox), (3, None));
    }
    bench.sleep(5).await;
    assert!(bench.b.store.outbox(10, 1).await.unwrap().is_empty());
}

pub async fn t7b_an_attempt_that_was_taken_away_is_not_taken_back(bench: &Bench) {
    let job = bench.job();
    let id = bench.accept(job.clone()).await;
    let fence = bench.run(id).await;
    let older = Fence(fence.0 - 1);
    let refused = adopt(bench, attempt(bench, job.clone(), older)).await;
    assert_eq!(refused, Claimed::Known(Answer::Stale { state: State::Active }));
    let other = Adopt { fence, ..attempt(bench, job, fence) };
    let stolen = bench.a.store.adopt(&owner("other", 1), LONG, other).await.unwrap();
    assert_eq!(stolen, Claimed::Known(Answer::Stale { state: State::Active }), "a fence has one owner");
    assert_eq!(bench.record(id).await.owner, Some(me()));
}

pub async fn t7b_a_job_that_was_removed_or_ended_is_not_taken_back(bench: &Bench) {
    let (ended, removed) = (bench.job(), bench.job());
    let fence = newer(bench).await;
    let (id, old) = (bench.accept(ended.clone()).await, bench.accept(removed.clone()).await);
    bench.stop(id).await;
    bench.remove(old).await;
    bench.remove(old).await;
    let state = State::Stopped;
    assert_eq!(adopt(bench, attempt(bench, ended, fence)).await, Claimed::Known(Answer::Ended { state }));
    assert_eq!(adopt(bench, attempt(bench, removed, fence)).await, Claimed::Tombstone);
    assert_eq!(bench.maybe(old).await, None);
}

pub async fn t7b_repeating_it_answers_the_same(bench: &Bench) {
    let adoption = attempt(bench, bench.job(), Fence(7_000));
    let (first, second) = (adopt(bench, adoption.clone()).await, adopt(bench, adoption).await);
    assert!(matches!(first, Claimed::Known(Answer::Run { .. })), "{first:?}");
    assert_eq!(first, second);
}

pub async fn a_finish_of_an_attempt_ahead_of_its_record_is_missing(bench: &Bench) {
    let id = bench.queued().await;
    let fence = newer(bench).await;
    let finished = bench.a.store.finish(vec![finish(id, fence, succeeded())]).await.unwrap().remove(0);
    assert_eq!(finished, Finished::Missing);
    assert_eq!(bench.state(id).await, State::Queued);
    bench.stop(id).await;
    assert_eq!(bench.finish(id, fence, succeeded()).await, Answer::Stale { state: State::Stopped });
}

pub async fn a_renewal_tells_what_the_store_does_not_know(bench: &Bench) {
    let (kept, fence) = bench.running().await;
    let (gone, behind) = (bench.job().admission.id, bench.queued().await);
    let ahead = newer(bench).await;
    let running = vec![(kept, fence), (gone, ahead), (behind, ahead), (kept, Fence(fence.0 - 1))];
    let renewed = renew(bench, me(), running, None).await;
    assert_eq!(renewed.behind, [(gone, ahead), (behind, ahead)]);
    assert_eq!(renewed.lost, [(kept, Fence(fence.0 - 1))]);
}

pub async fn a_renewal_counts_what_waits(bench: &Bench) {
    bench.running().await;
    bench.queued().await;
    bench.queued().await;
    let mut job = bench.job();
    job.admission.start = longshore_model::record::Start::After(LONG);
    bench.accept(job).await;
    let (id, fence) = bench.running().await;
    bench.finish(id, fence, super::bench::failed(LONG)).await;
    let order = PauseOrder { by: "an operator".into(), why: "a test".into(), until: None };
    bench.b.store.set_pause(&Pausable::Queue("main".into()), Some(&order)).await.unwrap();
    bench.accept(bench.job()).await;
    let known = renew(bench, me(), Vec::new(), None).await.known;
    assert_eq!((known.scheduled, known.retrying, known.queued, known.active, known.blocked), (1, 1, 2, 1, 1));
    let again = renew(bench, me(), Vec::new(), Some(known)).await.known;
    assert_eq!(again.epoch, known.epoch);
    assert!(again.tick > known.tick);
}

pub async fn a_store_that_knew_less_before_begins_a_new_epoch(bench: &Bench) {
    let known = renew(bench, me(), Vec::new(), None).await.known;
    let ahead = Known { tick: known.tick + 60_000_000, scheduled: 5, ..known };
    let rolled = renew(bench, me(), Vec::new(), Some(ahead)).await;
    assert!(rolled.known.epoch > known.epoch && rolled.known.tick > ahead.tick, "{rolled:?}");
    assert_eq!(rolled.loss, LossKind::RolledBack);
    let losses = bench.b.store.losses().await.unwrap();
    let last = losses.last().unwrap();
    assert_eq!((last.epoch, last.kind, last.to), (rolled.known.epoch, LossKind::RolledBack, rolled.now));
    assert!(last.from > 0 && last.from < last.to);
    assert_eq!(last.before, Some(ahead));
    // Once is enough, and who knew less has nothing to add.
    let other = renew(bench, owner("other", 1), Vec::new(), Some(known)).await;
    assert_eq!(other.known.epoch, rolled.known.epoch);
    assert_eq!(bench.b.store.losses().await.unwrap(), losses);
}

pub async fn a_store_that_went_back_for_long_pauses_everything(bench: &Bench) {
    let id = bench.queued().await;
    let known = renew(bench, me(), Vec::new(), None).await.known;
    let lag = |ms: u64| Some(Known { tick: known.tick + ms * 1_000, ..known });
    // As a failover to a replica may do.
    let rolled = renew(bench, me(), Vec::new(), lag(limits::ROLLBACK_MS)).await;
    assert_eq!((rolled.loss, bench.b.store.pauses().await.unwrap()), (LossKind::RolledBack, Vec::new()));
    // As only a backup does; whoever comes first, the one who lived through it tells.
    let known = rolled.known;
    let ahead = Known { tick: known.tick + limits::ROLLBACK_MS * 1_000 + 1, ..known };
    let held = renew(bench, me(), Vec::new(), Some(ahead)).await;
    assert_eq!(held.loss, LossKind::RolledBack);
    let last = bench.b.store.losses().await.unwrap().pop().unwrap();
    assert!(last.held && last.epoch == held.known.epoch, "{last:?}");
    let pauses = bench.b.store.pauses().await.unwrap();
    assert_eq!(pauses.iter().map(|pause| &pause.what).collect::<Vec<_>>(), [&Pausable::All]);
    assert!(pauses[0].order.by == "longshore" && pauses[0].order.why.contains("went back by 60 s"), "{pauses:?}");
    let claimed = bench.a.store.claim(&me(), LONG, vec![bench.claim(id)]).await.unwrap().remove(0);
    assert_eq!(claimed, Claimed::Known(Answer::Waiting { state: State::Blocked, left_ms: None }));
    // Somebody looked; nobody else who lived through it pauses it again.
    bench.b.store.set_pause(&Pausable::All, None).await.unwrap();
    renew(bench, owner("other", 1), Vec::new(), Some(ahead)).await;
    assert_eq!(bench.b.store.pauses().await.unwrap(), Vec::new());
    bench.a.store.promote(10).await.unwrap();
    assert_eq!(bench.state(id).await, State::Queued);
}

pub async fn a_process_tells_what_the_store_had_before(bench: &Bench) {
    // The first who comes knows nothing, the second lived through it, the third knew more.
    let first = renew(bench, owner("new", 1), Vec::new(), None).await;
    assert_eq!(bench.b.store.losses().await.unwrap()[0].before, None);
    for (scheduled, expected) in [(3, 3), (9, 9), (4, 9)] {
        let known = Known { epoch: 5, tick: 9, scheduled, retrying: 1, queued: 2, active: 1, blocked: 0 };
        let renewed = renew(bench, me(), Vec::new(), Some(known)).await;
        assert_eq!((renewed.known.epoch, renewed.loss), (first.known.epoch, LossKind::Wiped));
        let losses = bench.b.store.losses().await.unwrap();
        assert_eq!(losses[0].before.map(|before| before.scheduled), Some(expected));
    }
}
