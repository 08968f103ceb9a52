//! Clearer: takes lanes of sites away that nobody is of any more, and in which nothing waits.
//!
//! Instances and clusters come and go, and jobs may have been meant for each. Such a lane is let go of in the store,
//! where no job is queued in it and nobody has made use of it for a while; a round later the broker's queue goes, which
//! is left behind, empty, by a coordinator that dies in between. Whoever has use for the lane again makes it again.
//! What was on its way there, or at rest for so long, finds no lane: for that one the lane is made again.

use super::rest;
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
    let mut clearer = Clearer::default();
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = rest(&engine, PACE) => {}
        }
        if let Err(fault) = clearer.round(&engine).await {
            tracing::debug!(%fault, "lanes that nobody needs could not be taken away; trying again");
        }
    }
}

#[derive(Debug, Default)]
struct Clearer {
    /// Lanes that the store has let go of, whose queues are still to go. Whoever consumed one instead of its site makes
    /// a queue that vanishes under it again, so that they go a round later, when everybody has given them up.
    let_go: BTreeSet<Lane>,
}

impl Clearer {
    async fn round(&mut self, engine: &Engine) -> Result<(), Fault> {
        let link = &engine.link;
        let known: BTreeSet<Lane> = link.store.lanes().await?.into_iter().collect();
        self.let_go.retain(|lane| !known.contains(lane));
        let (empty, full) = sorted(engine, self.let_go.iter().cloned()).await?;
        link.broker.remove(&empty).await?;
        // What came at that very moment is somebody's job, who is told where it lies.
        link.store.know(full).await?;
        self.let_go.clear();
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
        let left = lanes.into_iter().filter(|lane| !lane.site.as_ref().is_some_and(is_live));
        // What the store does not know may be all that there is of a job.
        let (empty, _) = sorted(engine, left).await?;
        if !empty.is_empty() {
            self.let_go.extend(link.store.forget(empty, limits::SITE_KEPT_MS).await?);
        }
        if !self.let_go.is_empty() {
            tracing::info!(lanes = self.let_go.len(), "lanes of instances and clusters that are gone were let go of");
        }
        Ok(())
    }
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

/// Lanes in which the broker has nothing, and the others.
async fn sorted(engine: &Engine, lanes: impl Iterator<Item = Lane>) -> Result<(Vec<Lane>, Vec<Lane>), Fault> {
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    for lane in lanes {
        match engine.link.broker.depth(&lane).await?.unwrap_or(0) {
            0 => empty.push(lane),
            _ => full.push(lane),
        }
    }
    Ok((empty, full))
}
