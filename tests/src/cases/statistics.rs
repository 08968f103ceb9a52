//! Numbers of the fleet: what is counted, that it outlives who counted, and where it is shown.

use std::time::Duration;

use longshore_consumer::{Ctx, Outcome};
use longshore_producer::{Pausable, Producer, ProducerOptions, Removed, Selection, Severity, State, Summary};
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
        let job = fleet.producer().raw(TOPIC, &format!("\"{what}\"")).retries(1).retry_delay(soon);
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

/// What a management page of the seeds can do with a queue: look, suspend, resume, reset, drop all, and a test job.
pub async fn m03_a_queue_is_looked_at_suspended_resumed_reset_and_emptied(fleet: &Fleet) {
    let producer = fleet.producer();
    let queue: Pausable = "queue:main".parse().unwrap();
    let selection = Selection { queue: Some("main".into()), topic: None };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, |_: Ctx| async {})).await;
    fleet.end(&fleet.send_to(TOPIC).await).await;
    producer.pause(&queue, "test", "a look", None).await.unwrap();
    for _ in 0..3 {
        fleet.send_to(TOPIC).await;
    }
    let paused = producer.statistics(&selection).await.unwrap();
    let states = &paused.queues["main"].states;
    assert_eq!((states.get(&State::Blocked), states.get(&State::Succeeded)), (Some(&3), Some(&1)), "{paused:?}");
    let dump = serde_json::to_value(&paused).unwrap();
    assert_eq!((&dump["queues"]["main"]["jobs"], &dump["all"]["finished"]), (&3.into(), &1.into()));
    producer.reset_statistics(&selection).await.unwrap();
    let held = producer.jobs().queue("main").unfinished().limit(0).ids().await.unwrap();
    assert!(producer.remove(held).await.unwrap().iter().all(Removed::is_gone));
    let emptied = producer.statistics(&selection).await.unwrap().all;
    assert_eq!((emptied.jobs, emptied.finished), (0, 0));
    assert!(producer.resume(&queue).await.unwrap());
    fleet.end(&fleet.send_to(TOPIC).await).await;
    assert_eq!(producer.statistics(&selection).await.unwrap().all.finished, 1);
    running.drain().await;
}

/// Job queues, services and clocks are looked at, each with what to do about it.
pub async fn m04_an_examination_tells_of_services_clocks_and_waiting_jobs(fleet: &Fleet) {
    let find = async |about: &str| {
        let findings = fleet.producer().examine().await;
        findings.into_iter().filter(|finding| finding.about == about).collect::<Vec<_>>()
    };
    let nobody = find("instances").await;
    assert_eq!((nobody.len(), nobody[0].severity), (1, Severity::Warn), "{nobody:?}");
    assert!(nobody[0].advice.as_ref().is_some_and(|advice| advice.contains("start a consumer")), "{nobody:?}");
    let running = fleet.start(fleet.consumer().await.on(TOPIC, |_: Ctx| async {})).await;
    fleet.end(&fleet.send_to(TOPIC).await).await;
    for about in ["store", "ledger", "instances"] {
        let found = find(about).await;
        assert!(!found.is_empty() && found[0].severity == Severity::Ok, "{about}: {found:?}");
    }
    running.drain().await;
}
