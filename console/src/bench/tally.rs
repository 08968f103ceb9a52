//! What the handlers of one measurement count: how many jobs ran, since when, how late, and which was the last.

use super::BenchError;
use super::load::{Noop, RunClock};
use hdrhistogram::Histogram;
use longshore_consumer::Ctx;
use longshore_producer::{JobId, World};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Longest time without any job.
const STALL: Duration = Duration::from_secs(60);

/// Longest latency that is told apart, microseconds: an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// Counts the jobs of one measurement.
pub(super) struct Tally {
    clock: RunClock,
    expected: usize,
    handled: AtomicUsize,
    /// When the first was begun, microseconds of the run.
    first_us: AtomicU64,
    /// From sending to start, microseconds.
    latency: Mutex<Histogram<u64>>,
    last: watch::Sender<Option<JobId>>,
}

impl Tally {
    pub(super) fn new(clock: RunClock, expected: usize) -> Result<Self, BenchError> {
        Ok(Self {
            clock,
            expected,
            handled: AtomicUsize::new(0),
            first_us: AtomicU64::new(u64::MAX),
            // With bounds: one that grows by itself starts at 2, and a saturating record does not grow it but counts
            // whatever is above about 2 ms as 2 us.
            latency: Mutex::new(Histogram::new_with_bounds(1, LONGEST_US, 3)?),
            last: watch::Sender::new(None),
        })
    }

    /// The whole of what a handler does. Jobs that another run has left count for nothing.
    pub(super) fn handle(&self, ctx: &Ctx) {
        let now = self.clock.now_us();
        let Ok(job) = serde_json::from_str::<Noop<'_>>(ctx.payload()) else { return };
        if job.run != self.clock.run {
            return;
        }
        self.first_us.fetch_min(now, Ordering::Relaxed);
        self.record(now.saturating_sub(job.sent_us));
        if self.handled.fetch_add(1, Ordering::Relaxed) + 1 == self.expected {
            self.last.send_replace(Some(ctx.id()));
        }
    }

    fn record(&self, us: u64) {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
    }

    /// Waits until all were handled; answers the last one.
    pub(super) async fn all(&self, world: &World) -> Result<JobId, BenchError> {
        let mut last = self.last.subscribe();
        let mut handled = 0;
        loop {
            let all = world.clock.timeout(STALL, last.wait_for(Option::is_some)).await;
            if let Some(Ok(id)) = all
                && let Some(id) = *id
            {
                return Ok(id);
            }
            let before = std::mem::replace(&mut handled, self.handled.load(Ordering::Relaxed));
            if before == handled {
                return Err(BenchError::Stalled { handled, expected: self.expected, after: STALL });
            }
        }
    }

    /// Time since the first was begun.
    pub(super) fn since_first(&self) -> Duration {
        Duration::from_micros(self.clock.now_us().saturating_sub(self.first_us.load(Ordering::Relaxed)))
    }

    /// p50 and p99 from sending to start, milliseconds.
    pub(super) fn latency_ms(&self) -> [f64; 2] {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        [0.5, 0.99].map(|quantile| latency.value_at_quantile(quantile) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_jobs_are_told_as_slow() {
        let tally = Tally::new(RunClock::new("run".into()), 100).unwrap();
        for _ in 0..98 {
            tally.record(5_000);
        }
        tally.record(70_000_000);
        tally.record(70_000_000);
        let [p50, p99] = tally.latency_ms();
        assert!((p50 - 5.0).abs() < 0.05 && (p99 - 70_000.0).abs() < 100.0, "{p50} {p99}");
    }
}
