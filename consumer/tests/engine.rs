//! The engine on the embedded backend, in virtual time: the plain paths of a job.

mod bench;

use bench::{Bench, slots, started};
use longshore_consumer::{Consumer, Ctx, Job, Json, Outcome, RunError, Settings};
use longshore_link::World;
use longshore_link::store::Beat;
use longshore_model::State as JobState;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/add", retries = 2, retry_delay = "2s")]
struct Add {
    a: i64,
    b: i64,
}

#[tokio::test(start_paused = true)]
async fn jh_01_a_job_runs_once_and_its_result_comes_back() {
    let bench = Bench::new(7);
    let running =
        bench.consumer(Settings::default()).handle(async |job: Add| Json(job.a + job.b)).start().await.unwrap();
    running.ready().await;
    let report = bench.producer.send(Add { a: 2, b: 3 }).await.unwrap().outcome().await.unwrap();
    assert_eq!(report.result::<i64>().unwrap(), 5);
    assert_eq!(report.job.attempt, 1);
    running.drain().await;
    assert_eq!(bench.backend.messages(), 0, "nothing is left in the broker");
}

#[tokio::test(start_paused = true)]
async fn jh_05_a_failing_job_runs_once_more_than_its_retries_and_is_given_up() {
    let bench = Bench::new(7);
    let seen = Arc::new(AtomicU32::new(0));
    let runs = Arc::clone(&seen);
    let running = bench
        .consumer(Settings::default())
        .handle(move |_job: Add, ctx: Ctx| {
            let runs = Arc::clone(&runs);
            async move {
                assert_eq!(ctx.retry(), runs.fetch_add(1, Ordering::SeqCst));
                Outcome::retry("no luck")
            }
        })
        .start()
        .await
        .unwrap();
    let report = bench.producer.send(Add { a: 2, b: 3 }).await.unwrap().outcome().await.unwrap();
    assert_eq!(report.job.state, JobState::GivenUp);
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    bench.world.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(seen.load(Ordering::SeqCst), 3, "no fourth run");
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn instances_without_a_home_share_no_directory() {
    // The same seed twice: ids and all are equal, as in two tests at the same time.
    let mut dirs = Vec::new();
    for bench in [Bench::new(7), Bench::new(7)] {
        let place = |ctx: Ctx| async move { ctx.output_dir().map(|dir| Json(dir.parent().map(ToOwned::to_owned))) };
        let running = bench.consumer(Settings::default()).on("test/place", place).start().await.unwrap();
        let report = bench.producer.raw("test/place", "{}").send().await.unwrap().outcome().await.unwrap();
        dirs.push((running, report.result::<std::path::PathBuf>().unwrap()));
    }
    let [(one, first), (two, second)] = &dirs[..] else { panic!("two instances ran") };
    assert_eq!(one.owner(), two.owner());
    assert_ne!(first, second);
    one.drain().await;
    assert!(!first.exists() && second.exists(), "each removes its own");
    two.drain().await;
}

#[tokio::test(start_paused = true)]
async fn v_12_an_instance_whose_place_was_taken_cannot_go_on_and_says_so() {
    let bench = Bench::new(7);
    let running =
        bench.consumer(Settings::default()).handle(async |job: Add| Json(job.a + job.b)).start().await.unwrap();
    running.ready().await;
    let owner = running.owner().clone();
    let mut heart = bench.backend.link(bench.world.process()).store.heart().await.unwrap();
    let view = bench.producer.topology().await.unwrap();
    let mut card = view.instances[0].clone();
    card.owner.incarnation.0.push('z');
    heart.beat(&Beat { card, reached: 0, lease_ms: 10_000 }).await.unwrap();
    let RunError::Superseded(instance) = running.broken().await else { panic!("not superseded") };
    assert_eq!(instance, owner.instance);
    assert!(!running.is_live() && !running.is_ready());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn t_12_a_job_of_a_dead_instance_does_not_wait_behind_what_was_sent_since() {
    let bench = Bench::new(7);
    let start = async |world: World| {
        let consumer = Consumer::new(slots(1)).link(bench.backend.link(world.clone())).world(world);
        let handler = async |job: Add, ctx: Ctx| {
            // The first attempt of the first job never ends by itself.
            let span = if job.a == 0 && ctx.attempt() == 1 { 1_000_000 } else { 1 };
            ctx.sleep(Duration::from_secs(span)).await.map(|()| Json(job.a))
        };
        started(consumer.handle(handler)).await
    };
    let doomed = bench.world.process();
    let dead = start(doomed.clone()).await;
    let first = bench.producer.send(Add { a: 0, b: 0 }).await.unwrap();
    while dead.status().running == 0 {
        bench.world.clock.sleep(Duration::from_millis(1)).await;
    }
    let survivor = start(bench.world.process()).await;
    for a in 1..=60 {
        bench.producer.send(Add { a, b: 0 }).await.unwrap();
    }
    let killed = bench.world.clock.boot();
    doomed.tasks.kill();
    let report = first.outcome().await.unwrap();
    let after = bench.world.clock.boot() - killed;
    assert!(report.is_success() && report.job.attempt == 2, "{:?}", report.job);
    // A lease, a beat, the job that held the slot, and the job itself.
    assert!(after <= Duration::from_secs(14), "run again only after {after:?}");
    survivor.drain().await;
}
