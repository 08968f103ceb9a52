//! Stop, remove, retry.

use super::{Hand, succeeded, thumbnail};
use longshore_link::store::Finish;
use longshore_model::transition::Verdict;
use longshore_producer::{Producer, Reason, Removed, RetryError, State, Stopped};
use std::time::Duration;

pub(crate) async fn j12_jh_04_removing_drops_what_waits_and_purges_what_ended(producer: Producer) {
    let sent = producer.send(thumbnail("a")).await.unwrap();
    let running = producer.send(thumbnail("b")).await.unwrap();
    let hand = Hand::of(&producer);
    let fence = hand.claim(running.id).await;
    let removed = producer.remove([sent.id, running.id]).await.unwrap();
    assert_eq!(removed, [Removed::Dropped, Removed::Dropped]);
    assert_eq!(producer.jobs().unfinished().ids().await.unwrap(), []);
    let history = producer.jobs().history().list().await.unwrap();
    assert_eq!(history.jobs.len(), 2);
    for view in &history.jobs {
        assert_eq!((view.state, view.reason), (State::Dropped, Some(Reason::Removed)));
    }
    // The handler was not interrupted, and can change nothing.
    let late = producer.link().store.finish(vec![succeeded(running.id, fence)]).await.unwrap().remove(0);
    assert!(format!("{late:?}").contains("Stale"), "{late:?}");
    assert_eq!(producer.remove([sent.id]).await.unwrap(), [Removed::Purged]);
    assert!(producer.show(sent.id).await.unwrap().is_none());
}

pub(crate) async fn j12_jh_13_removing_an_unknown_job_is_fine(producer: Producer) {
    let unknown = producer.new_id();
    let removed = producer.remove([unknown]).await.unwrap();
    assert_eq!(removed, [Removed::NotFound]);
    assert!(removed[0].is_gone());
    assert_eq!(producer.remove([]).await.unwrap(), []);
}

pub(crate) async fn j13_stopping_what_waits_what_runs_and_what_ended(producer: Producer) {
    let waits = producer.send(thumbnail("a")).await.unwrap();
    let later = producer.job(thumbnail("b")).after(Duration::from_secs(60)).send().await.unwrap();
    let runs = producer.send(thumbnail("c")).await.unwrap();
    let ended = producer.send(thumbnail("d")).await.unwrap();
    let hand = Hand::of(&producer);
    let fence = hand.claim(runs.id).await;
    hand.succeed(ended.id, None).await;
    let unknown = producer.new_id();
    let ids = [waits.id, later.id, runs.id, ended.id, unknown];
    let answers = producer.stop(ids, "a test").await.unwrap();
    let expected = [Stopped::Now, Stopped::Now, Stopped::Asked, Stopped::Ended(State::Succeeded), Stopped::NotFound];
    assert_eq!(answers, expected);
    let view = producer.show(waits.id).await.unwrap().unwrap();
    assert_eq!((view.state, view.message.as_deref()), (State::Stopped, Some("a test")));
    // The handler decides: one that ends well has succeeded all the same.
    assert_eq!(producer.show(runs.id).await.unwrap().unwrap().state, State::Active);
    let failed = Verdict::failed(1, "asked to stop");
    assert_eq!(hand.finish(Finish { verdict: failed, ..succeeded(runs.id, fence) }).await, State::Stopped);
}

pub(crate) async fn j14_a_retry_is_a_new_job_linked_both_ways(producer: Producer) {
    let job = producer.job(thumbnail("a")).label("l", "1").title("t").retries(4);
    let old = job.expires_in(Duration::from_secs(3_600)).send().await.unwrap();
    let hand = Hand::of(&producer);
    hand.fail(old.id, "no").await;
    let new = producer.retry([old.id]).await.remove(0).unwrap();
    assert!(new.id != old.id && !new.existed && new.state == State::Queued);
    let view = producer.show(new.id).await.unwrap().unwrap();
    assert_eq!((view.retry_of, view.attempt, view.retries, view.max_retries), (Some(old.id), 0, 0, 4));
    assert_eq!((view.title.as_deref(), view.labels["l"].as_str(), view.expires), (Some("t"), "1", None));
    let before = producer.show(old.id).await.unwrap().unwrap();
    assert_eq!((before.state, before.retried_as), (State::Error, Some(new.id)));
    assert_eq!(before.payload.get(), view.payload.get());
    // Asking again while it has not ended makes no third job; afterwards it does.
    let again = producer.retry([old.id]).await.remove(0).unwrap();
    assert!(again.existed && again.id == new.id);
    hand.fail(new.id, "no").await;
    let third = producer.retry([old.id]).await.remove(0).unwrap();
    assert!(!third.existed && third.id != new.id);
}

pub(crate) async fn j14_only_history_can_be_retried(producer: Producer) {
    let waits = producer.send(thumbnail("a")).await.unwrap();
    let done = producer.send(thumbnail("b")).await.unwrap();
    Hand::of(&producer).succeed(done.id, None).await;
    let unknown = producer.new_id();
    let answers = producer.retry([waits.id, done.id, unknown]).await;
    assert_eq!(answers[0].as_ref().unwrap_err(), &RetryError::NotEnded { id: waits.id, state: State::Queued });
    assert!(answers[1].is_ok(), "a job that succeeded can be run again as well");
    assert_eq!(answers[2].as_ref().unwrap_err(), &RetryError::NotFound(unknown));
}
