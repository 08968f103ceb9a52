//! Which job needs which blob, and the place that was agreed on: what keeps files from being deleted too early.

use super::bench::{Bench, LONG};
use crate::blobs::Content;
use longshore_model::id::JobId;

fn digest(text: &str) -> String {
    Content::of(text.as_bytes()).sha256
}

async fn keeps(bench: &Bench, job: JobId, texts: &[&str]) -> bool {
    let digests: Vec<_> = texts.iter().map(|text| digest(text)).collect();
    bench.a.store.keep_files(job, &digests).await.unwrap()
}

async fn doomed(bench: &Bench, text: &str) -> bool {
    let digests = [digest(text)];
    let doomed = bench.b.store.doom_files(&digests, false).await.unwrap();
    assert!(doomed.is_empty() || doomed == digests);
    !doomed.is_empty()
}

pub async fn o04_what_a_job_needs_stays_and_what_nobody_needs_may_go(bench: &Bench) {
    let (one, other) = (bench.a.world.job_id(None), bench.a.world.job_id(None));
    assert!(keeps(bench, one, &["both", "mine"]).await);
    assert!(keeps(bench, one, &["mine"]).await, "saying it again changes nothing");
    assert!(keeps(bench, other, &["both"]).await);
    assert!(!doomed(bench, "both").await && !doomed(bench, "mine").await);
    assert!(doomed(bench, "of nobody").await);
}

pub async fn what_is_being_deleted_cannot_be_needed_until_that_is_over(bench: &Bench) {
    let job = bench.a.world.job_id(None);
    assert!(doomed(bench, "old").await);
    assert!(!keeps(bench, job, &["new", "old"]).await);
    assert!(doomed(bench, "new").await, "it was all or nothing");
    let digests = [digest("new"), digest("old")];
    bench.b.store.doom_files(&digests, true).await.unwrap();
    assert!(keeps(bench, job, &["new", "old"]).await);
    assert!(!doomed(bench, "old").await);
}

pub async fn files_of_a_known_job_stay_and_those_of_a_forgotten_one_are_released(bench: &Bench) {
    let known = bench.queued().await;
    let never_came = bench.a.world.job_id(None);
    assert!(keeps(bench, known, &["known"]).await && keeps(bench, never_came, &["orphan"]).await);
    assert_eq!(bench.b.store.release_files(LONG, 10).await.unwrap(), 0, "both were said a moment ago");
    assert!(!doomed(bench, "orphan").await);
    bench.sleep(3).await;
    assert_eq!(bench.b.store.release_files(1, 10).await.unwrap(), 2);
    assert!(!doomed(bench, "known").await && doomed(bench, "orphan").await);
    // A job that was removed and purged is unknown.
    bench.a.store.remove(vec![known]).await.unwrap();
    bench.a.store.remove(vec![known]).await.unwrap();
    bench.sleep(3).await;
    assert_eq!(bench.b.store.release_files(1, 10).await.unwrap(), 1);
    assert!(doomed(bench, "known").await);
}

pub async fn a_release_is_bounded_oldest_first(bench: &Bench) {
    for text in ["first", "second", "third"] {
        assert!(keeps(bench, bench.a.world.job_id(None), &[text]).await);
        bench.sleep(3).await;
    }
    assert_eq!(bench.b.store.release_files(1, 2).await.unwrap(), 2);
    assert!(doomed(bench, "first").await && doomed(bench, "second").await && !doomed(bench, "third").await);
}

pub async fn the_first_place_is_agreed_on_until_somebody_replaces_it(bench: &Bench) {
    let (a, b) = (&bench.a.store, &bench.b.store);
    assert_eq!(a.file_place(None, false).await.unwrap(), None);
    let first = a.file_place(Some("one"), false).await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.since), ("one", first.now));
    bench.sleep(3).await;
    let same = b.file_place(Some("two"), false).await.unwrap().unwrap();
    assert_eq!((same.id.as_str(), same.since), ("one", first.since));
    assert!(same.now > first.now);
    let second = b.file_place(Some("two"), true).await.unwrap().unwrap();
    assert_eq!(second.id, "two");
    assert!(second.since > first.since);
    assert_eq!(a.file_place(None, false).await.unwrap().unwrap().since, second.since);
}
