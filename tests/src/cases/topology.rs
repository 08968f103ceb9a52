//! Views and their events: every instance sees the same, hears it in order, and knows when it knows nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use longshore_consumer::topology::{Leadership, TopologyEvent, TopologyEvents};
use longshore_consumer::{Consumer, Ctx, Running, Settings};
use longshore_link::Link;
use longshore_link::store::{Beat, Heart};
use longshore_model::id::{Incarnation, Owner};
use longshore_model::settings::OnUnreachable;
use longshore_model::topology::Card;
use longshore_producer::{InstanceId, Rule, State, TopicPattern};

use super::{Fleet, Runs};
use crate::simulation::rough::{self, Roughness};

/// Views are announced after this, where a case does not say otherwise: it needs no three seconds to see the order.
const STABLE: Duration = Duration::from_millis(200);

async fn consumer(fleet: &Fleet) -> Consumer {
    fleet.consumer().await.stable_after(STABLE).on("a", |_| async {})
}

async fn start(fleet: &Fleet) -> Running {
    let consumer = consumer(fleet).await;
    fleet.start(consumer).await
}

fn said(event: &TopologyEvent) -> (&'static str, usize) {
    match event {
        TopologyEvent::Init(view) => ("init", view.instances.len()),
        TopologyEvent::Changing(old) => ("changing", old.instances.len()),
        TopologyEvent::Changed { new, .. } => ("changed", new.instances.len()),
        TopologyEvent::PropertiesChanged { new, .. } => ("properties", new.instances.len()),
    }
}

/// What comes next, and how many instances there are then.
async fn next(fleet: &Fleet, events: &mut TopologyEvents) -> (&'static str, usize) {
    said(&fleet.within("the next event of the topology", events.next()).await.unwrap())
}

/// Waits until an instance goes by a view of so many.
async fn sees(fleet: &Fleet, running: &Running, count: usize) {
    let what = format!("a current view of {count} instances");
    let topology = running.topology();
    let looks = async || {
        let view = topology.view();
        (view.is_current() && view.instances.len() == count).then_some(())
    };
    fleet.eventually(&what, looks).await;
}

/// DV-16, DV-07, DM-13: one instance, then two, then one again; properties are told without a change of the view.
pub async fn v02_v03_v04_v07_v14_v16_events_come_in_order_and_late_listeners_begin_with_init(fleet: &Fleet) {
    let first = start(fleet).await;
    let mut events = first.topology().listen();
    assert_eq!(next(fleet, &mut events).await, ("init", 1));
    let alone = first.topology().view();
    assert!(alone.is_current() && alone.is_leader() && alone.is_coordinator());
    assert_eq!(alone.local().unwrap().owner, *first.owner());
    let second = start(fleet).await;
    assert_eq!(next(fleet, &mut events).await, ("changing", 1));
    assert!(!alone.is_current() && !alone.is_leader());
    // What a newcomer says of itself may be told before or after its view is.
    assert_eq!(next(fleet, &mut events).await, ("changed", 2));
    let mut late = first.topology().listen();
    assert_eq!(next(fleet, &mut late).await, ("init", 2), "a listener that comes late");
    let mut joined = second.topology().listen();
    assert_eq!(next(fleet, &mut joined).await, ("init", 2));
    let (a, b) = (first.topology().view(), second.topology().view());
    assert_eq!((a.number, &a.coordinator), (b.number, &b.coordinator));
    let order: Vec<_> = b.find(|_| true).map(|card| card.owner.clone()).collect();
    assert_eq!(order, [first.owner().clone(), second.owner().clone()], "in the order in which they joined");
    second.drain().await;
    let mut heard = Vec::new();
    while heard.last() != Some(&("changed", 1)) {
        heard.push(next(fleet, &mut events).await);
    }
    heard.retain(|(what, _)| *what != "properties");
    assert_eq!(heard, [("changing", 2), ("changed", 1)]);
    assert!(joined.next().await.is_none(), "nothing more after the end of its instance");
    first.drain().await;
    assert!(events.next().await.is_none());
}

/// DV-19, and U06: what an instance says of itself reaches all others, also a change of what it takes.
pub async fn v05_u06_properties_and_topics_of_an_instance_reach_all_others(fleet: &Fleet) {
    let (first, second) = (start(fleet).await, start(fleet).await);
    sees(fleet, &first, 2).await;
    let topology = first.topology();
    let property = |name: &str| {
        let view = topology.view();
        let card = view.find(|card| card.owner == *second.owner()).next().cloned();
        card.and_then(|card| card.properties.get(name).cloned())
    };
    let is = async |name: &str, value: Option<&str>| {
        let what = format!("{name} is {value:?}");
        fleet.eventually(&what, async || (property(name).as_deref() == value).then_some(())).await;
    };
    let number = topology.view().number;
    let low = second.provide(0, [("zone", "a"), ("rack.no", "7")]).unwrap();
    is("rack.no", Some("7")).await;
    let high = second.provide(1, [("zone", "b")]).unwrap();
    is("zone", Some("b")).await;
    high.update([("zone", "c")]).unwrap();
    is("zone", Some("c")).await;
    drop(high);
    is("zone", Some("a")).await;
    drop(low);
    is("rack.no", None).await;
    let bad = second.provide(0, [("jcr:x", "1")]).unwrap_err();
    assert!(bad.to_string().contains("`jcr:x` is not the name of a property"), "{bad}");
    let id: InstanceId = second.owner().instance.clone();
    let pattern = TopicPattern::new("a").unwrap();
    fleet.producer().set_topic(&id, &pattern, Rule::Disabled, "case").await.unwrap();
    let topic = pattern.exact().unwrap();
    let takers = async || (topology.view().capable(&topic).count() == 1).then_some(());
    fleet.eventually("the others see that it takes the topic no more", takers).await;
    assert_eq!(topology.view().number, number, "all of that was one and the same view");
    first.drain().await;
    second.drain().await;
}

/// DV-20: a listener that never listens holds up neither the others nor the end.
pub async fn v04_a_slow_listener_delays_only_itself(fleet: &Fleet) {
    let first = start(fleet).await;
    let (mut prompt, mut slow) = (first.topology().listen(), first.topology().listen());
    assert_eq!(next(fleet, &mut prompt).await, ("init", 1));
    assert_eq!(next(fleet, &mut slow).await, ("init", 1));
    for _ in 0..2 {
        let second = start(fleet).await;
        while next(fleet, &mut prompt).await != ("changed", 2) {}
        second.drain().await;
        while next(fleet, &mut prompt).await != ("changed", 1) {}
    }
    assert_eq!(next(fleet, &mut slow).await, ("changing", 1));
    assert_eq!(next(fleet, &mut slow).await, ("changed", 1));
    first.drain().await;
}

/// The leader is one, and its work goes where it goes.
pub async fn v08_what_the_leader_does_is_done_by_one_at_a_time(fleet: &Fleet) {
    let at_work = Arc::new(AtomicUsize::new(0));
    let lead = |running: &Running| {
        let (topology, at_work) = (running.topology(), Arc::clone(&at_work));
        fleet.process().tasks.spawn(async move {
            let work = |_| {
                let at_work = Arc::clone(&at_work);
                async move {
                    let _leave = Leave::enter(&at_work);
                    std::future::pending::<()>().await;
                }
            };
            topology.lead(Leadership::Fleet, work).await;
        })
    };
    let first = start(fleet).await;
    let one = lead(&first);
    let busy = async || (at_work.load(Ordering::SeqCst) == 1).then_some(());
    fleet.eventually("the first one leads", busy).await;
    let second = start(fleet).await;
    let two = lead(&second);
    sees(fleet, &second, 2).await;
    fleet.eventually("one of two leads", busy).await;
    assert!(first.topology().is_coordinator() && !second.topology().is_coordinator());
    first.drain().await;
    fleet.within("its work ends with it", one).await.unwrap();
    let took_over = async || (second.topology().is_coordinator() && at_work.load(Ordering::SeqCst) == 1).then_some(());
    fleet.eventually("the second one takes over", took_over).await;
    assert_eq!(second.topology().view().term, 2);
    second.drain().await;
    fleet.within("its work ends with it", two).await.unwrap();
    assert_eq!(at_work.load(Ordering::SeqCst), 0);
}

/// The lead goes to whoever is more preferred, and stays among equals.
pub async fn v09_the_most_preferred_leads_its_cluster_and_the_fleet(fleet: &Fleet) {
    let start = async |preference: i32| {
        let set = |settings: &mut longshore_consumer::Settings| {
            settings.instance.cluster = Some("one".to_owned());
            settings.instance.leader_preference = preference;
        };
        let consumer = fleet.consumer_with(set).await.stable_after(STABLE).on("a", |_| async {});
        fleet.start(consumer).await
    };
    let leads = async |running: &Running, others: &[&Running]| {
        let leads = |running: &Running| {
            let topology = running.topology();
            (topology.view().is_current(), topology.is_leader(), topology.is_coordinator())
        };
        let is_so = async || {
            let others = others.iter().all(|other| leads(other) == (true, false, false));
            (others && leads(running) == (true, true, true)).then_some(())
        };
        fleet.eventually("the right one leads", is_so).await;
    };
    let usual = start(0).await;
    leads(&usual, &[]).await;
    let first = start(5).await;
    leads(&first, &[&usual]).await;
    let second = start(5).await;
    let avoids = start(-5).await;
    sees(fleet, &avoids, 4).await;
    leads(&first, &[&usual, &second, &avoids]).await;
    first.drain().await;
    leads(&second, &[&usual, &avoids]).await;
    second.drain().await;
    leads(&usual, &[&avoids]).await;
    usual.drain().await;
    leads(&avoids, &[]).await;
    avoids.drain().await;
}

/// Whoever is cut off the store says so of itself, hears no more than that, and stops what it runs; only then does another
/// take its place and its job. When it is back it is one of two, and leads nothing.
pub async fn v10_v11_who_is_cut_off_is_nobody_before_another_takes_its_place(fleet: &Fleet) {
    let (runs, roughness) = (Runs::default(), Roughness::default());
    let member = async |by: &'static str, link: Link| {
        let set = |settings: &mut Settings| {
            settings.lease.beat = fleet.span(settings.lease.beat, Duration::from_millis(300));
            settings.lease.doubt = fleet.span(settings.lease.doubt, Duration::from_millis(2_000));
            settings.lease.length = fleet.span(settings.lease.length, Duration::from_millis(5_000));
        };
        let work = |ctx: Ctx| async move { if ctx.attempt() == 1 { Err(ctx.until_cancelled().await) } else { Ok(()) } };
        let consumer = fleet.consumer_with(set).await.link(link).stable_after(STABLE);
        fleet.start(consumer.on("held", runs.then_by(by, work))).await
    };
    let one = member("one", rough::link(fleet.link().await, &roughness)).await;
    let sent = fleet.send_to("held").await;
    runs.reach(1).await;
    let two = member("two", fleet.link().await).await;
    sees(fleet, &one, 2).await;
    let mut events = one.topology().listen();
    assert_eq!(next(fleet, &mut events).await, ("init", 2));
    let leads = |running: &Running| running.topology().is_coordinator();
    assert!(leads(&one) && !leads(&two));
    roughness.cut_store(true);
    let taken_over = async || {
        // In this order: who has taken over has done so before the other one is asked.
        let (second, first) = (leads(&two), leads(&one));
        assert!(!(first && second), "two lead at once");
        second.then_some(())
    };
    fleet.eventually("another takes over", taken_over).await;
    assert_eq!(next(fleet, &mut events).await, ("changing", 2));
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.attempt), (State::Succeeded, 2));
    assert_eq!(runs.all().iter().map(|run| run.by).collect::<Vec<_>>(), ["one", "two"]);
    fleet.quiet(Duration::from_secs(60)).await;
    assert!(events.next().now_or_never().is_none(), "it hears nothing more");
    let topology = one.topology();
    assert!(!topology.is_coordinator() && !topology.is_leader() && !topology.view().is_current());
    roughness.cut_store(false);
    while next(fleet, &mut events).await != ("changed", 2) {}
    sees(fleet, &two, 2).await;
    assert!(leads(&two) && !leads(&one), "who was away joins last");
    one.drain().await;
    two.drain().await;
}

/// Another instance, of which there are beats and nothing else.
struct Bare {
    heart: Box<dyn Heart>,
    card: Card,
}

impl Bare {
    async fn new(fleet: &Fleet, name: &str) -> Self {
        let incarnation = Incarnation::new(fleet.unix_ms(), [7; 16]);
        let card = Card::bare(Owner { instance: InstanceId(name.to_owned()), incarnation });
        Self { heart: fleet.link().await.store.heart().await.unwrap(), card }
    }

    /// A beat that says which view it has reached. Answers the number of the view that there is.
    async fn beat(&mut self, reached: u64) -> u64 {
        let beat = Beat { card: self.card.clone(), reached, lease_ms: 600_000 };
        self.heart.beat(&beat).await.unwrap().view
    }
}

/// DM-17, DM-20: what a newcomer is in is told to nobody, itself not excepted, before all who are in it know it; not even
/// who joins and leaves the rest open for a while.
pub async fn v17_dm_17_a_newcomer_waits_until_the_others_know_it(fleet: &Fleet) {
    let mut slow = Bare::new(fleet, "slow").await;
    slow.beat(0).await;
    let newcomer = start(fleet).await;
    let mut events = newcomer.topology().listen();
    fleet.quiet(Duration::from_secs(5)).await;
    assert!(events.next().now_or_never().is_none(), "one of two has not seen it yet");
    assert!(!newcomer.topology().view().is_leader());
    let number = slow.beat(0).await;
    slow.beat(number).await;
    assert_eq!(next(fleet, &mut events).await, ("init", 2));
    // And so do those who are there, with the next one.
    let mut half = Bare::new(fleet, "half").await;
    let number = half.beat(0).await;
    slow.beat(number).await;
    assert_eq!(next(fleet, &mut events).await, ("changing", 2));
    fleet.quiet(Duration::from_secs(5)).await;
    assert!(events.next().now_or_never().is_none(), "the newcomer has not seen it yet");
    assert!(!newcomer.topology().view().is_current());
    half.beat(number).await;
    assert_eq!(next(fleet, &mut events).await, ("changed", 3));
    newcomer.drain().await;
}

/// An instance that has started and not arrived: as long as no beat of it was answered it is in no view, and it takes
/// nothing; as long as it consumes nothing it is not ready, and says why.
pub async fn v17_who_has_not_beaten_takes_no_work_and_is_not_ready(fleet: &Fleet) {
    let (runs, roughness) = (Runs::default(), Roughness::default());
    let sent = fleet.send_to("late").await;
    roughness.cut_store(true);
    let link = rough::link(fleet.link().await, &roughness);
    let consumer = fleet.consumer_with(|settings| settings.on_unreachable = OnUnreachable::Wait).await.link(link);
    let consumer = consumer.on("late", runs.then(|_| async {}));
    let running = fleet.within("the consumer starts", Box::pin(consumer.start())).await.unwrap();
    fleet.quiet(Duration::from_secs(20)).await;
    let members = async || fleet.producer().topology().await.unwrap().instances.len();
    assert_eq!((runs.count(), members().await, running.is_ready()), (0, 0, false));
    assert!(running.unready().contains(&"the store answers no beats".to_owned()), "{:?}", running.unready());
    roughness.cut_broker(true);
    roughness.cut_store(false);
    fleet.eventually("it is in the view", async || (members().await == 1).then_some(())).await;
    let waits = async || (running.unready() == ["no consumer is registered for: late"]).then_some(());
    fleet.eventually("it waits for its lane, and says so", waits).await;
    assert_eq!(runs.count(), 0);
    roughness.cut_broker(false);
    fleet.within("it is ready", running.ready()).await;
    assert!(fleet.end(&sent).await.is_success());
    assert_eq!(runs.count(), 1);
    running.drain().await;
}

/// Counts who is at work; two at once are a failure.
struct Leave(Arc<AtomicUsize>);

impl Leave {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two lead at once");
        Self(Arc::clone(count))
    }
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts so many at once; answers when all of them have announced one and the same view of all of them.
async fn together(fleet: &Fleet, count: usize, within: Duration) {
    let mut consumers = Vec::new();
    for _ in 0..count {
        consumers.push(fleet.consumer().await.on("a", |_| async {}));
    }
    let began = fleet.unix_ms();
    let starting = join_all(consumers.into_iter().map(Consumer::start));
    let started = fleet.within("all instances start", Box::pin(starting)).await;
    let all: Vec<Running> = started.into_iter().map(Result::unwrap).collect();
    let agreed = async || {
        let views: Vec<_> = all.iter().map(|running| running.topology().view()).collect();
        let numbers: BTreeSet<_> = views.iter().map(|view| (view.number, view.coordinator.clone())).collect();
        let whole = views.iter().all(|view| view.is_current() && view.instances.len() == count);
        (whole && numbers.len() == 1).then_some(())
    };
    fleet.eventually("all agree on the view", agreed).await;
    let took = Duration::from_millis(fleet.unix_ms() - began);
    assert!(took <= within, "{count} instances agreed after {took:?}");
    let leaders = all.iter().filter(|running| running.topology().is_coordinator()).count();
    assert_eq!(leaders, 1);
    for running in &all {
        running.stop().await;
    }
}

/// As many as one large machine runs.
pub async fn v07_twenty_four_instances_agree_on_a_view_within_fifteen_seconds(fleet: &Fleet) {
    together(fleet, 24, Duration::from_secs(15)).await;
}

/// A hub and fifty leaves.
pub async fn v07_fifty_one_instances_agree_on_a_view_within_thirty_seconds(fleet: &Fleet) {
    together(fleet, 51, Duration::from_secs(30)).await;
}
