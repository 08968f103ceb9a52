//! Who listens to events: known to everybody for its time.

use super::bench::{Bench, LONG};
use longshore_model::event::{Class, Interest};

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
