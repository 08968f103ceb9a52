//! The world: time, randomness and tasks, so that the whole engine can run under a seeded scheduler.
//!
//! Nothing else in Longshore sleeps, reads a clock, draws a random number or starts a task or thread.
//! [`World::system`] is the real one; [`World::simulated`] lives on a paused runtime with a seed.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
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
    /// The last id made.
    ids: Ids,
}

impl World {
    /// The real world: the machine's clocks, its randomness, real threads.
    #[must_use]
    pub fn system() -> Self {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            clock: Clock::system(),
            random: Random::seeded(seed),
            tasks: Tasks::new(Kind::System),
            ids: Ids::default(),
        }
    }

    /// A world for a paused single-threaded runtime: virtual time that starts at a fixed date, seeded randomness,
    /// and no thread but the caller's.
    #[must_use]
    pub fn simulated(seed: u64) -> Self {
        Self {
            clock: Clock::simulated(),
            random: Random::seeded(seed),
            tasks: Tasks::new(Kind::Simulated),
            ids: Ids::default(),
        }
    }

    /// A new job id on the given shard byte. Ids that one process makes in one millisecond sort in the order in which
    /// they were made, so that jobs are listed in the order in which they were sent.
    #[must_use]
    pub fn job_id(&self, shard: Option<u8>) -> longshore_model::JobId {
        let (unix_ms, mut random) = (self.clock.unix_ms(), self.random.bytes());
        let number = self.ids.next(unix_ms, u16::from_be_bytes([random[0], random[1]]));
        random[..2].copy_from_slice(&number.to_be_bytes());
        longshore_model::JobId::new(unix_ms, random, shard.unwrap_or(random[15]))
    }

    /// The world of one more process in the same simulation: same time and randomness, a wall clock and tasks of its
    /// own.
    #[must_use]
    pub fn process(&self) -> Self {
        let clock = Clock { jumped: Arc::default(), ..self.clock.clone() };
        Self { clock, random: self.random.clone(), tasks: Tasks::new(self.tasks.kind), ids: Ids::default() }
    }
}

/// Numbers the ids of one millisecond: the first 12 bits behind the time, from a random number of 11 bits upwards
/// (RFC 9562, section 6.2, method 1). More than fit into a millisecond share the last number, and sort by chance.
#[derive(Clone, Debug, Default)]
struct Ids(Arc<AtomicU64>);

impl Ids {
    const BITS: u32 = 12;
    const LAST: u64 = (1 << Self::BITS) - 1;

    fn next(&self, unix_ms: u64, drawn: u16) -> u16 {
        let follow = |last: u64| {
            let number = match last >> Self::BITS == unix_ms {
                true => (last & Self::LAST).saturating_add(1).min(Self::LAST),
                false => u64::from(drawn) & (Self::LAST >> 1),
            };
            unix_ms << Self::BITS | number
        };
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(follow(last)));
        let before = before.unwrap_or_else(|last| last);
        u16::try_from(follow(before) & Self::LAST).unwrap_or_default()
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
    /// How far the wall clock is off, ms; only in a simulation.
    jumped: Arc<AtomicI64>,
}

/// Where virtual time begins: 2026-01-01T00:00:00Z, in ms since 1970.
const SIMULATED_START_MS: u64 = 1_767_225_600_000;

impl Clock {
    fn system() -> Self {
        Self { kind: Kind::System, origin: Instant::now(), jumped: Arc::default() }
    }

    fn simulated() -> Self {
        Self { kind: Kind::Simulated, origin: Instant::now(), jumped: Arc::default() }
    }

    /// Sets the wall clock of this process so many ms off the true time. Only in a simulation.
    pub fn jump(&self, off_ms: i64) {
        self.jumped.store(off_ms, Ordering::Relaxed);
    }

    /// Where virtual wall time begins for this process, ms since 1970.
    fn start_ms(&self) -> u64 {
        SIMULATED_START_MS.saturating_add_signed(self.jumped.load(Ordering::Relaxed))
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
            Kind::Simulated => self.start_ms() + longshore_model::span::ms(self.origin.elapsed()),
        }
    }

    /// Microseconds since 1970; see [`Self::unix_ms`].
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    pub fn unix_us(&self) -> u64 {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        match self.kind {
            Kind::System => std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, micros),
            Kind::Simulated => self.start_ms() * 1_000 + micros(self.origin.elapsed()),
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
    frozen: Frozen,
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("running", &self.tracker.len()).finish_non_exhaustive()
    }
}

impl Tasks {
    fn new(kind: Kind) -> Self {
        Self { kind, tracker: TaskTracker::new(), abort: Arc::default(), frozen: Frozen::default() }
    }

    /// Starts a task on the current runtime.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.kind == Kind::System {
            return self.tracker.spawn(future);
        }
        let handle = self.tracker.spawn(Freezable { future: Box::pin(future), frozen: self.frozen.clone() });
        let mut handles = self.abort.lock().unwrap_or_else(PoisonError::into_inner);
        handles.retain(|handle| !handle.is_finished());
        handles.push(handle.abort_handle());
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

    /// Lets every task stand still at its next await, and go on, as a process that is stopped and continued. Only in a
    /// simulation.
    pub fn freeze(&self, on: bool) {
        self.frozen.set(on);
    }
}

/// Whether the tasks of a simulated process stand still; if so, who is to be woken when they go on.
#[derive(Clone, Debug, Default)]
struct Frozen(Arc<Mutex<Option<Vec<Waker>>>>);

impl Frozen {
    fn set(&self, on: bool) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if on {
            waiting.get_or_insert_default();
        } else {
            waiting.take().into_iter().flatten().for_each(Waker::wake);
        }
    }

    /// Whether the task has to stand still; it is woken when that is over.
    fn holds(&self, waker: &Waker) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = waiting.as_mut() else { return false };
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        true
    }
}

/// A task of a simulated process.
struct Freezable<F> {
    future: Pin<Box<F>>,
    frozen: Frozen,
}

impl<F: Future> Future for Freezable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.frozen.holds(context.waker()) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_frozen_process_stands_still_while_time_passes() {
        let world = World::simulated(1).process();
        let (clock, begun) = (world.clock.clone(), world.clock.boot());
        let task = world.tasks.spawn(async move {
            clock.sleep(Duration::from_secs(1)).await;
            clock.boot()
        });
        // It sleeps by now.
        tokio::task::yield_now().await;
        world.tasks.freeze(true);
        world.clock.sleep(Duration::from_secs(5)).await;
        assert!(!task.is_finished());
        world.tasks.freeze(false);
        assert_eq!(task.await.map_err(|error| error.to_string()), Ok(begun + Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_jumps_alone() {
        let (world, before) = (World::simulated(1), World::simulated(1).clock.unix_ms());
        let other = world.process();
        other.clock.jump(-3_600_000);
        assert_eq!(other.clock.unix_ms(), before - 3_600_000);
        assert_eq!(other.clock.unix_us() / 1_000, before - 3_600_000);
        assert_eq!((world.clock.unix_ms(), world.clock.boot()), (before, other.clock.boot()));
    }

    #[tokio::test(start_paused = true)]
    async fn ids_of_one_process_sort_in_the_order_in_which_they_were_made() {
        let world = World::simulated(1);
        let mut made: Vec<_> = (0..2_000).map(|_| world.clone().job_id(None)).collect();
        world.clock.sleep(Duration::from_millis(1)).await;
        made.extend((0..2_000).map(|_| world.job_id(None)));
        assert!(made.is_sorted_by(|one, next| one < next));
        // More than a millisecond has numbers for are different all the same.
        let many: std::collections::HashSet<_> = (0..5_000).map(|_| world.job_id(Some(7))).collect();
        assert_eq!(many.len(), 5_000);
        assert!(many.iter().all(|id| id.shard_byte() == 7));
    }
}
