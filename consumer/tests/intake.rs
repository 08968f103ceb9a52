//! How many messages an instance takes from a lane, and when it gives them back, on the embedded backend in virtual time.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod bench;

use bench::{Bench, slots, started};
use longshore_consumer::{Ctx, HandlerExt, Job, Json};
use longshore_model::topic::Topic;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/work")]
struct Work {
    ms: u64,
}

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/slow")]
struct Slow {}

impl Bench {
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
    let bench = Bench::new(13);
    let running = started(bench.consumer(slots(1)).handle(work)).await;
    bench.send(20, 40_000).await;
    bench.sleep(1).await;
    assert_eq!(bench.depth().await, 17, "jobs that take long");
    running.stop().await;

    let bench = Bench::new(13);
    let running = started(bench.consumer(slots(1)).handle(work)).await;
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
    let bench = Bench::new(13);
    let begun = Arc::clone(&bench.begun);
    let slow = move |_job: Slow, ctx: Ctx| {
        begun.fetch_add(1, Ordering::SeqCst);
        async move { ctx.sleep(Duration::from_secs(1_000)).await.map(Json) }
    };
    let busy = started(bench.consumer(slots(4)).handle(work).handle(slow.clone().concurrency(1))).await;
    for _ in 0..3 {
        bench.producer.send(Slow {}).await.unwrap();
    }
    bench.sleep(1).await;
    assert_eq!(bench.begun(), 1, "one at a time, and the others wait here");
    bench.send(4_000, 100).await;
    let idle = started(bench.consumer(slots(1)).handle(slow)).await;
    bench.sleep(40).await;
    assert!(bench.depth().await > 1_000, "the instance is busy yet");
    assert_eq!(bench.begun(), 2, "the other one has got what waited");
    busy.stop().await;
    idle.stop().await;
}
