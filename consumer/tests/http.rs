//! Jobs run as HTTP requests, against a server in this process: what is sent, and what each kind of answer means.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::{
    future::pending,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Response, StatusCode},
    routing::post,
};
use longshore_consumer::program::http::{Caller, Endpoint, HttpJob, HttpOutcome};
use longshore_model::{JobId, Topic};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_secs(20);

fn job() -> HttpJob {
    HttpJob {
        id: JobId::new(1_700_000_000_000, [7; 16], 0),
        topic: Topic::new("media/thumbnail").unwrap(),
        attempt: 3,
        retry: 2,
        timeout: Some(Duration::from_secs(9)),
        soft_timeout: None,
        trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH
}

/// Serves `routes` while `client` runs.
async fn with_server<T>(routes: Router, client: impl AsyncFnOnce(SocketAddr) -> T) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::select! {
        served = axum::serve(listener, routes).into_future() => panic!("the server ended: {served:?}"),
        result = client(address) => result,
    }
}

async fn call(address: SocketAddr, path: &str, timeout: Duration) -> HttpOutcome {
    let endpoint = Endpoint::new(&format!("http://me:secret@{address}{path}?token=secret")).unwrap();
    let cancel = CancellationToken::new();
    Caller::new().unwrap().call(&endpoint, &job(), r#"{"asset":"a"}"#.into(), timeout, &cancel, || (), now).await
}

/// What the answer of a handler means.
async fn outcome_of(answer: impl FnOnce() -> Response<Body> + Clone + Send + Sync + 'static) -> HttpOutcome {
    let routes = Router::new().route("/run", post(async move || answer()));
    with_server(routes, async |address| call(address, "/run", LONG).await).await
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

fn message(outcome: HttpOutcome) -> String {
    match outcome {
        HttpOutcome::Permanent(text, _) | HttpOutcome::Retry(text, _) => text,
        other => panic!("not a failure: {other:?}"),
    }
}

#[tokio::test]
async fn the_request_tells_of_the_job() {
    let echo = async |headers: HeaderMap, body: Bytes| {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let names = ["longshore-topic", "longshore-attempt", "longshore-retry", "traceparent", "content-type"];
        let told: Vec<_> = names.into_iter().map(header).collect();
        let id = header("longshore-job-id");
        let authorized = headers.get("authorization").is_some_and(|value| value.as_bytes().starts_with(b"Basic "));
        json!({"told": told, "id": id, "body": String::from_utf8_lossy(&body), "authorized": authorized}).to_string()
    };
    let routes = Router::new().route("/run", post(echo));
    let outcome = with_server(routes, async |address| call(address, "/run", LONG).await).await;
    let job = job();
    let expect = json!({
        "told": ["media/thumbnail", "3", "2", job.trace_parent, "application/json"],
        "id": job.id.to_string(),
        "body": r#"{"asset":"a"}"#,
        "authorized": true,
    });
    assert_eq!(outcome, HttpOutcome::Succeeded(expect));
}

#[tokio::test]
async fn success_is_the_body() {
    assert_eq!(outcome_of(|| answer(200, &[], r#"{"a": 1}"#)).await, HttpOutcome::Succeeded(json!({"a": 1})));
    assert_eq!(outcome_of(|| answer(201, &[], "fine")).await, HttpOutcome::Succeeded(json!("fine")));
    assert_eq!(outcome_of(|| answer(204, &[], "")).await, HttpOutcome::Succeeded(json!(null)));
}

#[tokio::test]
async fn an_endless_body_is_refused_and_not_read_to_its_end() {
    let endless = || {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 1000])));
        answer(200, &[], Body::from_stream(chunks))
    };
    let outcome = tokio::time::timeout(LONG, outcome_of(endless)).await.unwrap();
    assert!(matches!(&outcome, HttpOutcome::Permanent(text, _) if text.contains("65536")), "{outcome:?}");
}

#[tokio::test]
async fn retry_after_snoozes() {
    for status in [429, 503] {
        let outcome = outcome_of(move || answer(status, &[("retry-after", "7")], "")).await;
        assert_eq!(outcome, HttpOutcome::Snooze(Duration::from_secs(7)), "{status}");
    }
    let date = [("date", "Wed, 01 Jan 2025 00:00:00 GMT"), ("retry-after", "Wed, 01 Jan 2025 00:01:30 GMT")];
    let outcome = outcome_of(move || answer(503, &date, "")).await;
    assert_eq!(outcome, HttpOutcome::Snooze(Duration::from_secs(90)));
    let outcome = outcome_of(|| answer(400, &[("retry-after", "7")], "")).await;
    assert!(matches!(outcome, HttpOutcome::Permanent(..)), "only 429 and 503 may ask for time: {outcome:?}");
}

#[tokio::test]
async fn failures_are_permanent_or_not() {
    for status in [400, 401, 404, 410, 422] {
        let outcome = outcome_of(move || answer(status, &[], "no such asset")).await;
        assert!(matches!(outcome, HttpOutcome::Permanent(..)), "{status}: {outcome:?}");
        let text = message(outcome);
        let reason = StatusCode::from_u16(status).unwrap();
        assert!(text.contains(&format!("/run answered {reason}: no such asset")), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let outcome = outcome_of(move || answer(status, &[], "")).await;
        assert!(matches!(outcome, HttpOutcome::Retry(..)), "{status}: {outcome:?}");
    }
    let outcome = outcome_of(|| answer(400, &[], "\x1b[2J".repeat(90_000))).await;
    assert!(matches!(outcome, HttpOutcome::Permanent(..)));
    let text = message(outcome);
    assert!(text.len() < 1_000 && text.contains("\\u{1b}"), "{text}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let outcome = outcome_of(|| answer(307, &[("location", "/elsewhere")], "")).await;
    assert!(matches!(&outcome, HttpOutcome::Permanent(text, _) if text.contains("redirects")), "{outcome:?}");
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let routes = Router::new().route("/run", post(async || pending::<()>().await));
    let outcome = with_server(routes, async |address| call(address, "/run", Duration::from_millis(100)).await).await;
    assert!(matches!(&outcome, HttpOutcome::Retry(text, _) if text.contains("in time")), "{outcome:?}");
    assert!(!message(outcome).contains("secret"));
}

#[tokio::test]
async fn a_body_that_stalls_is_a_timeout() {
    let stalls = async || {
        use futures_util::StreamExt;
        let chunks =
            futures_util::stream::iter([Ok::<_, std::io::Error>("half")]).chain(futures_util::stream::pending());
        answer(200, &[], Body::from_stream(chunks))
    };
    let routes = Router::new().route("/run", post(stalls));
    let outcome = with_server(routes, async |address| call(address, "/run", Duration::from_millis(200)).await).await;
    assert!(matches!(&outcome, HttpOutcome::Retry(text, _) if text.contains("in time")), "{outcome:?}");
}

#[tokio::test]
async fn an_absent_endpoint_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let outcome = call(address, "/run", LONG).await;
    assert!(matches!(&outcome, HttpOutcome::Retry(text, _) if text.contains("cannot be reached")), "{outcome:?}");
    assert!(!message(outcome).contains("secret"));
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_retried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let garbage = async {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"hello there\r\n\r\n").await.unwrap();
        pending::<()>().await;
    };
    let outcome = tokio::select! { () = garbage => unreachable!(), outcome = call(address, "/run", LONG) => outcome };
    assert!(matches!(&outcome, HttpOutcome::Retry(text, _) if text.contains("broke off")), "{outcome:?}");
    assert!(!message(outcome).contains("secret"));
}

#[tokio::test]
async fn a_cancelled_call_ends_at_once() {
    let cancel = CancellationToken::new();
    let arrived = cancel.clone();
    let routes = Router::new().route(
        "/run",
        post(async move || {
            arrived.cancel();
            pending::<()>().await;
        }),
    );
    let outcome = with_server(routes, async |address| {
        let endpoint = Endpoint::new(&format!("http://{address}/run")).unwrap();
        Caller::new().unwrap().call(&endpoint, &job(), "{}".into(), LONG, &cancel, || (), now).await
    });
    assert_eq!(outcome.await, HttpOutcome::Interrupted);
}
