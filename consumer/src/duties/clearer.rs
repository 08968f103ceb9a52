//! Clearer: takes lanes of sites away that nobody is of any more, and in which nothing waits.
//!
//! Instances and clusters come and go, and jobs may have been meant for each. Such a lane is let go of in the store,
//! where no job is queued in it and nobody has made use of it for a while; then the broker's queue goes. Whoever has
//! use for the lane again makes it again. A copy that was on its way there at that very moment is given a new one by
//! the reconciler.

use super::rest;
use crate::engine::{Engine, Phase};
use longshore_link::Fault;
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::placement::Site;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks of the coordinator.
const PACE: Duration = Duration::from_secs(60);

/// Clears until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = rest(&engine, PACE) => {}
        }
        if let Err(fault) = round(&engine).await {
            tracing::debug!(%fault, "lanes that nobody needs could not be taken away; trying again");
        }
    }
}

async fn round(engine: &Engine) -> Result<(), Fault> {
    let link = &engine.link;
    // The leader is another one tomorrow.
    let placed = |lane: &Lane| lane.site.as_ref().is_some_and(|site| *site != Site::Leader);
    let lanes: Vec<Lane> = link.store.lanes().await?.into_iter().filter(placed).collect();
    if lanes.is_empty() {
        return Ok(());
    }
    // Whoever is live counts, signed or not.
    let view = link.store.view().await?;
    let is_live = |site: &Site| view.instances.iter().any(|card| site.has(card, &view));
    let mut empty = Vec::new();
    for lane in lanes.into_iter().filter(|lane| !lane.site.as_ref().is_some_and(is_live)) {
        // What the store does not know may be all that there is of a job.
        if link.broker.depth(&lane).await?.unwrap_or(0) == 0 {
            empty.push(lane);
        }
    }
    if empty.is_empty() {
        return Ok(());
    }
    let gone = link.store.forget(empty, limits::SITE_KEPT_MS).await?;
    if !gone.is_empty() {
        tracing::info!(lanes = gone.len(), "lanes of instances and clusters that are gone were taken away");
        link.broker.remove(&gone).await?;
    }
    Ok(())
}
