//! What becomes of messages that the broker itself put among the dead, and what people do about letters.

use std::time::Duration;

use bytes::Bytes;
use longshore_link::broker::{Headers, Letters, Message, Target};
use longshore_link::letters::Letter;
use longshore_model::lane::Lane;
use longshore_producer::{JobId, Priority, State, Topic};

use super::{Fleet, Runs};

const TOPIC: &str = "test/evicted";
/// Several looks of the undertaker, in virtual time.
const LOOKS: Duration = Duration::from_secs(20);

fn topic() -> Topic {
    TOPIC.parse().unwrap()
}

fn lane() -> Lane {
    topic().into()
}

async fn dead(fleet: &Fleet) -> Vec<Letter> {
    let mut reading = fleet.producer().link().broker.read_letters(Letters::Dead).await.unwrap();
    let mut letters = Vec::new();
    while let Some(letter) = reading.next().await.unwrap() {
        letters.push(letter);
    }
    reading.close().await.unwrap();
    letters
}

/// Waits until so many letters are dead. Only counts meanwhile: a reading would hide them from the undertaker.
async fn lie_dead(fleet: &Fleet, count: usize) -> Vec<Letter> {
    let broker = &fleet.producer().link().broker;
    fleet
        .eventually(&format!("{count} dead letters"), async || {
            let lie = broker.count_letters(Letters::Dead).await.unwrap();
            (lie == count as u64).then_some(())
        })
        .await;
    let letters = dead(fleet).await;
    assert_eq!(letters.len(), count);
    letters
}

async fn depth(fleet: &Fleet) -> u64 {
    fleet.producer().link().broker.depth(&lane()).await.unwrap().unwrap_or(0)
}

/// Takes what waits in the lane away from it, as the broker does with messages that came back too often.
async fn evict(fleet: &Fleet, count: usize) -> Vec<Letter> {
    fleet
        .eventually("the messages are in their lane", async || (depth(fleet).await == count as u64).then_some(()))
        .await;
    fleet.evict(&lane()).await;
    lie_dead(fleet, count).await
}

/// A job without a record anywhere: what a foreign client wrote.
async fn foreign(fleet: &Fleet) -> JobId {
    let id = fleet.producer().new_id();
    let body = format!(r#"{{"v":1,"id":"{id}","topic":"{TOPIC}","payload":{{}}}}"#);
    let message = Message {
        target: Target::Jobs(lane()),
        message_id: id.to_string(),
        headers: Headers::default(),
        body: Bytes::from(body),
    };
    fleet.producer().link().broker.publish(vec![message]).await.remove(0).unwrap();
    id
}

/// The relay has nothing to publish for them: without the undertaker nobody would ever run these jobs.
pub async fn evicted_messages_of_jobs_that_wait_go_back_to_their_lane(fleet: &Fleet) {
    let (first, second) = (fleet.send_to(TOPIC).await, fleet.send_to(TOPIC).await);
    fleet.producer().flush().await;
    let letters = evict(fleet, 2).await;
    let from = letters[0].evicted.as_ref().unwrap();
    assert!(from.queue.ends_with("test.evicted") && !from.reason.is_empty(), "{from:?}");
    assert_eq!(letters[0].lane, Some(lane()));
    // An instance that does not take the topic: it has its duties all the same.
    let other = fleet.start(fleet.consumer().await.on("test/other", Runs::default().then(|_| async {}))).await;
    lie_dead(fleet, 0).await;
    fleet.eventually("both are back", async || (depth(fleet).await == 2).then_some(())).await;
    assert!(other.metrics().contains("longshore_evicted_returned_total 2"), "{}", other.metrics());

    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    for job in [first, second] {
        assert!(fleet.end(&job).await.is_success());
        assert_eq!(runs.of(job.id).len(), 1);
    }
    running.drain().await;
    other.drain().await;
}

/// The other lane of its topic does not even exist.
pub async fn q13_an_evicted_message_of_an_urgent_job_goes_back_to_its_high_lane(fleet: &Fleet) {
    let (high, broker) = (Lane::high(topic()), &fleet.producer().link().broker);
    let in_lane = async || (broker.depth(&high).await.unwrap() == Some(1)).then_some(());
    let sent = fleet.send(fleet.producer().raw(TOPIC, "{}").priority(Priority::Urgent)).await;
    fleet.producer().flush().await;
    fleet.eventually("the message is in its lane", in_lane).await;
    fleet.evict(&high).await;
    assert_eq!(lie_dead(fleet, 1).await[0].lane, Some(high.clone()));
    let other = fleet.start(fleet.consumer().await.on("test/other", Runs::default().then(|_| async {}))).await;
    fleet.eventually("it is back", in_lane).await;
    assert_eq!(broker.depth(&lane()).await.unwrap(), None);
    let running = fleet.start(fleet.consumer().await.on(TOPIC, Runs::default().then(|_| async {}))).await;
    assert!(fleet.end(&sent).await.is_success());
    running.drain().await;
    other.drain().await;
}

/// One that is still in the history, and one of which only a tombstone is left.
pub async fn evicted_messages_of_jobs_that_ended_are_done_with(fleet: &Fleet) {
    let (stopped, forgotten) = (fleet.send_to(TOPIC).await, fleet.send_to(TOPIC).await);
    let producer = fleet.producer();
    producer.stop([stopped.id, forgotten.id], "a test").await.unwrap();
    producer.remove([forgotten.id]).await.unwrap();
    evict(fleet, 2).await;
    let other = fleet.start(fleet.consumer().await.on("test/other", Runs::default().then(|_| async {}))).await;
    lie_dead(fleet, 0).await;
    fleet
        .eventually("both are counted", async || {
            other.metrics().contains("longshore_evicted_settled_total 2").then_some(())
        })
        .await;
    assert_eq!(depth(fleet).await, 0, "nothing was published for them");
    assert_eq!(fleet.show(stopped.id).await.state, State::Stopped);
    assert!(producer.show(forgotten.id).await.unwrap().is_none());
    other.drain().await;
}

/// Only a person may decide that it runs.
pub async fn an_evicted_message_of_an_unknown_job_stays_with_its_reason(fleet: &Fleet) {
    let id = foreign(fleet).await;
    evict(fleet, 1).await;
    let other = fleet.start(fleet.consumer().await.on("test/other", Runs::default().then(|_| async {}))).await;
    let known = fleet.eventually("it has a reason", async || {
        dead(fleet).await.pop().filter(|letter| letter.headers.reason.is_some())
    });
    let letter = known.await;
    let reason = letter.headers.reason.clone().unwrap();
    assert!(reason.contains("does not know its job"), "{reason}");
    fleet.quiet(LOOKS).await;
    assert_eq!(lie_dead(fleet, 1).await, [letter], "it stays as it is");
    assert!(fleet.producer().show(id).await.unwrap().is_none(), "nobody made a job of it");
    other.drain().await;
}

/// No consumer has seen it before the broker took it away.
pub async fn an_evicted_message_that_cannot_be_read_goes_into_quarantine(fleet: &Fleet) {
    let garbage = Message {
        target: Target::Jobs(lane()),
        message_id: "x".into(),
        headers: Headers::default(),
        body: Bytes::from_static(b"no envelope"),
    };
    fleet.producer().link().broker.publish(vec![garbage]).await.remove(0).unwrap();
    evict(fleet, 1).await;
    let other = fleet.start(fleet.consumer().await.on("test/other", Runs::default().then(|_| async {}))).await;
    let (body, reason) = fleet.quarantined(1).await.remove(0);
    assert_eq!(body, "no envelope");
    assert!(!reason.is_empty());
    lie_dead(fleet, 0).await;
    other.drain().await;
}

/// Every instance has the duty; at times two do it at once.
pub async fn several_undertakers_run_every_evicted_job_once(fleet: &Fleet) {
    const JOBS: usize = 250;
    let runs = Runs::default();
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(fleet.start(fleet.consumer().await.on("test/other", Runs::default().then(|_| async {}))).await);
    }
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(fleet.send_to(TOPIC).await);
    }
    fleet.producer().flush().await;
    // Around the time when those that are not the coordinator look as well.
    fleet.pass(Duration::from_secs(38)).await;
    evict(fleet, JOBS).await;
    lie_dead(fleet, 0).await;
    fleet.pass(LOOKS).await;
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    for job in &jobs {
        assert!(fleet.end(job).await.is_success());
    }
    assert_eq!(runs.count(), JOBS);
    running.drain().await;
    for other in others {
        other.drain().await;
    }
}
