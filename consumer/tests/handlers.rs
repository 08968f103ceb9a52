//! `[[handlers]]` on the embedded backend: what a program or an endpoint is told of its job, and what its end means.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod support;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use longshore_consumer::program::handlers::{self, Tools};
use longshore_consumer::program::http::Caller;
use longshore_consumer::{Consumer, Running};
use longshore_link::World;
use longshore_model::settings::Settings;
use longshore_model::{Reason, State};
use longshore_producer::{JobBuilder, Producer, Report};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::DEADLINE;
use tokio::net::TcpListener;

/// A consumer with the handlers of a settings text, and a producer beside it.
struct Bench {
    producer: Producer,
    running: Running,
}

impl Bench {
    async fn start(name: &str, settings: &str) -> Self {
        let text = format!("broker.url = \"embedded:{name}\"\nstore.url = \"embedded:{name}\"\n{settings}");
        let loaded = Settings::read(Some(("test", &text)), [], &[]).unwrap();
        let producer = Producer::connect(&loaded.settings).await.unwrap();
        let world = World::system();
        let tools = Tools::with(support::launcher(), Caller::new().unwrap(), world.clock.clone());
        let handlers = handlers::prepare(&loaded.handlers).unwrap();
        let consumer = Consumer::from_loaded(loaded).world(world);
        let consumer = handlers.into_iter().fold(consumer, |consumer, handler| handler.register(consumer, &tools));
        let running = consumer.start().await.unwrap();
        running.ready().await;
        Self { producer, running }
    }

    /// A handler that is a shell script, for the topic `run`.
    async fn script(name: &str, script: &str, more: &str) -> Self {
        let exec = json!(["sh", "-c", script]);
        Self::start(name, &format!("[[handlers]]\ntopic = \"run\"\nexec = {exec}\n{more}")).await
    }

    fn job(&self) -> JobBuilder {
        self.producer.raw("run", r#"{"asset":"a"}"#)
    }

    async fn end(&self, job: JobBuilder) -> Report {
        job.send().await.unwrap().outcome().timeout(DEADLINE).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_told_of_its_job_and_reports() {
    let script = r#"
        cp "$LONGSHORE_INPUT_DIR/in.txt" "$LONGSHORE_OUTPUT_DIR/out.txt"
        echo "::progress 1/2 half" >&2; echo "::set width=3" >&2; echo "a line" >&2
        printf '{"payload": %s, "id": "%s", "topic": "%s", "attempt": %s, "retry": %s, "trace": "%s", "env": "%s"}' \
            "$(cat)" "$LONGSHORE_JOB_ID" "$LONGSHORE_TOPIC" "$LONGSHORE_ATTEMPT" "$LONGSHORE_RETRY" "$TRACEPARENT" "$OWN"
    "#;
    let bench = Bench::script("exec-told", script, "env = { OWN = \"x\" }").await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let report = bench.end(bench.job().trace(trace, None).file_bytes("in.txt", "hello")).await;
    assert_eq!(
        report.result::<Value>().unwrap(),
        json!({
            "payload": {"asset": "a"}, "id": report.job.id, "topic": "run", "attempt": 1, "retry": 0,
            "trace": trace, "env": "x"
        })
    );
    assert_eq!(report.job.properties["width"], json!(3));
    assert!(report.job.log.iter().any(|line| line.text == "a line"), "{:?}", report.job.log);
    let progress = report.job.progress.as_ref().unwrap();
    assert_eq!((progress.step, progress.steps, progress.text.as_deref()), (1, 2, Some("half")));
    assert_eq!(report.outputs()[0].name, "out.txt");
    bench.running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_files_has_empty_directories() {
    let script = r#"ls -A "$LONGSHORE_INPUT_DIR" "$LONGSHORE_OUTPUT_DIR" | grep -v : | wc -w"#;
    let bench = Bench::script("exec-empty", script, "").await;
    assert_eq!(bench.end(bench.job()).await.result::<u64>().unwrap(), 0);
    bench.running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_statuses_mean_what_the_manual_says() {
    // The payload says how it ends on which attempt.
    let script = r#"cat >/dev/null; [ "$LONGSHORE_ATTEMPT" = 1 ] && { echo why >&2; exit "$FIRST"; }; exit 0"#;
    for (status, state, attempts) in [(65, State::Error, 1), (75, State::Succeeded, 2), (1, State::Succeeded, 2)] {
        let env = format!("env = {{ FIRST = \"{status}\" }}");
        let bench = Bench::script(&format!("exec-status-{status}"), script, &env).await;
        let report = bench.end(bench.job().retry_delay(Duration::from_millis(10))).await;
        assert_eq!((report.job.state, report.job.attempt), (state, attempts), "{status}: {:?}", report.job);
        if state == State::Error {
            assert_eq!(report.job.message.as_deref(), Some("exit status 65: why"));
        }
        bench.running.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_runs_too_long_is_ended_and_counted_as_failed() {
    let more = "timeout = \"300ms\"\ngrace = \"100ms\"";
    let bench = Bench::script("exec-timeout", "trap '' TERM; while :; do sleep 0.02; done", more).await;
    let report = bench.end(bench.job().retries(0)).await;
    assert_eq!((report.job.state, report.job.attempt), (State::GivenUp, 1));
    assert!(report.job.message.as_deref().unwrap().contains("longer than 300ms"), "{:?}", report.job.message);
    assert!(report.job.log.iter().any(|line| line.text.contains("did not stop")), "{:?}", report.job.log);
    bench.running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_program_gets_a_signal_and_its_job_ends_as_stopped() {
    let script = "echo up >&2; trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let bench = Bench::script("exec-stop", script, "").await;
    let sent = bench.job().send().await.unwrap();
    support::wait_until(async || bench.producer.show(sent.id).await.unwrap().is_some_and(|job| !job.log.is_empty()))
        .await;
    bench.producer.stop([sent.id], "enough").await.unwrap();
    let report = sent.outcome().timeout(DEADLINE).await.unwrap();
    assert_eq!(report.job.state, State::Stopped, "{:?}", report.job);
    bench.running.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_gives_a_running_program_back_uncharged() {
    let script = "echo up >&2; exec sleep 1000";
    let bench = Bench::script("exec-drain", script, "[instance]\ngrace = \"0s\"").await;
    let sent = bench.job().send().await.unwrap();
    support::wait_until(async || bench.producer.show(sent.id).await.unwrap().is_some_and(|job| !job.log.is_empty()))
        .await;
    bench.running.drain().await;
    let job = bench.producer.show(sent.id).await.unwrap().unwrap();
    assert_eq!((job.state, job.retries, job.crashes), (State::Queued, 0, 0), "{job:?}");
    assert_eq!(job.reason, Some(Reason::Interrupted));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_called_and_its_answers_are_judged() {
    let calls = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&calls);
    let answer = async move |headers: HeaderMap, body: String| match seen.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")], String::new()),
        1 => (StatusCode::INTERNAL_SERVER_ERROR, [("x", "")], String::new()),
        _ => {
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            let (attempt, retry) = (header("longshore-attempt"), header("longshore-retry"));
            (StatusCode::OK, [("x", "")], json!([attempt, retry, body]).to_string())
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route("/run", post(answer));
    let client = async {
        let settings = format!("[[handlers]]\ntopic = \"run\"\nhttp = \"http://{address}/run\"\n");
        let bench = Bench::start("http", &settings).await;
        let report = bench.end(bench.job().retry_delay(Duration::from_millis(10))).await;
        assert_eq!(report.result::<Value>().unwrap(), json!(["3", "1", r#"{"asset":"a"}"#]));
        assert_eq!((report.job.retries, calls.load(Ordering::SeqCst)), (1, 3));
        bench.running.drain().await;
    };
    tokio::select! {
        served = axum::serve(listener, routes).into_future() => panic!("the server ended: {served:?}"),
        () = client => {}
    }
}
