//! One job for a key, for as long as its mode says (J04).

use super::bench::{Bench, LONG, failed, finish, me, succeeded};
use crate::error::NotAccepted;
use crate::store::{Accepted, Controlled, Finish, Finished, Known, NewJob, Renew};
use bytes::Bytes;
use longshore_model::id::JobId;
use longshore_model::record::{Start, State};
use longshore_model::transition::Answer;
use longshore_model::unique::{Unique, UniqueMode};
use std::collections::BTreeMap;

fn job(bench: &Bench, mode: UniqueMode, ms: u64, payload: u32) -> NewJob {
    let mut job = bench.job();
    let id = job.admission.id;
    job.admission.unique = Some(Unique { key: "the key".into(), mode, ms });
    if mode == UniqueMode::Debounce {
        job.admission.start = Start::After(ms);
    }
    job.envelope = Bytes::from(format!("{{\"v\":1,\"id\":\"{id}\",\"payload\":{payload}}}"));
    job
}

async fn payload(bench: &Bench, id: JobId) -> String {
    let snapshot = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    String::from_utf8(snapshot.envelope).unwrap()
}

async fn first(bench: &Bench, mode: UniqueMode) -> JobId {
    let job = job(bench, mode, 0, 1);
    let id = job.admission.id;
    let accepted = bench.enqueue(job).await;
    assert_eq!((accepted.id, accepted.existed), (id, false));
    id
}

async fn another(bench: &Bench, mode: UniqueMode, payload: u32) -> Accepted {
    bench.enqueue(job(bench, mode, 0, payload)).await
}

pub async fn j04_a_key_until_finished_is_free_when_its_job_has_ended(bench: &Bench) {
    let mode = UniqueMode::UntilFinished;
    let id = first(bench, mode).await;
    let twin = another(bench, mode, 2).await;
    assert_eq!((twin.id, twin.existed, twin.replaced, twin.state), (id, true, false, State::Queued));
    assert_eq!(bench.b.store.holder(&super::bench::topic(super::TOPIC), "the key").await.unwrap(), Some(id));
    let fence = bench.run(id).await;
    assert_eq!(another(bench, mode, 3).await.id, id);
    bench.finish(id, fence, failed(LONG)).await;
    assert_eq!(another(bench, mode, 4).await.id, id, "a retry is no end");
    assert!(payload(bench, id).await.contains("\"payload\":1"), "nothing of the others was taken");
    assert_eq!(bench.stop(id).await, Controlled::Known(Answer::Moved { state: State::Stopped }));
    assert_eq!(bench.b.store.holder(&super::bench::topic(super::TOPIC), "the key").await.unwrap(), None);
    let next = another(bench, mode, 5).await;
    assert!(next.id != id && !next.existed);
}

pub async fn a_key_until_started_is_free_when_its_job_starts(bench: &Bench) {
    let mode = UniqueMode::UntilStarted;
    let id = first(bench, mode).await;
    assert_eq!(another(bench, mode, 2).await.id, id);
    bench.run(id).await;
    let next = another(bench, mode, 3).await;
    assert!(next.id != id && !next.existed);
    assert_eq!(another(bench, mode, 4).await.id, next.id);
}

pub async fn a_key_for_a_period_outlives_its_job(bench: &Bench) {
    let period = |n| job(bench, UniqueMode::Period, 300, n);
    let id = bench.enqueue(period(1)).await.id;
    let fence = bench.run(id).await;
    bench.finish(id, fence, succeeded()).await;
    let twin = bench.enqueue(period(2)).await;
    assert_eq!((twin.id, twin.existed, twin.state), (id, true, State::Succeeded));
    bench.sleep(320).await;
    assert!(!bench.enqueue(period(3)).await.existed);
}

pub async fn debouncing_keeps_the_newest_payload_and_moves_the_time(bench: &Bench) {
    let debounced = |n| job(bench, UniqueMode::Debounce, LONG, n);
    let id = bench.enqueue(debounced(1)).await.id;
    let before = bench.record(id).await;
    bench.sleep(20).await;
    let mut newest = debounced(2);
    newest.labels = BTreeMap::from([("new".to_owned(), "yes".to_owned())]);
    let twin = bench.enqueue(newest).await;
    assert_eq!((twin.id, twin.existed, twin.replaced, twin.state), (id, true, true, State::Scheduled));
    let after = bench.record(id).await;
    assert!(after.due > before.due, "{:?} {:?}", before.due, after.due);
    assert_eq!(
        payload(bench, id).await,
        format!("{{\"v\":1,\"id\":\"{id}\",\"payload\":2}}"),
        "under the first one's id"
    );
    let labels = BTreeMap::from([("new".to_owned(), "yes".to_owned())]);
    assert_eq!(bench.find(crate::store::Query { labels, ..super::bench::everything() }).await, [id]);
    assert_eq!(bench.find(super::bench::everything()).await, [id], "there is one job");
}

pub async fn of_latest_one_runs_and_one_waits_with_the_newest_payload(bench: &Bench) {
    let mode = UniqueMode::Latest;
    let latest = |n| {
        let mut job = job(bench, mode, 0, n);
        job.admission.gates.order = Some(longshore_model::gate::GateName::order("main", "latest"));
        job
    };
    let runs = bench.enqueue(latest(1)).await.id;
    let again = bench.enqueue(latest(2)).await;
    assert_eq!((again.id, again.replaced, again.state), (runs, true, State::Queued), "it has not started");
    let record = bench.record(runs).await;
    assert_eq!((record.generation, again.generation), (again.generation, again.generation));
    assert!(again.generation.0 == 2 && record.outbox.is_some(), "the copy with the old payload is out of date");
    let fence = bench.run(runs).await;
    let waits = bench.enqueue(latest(3)).await;
    assert_eq!((waits.existed, waits.state), (false, State::Blocked));
    let newer = bench.enqueue(latest(4)).await;
    assert_eq!((newer.id, newer.replaced, newer.state), (waits.id, true, State::Blocked));
    assert!(payload(bench, waits.id).await.contains("\"payload\":4"));
    bench.finish(runs, fence, succeeded()).await;
    assert_eq!(bench.state(waits.id).await, State::Queued);
}

pub async fn a_follow_up_that_another_job_stands_for_is_told_so(bench: &Bench) {
    let mode = UniqueMode::UntilFinished;
    let id = first(bench, mode).await;
    let (parent, fence) = bench.running().await;
    let mut end = finish(parent, fence, succeeded());
    end.follow_ups = vec![job(bench, mode, 0, 9)];
    let finished = bench.a.store.finish(vec![end]).await.unwrap().remove(0);
    let Finished::Known { follow_ups, .. } = finished else { panic!("{finished:?}") };
    assert_eq!(follow_ups[0].as_ref().map(|accepted| (accepted.id, accepted.existed)), Ok((id, true)));
}

/// A store that turns out to have lost writes may have forgotten who has a key.
pub async fn no_new_key_is_given_for_a_while_after_the_store_went_back(bench: &Bench) {
    let mut heart = bench.b.store.heart().await.unwrap();
    let mut renew = Renew { owner: me(), lease_ms: 20_000, beat_ms: 10_000, running: Vec::new(), known: None };
    let known = heart.renew(&renew).await.unwrap().known;
    let job = |key: &str, again: bool| {
        let mut job = job(bench, UniqueMode::UntilFinished, 0, 1);
        job.admission.unique = Some(Unique { key: key.into(), mode: UniqueMode::UntilFinished, ms: 0 });
        NewJob { again, ..job }
    };
    let first = bench.accept(job("a", false)).await;
    renew.known = Some(Known { tick: known.tick + 1_000_000, ..known });
    heart.renew(&renew).await.unwrap();
    let sent = async |job: NewJob| bench.a.store.enqueue(vec![job]).await.unwrap().remove(0);
    match sent(job("new", false)).await {
        Err(NotAccepted::KeysWait { ms }) => assert!((15_000..=20_000).contains(&ms), "a lease: {ms}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(sent(job("a", false)).await.unwrap().id, first, "who has a key is known");
    bench.queued().await;
    let again = job("mine", true);
    assert_eq!(sent(again.clone()).await.unwrap().id, again.admission.id, "what was accepted before gets its key");
    assert_eq!(sent(job("mine", false)).await.unwrap().id, again.admission.id);
    assert!(matches!(sent(job("new", false)).await, Err(NotAccepted::KeysWait { .. })));
    // A unique follow-up job cannot be asked for again: it is sent.
    let (parent, fence) = bench.running().await;
    let end = Finish { follow_ups: vec![job("child", false)], ..finish(parent, fence, succeeded()) };
    match bench.a.store.finish(vec![end]).await.unwrap().remove(0) {
        Finished::Known { follow_ups, .. } => assert!(follow_ups[0].is_ok(), "{follow_ups:?}"),
        other => panic!("{other:?}"),
    }
}

pub async fn keys_of_other_topics_are_others(bench: &Bench) {
    let mode = UniqueMode::UntilFinished;
    first(bench, mode).await;
    let mut other = bench.job_on("test/other");
    other.admission.unique = Some(Unique { key: "the key".into(), mode, ms: 0 });
    assert!(!bench.enqueue(other).await.existed);
    assert!(!bench.enqueue(bench.job()).await.existed, "who names no key needs none");
}
