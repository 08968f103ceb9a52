//! What only the embedded backend can be made to do: cut sessions, deleted lanes, alarms, lost answers, restarts.
//! What all implementations promise is in the conformance suite.

use super::*;
use crate::broker::{Consumption, Delivery, Headers, Intake, Target};
use crate::conformance::{Bench, Hooks, Letter, Running, sequences};
use crate::error::Fault;
use crate::store::{Beat, NewJob, Nudge, PauseOrder, Renew};
use bytes::Bytes;
use longshore_model::gate::{Gates, Pausable};
use longshore_model::id::{Incarnation, InstanceId, JobId, Owner};
use longshore_model::names::Park;
use longshore_model::record::{Admission, Start, State};
use longshore_model::settings::Settings;
use longshore_model::topic::Topic;
use longshore_model::topology::Card;
use proptest::test_runner::{Config, TestRunner};
use std::time::Duration;

crate::conformance!(crate::embedded::tests::run);

#[async_trait::async_trait]
impl Hooks for Embedded {
    async fn letters(&self, place: Letters) -> Vec<Letter> {
        let letter = |message: Message| Letter {
            message_id: message.message_id,
            reason: message.headers.reason,
            body: message.body,
        };
        Self::letters(self, place).into_iter().map(letter).collect()
    }

    async fn delete_lane(&self, lane: &Lane) {
        Self::delete_lane(self, lane);
    }

    async fn set_back(&self, instance: &InstanceId, ms: u64) {
        Self::set_back(self, instance, ms);
    }
}

/// The cases about payload files once more, on a directory.
mod directory {
    use super::*;

    crate::conformance_blobs!(crate::embedded::tests::directory::run);

    fn run(case: impl for<'b> FnOnce(&'b Bench) -> Running<'b>) {
        paused().block_on(async {
            let (dir, world) = (tempfile::tempdir().unwrap(), World::simulated(17));
            let embedded = Embedded::new(&world);
            let link = async || Link {
                blobs: crate::blobs::Blobs::directory(dir.path(), &world),
                ..embedded.link(world.process())
            };
            let (a, b) = (link().await, link().await);
            case(&Bench { a, b, hooks: Arc::new(embedded.clone()) }).await;
        });
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Runs a conformance case; whatever it did, the store's indexes agree with its records.
fn run(case: impl for<'b> FnOnce(&'b Bench) -> Running<'b>) {
    paused().block_on(async {
        let world = World::simulated(11);
        let embedded = Embedded::new(&world);
        embedded.set_quarantine_bytes(crate::conformance::QUARANTINE_BYTES);
        let (a, b) = (embedded.link(world.process()), embedded.link(world.process()));
        case(&Bench { a, b, hooks: Arc::new(embedded.clone()) }).await;
        embedded.check().unwrap();
    });
}

#[test]
fn random_sequences_agree_with_the_state_machine() {
    let config = Config { cases: 256, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&sequences::steps(40), |steps| {
        paused().block_on(async {
            let world = World::simulated(13);
            let embedded = Embedded::new(&world);
            let checked = sequences::check(&embedded.link(world), &steps).await;
            checked.and_then(|()| embedded.check()).map_err(proptest::test_runner::TestCaseError::fail)
        })
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

fn topic() -> Topic {
    Topic::new("test/one").unwrap()
}

fn normal() -> Lane {
    topic().into()
}

fn message(target: Target, id: &str) -> Message {
    Message { target, message_id: id.into(), headers: Headers::default(), body: Bytes::from_static(b"{}") }
}

async fn send(link: &Link, ids: &[&str]) {
    let messages = ids.iter().map(|id| message(Target::Jobs(normal()), id)).collect();
    for result in link.broker.publish(messages).await {
        result.unwrap();
    }
}

async fn delivery(consumption: &mut Box<dyn Consumption>) -> Delivery {
    match consumption.next().await {
        Intake::Delivery(delivery) => delivery,
        other => panic!("expected a delivery: {other:?}"),
    }
}

fn id(delivery: &Delivery) -> &str {
    delivery.message_id.as_deref().unwrap()
}

fn bench() -> (Embedded, Link) {
    let world = World::simulated(7);
    let embedded = Embedded::new(&world);
    let link = embedded.link(world);
    (embedded, link)
}

pub(super) fn job(link: &Link) -> NewJob {
    let id = link.world.job_id(None);
    let admission = Admission {
        id,
        topic: topic(),
        queue: "main".into(),
        start: Start::Now,
        max_retries: 0,
        max_crashes: 3,
        expires: None,
        gates: Gates::default(),
        site: None,
        unique: None,
    };
    NewJob {
        admission,
        envelope: Bytes::from_static(b"{}"),
        labels: std::collections::BTreeMap::new(),
        fields: std::collections::BTreeMap::new(),
        again: false,
        retry_of: None,
    }
}

fn owner(instance: &str, start: u64) -> Owner {
    Owner { instance: InstanceId(instance.into()), incarnation: Incarnation::new(start, [1; 16]) }
}

#[tokio::test(start_paused = true)]
async fn a_cut_session_gives_everything_back_in_order() {
    let (embedded, link) = bench();
    send(&link, &["a", "b", "c", "d"]).await;
    let mut first = link.broker.consume().await.unwrap();
    first.add(&normal(), 3).await.unwrap();
    let held = [delivery(&mut first).await, delivery(&mut first).await];
    first.settler().ack(held[0].tag);
    embedded.close_all_sessions("the connection was cut");
    assert!(matches!(first.next().await, Intake::Ended { why } if why.contains("cut")));
    assert!(matches!(first.next().await, Intake::Ended { .. }), "and nothing else afterwards");
    assert!(!first.settler().is_live());
    first.settler().ack(held[1].tag);

    let mut second = link.broker.consume().await.unwrap();
    second.add(&normal(), 10).await.unwrap();
    for (expected, redelivered) in [("b", true), ("c", true), ("d", true)] {
        let again = delivery(&mut second).await;
        // `d` took the room that the acknowledgement of `a` made, so it had been delivered as well.
        assert_eq!((id(&again), again.redelivered), (expected, redelivered));
    }
    assert_eq!(embedded.messages(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_session_is_a_closed_one() {
    let (_embedded, link) = bench();
    send(&link, &["a"]).await;
    let mut first = link.broker.consume().await.unwrap();
    first.add(&normal(), 1).await.unwrap();
    drop(delivery(&mut first).await);
    drop(first);
    assert_eq!(link.broker.depth(&normal()).await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn sessions_of_one_lane_get_turns() {
    let (_embedded, link) = bench();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let mut session = link.broker.consume().await.unwrap();
        session.add(&normal(), 100).await.unwrap();
        sessions.push(session);
    }
    send(&link, &["a", "b", "c", "d", "e", "f"]).await;
    for (session, expected) in sessions.iter_mut().zip([["a", "d"], ["b", "e"], ["c", "f"]]) {
        for name in expected {
            assert_eq!(id(&delivery(session).await), name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lane_is_reported_and_its_parked_messages_go_to_the_unrouted() {
    let (embedded, link) = bench();
    let mut session = link.broker.consume().await.unwrap();
    session.add(&normal(), 1).await.unwrap();
    let parked = message(Target::Parked(Park::Short, normal()), "parked");
    link.broker.publish(vec![parked]).await.remove(0).unwrap();
    embedded.delete_lane(&normal());
    assert!(matches!(session.next().await, Intake::LaneLost { lane, .. } if lane == normal()));
    assert!(session.lanes().is_empty());
    link.world.clock.sleep(Duration::from_secs(31)).await;
    assert_eq!(embedded.letters(Letters::Unrouted).len(), 1);
    assert_eq!(link.broker.reroute(10).await.unwrap(), 0, "there still is no lane");
    session.add(&normal(), 1).await.unwrap();
    assert_eq!(link.broker.reroute(10).await.unwrap(), 1);
    assert_eq!(id(&delivery(&mut session).await), "parked");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_wakes_up_for_a_parked_message() {
    let (_embedded, link) = bench();
    let mut session = link.broker.consume().await.unwrap();
    session.add(&normal(), 5).await.unwrap();
    let parked = |park, id| message(Target::Parked(park, normal()), id);
    let waiter = link.world.tasks.spawn(async move { (delivery(&mut session).await, delivery(&mut session).await) });
    link.world.clock.sleep(Duration::from_millis(1)).await;
    let start = link.world.clock.unix_ms();
    for result in link.broker.publish(vec![parked(Park::Middle, "later"), parked(Park::Short, "first")]).await {
        result.unwrap();
    }
    let (first, later) = waiter.await.unwrap();
    assert_eq!((id(&first), id(&later)), ("first", "later"));
    let waited = link.world.clock.unix_ms() - start;
    assert!((120_000..120_010).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn an_alarm_is_a_fault_and_not_a_hang() {
    let (embedded, link) = bench();
    embedded.set_blocked(Some("low on disk"));
    let fault = link.broker.publish(vec![message(Target::Jobs(normal()), "a")]).await.remove(0).unwrap_err();
    assert!(matches!(&fault, Fault::Blocked { detail, .. } if detail.contains("low on disk")), "{fault}");
    assert_eq!(link.broker.status().blocked.as_deref(), Some("low on disk"));
    embedded.set_blocked(None);
    send(&link, &["a"]).await;
    assert_eq!(link.broker.depth(&normal()).await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_unknown_and_the_call_has_happened() {
    let (embedded, link) = bench();
    let job = job(&link);
    embedded.lose_store_answers(1);
    assert!(link.store.enqueue(vec![job.clone()]).await.unwrap_err().is_unknown());
    assert!(link.store.enqueue(vec![job]).await.unwrap().remove(0).unwrap().existed);
    embedded.lose_confirms(1);
    let lost = link.broker.publish(vec![message(Target::Jobs(normal()), "a")]).await.remove(0);
    assert!(lost.unwrap_err().is_unknown());
    assert_eq!(link.broker.depth(&normal()).await.unwrap(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_sees_the_store_after_each_operation_and_before_its_answer() {
    let (embedded, link) = bench();
    let what = Pausable::Topic(topic().to_string());
    let (seen, sights) = (Arc::new(Mutex::new(Vec::new())), Arc::default());
    let notes: (Arc<Mutex<Vec<_>>>, Arc<Mutex<usize>>) = (Arc::clone(&seen), Arc::clone(&sights));
    embedded.watch(move |sight| {
        let states: Vec<State> = sight.records().map(|record| record.state).collect();
        let mut seen = notes.0.lock().unwrap();
        if seen.last() != Some(&(states.clone(), sight.pauses().count())) {
            seen.push((states, sight.pauses().count()));
        }
        *notes.1.lock().unwrap() += 1;
    });
    let job = job(&link);
    let id = job.admission.id;
    link.store.enqueue(vec![job]).await.unwrap().remove(0).unwrap();
    embedded.lose_store_answers(1);
    link.store.stop("a test", vec![id]).await.unwrap_err();
    let order = PauseOrder { by: "a test".into(), why: String::new(), until: None };
    link.store.set_pause(&what, Some(&order)).await.unwrap();
    let expected = [(vec![State::Queued], 0), (vec![State::Stopped], 0), (vec![State::Stopped], 1)];
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(*sights.lock().unwrap(), 3, "one sight for each operation");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_does_nothing() {
    let (embedded, link) = bench();
    let job = job(&link);
    embedded.set_store_away(Some("restarting"));
    assert!(matches!(link.store.enqueue(vec![job.clone()]).await, Err(Fault::Unreachable { .. })));
    embedded.set_store_away(None);
    assert!(!link.store.enqueue(vec![job]).await.unwrap().remove(0).unwrap().existed);
    let mut session = link.broker.consume().await.unwrap();
    embedded.set_broker_away(Some("restarting"));
    assert!(matches!(session.next().await, Intake::Ended { .. }));
    assert!(!link.broker.status().connected);
    assert!(link.broker.consume().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_restarted_store_declares_nobody_dead_until_all_could_renew() {
    let (embedded, link) = bench();
    let (job, me) = (job(&link), owner("a", 1));
    let id = job.admission.id;
    link.store.enqueue(vec![job]).await.unwrap();
    let claim = crate::store::Claim {
        id,
        nonce: "n".into(),
        generation: longshore_model::Generation::default(),
        floor: longshore_model::Fence::default(),
        alone: false,
    };
    link.store.claim(&me, 10, vec![claim]).await.unwrap();
    link.world.clock.sleep(Duration::from_secs(1)).await;
    embedded.restart_store();
    assert!(link.store.rescue(10, 2_000).await.unwrap().runnable.is_empty(), "nobody has renewed yet");
    let renew = Renew { owner: owner("b", 1), lease_ms: 10_000, beat_ms: 2_000, running: Vec::new(), known: None };
    let mut heart = link.store.heart().await.unwrap();
    let renewed = heart.renew(&renew).await.unwrap();
    assert_eq!((renewed.amnesty, renewed.expired), (renewed.now + 10_000, 0));
    assert!(link.store.rescue(10, 2_000).await.unwrap().runnable.is_empty());
    link.world.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(link.store.rescue(10, 10_000).await.unwrap().runnable.len(), 1);
    embedded.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wiped_store_knows_nothing_and_says_that_something_may_be_missed() {
    let (embedded, link) = bench();
    let (job, mut nudges) = (job(&link), link.store.nudges());
    let id: JobId = job.admission.id;
    link.store.enqueue(vec![job]).await.unwrap();
    assert_eq!(nudges.recv().await.unwrap(), Nudge::Topics);
    embedded.wipe_store();
    assert_eq!(nudges.recv().await.unwrap(), Nudge::Missed);
    assert_eq!(link.store.records(vec![id]).await.unwrap(), [None]);
    assert!(link.store.topics().await.unwrap().is_empty());
    embedded.check().unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_name_in_one_namespace_is_one_backend_while_anybody_holds_it() {
    let world = World::simulated(1);
    let settings = Settings::embedded("shared");
    let one = Link::connect(&settings, world.clone(), "one").await.unwrap();
    let two = Link::connect(&settings, world.process(), "two").await.unwrap();
    let other = Settings { namespace: Namespace::new("other").unwrap(), ..settings.clone() };
    let apart = Link::connect(&other, world.process(), "three").await.unwrap();
    one.store.know(vec![normal()]).await.unwrap();
    assert_eq!(two.store.topics().await.unwrap(), [topic()]);
    assert!(apart.store.topics().await.unwrap().is_empty());
    drop((one, two));
    let anew = Link::connect(&settings, world, "one").await.unwrap();
    assert!(anew.store.topics().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_beat_makes_a_member() {
    let (_embedded, link) = bench();
    let card = Card { name: "a".into(), cluster: "a".into(), slots: 1, ..Card::bare(owner("a", 5)) };
    let mut heart = link.store.heart().await.unwrap();
    let beaten = heart.beat(&Beat { card, reached: 0, lease_ms: 10_000 }).await.unwrap();
    assert!(beaten.coordinator && !beaten.superseded);
    let view = link.store.view().await.unwrap();
    assert_eq!((view.number, view.term, view.instances.len()), (1, 1, 1));
    assert_eq!(view.instances[0].started, beaten.now);
    link.world.clock.sleep(Duration::from_secs(11)).await;
    let view = link.store.view().await.unwrap();
    assert_eq!((view.number, view.instances.len(), view.coordinator), (2, 0, None));
}

#[tokio::test(start_paused = true)]
async fn t6_what_is_older_than_tombstones_is_an_orphan_unless_it_may_have_been_lost() {
    let (embedded, link) = bench();
    let renew = Renew { owner: owner("a", 1), lease_ms: 10_000, beat_ms: 2_000, running: Vec::new(), known: None };
    let mut heart = link.store.heart().await.unwrap();
    heart.renew(&renew).await.unwrap();
    link.world.clock.sleep(Duration::from_secs(60)).await;
    let enqueued = link.store.ping().await.unwrap();
    let rebuild = || {
        let job = job(&link);
        let claim = crate::store::Claim {
            id: job.admission.id,
            nonce: "n".into(),
            generation: longshore_model::Generation::default(),
            floor: longshore_model::Fence::default(),
            alone: false,
        };
        crate::store::Rebuild { job, enqueued, claim }
    };
    link.world.clock.sleep(Duration::from_millis(longshore_model::limits::TOMBSTONE_MS + 1)).await;
    let me = owner("a", 1);
    let rebuilt = link.store.rebuild(&me, 10_000, rebuild()).await.unwrap();
    assert_eq!(rebuilt, crate::store::Rebuilt::Orphan, "an intact store would still know it");
    embedded.wipe_store();
    let rebuilt = link.store.rebuild(&me, 10_000, rebuild()).await.unwrap();
    assert!(matches!(rebuilt, crate::store::Rebuilt::Claimed(_)), "{rebuilt:?}");
}

#[tokio::test(start_paused = true)]
async fn a_restarted_store_may_have_lost_its_last_seconds_only() {
    let (embedded, link) = bench();
    let mut heart = link.store.heart().await.unwrap();
    let mut renew = Renew { owner: owner("a", 1), lease_ms: 10_000, beat_ms: 2_000, running: Vec::new(), known: None };
    renew.known = Some(heart.renew(&renew).await.unwrap().known);
    link.world.clock.sleep(Duration::from_secs(60)).await;
    let last = heart.renew(&renew).await.unwrap();
    embedded.restart_store();
    link.world.clock.sleep(Duration::from_secs(3)).await;
    let renewed = heart.renew(&renew).await.unwrap();
    assert_eq!(renewed.loss, crate::store::LossKind::Restarted);
    let loss = link.store.losses().await.unwrap().pop().unwrap();
    assert_eq!((loss.from, loss.to), (last.now - longshore_model::limits::LOSS_MARGIN_MS, renewed.now));
}
