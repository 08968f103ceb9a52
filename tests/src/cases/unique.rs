//! Unique jobs, seen by applications: who is answered, and what runs.

use std::time::Duration;

use longshore_consumer::{Ctx, Outcome};
use longshore_producer::{JobBuilder, State, Topic, UniqueMode};
use tokio::sync::watch;

use super::{Fleet, Runs};

const TOPIC: &str = "test/unique";

fn job(fleet: &Fleet, n: u32) -> JobBuilder {
    fleet.producer().raw(TOPIC, &n.to_string())
}

/// The sender of the second is given the first one's handle, and both hear of its end.
pub async fn j04_a_named_job_is_there_once_and_found_by_its_name(fleet: &Fleet) {
    let runs = Runs::default();
    let first = fleet.send(job(fleet, 1).unique("nightly")).await;
    let second = fleet.send(job(fleet, 2).unique("nightly")).await;
    assert_eq!((second.id, second.existed), (first.id, true));
    let topic = Topic::new(TOPIC).unwrap();
    assert_eq!(fleet.producer().holder(&topic, "nightly").await.unwrap(), Some(first.id));
    let work = runs.then(|ctx: Ctx| async move { Outcome::result(ctx.payload().to_owned()) });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let report = fleet.end(&second).await;
    assert_eq!((report.job.id, report.job.payload.get()), (first.id, "1"));
    assert_eq!(fleet.producer().holder(&topic, "nightly").await.unwrap(), None);
    let third = fleet.send(job(fleet, 3).unique("nightly")).await;
    assert_eq!(fleet.end(&third).await.job.state, State::Succeeded);
    assert_eq!(runs.count(), 2);
    running.drain().await;
}

/// Ten sends in a row make one run, with the last payload.
pub async fn j04_debounced_sends_make_one_run_with_the_newest_payload(fleet: &Fleet) {
    let runs = Runs::default();
    let work = runs.then(|ctx: Ctx| async move { Outcome::result(ctx.payload_as::<u32>().unwrap_or_default()) });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let mut last = None;
    for n in 0..10 {
        let span = fleet.span(Duration::from_millis(500), Duration::from_secs(2));
        let sent = fleet.send(job(fleet, n).unique_mode("k", UniqueMode::Debounce, span)).await;
        assert_eq!(sent.existed, n > 0);
        last = Some(sent);
    }
    let report = fleet.end(&last.unwrap()).await;
    assert_eq!(report.result::<u32>().unwrap(), 9);
    assert_eq!(runs.count(), 1);
    running.drain().await;
}

/// While one runs, the sends of a key become one more run.
pub async fn j04_latest_runs_once_more_with_the_newest_payload(fleet: &Fleet) {
    let (runs, gate) = (Runs::default(), watch::Sender::new(false));
    let open = gate.clone();
    let work = runs.then(move |ctx: Ctx| {
        let mut open = open.subscribe();
        async move {
            let _ = open.wait_for(|open| *open).await;
            Outcome::result(ctx.payload_as::<u32>().unwrap_or_default())
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let send = async |n| fleet.send(job(fleet, n).unique_mode("k", UniqueMode::Latest, Duration::ZERO)).await;
    let first = send(0).await;
    runs.reach(1).await;
    let mut second = None;
    for n in 1..10 {
        let sent = send(n).await;
        assert_eq!(sent.existed, n > 1);
        assert_eq!(fleet.waiting(sent.id).await.reason, "order");
        second = Some(sent);
    }
    gate.send_replace(true);
    assert_eq!(fleet.end(&first).await.result::<u32>().unwrap(), 0);
    assert_eq!(fleet.end(&second.unwrap()).await.result::<u32>().unwrap(), 9);
    assert_eq!(runs.count(), 2);
    running.drain().await;
}

/// A job that waits in its lane gets the new payload as well: the message with the old one counts for nothing.
pub async fn j04_latest_replaces_what_is_in_the_lane(fleet: &Fleet) {
    let send = async |n| fleet.send(job(fleet, n).unique_mode("k", UniqueMode::Latest, Duration::ZERO)).await;
    let first = send(1).await;
    let second = send(2).await;
    assert_eq!((second.id, second.state), (first.id, State::Queued));
    let runs = Runs::default();
    let work = runs.then(|ctx: Ctx| async move { Outcome::result(ctx.payload_as::<u32>().unwrap_or_default()) });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    assert_eq!(fleet.end(&second).await.result::<u32>().unwrap(), 2);
    fleet.quiet(Duration::from_secs(120)).await;
    assert_eq!(runs.count(), 1);
    running.drain().await;
}
