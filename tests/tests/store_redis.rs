//! What only the store on Redis promises: damage stays local, outages are told apart, nothing is left behind.
//! What every store promises is in link's conformance suite.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod redis_server;

use longshore_link::error::{Fault, NotAccepted};
use longshore_link::scrub::Mended;
use longshore_link::store::{
    Accepted, Beat, Claimed, Finish, Finished, NewJob, Nudge, Query, Renew, Report, Retention, Store,
};
use longshore_model::gate::{GateName, Gates};
use longshore_model::id::{Fence, JobId};
use longshore_model::indexed::{FieldRange, FieldValue};
use longshore_model::names::shard_keys;
use longshore_model::record::{Expiry, Start, State};
use longshore_model::snapshot::Progress;
use longshore_model::topology::Card;
use longshore_model::transition::{Answer, Verdict};
use longshore_model::unique::{Unique, UniqueMode};
use longshore_producer::{Producer, ProducerOptions};
use redis_server::{Server, claim, eventually, job, owner};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LONG: u64 = 600_000;

fn finish(id: JobId, fence: Fence, verdict: Verdict) -> Finish {
    Finish { id, fence, verdict, result: None, outputs: Vec::new(), report: Report::default(), follow_ups: Vec::new() }
}

fn succeeded() -> Verdict {
    Verdict::Succeeded { message: Some("well done".into()) }
}

async fn enqueue(store: &dyn Store, job: NewJob) -> JobId {
    let id = job.admission.id;
    store.enqueue(vec![job]).await.unwrap().remove(0).unwrap();
    id
}

async fn run(store: &dyn Store, id: JobId, lease_ms: u64) -> Fence {
    match store.claim(&owner("me", 1), lease_ms, vec![claim(id, "n")]).await.unwrap().remove(0) {
        Claimed::Known(Answer::Run { fence, .. }) => fence,
        other => panic!("{id} should run: {other:?}"),
    }
}

fn everything() -> Query {
    Query { limit: 1_000, ..Query::default() }
}

fn card(instance: &str, start: u64) -> Card {
    Card { name: instance.into(), cluster: instance.into(), slots: 1, ..Card::bare(owner(instance, start)) }
}

fn renew(instance: &str, running: Vec<(JobId, Fence)>) -> Renew {
    Renew { owner: owner(instance, 1), lease_ms: 2_000, beat_ms: LONG, running, known: None }
}

#[tokio::test]
async fn one_broken_record_does_not_fail_its_neighbours() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut ids = Vec::new();
    for _ in 0..7 {
        ids.push(enqueue(&*store, job("a")).await);
    }
    let record = |id: &JobId| Server::key(&format!("j:{id}"));
    // Read as packed: true, and the first of nine letters.
    let _: String = server.command(&["SET", &record(&ids[0]), "é"]).await;
    server.damage(&record(&ids[1]), "fe", "'nan'").await;
    server.damage(&record(&ids[2]), "st", "nil").await;
    let _: i64 = server.command(&["DEL", &record(&ids[3])]).await;
    let _: i64 = server.command(&["LPUSH", &record(&ids[3]), "nonsense"]).await;
    server.damage(&record(&ids[4]), "ct", "nil").await;
    server.damage(&record(&ids[5]), "st", "'lost'").await;
    let claims = ids.iter().map(|id| claim(*id, "n")).collect();
    let answers = store.claim(&owner("me", 1), LONG, claims).await.unwrap();
    let whys = ["unpacked", "field fe", "no state", "not a string", "no field ct", "unknown state"];
    for (answer, what) in answers.iter().zip(whys) {
        assert!(matches!(answer, Claimed::Damaged(why) if why.contains(what)), "{what}: {answer:?}");
    }
    assert!(matches!(answers[6], Claimed::Known(Answer::Run { .. })), "{:?}", answers[6]);

    let again = store.enqueue(vec![redis_server::job_with_id(ids[0], "a"), job("a")]).await.unwrap();
    assert!(matches!(again[0], Err(NotAccepted::Damaged { .. })), "{:?}", again[0]);
    assert!(again[1].is_ok());
    let finished = store.finish(vec![finish(ids[1], Fence(1), succeeded())]).await.unwrap();
    assert!(matches!(finished[0], Finished::Damaged(_)), "{finished:?}");
    assert!(store.records(ids.clone()).await.unwrap()[..6].iter().all(Option::is_none));
    store.heart().await.unwrap().renew(&renew("me", Vec::new())).await.unwrap();
    assert_eq!(store.rescue(10, LONG).await.unwrap().ended, 0);
    // The damaged ones are still in the outbox's index, out of the way of the others.
    eventually("the relay gets past them", async || {
        store.outbox(10, LONG).await.unwrap().iter().any(|out| !ids.contains(&out.id))
    })
    .await;
}

#[tokio::test]
async fn a_detail_of_another_type_is_replaced() {
    let server = Server::start().await;
    let store = server.store().await;
    let id = enqueue(&*store, job("a")).await;
    let fence = run(&*store, id, LONG).await;
    for suffix in ["x:", "l:", "a:"] {
        let _: String = server.command(&["SET", &Server::key(&format!("{suffix}{id}")), "nonsense"]).await;
    }
    let report = Report {
        progress: Some(Progress { step: 1, ..Progress::default() }),
        log: vec![("info".into(), "a \"line\"\n".into())],
        ..Report::default()
    };
    let verdict = Verdict::failed(0, "no \\ luck \u{1}");
    let answers = store.finish(vec![Finish { report, ..finish(id, fence, verdict) }]).await.unwrap();
    assert!(matches!(&answers[0], Finished::Known { answer: Answer::Moved { state: State::Queued }, .. }));
    let snapshot = store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!(snapshot.progress.unwrap().step, 1);
    assert_eq!(snapshot.log[0].text, "a \"line\"\n");
    assert_eq!(snapshot.attempts[0].error.as_deref(), Some("no \\ luck \u{1}"));
    assert_eq!(snapshot.record.message.as_deref(), Some("no \\ luck \u{1}"));
}

#[tokio::test]
async fn a_purge_leaves_a_tombstone_and_nothing_else() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut new = job("a/b");
    new.labels = BTreeMap::from([("customer".into(), "x y=z".into())]);
    new.admission.expires = Some(Expiry::After(LONG));
    let id = enqueue(&*store, new).await;
    let fence = run(&*store, id, LONG).await;
    let report = Report {
        progress: Some(Progress::default()),
        properties: BTreeMap::from([("name".into(), "1".into())]),
        log: vec![("info".into(), "line".into())],
        ..Report::default()
    };
    store.report(vec![(id, fence, report.clone())]).await.unwrap();
    store.finish(vec![finish(id, fence, Verdict::failed(0, "x"))]).await.unwrap();
    let fence = run(&*store, id, LONG).await;
    let done = Finish { result: Some("{}".into()), report, ..finish(id, fence, succeeded()) };
    store.finish(vec![done]).await.unwrap();
    let keep = Retention::of(LONG, 0);
    assert_eq!(store.purge(&keep, 10).await.unwrap().gone, 0);
    assert_eq!(store.purge(&Retention::of(0, 0), 10).await.unwrap().gone, 1);

    let keys: BTreeSet<String> = server.command::<Vec<String>>(&["KEYS", "*"]).await.into_iter().collect();
    let (tombstones, others): (Vec<_>, Vec<_>) = keys.iter().partition(|key| key.contains("tomb:"));
    let left: Vec<String> = ["n", "shard", "st:a/b main", "sts", "topics"].map(Server::key).into();
    assert_eq!(others.into_iter().cloned().collect::<Vec<_>>(), left);
    let ttl: i64 = server.command(&["TTL", tombstones[0]]).await;
    assert!((7_200..=10_800).contains(&ttl), "{ttl}");
    assert!(store.counts().await.unwrap().is_empty());
    assert_eq!(store.claim(&owner("me", 1), LONG, vec![claim(id, "late")]).await.unwrap(), [Claimed::Tombstone]);
}

/// What a job costs in the memory of the server, all of its keys and its share of the indexes together.
async fn bytes(server: &Server) -> u64 {
    let mut sum = 0;
    for key in server.command::<Vec<String>>(&["KEYS", "*"]).await {
        let used: u64 = server.command(&["MEMORY", "USAGE", &key, "SAMPLES", "0"]).await;
        // Two pointers and a hash for the key itself in the server's own table.
        sum += used + 24;
    }
    sum
}

/// `docs/operating.md` names these numbers.
#[tokio::test]
async fn l01_what_a_finished_job_costs_is_as_it_is_written_down() {
    const JOBS: usize = 1_000;
    let server = Server::start().await;
    let store = server.store().await;
    let empty = bytes(&server).await;
    let mut each = Vec::new();
    for (labels, result) in [(0, None), (2, Some(vec![b'1'; 200]))] {
        let mut ids = Vec::new();
        for n in 0..JOBS {
            let mut new = job("media/thumbnail");
            let payload = format!("{{\"v\":1,\"id\":\"{}\",\"payload\":{{\"asset\":\"{n:0100}\"}}}}", new.admission.id);
            new.envelope = payload.into();
            let label = |label: usize| (format!("label{label}"), format!("value {}", n % 10));
            new.labels = (0..labels).map(label).collect();
            ids.push(enqueue(&*store, new).await);
        }
        for id in &ids {
            let fence = run(&*store, *id, LONG).await;
            let result = result.clone().map(|digits| String::from_utf8(digits).unwrap());
            let done = Finish { result, ..finish(*id, fence, Verdict::Succeeded { message: None }) };
            store.finish(vec![done]).await.unwrap();
        }
        let used = bytes(&server).await - empty;
        each.push(used / JOBS as u64);
        store.erase().await.unwrap();
    }
    println!(
        "a finished job of 180 bytes: {} bytes; with two labels and a result of 200 bytes: {} bytes",
        each[0], each[1]
    );
    assert!((600..1_300).contains(&each[0]) && each[1] > each[0] && each[1] < 2_000, "{each:?}");
}

/// HI-05 to HI-07: a hundred instances come, work and go. What they leave goes with the history, and what has not ended
/// stays, whoever ran it.
#[tokio::test]
async fn l03_hi_05_hi_06_hi_07_what_dead_instances_leave_goes_and_their_jobs_stay() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut heart = store.heart().await.unwrap();
    let mut open = Vec::new();
    for n in 0..100 {
        let name = format!("i{n}");
        heart.beat(&Beat { card: card(&name, n), reached: 0, lease_ms: 1 }).await.unwrap();
        for ends in [true, false] {
            let id = enqueue(&*store, job("a/b")).await;
            let claims = vec![claim(id, "n")];
            let answer = store.claim(&owner(&name, n), 1, claims).await.unwrap().remove(0);
            let Claimed::Known(Answer::Run { fence, .. }) = answer else { panic!("{answer:?}") };
            if ends {
                store.finish(vec![finish(id, fence, succeeded())]).await.unwrap();
            } else {
                open.push(id);
            }
        }
    }
    eventually("the leases of all others have ended", async || {
        heart.beat(&Beat { card: card("last", 1), reached: 0, lease_ms: LONG }).await.unwrap();
        store.view().await.unwrap().instances.len() == 1
    })
    .await;
    let view = store.view().await.unwrap();
    assert_eq!(view.instances.iter().map(|card| card.name.as_str()).collect::<Vec<_>>(), ["last"]);
    let mut gone = 0;
    loop {
        let purged = store.purge(&Retention::of(0, LONG), 10).await.unwrap();
        gone += purged.gone;
        if !purged.more {
            break;
        }
    }
    assert_eq!(gone, 100);
    let records = store.records(open.clone()).await.unwrap();
    assert!(records.iter().all(|record| record.as_ref().is_some_and(|record| record.state == State::Active)));
    store.remove(open.clone()).await.unwrap();
    store.remove(open).await.unwrap();
    // Nothing is left of any of them but tombstones and when it was last seen, which have a time, and counters.
    let keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    let names: BTreeSet<&str> = keys.iter().filter_map(|key| key.split("}:").nth(1)).collect();
    let left: Vec<&str> = names.iter().copied().filter(|name| !name.starts_with("tomb:")).collect();
    let expected = [
        "cards",
        "hb",
        "inc",
        "joined",
        "n",
        "profiles",
        "seen",
        "shard",
        "st:a/b main",
        "started",
        "sts",
        "topics",
        "view",
    ];
    assert_eq!(left, expected);
    for key in ["cards", "inc", "profiles", "started"] {
        let key = keys.iter().find(|found| found.ends_with(&format!("}}:{key}"))).unwrap();
        assert_eq!(server.command::<u64>(&["HLEN", key]).await, 1, "{key}");
    }
}

#[tokio::test]
async fn a_dead_server_is_no_and_a_frozen_one_is_unknown() {
    let mut server = Server::start().await;
    let store = server.store().await;
    let id = enqueue(&*store, job("a")).await;
    server.freeze();
    let frozen = store.enqueue(vec![job("a")]).await.unwrap_err();
    assert!(frozen.is_unknown(), "{frozen}");
    server.thaw();
    eventually("it answers again", async || store.ping().await.is_ok()).await;
    server.kill();
    eventually("the death is noticed", async || {
        matches!(store.enqueue(vec![job("a")]).await, Err(Fault::Unreachable { .. }))
    })
    .await;
    server.resume().await;
    assert_eq!(store.records(vec![id]).await.unwrap()[0].as_ref().unwrap().state, State::Queued);
}

#[tokio::test]
async fn a_restart_between_two_calls_is_not_noticed() {
    let mut server = Server::start().await;
    let store = server.store().await;
    let mut nudges = store.nudges();
    server.kill();
    server.resume().await;
    enqueue(&*store, job("a")).await;
    loop {
        if nudges.recv().await.unwrap() == Nudge::Missed {
            break;
        }
    }
    // It listens again.
    enqueue(&*store, job("b")).await;
    while nudges.recv().await.unwrap() != Nudge::Topics {}
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = Server::start().await;
    let store = server.store().await;
    enqueue(&*store, job("a")).await;
    let _: String = server.command(&["SCRIPT", "FLUSH"]).await;
    enqueue(&*store, job("a")).await;
}

#[tokio::test]
async fn full_memory_refuses_new_jobs_and_lets_accepted_ones_end() {
    let server = Server::start().await;
    let store = server.store().await;
    let id = enqueue(&*store, job("a")).await;
    let _: String = server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = store.enqueue(vec![job("a")]).await.unwrap_err();
    assert!(matches!(&refused, Fault::Refused { detail, .. } if detail.contains("maxmemory")), "{refused}");
    let fence = run(&*store, id, LONG).await;
    let finished = store.finish(vec![finish(id, fence, succeeded())]).await.unwrap();
    assert!(matches!(&finished[0], Finished::Known { answer: Answer::Moved { .. }, .. }));
    assert_eq!(store.remove(vec![id]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn refusals_name_the_remedy_and_no_password() {
    let server = Server::start().await;
    let store = server.store().await;
    let _: String = server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let replica = store.enqueue(vec![job("a")]).await.unwrap_err();
    assert!(matches!(&replica, Fault::Refused { detail, .. } if detail.contains("primary")), "{replica}");
    let _: String = server.command(&["REPLICAOF", "NO", "ONE"]).await;
    let _: String = server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let alone = store.enqueue(vec![job("a")]).await.unwrap_err();
    assert!(matches!(&alone, Fault::Refused { detail, .. } if detail.contains("min-replicas")), "{alone}");
    let _: String = server.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;

    let _: String =
        server.command(&["ACL", "SETUSER", "weak", "on", ">hunter2", "~*", "&*", "+@all", "-evalsha"]).await;
    let weak = server.store_as("weak:hunter2@").await.unwrap();
    let denied = weak.enqueue(vec![job("a")]).await.unwrap_err();
    assert!(matches!(&denied, Fault::Refused { detail, .. } if detail.contains("rights")), "{denied}");
    let wrong = server.store_as("weak:hunter3@").await.unwrap_err();
    assert!(matches!(wrong, Fault::Refused { .. }), "{wrong}");
    for fault in [denied, wrong] {
        assert!(!fault.to_string().contains("hunter"), "{fault}");
    }
    assert!(!format!("{weak:?}").contains("hunter"), "{weak:?}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let fault = redis_server::redis_store(&format!("redis://{free}/")).await.unwrap_err();
    assert!(matches!(fault, Fault::Unreachable { .. }), "{fault}");
}

#[tokio::test]
async fn an_amnesty_does_not_outlast_a_clock_that_went_back() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut heart = store.heart().await.unwrap();
    let now = heart.renew(&renew("me", Vec::new())).await.unwrap().now;
    // What a clock that was an hour ahead left behind: a silence, and an amnesty because of it.
    let (shard, hour) = (Server::key(shard_keys::SHARD), now + 3_600_000);
    let ahead = |add: u64| (hour + add).to_string();
    for (field, value) in
        [("beat", ahead(900_000)), ("amnesty", ahead(2_000)), ("gap_from", ahead(0)), ("gap_to", ahead(0))]
    {
        server.command::<i64>(&["HSET", &shard, field, &value]).await;
    }
    let renewed = heart.renew(&renew("me", Vec::new())).await.unwrap();
    assert!(renewed.amnesty <= renewed.now + 2_000, "{renewed:?}");
    eventually("the amnesty ends", async || heart.renew(&renew("me", Vec::new())).await.unwrap().amnesty == 0).await;
}

#[tokio::test]
async fn a_restart_of_the_server_brings_an_amnesty() {
    let mut server = Server::start().await;
    let store = server.store().await;
    let id = enqueue(&*store, job("a")).await;
    run(&*store, id, 1).await;
    let mut heart = store.heart().await.unwrap();
    let mut other = store.heart().await.unwrap();
    assert_eq!(heart.renew(&renew("me", Vec::new())).await.unwrap().amnesty, 0, "the first use is no outage");
    eventually("the lease ends", async || heart.renew(&renew("me", Vec::new())).await.unwrap().expired == 1).await;
    heart.beat(&Beat { card: card("one", 1), reached: 0, lease_ms: 1_000 }).await.unwrap();
    other.beat(&Beat { card: card("two", 1), reached: 0, lease_ms: 1_000 }).await.unwrap();

    server.kill();
    server.resume().await;
    // Nobody has beaten since.
    assert_eq!(store.rescue(10, LONG).await.unwrap().runnable.len(), 0);
    assert_eq!(store.view().await.unwrap().instances.len(), 2);
    let renewed = heart.renew(&renew("me", Vec::new())).await.unwrap();
    assert!(renewed.amnesty > renewed.now && renewed.expired == 0, "{renewed:?}");
    let beaten = heart.beat(&Beat { card: card("one", 1), reached: 0, lease_ms: 1_000 }).await.unwrap();
    assert_eq!((beaten.view, beaten.coordinator), (2, true), "nobody was dropped");
    assert_eq!(store.rescue(10, LONG).await.unwrap().runnable.len(), 0);
    eventually("the amnesty ends", async || heart.renew(&renew("me", Vec::new())).await.unwrap().expired == 1).await;
    assert_eq!(store.rescue(10, LONG).await.unwrap().runnable[0].id, id);
    eventually("the other one is dropped", async || {
        heart.beat(&Beat { card: card("one", 1), reached: 0, lease_ms: 1_000 }).await.unwrap();
        store.view().await.unwrap().instances.len() == 1
    })
    .await;
}

#[tokio::test]
async fn callers_at_once_get_their_own_answers() {
    let server = Server::start().await;
    let store = server.store().await;
    let jobs: Vec<NewJob> = (0..1_000).map(|index| job(if index % 2 == 0 { "even" } else { "odd" })).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.admission.id).collect();
    let calls = jobs.chunks(7).map(|part| store.enqueue(part.to_vec()));
    for accepted in futures_util::future::join_all(calls).await {
        assert!(accepted.unwrap().into_iter().all(|answer| !answer.unwrap().existed));
    }
    let me = owner("me", 1);
    let claims = ids.iter().map(|id| store.claim(&me, LONG, vec![claim(*id, "n")]));
    let mut fences = BTreeMap::new();
    for (id, claimed) in ids.iter().zip(futures_util::future::join_all(claims).await) {
        let Claimed::Known(Answer::Run { fence, .. }) = claimed.unwrap()[0] else { panic!("{id} should run") };
        fences.insert(*id, fence);
    }
    let all: Vec<Finish> = ids.iter().map(|id| finish(*id, fences[id], succeeded())).collect();
    assert_eq!(store.finish(all).await.unwrap().len(), ids.len(), "more than one call takes");
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.values().map(|states| states[&State::Succeeded]).collect::<Vec<_>>(), [500, 500]);
    let records = store.records(ids.clone()).await.unwrap();
    for (id, record) in ids.iter().zip(records) {
        let record = record.unwrap();
        assert_eq!((record.id, record.fence), (*id, fences[id]));
    }
}

#[tokio::test]
async fn j10_what_lies_behind_many_others_is_found_by_parts_of_its_index() {
    const ALL: usize = 36_000;
    const LATE: usize = 14_000;
    let server = Server::start().await;
    let store = server.store().await;
    let mut jobs: Vec<NewJob> = (0..ALL).map(|_| job("a")).collect();
    for (index, job) in jobs.iter_mut().enumerate() {
        // Late ones have few values, and two texts; every seventh has neither.
        let number = if index < ALL - LATE { 0 } else { 1 + index % 3 };
        let text = if index < ALL - LATE { "early".to_owned() } else { format!("late{}", index % 2) };
        job.fields = if index % 7 == 0 {
            [("n".to_owned(), None)].into()
        } else {
            [("n", FieldValue::Number(number as f64)), ("t", FieldValue::Text(text))]
                .map(|(path, value)| (path.to_owned(), Some(value)))
                .into()
        };
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.admission.id).collect();
    while !jobs.is_empty() {
        let part = jobs.drain(..jobs.len().min(500)).collect();
        assert!(store.enqueue(part).await.unwrap().iter().all(Result::is_ok));
    }
    // They are listed by the moment in which they were accepted, and those of one moment by their ids.
    let records = store.records(ids.clone()).await.unwrap().into_iter().map(Option::unwrap);
    let created: BTreeMap<JobId, u64> = records.map(|record| (record.id, record.created)).collect();
    let late = |kept: &dyn Fn(usize) -> bool| {
        let late = (ALL - LATE..ALL).filter(|index| index % 7 != 0 && kept(*index));
        let mut late: Vec<JobId> = late.map(|index| ids[index]).collect();
        late.sort_by_key(|id| (created[id], *id));
        late
    };
    let number = |low: f64| FieldRange { path: "n".into(), low: Some(FieldValue::Number(low)), high: None };
    let text = FieldRange { path: "t".into(), low: Some(FieldValue::Text("late".into())), high: None };
    let ask = |templates: Vec<Vec<FieldRange>>| Query { templates, limit: 1_000, ..Query::default() };
    let questions = [
        (ask(vec![vec![number(1.0)]]), late(&|_| true)),
        (ask(vec![vec![text.clone()]]), late(&|_| true)),
        (ask(vec![vec![number(2.0), text.clone()]]), late(&|index| index % 3 != 0)),
        (ask(vec![vec![number(3.0)], vec![text]]), late(&|_| true)),
    ];
    for (query, expected) in questions {
        assert!(expected.len() > 7_000);
        let first = store.find(query.clone()).await.unwrap();
        assert_eq!(first.jobs, expected[..1_000]);
        let second = store.find(Query { cursor: first.next, ..query.clone() }).await.unwrap();
        assert_eq!(second.jobs, expected[1_000..2_000]);
    }
    // Of history, newest end first: what ended before many others.
    for part in ids[ALL - LATE..].chunks(500).chain(ids[..ALL - LATE].chunks(500)) {
        store.stop("somebody", part.to_vec()).await.unwrap();
    }
    let records = store.records(ids.clone()).await.unwrap().into_iter().map(Option::unwrap);
    let mut expected: Vec<(u64, JobId)> = (0..ALL)
        .zip(records)
        .filter(|(index, _)| *index >= ALL - LATE && index % 7 != 0)
        .map(|(_, record)| (record.finished.unwrap(), record.id))
        .collect();
    expected.sort_unstable_by(|one, other| other.cmp(one));
    let expected: Vec<JobId> = expected.into_iter().map(|(_, id)| id).collect();
    let query = Query { states: vec![State::Stopped], ..ask(vec![vec![number(1.0)]]) };
    let first = store.find(query.clone()).await.unwrap();
    assert_eq!(first.jobs, expected[..1_000]);
}

#[tokio::test]
async fn long_listings_have_every_job_once_and_in_order() {
    let server = Server::start().await;
    let store = server.store().await;
    let mut jobs: Vec<NewJob> =
        (0..2_500).map(|index| job(if index % 10 == 0 { "rare/one" } else { "often" })).collect();
    for job in jobs.iter_mut().step_by(100) {
        job.labels = BTreeMap::from([("colour".into(), "red".into())]);
    }
    for job in jobs.iter_mut().skip(1).step_by(2) {
        job.admission.start = Start::After(LONG);
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.admission.id).collect();
    store.enqueue(jobs).await.unwrap();
    let stopped: Vec<JobId> = ids.iter().copied().take(1_200).collect();
    for part in stopped.chunks(100) {
        store.stop("somebody", part.to_vec()).await.unwrap();
    }
    let page = async |query: Query| {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = store.find(Query { cursor, ..query.clone() }).await.unwrap();
            assert!(page.jobs.len() <= query.limit && (page.next.is_none() || page.jobs.len() == query.limit));
            all.extend(page.jobs);
            cursor = page.next;
            if cursor.is_none() {
                return all;
            }
        }
    };
    let records = async |ids: &[JobId]| -> Vec<_> {
        store.records(ids.to_vec()).await.unwrap().into_iter().map(Option::unwrap).collect::<Vec<_>>()
    };
    let all = page(Query { limit: 170, ..Query::default() }).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 2_500);
    let listed = records(&all).await;
    let open: Vec<_> = listed[..1_300].iter().map(|record| (record.created, record.id)).collect();
    assert!(open.is_sorted() && listed[..1_300].iter().all(|record| !record.state.is_terminal()));
    let ended: Vec<_> = listed[1_300..].iter().map(|record| (record.finished, record.id)).collect();
    assert!(ended.iter().rev().is_sorted());

    let red = Query { labels: BTreeMap::from([("colour".into(), "red".into())]), limit: 7, ..Query::default() };
    assert_eq!(page(red.clone()).await.len(), 25);
    let rare = Query { topic: Some("rare/*".parse().unwrap()), limit: 60, ..Query::default() };
    assert_eq!(page(rare.clone()).await.len(), 250);
    assert_eq!(page(Query { states: vec![State::Stopped], ..rare }).await.len(), 120);
    assert_eq!(page(Query { states: vec![State::Scheduled], limit: 999, ..everything() }).await.len(), 650);
    assert_eq!(page(Query { queue: Some("other".into()), ..everything() }).await.len(), 0);
    assert_eq!(page(Query { since: Some(u64::MAX >> 12), ..everything() }).await.len(), 0);
    assert!(store.find(Query { cursor: Some("o".into()), ..everything() }).await.is_err());
    let last =
        listed.iter().filter(|record| record.state == State::Queued).max_by_key(|record| (record.since, record.id));
    let last = last.unwrap();
    let same = listed.iter().filter(|record| record.state == State::Queued && record.topic == last.topic).count();
    assert_eq!(store.ahead(last.id).await.unwrap(), Some(same as u64 - 1));
}

#[tokio::test]
async fn one_broken_schedule_does_not_hold_up_the_others() {
    let server = Server::start().await;
    let store = server.store().await;
    let link = longshore_link::Link { store: store.clone(), ..longshore_link::Embedded::new(&world()).link(world()) };
    let producer = Producer::connect_with(link, ProducerOptions::default());
    for name in ["json", "type", "half", "sound"] {
        let job = producer.raw("a", "{}");
        producer.schedule(name).job(job).every(Duration::from_secs(1)).put().await.unwrap();
    }
    let key = |name: &str| Server::key(&format!("{}{name}", shard_keys::SCHEDULE));
    let _: i64 = server.command(&["HSET", &key("json"), "def", "{}"]).await;
    let _: i64 = server.command(&["DEL", &key("type")]).await;
    let _: String = server.command(&["SET", &key("type"), "nonsense"]).await;
    let _: i64 = server.command(&["HDEL", &key("half"), "rev"]).await;
    eventually("the sound one is due", async || {
        store.due_schedules(1).await.unwrap().kept.iter().any(|kept| kept.schedule.spec.name == "sound")
    })
    .await;
    assert_eq!(store.find_schedules(None, 10).await.unwrap().kept.len(), 1);
    for name in ["json", "type", "half"] {
        assert!(matches!(store.schedule(name).await, Err(Fault::Refused { .. })), "{name}");
        assert!(producer.schedule(name).remove().await.unwrap(), "{name} can be removed");
        assert!(producer.schedule(name).get().await.unwrap().is_none(), "{name}");
    }
}

fn world() -> longshore_link::World {
    longshore_link::World::system()
}

/// Rounds of scrubbing by two at once until each saw one end; what they mended.
async fn scrub(one: &dyn Store, other: &dyn Store) -> Mended {
    let round = async |store: &dyn Store| {
        let mut mended = Mended::default();
        loop {
            let step = store.scrub(5).await.unwrap();
            mended += step.mended;
            if step.round {
                return mended;
            }
        }
    };
    let (mut mended, more) = tokio::join!(round(one), round(other));
    mended += more;
    mended
}

#[tokio::test]
async fn t21_whatever_disagrees_with_a_record_is_mended_by_two_at_once() {
    let server = Server::start().await;
    let (store, other) = (server.store().await, server.store().await);
    let unique = |key: &str| Some(Unique { key: key.into(), mode: UniqueMode::UntilFinished, ms: 0 });
    let order = GateName::order("main", "k");
    let ordered = || {
        let mut job = job("line");
        job.admission.gates = Gates { order: Some(order.clone()), ..Gates::default() };
        job
    };
    let mut keyed = job("a");
    keyed.labels = BTreeMap::from([("colour".into(), "red".into())]);
    keyed.fields = longshore_model::indexed::read(r#"{"n":7,"t":"x"}"#, &["n".into(), "t".into()]);
    keyed.admission.unique = unique("keyed");
    keyed.admission.expires = Some(Expiry::After(LONG));
    let mut ended = job("a");
    ended.admission.unique = unique("ended");
    let mut delayed = job("a");
    delayed.admission.start = Start::After(LONG);
    let keyed = enqueue(&*store, keyed).await;
    let ended = enqueue(&*store, ended).await;
    let delayed = enqueue(&*store, delayed).await;
    let (holder, blocked) = (enqueue(&*store, ordered()).await, enqueue(&*store, ordered()).await);
    store.stop("a test", vec![ended]).await.unwrap();
    assert_eq!(scrub(&*store, &*other).await, Mended::default(), "a sound store is left alone");

    let gone = JobId::new(1, [7; 16], 0).to_string();
    let text = keyed.to_string();
    let of = |kind: &str, name: &str| Server::key(&format!("{kind}{name}"));
    // Of one job, each index that should have it, and one that should not.
    let term = |value: &str| format!("\u{1}{value}");
    for index in [
        of(shard_keys::STATE, "queued"),
        Server::key(shard_keys::OPEN),
        of(shard_keys::TOPIC, "a"),
        of(shard_keys::QUEUE, "main"),
        of(shard_keys::LABEL, "colour=red"),
        of(shard_keys::LABEL, &term("n\u{1}n7e0")),
        of(shard_keys::NUMBERS, "n"),
        Server::key(shard_keys::OUTBOX),
        Server::key(shard_keys::EXPIRY),
    ] {
        assert_eq!(server.command::<i64>(&["ZREM", &index, &text]).await, 1, "{index}");
    }
    let member = format!("x\0{text}");
    assert_eq!(server.command::<i64>(&["ZREM", &of(shard_keys::TEXTS, "t"), &member]).await, 1);
    let _: i64 = server.command(&["ZADD", &of(shard_keys::STATE, "active"), "1", &text]).await;
    // A time that is not the record's.
    let _: i64 = server.command(&["ZADD", &of(shard_keys::STATE, "scheduled"), "1", &delayed.to_string()]).await;
    // Entries without a job.
    for index in [Server::key(shard_keys::OPEN), of(shard_keys::LABEL, "colour=red"), of(shard_keys::STATE, "error")] {
        let _: i64 = server.command(&["ZADD", &index, "1", &gone]).await;
    }
    // A key that its job lost, one of a job that has ended, and one of a job that is gone.
    let _: i64 = server.command(&["DEL", &of(shard_keys::UNIQUE, "a\nkeyed")]).await;
    let _: String = server.command(&["SET", &of(shard_keys::UNIQUE, "a\nended"), &ended.to_string()]).await;
    let _: String = server.command(&["SET", &of(shard_keys::UNIQUE, "a\ngone"), &gone]).await;
    // An order that somebody holds who has ended, and a job that is in no line.
    let _: i64 = server.command(&["ZADD", &of(shard_keys::HOLDERS, order.as_str()), "1", &ended.to_string()]).await;
    let line = of(shard_keys::WAITERS, &format!("{}\n", order.as_str()));
    assert_eq!(server.command::<i64>(&["ZREM", &line, &blocked.to_string()]).await, 1);

    // Ten indexes and a score and a line; four entries; three keys; a holder.
    let mended = scrub(&*store, &*other).await;
    assert_eq!((mended.keys, mended.holders), (3, 1), "{mended:?}");
    // The entry in the wrong state is found by its job, or by its own index, whoever comes first.
    assert_eq!(mended.indexes + mended.entries, 16, "{mended:?}");
    let found = Query { labels: BTreeMap::from([("colour".into(), "red".into())]), ..everything() };
    assert_eq!(store.find(found).await.unwrap().jobs, [keyed]);
    assert!(store.ledger().await.unwrap().drifts().is_empty());
    let topic = longshore_model::topic::Topic::new("a").unwrap();
    assert_eq!(store.holder(&topic, "keyed").await.unwrap(), Some(keyed));
    assert_eq!(store.holder(&topic, "ended").await.unwrap(), None);
    assert_eq!(store.holder(&topic, "gone").await.unwrap(), None);
    store.stop("a test", vec![holder]).await.unwrap();
    let states: Vec<_> =
        store.records(vec![blocked, delayed]).await.unwrap().into_iter().map(|r| r.unwrap().state).collect();
    assert_eq!(states, [State::Queued, State::Scheduled], "the next in line passes, and what waits for its time waits");
    assert_eq!(scrub(&*store, &*other).await, Mended::default(), "once is enough");
    let so_far = other.scrubbing().await.unwrap();
    assert_eq!((so_far.mended, so_far.rounds >= 3), (mended, true));
}

#[tokio::test]
async fn no_new_unique_key_is_given_for_a_while_after_a_restart() {
    let mut server = Server::start().await;
    let store = server.store().await;
    let job = |key: &str| {
        let mut job = job("a");
        job.admission.unique = Some(Unique { key: key.into(), mode: UniqueMode::UntilFinished, ms: 0 });
        job
    };
    let send = async |store: &dyn Store, job: NewJob| store.enqueue(vec![job]).await.unwrap().remove(0);
    let waits = |sent: Result<Accepted, NotAccepted>| match sent {
        Err(NotAccepted::KeysWait { ms }) => assert!((8_000..=10_000).contains(&ms), "{ms}"),
        other => panic!("a new key: {other:?}"),
    };
    // A new store gives keys at once.
    let first = send(&*store, job("a")).await.unwrap().id;
    server.kill();
    server.resume().await;
    eventually("the store answers again", async || store.ping().await.is_ok()).await;
    waits(send(&*store, job("b")).await);
    assert_eq!(send(&*store, job("a")).await.unwrap().id, first, "who has a key is known");
    assert!(send(&*store, redis_server::job("a")).await.is_ok(), "jobs without a key do not wait");
    assert!(send(&*store, NewJob { again: true, ..job("c") }).await.is_ok(), "nor what was accepted before");
    let later = server.store().await;
    waits(send(&*later, job("b")).await);
    // The time passes.
    let shard = Server::key(shard_keys::SHARD);
    let _: i64 = server.command(&["HINCRBY", &shard, "keys_from", "-10000"]).await;
    assert!(send(&*later, job("b")).await.is_ok() && send(&*store, job("d")).await.is_ok());

    // Emptied as well, only somebody who knew it before can tell it from a new one.
    let _: String = server.command(&["FLUSHALL"]).await;
    server.kill();
    server.resume().await;
    eventually("the store answers again", async || store.ping().await.is_ok()).await;
    waits(send(&*store, job("a")).await);
    waits(send(&*server.store().await, job("a")).await);
}
