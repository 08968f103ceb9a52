//! Waiting for outcomes, and following.

use super::{Hand, succeeded, thumbnail};
use longshore_link::store::{Finish, Report};
use longshore_model::snapshot::Progress;
use longshore_model::transition::Verdict;
use longshore_producer::{Producer, ResultError, State, WaitError};
use serde::Deserialize;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn an_outcome_brings_result_message_and_properties(producer: Producer) {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Size {
        bytes: u64,
    }
    let sent = producer.send(thumbnail("a")).await.unwrap();
    let hand = Hand::of(&producer);
    let work = async {
        let fence = hand.claim(sent.id).await;
        let report = Report { properties: [("colour".to_owned(), "\"red\"".to_owned())].into(), ..Report::default() };
        let verdict = Verdict::Succeeded { message: Some("fine".into()) };
        let result = Some(r#"{"bytes": 12}"#.to_owned());
        hand.finish(Finish { verdict, result, report, ..succeeded(sent.id, fence) }).await
    };
    let (report, _) = tokio::join!(sent.outcome().timeout(SOON).into_future(), work);
    let report = report.unwrap();
    assert!(report.is_success());
    assert_eq!(report.result::<Size>().unwrap(), Size { bytes: 12 });
    assert!(matches!(report.result::<String>(), Err(ResultError::Shape { .. })));
    assert_eq!(report.job.message.as_deref(), Some("fine"));
    assert_eq!(report.job.properties["colour"], "red");
    // Afterwards, and from another producer.
    let again = Producer::connect_with(producer.link().clone(), Default::default()).outcome(sent.id).await.unwrap();
    assert!(again.is_success());
}

pub(crate) async fn an_outcome_of_a_failed_job_says_why(producer: Producer) {
    let sent = producer.send(thumbnail("a")).await.unwrap();
    Hand::of(&producer).fail(sent.id, "the disk is full").await;
    let report = sent.outcome().timeout(SOON).await.unwrap();
    assert_eq!((report.is_success(), report.job.state), (false, State::Error));
    let error = report.result::<()>().unwrap_err();
    assert!(error.to_string().contains("ended as error: the disk is full"), "{error}");
}

pub(crate) async fn hundreds_are_waited_for_at_once(producer: Producer) {
    let jobs: Vec<_> = (0..300).map(|n| thumbnail(&n.to_string())).collect();
    let sent: Vec<_> = producer.send_all(jobs).await.into_iter().map(Result::unwrap).collect();
    let waits = futures_util::future::join_all(sent.iter().map(|sent| sent.outcome().timeout(SOON).into_future()));
    let work = async {
        let hand = Hand::of(&producer);
        for sent in &sent {
            hand.succeed(sent.id, Some(&format!("\"{}\"", sent.id))).await;
        }
    };
    let (reports, ()) = tokio::join!(waits, work);
    for (report, sent) in reports.into_iter().zip(&sent) {
        assert_eq!(report.unwrap().result::<String>().unwrap(), sent.id.to_string());
    }
}

pub(crate) async fn waiting_ends_in_time_and_the_job_goes_on(producer: Producer) {
    let sent = producer.send(thumbnail("a")).await.unwrap();
    let error = sent.outcome().timeout(Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, WaitError::TimedOut { id, .. } if id == sent.id), "{error}");
    assert_eq!(producer.show(sent.id).await.unwrap().unwrap().state, State::Queued);
}

pub(crate) async fn an_unknown_job_has_no_outcome(producer: Producer) {
    let unknown = producer.new_id();
    assert_eq!(producer.outcome(unknown).timeout(SOON).await.unwrap_err(), WaitError::Gone(unknown));
    assert_eq!(producer.follow(unknown).next().await.unwrap_err(), WaitError::Gone(unknown));
}

pub(crate) async fn following_shows_progress_and_log_until_the_end(producer: Producer) {
    let sent = producer.send(thumbnail("a")).await.unwrap();
    let hand = Hand::of(&producer);
    let mut follow = producer.follow(sent.id);
    let first = follow.next().await.unwrap().unwrap();
    assert_eq!((first.job.state, first.new_log.len()), (State::Queued, 0));
    let fence = hand.claim(sent.id).await;
    let line = |text: &str| ("info".to_owned(), text.to_owned());
    let progress = Some(Progress { step: 1, steps: 3, eta: None, text: Some("reading".into()) });
    let report = Report { progress, log: vec![line("one"), line("two")], ..Report::default() };
    hand.report(sent.id, fence, report).await;
    let change = follow.next().await.unwrap().unwrap();
    assert_eq!(change.job.progress.unwrap().text.as_deref(), Some("reading"));
    assert_eq!(change.new_log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    let report = Report { log: vec![line("three")], ..Report::default() };
    hand.finish(Finish { report, ..succeeded(sent.id, fence) }).await;
    let last = follow.next().await.unwrap().unwrap();
    assert_eq!((last.job.state, last.new_log[0].text.as_str()), (State::Succeeded, "three"));
    assert!(follow.next().await.unwrap().is_none());
}
