//! The world: time, randomness and tasks, so that the whole engine can run under a seeded scheduler.
//!
//! Nothing else in Longshore sleeps, reads a clock, draws a random number or starts a task or thread.
//! [`World::system`] is the real one; [`World::simulated`] lives on a paused runtime with a seed.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

/// Time, randomness and tasks. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct World {
    /// Reads and waits for time.
    pub clock: Clock,
    /// Draws random numbers.
    pub random: Random,
    /// Starts tasks.
    pub tasks: Tasks,
}

impl World {
    /// The real world: the machine's clocks, its randomness, real threads.
    #[must_use]
    pub fn system() -> Self {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self { clock: Clock::system(), random: Random::seeded(seed), tasks: Tasks::new(Kind::System) }
    }

    /// A world for a paused single-threaded runtime: virtual time that starts at a fixed date, seeded randomness,
    /// and no thread but the caller's.
    #[must_use]
    pub fn simulated(seed: u64) -> Self {
        Self { clock: Clock::simulated(), random: Random::seeded(seed), tasks: Tasks::new(Kind::Simulated) }
    }

    /// A new job id on the given shard byte.
    #[must_use]
    pub fn job_id(&self, shard: Option<u8>) -> longshore_model::JobId {
        let random = self.random.bytes();
        longshore_model::JobId::new(self.clock.unix_ms(), random, shard.unwrap_or(random[15]))
    }

    /// The world of one more process in the same simulation: same clock and randomness, tasks of its own.
    #[must_use]
    pub fn process(&self) -> Self {
        Self { clock: self.clock.clone(), random: self.random.clone(), tasks: Tasks::new(self.tasks.kind) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    System,
    Simulated,
}

/// Reads and waits for time.
#[derive(Clone, Debug)]
pub struct Clock {
    kind: Kind,
    /// Where virtual time began.
    origin: Instant,
}

/// Where virtual time begins: 2026-01-01T00:00:00Z, in ms since 1970.
const SIMULATED_START_MS: u64 = 1_767_225_600_000;

impl Clock {
    fn system() -> Self {
        Self { kind: Kind::System, origin: Instant::now() }
    }

    fn simulated() -> Self {
        Self { kind: Kind::Simulated, origin: Instant::now() }
    }

    /// Milliseconds since 1970, by this machine's wall clock. Only for ids and for people: decisions about jobs are
    /// made by the store's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn unix_ms(&self) -> u64 {
        match self.kind {
            Kind::System => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)),
            Kind::Simulated => SIMULATED_START_MS + longshore_model::span::ms(self.origin.elapsed()),
        }
    }

    /// Microseconds since 1970; see [`Self::unix_ms`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn unix_us(&self) -> u64 {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        match self.kind {
            Kind::System => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, micros),
            Kind::Simulated => SIMULATED_START_MS * 1_000 + micros(self.origin.elapsed()),
        }
    }

    /// Time since some fixed point, also while the machine sleeps: what leases are judged by.
    #[must_use]
    pub fn boot(&self) -> Duration {
        match self.kind {
            Kind::System => {
                let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
                Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
            }
            Kind::Simulated => self.origin.elapsed(),
        }
    }

    /// Waits.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that sleeps")]
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Runs a future for at most `span`; `None` when it did not end in time.
    pub async fn timeout<F: Future>(&self, span: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(span, future).await.ok()
    }
}

/// Draws random numbers (SplitMix64: well spread, seedable, not for secrets).
#[derive(Clone)]
pub struct Random(Arc<AtomicU64>);

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

impl Random {
    /// A generator that repeats itself for the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number.
    #[must_use]
    pub fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// Sixteen random bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next().to_be_bytes());
        bytes
    }

    /// A span between half of `span` and all of it, so that many do not act at once.
    #[must_use]
    pub fn jitter(&self, span: Duration) -> Duration {
        let half = longshore_model::span::ms(span) / 2;
        Duration::from_millis(half + self.below(half + 1))
    }
}

/// Starts tasks and knows all that it started, so that they can be waited for.
#[derive(Clone)]
pub struct Tasks {
    kind: Kind,
    tracker: TaskTracker,
    abort: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.tracker.len()).finish_non_exhaustive()
    }
}

impl Tasks {
    fn new(kind: Kind) -> Self {
        Self { kind, tracker: TaskTracker::new(), abort: Arc::default() }
    }

    /// Starts a task on the current runtime.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let handle = self.tracker.spawn(future);
        if self.kind == Kind::Simulated {
            let mut handles = self.abort.lock().unwrap_or_else(PoisonError::into_inner);
            handles.retain(|handle| !handle.is_finished());
            handles.push(handle.abort_handle());
        }
        handle
    }

    /// Runs a future on an operating-system thread of its own with a small runtime, so that nothing that other tasks
    /// do can hold it up; in a simulation, as an ordinary task.
    ///
    /// # Errors
    /// When the system refuses the thread.
    pub fn spawn_thread<F>(&self, name: &str, future: F) -> std::io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if self.kind == Kind::Simulated {
            drop(self.spawn(future));
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let token = self.tracker.token();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            runtime.block_on(future);
            drop(token);
        })?;
        Ok(())
    }

    /// Waits until every task has ended. No new ones may be started afterwards by the waiter's own design.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Ends every task at its next await, as the death of a process would. Only in a simulation.
    pub fn kill(&self) {
        for handle in self.abort.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            handle.abort();
        }
    }
}
