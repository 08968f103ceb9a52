//! Who listens to events: known to everybody for its time. And what is kept for them until somebody tells it.

use super::bench::{Bench, LONG, failed, me, owner};
use crate::store::{Retention, Untold};
use longshore_model::event::{Class, Interest, Kind};
use longshore_model::id::JobId;
use longshore_model::record::{Expiry, State};

const NOTHING: Retention = Retention::of(LONG, LONG);

fn interest(class: Class, topics: &str) -> Interest {
    Interest { class, topics: topics.parse().unwrap() }
}

pub async fn n01_who_listens_is_known_for_its_time_and_everybody_is_told(bench: &Bench) {
    assert_eq!(bench.a.store.interests().await.unwrap(), []);
    let before = bench.b.store.interest_changes();
    let (jobs, progress) = (interest(Class::Job, "a/**"), interest(Class::Progress, "a/b"));
    bench.a.store.listen(&[jobs.clone(), progress.clone()], LONG).await.unwrap();
    bench.eventually("the other process is told", async || bench.b.store.interest_changes() != before).await;
    let found = bench.b.store.interests().await.unwrap();
    assert_eq!(found.iter().map(|(interest, _)| interest.clone()).collect::<Vec<_>>(), [jobs, progress]);
    assert!(found.iter().all(|(_, left)| (1..=LONG).contains(left)), "{found:?}");
}

pub async fn n01_an_interest_ends_by_itself_and_a_longer_one_stays(bench: &Bench) {
    let (short, both) = (interest(Class::Job, "a"), interest(Class::Job, "b"));
    bench.a.store.listen(&[short, both.clone()], 20).await.unwrap();
    bench.b.store.listen(std::slice::from_ref(&both), LONG).await.unwrap();
    bench.a.store.listen(std::slice::from_ref(&both), 20).await.unwrap();
    bench.sleep(30).await;
    let found = bench.a.store.interests().await.unwrap();
    assert_eq!(found.iter().map(|(interest, _)| interest.clone()).collect::<Vec<_>>(), [both]);
}

pub async fn n01_there_are_only_so_many_interests(bench: &Bench) {
    let many = (0..longshore_model::limits::INTERESTS).map(|n| interest(Class::Job, &format!("a/{n}")));
    bench.a.store.listen(&many.collect::<Vec<_>>(), LONG).await.unwrap();
    let fault = bench.a.store.listen(&[interest(Class::Job, "b")], LONG).await.unwrap_err();
    assert!(!fault.is_passing(), "{fault}");
    bench.a.store.listen(&[interest(Class::Job, "a/1")], LONG).await.unwrap();
}

/// A job that was not started in time.
async fn late(bench: &Bench) -> JobId {
    let mut late = bench.job();
    late.admission.expires = Some(Expiry::After(20));
    let id = bench.accept(late).await;
    bench.sleep(40).await;
    id
}

async fn untold(bench: &Bench) -> Vec<(Kind, JobId)> {
    let all: Vec<Untold> = bench.a.store.untold(10).await.unwrap();
    let now = bench.a.store.ping().await.unwrap();
    assert!(all.iter().all(|untold| (1..=now).contains(&untold.at)), "{all:?}");
    all.iter().map(|untold| (untold.kind, untold.id)).collect()
}

pub async fn n01_what_happens_without_a_process_that_tells_it_is_kept_for_the_teller(bench: &Bench) {
    late(bench).await;
    bench.a.store.purge(&NOTHING, 10).await.unwrap();
    assert_eq!(untold(bench).await, [], "nobody listens");
    bench.a.store.listen(&[interest(Class::Progress, "**")], LONG).await.unwrap();
    late(bench).await;
    bench.a.store.purge(&NOTHING, 10).await.unwrap();
    assert_eq!(untold(bench).await, [], "nobody listens to jobs");

    bench.a.store.listen(&[interest(Class::Job, "**")], LONG).await.unwrap();
    let expired = late(bench).await;
    bench.a.store.purge(&NOTHING, 10).await.unwrap();
    let claimed = late(bench).await;
    bench.claim_as(&me(), LONG, bench.claim(claimed)).await;
    let lost = bench.queued().await;
    bench.run_for(&owner("dead", 1), lost, 1).await;
    bench.sleep(10).await;
    bench.rescue(10).await;
    let (stopped, mut last) = (bench.queued().await, bench.job());
    bench.run_for(&owner("dead", 2), stopped, 1).await;
    bench.stop(stopped).await;
    bench.sleep(10).await;
    bench.rescue(10).await;
    last.admission.max_crashes = 1;
    let last = bench.accept(last).await;
    bench.run_for(&owner("dead", 3), last, 1).await;
    bench.sleep(10).await;
    bench.rescue(10).await;
    assert_eq!(bench.state(last).await, State::GivenUp);
    let all = [
        (Kind::Removed, expired),
        (Kind::Removed, claimed),
        (Kind::Failed, lost),
        (Kind::Cancelled, stopped),
        (Kind::Cancelled, last),
    ];
    let first: Vec<_> = bench.b.store.untold(2).await.unwrap().iter().map(|untold| (untold.kind, untold.id)).collect();
    assert_eq!(first, all[..2], "oldest first, and no more than asked for");
    assert_eq!(untold(bench).await, all[2..]);
    assert_eq!(untold(bench).await, [], "each once");
}

pub async fn n01_what_a_process_brings_about_it_tells_itself(bench: &Bench) {
    bench.a.store.listen(&[interest(Class::Job, "**")], LONG).await.unwrap();
    bench.done().await;
    let (retried, fence) = bench.running().await;
    bench.finish(retried, fence, failed(LONG)).await;
    let (stopped, removed) = (bench.queued().await, bench.queued().await);
    bench.stop(stopped).await;
    bench.remove(removed).await;
    bench.run_for(&me(), bench.queued().await, LONG).await;
    assert_eq!(untold(bench).await, []);
}
