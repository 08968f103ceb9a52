//! Which handler runs which topic, and what an instance advertises.

use std::sync::Arc;
use std::time::Duration;

use longshore_consumer::{Consumer, Ctx, Json, Outcome};
use longshore_model::topology::Allowed;
use longshore_producer::{Job, State, Topic, TopicPattern};
use serde::{Deserialize, Serialize};
use tokio::sync::Barrier;

use super::{Fleet, Runs};

/// The topics that every case of matching tries.
const TOPICS: [&str; 4] = ["a", "a/b", "a/c", "a/b/a"];

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).unwrap()
}

/// Sends a job of each topic and checks that the consumer runs those that it takes, and leaves the others waiting.
async fn takes(fleet: &Fleet, consumer: Consumer, runs: &Runs, taken: &[&str]) {
    let running = fleet.start(consumer).await;
    let mut left = Vec::new();
    for topic in TOPICS {
        let sent = fleet.send_to(topic).await;
        if taken.contains(&topic) {
            let report = fleet.end(&sent).await;
            assert!(report.is_success(), "{topic}: {:?}", report.job);
        } else {
            left.push(sent.id);
        }
    }
    fleet.quiet(Duration::from_secs(5)).await;
    for id in left {
        let view = fleet.show(id).await;
        assert_eq!((view.state, view.attempt), (State::Queued, 0), "{}", view.topic);
        assert_eq!(view.waiting.unwrap().reason, "no_capable_instance", "{}", view.topic);
        fleet.producer().remove([id]).await.unwrap();
    }
    let mut seen: Vec<_> = runs.all().iter().map(|run| run.topic.to_string()).collect();
    seen.sort();
    let mut taken: Vec<_> = taken.iter().map(|topic| (*topic).to_owned()).collect();
    taken.sort();
    assert_eq!(seen, taken);
    running.drain().await;
}

async fn one_pattern_takes(fleet: &Fleet, pattern: &str, taken: &[&str]) {
    let runs = Runs::default();
    let consumer = fleet.consumer().await.on(pattern, runs.then(|_| async {}));
    takes(fleet, consumer, &runs, taken).await;
}

/// TM-01
pub async fn u01_tm_01_an_exact_topic_takes_only_itself(fleet: &Fleet) {
    one_pattern_takes(fleet, "a/b", &["a/b"]).await;
}

/// TM-02
pub async fn u01_tm_02_a_star_takes_direct_children(fleet: &Fleet) {
    one_pattern_takes(fleet, "a/*", &["a/b", "a/c"]).await;
}

/// TM-03
pub async fn u01_tm_03_two_stars_take_all_descendants(fleet: &Fleet) {
    one_pattern_takes(fleet, "a/**", &["a/b", "a/c", "a/b/a"]).await;
}

/// TM-04: handlers go away one by one while the instance runs.
pub async fn u02_u03_tm_04_the_nearest_handler_wins_and_the_next_takes_over(fleet: &Fleet) {
    let runs = Runs::default();
    let consumer = fleet.consumer().await;
    let consumer =
        consumer.on("a/**", runs.then_by("all", |_| async {})).on("a/*", runs.then_by("children", |_| async {}));
    let running = fleet.start(consumer.on("a/b", runs.then_by("exact", |_| async {}))).await;
    let mut by = Vec::new();
    for gone in [None, Some("a/b"), Some("a/*")] {
        if let Some(gone) = gone {
            assert!(running.registry().remove(&pattern(gone)), "{gone} was registered");
        }
        let sent = fleet.send_to("a/b").await;
        assert!(fleet.end(&sent).await.is_success());
        by.extend(runs.of(sent.id).iter().map(|run| run.by));
    }
    assert_eq!(by, ["exact", "children", "all"]);
    running.drain().await;
}

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "a/b")]
struct Exact {}

/// TM-06: typed, with a result, with an outcome, with an error type.
pub async fn u01_p02_tm_06_every_form_of_handler_matches_alike(fleet: &Fleet) {
    let runs = Runs::default();
    let seen = runs.clone();
    let typed = move |_: Exact, ctx: Ctx| {
        seen.note(&ctx);
        async { Ok::<_, std::io::Error>(Json("typed")) }
    };
    takes(fleet, fleet.consumer().await.handle(typed), &runs, &["a/b"]).await;
    let runs = Runs::default();
    let outcome = runs.then(|_| async { Outcome::result(1) });
    takes(fleet, fleet.consumer().await.on("a/*", outcome), &runs, &["a/b", "a/c"]).await;
    let runs = Runs::default();
    let fallible = runs.then(|ctx| async move { ctx.checkpoint().await });
    takes(fleet, fleet.consumer().await.on("a/**", fallible), &runs, &["a/b", "a/c", "a/b/a"]).await;
}

/// TM-09: lists bound what handlers would take.
pub async fn u04_u05_tm_09_allow_and_deny_lists_bound_what_is_advertised_and_taken(fleet: &Fleet) {
    let topic = |text: &str| Topic::new(text).unwrap();
    for (allow, deny, taken) in [
        (Some(vec![]), vec![], &[][..]),
        (Some(vec![pattern("**")]), vec![pattern("a/b")], &["a", "a/c", "a/b/a"]),
        (None, vec![pattern("**")], &[]),
    ] {
        let runs = Runs::default();
        let consumer = fleet.consumer().await.allowed(Allowed { allow, deny });
        let running = consumer.on("**", runs.then(|_| async {})).start().await.unwrap();
        fleet
            .eventually("the instance is in the fleet", async || {
                let view = fleet.producer().topology().await.unwrap();
                (view.instances.len() == 1).then_some(())
            })
            .await;
        let view = fleet.producer().topology().await.unwrap();
        for text in TOPICS {
            let advertised = view.capable(&topic(text)).count() == 1;
            assert_eq!(advertised, taken.contains(&text), "{text}");
        }
        let mut left = Vec::new();
        for text in TOPICS {
            let sent = fleet.send_to(text).await;
            if taken.contains(&text) {
                assert!(fleet.end(&sent).await.is_success(), "{text}");
            } else {
                left.push(sent.id);
            }
        }
        fleet.quiet(Duration::from_secs(1)).await;
        for id in left {
            let waiting = fleet.waiting(id).await;
            assert_eq!(waiting.reason, "no_capable_instance");
            assert!(waiting.detail.contains("not allowed"), "{}", waiting.detail);
            fleet.producer().remove([id]).await.unwrap();
        }
        assert_eq!(runs.count(), taken.len());
        let consumed: Vec<_> = running.status().consuming.iter().map(ToString::to_string).collect();
        assert!(consumed.iter().all(|topic| taken.contains(&topic.as_str())), "{consumed:?}");
        running.drain().await;
    }
}

/// Nobody takes the topic yet, neither by name nor by pattern.
pub async fn u06_p01_p07_a_topic_that_nobody_takes_is_explained_and_runs_when_somebody_does(fleet: &Fleet) {
    let other = fleet.start(fleet.consumer().await.on("x", |_| async {})).await;
    let sent = fleet.send_to("new/kind").await;
    let waiting = fleet.waiting(sent.id).await;
    assert_eq!(waiting.reason, "no_capable_instance");
    assert!(waiting.detail.contains("start a consumer"), "{}", waiting.detail);
    let running = fleet.start(fleet.consumer().await.on("new/*", |_| async {})).await;
    let report = fleet.end(&sent).await;
    assert_eq!((report.job.state, report.job.attempt), (State::Succeeded, 1));
    // A topic that becomes known later is taken by the pattern as well.
    assert!(fleet.end(&fleet.send_to("new/other").await).await.is_success());
    running.drain().await;
    other.drain().await;
}

/// Each of three instances with one slot runs one of three jobs that need each other.
pub async fn p05_jobs_go_to_whoever_has_a_free_slot(fleet: &Fleet) {
    let (runs, together) = (Runs::default(), Arc::new(Barrier::new(3)));
    let mut running = Vec::new();
    for name in ["one", "three", "two"] {
        let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
        let together = Arc::clone(&together);
        let work = move |_: Ctx| {
            let together = Arc::clone(&together);
            async move {
                together.wait().await;
            }
        };
        running.push(fleet.start(consumer.on("test/together", runs.then_by(name, work))).await);
    }
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(fleet.send_to("test/together").await);
    }
    for sent in &sent {
        assert_eq!(fleet.end(sent).await.job.state, State::Succeeded);
    }
    let mut by: Vec<&str> = runs.all().iter().map(|run| run.by).collect();
    by.sort_unstable();
    assert_eq!(by, ["one", "three", "two"]);
    for running in running {
        running.drain().await;
    }
}
