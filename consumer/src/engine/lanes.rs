//! Which lanes this instance consumes: those of known topics that a handler takes, and that the lists and the matrix allow;
//! none while it does not belong to the fleet. Of lanes of sites those that are for this instance ([`super::sites`]).
//!
//! The high lane of a topic is consumed from the first urgent job on; a store that lost what it knew of that hears it from
//! whoever consumed such a lane before, or finds one. Publishes the set through `engine.wanted`; [`super::intake`] follows
//! it. The truth is in the store (the set of known topics) and in the registry; nudges only make it quick.

use super::sites::{self, Memory};
use super::{Engine, Phase, strangers};
use longshore_link::store::Nudge;
use longshore_model::lane::Lane;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Time between two looks at what is known.
const PACE: Duration = Duration::from_secs(30);
/// For so long after the store was found to have lost something, the broker is looked into for high lanes of which
/// nobody knows any more: no publish is under way, and no copy rests, for longer.
const SEARCH: Duration = Duration::from_secs(900);

/// Keeps `engine.wanted` right until the instance drains.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut registry = engine.registry.changes();
    // High lanes that were ever consumed here: a store that was wiped knows nothing of them, and they hold jobs.
    let mut high = BTreeSet::new();
    let mut memory = Memory::default();
    let (mut leads, mut glimpses) = (engine.coordinator.subscribe(), engine.sight.glimpses());
    loop {
        registry.mark_unchanged();
        leads.mark_unchanged();
        glimpses.mark_unchanged();
        let wait = match refresh(&engine, &mut high, &mut memory).await {
            Ok(()) => PACE,
            Err(fault) => {
                tracing::warn!(%fault, "known topics could not be read; trying again");
                engine.link.world.random.jitter(Duration::from_secs(1))
            }
        };
        // Who takes the jobs that others would rather run depends on who is there.
        let placed = engine.known.borrow().iter().any(sites::is_preferred);
        tokio::select! {
            biased;
            () = engine.until(Phase::Draining) => {
                engine.wanted.send_replace(Some(BTreeSet::new()));
                return;
            }
            _ = registry.changed() => {}
            _ = leads.changed() => {}
            _ = glimpses.changed(), if placed => {}
            () = engine.topics_changed.notified() => {}
            () = engine.link.world.clock.sleep(wait) => {}
        }
    }
}

async fn refresh(engine: &Engine, high: &mut BTreeSet<Lane>, memory: &mut Memory) -> Result<(), longshore_link::Fault> {
    if !strangers::check(engine).await? {
        engine.wanted.send_replace(Some(BTreeSet::new()));
        return Ok(());
    }
    let moved = engine.matrix.refresh(engine).await?;
    let exact: BTreeSet<Lane> = engine
        .registry
        .capabilities()
        .iter()
        .filter_map(|capability| capability.pattern.exact())
        .filter(|topic| engine.allowed.admits(topic))
        .map(Lane::from)
        .collect();
    // A topic is never forgotten but by a store that was wiped; its lanes still hold jobs.
    let mut before = engine.wanted.borrow().clone().unwrap_or_default();
    // Those of sites are let go of.
    before.retain(|lane| lane.site.is_none());
    high.extend(search(engine, &before).await);
    let mut sure: BTreeSet<Lane> = exact.into_iter().chain(before).chain(high.iter().cloned()).collect();
    sure.extend(memory.forgotten(*engine.lost.borrow(), engine.link.world.clock.boot()));
    engine.link.store.know(sure.iter().cloned().collect()).await?;
    let known: BTreeSet<Lane> = engine.link.store.lanes().await?.into_iter().chain(sure).collect();
    memory.note(&known, engine.link.world.clock.boot());
    engine.gone.send_replace(memory.gone());
    let taken: BTreeSet<Lane> = known.iter().filter(|lane| engine.takes(&lane.topic)).cloned().collect();
    let wanted = sites::choose(engine, taken).await?;
    high.extend(wanted.iter().filter(|lane| lane.high && lane.site.is_none()).cloned());
    let topics: BTreeSet<_> = wanted.iter().map(|lane| lane.topic.clone()).collect();
    engine.known.send_replace(known);
    engine.wanted.send_if_modified(|now| {
        let wanted = Some(wanted);
        let changed = *now != wanted;
        if changed {
            *now = wanted;
        }
        changed
    });
    if moved {
        // Whoever changed it sees at once that the instance goes by it.
        engine.beat_now.notify_one();
    }
    // Last, as it may take a while where there are many topics.
    let found = memory.search(engine, &topics).await;
    if !found.is_empty() {
        engine.link.store.know(found).await?;
        engine.topics_changed.notify_one();
    }
    Ok(())
}

/// High lanes of topics that are consumed here, which the broker has and the store may have forgotten: it lost something
/// not long ago, and the first urgent job of a topic may have been among it.
async fn search(engine: &Engine, consumed: &BTreeSet<Lane>) -> Vec<Lane> {
    let mut found = Vec::new();
    let lost = *engine.lost.borrow();
    if lost.is_none_or(|lost| engine.link.world.clock.boot().saturating_sub(lost) > SEARCH) {
        return found;
    }
    let missing = consumed.iter().filter(|lane| lane.is_first()).map(|lane| Lane::high(lane.topic.clone()));
    for lane in missing.filter(|lane| !consumed.contains(lane)) {
        match engine.link.broker.depth(&lane).await {
            Ok(Some(_)) => found.push(lane),
            Ok(None) => {}
            Err(fault) => tracing::debug!(%lane, %fault, "a high lane could not be looked for; trying again"),
        }
    }
    found
}

/// Turns nudges of the store into what they mean here, until the instance is stopped.
pub(crate) async fn follow_nudges(engine: Arc<Engine>) {
    let mut nudges = engine.link.store.nudges();
    loop {
        let nudge = tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            nudge = nudges.recv() => nudge,
        };
        match nudge {
            Ok(Nudge::Topics | Nudge::Matrix | Nudge::Seal) => engine.topics_changed.notify_one(),
            Ok(Nudge::Due) => engine.promote_now.notify_one(),
            Ok(Nudge::Queues) => engine.policies.changed.notify_one(),
            Ok(Nudge::Relay) => engine.relay_now.notify_one(),
            Ok(Nudge::Stop(id)) => {
                if engine.running.contains(&id) {
                    engine.beat_now.notify_one();
                }
            }
            Ok(Nudge::View) => engine.sight.nudged.notify_one(),
            Ok(Nudge::Questions) => engine.answering.look.notify_one(),
            Ok(Nudge::Ended(_) | Nudge::Changed(_) | Nudge::Schedules | Nudge::Interests | Nudge::Answered(_)) => {}
            Ok(Nudge::Missed) | Err(RecvError::Lagged(_)) => {
                engine.topics_changed.notify_one();
                engine.answering.look.notify_one();
                engine.policies.changed.notify_one();
                engine.promote_now.notify_one();
                engine.beat_now.notify_one();
            }
            Err(RecvError::Closed) => return,
        }
    }
}
