//! What an attempt may bring about: follow-up jobs, a snooze, a timeout; and what it is told of its job.

use std::time::Duration;

use longshore_consumer::{Cancelled, Ctx, FollowUp, Outcome};
use longshore_producer::{JobId, Reason, State, Topic};
use serde_json::json;

use super::{Fleet, Runs};

const TOPIC: &str = "test/flow";
const CHILD: &str = "test/child";

fn child(n: u32) -> FollowUp {
    FollowUp::raw(Topic::new(CHILD).unwrap(), n.to_string()).unwrap()
}

async fn children(fleet: &Fleet) -> Vec<JobId> {
    fleet.producer().jobs().topic(CHILD).limit(0).ids().await.unwrap()
}

/// Every attempt sends them, the one that succeeds is the one that counts.
pub async fn follow_up_jobs_are_sent_once_though_the_attempt_is_repeated(fleet: &Fleet) {
    let (runs, child_runs) = (Runs::default(), Runs::default());
    let work = runs.then(|ctx| async move {
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(ctx.enqueue_with(child(n))?);
        }
        match ctx.attempt() {
            1 => Ok(Outcome::retry_in(Duration::from_millis(100), "not yet")),
            2 => Ok(Outcome::snooze(Duration::from_millis(100), "not yet")),
            _ => Ok::<_, longshore_consumer::follow_up::BadFollowUp>(Outcome::result(ids)),
        }
    });
    let consumer = fleet.consumer().await.on(TOPIC, work).on(CHILD, child_runs.then(|_| async {}));
    let running = fleet.start(consumer).await;
    let report = fleet.end(&fleet.send_to(TOPIC).await).await;
    assert_eq!((runs.count(), report.job.attempt), (3, 3));
    let mut ids = report.result::<Vec<JobId>>().unwrap();
    for (n, id) in ids.iter().enumerate() {
        let job = fleet.end_of(*id).await.job;
        assert_eq!((job.state, job.parent), (State::Succeeded, Some(report.job.id)));
        assert_eq!((job.payload.get(), job.attempt), (n.to_string().as_str(), 1));
    }
    fleet.quiet(Duration::from_secs(10)).await;
    let mut found = children(fleet).await;
    found.sort();
    ids.sort();
    assert_eq!(found, ids, "three jobs and no more");
    assert_eq!(child_runs.count(), 3);
    running.drain().await;
}

/// Sent means: if, and only if, the attempt succeeds.
pub async fn a_failed_job_sends_no_follow_up_jobs(fleet: &Fleet) {
    let work = |ctx: Ctx| async move {
        let sent = ctx.enqueue_with(child(1));
        Outcome::fail(format!("after {sent:?}"))
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work).on(CHILD, |_| async {})).await;
    let job = fleet.end(&fleet.send_to(TOPIC).await).await.job;
    assert_eq!((job.state, job.reason), (State::Error, Some(Reason::Permanent)));
    fleet.quiet(Duration::from_secs(5)).await;
    assert_eq!(children(fleet).await, []);
    running.drain().await;
}

/// A job without any retry is called again as often as it asks for it.
pub async fn s05_s06_a_snooze_costs_no_retry(fleet: &Fleet) {
    let nap = Duration::from_millis(200);
    let runs = Runs::default();
    let work = runs.then(move |ctx| async move {
        if ctx.attempt() <= 2 { Outcome::snooze(nap, "the other side is busy") } else { Outcome::done() }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let job = fleet.end(&fleet.send(fleet.producer().raw(TOPIC, "{}").retries(0)).await).await.job;
    assert_eq!((job.state, job.attempt, job.retries, job.crashes), (State::Succeeded, 3, 0, 0));
    let seen = runs.all();
    assert!(seen.iter().all(|run| run.retry == 0));
    for pair in seen.windows(2) {
        let between = pair[1].at - pair[0].at;
        assert!(between >= nap && between < nap + fleet.slack(), "{between:?}");
    }
    running.drain().await;
}

/// The handler is told, and the attempt counts as failed.
pub async fn an_attempt_over_its_time_fails_and_is_retried(fleet: &Fleet) {
    let limit = Duration::from_millis(300);
    let runs = Runs::default();
    let work = runs.then(|ctx| async move {
        if ctx.attempt() == 2 {
            return Ok(());
        }
        Err(ctx.until_cancelled().await)
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let soon = Duration::from_millis(50);
    let sent = fleet.send(fleet.producer().raw(TOPIC, "{}").retries(1).retry_delay(soon).timeout(limit)).await;
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.attempt, job.retries), (State::Succeeded, 2, 1));
    let error = job.attempts[0].error.clone().unwrap();
    assert_eq!((job.attempts[0].outcome.as_str(), error), ("failed", Cancelled::TimedOut(limit).to_string()));
    let seen = runs.all();
    let between = seen[1].at - seen[0].at;
    assert!(between >= limit + soon && between < limit + soon + fleet.slack(), "{between:?}");
    running.drain().await;
}

/// What the sender says of the job is there for the handler and for whoever looks.
pub async fn j05_j15_labels_title_and_trace_context_reach_the_handler(fleet: &Fleet) {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let work = |ctx: Ctx| async move {
        let envelope = &ctx.job().envelope;
        let trace = ctx.trace().map(|trace| (&trace.traceparent, &trace.tracestate));
        Outcome::result(json!({"labels": envelope.labels, "title": envelope.title, "trace": trace}))
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let job = fleet.producer().raw(TOPIC, "{}").label("shoot", "2026-11").label("site", "north").title("A title");
    let sent = fleet.send(job.trace(parent, Some("vendor=1".into()))).await;
    let report = fleet.end(&sent).await;
    let labels = json!({"shoot": "2026-11", "site": "north"});
    let expected = json!({"labels": labels, "title": "A title", "trace": [parent, "vendor=1"]});
    assert_eq!(report.result::<serde_json::Value>().unwrap(), expected);
    assert_eq!(report.job.title.as_deref(), Some("A title"));
    assert_eq!(serde_json::to_value(&report.job.labels).unwrap(), labels);
    assert_eq!(report.job.trace.unwrap().traceparent, parent);
    let found = fleet.producer().jobs().label("shoot", "2026-11").label("site", "north").ids().await.unwrap();
    assert_eq!(found, [sent.id]);
    running.drain().await;
}
