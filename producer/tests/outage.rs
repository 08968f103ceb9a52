//! Sending and waiting while the store, the broker or an answer is missing: three answers, never a hang.
//!
//! On a paused clock: deadlines pass at once, and exactly.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use longshore_link::embedded::Embedded;
use longshore_link::store::{Claim, Claimed, Finish, Report};
use longshore_model::id::Owner;
use longshore_model::transition::{Answer, Verdict};
use longshore_model::{Fence, Incarnation, InstanceId, limits};
use longshore_producer::{
    Custody, Job, JobBuilder, Producer, ProducerOptions, SendError, State, WaitError, World, testing,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, PartialEq, Serialize, Deserialize, Job)]
#[job(topic = "mail")]
struct Mail {
    to: String,
}

fn mail() -> Mail {
    Mail { to: "a@example.org".into() }
}

struct Bench {
    backend: Embedded,
    producer: Producer,
    world: World,
}

fn bench() -> Bench {
    let world = World::simulated(7);
    let backend = Embedded::new(&world);
    let producer = Producer::connect_with(backend.link(world.clone()), ProducerOptions::default());
    Bench { backend, producer, world }
}

async fn succeed(producer: &Producer, id: longshore_producer::JobId) {
    let store = &producer.link().store;
    let owner = Owner { instance: InstanceId("i".into()), incarnation: Incarnation("1".into()) };
    let generation = store.records(vec![id]).await.unwrap().remove(0).unwrap().generation;
    let claim = Claim { id, nonce: id.to_string(), generation, floor: Fence(0), alone: false };
    let claimed = store.claim(&owner, 60_000, vec![claim]).await.unwrap().remove(0);
    let Claimed::Known(Answer::Run { fence, .. }) = claimed else { panic!("{claimed:?}") };
    let verdict = Verdict::Succeeded { message: None };
    let (report, outputs) = (Report::default(), Vec::new());
    store.finish(vec![Finish { id, fence, verdict, result: None, outputs, report, follow_ups: vec![] }]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_store_a_send_ends_at_its_deadline_and_was_surely_not_accepted() {
    let Bench { backend, producer, world } = bench();
    backend.set_store_away(Some("a cut cable"));
    let begun = world.clock.boot();
    let error = producer.send(mail()).await.unwrap_err();
    assert!(matches!(error, SendError::Unreachable { .. }) && error.may_repeat(), "{error}");
    assert!(error.to_string().contains("a cut cable"), "{error}");
    let took = world.clock.boot() - begun;
    assert!(took <= Duration::from_secs(10) && took >= Duration::from_secs(8), "{took:?}");
    backend.set_store_away(None);
    testing::assert_none_enqueued::<Mail>(&producer).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_within_the_deadline_is_not_noticed() {
    let Bench { backend, producer, world } = bench();
    backend.set_store_away(Some("restarting"));
    let back = async {
        world.clock.sleep(Duration::from_secs(4)).await;
        backend.set_store_away(None);
    };
    let (sent, ()) = tokio::join!(producer.send(mail()), back);
    assert_eq!(sent.unwrap().custody, Custody::Both);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_repeated_with_the_same_id_and_makes_one_job() {
    let Bench { backend, producer, .. } = bench();
    backend.lose_store_answers(2);
    let sent = producer.send(mail()).await.unwrap();
    assert!(!sent.existed, "the caller sent it once");
    assert_eq!(sent.custody, Custody::Both);
    testing::assert_enqueued(&producer, |job: &Mail| *job == mail()).await;
    assert_eq!(testing::enqueued::<Mail>(&producer).await.len(), 1);
    let depth = producer.link().broker.depth(&Mail::topic().unwrap().into()).await.unwrap();
    assert_eq!(depth, Some(1));
}

#[tokio::test(start_paused = true)]
async fn when_every_answer_is_lost_the_outcome_is_unknown_and_repeating_it_is_safe() {
    let Bench { backend, producer, .. } = bench();
    backend.lose_store_answers(u32::MAX);
    let error = producer.send(mail()).await.unwrap_err();
    let SendError::Unknown { id, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains("repeat it with the same id"), "{error}");
    backend.lose_store_answers(0);
    let again = producer.job(mail()).id(*id).send().await.unwrap();
    assert!(again.existed);
    assert_eq!(testing::enqueued::<Mail>(&producer).await, [mail()]);
}

#[tokio::test(start_paused = true)]
async fn without_a_broker_a_job_is_accepted_and_waits_in_the_outbox() {
    let Bench { backend, producer, world } = bench();
    for away in [true, false] {
        if away {
            backend.set_broker_away(Some("restarting"));
        } else {
            backend.set_broker_away(None);
            backend.set_blocked(Some("memory alarm"));
        }
        let sent = producer.send(mail()).await.unwrap();
        assert_eq!((sent.custody, sent.state), (Custody::Store, State::Queued));
        world.clock.sleep(Duration::from_secs(3)).await;
        let outbox = producer.link().store.outbox(10, 60_000).await.unwrap();
        assert_eq!(outbox.iter().map(|out| out.id).collect::<Vec<_>>(), [sent.id]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bulk_without_a_store_ends_at_one_deadline_and_not_at_many() {
    let Bench { backend, producer, world } = bench();
    backend.set_store_away(Some("a cut cable"));
    let begun = world.clock.boot();
    let jobs: Vec<Mail> = (0..5_000).map(|_| mail()).collect();
    let answers = producer.send_all(jobs).await;
    assert_eq!(answers.len(), 5_000);
    for answer in answers {
        assert!(matches!(answer, Err(SendError::Unreachable { .. })));
    }
    assert!(world.clock.boot() - begun <= Duration::from_secs(11));
}

#[tokio::test(start_paused = true)]
async fn a_bulk_with_lost_answers_makes_every_job_once() {
    let Bench { backend, producer, .. } = bench();
    backend.lose_store_answers(3);
    let jobs: Vec<JobBuilder> = (0..1_000).map(|n| producer.raw("mail", &format!("{{\"to\":\"{n}\"}}"))).collect();
    let answers = producer.send_all(jobs).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|sent| !sent.existed)));
    assert_eq!(testing::enqueued::<Mail>(&producer).await.len(), 1_000);
    let depth = producer.link().broker.depth(&Mail::topic().unwrap().into()).await.unwrap();
    assert_eq!(depth, Some(1_000));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_only_the_store_had_is_sent_again_when_the_store_forgot_it() {
    let Bench { backend, producer, world } = bench();
    let hour = Duration::from_secs(3_600);
    let sent = producer.job(mail()).after(hour).send().await.unwrap();
    let due = async |id| producer.link().store.records(vec![id]).await.unwrap().remove(0).map(|record| record.due);
    let meant = due(sent.id).await.unwrap();
    world.clock.sleep(Duration::from_secs(5)).await;
    backend.wipe_store();
    assert_eq!(due(sent.id).await, None);
    // The first time that it is offered nobody answers.
    backend.set_store_away(Some("loading"));
    world.clock.sleep(Duration::from_secs(3)).await;
    backend.set_store_away(None);
    world.clock.sleep(Duration::from_secs(3)).await;
    assert_eq!(due(sent.id).await, Some(meant), "for the time that it was sent for");
    // Nothing is there twice, and nothing that is older comes back.
    backend.restart_store();
    world.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(testing::enqueued::<Mail>(&producer).await.len(), 1);
    backend.wipe_store();
    world.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(due(sent.id).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_outlives_an_outage_of_the_store() {
    let Bench { backend, producer, world } = bench();
    let sent = producer.send(mail()).await.unwrap();
    let work = async {
        world.clock.sleep(Duration::from_secs(1)).await;
        backend.set_store_away(Some("restarting"));
        world.clock.sleep(Duration::from_secs(30)).await;
        backend.set_store_away(None);
        succeed(&producer, sent.id).await;
        // The nudge is there, and what it asks to be read gets lost.
        backend.lose_store_answers(1);
    };
    let (report, ()) = tokio::join!(sent.outcome().timeout(Duration::from_secs(40)).into_future(), work);
    assert!(report.unwrap().is_success());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_does_not_need_its_nudge() {
    let Bench { backend, producer, world } = bench();
    let sent = producer.send(mail()).await.unwrap();
    // The store nudges a bounded number of processes about one job; the others have to ask.
    let waits = (0..limits::WATCHERS + 4).map(|_| {
        let other = Producer::connect_with(backend.link(world.clone()), ProducerOptions::default());
        other.outcome(sent.id).timeout(Duration::from_secs(60)).into_future()
    });
    let work = async {
        world.clock.sleep(Duration::from_secs(9)).await;
        succeed(&producer, sent.id).await;
        world.clock.boot()
    };
    let (reports, ended) = tokio::join!(futures_util::future::join_all(waits), work);
    assert!(reports.into_iter().all(|report| report.unwrap().is_success()));
    let late = world.clock.boot() - ended;
    assert!(late > Duration::ZERO && late <= Duration::from_secs(2), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_job_that_a_person_removed_ends() {
    let Bench { producer, .. } = bench();
    let sent = producer.send(mail()).await.unwrap();
    let (report, removed) = tokio::join!(sent.outcome().into_future(), producer.remove([sent.id]));
    assert_eq!(report.unwrap().job.state, State::Dropped);
    removed.unwrap();
    producer.remove([sent.id]).await.unwrap();
    assert_eq!(sent.outcome().await.unwrap_err(), WaitError::Gone(sent.id));
}

#[tokio::test]
#[should_panic(expected = "no job of topic `mail` fits; sent were 1")]
async fn a_missing_job_is_told_with_what_was_sent_instead() {
    let Bench { producer, .. } = bench();
    producer.send(mail()).await.unwrap();
    testing::assert_enqueued(&producer, |job: &Mail| job.to.is_empty()).await;
}
