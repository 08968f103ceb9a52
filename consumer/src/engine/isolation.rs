//! Isolation: runs suspects, jobs whose processes went away more than once, alone in this process.
//!
//! A suspect is told by its claim: the store refuses it to whoever may run something beside it. Its delivery waits here,
//! bounded, while the instance falls quiet: nothing new is started until what runs has ended, then the suspects run one
//! after the other. Quiet ends after a while, with suspects left or not, and the lanes, where anything waits in them, get
//! at least as much time as it took. A suspect for which the instance does not become idle is parked and comes back, here
//! or elsewhere; each time it is waited for longer. One that runs for long gets company in the end: it must not hold up an
//! instance for ever.
//! Who is blamed for the end of a process is decided by the store alone, by what it saw.

use super::attempt::{self, Taken};
use super::intake::Slot;
use super::{Engine, Phase};
use longshore_link::broker::{Delivery, Settler, Target};
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::names::Park;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// After this no further suspect is started before the lanes had their turn.
const QUIET: Duration = Duration::from_secs(10);
/// The lanes' turn is at least this long.
const REST: Duration = Duration::from_secs(1);
/// A suspect after its second crash is alone for so long; after each later one twice as long.
const ALONE: Duration = Duration::from_secs(60);

/// A delivery whose job must run alone.
#[derive(Debug)]
pub(crate) struct Suspect {
    delivery: Delivery,
    settler: Arc<dyn Settler>,
    crashes: u32,
}

/// The suspects that wait here, and whether the instance is quiet for their sake.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    waiting: Mutex<VecDeque<Suspect>>,
    quiet: AtomicBool,
    came: Notify,
}

impl Isolation {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Suspect>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing but suspects may start.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst)
    }

    /// The suspects of a lane, to be given back with it.
    pub(crate) fn take(&self, lane: &Lane) -> Vec<Delivery> {
        let mut waiting = self.lock();
        let of_lane = |suspect: &Suspect| suspect.delivery.lane == *lane;
        let (out, stay): (Vec<_>, _) = std::mem::take(&mut *waiting).into_iter().partition(of_lane);
        *waiting = stay.into();
        out.into_iter().map(|suspect| suspect.delivery).collect()
    }

    /// The session through which they came is over.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Answers what does not fit.
    fn push(&self, suspect: Suspect, most: usize) -> Option<Suspect> {
        let mut waiting = self.lock();
        if waiting.len() >= most {
            return Some(suspect);
        }
        waiting.push_back(suspect);
        drop(waiting);
        self.came.notify_one();
        None
    }

    fn pop(&self) -> Option<Suspect> {
        self.lock().pop_front()
    }

    /// How long the instance may take to become idle for the first of them; longer each time it was parked.
    fn patience(&self) -> Option<Duration> {
        let parked = self.lock().front()?.delivery.headers.parked;
        Some(Duration::from_secs(match parked {
            None => 5,
            Some(Park::Short) => 10,
            Some(Park::Middle) => 40,
            Some(Park::Long) => 200,
        }))
    }
}

/// A delivery that the store refused to run beside others waits here for its turn; too many are parked.
pub(crate) async fn set_aside(engine: &Engine, delivery: Delivery, settler: Arc<dyn Settler>, crashes: u32) {
    if engine.phase() != Phase::Working {
        return settler.give_back(delivery.tag);
    }
    engine.held.add(&delivery);
    let suspect = Suspect { delivery, settler, crashes };
    // Half of the slots: the lane's other messages need room as well.
    if let Some(suspect) = engine.isolation.push(suspect, engine.slots.div_ceil(2)) {
        engine.held.take(&suspect.delivery);
        park(engine, suspect).await;
    }
}

async fn park(engine: &Engine, Suspect { delivery, settler, .. }: Suspect) {
    engine.metrics.parked();
    let park = Target::Parked(Park::after(delivery.headers.parked, 0), delivery.lane.clone());
    attempt::divert(engine, &delivery, settler.as_ref(), park, None).await;
}

/// Runs suspects until the instance drains; what waits then goes back with its lane.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Draining) => return,
            () = engine.isolation.came.notified() => {}
        }
        while let Some(patience) = engine.isolation.patience() {
            let clock = &engine.link.world.clock;
            let began = clock.boot();
            tokio::select! {
                biased;
                () = engine.until(Phase::Draining) => return,
                () = turn(&engine, patience) => {}
            }
            let rest = if engine.lanes_wait() { clock.boot().saturating_sub(began).max(REST) } else { Duration::ZERO };
            tokio::select! {
                biased;
                () = engine.until(Phase::Draining) => return,
                () = clock.sleep(rest) => {}
            }
        }
    }
}

impl Engine {
    /// Whether deliveries wait for a slot that need not run alone.
    fn lanes_wait(&self) -> bool {
        self.held.counts().values().sum::<u64>() > self.isolation.lock().len() as u64
    }
}

/// One quiet time.
async fn turn(engine: &Arc<Engine>, patience: Duration) {
    let clock = &engine.link.world.clock;
    let quiet = Quiet::begin(engine);
    if clock.timeout(patience, engine.idle()).await.is_none() {
        drop(quiet);
        tracing::info!(?patience, "the instance did not become idle in time for a job that must run alone");
        while let Some(suspect) = engine.isolation.pop() {
            engine.held.take(&suspect.delivery);
            park(engine, suspect).await;
        }
        return;
    }
    let until = clock.boot() + QUIET;
    while clock.boot() < until
        && engine.phase() == Phase::Working
        && let Some(suspect) = engine.isolation.pop()
    {
        engine.held.take(&suspect.delivery);
        if !run_alone(engine, suspect).await {
            return;
        }
    }
}

/// Runs one suspect while the instance is quiet and idle. Answers whether the instance is idle again.
async fn run_alone(engine: &Arc<Engine>, Suspect { delivery, settler, crashes }: Suspect) -> bool {
    if !settler.is_live() {
        return true;
    }
    let registration = engine.registry.choose(&delivery.lane.topic);
    let slot =
        registration.as_ref().and_then(|registration| Slot::take(engine, registration, &delivery.lane.topic, true));
    let (Some(registration), Some(slot)) = (registration, slot) else {
        // Its handler went away; the lane is about to be given back, and this with it.
        settler.give_back(delivery.tag);
        return true;
    };
    tracing::info!(message_id = delivery.message_id, crashes, "runs alone: its process went away before");
    let taken = Taken { delivery, registration, slot, alone: true };
    drop(engine.link.world.tasks.spawn(attempt::run_all(Arc::clone(engine), settler, vec![taken])));
    let most = ALONE * (1 << crashes.saturating_sub(limits::SUSPECT_CRASHES).min(6));
    let idle = engine.link.world.clock.timeout(most, engine.idle()).await.is_some();
    if !idle {
        tracing::warn!(?most, "a job that runs alone takes so long that others start beside it");
    }
    idle
}

/// While it lives, nothing but suspects starts.
struct Quiet<'a>(&'a Engine);

impl<'a> Quiet<'a> {
    fn begin(engine: &'a Engine) -> Self {
        // Under the lock of the slots: whoever takes one sees it, or has it already and is waited for.
        engine.busy.send_if_modified(|_| {
            engine.isolation.quiet.store(true, Ordering::SeqCst);
            false
        });
        Self(engine)
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.isolation.quiet.store(false, Ordering::SeqCst);
        self.0.slot_freed.notify_one();
    }
}
