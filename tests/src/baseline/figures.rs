//! All measurements in one round, and their figures.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::{Baseline, Error};

/// How many jobs each measurement takes.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Jobs enqueued one by one.
    pub one_by_one: usize,
    /// Jobs enqueued in bulk, and processed at concurrency 100; a fifth of them at concurrency 1.
    pub bulk: usize,
    /// Jobs of the latency measurement.
    pub latency: usize,
    /// Jobs per second of the latency measurement.
    pub latency_rate: u32,
}

impl Default for Plan {
    /// About 20 s a round on two cores.
    fn default() -> Self {
        Self { one_by_one: 4_000, bulk: 40_000, latency: 1_500, latency_rate: 150 }
    }
}

/// The figures of one round, or the medians of several.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Jobs per second, each awaited.
    pub enqueue_one_by_one: f64,
    /// Jobs per second.
    pub enqueue_bulk: f64,
    /// Jobs per second, one at a time.
    pub process_1: f64,
    /// Jobs per second, at most 100 at a time.
    pub process_100: f64,
    /// From the call to enqueue to the start of the handler, in milliseconds: half are faster.
    pub latency_p50_ms: f64,
    /// The same: 99 of 100 are faster.
    pub latency_p99_ms: f64,
}

impl Figures {
    /// Name and value of every figure, in the order in which they are printed.
    #[must_use]
    pub fn rows(&self) -> [(&'static str, f64); 6] {
        [
            ("enqueue one by one, per second", self.enqueue_one_by_one),
            ("enqueue in bulk, per second", self.enqueue_bulk),
            ("process at concurrency 1, per second", self.process_1),
            ("process at concurrency 100, per second", self.process_100),
            ("latency p50, ms", self.latency_p50_ms),
            ("latency p99, ms", self.latency_p99_ms),
        ]
    }

    /// The median of each figure by itself; `None` for no rounds.
    #[must_use]
    pub fn median(rounds: &[Self]) -> Option<Self> {
        let median = |figure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Self {
            enqueue_one_by_one: median(|f| f.enqueue_one_by_one)?,
            enqueue_bulk: median(|f| f.enqueue_bulk)?,
            process_1: median(|f| f.process_1)?,
            process_100: median(|f| f.process_100)?,
            latency_p50_ms: median(|f| f.latency_p50_ms)?,
            latency_p99_ms: median(|f| f.latency_p99_ms)?,
        })
    }
}

/// Runs every measurement once, each on a lane of its own. `say` is told what is measured next.
///
/// # Errors
/// When a service fails.
pub async fn measure(
    broker_url: &str,
    store_url: &str,
    plan: Plan,
    mut say: impl FnMut(&str),
) -> Result<Figures, Error> {
    let connect = || Baseline::connect(broker_url, store_url);

    say("enqueueing one by one");
    let baseline = connect().await?;
    let enqueue_one_by_one = baseline.enqueue_one_by_one(plan.one_by_one).await?;
    baseline.close().await?;

    say("enqueueing in bulk");
    let baseline = connect().await?;
    let enqueue_bulk = baseline.enqueue_bulk(plan.bulk).await?;
    say("processing at concurrency 100");
    let process_100 = baseline.process(plan.bulk, 100).await?;
    baseline.close().await?;

    let baseline = connect().await?;
    let few = (plan.bulk / 5).max(1);
    baseline.enqueue_bulk(few).await?;
    say("processing at concurrency 1");
    let process_1 = baseline.process(few, 1).await?;
    baseline.close().await?;

    say("timing from sending to start");
    let [latency_p50_ms, latency_p99_ms] = latency(connect().await?, plan).await?;
    Ok(Figures { enqueue_one_by_one, enqueue_bulk, process_1, process_100, latency_p50_ms, latency_p99_ms })
}

/// Enqueues at a steady rate while a consumer runs; returns p50 and p99 in milliseconds.
async fn latency(baseline: Baseline, plan: Plan) -> Result<[f64; 2], Error> {
    let epoch = Instant::now();
    let now = move || epoch.elapsed().as_micros() as u64;
    let seen = Arc::new(Mutex::new(Latencies::new()?));
    let baseline = Arc::new(baseline);

    let mut tasks = JoinSet::new();
    let (worker, latencies) = (Arc::clone(&baseline), Arc::clone(&seen));
    tasks.spawn(async move {
        let handler = |payload: &[u8]| {
            let sent = std::str::from_utf8(payload).ok().and_then(|text| text.trim().parse().ok());
            if let (Some(sent), Ok(mut latencies)) = (sent, latencies.lock()) {
                latencies.add(now().saturating_sub(sent));
            }
        };
        worker.work(plan.latency, 100, handler).await
    });
    // An open loop: a slow job does not hold back the next, or the slowness would hide itself.
    let mut clock = tokio::time::interval(Duration::from_secs(1) / plan.latency_rate);
    clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..plan.latency {
        clock.tick().await;
        let producer = Arc::clone(&baseline);
        tasks.spawn(async move {
            // The time of sending, filled up to the size of the other payloads.
            let payload = format!("{:<100}", now());
            producer.enqueue(Uuid::now_v7().simple().to_string(), payload.into_bytes()).await
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    if let Some(baseline) = Arc::into_inner(baseline) {
        baseline.close().await?;
    }
    let seen = seen.lock().map_err(|_| "a handler panicked")?;
    // A latency that could not be recorded is missing here, so it fails the run instead of improving it.
    if seen.0.len() != plan.latency as u64 {
        return Err(format!("{} of {} jobs were timed", seen.0.len(), plan.latency).into());
    }
    Ok([0.5, 0.99].map(|quantile| seen.milliseconds(quantile)))
}

/// Latencies in microseconds, of any size.
#[derive(Debug)]
struct Latencies(Histogram<u64>);

impl Latencies {
    fn new() -> Result<Self, Error> {
        Ok(Self(Histogram::new(3)?))
    }

    fn add(&mut self, microseconds: u64) {
        // Not `saturating_record`: that does not grow the histogram, which starts at 2, and turns all above 2 ms
        // into 2 us. What cannot be recorded is missed in the count of jobs.
        let _ = self.0.record(microseconds);
    }

    fn milliseconds(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_above_two_milliseconds_are_kept() {
        let mut seen = Latencies::new().unwrap();
        for microseconds in [500, 5_000, 90_000] {
            seen.add(microseconds);
        }
        let read = [0.1, 0.5, 0.99].map(|quantile| seen.milliseconds(quantile).round());
        assert_eq!(read, [1.0, 5.0, 90.0]);
    }
}
