//! How many messages an instance takes from a lane, and when it gives them back, on the embedded backend in virtual time.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use longshore_consumer::{Consumer, Ctx, HandlerExt, Job, Json, Running, Settings};
use longshore_link::World;
use longshore_link::embedded::Embedded;
use longshore_model::topic::Topic;
use longshore_producer::{Producer, ProducerOptions};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/work")]
struct Work {
    ms: u64,
}

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/slow")]
struct Slow {}

struct Bench {
    backend: Embedded,
    world: World,
    producer: Producer,
    begun: Arc<AtomicUsize>,
}

impl Bench {
    fn new() -> Self {
        let world = World::simulated(13);
        let backend = Embedded::new(&world);
        let producer = Producer::connect_with(backend.link(world.process()), ProducerOptions::default());
        Self { backend, world, producer, begun: Arc::default() }
    }

    fn consumer(&self, slots: usize) -> Consumer {
        let mut settings = Settings::default();
        settings.instance.concurrency = slots;
        Consumer::new(settings).link(self.backend.link(self.world.process()))
    }

    async fn started(consumer: Consumer) -> Running {
        let running = consumer.start().await.unwrap();
        running.ready().await;
        running
    }

    async fn sleep(&self, seconds: u64) {
        self.world.clock.sleep(Duration::from_secs(seconds)).await;
    }

    async fn send(&self, count: usize, ms: u64) {
        for _ in 0..count {
            self.producer.send(Work { ms }).await.unwrap();
        }
    }

    /// Messages that no instance has taken.
    async fn depth(&self) -> u64 {
        let link = self.backend.link(self.world.process());
        link.broker.depth(&Topic::new("test/work").unwrap()).await.unwrap().unwrap()
    }
}

async fn work(job: Work, ctx: Ctx) -> Result<Json<()>, longshore_consumer::Cancelled> {
    ctx.sleep(Duration::from_millis(job.ms)).await.map(Json)
}

#[tokio::test(start_paused = true)]
async fn three_messages_for_a_slot_are_here_and_twice_as_many_while_jobs_are_quick() {
    let bench = Bench::new();
    let running = Bench::started(bench.consumer(1).handle(work)).await;
    bench.send(20, 40_000).await;
    bench.sleep(1).await;
    assert_eq!(bench.depth().await, 17, "jobs that take long");
    running.stop().await;

    let bench = Bench::new();
    let running = Bench::started(bench.consumer(1).handle(work)).await;
    bench.send(30, 10).await;
    bench.send(20, 40_000).await;
    bench.sleep(1).await;
    assert_eq!(bench.depth().await, 14, "jobs that were quick");
    // What waits for too long goes back, and the lane comes again as one of jobs that take long.
    bench.sleep(90).await;
    assert_eq!(bench.depth().await, 15, "two are done, and three here");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_here_goes_back_in_time_while_other_lanes_keep_the_instance_busy() {
    let bench = Bench::new();
    let begun = Arc::clone(&bench.begun);
    let slow = move |_job: Slow, ctx: Ctx| {
        begun.fetch_add(1, Ordering::SeqCst);
        async move { ctx.sleep(Duration::from_secs(1_000)).await.map(Json) }
    };
    let busy = Bench::started(bench.consumer(4).handle(work).handle(slow.clone().concurrency(1))).await;
    for _ in 0..3 {
        bench.producer.send(Slow {}).await.unwrap();
    }
    bench.sleep(1).await;
    assert_eq!(bench.begun.load(Ordering::SeqCst), 1, "one at a time, and the others wait here");
    bench.send(4_000, 100).await;
    let idle = Bench::started(bench.consumer(1).handle(slow)).await;
    bench.sleep(40).await;
    assert!(bench.depth().await > 1_000, "the instance is busy yet");
    assert_eq!(bench.begun.load(Ordering::SeqCst), 2, "the other one has got what waited");
    busy.stop().await;
    idle.stop().await;
}
