//! How an unknown job that arrives with its envelope is taken in (T6).

use super::bench::{Bench, LONG, TOPIC, me, topic};
use crate::store::{Claim, Claimed, LossKind, NewJob, Rebuild, Rebuilt};
use longshore_model::id::{Fence, Generation};
use longshore_model::limits;
use longshore_model::record::{Start, State};
use longshore_model::transition::Answer;

async fn rebuild(bench: &Bench, job: NewJob, enqueued: u64) -> Rebuilt {
    let claim = Claim { generation: Generation(3), floor: Fence(5), ..bench.claim(job.admission.id) };
    bench.a.store.rebuild(&me(), LONG, Rebuild { job, enqueued, claim }).await.unwrap()
}

pub async fn t6_an_unknown_job_is_rebuilt_and_claimed(bench: &Bench) {
    let mut job = bench.job();
    job.admission.start = Start::After(LONG);
    job.labels.insert("asset".into(), "7".into());
    let enqueued = bench.a.store.ping().await.unwrap() - 60_000;
    let rebuilt = rebuild(bench, job.clone(), enqueued).await;
    let Rebuilt::Claimed(Claimed::Known(Answer::Run { fence, attempt: 1, .. })) = rebuilt else {
        panic!("{rebuilt:?}")
    };
    let record = bench.record(job.admission.id).await;
    assert_eq!((record.state, record.fence, record.generation), (State::Active, fence, Generation(3)));
    assert_eq!((record.created, record.outbox), (enqueued, None));
    let snapshot = bench.a.store.load(vec![job.admission.id]).await.unwrap().remove(0).unwrap();
    assert_eq!(snapshot.envelope, job.envelope);
    assert_eq!(bench.a.store.topics().await.unwrap(), [topic(TOPIC)]);
    let labelled = crate::store::Query { labels: job.labels.clone(), ..super::bench::everything() };
    assert_eq!(bench.find(labelled).await, [job.admission.id]);
}

pub async fn t6_a_known_job_is_claimed_as_it_is(bench: &Bench) {
    let job = bench.job();
    let (id, now) = (bench.accept(job.clone()).await, bench.a.store.ping().await.unwrap());
    bench.run(id).await;
    let rebuilt = rebuild(bench, job.clone(), now).await;
    assert!(matches!(rebuilt, Rebuilt::Claimed(Claimed::Known(Answer::Busy { .. }))), "{rebuilt:?}");
    assert_eq!(bench.record(id).await.attempts, 1);
}

pub async fn t6_a_tombstone_is_not_rebuilt(bench: &Bench) {
    let job = bench.job();
    let id = bench.accept(job.clone()).await;
    bench.remove(id).await;
    bench.remove(id).await;
    let now = bench.a.store.ping().await.unwrap();
    assert_eq!(rebuild(bench, job, now).await, Rebuilt::Claimed(Claimed::Tombstone));
    assert_eq!(bench.maybe(id).await, None);
}

pub async fn t6_what_a_lost_store_may_have_known_is_rebuilt_however_old_it_is(bench: &Bench) {
    // An empty store may have been wiped, so whatever is older than it may have been in it.
    let now = bench.a.store.ping().await.unwrap();
    let old = rebuild(bench, bench.job(), now - limits::TOMBSTONE_MS - 60_000).await;
    assert!(matches!(old, Rebuilt::Claimed(Claimed::Known(Answer::Run { .. }))), "{old:?}");
    let losses = bench.b.store.losses().await.unwrap();
    assert_eq!(losses.iter().map(|loss| (loss.kind, loss.from)).collect::<Vec<_>>(), [(LossKind::Wiped, 0)]);
    assert!(losses[0].to >= now && losses[0].before.is_none());
    let young = rebuild(bench, bench.job(), now - limits::TOMBSTONE_MS + 60_000).await;
    assert!(matches!(young, Rebuilt::Claimed(Claimed::Known(Answer::Run { .. }))), "{young:?}");
}
