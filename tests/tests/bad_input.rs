//! More than ten thousand pieces of bad input: nothing panics, nothing good is lost, and each bad message ends once,
//! in quarantine with a reason.
//!
//! A failing case names the seed, its kind and its number; the same seed makes the same cases.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use bytes::Bytes;
use longshore_consumer::{Consumer, Ctx};
use longshore_link::broker::{Letters, Message, Target};
use longshore_link::error::NotAccepted;
use longshore_link::{Embedded, Link, World};
use longshore_model::envelope::Envelope;
use longshore_model::names::Namespace;
use longshore_model::settings::Settings;
use longshore_model::{JobId, Lane, Secret, Topic};
use longshore_producer::{Place, Producer, ProducerOptions, Replayed, State};
use longshore_tests::bad::{BadMessage, Corpus, Fate, messages, texts};
use longshore_tests::cases::Runs;
use longshore_tests::fuzzing;
use longshore_tests::services::{Shared, namespace};
use longshore_tests::wait::{eventually_ok, within};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const SEED: u64 = 0x5eed;
const LANE: &str = "bad/input";
const LONG: Duration = Duration::from_secs(100);
/// Inputs for each reader of bytes or text.
const TEXTS: usize = 2_000;

/// Says which case it was, when one panics.
struct Case<'c>(&'c str, usize, &'c [u8]);

impl Drop for Case<'_> {
    #[allow(clippy::print_stderr, reason = "the output of a failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = String::from_utf8_lossy(&self.2[..self.2.len().min(2_000)]).into_owned();
            eprintln!("seed {SEED:#x}, {} number {}: {shown:?}", self.0, self.1);
        }
    }
}

#[test]
fn whatever_is_read_is_understood_or_refused() {
    for corpus in Corpus::ALL {
        let inputs = texts(SEED, corpus, TEXTS);
        assert_eq!(inputs, texts(SEED, corpus, TEXTS), "the same seed makes the same cases");
        for (number, input) in inputs.iter().enumerate() {
            let _case = Case(&format!("{corpus:?}"), number, input);
            fuzzing::run(corpus, input);
        }
    }
}

/// Puts the bad ones into the lane with good jobs between them, runs a consumer over all, and checks what became of
/// each.
async fn all_end_as_they_must(
    link: &Link,
    settings: &Settings,
    consumer: Consumer,
    bad: &[BadMessage],
    letters: impl AsyncFn() -> Vec<(Bytes, String)>,
) {
    let producer = Producer::connect_with(link.clone(), ProducerOptions::from_settings(settings));
    let lane: Lane = LANE.parse::<Topic>().unwrap().into();
    let runs = Runs::default();
    let running = Box::pin(consumer.on(LANE, runs.then(async |_: Ctx| ())).start()).await.unwrap();
    within(LONG, "the consumer is ready", running.ready()).await;

    let mut good = Vec::new();
    for part in bad.chunks(50) {
        let of = |message: &BadMessage| Message {
            target: Target::Lane(lane.clone()),
            message_id: message.message_id.clone(),
            headers: message.headers.clone(),
            body: message.body.clone(),
        };
        for (confirm, message) in link.broker.publish(part.iter().map(of).collect()).await.into_iter().zip(part) {
            confirm.unwrap_or_else(|fault| panic!("{} {}: {fault}", message.kind, message.number));
        }
        good.push(producer.raw(LANE, "{}").send().await.unwrap().id);
    }
    for id in &good {
        assert!(producer.outcome(*id).timeout(LONG).await.unwrap().is_success(), "the good neighbour {id}");
    }

    // The others have ended as soon as nothing is left in the lane and every job that there is has ended.
    let must = bad.iter().filter(|message| message.fate == Fate::Quarantine).count();
    let ids: BTreeSet<JobId> = bad
        .iter()
        .filter_map(|message| match message.fate {
            Fate::Quarantine => None,
            Fate::Runs(id) | Fate::Ends(id) | Fate::Either(id) => Some(id),
        })
        .collect();
    let records = async || {
        let mut found = BTreeMap::new();
        for part in ids.iter().copied().collect::<Vec<_>>().chunks(100) {
            for (id, record) in part.iter().zip(link.store.records(part.to_vec()).await.unwrap()) {
                found.insert(*id, record.map(|record| record.state));
            }
        }
        found
    };
    let (states, quarantined) = eventually_ok(LONG, "every bad message has ended", async || {
        let count = link.broker.count_letters(Letters::Quarantine).await.unwrap();
        if count < must as u64 {
            return Err((count, must, Vec::new()));
        }
        let (states, quarantined) = (records().await, letters().await);
        let bodies: BTreeSet<&[u8]> = quarantined.iter().map(|(body, _)| &body[..]).collect();
        let ended = |id: &JobId| states[id].is_some_and(State::is_terminal);
        let open: Vec<_> = bad
            .iter()
            .filter(|message| match &message.fate {
                Fate::Quarantine => !bodies.contains(&message.body[..]),
                Fate::Runs(id) | Fate::Ends(id) => !ended(id),
                Fate::Either(id) => !ended(id) && !bodies.contains(&message.body[..]),
            })
            .map(|message| (message.kind, message.number))
            .collect();
        if open.is_empty() { Ok((states, quarantined)) } else { Err((count, must, open)) }
    })
    .await;

    // Each body as often as it was sent, with a reason; and no others.
    let mut left: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (body, reason) in &quarantined {
        assert!(!reason.trim().is_empty() && reason.len() < 4_096, "{reason:?}");
        *left.entry(&body[..]).or_default() += 1;
    }
    let ran: BTreeMap<JobId, usize> = runs.all().iter().fold(BTreeMap::new(), |mut counts, run| {
        *counts.entry(run.id).or_default() += 1;
        counts
    });
    for message in bad {
        let _case = Case(message.kind, message.number, &message.body);
        let kept = left.get_mut(&message.body[..]).filter(|count| **count > 0);
        match (message.fate, kept) {
            (Fate::Quarantine | Fate::Either(_), Some(count)) => *count -= 1,
            (Fate::Quarantine, None) => panic!("it is not in quarantine"),
            (Fate::Runs(_) | Fate::Ends(_), Some(_)) => panic!("it is in quarantine"),
            (Fate::Runs(id), None) => assert_eq!((states[&id], ran.get(&id)), (Some(State::Succeeded), Some(&1))),
            (Fate::Ends(id), None) => assert!(!ran.contains_key(&id), "it ran"),
            (Fate::Either(id), None) => assert!(ran.get(&id).is_none_or(|count| *count == 1), "it ran twice"),
        }
    }
    assert_eq!(left.values().sum::<usize>(), 0, "somebody is in quarantine twice");
    for id in &good {
        assert_eq!(ran.get(id), Some(&1), "the good neighbour {id} ran once");
    }
    assert!(running.is_ready(), "the consumer lives");
    running.drain().await;

    // The letters themselves are read by people's tools: what nobody can read is kept when it is replayed; an envelope of
    // another topic that came into this lane goes to its own.
    let handled = producer.letters(Place::Quarantine).whole().limit(20).replay(None).await.unwrap();
    assert!(handled.fault.is_none() && !handled.letters.is_empty());
    let mut sent = 0;
    for (letter, replayed) in &handled.letters {
        let readable = Envelope::decode(&letter.body).is_ok();
        match replayed {
            Replayed::Sent(..) if readable => sent += 1,
            // Of two that bear the same id and different topics the first one is its job; the other one stays.
            Replayed::Refused(_, NotAccepted::IdTaken(_)) if readable && sent > 0 => {}
            Replayed::Unreadable(_) if !readable => {}
            other => panic!("{other:?}"),
        }
    }
    eventually_ok(LONG, "nothing that cannot be read is let go", async || {
        let left = letters().await.len();
        if left + sent == quarantined.len() { Ok(()) } else { Err((left, sent, quarantined.len())) }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_bad_messages_end_once_on_the_embedded_backend() {
    let world = World::simulated(SEED);
    let embedded = Embedded::new(&world);
    let settings = Settings::default();
    let lane: Topic = LANE.parse().unwrap();
    let bad = messages(SEED, &lane, world.clock.unix_ms(), true);
    assert!(bad.len() >= 10_000, "{} cases", bad.len());
    let homes = tempfile::tempdir().unwrap();
    let mut own = settings.clone();
    own.instance.home = Some(homes.path().join("home"));
    own.instance.concurrency = 64;
    let consumer = Consumer::new(own).link(embedded.link(world.process()));
    let letters = async || {
        let letters = embedded.letters(Letters::Quarantine).into_iter();
        letters.map(|letter| (letter.body, letter.headers.reason.unwrap_or_default())).collect()
    };
    all_end_as_they_must(&embedded.link(world.process()), &settings, consumer, &bad, letters).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_bad_messages_end_once_on_services() {
    let shared = Shared::services().await;
    let mut settings = Settings { namespace: Namespace::new(&namespace("bad")).unwrap(), ..Settings::default() };
    settings.broker.url = Secret::new(shared.broker_url.as_str());
    settings.store.url = Secret::new(shared.store_url.as_str());
    let world = World::system();
    let link = Box::pin(Link::connect(&settings, world.clone(), "test")).await.unwrap();
    let lane: Topic = LANE.parse().unwrap();
    let bad = messages(SEED, &lane, world.clock.unix_ms(), false);
    assert!(bad.len() >= 500, "{} cases", bad.len());
    let homes = tempfile::tempdir().unwrap();
    let mut own = settings.clone();
    own.instance.home = Some(homes.path().join("home"));
    let reader = Producer::connect_with(link.clone(), ProducerOptions::from_settings(&settings));
    let letters = async || {
        let letters = reader.letters(Place::Quarantine).whole().list().await.unwrap().letters.into_iter();
        letters.map(|letter| (letter.body, letter.reason.unwrap_or_default())).collect()
    };
    all_end_as_they_must(&link, &settings, Consumer::new(own), &bad, letters).await;
}
