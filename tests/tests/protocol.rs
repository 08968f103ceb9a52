//! `docs/protocol.md` is true: its envelope is read, its tables name every field and header, and its Python program
//! sends a job that Longshore runs.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use longshore_consumer::{Consumer, Ctx, Outcome};
use longshore_model::envelope::Envelope;
use longshore_model::names::{BrokerNames, Namespace, Park, headers};
use longshore_model::secret::Secret;
use longshore_model::settings::Settings;
use longshore_producer::Producer;
use longshore_tests::services::{Shared, namespace};
use longshore_tests::wait::{eventually, within};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::process::Command;

const PAGE: &str = include_str!("../../docs/protocol.md");
const SOON: Duration = Duration::from_secs(60);

/// The content of the page's one block whose fence ends with `info`.
fn block(info: &str) -> &'static str {
    let fence = format!("```{info}\n");
    let (_, after) = PAGE.split_once(&fence).unwrap_or_else(|| panic!("docs/protocol.md has no block `{info}`"));
    let (content, rest) = after.split_once("```").unwrap();
    assert!(!rest.contains(&fence), "docs/protocol.md has two blocks `{info}`");
    content
}

#[test]
fn the_envelope_of_the_page_is_read_field_by_field() {
    let text = block("json envelope");
    let envelope = Envelope::decode(text.as_bytes()).unwrap();
    assert_eq!(envelope.v, longshore_model::envelope::VERSION);
    assert_eq!(envelope.id.to_string(), "019aa5f0-7c3e-7b1a-9c44-0d6f2b7e1a00");
    assert!(envelope.id.created_ms() > 0, "its id is a UUIDv7");
    assert_eq!(envelope.topic.as_str(), "media/thumbnail");
    assert_eq!(envelope.payload.get(), r#"{"asset": "cat.jpg", "width": 320}"#);
    assert_eq!(envelope.payload_version, 2);
    assert_eq!(envelope.queue.as_deref(), Some("media"));
    assert_eq!(envelope.title.as_deref(), Some("Thumbnail of the cat"));
    assert_eq!(envelope.labels["shoot"], "2026-11");
    assert_eq!((envelope.retries, envelope.retry_delay_ms, envelope.timeout_ms), (Some(5), Some(2_000), Some(120_000)));
    assert_eq!(envelope.expires_ms, Some(1_795_255_200_000));
    assert_eq!(envelope.site.as_ref().unwrap().to_string(), "prefer_label:gpu=yes");
    assert_eq!(envelope.created_by.as_deref(), Some("upload-service"));
    assert!(envelope.parent.is_some() && envelope.retry_of.is_some());
    assert!(envelope.trace.as_ref().unwrap().tracestate.is_some());
    assert_eq!(envelope.files[0].inline.as_deref(), Some("aGVsbG8="));
    assert_eq!(envelope.schedule.as_ref().unwrap().slot_ms, Some(1_795_255_140_000));
    // Written again it says the same, so the page shows every field that there is, under its right name.
    let again: Value = serde_json::from_slice(&envelope.encode().unwrap()).unwrap();
    assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
}

#[test]
fn every_field_header_and_queue_is_described() {
    let envelope: Value = serde_json::from_str(block("json envelope")).unwrap();
    for field in envelope.as_object().unwrap().keys() {
        assert!(PAGE.contains(&format!("\n| `{field}` |")), "docs/protocol.md has no row for the field `{field}`");
    }
    use headers::{ENQUEUED, FENCE, GENERATION, PARKED, REASON, TRACEPARENT, TRACESTATE};
    for header in [ENQUEUED, FENCE, GENERATION, PARKED, REASON, TRACEPARENT, TRACESTATE] {
        assert!(PAGE.contains(&format!("`{header}`")), "docs/protocol.md does not name the header `{header}`");
    }
    let names = BrokerNames::new(Namespace::new("ns").unwrap());
    let parks = names.park(Park::Short);
    for name in [names.jobs(), names.direct(), names.unrouted(), names.dead(), names.quarantine(), parks] {
        let shown = name.replacen("ns", "<ns>", 1);
        assert!(PAGE.contains(&format!("`{shown}`")), "docs/protocol.md does not name `{shown}`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_program_of_the_page_sends_a_job_that_runs_once() {
    let services = Shared::services().await;
    let mut settings = Settings { namespace: Namespace::new(&namespace("protocol")).unwrap(), ..Settings::default() };
    settings.broker.url = Secret::new(&services.broker_url);
    settings.store.url = Secret::new(&services.store_url);
    let home = tempfile::tempdir().unwrap();
    settings.instance.name = Some("protocol".into());
    settings.instance.home = Some(home.path().join("home"));

    let producer = Producer::connect(&settings).await.unwrap();
    let consumer = Consumer::new(settings.clone()).on("media/thumbnail", |ctx: Ctx| async move {
        let payload: Value = ctx.payload_as().unwrap_or_default();
        Outcome::result(json!({"asset": payload["asset"], "id": ctx.id().to_string()}))
    });
    let running = within(SOON, "the consumer starts", Box::pin(consumer.start())).await.unwrap();
    within(SOON, "the consumer is ready", running.ready()).await;

    // The system's Python, which Debian's python3-pika belongs to; another one may come first on the path.
    let python = Command::new("/usr/bin/python3")
        .args(["-c", block("python")])
        .env("LONGSHORE_NAMESPACE", settings.namespace.as_str())
        .env("LONGSHORE_BROKER__URL", &services.broker_url)
        .kill_on_drop(true)
        .output();
    let said = within(SOON, "the Python program", python).await.unwrap();
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{complaint}; does python3-pika exist? deploy/test installs it");
    let id = String::from_utf8(said.stdout).unwrap().parse().unwrap();

    // The store learns of the job when it is claimed: until then nobody can wait for it.
    eventually(SOON, "the job is known", async || producer.show(id).await.unwrap()).await;
    let job = producer.outcome(id).timeout(SOON).await.unwrap().job;
    assert_eq!(job.state.as_str(), "succeeded");
    let result: Value = serde_json::from_str(job.result.as_ref().unwrap().get()).unwrap();
    assert_eq!(result, json!({"asset": "cat.jpg", "id": id.to_string()}));
    assert_eq!((job.labels["sent-by"].as_str(), job.max_retries), ("python", 5));
    // Both copies are gone, and one of them ran.
    eventually(SOON, "the duplicate is acknowledged", async || {
        let refused = running.metrics().contains("longshore_refused_copies_total 1");
        let parked = running.metrics().contains("longshore_parked_copies_total 1");
        (refused || parked).then_some(())
    })
    .await;
    assert!(running.metrics().contains("longshore_attempts_started_total 1"), "{}", running.metrics());
    running.drain().await;
}
