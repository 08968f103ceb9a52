//! Payloads: they arrive as they were sent, and wait where nobody can read them.

use std::time::Duration;

use longshore_consumer::{Ctx, Json};
use longshore_producer::{Job, Reason, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Fleet, Runs};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Job)]
#[job(topic = "test/payload")]
struct Everything {
    text: String,
    int: i32,
    long: i64,
    unsigned: u64,
    real: f64,
    flag: bool,
    nothing: Option<String>,
    list: Vec<Value>,
    map: std::collections::BTreeMap<String, Value>,
}

/// PA-01: what is sent, what the handler reads, and what the record and the result show are the same.
pub async fn pa_01_payloads_keep_their_values_and_types(fleet: &Fleet) {
    let echo = async |job: Everything| Json(job);
    let running = fleet.start(fleet.consumer().await.handle(echo)).await;
    let sent_payload = Everything {
        text: "tab\t, quote \", NUL \u{0}, snowman \u{2603}, clef \u{1d11e}".into(),
        int: i32::MIN,
        long: i64::MIN,
        unsigned: u64::MAX,
        real: 0.1 + 0.2,
        flag: true,
        nothing: None,
        list: vec![json!("a"), json!(1), json!([2.5, null]), json!({"deep": {"er": []}})],
        map: [("k".into(), json!(i64::MAX)), ("\u{e4}".into(), json!(false))].into(),
    };
    let report = fleet.end(&fleet.send(fleet.producer().job(sent_payload.clone())).await).await;
    assert_eq!(report.result::<Everything>().unwrap(), sent_payload);
    assert_eq!(report.job.payload.get(), serde_json::to_string(&sent_payload).unwrap());
    running.drain().await;
}

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/versioned")]
struct Old {
    name: String,
}

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/versioned", version = 2)]
struct New {
    title: String,
}

fn old(runs: &Runs) -> impl Fn(Old, Ctx) -> std::future::Ready<()> + Clone + Send + Sync + 'static {
    let runs = runs.clone();
    move |_, ctx| {
        runs.note_by("old", &ctx);
        std::future::ready(())
    }
}

fn new(runs: &Runs) -> impl Fn(New, Ctx) -> std::future::Ready<()> + Clone + Send + Sync + 'static {
    let runs = runs.clone();
    move |_, ctx| {
        runs.note_by("new", &ctx);
        std::future::ready(())
    }
}

/// PA-02: the instance takes the topic and cannot read this job.
pub async fn s11_pa_02_a_payload_of_a_newer_version_waits_and_says_why(fleet: &Fleet) {
    let runs = Runs::default();
    let consumer = fleet.consumer().await.handle(old(&runs)).on("test/other", |_| async {});
    let running = fleet.start(consumer).await;
    let sent = fleet.send(fleet.producer().job(New { title: "t".into() })).await;
    // Neither other topics nor older jobs of the same topic are held up.
    assert!(fleet.end(&fleet.send_to("test/other").await).await.is_success());
    assert!(fleet.end(&fleet.send(fleet.producer().job(Old { name: "n".into() })).await).await.is_success());
    fleet.quiet(Duration::from_secs(90)).await;
    assert_eq!(runs.count(), 1, "the older job alone ran");
    assert_eq!(fleet.unfinished().await, [sent.id]);
    let view = fleet.show(sent.id).await;
    assert_eq!((view.state, view.attempt), (State::Queued, 0));
    let waiting = view.waiting.unwrap();
    assert_eq!(waiting.reason, "payload_version");
    assert!(waiting.detail.contains("version 2"), "{}", waiting.detail);
    running.drain().await;
}

/// PA-02: the job runs when an instance starts that reads it, though its copies rest for half a minute at a time.
pub async fn s11_pa_02_a_payload_of_a_newer_version_runs_when_a_reader_starts(fleet: &Fleet) {
    let runs = Runs::default();
    let first = fleet.start(fleet.consumer().await.handle(old(&runs))).await;
    let sent = fleet.send(fleet.producer().job(New { title: "t".into() })).await;
    fleet.quiet(Duration::from_secs(100)).await;
    assert_eq!(runs.count(), 0);
    let second = fleet.start(fleet.consumer().await.handle(new(&runs))).await;
    // While both are there, a copy may come to the one that cannot read it and rest once more; then it goes away.
    first.drain().await;
    let report = fleet.end(&sent).await;
    assert_eq!((report.job.state, report.job.attempt), (State::Succeeded, 1));
    assert_eq!(runs.all().iter().map(|run| run.by).collect::<Vec<_>>(), ["new"]);
    fleet.quiet(Duration::from_secs(120)).await;
    assert_eq!(runs.count(), 1, "no copy that rested runs again");
    second.drain().await;
}

/// PA-02: waiting would not help.
pub async fn s11_pa_02_a_payload_of_the_same_version_that_cannot_be_read_is_an_error(fleet: &Fleet) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.handle(old(&runs))).await;
    let sent = fleet.send(fleet.producer().raw("test/versioned", r#"{"name": 5}"#)).await;
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.reason), (State::Error, Some(Reason::UnreadablePayload)));
    assert_eq!((job.attempt, job.retries, runs.count()), (1, 0, 0));
    assert!(job.message.as_deref().is_some_and(|text| text.contains("test/versioned")), "{:?}", job.message);
    running.drain().await;
}
