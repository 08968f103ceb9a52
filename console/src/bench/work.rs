//! The running half: a consumer of jobs that do nothing.

use super::load::{Load, per_second};
use super::tally::Tally;
use super::{BenchError, Plan};
use longshore_consumer::{Consumer, Ctx, Running};
use longshore_producer::{Settings, Topic, World, connect_link};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the end of the last job, which has run already.
const END: Duration = Duration::from_secs(30);

/// Starts a consumer of a topic whose handler does nothing but call `handle`.
///
/// # Errors
/// When broker or store fail, or the consumer does not start.
pub async fn consumer(
    settings: &Settings,
    world: &World,
    topic: &Topic,
    concurrency: usize,
    handle: impl Fn(&Ctx) + Send + Sync + 'static,
) -> Result<Running, BenchError> {
    let mut settings = settings.clone();
    settings.instance.concurrency = concurrency;
    // Each is an instance of its own, which nothing needs to remember.
    settings.instance.home = None;
    let link = connect_link(&settings, world.process(), "bench").await?;
    let handler = move |ctx: Ctx| {
        handle(&ctx);
        std::future::ready(())
    };
    Ok(Consumer::new(settings).link(link).on(topic.as_str(), handler).start().await?)
}

/// Runs the jobs that wait; jobs per second, from the start of the first handler to the end of the last job.
pub(super) async fn process(
    load: &Load,
    settings: &Settings,
    world: &World,
    concurrency: usize,
    jobs: usize,
) -> Result<f64, BenchError> {
    let tally = Arc::new(Tally::new(load.clock.clone(), jobs)?);
    let running = start(load, settings, world, concurrency, &tally).await?;
    let ended = async {
        let last = tally.all(world).await?;
        load.producer.outcome(last).timeout(END).await?;
        Ok(tally.since_first())
    };
    let took: Result<Duration, BenchError> = ended.await;
    running.drain().await;
    Ok(per_second(jobs, took?))
}

/// Sends jobs at a steady rate to a consumer with nothing else to do; p50 and p99 from the call to send to the start
/// of the handler, milliseconds.
pub(super) async fn latency(
    load: &mut Load,
    settings: &Settings,
    world: &World,
    plan: &Plan,
) -> Result<[f64; 2], BenchError> {
    let tally = Arc::new(Tally::new(load.clock.clone(), plan.timed)?);
    let running = start(load, settings, world, 100, &tally).await?;
    running.ready().await;
    let timed = async {
        load.steadily(plan.timed, plan.rate).await?;
        let last = tally.all(world).await?;
        load.producer.outcome(last).timeout(END).await?;
        Ok(tally.latency_ms())
    };
    let latency: Result<[f64; 2], BenchError> = timed.await;
    running.drain().await;
    latency
}

async fn start(
    load: &Load,
    settings: &Settings,
    world: &World,
    concurrency: usize,
    tally: &Arc<Tally>,
) -> Result<Running, BenchError> {
    let tally = Arc::clone(tally);
    consumer(settings, world, load.topic(), concurrency, move |ctx| tally.handle(ctx)).await
}
