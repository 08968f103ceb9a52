//! Which topology this instance sees, and what is announced of it.
//!
//! Beats say whether there is a newer view, or whether somebody says other things of itself; then the view is read, and
//! the model's [`Announcer`] decides what is announced and when. An instance acknowledges a view with its next beat
//! once nothing here goes by an older one. While the instance cannot prove that it is alive, nothing it saw is current.

use super::{Engine, Phase};
use longshore_link::signal;
use longshore_model::topology::events::{Announced, Announcer, Patience};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Longest wait for members that do not acknowledge a view: more than a lease, so that the dead are gone by then.
const SYNCED: Duration = Duration::from_secs(15);
/// Nudges come in swarms while many instances start: one beat for those of so much time.
const SWARM: Duration = Duration::from_millis(100);
/// A view that could not be read is tried again after about so long.
const AGAIN: Duration = Duration::from_secs(1);

/// What the last beat said of the topology.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Glimpse {
    pub(crate) view: u64,
    pub(crate) profiles: u64,
    pub(crate) synced: bool,
}

/// What is seen and announced.
#[derive(Debug)]
pub(crate) struct Sight {
    /// A view is announced when it was stable for so long.
    stable: Duration,
    pub(crate) glimpse: signal::Sender<Glimpse>,
    pub(crate) announced: signal::Sender<Announced>,
    /// The number of the view that nothing here is older than.
    reached: AtomicU64,
    pub(crate) nudged: Notify,
}

impl Sight {
    pub(crate) fn new(stable: Duration) -> Self {
        Self {
            stable,
            glimpse: signal::Sender::new(Glimpse::default()),
            announced: signal::Sender::new(Announced::default()),
            reached: AtomicU64::new(0),
            nudged: Notify::new(),
        }
    }

    /// The number of the view that this instance has reached.
    pub(crate) fn reached(&self) -> u64 {
        self.reached.load(Ordering::SeqCst)
    }

    pub(crate) fn glimpsed(&self, glimpse: Glimpse) {
        self.glimpse.send_if_modified(|now| std::mem::replace(now, glimpse) != glimpse);
    }
}

/// Asks for a beat when somebody says that the view changed: its answer tells.
pub(crate) async fn follow_nudges(engine: Arc<Engine>) {
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.sight.nudged.notified() => {}
        }
        if !engine.pause(engine.link.world.random.jitter(SWARM)).await {
            return;
        }
        engine.beat_now.notify_one();
    }
}

/// Looks until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let sight = &engine.sight;
    let ms = longshore_model::span::ms;
    let patience = Patience { stable_ms: ms(sight.stable), synced_ms: ms(SYNCED) };
    let mut announcer = Announcer::new(patience, Some(engine.owner.clone()));
    let (mut trust, mut glimpses) = (engine.trust.subscribe(), sight.glimpse.subscribe());
    let clock = &engine.link.world.clock;
    let now = || ms(clock.boot());
    // What was acted on, and the number of the view that was read then: it may be newer than what the beat knew.
    let (mut acted, mut number) = (None, 0);
    loop {
        let glimpse = *glimpses.borrow_and_update();
        trust.mark_unchanged();
        let mut wait = None;
        if !engine.is_sure() {
            announcer.changing();
            acted = None;
            show(&engine, &announcer);
        } else if glimpse.view > 0 && acted != Some((glimpse.view, glimpse.profiles)) {
            if glimpse.view != number {
                announcer.changing();
                show(&engine, &announcer);
            }
            match engine.link.store.view().await {
                Ok(view) => {
                    let synced = glimpse.synced && glimpse.view == view.number;
                    (acted, number) = (Some((glimpse.view, glimpse.profiles)), view.number);
                    if sight.reached.swap(view.number, Ordering::SeqCst) != view.number {
                        engine.beat_now.notify_one();
                    }
                    announcer.read(view, synced, now());
                }
                Err(fault) => {
                    tracing::debug!(%fault, "the topology could not be read; trying again");
                    wait = Some(engine.link.world.random.jitter(AGAIN));
                }
            }
        } else if glimpse.synced {
            announcer.synced(glimpse.view, now());
        }
        announcer.tick(now());
        show(&engine, &announcer);
        let due = announcer.due().map(|due| Duration::from_millis(due.saturating_sub(now())));
        let wait = due.into_iter().chain(wait).min();
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => break,
            _ = trust.changed() => {}
            _ = glimpses.changed() => {}
            () = clock.sleep(wait.unwrap_or(Duration::from_secs(3_600))) => {}
        }
    }
    // Nothing is current any more; listeners hear nothing more.
    announcer.changing();
}

fn show(engine: &Engine, announcer: &Announcer) {
    let now = announcer.announced();
    engine.sight.announced.send_if_modified(|before| {
        let changed = !before.is(now);
        if changed {
            *before = now.clone();
        }
        changed
    });
}
