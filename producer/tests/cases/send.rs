//! Sending: what is accepted, what is refused, and what is stored.

use super::{Thumbnail, thumbnail};
use longshore_model::envelope::Envelope;
use longshore_model::limits;
use longshore_producer::{Custody, Job, JobId, Producer, Refusal, State, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) async fn j01_jh_09_a_job_without_a_consumer_is_accepted_and_found(producer: Producer) {
    let sent = producer.send(thumbnail("cat.jpg")).await.unwrap();
    assert_eq!((sent.state, sent.custody, sent.existed), (State::Queued, Custody::Both, false));
    let view = producer.show(sent.id).await.unwrap().expect("it was accepted");
    assert_eq!((view.id, view.state, view.queue.as_str()), (sent.id, State::Queued, "main"));
    assert_eq!(view.instance, None);
    assert_eq!(view.waiting.unwrap().reason, "no_capable_instance");
    assert_eq!(view.topic.as_str(), "media/thumbnail");
    assert_eq!(producer.link().broker.depth(&view.topic.clone().into()).await.unwrap(), Some(1));
    // The relay has nothing to do once the store knows of the publish.
    producer.flush().await;
    let record = producer.link().store.records(vec![sent.id]).await.unwrap().remove(0).unwrap();
    assert_eq!(record.outbox, None);
}

pub(crate) async fn j02_jh_10_what_is_illegal_is_refused_with_the_remedy_and_nothing_is_stored(producer: Producer) {
    let long = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES));
    let deep = format!("{}{}", "[".repeat(limits::JSON_DEPTH + 1), "]".repeat(limits::JSON_DEPTH + 1));
    let very_deep = "[".repeat(limits::INLINE_BYTES);
    let good = || producer.raw("a", "{}");
    let cases = [
        (producer.raw("a..b", "1"), "illegal topic `a..b`"),
        (producer.raw("", "1"), "illegal topic"),
        (producer.raw("a", "{"), "the payload is not JSON"),
        (producer.raw("a", ""), "the payload is not JSON"),
        (producer.raw("a", "1 2"), "the payload is not JSON"),
        (producer.raw("a", &long), "send large input as a file"),
        (producer.raw("a", &deep), "nested deeper than 64"),
        (producer.raw("a", &very_deep), "the payload is not JSON"),
        (good().label("a=b", "c"), "label `a=b`"),
        (good().label("", "c"), "label"),
        (good().title("x".repeat(300)), "title"),
        (good().retries(-2), "retries: -2"),
        (good().timeout(Duration::ZERO), "timeout"),
        (good().after(Duration::MAX), "more than a year"),
        (good().at(Time::from_unix_ms(u64::MAX)), "more than a year"),
        (good().retry_delay(Duration::MAX), "more than a year"),
        (good().expires_in(Duration::MAX), "more than a year"),
        (good().expires_at(Time::from_unix_ms(u64::MAX)), "more than a year"),
        (good().file_bytes("../up", "x"), "file name"),
        (good().file("/nowhere/at/all.bin"), "/nowhere/at/all.bin"),
        (good().file("/"), "file /"),
    ];
    for (job, remedy) in cases {
        let id = job.job_id();
        let error = job.send().await.expect_err(remedy);
        assert!(error.refusal().is_some(), "{error}");
        assert!(error.to_string().contains(remedy), "{error} does not say `{remedy}`");
        assert!(!error.may_repeat());
        assert_eq!(producer.show(id).await.unwrap().map(|view| view.id), None);
    }
    assert_eq!(producer.topics().await.unwrap(), []);
    assert!(producer.counts().await.unwrap().is_empty());
}

pub(crate) async fn j05_j15_j16_a_builder_sets_everything(producer: Producer) {
    let id = producer.new_id();
    let expires = producer.link().world.clock.unix_ms() + 3_600_000;
    let sent = producer
        .job(thumbnail("cat.jpg"))
        .id(id)
        .after(Duration::from_secs(60))
        .retries(2)
        .retry_delay(Duration::from_millis(1_500))
        .timeout(Duration::from_secs(30))
        .expires_at(Time::from_unix_ms(expires))
        .label("shoot", "2026-11")
        .label("customer", "7")
        .title("a cat")
        .created_by("a test")
        .trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Some("v=1".into()))
        .send()
        .await
        .unwrap();
    assert_eq!((sent.id, sent.state, sent.custody), (id, State::Scheduled, Custody::Store));
    let view = producer.show(id).await.unwrap().unwrap();
    assert_eq!(view.waiting.unwrap().reason, "time");
    assert_eq!(view.title.as_deref(), Some("a cat"));
    assert_eq!(view.created_by.as_deref(), Some("a test"));
    assert_eq!(
        view.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
        ["customer=7", "shoot=2026-11"]
    );
    assert_eq!(view.max_retries, 2);
    assert_eq!(view.expires, Some(Time::from_unix_ms(expires).to_string()));
    assert_eq!(view.trace.unwrap().tracestate.as_deref(), Some("v=1"));
    let due: Time = view.due.unwrap().parse().unwrap();
    let created: Time = view.created.parse().unwrap();
    assert_eq!(due.unix_ms() - created.unix_ms(), 60_000);
    let snapshot = producer.link().store.load(vec![id]).await.unwrap().remove(0).unwrap();
    let envelope = Envelope::decode(&snapshot.envelope).unwrap();
    assert_eq!((envelope.retry_delay_ms, envelope.timeout_ms), (Some(1_500), Some(30_000)));
    // JSON of the shape that the command line and HTTP show.
    let json = serde_json::to_value(producer.show(id).await.unwrap().unwrap()).unwrap();
    assert_eq!(json["state"], "scheduled");
    assert_eq!(json["payload"], json!({"asset": "cat.jpg", "width": 320}));
}

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "media/video", retries = 5, retry_delay = "7s", timeout = "2m", version = 3)]
struct Video {}

pub(crate) async fn j05_the_sender_wins_over_the_kind_and_the_kind_over_the_queue(producer: Producer) {
    let options = async |id: JobId| {
        let snapshot = producer.link().store.load(vec![id]).await.unwrap().remove(0).unwrap();
        let envelope = Envelope::decode(&snapshot.envelope).unwrap();
        (snapshot.record.max_retries, envelope.retry_delay_ms, envelope.timeout_ms, envelope.payload_version)
    };
    let queue = producer.send(thumbnail("a")).await.unwrap();
    assert_eq!(options(queue.id).await, (10, None, None, 1), "the queue's delay is looked up when it is needed");
    let kind = producer.send(Video {}).await.unwrap();
    assert_eq!(options(kind.id).await, (5, Some(7_000), Some(120_000), 3));
    let sender = producer.job(Video {}).retries(-1).retry_delay(Duration::ZERO).timeout(Duration::from_secs(1));
    assert_eq!(options(sender.send().await.unwrap().id).await, (-1, Some(0), Some(1_000), 3));
}

pub(crate) async fn j06_ids_are_made_without_coordination_and_repeating_one_makes_no_second_job(producer: Producer) {
    let first = producer.send(thumbnail("a")).await.unwrap();
    let other = producer.send(thumbnail("a")).await.unwrap();
    assert_ne!(first.id, other.id);
    let again = producer.job(thumbnail("a")).id(first.id).send().await.unwrap();
    assert!(again.existed && again.id == first.id && again.state == State::Queued);
    assert_eq!(producer.jobs().ids().await.unwrap().len(), 2);
    let topic = Thumbnail::topic().unwrap();
    assert_eq!(producer.link().broker.depth(&topic.into()).await.unwrap(), Some(2), "it was not published twice");
}

pub(crate) async fn an_id_of_another_topic_is_refused(producer: Producer) {
    let sent = producer.send(thumbnail("a")).await.unwrap();
    let error = producer.raw("other", "{}").id(sent.id).send().await.unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::NotAccepted(_))), "{error}");
    assert!(error.to_string().contains("use a new id"), "{error}");
    producer.remove([sent.id]).await.unwrap();
    producer.remove([sent.id]).await.unwrap();
    let error = producer.job(thumbnail("a")).id(sent.id).send().await.unwrap_err();
    assert!(error.to_string().contains("has ended and was removed"), "{error}");
}

pub(crate) async fn pa_01_payloads_keep_their_values_and_types(producer: Producer) {
    let payloads = [
        json!("text with \"quotes\", ä and \u{0}"),
        json!(7),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(-0.5),
        json!([1, "a", null, true]),
        json!({"nested": {"list": [{}]}}),
        Value::Null,
    ];
    for payload in payloads {
        let sent = producer.raw("any", &payload.to_string()).send().await.unwrap();
        let view = producer.show(sent.id).await.unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Value>(view.payload.get()).unwrap(), payload);
    }
    // Numbers that no machine type holds travel as they are written.
    let big = "123456789012345678901234567890.000000000000000000001";
    let sent = producer.raw("any", big).send().await.unwrap();
    assert_eq!(producer.show(sent.id).await.unwrap().unwrap().payload.get(), big);
}

pub(crate) async fn jh_03_many_at_once_answer_one_by_one(producer: Producer) {
    let jobs = (0..901).map(|n| match n {
        // Wrong ones in the middle of a batch touch nobody.
        450 => producer.raw("a b", "1"),
        451 => producer.raw("bulk/b", "{"),
        n => producer.raw(if n % 2 == 0 { "bulk/a" } else { "bulk/b" }, &n.to_string()).label("n", n.to_string()),
    });
    let jobs: Vec<_> = jobs.collect();
    let ids: Vec<_> = jobs.iter().map(longshore_producer::JobBuilder::job_id).collect();
    let answers = producer.send_all(jobs).await;
    assert_eq!(answers.len(), 901);
    for (n, (answer, id)) in answers.iter().zip(&ids).enumerate() {
        match answer {
            Ok(sent) => assert_eq!((sent.id, sent.custody), (*id, Custody::Both)),
            Err(error) => assert!((n == 450 || n == 451) && error.refusal().is_some(), "{n}: {error}"),
        }
    }
    let counts = producer.counts().await.unwrap();
    let queued = |topic: &str| counts[&topic.parse().unwrap()][&State::Queued];
    assert_eq!((queued("bulk/a"), queued("bulk/b")), (450, 449));
    let broker = &producer.link().broker;
    assert_eq!(broker.depth(&"bulk/a".parse::<longshore_model::Topic>().unwrap().into()).await.unwrap(), Some(450));
    producer.flush().await;
    assert_eq!(producer.link().store.outbox(10, 0).await.unwrap(), [], "the relay has nothing to do");
    // A batch of plain jobs, and one of nothing.
    assert!(producer.send_all((0..3).map(|n| thumbnail(&n.to_string()))).await.iter().all(Result::is_ok));
    assert!(producer.send_all(Vec::<Thumbnail>::new()).await.is_empty());
}

pub(crate) async fn a_delayed_job_is_in_the_store_only(producer: Producer) {
    let past = Time::from_unix_ms(1_000);
    let sent = producer.job(thumbnail("now")).at(past).send().await.unwrap();
    assert_eq!((sent.state, sent.custody), (State::Queued, Custody::Both), "a time in the past is at once");
    let sent = producer.job(thumbnail("now")).after(Duration::ZERO).send().await.unwrap();
    assert_eq!(sent.state, State::Queued);
    let sent = producer.job(thumbnail("later")).after(Duration::from_secs(3_600)).send().await.unwrap();
    assert_eq!((sent.state, sent.custody), (State::Scheduled, Custody::Store));
    assert_eq!(producer.link().broker.depth(&Thumbnail::topic().unwrap().into()).await.unwrap(), Some(2));
}

pub(crate) async fn j04_concurrent_sends_of_one_id_make_one_job(producer: Producer) {
    let id = producer.new_id();
    let sends = (0..50).map(|_| producer.job(thumbnail("same")).id(id).send());
    let answers = futures_util::future::join_all(sends).await;
    let new = answers.iter().filter(|answer| !answer.as_ref().unwrap().existed).count();
    assert_eq!(new, 1);
    assert_eq!(producer.jobs().ids().await.unwrap(), [id]);
    assert_eq!(producer.link().broker.depth(&Thumbnail::topic().unwrap().into()).await.unwrap(), Some(1));
}
