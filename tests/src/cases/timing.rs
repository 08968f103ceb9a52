//! Jobs whose time has not come, and jobs whose time is over.

use std::time::Duration;

use longshore_producer::{JobBuilder, Reason, State, Time};
use tokio::time::Instant;

use super::{Fleet, Runs};

const TOPIC: &str = "test/timing";

/// Nobody was there in time; a consumer that comes later does not run it, and says why.
pub async fn a_job_that_is_not_started_in_time_is_dropped(fleet: &Fleet) {
    let life = fleet.span(Duration::from_secs(10), Duration::from_millis(300));
    let late = fleet.send(fleet.producer().raw(TOPIC, "{}").expires_in(life)).await;
    let at = Time::from_unix_ms(fleet.unix_ms() + 3_600_000);
    let in_time = fleet.send(fleet.producer().raw(TOPIC, "{}").expires_at(at)).await;
    fleet.pass(life + Duration::from_millis(50)).await;
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let job = fleet.end(&late).await.job;
    assert_eq!((job.state, job.reason, job.attempt), (State::Dropped, Some(Reason::Expired), 0));
    assert!(fleet.end(&in_time).await.is_success());
    assert_eq!(runs.all().iter().map(|run| run.id).collect::<Vec<_>>(), [in_time.id]);
    running.drain().await;
}

/// Sends a job that is to wait, and checks that it runs when that time has passed, not before, and once.
async fn runs_after(fleet: &Fleet, wait: Duration, job: impl FnOnce(JobBuilder) -> JobBuilder) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let asked = Instant::now();
    let job = job(fleet.producer().raw(TOPIC, "{}"));
    let sent = fleet.send(job).await;
    assert_eq!(sent.state, State::Scheduled);
    let view = fleet.show(sent.id).await;
    assert!(view.due.is_some() && view.state == State::Scheduled, "{view:?}");
    assert_eq!(view.waiting.unwrap().reason, "time");
    fleet.pass(wait.saturating_sub(asked.elapsed())).await;
    let report = fleet.end(&sent).await;
    assert_eq!((report.job.state, report.job.attempt), (State::Succeeded, 1));
    let after = runs.reach(1).await[0].at - asked;
    // The time of the wall clock is cut to milliseconds.
    assert!(after + Duration::from_millis(1) >= wait && after < wait + fleet.slack(), "it ran after {after:?}");
    fleet.quiet(Duration::from_secs(5)).await;
    assert_eq!(runs.count(), 1);
    running.drain().await;
}

/// By the store's clock, from the moment at which it was accepted.
pub async fn a_delayed_job_runs_when_its_time_has_come(fleet: &Fleet) {
    let wait = fleet.span(Duration::from_secs(3_000), Duration::from_millis(700));
    Box::pin(runs_after(fleet, wait, |job| job.after(wait))).await;
}

/// At a time of the wall clock; one that has passed means now.
pub async fn a_job_runs_at_its_time(fleet: &Fleet) {
    let past = fleet.send(fleet.producer().raw("test/past", "{}").at(Time::from_unix_ms(1))).await;
    assert_eq!(past.state, State::Queued);
    let wait = Duration::from_millis(900);
    Box::pin(runs_after(fleet, wait, |job| job.at(Time::from_unix_ms(fleet.unix_ms() + 900)))).await;
}
