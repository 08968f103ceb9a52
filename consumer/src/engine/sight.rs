//! Which topology this instance sees, and what is announced of it.
//!
//! Beats say whether there is a newer view, or whether somebody says other things of itself; then the view is read, and
//! the model's [`Announcer`] decides what is announced and when. An instance acknowledges a view with its next beat
//! once nothing here goes by an older one.
//!
//! Whether a view is current does not depend on this task getting to run: the beats' own thread supersedes what it knows
//! to be old ([`Sight::glimpsed`]), and a view asks whether the instance can still prove that it is alive whenever it is
//! looked at.

use super::{Engine, Phase, strangers};
use longshore_link::signal;
use longshore_model::span::ms;
use longshore_model::topology::events::{Announced, Announcer, Patience, Proof};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Longest wait for members that do not acknowledge a view: more than a default lease, so that the dead are gone by then.
const SYNCED: Duration = Duration::from_secs(15);
/// Nudges come in swarms while many instances start: one beat for those of so much time.
const SWARM: Duration = Duration::from_millis(100);
/// A view that could not be read is tried again after about so long.
const AGAIN: Duration = Duration::from_secs(1);
/// Where there are keys, who belongs to the fleet is judged again after so long: signatures are for a time.
const LOOK: Duration = Duration::from_secs(30);

/// What the last beat said of the topology.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Glimpse {
    /// Since when the store has lost nothing: numbers of another epoch mean nothing in this one.
    pub(crate) epoch: u64,
    pub(crate) view: u64,
    pub(crate) profiles: u64,
    pub(crate) synced: bool,
}

impl Glimpse {
    /// What a view is read for: another one of these, and it has to be read again.
    const fn edition(self) -> (u64, u64, u64) {
        (self.epoch, self.view, self.profiles)
    }
}

/// What is seen and announced.
#[derive(Debug)]
pub(crate) struct Sight {
    /// A view is announced when it was stable for so long.
    stable: Duration,
    glimpse: signal::Sender<Glimpse>,
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

    /// What beats say of the topology, as they say it.
    pub(crate) fn glimpses(&self) -> signal::Receiver<Glimpse> {
        self.glimpse.subscribe()
    }

    /// A beat was answered. From now on no older view is current, whether or not anybody gets to run here.
    pub(crate) fn glimpsed(&self, glimpse: Glimpse) {
        let mut before = Glimpse::default();
        self.glimpse.send_if_modified(|now| {
            before = std::mem::replace(now, glimpse);
            before != glimpse
        });
        self.outdate(before.epoch);
    }

    /// Supersedes what is announced if a beat knows better. `epoch`: that of what is announced.
    fn outdate(&self, epoch: u64) {
        let known = *self.glimpse.borrow();
        if let Some(view) = &self.announced.borrow().view
            && (known.epoch != epoch || known.view > view.number)
        {
            view.supersede();
        }
    }

    /// Shows what is announced, which was read in this epoch.
    fn show(&self, announcer: &Announcer, epoch: u64) {
        self.announced.send_if_modified(|announced| announced.follow(announcer.announced()));
        // A beat may have been answered meanwhile, and have looked at what was announced before.
        self.outdate(epoch);
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
    let patience = Patience { stable_ms: ms(sight.stable), synced_ms: ms(SYNCED) };
    // What is announced belongs to the engine, and must not keep it.
    let weak = Arc::downgrade(&engine);
    let proof = Proof::new(move || weak.upgrade().is_some_and(|engine| engine.is_proven()));
    let mut announcer = Announcer::new(patience, engine.owner.clone(), proof);
    let (mut trust, mut proven) = (engine.trust.subscribe(), engine.proven.subscribe());
    let (mut glimpses, mut standing) = (sight.glimpse.subscribe(), engine.strangers.standing.subscribe());
    let clock = &engine.link.world.clock;
    let now = || ms(clock.boot());
    // What a view was read for last, and the number and the epoch of that view: it may be newer than what the beat knew.
    let (mut acted, mut number, mut epoch) = (None, 0, 0);
    // When it was judged last who belongs to the fleet, where that depends on signatures.
    let mut looked: Option<Duration> = None;
    loop {
        let glimpse = *glimpses.borrow_and_update();
        trust.mark_unchanged();
        standing.mark_unchanged();
        proven.mark_unchanged();
        let outside = engine.strangers.is_outside();
        if outside && sight.reached.swap(glimpse.view, Ordering::SeqCst) != glimpse.view {
            // Nothing is announced here, so nobody needs to wait for it.
            engine.beat_now.notify_one();
        }
        let proves = engine.is_sure() && engine.is_proven() && !outside;
        if looked.is_some_and(|looked| clock.boot().saturating_sub(looked) >= LOOK) {
            (acted, looked) = (None, None);
        }
        if !proves || announcer.has_lapsed() {
            announcer.changing();
            acted = None;
        }
        let mut wait = None;
        if proves && glimpse.view > 0 && acted != Some(glimpse.edition()) {
            if glimpse.view > number || glimpse.epoch != epoch {
                announcer.changing();
            }
            sight.show(&announcer, epoch);
            let read = tokio::select! {
                biased;
                () = engine.until(Phase::Stopped) => return,
                _ = trust.changed() => continue,
                read = strangers::look(&engine) => read,
            };
            match read {
                // It was found that nothing here may be announced.
                Ok(_) if engine.strangers.is_outside() => continue,
                Ok(view) => {
                    looked = engine.link.trust.has_keys().then(|| clock.boot());
                    (acted, number, epoch) = (Some(glimpse.edition()), view.number, glimpse.epoch);
                    let synced = glimpse.synced && glimpse.view == number;
                    announcer.read(view, synced, now());
                    sight.show(&announcer, epoch);
                    if sight.reached.swap(number, Ordering::SeqCst) != number {
                        engine.beat_now.notify_one();
                    }
                }
                Err(fault) => {
                    tracing::debug!(%fault, "the topology could not be read; trying again");
                    wait = Some(engine.link.world.random.jitter(AGAIN));
                }
            }
        } else if proves && glimpse.synced {
            announcer.synced(glimpse.view, now());
        }
        announcer.tick(now());
        sight.show(&announcer, epoch);
        let due = announcer.due().map(|due| Duration::from_millis(due.saturating_sub(now())));
        let again = looked.map(|looked| (looked + LOOK).saturating_sub(clock.boot()));
        let woken = async {
            match due.into_iter().chain(wait).chain(again).min() {
                Some(wait) => clock.sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            _ = trust.changed() => {}
            _ = glimpses.changed() => {}
            _ = standing.changed() => {}
            _ = proven.changed() => {}
            () = woken => {}
        }
    }
}
