//! Clearer: takes lanes of sites away that nobody is of any more, and in which nothing waits.
//!
//! Instances and clusters come and go, and jobs may have been meant for each. Such a lane is let go of in the store,
//! where no job is queued in it and nobody has made use of it for a while; then the broker's queue goes. All instances
//! remember for some minutes what was let go of, so that a coordinator that dies in between leaves it to the next one.
//! Whoever has use for the lane again makes it again.
//! What was on its way there, or at rest for so long, finds no lane: for that one the lane is made again.

use super::rest;
use crate::engine::sites::MEMORY;
use crate::engine::{Engine, Phase};
use longshore_link::Fault;
use longshore_link::broker::Letters;
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::placement::Site;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks of the coordinator.
const PACE: Duration = Duration::from_secs(60);

/// Letters that are looked at in one round.
const LETTERS: usize = 100;

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
    let known: BTreeSet<Lane> = link.store.lanes().await?.into_iter().collect();
    finish(engine, &known).await?;
    make_missed(engine, &known).await?;
    // The leader is another one tomorrow.
    let placed = |lane: &Lane| lane.site.as_ref().is_some_and(|site| *site != Site::Leader);
    let lanes: Vec<Lane> = known.into_iter().filter(placed).collect();
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
    let gone = if empty.is_empty() { empty } else { link.store.forget(empty, limits::SITE_KEPT_MS).await? };
    if !gone.is_empty() {
        tracing::info!(lanes = gone.len(), "lanes of instances and clusters that are gone were let go of");
    }
    Ok(())
}

/// Deletes the queues of lanes that the store has let go of, as this instance remembers. Whoever consumed one instead of its
/// site, and has not heard of that yet, makes it again at once; then it goes in a later round.
async fn finish(engine: &Engine, known: &BTreeSet<Lane>) -> Result<(), Fault> {
    let link = &engine.link;
    let gone: Vec<Lane> = engine.gone.borrow().iter().filter(|lane| !known.contains(lane)).cloned().collect();
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    for lane in gone {
        match link.broker.depth(&lane).await? {
            None => {}
            Some(0) => empty.push(lane),
            Some(_) => full.push(lane),
        }
    }
    // A store that lost something not long ago has not let go of them, and what arrives may be all that there is of a job.
    let now = link.world.clock.boot();
    let lost = engine.lost.borrow().is_some_and(|lost| now.saturating_sub(lost) < MEMORY);
    if !empty.is_empty() && !lost {
        link.broker.remove(&empty).await?;
    }
    if !full.is_empty() {
        // What came meanwhile may be somebody's job: whoever takes the topic is told where it lies.
        link.store.know(full).await?;
    }
    Ok(())
}

/// Makes lanes of sites again that letters look for in vain.
async fn make_missed(engine: &Engine, known: &BTreeSet<Lane>) -> Result<(), Fault> {
    let link = &engine.link;
    if link.broker.count_letters(Letters::Unrouted).await? == 0 {
        return Ok(());
    }
    let mut reading = link.broker.read_letters(Letters::Unrouted).await?;
    let mut missed = BTreeSet::new();
    for _ in 0..LETTERS {
        let Some(letter) = reading.next().await? else { break };
        missed.extend(letter.lane.filter(|lane| lane.site.is_some() && !known.contains(lane)));
    }
    reading.close().await?;
    let missed: Vec<Lane> = missed.into_iter().collect();
    if !missed.is_empty() {
        tracing::info!(
            lanes = missed.len(),
            "letters came for lanes of sites that were taken away; making these again"
        );
        link.store.know(missed.clone()).await?;
        link.broker.declare(&missed).await?;
    }
    Ok(())
}
