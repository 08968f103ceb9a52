//! People change their minds: stop, remove, run again; what the handler hears of it, and when.

use std::time::Duration;

use longshore_consumer::{Cancelled, Ctx, Outcome};
use longshore_producer::{Edit, Rate, Reason, Removed, RetryError, State, Stopped};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Fleet, Runs};

const TOPIC: &str = "test/control";
/// Well under a beat, which is two seconds: it is the nudge that brings it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// J13: the handler hears of it within a second, who asked, and the job ends as stopped.
pub async fn j13_s03_u10_stopping_a_running_job_reaches_its_handler_at_once(fleet: &Fleet) {
    let (runs, (heard, mut hears)) = (Runs::default(), mpsc::unbounded_channel());
    let work = runs.then(move |ctx| {
        let heard = heard.clone();
        async move {
            let reason = ctx.until_cancelled().await;
            heard.send((reason.clone(), Instant::now())).unwrap();
            Err::<(), Cancelled>(reason)
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    let asked = Instant::now();
    assert_eq!(fleet.producer().stop([sent.id], "changed my mind").await.unwrap(), [Stopped::Asked]);
    let (reason, at) = fleet.within("the handler hears of the stop", hears.recv()).await.unwrap();
    assert_eq!(reason, Cancelled::Stopped("changed my mind".into()));
    assert!(at - asked < AT_ONCE, "heard after {:?}", at - asked);
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.reason), (State::Stopped, Some(Reason::StopRequested)));
    assert_eq!((job.attempt, job.retries, runs.count()), (1, 0, 1));
    running.drain().await;
}

/// J13: one that waits for a consumer and one that waits for its time end at once and never run.
pub async fn j13_stopping_a_waiting_job_ends_it(fleet: &Fleet) {
    let queued = fleet.send_to(TOPIC).await;
    let delayed = fleet.send(fleet.producer().raw(TOPIC, "{}").after(Duration::from_millis(500))).await;
    let answers = fleet.producer().stop([queued.id, delayed.id], "too late").await.unwrap();
    assert_eq!(answers, [Stopped::Now, Stopped::Now]);
    for sent in [&queued, &delayed] {
        let job = fleet.end(sent).await.job;
        assert_eq!((job.state, job.reason, job.attempt), (State::Stopped, Some(Reason::StopRequested), 0));
        assert_eq!(job.message.as_deref(), Some("too late"));
    }
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    assert!(fleet.end(&fleet.send_to(TOPIC).await).await.is_success());
    fleet.quiet(Duration::from_secs(5)).await;
    assert_eq!(runs.count(), 1, "only the later job ran");
    running.drain().await;
}

/// J12: its handler is told, and nothing that it still does counts.
pub async fn j12_removing_a_running_job_cancels_it_and_its_late_success_changes_nothing(fleet: &Fleet) {
    let (runs, (heard, mut hears)) = (Runs::default(), mpsc::unbounded_channel());
    let work = runs.then(move |ctx| {
        let heard = heard.clone();
        async move {
            heard.send((ctx.until_cancelled().await, Instant::now())).unwrap();
            ctx.log("all the same");
            Outcome::result("done all the same")
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    let asked = Instant::now();
    assert_eq!(fleet.producer().remove([sent.id]).await.unwrap(), [Removed::Dropped]);
    let (reason, at) = fleet.within("the handler hears of the removal", hears.recv()).await.unwrap();
    assert!(matches!(reason, Cancelled::LeaseLost(_)), "{reason}");
    assert!(at - asked < AT_ONCE, "heard after {:?}", at - asked);
    fleet.eventually("the attempt is over", async || (running.status().running == 0).then_some(())).await;
    fleet.quiet(Duration::from_secs(60)).await;
    let job = fleet.show(sent.id).await;
    assert_eq!((job.state, job.reason, job.result.is_none()), (State::Dropped, Some(Reason::Removed), true));
    assert_eq!((job.log.len(), runs.count()), (0, 1));
    running.drain().await;
}

/// J14: a new job with the same payload, linked both ways.
pub async fn j14_a_retried_job_of_the_history_runs_again(fleet: &Fleet) {
    let runs = Runs::default();
    let seen = runs.clone();
    let work = runs.then(move |ctx| {
        let first = seen.count() == 1;
        async move { if first { Outcome::fail("the disk is full") } else { Outcome::result(ctx.payload().to_owned()) } }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send(fleet.producer().raw(TOPIC, r#"{"n":1}"#).label("l", "1").retries(7)).await;
    assert_eq!(fleet.end(&sent).await.job.state, State::Error);
    let again = fleet.producer().retry([sent.id]).await.remove(0).unwrap();
    assert!(again.id != sent.id && !again.existed);
    let report = fleet.end(&again).await;
    assert_eq!(report.result::<String>().unwrap(), r#"{"n":1}"#);
    assert_eq!((report.job.retry_of, report.job.attempt, report.job.max_retries), (Some(sent.id), 1, 7));
    assert_eq!(report.job.labels["l"], "1");
    let old = fleet.show(sent.id).await;
    assert_eq!((old.state, old.retried_as), (State::Error, Some(again.id)));
    assert_eq!(runs.count(), 2);
    running.drain().await;
}

/// J14: what was wrong with it is put right; the old one stays as it was.
pub async fn j14_a_failed_job_is_sent_again_with_another_payload(fleet: &Fleet) {
    let work = |ctx: Ctx| async move {
        match ctx.payload() {
            "1" => Outcome::fail("one is not allowed"),
            other => Outcome::result(other.to_owned()),
        }
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send(fleet.producer().raw(TOPIC, "1").label("l", "1").retries(7)).await;
    assert_eq!(fleet.end(&sent).await.job.state, State::Error);
    let edit = || Edit::new().payload("{\"n\": 2.50}").retries(3).timeout(Duration::from_secs(60));
    let refused = fleet.producer().retry_changed(sent.id, Edit::new().payload("{")).await;
    assert!(matches!(refused, Err(RetryError::Send(_))), "{refused:?}");
    let again = fleet.producer().retry_changed(sent.id, edit()).await.unwrap();
    let report = fleet.end(&again).await;
    assert_eq!(report.result::<String>().unwrap(), "{\"n\": 2.50}");
    assert_eq!((report.job.retry_of, report.job.max_retries), (Some(sent.id), 3));
    assert_eq!(report.job.labels["l"], "1", "what is not changed stays");
    let old = fleet.show(sent.id).await;
    assert_eq!((old.payload.get(), old.retried_as), ("1", Some(again.id)));
    running.drain().await;
    // While a retry waits, a change would be lost on it.
    let waits = fleet.producer().retry_changed(sent.id, edit()).await.unwrap();
    let refused = fleet.producer().retry_changed(sent.id, edit()).await.unwrap_err();
    assert_eq!(refused, RetryError::Retried { id: sent.id, again: waits.id });
}

/// Twenty jobs at ten a second take about two seconds, and each is sent once.
pub async fn j14_many_jobs_are_sent_again_at_a_rate(fleet: &Fleet) {
    let runs = Runs::default();
    let work = runs.then(|ctx| async move {
        if ctx.job().envelope.retry_of.is_none() { Outcome::fail("no") } else { Outcome::done() }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let mut failed = Vec::new();
    for _ in 0..20 {
        failed.push(fleet.send_to(TOPIC).await);
    }
    for sent in &failed {
        assert_eq!(fleet.end(sent).await.job.state, State::Error);
    }
    let (begun, mut sent) = (Instant::now(), Vec::new());
    let rate = Rate { count: 10, per_ms: 1_000 };
    let ids = failed.iter().map(|sent| sent.id);
    fleet.producer().retry_paced(ids, rate, |id, answer| sent.push((id, answer.unwrap(), begun.elapsed()))).await;
    for (n, (id, again, at)) in (0..).zip(&sent) {
        assert_eq!(*id, failed[n as usize].id);
        assert!(*at >= Duration::from_millis(100 * n), "number {n} after {at:?}");
        assert!(fleet.end(again).await.is_success());
    }
    assert_eq!((sent.len(), runs.count()), (20, 40));
    running.drain().await;
}
