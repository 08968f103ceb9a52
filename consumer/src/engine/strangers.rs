//! Who belongs to the fleet, as this instance sees it, itself included (V22, V23).
//!
//! Looked at before the first lane is consumed, whenever the view or the seal changes, and from time to time. An instance
//! that is outside takes no work, does no duty, leads nothing and applies nothing, and says so; what it runs it finishes.
//! Where the store's coordinator is a stranger, the first of the others does its work.

use super::{Engine, Phase};
use longshore_link::Fault;
use longshore_link::signal;
use longshore_link::trusted::Seen;
use longshore_model::topology::View;
use longshore_model::trust::{Ignored, Outside, refusals};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Whether the instance may take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has looked yet.
    Unknown,
    /// It may.
    Inside,
    /// It may not.
    Outside,
}

/// What was seen last.
#[derive(Debug)]
pub(crate) struct Strangers {
    pub(crate) standing: signal::Sender<Standing>,
    /// Whether the store says that this instance coordinates.
    appointed: AtomicBool,
    /// Whether it does by the view without strangers.
    heir: AtomicBool,
    seen: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    why: Option<Outside>,
    ignored: BTreeSet<Ignored>,
    /// By whom this instance's signature is not accepted, by name.
    refused_by: BTreeSet<String>,
}

impl Default for Strangers {
    fn default() -> Self {
        let standing = signal::Sender::new(Standing::Unknown);
        Self { standing, appointed: AtomicBool::default(), heir: AtomicBool::default(), seen: Mutex::default() }
    }
}

impl Strangers {
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_inside(&self) -> bool {
        *self.standing.borrow() == Standing::Inside
    }

    pub(crate) fn is_outside(&self) -> bool {
        *self.standing.borrow() == Standing::Outside
    }

    /// Why the instance may not take part.
    pub(crate) fn why(&self) -> Option<Outside> {
        self.lock().why.clone()
    }

    /// Live instances that do not belong to the fleet.
    pub(crate) fn ignored(&self) -> Vec<Ignored> {
        self.lock().ignored.iter().cloned().collect()
    }

    /// The store has said whether this instance coordinates.
    pub(crate) fn appoint(&self, engine: &Engine, coordinator: bool) {
        self.appointed.store(coordinator, Ordering::SeqCst);
        self.coordinate(engine);
    }

    /// Coordinates, or ceases to.
    fn coordinate(&self, engine: &Engine) {
        let named = self.appointed.load(Ordering::SeqCst) || self.heir.load(Ordering::SeqCst);
        let coordinator = named && self.is_inside();
        engine.coordinator.send_if_modified(|now| std::mem::replace(now, coordinator) != coordinator);
    }

    /// Tells of strangers, once of each.
    fn tell(&self, engine: &Engine, seen: &Seen) {
        let me = |card: &&longshore_model::topology::Card| card.owner == engine.owner;
        let refused = refusals(&seen.view).into_iter().filter(|(_, of)| me(of));
        let refused_by: BTreeSet<String> = refused.map(|(by, _)| by.name.clone()).collect();
        let ignored: BTreeSet<Ignored> = seen.ignored.iter().cloned().collect();
        let mut last = self.lock();
        for Ignored { owner, name, why } in ignored.difference(&last.ignored) {
            tracing::warn!(instance = %owner.instance, name, %why, "an instance does not belong to the fleet");
        }
        for by in refused_by.difference(&last.refused_by) {
            tracing::warn!(
                by,
                "an instance does not accept this one's signature: it does not have the first of trust.keys"
            );
        }
        (last.ignored, last.refused_by) = (ignored, refused_by);
    }

    /// Goes by what was found.
    fn stand(&self, engine: &Engine, found: Result<(), Outside>) {
        let why = found.err();
        let now = if why.is_some() { Standing::Outside } else { Standing::Inside };
        self.lock().why.clone_from(&why);
        let mut before = now;
        self.standing.send_if_modified(|standing| {
            before = std::mem::replace(standing, now);
            before != now
        });
        self.coordinate(engine);
        match (before, why) {
            (Standing::Outside, None) => tracing::info!("this instance belongs to the fleet again"),
            (Standing::Unknown | Standing::Inside, Some(why)) => {
                tracing::error!(%why, "this instance takes no work: it does not belong to the fleet");
            }
            _ => {}
        }
        if before != now && before != Standing::Unknown {
            engine.topics_changed.notify_one();
        }
        if before != now {
            // Others see it.
            engine.beat_now.notify_one();
        }
    }
}

/// Looks who is there. Answers the view without strangers.
pub(crate) async fn look(engine: &Engine) -> Result<View, Fault> {
    let (seen, member) = engine.link.seen_by(&engine.owner).await?;
    let strangers = &engine.strangers;
    strangers.tell(engine, &seen);
    let heir = engine.link.trust.has_keys() && seen.view.coordinator.as_ref() == Some(&engine.owner);
    strangers.heir.store(heir, Ordering::SeqCst);
    strangers.stand(engine, member);
    Ok(seen.view)
}

/// Looks whether this instance may take part, and no further unless it is for the first time, or the fleet may have to be
/// sealed.
pub(crate) async fn check(engine: &Engine) -> Result<bool, Fault> {
    let trust = &engine.link.trust;
    let seal = engine.link.store.seal(None).await?;
    if *engine.strangers.standing.borrow() == Standing::Unknown || seal.is_empty() && trust.has_keys() {
        look(engine).await?;
    } else {
        engine.strangers.stand(engine, trust.membership(&seal));
    }
    Ok(engine.strangers.is_inside())
}

impl Engine {
    /// Waits until the instance may take part. `false`: it has stopped.
    pub(crate) async fn until_inside(&self) -> bool {
        let mut standing = self.strangers.standing.subscribe();
        tokio::select! {
            biased;
            () = self.until(Phase::Stopped) => false,
            inside = standing.wait_for(|standing| *standing == Standing::Inside) => inside.is_ok(),
        }
    }

    /// Waits until the instance may not take part.
    pub(crate) async fn until_outside(&self) {
        let mut standing = self.strangers.standing.subscribe();
        // The sender lives as long as `self`.
        let _ = standing.wait_for(|standing| *standing == Standing::Outside).await;
    }
}
