//! The topic × instance matrix: who takes what is said from anywhere, and holds within seconds and for good.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_consumer::{Ctx, Running};
use longshore_model::lane::Lane;
use longshore_model::topology::Allowed;
use longshore_producer::{InstanceId, Rule, Sent, Stand, State, Topic, TopicLine, TopicPattern};
use tokio::sync::watch;

use super::{Fleet, Runs};

/// A change is in effect within this, by the promise of the matrix; a loaded machine gets a little more.
const IN_EFFECT: Duration = Duration::from_secs(2);

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).unwrap()
}

fn lanes(texts: &[&str]) -> BTreeSet<Lane> {
    texts.iter().map(|text| Topic::new(*text).unwrap().into()).collect()
}

fn id(running: &Running) -> InstanceId {
    running.owner().instance.clone()
}

/// Sets a rule, and waits until the instance consumes just these.
async fn set(fleet: &Fleet, running: &Running, topic: &str, rule: Rule, then: &[&str]) {
    fleet.producer().set_topic(&id(running), &pattern(topic), rule, "case").await.unwrap();
    consumes(fleet, running, then).await;
}

async fn consumes(fleet: &Fleet, running: &Running, expected: &[&str]) {
    let expected = lanes(expected);
    let what = format!("the instance consumes {expected:?}");
    fleet.eventually(&what, async || (running.status().consuming == expected).then_some(())).await;
}

async fn line(fleet: &Fleet, topic: &str) -> TopicLine {
    let table = fleet.producer().topic_table().await.unwrap();
    table.into_iter().find(|line| line.topic.as_str() == topic).unwrap()
}

/// A handler that waits until it is let go.
fn held(runs: &Runs, by: &'static str) -> (watch::Sender<bool>, impl Fn(Ctx) -> Go + Send + Sync + 'static + use<>) {
    let (go, wait) = watch::channel(false);
    let runs = runs.clone();
    let handler = move |ctx: Ctx| {
        runs.note_by(by, &ctx);
        let mut wait = wait.clone();
        Box::pin(async move { drop(wait.wait_for(|go| *go).await) }) as Go
    };
    (go, handler)
}

type Go = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// An instance that runs one job of five of a topic is told not to take it any more: the four that it held are given
/// back once and run elsewhere, the one that runs is finished.
pub async fn o08_p08_a_disabled_topic_is_given_back_and_what_runs_is_finished(fleet: &Fleet) {
    let runs = Runs::default();
    let (go, handler) = held(&runs, "first");
    let first = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
    let first = fleet.start(first.on("media/raw", handler).on("other", runs.then_by("first", |_| async {}))).await;
    let mut sent: Vec<Sent> = Vec::new();
    for _ in 0..5 {
        sent.push(fleet.send_to("media/raw").await);
    }
    runs.reach(1).await;
    let began = fleet.unix_ms();
    set(fleet, &first, "media/raw", Rule::Disabled, &["other"]).await;
    let took = Duration::from_millis(fleet.unix_ms() - began);
    assert!(took <= IN_EFFECT + fleet.slack(), "in effect after {took:?}");
    // Nobody else is there: what was held waits, and the table says so.
    let waits =
        fleet.looks(sent[4].id, "it waits for the matrix", |view| view.waiting.is_some()).await.waiting.unwrap();
    let waits = if waits.detail.contains("matrix") {
        waits
    } else {
        fleet
            .eventually("the card follows", async || {
                let waits = fleet.waiting(sent[4].id).await;
                waits.detail.contains("matrix").then_some(waits)
            })
            .await
    };
    assert_eq!(waits.reason, "no_capable_instance");
    assert!(waits.detail.contains("disabled there by case"), "{}", waits.detail);
    let line_now = line(fleet, "media/raw").await;
    assert_eq!((line_now.waiting, line_now.running), (4, 1));
    assert_eq!(line_now.instances[0].stand, Stand::Disabled);
    assert_eq!(line_now.gap.as_deref(), Some("4 jobs wait, no live instance takes media/raw"));
    let second = fleet.start(fleet.consumer().await.on("media/raw", runs.then_by("second", |_| async {}))).await;
    for sent in &sent[1..] {
        let report = fleet.end(sent).await;
        assert_eq!((report.job.state, report.job.attempt), (State::Succeeded, 1), "given back once, claimed once");
    }
    assert!(runs.all().iter().filter(|run| run.by == "second").count() == 4, "{:?}", runs.all());
    assert_eq!(line(fleet, "media/raw").await.gap, None);
    go.send_replace(true);
    assert!(fleet.end(&sent[0]).await.is_success(), "what ran was finished");
    // And on again, without a restart.
    set(fleet, &first, "media/raw", Rule::Enabled, &["media/raw", "other"]).await;
    second.drain().await;
    assert!(fleet.end(&fleet.send_to("media/raw").await).await.is_success());
    assert_eq!(runs.all().last().unwrap().by, "first");
    first.drain().await;
}

/// Topics that become known later are no exception, and lists of the settings bound what the matrix gives.
pub async fn o09_an_exclusive_topic_puts_all_others_off(fleet: &Fleet) {
    let runs = Runs::default();
    let bounded = Allowed { allow: None, deny: vec![pattern("secret/**")] };
    let only = fleet.consumer().await.allowed(bounded).on("**", runs.then_by("only", |_| async {}));
    let only = fleet.start(only).await;
    let others = fleet.start(fleet.consumer().await.on("**", runs.then_by("others", |_| async {}))).await;
    for topic in ["a", "b", "secret/c"] {
        assert!(fleet.end(&fleet.send_to(topic).await).await.is_success());
    }
    consumes(fleet, &only, &["a", "b"]).await;
    set(fleet, &only, "b", Rule::Exclusive, &["b"]).await;
    fleet.producer().set_topic(&id(&others), &pattern("b"), Rule::Disabled, "case").await.unwrap();
    consumes(fleet, &others, &["a", "secret/c"]).await;
    let before = runs.count();
    for topic in ["a", "b", "new/topic", "secret/c"] {
        assert!(fleet.end(&fleet.send_to(topic).await).await.is_success(), "{topic}");
    }
    let by: Vec<_> = runs.all()[before..].iter().map(|run| (run.topic.to_string(), run.by)).collect();
    let expected = [("a", "others"), ("b", "only"), ("new/topic", "others"), ("secret/c", "others")];
    assert_eq!(by, expected.map(|(topic, by)| (topic.to_owned(), by)));
    // A rule does not give what the settings deny.
    set(fleet, &only, "secret/c", Rule::Exclusive, &[]).await;
    assert_eq!(line(fleet, "secret/c").await.instances[0].stand, Stand::Denied);
    only.drain().await;
    others.drain().await;
}

/// The row is the instance's, by its id: another process of it goes by it, and no other instance does.
pub async fn v01_o08_a_row_outlives_the_process_of_its_instance(fleet: &Fleet) {
    let home = tempfile::tempdir().unwrap();
    let start = async || {
        let consumer = fleet.consumer_with(|settings| settings.instance.home = Some(home.path().to_owned())).await;
        fleet.start(consumer.on("a", |_| async {}).on("b", |_| async {})).await
    };
    let first = start().await;
    let instance = id(&first);
    set(fleet, &first, "a", Rule::Disabled, &["b"]).await;
    first.drain().await;
    // With it goes the lock of its home.
    drop(first);
    // It is changed while nobody is there.
    fleet.producer().set_topic(&instance, &pattern("b"), Rule::Exclusive, "case").await.unwrap();
    fleet.producer().set_topic(&instance, &pattern("a"), Rule::Enabled, "case").await.unwrap();
    fleet.producer().set_topic(&instance, &pattern("b"), Rule::Disabled, "case").await.unwrap();
    let again = start().await;
    assert_eq!(id(&again), instance);
    consumes(fleet, &again, &["a"]).await;
    let other = fleet.start(fleet.consumer().await.on("a", |_| async {}).on("b", |_| async {})).await;
    consumes(fleet, &other, &["a", "b"]).await;
    fleet.producer().clear_topics(&instance, "case").await.unwrap();
    consumes(fleet, &again, &["a", "b"]).await;
    again.drain().await;
    other.drain().await;
}

/// Drained by somebody else, and resumed.
pub async fn o08_a_drained_instance_takes_nothing_and_lives_on(fleet: &Fleet) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on("a", runs.then(|_| async {}))).await;
    let kept = fleet.producer().drain_instance(&id(&running), "case").await.unwrap();
    consumes(fleet, &running, &[]).await;
    assert!(fleet.producer().row_in_effect(&id(&running), &kept.row, IN_EFFECT).await.unwrap());
    assert!(running.status().drained && !running.status().draining && running.is_live());
    let sent = fleet.send_to("a").await;
    let waiting = fleet.waiting(sent.id).await;
    assert!(waiting.detail.contains("was drained by case"), "{}", waiting.detail);
    fleet.quiet(Duration::from_secs(5)).await;
    assert_eq!(runs.count(), 0);
    fleet.producer().resume_instance(&id(&running), "case").await.unwrap();
    assert!(fleet.end(&sent).await.is_success());
    running.drain().await;
}

/// CH-11: a handler is taken away on one instance while jobs of it wait; the other instance has one.
pub async fn p08_ch_11_jobs_of_a_handler_that_goes_away_run_elsewhere(fleet: &Fleet) {
    let runs = Runs::default();
    let (go, handler) = held(&runs, "a");
    let a = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
    let a = fleet.start(a.on("work", handler)).await;
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(fleet.send_to("work").await);
    }
    runs.reach(1).await;
    let b = fleet.start(fleet.consumer().await.on("work", runs.then_by("b", |_| async {}))).await;
    assert!(a.registry().remove(&pattern("work")));
    consumes(fleet, &a, &[]).await;
    for sent in &sent[1..] {
        assert!(fleet.end(sent).await.is_success());
    }
    go.send_replace(true);
    assert!(fleet.end(&sent[0]).await.is_success());
    assert_eq!(runs.count(), 10, "each ran once");
    a.drain().await;
    b.drain().await;
}
