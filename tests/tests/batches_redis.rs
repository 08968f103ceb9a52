//! A batch of a hundred in which one record is broken, and one whose reply is lost: everybody else is done, once.
//!
//! Each operation that is called in batches (enqueue, claim, finish) is tried with both, on a real server; the reply
//! is cut by a proxy after the request has got through, so that the server has done what nobody was told.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod redis_server;

use longshore_link::error::NotAccepted;
use longshore_link::store::{Claimed, Finish, Finished, Report, Store};
use longshore_model::id::{Fence, JobId};
use longshore_model::record::State;
use longshore_model::transition::{Answer, Verdict};
use longshore_tests::proxy::Proxy;
use redis_server::{Server, claim, job, owner};

const LONG: u64 = 600_000;
const JOBS: usize = 100;
/// Which of the batch is broken.
const BROKEN: usize = 41;
/// How often each reply is cut.
const CUTS: usize = 20;

fn finish(id: JobId, fence: Fence) -> Finish {
    Finish {
        id,
        fence,
        verdict: Verdict::Succeeded { message: None },
        result: None,
        outputs: Vec::new(),
        report: Report::default(),
        follow_ups: Vec::new(),
    }
}

async fn enqueue(store: &dyn Store, ids: &[JobId]) -> Vec<Option<NotAccepted>> {
    let jobs = ids.iter().map(|id| redis_server::job_with_id(*id, "a")).collect();
    store.enqueue(jobs).await.unwrap().into_iter().map(Result::err).collect()
}

/// The fences that were given out; `None` where the store refused.
async fn claim_all(store: &dyn Store, ids: &[JobId]) -> Vec<Option<Fence>> {
    let claims = ids.iter().map(|id| claim(*id, &format!("nonce of {id}"))).collect();
    let answers = store.claim(&owner("me", 1), LONG, claims).await.unwrap();
    let fence = |answer| match answer {
        Claimed::Known(Answer::Run { fence, .. }) => Some(fence),
        Claimed::Damaged(_) => None,
        other => panic!("should run: {other:?}"),
    };
    answers.into_iter().map(fence).collect()
}

async fn finish_all(store: &dyn Store, ids: &[JobId], fences: &[Fence]) -> Vec<Finished> {
    store.finish(ids.iter().zip(fences).map(|(id, fence)| finish(*id, *fence)).collect()).await.unwrap()
}

/// All of them have succeeded at their first attempt, and the history holds each once.
async fn done_once(server: &Server, store: &dyn Store, ids: &[JobId]) {
    for (id, record) in ids.iter().zip(store.records(ids.to_vec()).await.unwrap()) {
        let record = record.unwrap();
        assert_eq!((record.state, record.attempts, record.crashes), (State::Succeeded, 1, 0), "{id}");
    }
    let running: Vec<String> = server.command(&["ZRANGE", &Server::key("s:active"), "0", "-1"]).await;
    assert!(!ids.iter().any(|id| running.contains(&id.to_string())), "{running:?}");
}

fn new_ids(count: usize) -> Vec<JobId> {
    (0..count).map(|_| job("a").admission.id).collect()
}

async fn spoil(server: &Server, id: JobId) {
    let _: String = server.command(&["SET", &Server::key(&format!("j:{id}")), "nonsense"]).await;
}

/// The batch without the broken one.
fn others<T: Copy>(all: &[T]) -> Vec<T> {
    all.iter().enumerate().filter(|(index, _)| *index != BROKEN).map(|(_, item)| *item).collect()
}

#[tokio::test]
async fn one_broken_record_of_a_hundred_costs_nobody_else_anything() {
    let server = Server::start().await;
    let store = server.store().await;
    let store = &*store;

    // Among enqueues: the id of one is that of a job whose record is damaged.
    let ids = new_ids(JOBS);
    enqueue(store, &ids[BROKEN..=BROKEN]).await;
    spoil(&server, ids[BROKEN]).await;
    let refused = enqueue(store, &ids).await;
    assert!(matches!(&refused[BROKEN], Some(NotAccepted::Damaged { id, .. }) if *id == ids[BROKEN]), "{refused:?}");
    assert_eq!(refused.iter().flatten().count(), 1, "{refused:?}");
    let fences: Vec<Fence> = claim_all(store, &others(&ids)).await.into_iter().flatten().collect();
    finish_all(store, &others(&ids), &fences).await;
    done_once(&server, store, &others(&ids)).await;

    // Among claims.
    let ids = new_ids(JOBS);
    assert_eq!(enqueue(store, &ids).await.iter().flatten().count(), 0);
    spoil(&server, ids[BROKEN]).await;
    let claimed = claim_all(store, &ids).await;
    assert_eq!(claimed.iter().position(Option::is_none), Some(BROKEN));
    let fences: Vec<Fence> = claimed.into_iter().flatten().collect();
    assert_eq!(fences.len(), JOBS - 1);
    finish_all(store, &others(&ids), &fences).await;
    done_once(&server, store, &others(&ids)).await;

    // Among finishes.
    let ids = new_ids(JOBS);
    enqueue(store, &ids).await;
    let fences: Vec<Fence> = claim_all(store, &ids).await.into_iter().flatten().collect();
    assert_eq!(fences.len(), JOBS);
    spoil(&server, ids[BROKEN]).await;
    let finished = finish_all(store, &ids, &fences).await;
    for (index, answer) in finished.iter().enumerate() {
        match answer {
            Finished::Damaged(why) => assert!(index == BROKEN && !why.is_empty(), "{index}: {why}"),
            Finished::Known { answer: Answer::Moved { state: State::Succeeded }, .. } => assert_ne!(index, BROKEN),
            other => panic!("{index}: {other:?}"),
        }
    }
    done_once(&server, store, &others(&ids)).await;
}

#[tokio::test]
async fn a_batch_whose_reply_is_lost_is_done_once() {
    let server = Server::start().await;
    let (proxy, url) = Proxy::before(&server.url("")).await;
    let direct = server.store().await;
    let store = redis_server::redis_store(&url).await.unwrap();
    for round in 0..CUTS {
        let ids = new_ids(JOBS);
        // The first: it is surely in the first piece of the request that the proxy reads.
        let marker = ids[0].to_string();
        let before = proxy.cuts();

        proxy.cut_before_reply(marker.as_bytes());
        assert_eq!(enqueue(&*store, &ids).await.iter().flatten().count(), 0, "round {round}");
        assert_eq!(proxy.cuts(), before + 1, "the reply of the enqueue was cut");
        let again = enqueue(&*store, &ids).await;
        assert_eq!(again.iter().flatten().count(), 0, "the same ids again are the same jobs");

        proxy.cut_before_reply(marker.as_bytes());
        let fences: Vec<Fence> = claim_all(&*store, &ids).await.into_iter().flatten().collect();
        assert_eq!((fences.len(), proxy.cuts()), (JOBS, before + 2), "round {round}");
        let told = direct.records(ids.clone()).await.unwrap();
        let held: Vec<Fence> = told.into_iter().map(|record| record.unwrap().fence).collect();
        assert_eq!(held, fences, "the repeated claim got the fences of the first");

        proxy.cut_before_reply(marker.as_bytes());
        let finished = finish_all(&*store, &ids, &fences).await;
        assert_eq!((finished.len(), proxy.cuts()), (JOBS, before + 3), "round {round}");
        for answer in &finished {
            let Finished::Known { answer: Answer::Moved { state } | Answer::Already { state }, .. } = answer else {
                panic!("round {round}: {answer:?}")
            };
            assert_eq!(*state, State::Succeeded, "round {round}");
        }
        done_once(&server, &*direct, &ids).await;
    }
    let history: u64 = server.command(&["ZCARD", &Server::key("s:succeeded")]).await;
    assert_eq!(history, (JOBS * CUTS) as u64, "each is in the history once");
}
