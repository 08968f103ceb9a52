//! Numbers of the fleet: what is counted, that it outlives who counted, and where it is shown.

use std::time::Duration;

use longshore_consumer::{Ctx, Outcome};
use longshore_producer::{Producer, ProducerOptions, Selection, Summary};
use tokio_util::sync::CancellationToken;

use super::{Fleet, Runs};

const TOPIC: &str = "test/numbers";

async fn all(producer: &Producer) -> Summary {
    producer.statistics(&Selection::default()).await.unwrap().all
}

/// Two succeed, one fails once and then succeeds, one is given up, one is stopped while it waits.
pub async fn m01_st_02_st_03_st_04_numbers_of_the_fleet_outlive_its_instances(fleet: &Fleet) {
    let took = Duration::from_millis(50);
    let work = move |ctx: Ctx| async move {
        let _ = ctx.sleep(took).await;
        match (ctx.job().envelope.payload.get(), ctx.attempt()) {
            ("\"twice\"", 1) | ("\"never\"", _) => Outcome::retry("no"),
            _ => Outcome::done(),
        }
    };
    let consumers = [
        fleet.start(fleet.consumer().await.on(TOPIC, work)).await,
        fleet.start(fleet.consumer().await.on(TOPIC, work)).await,
    ];
    let soon = Duration::from_millis(20);
    for what in ["once", "once", "twice", "never"] {
        let job = fleet.producer().raw(TOPIC, format!("\"{what}\"")).retries(1).retry_delay(soon);
        let sent = fleet.send(job).await;
        fleet.end(&sent).await;
    }
    let waits = fleet.send(fleet.producer().raw(TOPIC, "{}").after(Duration::from_secs(3_600))).await;
    fleet.producer().stop([waits.id], "test").await.unwrap();
    for running in consumers {
        running.drain().await;
    }
    let other = Producer::connect_with(fleet.link().await, ProducerOptions::default());
    let all = all(&other).await;
    assert_eq!((all.started, all.finished, all.failed, all.cancelled, all.processed), (6, 3, 2, 2, 7), "{all:?}");
    assert_eq!((all.queued, all.unassigned, all.active, all.jobs, all.accepted), (0, 0, 0, 0, 5));
    let took = u64::try_from(took.as_millis()).unwrap();
    let slack = u64::try_from(fleet.slack().as_millis()).unwrap();
    assert!((took..took + slack).contains(&all.average_processing), "{all:?}");
    assert!(all.average_waiting < slack, "{all:?}");
    assert!(all.last_activated > 0 && all.last_finished > 0, "{all:?}");
    assert!(all.processed_per_minute > 0.0, "{all:?}");
}

/// Three wait for a slot and one runs.
pub async fn m01_st_05_a_reset_keeps_what_waits_and_runs(fleet: &Fleet) {
    let (runs, go) = (Runs::default(), CancellationToken::new());
    let gate = go.clone();
    let work = runs.then(move |_| gate.clone().cancelled_owned());
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
    let running = fleet.start(consumer.on(TOPIC, work)).await;
    let mut sent = Vec::new();
    for _ in 0..4 {
        sent.push(fleet.send_to(TOPIC).await);
    }
    runs.reach(1).await;
    let before = all(fleet.producer()).await;
    assert_eq!((before.queued, before.active, before.jobs, before.started), (3, 1, 4, 1), "{before:?}");
    assert!(before.oldest_waiting_since.is_some(), "{before:?}");
    assert_eq!(fleet.producer().reset_statistics(&Selection::default()).await.unwrap(), 1);
    let after = all(fleet.producer()).await;
    assert_eq!((after.queued, after.active, after.jobs), (3, 1, 4));
    assert_eq!((after.started, after.processed, after.last_activated), (0, 0, -1));
    go.cancel();
    for sent in &sent {
        fleet.end(sent).await;
    }
    let done = all(fleet.producer()).await;
    assert_eq!((done.started, done.finished, done.jobs), (3, 4, 0), "{done:?}");
    running.drain().await;
}

/// Eight of everything and eight of the queue; none any more when the instance has ended.
pub async fn m02_st_07_the_first_job_of_a_queue_shows_sixteen_numbers(fleet: &Fleet) {
    let names = [
        "finished",
        "failed",
        "cancelled",
        "processed",
        "queued",
        "active",
        "average_waiting_milliseconds",
        "average_processing_milliseconds",
    ];
    let shown = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let of = |name: &str| {
            names.iter().any(|of| {
                name == format!("longshore_jobs_{of}") || name == format!("longshore_queue_jobs_{of}{{queue=\"main\"}}")
            })
        };
        lines.filter(|line| line.split(' ').next().is_some_and(of)).count()
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, |_: Ctx| async {})).await;
    assert!(shown(&running.metrics()) <= 8, "no queue had a job");
    fleet.end(&fleet.send_to(TOPIC).await).await;
    let text = fleet
        .eventually("the numbers are shown", async || {
            fleet.pass(Duration::from_millis(100)).await;
            Some(running.metrics()).filter(|text| text.contains("longshore_queue_jobs_finished{queue=\"main\"} 1"))
        })
        .await;
    assert_eq!(shown(&text), 16, "{text}");
    assert!(text.contains("\nlongshore_schedules 0\n"), "{text}");
    running.drain().await;
}
