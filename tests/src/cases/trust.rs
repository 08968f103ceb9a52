//! Who belongs to the fleet, where joining requires a signature.

use std::sync::Arc;
use std::time::Duration;

use longshore_consumer::{Consumer, Running, Settings};
use longshore_link::Link;
use longshore_link::store::Beat;
use longshore_model::Secret;
use longshore_model::id::{Incarnation, InstanceId, Owner};
use longshore_model::topology::Card;
use longshore_model::topology::matrix::Stand;
use longshore_model::trust::{Distrust, PERIOD_MS};
use longshore_producer::{Producer, ProducerOptions, QueueConfig, Queues};
use tokio::sync::Semaphore;

use super::{Fleet, Runs};

const TOPIC: &str = "test/trust";
const OURS: &str = "k1=0123456789abcdef0123456789abcdef";
const WRONG: &str = "k1=fedcba9876543210fedcba9876543210";

fn with_keys(keys: &str) -> impl FnOnce(&mut Settings) {
    let keys = Secret::new(keys);
    move |settings| settings.trust.keys = keys
}

/// A consumer with these keys.
async fn consumer(fleet: &Fleet, keys: &str, runs: &Runs, by: &'static str) -> Consumer {
    fleet.consumer_with(with_keys(keys)).await.on(TOPIC, runs.then_by(by, |_| async {}))
}

/// Waits until an instance takes no work because it knows that it is outside, and says so.
async fn is_outside(fleet: &Fleet, running: &Running, key: &str) {
    let out = async || {
        let status = running.status();
        (status.outside.is_some() && status.wanted.is_empty() && status.consuming.is_empty()).then_some(status)
    };
    let status = fleet.eventually("a stranger stops taking work", out).await;
    let why = running.unready().join("\n");
    assert!(!running.is_ready() && why.contains("trust.keys") && why.contains(key), "{why}");
    assert!(status.outside.unwrap().to_string().contains(key));
    assert!(running.metrics().contains("\nlongshore_outside 1\n"), "{}", running.metrics());
    let leads = async || (!running.status().coordinator && !running.topology().is_coordinator()).then_some(());
    fleet.eventually("a stranger coordinates nothing", leads).await;
}

/// Sends some jobs, which must all be run by this one.
async fn all_run_by(fleet: &Fleet, runs: &Runs, by: &str) {
    let before = runs.count();
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.push(fleet.send_to(TOPIC).await);
    }
    for sent in &sent {
        assert!(fleet.end(sent).await.is_success());
    }
    let all = runs.all();
    assert!(all.len() == before + 20 && all[before..].iter().all(|run| run.by == by), "{all:?}");
}

/// V22, V23: a stranger is as if it were not there, coordinates nothing and takes no work, whatever it registered and
/// whenever it came; nor does it when nobody else is there.
pub async fn v22_v23_an_instance_that_is_not_signed_as_the_fleet_is_takes_no_work(fleet: &Fleet) {
    let (runs, gate) = (Runs::default(), Arc::new(Semaphore::new(0)));
    // It was there before anybody had keys, coordinates, and has a job.
    let held = Arc::clone(&gate);
    let early = fleet.consumer().await.on(
        TOPIC,
        runs.then_by("unsigned", move |_| {
            let gate = Arc::clone(&held);
            async move { gate.acquire().await.unwrap().forget() }
        }),
    );
    let early = fleet.start(early).await;
    let running = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    let ours = fleet.start(consumer(fleet, OURS, &runs, "ours").await).await;
    is_outside(fleet, &early, "k1").await;
    gate.add_permits(1);
    assert!(fleet.end(&running).await.is_success(), "what it ran it finishes");
    let limit = QueueConfig::new("foreign", vec![TOPIC.parse().unwrap()]);
    let wrong = consumer(fleet, WRONG, &runs, "wrong").await.queues(Queues::new(vec![limit], 1).unwrap());
    let wrong = fleet.within("it starts", Box::pin(wrong.start())).await.unwrap();
    is_outside(fleet, &wrong, "k1").await;

    let leads = async || (ours.status().coordinator && ours.topology().is_coordinator()).then_some(());
    fleet.eventually("the first who is trusted coordinates", leads).await;
    let told = async || ours.metrics().contains("\nlongshore_untrusted_instances 2\n").then_some(());
    fleet.eventually("two strangers are told of", told).await;
    assert!(ours.is_ready() && ours.status().outside.is_none());
    assert_eq!(ours.topology().view().instances.len(), 1);
    let link = fleet.link_with_keys(OURS).await;
    let view = link.view().await.unwrap();
    assert_eq!(view.instances.len(), 1, "{view:?}");
    assert_eq!(view.coordinator.as_ref(), Some(ours.owner()));
    let mut why: Vec<_> = link.seen().await.unwrap().ignored.into_iter().map(|ignored| ignored.why).collect();
    why.sort();
    assert_eq!(why, [Distrust::Unsigned, Distrust::WrongMac]);
    let mut seen = ours.topology().strangers();
    seen.sort_by(|a, b| a.why.cmp(&b.why));
    assert_eq!([&seen[0].owner, &seen[1].owner], [early.owner(), wrong.owner()]);
    // Whoever has no keys sees all, and what they say of themselves.
    let topic = TOPIC.parse().unwrap();
    let stands = async || {
        let all = fleet.producer().topology().await.unwrap();
        let stands: Vec<Stand> = all.instances.iter().map(|card| card.stand(&topic)).collect();
        (stands == [Stand::Outside, Stand::Takes, Stand::Outside]).then_some(())
    };
    fleet.eventually("strangers say that they are outside", stands).await;
    let producer = Producer::connect_with(link, ProducerOptions::default());
    let found = producer.examine().await;
    let about: Vec<&str> =
        found.iter().filter(|finding| finding.about == "trust").map(|finding| finding.detail.as_str()).collect();
    let strangers = about.iter().filter(|detail| detail.contains("does not belong to the fleet")).count();
    assert_eq!((about.len(), strangers), (3, 2), "{about:?}");
    assert!(!format!("{found:?}").contains("0123456789abcdef"), "{found:?}");

    all_run_by(fleet, &runs, "ours").await;
    ours.drain().await;
    let waits = fleet.send_to(TOPIC).await;
    fleet.quiet(Duration::from_secs(120)).await;
    assert!(runs.of(waits.id).is_empty(), "the seal outlives those who are signed");
    assert!(producer.queue_set().await.unwrap().is_none(), "a stranger applies no queues for the fleet");
    let again = fleet.start(consumer(fleet, OURS, &runs, "again").await).await;
    assert!(fleet.end(&waits).await.is_success());
    all_run_by(fleet, &runs, "again").await;
    for running in [early, wrong, again] {
        running.drain().await;
    }
}

/// Shows a card for a moment, as whoever has the store's password can.
async fn show(link: &Link, card: Card) {
    let mut heart = link.store.heart().await.unwrap();
    heart.beat(&Beat { card, reached: 0, lease_ms: 60_000 }).await.unwrap();
}

/// CN-07, through the store: one period more or less is accepted, two are not; a card that was changed, or is shown under
/// another id, is not either.
pub async fn v23_cn_07_signatures_hold_for_a_period_more_and_for_one_card(fleet: &Fleet) {
    let (ours, wrong) = (fleet.link_with_keys(OURS).await, fleet.link_with_keys(WRONG).await);
    let left = PERIOD_MS - ours.store.ping().await.unwrap() % PERIOD_MS;
    if left < 20_000 {
        // No period ends while this goes on.
        fleet.pass(Duration::from_millis(left)).await;
    }
    let now = ours.store.ping().await.unwrap();
    let bare = |id: &str| {
        let owner = Owner { instance: InstanceId(id.to_owned()), incarnation: Incarnation(format!("{id}-1")) };
        Card { name: id.to_owned(), cluster: "c".to_owned(), slots: 1, ..Card::bare(owner) }
    };
    let signed = |by: &Link, card: Card, at: u64| Card { signature: by.trust.sign(&card, at), ..card };
    let good = signed(&ours, bare("good"), now);
    show(&ours, good.clone()).await;
    show(&ours, signed(&ours, bare("early"), now + PERIOD_MS)).await;
    show(&ours, signed(&ours, bare("late"), now - PERIOD_MS)).await;
    for card in [
        bare("unsigned"),
        signed(&wrong, bare("wrong"), now),
        signed(&ours, bare("too early"), now + 3 * PERIOD_MS),
        signed(&ours, bare("too late"), now - 3 * PERIOD_MS),
        Card { slots: 100, ..signed(&ours, bare("changed"), now) },
        Card { signature: good.signature.clone(), ..bare("thief") },
    ] {
        show(&ours, card).await;
    }
    let seen = ours.seen().await.unwrap();
    let names: Vec<&str> = seen.view.instances.iter().map(|card| card.name.as_str()).collect();
    assert_eq!(names, ["good", "early", "late"]);
    let ignored: Vec<_> = seen.ignored.iter().map(|ignored| (ignored.name.as_str(), ignored.why.clone())).collect();
    assert_eq!(
        ignored,
        [
            ("unsigned", Distrust::Unsigned),
            ("wrong", Distrust::WrongMac),
            ("too early", Distrust::WrongTime),
            ("too late", Distrust::WrongTime),
            ("changed", Distrust::WrongMac),
            ("thief", Distrust::WrongMac),
        ]
    );
    let reverse = wrong.view().await.unwrap();
    assert_eq!(reverse.instances.len(), 1, "whoever has other keys sees the others");
    let mut heart = ours.store.heart().await.unwrap();
    for card in fleet.producer().topology().await.unwrap().instances {
        heart.leave(&card.owner).await.unwrap();
    }
}

/// Keys are given to a fleet, changed and taken away, one instance after the other, while it works.
pub async fn v23_keys_are_changed_while_the_fleet_works(fleet: &Fleet) {
    const NEW: &str = "k2=abcdefghijklmnopabcdefghijklmnop";
    let runs = Runs::default();
    let lax = async |keys: &str, by| {
        let keys = Secret::new(keys);
        let settings = |settings: &mut Settings| {
            settings.trust.keys = keys;
            settings.trust.required = false;
        };
        let lax = fleet.consumer_with(settings).await.on(TOPIC, runs.then_by(by, |_| async {}));
        fleet.start(lax).await
    };
    let strict = async |keys: &str, by| fleet.start(consumer(fleet, keys, &runs, by).await).await;
    let seal = async || fleet.link().await.store.seal(None).await.unwrap();
    let sealed = async |key: &str| {
        let what = format!("the fleet is sealed by `{key}`");
        fleet.eventually(&what, async || (seal().await.split(':').next() == Some(key)).then_some(())).await;
    };
    let (both, turned) = (format!("{OURS},{NEW}"), format!("{NEW},{OURS}"));

    // Not required yet: who has none is told of, and works.
    let plain = fleet.start(fleet.consumer().await.on(TOPIC, runs.then_by("plain", |_| async {}))).await;
    let first = lax(OURS, "first").await;
    let told = async || (first.topology().strangers().len() == 1).then_some(());
    fleet.eventually("who has no keys is told of", told).await;
    let counted = async || (first.topology().view().instances.len() == 2).then_some(());
    fleet.eventually("who has no keys is part of the fleet", counted).await;
    assert!(plain.is_ready());
    assert_eq!(seal().await, "");
    plain.drain().await;

    let second = strict(OURS, "second").await;
    sealed("k1").await;
    assert!(first.is_ready(), "it has the key");
    first.drain().await;
    let third = strict(&both, "third").await;
    second.drain().await;
    let fourth = strict(&turned, "fourth").await;
    let accepts = async || (fourth.topology().view().instances.len() == 2 && third.is_ready()).then_some(());
    fleet.eventually("both accept each other", accepts).await;
    sealed("k1").await;
    third.drain().await;
    sealed("k2").await;
    let fifth = strict(NEW, "fifth").await;
    fourth.drain().await;
    all_run_by(fleet, &runs, "fifth").await;

    // And away again: the seal goes with the last who requires it.
    let sixth = lax(NEW, "sixth").await;
    sealed("k2").await;
    fifth.drain().await;
    sealed("").await;
    let plain = fleet.start(fleet.consumer().await.on(TOPIC, runs.then_by("last", |_| async {}))).await;
    sixth.drain().await;
    all_run_by(fleet, &runs, "last").await;
    plain.drain().await;
}
