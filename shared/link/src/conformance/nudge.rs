//! Nudges: what makes waiting fast. The state in the store is what makes it true.

use super::bench::{Bench, LONG, normal, owner, succeeded};
use super::membership::card;
use crate::store::{Beat, Nudge};
use longshore_model::record::{Start, State};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

pub(super) async fn until(bench: &Bench, nudges: &mut Receiver<Nudge>, wanted: Nudge) {
    let hearing = async {
        loop {
            match nudges.recv().await {
                Ok(nudge) if nudge == wanted => return,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => panic!("the nudges ended"),
            }
        }
    };
    bench.within(&format!("{wanted:?}"), hearing).await;
}

pub async fn a_watcher_hears_of_the_end_and_nobody_else_does(bench: &Bench) {
    let (mut mine, mut other) = (bench.a.store.nudges(), bench.b.store.nudges());
    let (id, fence) = bench.running().await;
    let second = bench.queued().await;
    bench.a.store.watch(vec![id, second]).await.unwrap();
    bench.b.store.finish(vec![super::bench::finish(id, fence, succeeded())]).await.unwrap();
    until(bench, &mut mine, Nudge::Ended(id)).await;
    bench.remove(second).await;
    until(bench, &mut mine, Nudge::Ended(second)).await;
    while let Ok(nudge) = other.try_recv() {
        assert!(!matches!(nudge, Nudge::Ended(_)), "{nudge:?}");
    }
}

pub async fn watching_answers_the_state_now(bench: &Bench) {
    let (open, done) = (bench.queued().await, bench.done().await);
    let unknown = bench.a.world.job_id(None);
    let states = bench.a.store.watch(vec![open, unknown, done]).await.unwrap();
    assert_eq!(states, [Some(State::Queued), None, Some(State::Succeeded)]);
    assert_eq!(bench.a.store.watch(vec![open]).await.unwrap(), [Some(State::Queued)], "asking again is the net");
}

pub async fn a_request_to_stop_is_nudged(bench: &Bench) {
    let mut nudges = bench.b.store.nudges();
    let ((stopped, _), (removed, _)) = (bench.running().await, bench.running().await);
    bench.stop(stopped).await;
    until(bench, &mut nudges, Nudge::Stop(stopped)).await;
    bench.remove(removed).await;
    until(bench, &mut nudges, Nudge::Stop(removed)).await;
}

pub async fn an_earlier_due_time_is_nudged(bench: &Bench) {
    let mut job = bench.job();
    job.admission.start = Start::After(2 * LONG);
    bench.accept(job.clone()).await;
    let mut nudges = bench.b.store.nudges();
    job.admission.id = bench.a.world.job_id(None);
    job.admission.start = Start::After(LONG);
    bench.accept(job).await;
    until(bench, &mut nudges, Nudge::Due).await;
    let (id, fence) = bench.running().await;
    let mut nudges = bench.b.store.nudges();
    bench.finish(id, fence, super::bench::failed(LONG / 2)).await;
    until(bench, &mut nudges, Nudge::Due).await;
}

pub async fn a_new_topic_is_nudged(bench: &Bench) {
    let mut nudges = bench.b.store.nudges();
    bench.queued().await;
    until(bench, &mut nudges, Nudge::Topics).await;
    let mut nudges = bench.b.store.nudges();
    bench.a.store.know(vec![normal("brand/new")]).await.unwrap();
    until(bench, &mut nudges, Nudge::Topics).await;
}

pub async fn a_new_view_is_nudged(bench: &Bench) {
    let mut nudges = bench.b.store.nudges();
    let mut heart = bench.a.store.heart().await.unwrap();
    heart.beat(&Beat { card: card(owner("one", 1)), reached: 0, lease_ms: LONG }).await.unwrap();
    until(bench, &mut nudges, Nudge::View).await;
}
