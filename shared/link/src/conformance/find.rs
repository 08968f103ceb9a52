//! What people ask (J08, J10): snapshots, listings, counts.

use super::bench::{Bench, LONG, everything, me, normal, permanent, succeeded, topic, urgent};
use crate::error::Fault;
use crate::store::{NewJob, Query, Rebuild};
use longshore_model::id::JobId;
use longshore_model::indexed::{self, FieldRange};
use longshore_model::limits;
use longshore_model::record::{Start, State};
use longshore_model::topic::TopicPattern;
use longshore_model::unique::{Unique, UniqueMode};
use std::collections::BTreeMap;

/// Accepts jobs at different times.
async fn spaced(bench: &Bench, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(bench.queued().await);
        bench.sleep(5).await;
    }
    ids
}

/// Ends a job and lets some time pass.
async fn end(bench: &Bench, id: JobId) {
    let fence = bench.run(id).await;
    bench.finish(id, fence, succeeded()).await;
    bench.sleep(5).await;
}

pub async fn j08_a_snapshot_has_everything(bench: &Bench) {
    let mut job = bench.job();
    job.admission.start = Start::After(LONG);
    let id = bench.accept(job.clone()).await;
    let unknown = bench.a.world.job_id(None);
    let mut found = bench.b.store.load(vec![unknown, id]).await.unwrap();
    assert!(found.remove(0).is_none());
    let snapshot = found.remove(0).unwrap();
    assert_eq!(snapshot.record, bench.record(id).await);
    assert_eq!(snapshot.envelope, job.envelope);
    assert!(snapshot.now >= snapshot.record.created);
    assert_eq!((snapshot.result, snapshot.progress, snapshot.log.len()), (None, None, 0));
    assert!(snapshot.outputs.is_empty() && snapshot.attempts.is_empty() && snapshot.properties.is_empty());
}

pub async fn j07_j10_unfinished_jobs_come_oldest_first(bench: &Bench) {
    let ids = spaced(bench, 4).await;
    bench.run(ids[2]).await;
    assert_eq!(bench.find(everything()).await, ids);
    assert_eq!(bench.find(Query { states: vec![State::Active], ..everything() }).await, [ids[2]]);
    let both = Query { states: vec![State::Queued, State::Active], limit: 3, ..everything() };
    assert_eq!(bench.find(both).await, ids[..3]);
}

pub async fn j07_j10_history_comes_newest_first(bench: &Bench) {
    let ids = spaced(bench, 3).await;
    for id in [ids[1], ids[0]] {
        end(bench, id).await;
    }
    bench.stop(ids[2]).await;
    let ended = Query { states: vec![State::Succeeded, State::Stopped], ..everything() };
    assert_eq!(bench.find(ended).await, [ids[2], ids[0], ids[1]]);
    assert_eq!(bench.find(Query { states: vec![State::Succeeded], ..everything() }).await, [ids[0], ids[1]]);
}

pub async fn unfinished_jobs_come_before_history(bench: &Bench) {
    let ids = spaced(bench, 3).await;
    end(bench, ids[0]).await;
    assert_eq!(bench.find(everything()).await, [ids[1], ids[2], ids[0]]);
}

pub async fn j10_by_topic_pattern(bench: &Bench) {
    let mut ids = BTreeMap::new();
    for name in ["media/a", "media/a/b", "media/c", "other"] {
        ids.insert(name, bench.accept(bench.job_on(name)).await);
        bench.sleep(5).await;
    }
    for (pattern, expected) in [
        ("media/a", vec!["media/a"]),
        ("media/*", vec!["media/a", "media/c"]),
        ("media/**", vec!["media/a", "media/a/b", "media/c"]),
        ("**", vec!["media/a", "media/a/b", "media/c", "other"]),
        ("nothing", vec![]),
    ] {
        let query = Query { topic: Some(TopicPattern::new(pattern).unwrap()), ..everything() };
        let expected: Vec<JobId> = expected.iter().map(|name| ids[name]).collect();
        assert_eq!(bench.find(query).await, expected, "{pattern}");
    }
}

pub async fn j10_by_queue(bench: &Bench) {
    let mut job = bench.job();
    job.admission.queue = "slow".into();
    let (slow, _main) = (bench.accept(job).await, bench.queued().await);
    let slow_only = Query { queue: Some("slow".into()), ..everything() };
    assert_eq!(bench.find(slow_only.clone()).await, [slow]);
    end(bench, slow).await;
    assert_eq!(bench.find(slow_only).await, [slow], "history as well");
}

pub async fn j10_by_every_label(bench: &Bench) {
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let labelled = |pairs: &[(&str, &str)]| {
        let mut job = bench.job();
        job.labels = labels(pairs);
        job
    };
    let red = bench.accept(labelled(&[("colour", "red")])).await;
    bench.sleep(5).await;
    let both = bench.accept(labelled(&[("colour", "red"), ("tenant", "a=b c")])).await;
    bench.queued().await;
    let find = async |pairs: &[(&str, &str)]| bench.find(Query { labels: labels(pairs), ..everything() }).await;
    assert_eq!(find(&[("colour", "red")]).await, [red, both]);
    assert_eq!(find(&[("colour", "red"), ("tenant", "a=b c")]).await, [both]);
    assert!(find(&[("colour", "blue")]).await.is_empty());
    bench.remove(both).await;
    bench.remove(both).await;
    assert_eq!(find(&[("colour", "red")]).await, [red], "a purged job is in no index");
}

/// A job of which these fields of its payload are indexed.
fn with_fields(bench: &Bench, payload: &str) -> NewJob {
    let mut job = bench.job();
    job.fields = indexed::read(payload, &["size".to_owned(), "name".to_owned()]);
    job
}

/// The ranges of conditions.
fn ranges(conditions: &[&str]) -> Vec<FieldRange> {
    conditions.iter().map(|condition| FieldRange::of(&condition.parse().unwrap()).unwrap()).collect()
}

/// What fits one of the templates.
async fn fitting(bench: &Bench, templates: &[&[&str]]) -> Vec<JobId> {
    let templates = templates.iter().map(|conditions| ranges(conditions)).collect();
    bench.find(Query { templates, ..everything() }).await
}

pub async fn j10_indexed_fields_answer_by_value_and_by_range(bench: &Bench) {
    let long = |end: &str| format!("{}{end}", "ä".repeat(limits::INDEXED_CHARS));
    let payloads = [
        r#"{"size":-3,"name":"cat"}"#.to_owned(),
        r#"{"size":2.5,"name":"dog"}"#.to_owned(),
        r#"{"size":10,"name":"do"}"#.to_owned(),
        r#"{"size":"10","name":7}"#.to_owned(),
        r#"{"size":null}"#.to_owned(),
        format!(r#"{{"size":10.0,"name":"{}"}}"#, long("b")),
    ];
    let mut ids = Vec::new();
    for payload in &payloads {
        ids.push(bench.accept(with_fields(bench, payload)).await);
        bench.sleep(5).await;
    }
    bench.queued().await;
    let these = |places: &[usize]| places.iter().map(|place| ids[*place]).collect::<Vec<_>>();
    let long_name = format!("name={}", long("b"));
    // The index does not know how this one ends.
    let longer = format!("name>={}", long("c"));
    for (conditions, expected) in [
        (&["size=10"] as &[&str], &[2_usize, 5] as &[usize]),
        (&["size=\"10\""], &[3]),
        (&["size=11"], &[]),
        (&["size>=2.5"], &[1, 2, 5]),
        (&["size<=2.5"], &[0, 1]),
        (&["size>=-1e300", "size<=1e300"], &[0, 1, 2, 5]),
        (&["name>=do"], &[1, 2, 5]),
        (&["name>=dob", "name<=dog"], &[1]),
        (&["name<=do"], &[0, 2]),
        (&["name=do"], &[2]),
        (&["name=7"], &[3]),
        (&[&long_name], &[5]),
        (&[&longer], &[5]),
        (&["size>=0", "name<=dog"], &[1, 2]),
        (&["size=10", "name=do"], &[2]),
    ] {
        assert_eq!(fitting(bench, &[conditions]).await, these(expected), "{conditions:?}");
    }
    let either = fitting(bench, &[&["size<=0"], &["name=dog", "size>=2"], &["size=10", "name=cat"]]).await;
    assert_eq!(either, these(&[0, 1]), "any template, all of its ranges");
    end(bench, ids[1]).await;
    end(bench, ids[0]).await;
    assert_eq!(fitting(bench, &[&["size<=10"]]).await, these(&[2, 5, 0, 1]), "history follows, newest end first");
    let of = |state| Query { states: vec![state], templates: vec![ranges(&["size>=0"])], ..everything() };
    assert_eq!(bench.find(of(State::Succeeded)).await, these(&[1]));
    let topic = Some(TopicPattern::new("test/two").unwrap());
    assert!(bench.find(Query { topic, ..of(State::Queued) }).await.is_empty());
}

pub async fn j10_index_entries_follow_the_payload_and_go_with_the_job(bench: &Bench) {
    let unique = Some(Unique { key: "k".into(), mode: UniqueMode::Debounce, ms: LONG });
    let sized = |size: u32| {
        let mut job = with_fields(bench, &format!("{{\"size\":{size}}}"));
        job.admission.unique.clone_from(&unique);
        job.admission.start = Start::After(LONG);
        job.envelope = format!("{{\"v\":1,\"id\":\"{}\",\"n\":{size}}}", job.admission.id).into();
        job
    };
    let first = bench.accept(sized(1)).await;
    bench.accept(sized(2)).await;
    assert!(fitting(bench, &[&["size=1"]]).await.is_empty(), "the newest payload is what is found");
    assert_eq!(fitting(bench, &[&["size>=0"]]).await, [first]);
    bench.remove(first).await;
    assert_eq!(fitting(bench, &[&["size>=0"]]).await, [first], "it is in the history");
    bench.remove(first).await;
    assert!(fitting(bench, &[&["size>=0"]]).await.is_empty() && fitting(bench, &[&["size=2"]]).await.is_empty());
    // Made again of its message, a job is found as before.
    let job = with_fields(bench, r#"{"size":3}"#);
    let (claim, enqueued) = (bench.claim(job.admission.id), bench.a.store.ping().await.unwrap());
    let rebuild = Rebuild { job: job.clone(), enqueued, claim };
    bench.a.store.rebuild(&me(), LONG, rebuild).await.unwrap();
    assert_eq!(fitting(bench, &[&["size>=3"]]).await, [job.admission.id]);
}

pub async fn j10_a_field_is_indexed_of_all_jobs_or_not(bench: &Bench) {
    let paths = ["size".to_owned(), "name".to_owned(), "other".to_owned()];
    let of = async |pattern: &str| {
        let pattern = TopicPattern::new(pattern).unwrap();
        bench.a.store.indexed(Some(&pattern), &paths).await.unwrap()
    };
    let id = bench.accept(with_fields(bench, r#"{"size":1}"#)).await;
    assert_eq!(of("test/one").await, [true, true, false], "also where the payload has nothing there");
    let plain = bench.accept(bench.job_on("test/two")).await;
    assert_eq!(of("test/one").await, [true, true, false]);
    assert_eq!((of("test/*").await, of("test/two").await), (vec![false; 3], vec![false; 3]));
    assert_eq!(bench.a.store.indexed(None, &paths).await.unwrap(), [false; 3]);
    for id in [plain, plain] {
        bench.remove(id).await;
    }
    assert_eq!(bench.a.store.indexed(None, &paths).await.unwrap(), [true, true, false]);
    let more = bench.queued().await;
    assert_eq!(of("test/one").await, [false; 3], "one job without it is enough");
    for id in [more, more, id, id] {
        bench.remove(id).await;
    }
    assert_eq!(of("test/one").await, [true; 3], "of no jobs all are");
}

pub async fn j10_by_time(bench: &Bench) {
    let ids = spaced(bench, 3).await;
    let since = Some(bench.record(ids[1]).await.created);
    assert_eq!(bench.find(Query { since, ..everything() }).await, ids[1..]);
}

pub async fn j10_pages_go_on_where_the_last_one_ended(bench: &Bench) {
    let ids = spaced(bench, 5).await;
    end(bench, ids[0]).await;
    end(bench, ids[1]).await;
    let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = bench.a.store.find(Query { limit: 2, cursor, ..everything() }).await.unwrap();
        assert!(page.jobs.len() <= 2);
        seen.extend(page.jobs);
        pages += 1;
        cursor = page.next;
        if pages == 1 {
            // What comes in meanwhile is newer than everything that is still to come among the unfinished.
            end(bench, ids[2]).await;
        }
        if cursor.is_none() || pages > 9 {
            break;
        }
    }
    assert_eq!(seen[..3], [ids[2], ids[3], ids[4]]);
    assert_eq!(seen[seen.len() - 2..], [ids[1], ids[0]]);
    assert!(pages <= 9, "a listing ends");
}

pub async fn a_strange_cursor_is_refused(bench: &Bench) {
    bench.queued().await;
    for cursor in ["nonsense", "h:x:y"] {
        let found = bench.a.store.find(Query { cursor: Some(cursor.into()), ..everything() }).await;
        assert!(matches!(found, Err(Fault::Refused { .. })), "{cursor}: {found:?}");
    }
}

pub async fn counts_agree_with_listings(bench: &Bench) {
    let mut delayed = bench.job_on("test/two");
    delayed.admission.start = Start::After(LONG);
    bench.accept(delayed).await;
    bench.queued().await;
    bench.done().await;
    let (broken, fence) = bench.running().await;
    bench.finish(broken, fence, permanent()).await;
    let expired = bench.queued().await;
    bench.run_for(&me(), expired, 1).await;
    bench.sleep(10).await;
    bench.rescue(10).await;
    bench.running().await;
    let counts = bench.a.store.counts().await.unwrap();
    let one: BTreeMap<State, u64> =
        [(State::Queued, 2), (State::Active, 1), (State::Succeeded, 1), (State::Error, 1)].into();
    assert_eq!(counts, [(topic("test/one"), one), (topic("test/two"), [(State::Scheduled, 1)].into())].into());
    for state in State::ALL {
        let listed = bench.find(Query { states: vec![state], ..everything() }).await.len();
        let counted: u64 = counts.values().filter_map(|states| states.get(&state)).sum();
        assert_eq!(u64::try_from(listed).unwrap(), counted, "{state}");
    }
}

pub async fn jobs_ahead_are_those_of_the_topic_that_came_first(bench: &Bench) {
    let ids = spaced(bench, 3).await;
    bench.accept(bench.job_on("test/two")).await;
    let ahead = async |id| bench.a.store.ahead(id).await.unwrap();
    assert_eq!([ahead(ids[0]).await, ahead(ids[1]).await, ahead(ids[2]).await], [Some(0), Some(1), Some(2)]);
    bench.run(ids[0]).await;
    assert_eq!([ahead(ids[0]).await, ahead(ids[2]).await], [None, Some(1)]);
    assert_eq!(ahead(bench.a.world.job_id(None)).await, None);
    let first = bench.accept(urgent(bench.job())).await;
    bench.sleep(5).await;
    let second = bench.accept(urgent(bench.job())).await;
    assert_eq!([ahead(first).await, ahead(second).await], [Some(0), Some(1)], "others are in the other lane");
    bench.sleep(5).await;
    let last = bench.queued().await;
    assert_eq!(ahead(last).await, Some(4));
}

pub async fn topics_are_known_once_named(bench: &Bench) {
    bench.queued().await;
    bench.a.store.know(vec![normal("b"), normal("a"), normal("b")]).await.unwrap();
    bench.a.store.know(vec![normal("a")]).await.unwrap();
    let mut topics = bench.b.store.topics().await.unwrap();
    topics.sort();
    assert_eq!(topics, [topic("a"), topic("b"), topic("test/one")]);
}
