//! What a queue says of its jobs beside how many run: how many may wait, and what a final failure does to an order (Q02).

use super::bench::{Bench, LONG, failed, me, permanent, succeeded};
use crate::error::NotAccepted;
use crate::store::{Claimed, NewJob};
use longshore_model::event::{Class, Interest, Kind};
use longshore_model::gate::{GateName, Length, LimitPolicy, OnFailure, Pausable, WhenFull};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::record::{Expiry, Reason, Start, State};
use longshore_model::transition::Answer;

const QUEUE: &str = "main";
const OWN: &str = "queue.main";

fn job(bench: &Bench) -> NewJob {
    let mut job = bench.job();
    job.admission.gates.limits = vec![GateName::limit(OWN, "")];
    job
}

fn of(bench: &Bench, key: &str) -> NewJob {
    let mut job = job(bench);
    job.admission.gates.order = Some(GateName::order(QUEUE, key));
    job
}

async fn set(bench: &Bench, policy: LimitPolicy) {
    bench.b.store.set_limit(OWN, Some(&policy)).await.unwrap();
    look(bench).await;
}

async fn look(bench: &Bench) {
    while bench.a.store.promote(100).await.unwrap().more {}
}

async fn longest(bench: &Bench, max: u32, full: WhenFull) {
    set(bench, LimitPolicy { length: Some(Length { max, full }), ..LimitPolicy::default() }).await;
}

async fn then(bench: &Bench, on_failure: OnFailure) {
    set(bench, LimitPolicy { on_failure, ..LimitPolicy::default() }).await;
}

async fn refused(bench: &Bench, job: NewJob) -> NotAccepted {
    bench.a.store.enqueue(vec![job]).await.unwrap().remove(0).unwrap_err()
}

async fn states(bench: &Bench, ids: &[JobId]) -> Vec<State> {
    let records = bench.a.store.records(ids.to_vec()).await.unwrap();
    records.into_iter().map(|record| record.unwrap().state).collect()
}

/// Those of one order, all of them accepted; the first is queued.
async fn line(bench: &Bench, key: &str, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(bench.accept(of(bench, key)).await);
    }
    ids
}

pub async fn a_full_queue_refuses_and_stores_nothing(bench: &Bench) {
    longest(bench, 2, WhenFull::Refuse).await;
    let mut delayed = job(bench);
    delayed.admission.start = Start::After(LONG);
    let (first, delayed) = (bench.accept(job(bench)).await, bench.accept(delayed).await);
    let one_more = job(bench);
    let full = NotAccepted::QueueFull { queue: QUEUE.into(), max: 2 };
    assert_eq!(refused(bench, one_more.clone()).await, full);
    assert_eq!(bench.maybe(one_more.admission.id).await, None, "nothing was stored");
    let again = bench.a.store.enqueue(vec![NewJob { ..job(bench) }, bench.job()]).await.unwrap();
    assert!(again[0].is_err() && again[1].is_ok(), "a job that asks nothing of the queue's limit: {again:?}");

    // What runs does not count, and what comes back is not turned away.
    let fence = bench.run(first).await;
    let third = bench.accept(one_more).await;
    bench.finish(first, fence, failed(LONG)).await;
    assert_eq!(states(bench, &[first, delayed, third]).await, [State::Retrying, State::Scheduled, State::Queued]);
    assert_eq!(refused(bench, job(bench)).await, full);
    bench.stop(first).await;
    bench.remove(delayed).await;
    let fourth = bench.accept(job(bench)).await;
    assert_eq!(refused(bench, job(bench)).await, full);
    let fence = bench.run(third).await;
    bench.finish(third, fence, succeeded()).await;
    bench.accept(job(bench)).await;
    assert_eq!(bench.state(fourth).await, State::Queued);
}

pub async fn a_full_queue_drops_the_oldest_that_waits(bench: &Bench) {
    longest(bench, 3, WhenFull::DropOldest).await;
    let all = Interest { class: Class::Job, topics: "**".parse().unwrap() };
    bench.a.store.listen(&[all], LONG).await.unwrap();
    let runs = bench.accept(job(bench)).await;
    let fence = bench.run(runs).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(bench.accept(job(bench)).await);
    }
    let (q, d) = (State::Queued, State::Dropped);
    assert_eq!(states(bench, &ids).await, [d, d, q, q, q]);
    let untold = bench.a.store.untold(10).await.unwrap();
    let untold: Vec<_> = untold.iter().map(|untold| (untold.kind, untold.id)).collect();
    assert_eq!(untold, [(Kind::Removed, ids[0]), (Kind::Removed, ids[1])], "their senders are told (N01)");
    let dropped = bench.record(ids[0]).await;
    assert_eq!((dropped.reason, dropped.outbox), (Some(Reason::Displaced), None));
    let claimed = bench.claim_as(&me(), LONG, bench.claim(ids[1])).await;
    assert_eq!(claimed, Claimed::Known(Answer::Ended { state: d }), "its copy in the broker starts nothing");
    bench.finish(runs, fence, succeeded()).await;
    assert_eq!(bench.state(runs).await, State::Succeeded, "what runs is left alone");

    longest(bench, 1, WhenFull::DropOldest).await;
    let newest = bench.accept(job(bench)).await;
    assert_eq!(states(bench, &ids[2..]).await, [d, d, d], "a lower bound holds with the next job");
    assert_eq!(bench.state(newest).await, q);
    assert_eq!(bench.a.store.ledger().await.unwrap().drifts(), []);
}

pub async fn a_batch_is_held_to_the_length_job_by_job(bench: &Bench) {
    longest(bench, 2, WhenFull::Refuse).await;
    let jobs: Vec<NewJob> = (0..4).map(|_| job(bench)).collect();
    let answers = bench.a.store.enqueue(jobs.clone()).await.unwrap();
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, false]);
    let again = bench.b.store.enqueue(jobs[..2].to_vec()).await.unwrap();
    assert!(again.iter().all(|answer| answer.as_ref().is_ok_and(|accepted| accepted.existed)), "{again:?}");
}

pub async fn q02_an_order_goes_on_after_a_final_failure(bench: &Bench) {
    let ids = line(bench, "k", 2).await;
    let fence = bench.run(ids[0]).await;
    bench.finish(ids[0], fence, permanent()).await;
    assert_eq!(states(bench, &ids).await, [State::Error, State::Queued]);
    assert_eq!(bench.a.store.pauses().await.unwrap(), []);
}

pub async fn q02_an_order_can_halt_after_a_final_failure(bench: &Bench) {
    then(bench, OnFailure::Halt).await;
    let (ids, other) = (line(bench, "k", 3).await, line(bench, "l", 1).await[0]);
    assert_eq!(bench.a.store.head(&GateName::order(QUEUE, "k")).await.unwrap(), Some(ids[0]));
    let fence = bench.run(ids[0]).await;
    bench.finish(ids[0], fence, permanent()).await;
    let (e, q, b) = (State::Error, State::Queued, State::Blocked);
    assert_eq!(states(bench, &ids).await, [e, b, b]);
    assert_eq!((bench.record(ids[1]).await.reason, bench.state(other).await), (Some(Reason::Paused), q));
    let key = Pausable::Key { queue: QUEUE.into(), key: "k".into() };
    let pauses = bench.a.store.pauses().await.unwrap();
    assert_eq!((pauses.len(), &pauses[0].what, pauses[0].order.by.as_str()), (1, &key, "longshore"));
    assert!(pauses[0].order.why.contains(&ids[0].to_string()) && pauses[0].order.until.is_none(), "{pauses:?}");
    assert_eq!(bench.a.store.head(&GateName::order(QUEUE, "k")).await.unwrap(), Some(ids[1]));
    bench.b.store.set_pause(&key, None).await.unwrap();
    look(bench).await;
    assert_eq!(states(bench, &ids).await, [e, q, b]);

    // The order of a whole queue pauses the queue.
    let whole = line(bench, "", 2).await;
    let fence = bench.run(whole[0]).await;
    bench.finish(whole[0], fence, permanent()).await;
    assert_eq!(states(bench, &whole).await, [e, b]);
    assert_eq!(bench.a.store.pauses().await.unwrap()[0].what, Pausable::Queue(QUEUE.into()));
}

pub async fn q02_what_people_end_does_not_halt_an_order(bench: &Bench) {
    then(bench, OnFailure::Halt).await;
    let mut late = of(bench, "k");
    late.admission.expires = Some(Expiry::After(10));
    let late = bench.accept(late).await;
    let ids = line(bench, "k", 3).await;
    bench.sleep(20).await;
    bench.claim_as(&me(), LONG, bench.claim(late)).await;
    bench.stop(ids[0]).await;
    bench.remove(ids[1]).await;
    let (d, s, q) = (State::Dropped, State::Stopped, State::Queued);
    assert_eq!(states(bench, &[late, ids[0], ids[1], ids[2]]).await, [d, s, d, q]);
    assert_eq!(bench.a.store.pauses().await.unwrap(), []);
}

pub async fn q02_an_order_can_skip_those_behind_a_final_failure(bench: &Bench) {
    then(bench, OnFailure::Skip).await;
    let (ids, other) = (line(bench, "k", 3).await, line(bench, "l", 2).await);
    let mut later = of(bench, "k");
    later.admission.start = Start::After(30);
    let later = bench.accept(later).await;
    let fence = bench.run(ids[0]).await;
    bench.finish(ids[0], fence, failed(10)).await;
    assert_eq!(states(bench, &ids[1..]).await, [State::Blocked; 2], "a failure that is not final skips nothing");
    bench.sleep(50).await;
    look(bench).await;
    assert_eq!(states(bench, &[ids[0], later]).await, [State::Queued, State::Blocked]);
    bench.remove(later).await;
    let fence = bench.run(ids[0]).await;
    bench.finish(ids[0], fence, permanent()).await;
    assert_eq!(states(bench, &ids).await, [State::Error, State::Dropped, State::Dropped]);
    let skipped = bench.record(ids[2]).await;
    assert_eq!(skipped.reason, Some(Reason::Skipped));
    assert!(skipped.message.as_ref().unwrap().contains(&ids[0].to_string()), "{skipped:?}");
    assert_eq!(states(bench, &other).await, [State::Queued, State::Blocked], "keys are apart");
    let next = line(bench, "k", 2).await;
    assert_eq!(states(bench, &next).await, [State::Queued, State::Blocked], "what comes later runs");
}

pub async fn more_than_one_call_skips_follow_by_promotions(bench: &Bench) {
    then(bench, OnFailure::Skip).await;
    let head = line(bench, "k", 1).await[0];
    let jobs: Vec<_> = (0..limits::RELEASES + 20).map(|_| of(bench, "k")).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.admission.id).collect();
    bench.a.store.enqueue(jobs).await.unwrap();
    let fence = bench.run(head).await;
    bench.finish(head, fence, permanent()).await;
    let late = line(bench, "k", 1).await[0];
    assert_ne!(bench.state(late).await, State::Dropped);
    look(bench).await;
    assert!(states(bench, &ids).await.iter().all(|state| *state == State::Dropped));
    assert_eq!(bench.state(late).await, State::Queued);
}
