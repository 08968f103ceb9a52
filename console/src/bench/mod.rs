//! The load generator: how fast jobs are sent and run here, on whatever broker and store the settings name.
//!
//! [`measure`] plays producer and consumer in one process: jobs are enqueued one by one and in bulk, run by a
//! handler that does nothing, and timed from their sending to the start of their handler at a steady rate.
//! What is measured is named and defined as in the raw baseline of the project's own benches, so that both can be
//! compared. A figure means nothing without the machine, and little without such a comparison.

mod load;
mod tally;
mod work;

use longshore_consumer::StartError;
use longshore_producer::{Fault, Refusal, SendError, Settings, Topic, WaitError, World};
use serde::Serialize;
use std::time::Duration;

pub use work::consumer;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Jobs that are enqueued in bulk and run at concurrency 100. A tenth of them is enqueued one by one, a fifth run
    /// at concurrency 1.
    pub jobs: usize,
    /// Jobs of the latency measurement.
    pub timed: usize,
    /// Jobs per second of the latency measurement.
    pub rate: u32,
    /// Topic of all jobs; nobody else may take it meanwhile.
    pub topic: Topic,
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Jobs per second, each awaited before the next.
    pub enqueue_one_by_one: f64,
    /// Jobs per second.
    pub enqueue_bulk: f64,
    /// Jobs per second, one at a time.
    pub process_1: f64,
    /// Jobs per second, at most 100 at a time.
    pub process_100: f64,
    /// From the call to send to the start of the handler, milliseconds: half are faster.
    pub latency_p50_ms: f64,
    /// The same: 99 of 100 are faster.
    pub latency_p99_ms: f64,
}

impl Figures {
    /// Name and value of every figure, in the order in which they are printed.
    #[must_use]
    pub const fn rows(&self) -> [(&'static str, f64); 6] {
        [
            ("enqueue one by one, per second", self.enqueue_one_by_one),
            ("enqueue in bulk, per second", self.enqueue_bulk),
            ("process at concurrency 1, per second", self.process_1),
            ("process at concurrency 100, per second", self.process_100),
            ("latency p50, ms", self.latency_p50_ms),
            ("latency p99, ms", self.latency_p99_ms),
        ]
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Somebody else would run the jobs.
    #[error("{0} takes `{1}` already, so that figures would be shared; give another --topic or --namespace")]
    Taken(String, Topic),
    /// A job was refused.
    #[error("a job was refused: {0}")]
    Refused(#[from] Refusal),
    /// A job could not be sent.
    #[error("a job could not be sent: {0}")]
    Send(#[from] SendError),
    /// The consumer did not start.
    #[error("the consumer did not start: {0}")]
    Start(#[from] StartError),
    /// Broker or store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The end of the last job was not seen.
    #[error("the last job's end was not seen: {0}")]
    Wait(#[from] WaitError),
    /// There is nowhere to count latencies.
    #[error("latencies cannot be counted: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// A send was cut off.
    #[error("a send was cut off: the program ends")]
    Aborted,
    /// Nothing moved any more.
    #[error("{handled} of {expected} jobs were run, and then none for {}", longshore_model::span::show(*.after))]
    Stalled {
        /// Jobs that were run.
        handled: usize,
        /// Jobs that were sent.
        expected: usize,
        /// How long nothing moved.
        after: Duration,
    },
}

/// Measures everything once. `say` is told what is measured next. Its jobs are removed at the end, also those of a
/// measurement that failed.
///
/// # Errors
/// [`BenchError`]; the services are left as they were, but for the jobs' lane.
pub async fn measure(
    settings: &Settings,
    world: &World,
    plan: &Plan,
    mut say: impl FnMut(&str),
) -> Result<Figures, BenchError> {
    let mut load = load::Load::connect(settings, world, &plan.topic).await?;
    let measured = phases(&mut load, settings, world, plan, &mut say).await;
    say("removing the jobs");
    let removed = load.remove().await;
    let figures = measured?;
    removed?;
    Ok(figures)
}

async fn phases(
    load: &mut load::Load,
    settings: &Settings,
    world: &World,
    plan: &Plan,
    say: &mut impl FnMut(&str),
) -> Result<Figures, BenchError> {
    let (few, fewer) = ((plan.jobs / 5).max(1), (plan.jobs / 10).max(1));
    say("enqueueing one by one");
    let enqueue_one_by_one = load.one_by_one(fewer).await?;
    say("enqueueing in bulk");
    let enqueue_bulk = load.bulk(plan.jobs).await?;
    say("processing at concurrency 100");
    let process_100 = work::process(load, settings, world, 100, fewer + plan.jobs).await?;
    load.bulk(few).await?;
    say("processing at concurrency 1");
    let process_1 = work::process(load, settings, world, 1, few).await?;
    say("timing from sending to start");
    let [latency_p50_ms, latency_p99_ms] = work::latency(load, settings, world, plan).await?;
    Ok(Figures { enqueue_one_by_one, enqueue_bulk, process_1, process_100, latency_p50_ms, latency_p99_ms })
}
