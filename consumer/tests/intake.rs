//! How many messages an instance takes from a lane, and when it gives them back, on the embedded backend in virtual time.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod bench;

use bench::{Bench, slots, started};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use longshore_consumer::{Ctx, HandlerExt, Job, Json};
use longshore_link::broker::{Headers, Message, Target};
use longshore_model::topic::Topic;
use longshore_model::{JobId, Lane};
use longshore_producer::Priority;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
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
        link.broker.depth(&Topic::new("test/work").unwrap().into()).await.unwrap().unwrap()
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

/// Which jobs began, in their order.
type Began = Arc<Mutex<Vec<JobId>>>;

/// A handler that notes which jobs began, and takes a tenth of a second for each.
fn noting(began: &Began) -> impl Fn(Ctx) -> BoxFuture<'static, ()> + Send + Sync + 'static {
    let began = Arc::clone(began);
    move |ctx| {
        began.lock().unwrap().push(ctx.id());
        async move { drop(ctx.sleep(Duration::from_millis(100)).await) }.boxed()
    }
}

async fn send_all(bench: &Bench, count: usize, priority: Priority) -> Vec<JobId> {
    let jobs = (0..count).map(|_| bench.producer.job(Work { ms: 0 }).priority(priority));
    let sent = bench.producer.send_all(jobs.collect::<Vec<_>>()).await;
    sent.into_iter().map(|sent| sent.unwrap().id).collect()
}

async fn depth_of(bench: &Bench, lane: &Lane) -> Option<u64> {
    bench.backend.link(bench.world.process()).broker.depth(lane).await.unwrap()
}

fn high() -> Lane {
    Lane::high(Topic::new("test/work").unwrap())
}

#[tokio::test(start_paused = true)]
async fn q13_an_urgent_job_starts_before_a_backlog_that_came_first() {
    let (bench, began) = (Bench::new(13), Began::default());
    let running = started(bench.consumer(slots(1)).on("test/work", noting(&began))).await;
    send_all(&bench, 1_000, Priority::Normal).await;
    send_all(&bench, 10, Priority::Low).await;
    bench.sleep(1).await;
    assert_eq!(depth_of(&bench, &high()).await, None, "nobody needs a second lane");
    for _ in 0..3 {
        let before = began.lock().unwrap().len();
        let urgent = send_all(&bench, 1, Priority::Urgent).await[0];
        bench.sleep(1).await;
        let place = began.lock().unwrap().iter().position(|id| *id == urgent).unwrap();
        assert!(place <= before + 2, "it began as number {place}, sent after {before}");
    }
    let consuming = running.status().consuming;
    assert_eq!(consuming, Lane::both(&Topic::new("test/work").unwrap()).into());
    assert!(depth_of(&bench, &Topic::new("test/work").unwrap().into()).await > Some(900), "the backlog waits");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn q13_of_every_eight_starts_one_is_of_a_normal_job_while_urgent_ones_flood_the_instance() {
    let (bench, began) = (Bench::new(13), Began::default());
    let urgent: BTreeSet<JobId> = send_all(&bench, 600, Priority::Urgent).await.into_iter().collect();
    let normal = send_all(&bench, 100, Priority::Normal).await;
    let running = started(bench.consumer(slots(2)).on("test/work", noting(&began))).await;
    bench.sleep(20).await;
    let began: Vec<bool> = began.lock().unwrap().iter().map(|id| urgent.contains(id)).collect();
    assert!(began.len() >= 300, "{}", began.len());
    for eight in began.windows(8) {
        assert!(eight.iter().any(|urgent| !urgent), "normal jobs starve: {began:?}");
    }
    let others = began.iter().filter(|urgent| !**urgent).count();
    assert!(others < normal.len() && others * 2 < began.len(), "{others} of {} are normal", began.len());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn q13_high_lanes_that_a_store_forgot_are_consumed_by_who_knows_or_finds_them() {
    let (bench, began) = (Bench::new(13), Began::default());
    let running = started(bench.consumer(slots(1)).on("test/*", noting(&began))).await;
    send_all(&bench, 1, Priority::Urgent).await;
    bench.producer.raw("test/other", "{}").send().await.unwrap();
    bench.sleep(60).await;
    assert_eq!(began.lock().unwrap().len(), 2);
    // Of one topic the instance knows; of the other one nobody does: its first urgent job came while the store forgot it.
    bench.backend.wipe_store();
    let (id, other) = (bench.producer.new_id(), Lane::high(Topic::new("test/other").unwrap()));
    let message = Message {
        target: Target::Jobs(other.clone()),
        message_id: id.to_string(),
        headers: Headers::default(),
        body: format!("{{\"v\":1,\"id\":\"{id}\",\"topic\":\"test/other\",\"payload\":{{}}}}").into(),
    };
    bench.producer.link().broker.publish(vec![message]).await.remove(0).unwrap();
    bench.sleep(60).await;
    let consuming = running.status().consuming;
    assert!(consuming.contains(&high()) && consuming.contains(&other), "{consuming:?}");
    assert!(began.lock().unwrap().contains(&id));
    let known = bench.backend.link(bench.world.process()).store.lanes().await.unwrap();
    assert!(known.contains(&high()) && known.contains(&other), "{known:?}");
    running.stop().await;
}
