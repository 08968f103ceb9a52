//! What is kept of jobs that have ended: how long, how many, and whose.

use std::time::Duration;

use longshore_consumer::Outcome;
use longshore_producer::{JobId, State};

use super::{Fleet, Runs};

const TOPIC: &str = "test/kept";
const OTHER: &str = "test/other";

async fn keep(fleet: &Fleet, keep: &str) {
    let text = format!("[[queues]]\nname = \"kept\"\ntopics = [\"{TOPIC}\"]\nkeep = {keep}\n");
    let change = fleet.producer().apply_queues("a file", &text, "ann", false).await.unwrap();
    assert!(change.applied, "{change:?}");
}

/// Sends jobs and waits for their ends, one after the other, each in a millisecond of its own.
async fn run(fleet: &Fleet, topic: &str, payloads: &[&str]) -> Vec<JobId> {
    let mut ids = Vec::new();
    for payload in payloads {
        let sent = fleet.send(fleet.producer().raw(topic, payload)).await;
        fleet.end(&sent).await;
        fleet.pass(Duration::from_millis(2)).await;
        ids.push(sent.id);
    }
    ids
}

async fn gone(fleet: &Fleet, id: JobId) {
    fleet
        .eventually("the janitor lets it go", async || fleet.producer().show(id).await.unwrap().is_none().then_some(()))
        .await;
}

async fn there(fleet: &Fleet, id: JobId) -> bool {
    fleet.producer().show(id).await.unwrap().is_some()
}

async fn handlers(fleet: &Fleet) -> longshore_consumer::Consumer<()> {
    let runs = Runs::default();
    let work = || {
        runs.then(|ctx| async move {
            match ctx.payload_as::<bool>() {
                Ok(true) => Outcome::done(),
                _ => Outcome::fail("as told"),
            }
        })
    };
    fleet.consumer().await.on(TOPIC, work()).on(OTHER, work())
}

/// HI-02: a queue that keeps no successes; its failures, and other queues' successes, stay.
pub async fn q11_l01_hi_02_a_queue_need_not_keep_its_successes(fleet: &Fleet) {
    keep(fleet, "{ succeeded = \"0s\" }").await;
    let running = fleet.start(handlers(fleet).await).await;
    let (mine, other) = (run(fleet, TOPIC, &["true", "false"]).await, run(fleet, OTHER, &["true"]).await);
    gone(fleet, mine[0]).await;
    assert!(there(fleet, mine[1]).await && there(fleet, other[0]).await);
    fleet.quiet(Duration::from_secs(60)).await;
    assert!(there(fleet, mine[1]).await && there(fleet, other[0]).await);
    running.drain().await;
}

/// HI-03, HI-04: by the age from the end, for each state by itself.
pub async fn q11_l02_hi_03_hi_04_history_goes_by_its_age_for_each_state(fleet: &Fleet) {
    let (long, short) = (fleet.span(Duration::from_secs(120), Duration::from_secs(60)), Duration::from_secs(2));
    let (long, short) = (longshore_model::span::show(long), longshore_model::span::show(short));
    keep(fleet, &format!("{{ succeeded = \"{long}\", failed = \"{long}\", dropped = \"{short}\" }}")).await;
    let running = fleet.start(handlers(fleet).await).await;
    let ids = run(fleet, TOPIC, &["true", "false"]).await;
    let late = fleet.send(fleet.producer().raw(TOPIC, "true").after(Duration::from_secs(3_600))).await;
    fleet.producer().remove([late.id]).await.unwrap();
    assert_eq!(fleet.show(late.id).await.state, State::Dropped);
    gone(fleet, late.id).await;
    assert!(there(fleet, ids[0]).await && there(fleet, ids[1]).await, "they are kept for longer");
    running.drain().await;
}

/// The newest of each; those of other queues do not count.
pub async fn q11_l02_history_goes_by_its_count(fleet: &Fleet) {
    keep(fleet, "{ succeeded = { count = 3 }, failed = { count = 1 } }").await;
    let running = fleet.start(handlers(fleet).await).await;
    let other = run(fleet, OTHER, &["true"; 5]).await;
    let ids = run(fleet, TOPIC, &["true", "true", "false", "true", "false", "true", "true"]).await;
    for old in [0, 1, 2] {
        gone(fleet, ids[old]).await;
    }
    fleet.quiet(Duration::from_secs(60)).await;
    for kept in ids[3..].iter().chain(&other) {
        assert!(there(fleet, *kept).await);
    }
    running.drain().await;
}
