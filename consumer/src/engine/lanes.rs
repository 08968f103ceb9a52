//! Which lanes this instance consumes: known topics that a handler takes, and that the lists and the matrix allow; none
//! while it does not belong to the fleet.
//!
//! Publishes the set through `engine.wanted`; [`super::intake`] follows it. The truth is in the store
//! (the set of known topics) and in the registry; nudges only make it quick.

use super::{Engine, Phase, strangers};
use longshore_link::store::Nudge;
use longshore_model::topic::Topic;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Keeps `engine.wanted` right until the instance drains.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut registry = engine.registry.changes();
    loop {
        registry.mark_unchanged();
        let wait = match refresh(&engine).await {
            Ok(()) => Duration::from_secs(30),
            Err(fault) => {
                tracing::warn!(%fault, "known topics could not be read; trying again");
                engine.link.world.random.jitter(Duration::from_secs(1))
            }
        };
        tokio::select! {
            biased;
            () = engine.until(Phase::Draining) => {
                engine.wanted.send_replace(Some(BTreeSet::new()));
                return;
            }
            _ = registry.changed() => {}
            () = engine.topics_changed.notified() => {}
            () = engine.link.world.clock.sleep(wait) => {}
        }
    }
}

async fn refresh(engine: &Engine) -> Result<(), longshore_link::Fault> {
    if !strangers::check(engine).await? {
        engine.wanted.send_replace(Some(BTreeSet::new()));
        return Ok(());
    }
    let moved = engine.matrix.refresh(engine).await?;
    let exact: Vec<Topic> = engine
        .registry
        .capabilities()
        .iter()
        .filter_map(|capability| capability.pattern.exact())
        .filter(|topic| engine.allowed.admits(topic))
        .collect();
    // A topic is never forgotten but by a store that was wiped; its lane still holds jobs.
    let before = engine.wanted.borrow().clone().unwrap_or_default();
    let exact: Vec<Topic> = exact.into_iter().chain(before).collect();
    engine.link.store.know(exact.clone()).await?;
    let known = engine.link.store.topics().await?;
    let wanted: BTreeSet<Topic> = known.into_iter().chain(exact).filter(|topic| engine.takes(topic)).collect();
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
    Ok(())
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
            Ok(Nudge::Ended(_) | Nudge::Changed(_) | Nudge::Schedules | Nudge::Interests) => {}
            Ok(Nudge::Missed) | Err(RecvError::Lagged(_)) => {
                engine.topics_changed.notify_one();
                engine.policies.changed.notify_one();
                engine.promote_now.notify_one();
                engine.beat_now.notify_one();
            }
            Err(RecvError::Closed) => return,
        }
    }
}
