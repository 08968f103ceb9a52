//! Views and their events: every instance sees the same, hears it in order, and knows when it knows nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use longshore_consumer::topology::{Leadership, TopologyEvent, TopologyEvents};
use longshore_consumer::{Consumer, Running};
use longshore_producer::{InstanceId, Rule, TopicPattern};

use super::Fleet;

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
