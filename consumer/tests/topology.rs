//! What an instance sees of the fleet when the store goes away or forgets, on the embedded backend in virtual time.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use longshore_consumer::topology::{Leadership, TopologyEvent};
use longshore_consumer::{Consumer, Running, Settings, Topology};
use longshore_link::World;
use longshore_link::embedded::Embedded;
use longshore_model::topic::TopicPattern;
use longshore_model::topology::matrix::Rule;
use longshore_producer::{Producer, ProducerOptions};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

struct Bench {
    backend: Embedded,
    world: World,
    producer: Producer,
    runs: Arc<AtomicUsize>,
}

impl Bench {
    fn new() -> Self {
        let world = World::simulated(5);
        let backend = Embedded::new(&world);
        let producer = Producer::connect_with(backend.link(world.process()), ProducerOptions::default());
        Self { backend, world, producer, runs: Arc::default() }
    }

    async fn start(&self) -> Running {
        self.start_in(self.world.process()).await
    }

    /// As [`Self::start`], in a process that can be suspended.
    async fn start_in(&self, process: World) -> Running {
        let runs = Arc::clone(&self.runs);
        let handler = move |_| {
            runs.fetch_add(1, Ordering::SeqCst);
            async {}
        };
        let consumer = Consumer::new(Settings::default()).link(self.backend.link(process.clone())).world(process);
        let running = consumer.on("a", handler.clone()).on("b", handler).start().await.unwrap();
        running.ready().await;
        running
    }

    async fn sleep(&self, ms: u64) {
        self.world.clock.sleep(Duration::from_millis(ms)).await;
    }
}

fn is_current(topology: &Topology) -> bool {
    topology.view().is_current()
}

/// Lets something go on until it waits. Answers whether it does.
async fn is_pending(mut future: Pin<&mut impl Future<Output = ()>>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// By default a lease is 10 s, and an instance doubts itself after 7 s.
#[tokio::test(start_paused = true)]
async fn v10_v11_who_cannot_prove_that_it_lives_is_nobody_before_others_can_take_over() {
    let bench = Bench::new();
    let (one, two) = (bench.start().await, bench.start().await);
    bench.sleep(10_000).await;
    let (first, second) = (one.topology(), two.topology());
    assert!(first.is_coordinator() && !second.is_coordinator() && is_current(&second));
    let (number, mut events) = (first.view().number, first.listen());
    assert!(matches!(events.next().await, Some(TopologyEvent::Init(_))));
    bench.backend.set_store_away(Some("a cut"));
    bench.sleep(4_000).await;
    assert!(first.is_coordinator(), "it was heard four seconds ago at most");
    bench.sleep(5_500).await;
    assert!(!first.is_coordinator() && !is_current(&first) && !is_current(&second), "the leases have not ended yet");
    assert!(matches!(events.next().await, Some(TopologyEvent::Changing(_))));
    bench.sleep(60_000).await;
    assert!(!first.is_coordinator() && !is_current(&second), "alone it is nobody");
    bench.backend.set_store_away(None);
    bench.sleep(10_000).await;
    assert!(matches!(events.next().await, Some(TopologyEvent::Changed { .. })));
    // Nobody was dropped: it was the store that was away.
    assert_eq!((first.view().number, first.view().instances.len()), (number, 2));
    assert!(first.is_coordinator() && is_current(&second) && !second.is_coordinator());
    one.stop().await;
    two.stop().await;
    assert!(!is_current(&first));
}

/// Nothing of a suspended process gets to run, and still it is nobody as soon as others may take its place.
#[tokio::test(start_paused = true)]
async fn v11_a_process_that_was_suspended_knows_it_before_anything_of_it_runs() {
    let bench = Bench::new();
    let process = bench.world.process();
    let (one, two) = (bench.start_in(process.clone()).await, bench.start().await);
    bench.sleep(10_000).await;
    let (first, mut events) = (one.topology(), one.topology().listen());
    let Some(TopologyEvent::Init(view)) = events.next().await else { panic!("the first event is Init") };
    assert!(view.is_coordinator() && first.is_coordinator());
    let (steps, work) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut leading = std::pin::pin!(first.lead(Leadership::Fleet, |_| {
        work.fetch_add(1, Ordering::SeqCst);
        async {
            loop {
                steps.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    }));
    assert!(is_pending(leading.as_mut()).await && is_pending(leading.as_mut()).await);
    assert_eq!((work.load(Ordering::SeqCst), steps.load(Ordering::SeqCst)), (1, 2));
    process.tasks.freeze(true);
    bench.sleep(9_500).await;
    assert!(is_pending(leading.as_mut()).await);
    assert_eq!(steps.load(Ordering::SeqCst), 2, "what it does as the leader goes no further");
    assert!(!first.is_coordinator() && !view.is_current());
    assert!(!two.topology().is_coordinator(), "its lease has not ended");
    bench.sleep(10_000).await;
    assert!(two.topology().is_coordinator() && !first.is_coordinator());
    process.tasks.freeze(false);
    assert!(!first.is_coordinator(), "nothing of it has run yet");
    let heard = [events.next().await, events.next().await];
    let [Some(TopologyEvent::Changing(old)), Some(TopologyEvent::Changed { new, .. })] = heard else {
        panic!("{heard:?}")
    };
    assert_eq!((old.instances.len(), new.instances.len(), new.is_coordinator()), (2, 2, false));
    bench.sleep(10_000).await;
    assert!(two.topology().is_coordinator() && !first.is_coordinator(), "who was away joins last");
    assert!(is_pending(leading.as_mut()).await);
    assert_eq!(work.load(Ordering::SeqCst), 1);
    one.stop().await;
    leading.await;
    two.stop().await;
}

/// A store that lost everything numbers its views anew: the numbers may be those of before, and the leader another.
#[tokio::test(start_paused = true)]
async fn v13_a_view_of_a_store_that_forgot_everything_is_not_taken_for_the_one_before() {
    let bench = Bench::new();
    let process = bench.world.process();
    let (one, two) = (bench.start_in(process.clone()).await, bench.start().await);
    bench.sleep(20_000).await;
    let (first, second) = (one.topology(), two.topology());
    let before = first.view();
    assert!(first.is_coordinator() && before.instances.len() == 2);
    // The other one is the first that beats again.
    process.tasks.freeze(true);
    bench.backend.wipe_store();
    bench.sleep(4_000).await;
    process.tasks.freeze(false);
    bench.sleep(30_000).await;
    let after = first.view();
    assert_eq!((after.number, after.instances.len()), (before.number, 2), "the numbers tell nothing");
    assert!(after.is_current() && second.view().is_current() && !before.is_current());
    assert!(second.is_coordinator() && !first.is_coordinator());
    assert_eq!(after.coordinator, second.view().coordinator);
    one.stop().await;
    two.stop().await;
}

/// DM-17 and the like are the store's; here is what one instance shows before it knows anything, and after its end.
#[tokio::test(start_paused = true)]
async fn v02_dv_17_there_is_always_a_view_and_it_says_whether_it_is_current() {
    let bench = Bench::new();
    let consumer = Consumer::new(Settings::default()).link(bench.backend.link(bench.world.process()));
    let running = consumer.on("a", |_| async {}).start().await.unwrap();
    let topology = running.topology();
    let early = topology.view();
    assert_eq!((early.instances.len(), early.is_current(), early.is_leader()), (1, false, false));
    assert_eq!(early.local().unwrap().owner, *running.owner());
    let mut held_back = topology.listen_after(Duration::from_secs(30)).unwrap();
    assert!(topology.listen_after(Duration::ZERO).is_err());
    let began = bench.world.clock.boot();
    let Some(TopologyEvent::Init(view)) = held_back.next().await else { panic!("the first event is Init") };
    assert!(view.is_current() && bench.world.clock.boot() - began >= Duration::from_secs(30));
    let card = view.local().unwrap();
    assert_eq!(
        (card.slots, card.name.is_empty()),
        (u32::try_from(Settings::default().instance.concurrency).unwrap(), false)
    );
    running.stop().await;
    assert!(held_back.next().await.is_none());
}

/// What was forbidden stays forbidden.
#[tokio::test(start_paused = true)]
async fn o08_a_row_that_the_store_lost_is_put_back_by_its_instance() {
    let bench = Bench::new();
    let running = bench.start().await;
    let id = running.owner().instance.clone();
    let topic = TopicPattern::new("a").unwrap();
    let kept = bench.producer.set_topic(&id, &topic, Rule::Disabled, "ann").await.unwrap();
    assert!(bench.producer.row_in_effect(&id, &kept.row, Duration::from_secs(2)).await.unwrap());
    bench.sleep(5_000).await;
    bench.backend.wipe_store();
    let job = bench.producer.raw("a", "{}").send().await.unwrap();
    bench.producer.raw("b", "{}").send().await.unwrap();
    bench.sleep(60_000).await;
    let again = bench.producer.matrix().await.unwrap().remove(&id).unwrap();
    assert_eq!(again.row, kept.row);
    assert!(again.revision > kept.revision);
    assert_eq!(bench.runs.load(Ordering::SeqCst), 1, "the job of the other topic");
    bench.producer.clear_topics(&id, "ann").await.unwrap();
    assert!(job.outcome().await.unwrap().is_success());
    running.drain().await;
}
