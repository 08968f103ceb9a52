//! Reconciler: gives queued jobs new copies whose copies the broker has lost.
//!
//! A broker that was wiped, a lane that was purged or deleted, or one that died right after it was declared, leaves
//! jobs that the store calls queued and nobody will ever deliver. Compares, topic by topic, and site by site where
//! jobs are to run at one, how many jobs are queued with how many copies the broker can hold: those in its lanes and
//! those that wait in a consumer for a slot. Only where there are surely fewer copies than jobs does it act, and then
//! on no more jobs than copies are missing, oldest first: lanes are first in, first out, so that what was lost from a
//! deep lane becomes the oldest. A job whose copy was confirmed less than [`IN_FLIGHT_MS`] ago is left alone, so that
//! a copy under way is not doubled; and what was doubled in vain rests longer each time. Everything is guarded in the
//! store, and a copy too many is refused by its claim.

use super::pace;
use crate::engine::{Engine, Phase};
use longshore_link::Fault;
use longshore_link::store::Depleted;
use longshore_model::lane::Lane;
use longshore_model::limits::IN_FLIGHT_MS;
use longshore_model::record::State;
use longshore_model::topic::Topic;
use longshore_model::topology::View;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Time between two rounds of the coordinator.
const PACE: Duration = Duration::from_secs(5);
/// A lane that was empty in every round for so long is drained: no copy was on its way through it.
const DRAINED: Duration = Duration::from_secs(8);
/// Pairs of lanes whose depth is asked for in one round; the next round goes on with the others.
const LANES: usize = 100;
/// Queued jobs that one call looks at.
const LOOK: usize = 1_000;
/// Calls that one round makes to look through the queued jobs; the next round goes on where it ended.
const CALLS: usize = 50;
/// What an instance may have taken from a lane since its last beat, as a multiple of its slots.
const PREFETCH: u64 = crate::engine::flow::MOST as u64;

/// Reconciles until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut state = Reconciler::default();
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.link.world.clock.sleep(pace(&engine, PACE)) => {}
        }
        if let Err(fault) = state.round(&engine).await {
            tracing::debug!(%fault, "broker and store could not be compared; trying again");
            state.empty.clear();
        }
    }
}

#[derive(Debug, Default)]
struct Reconciler {
    /// Since when every look at a pair of lanes found it empty, and nobody with a delivery of it; by the normal one.
    empty: BTreeMap<Lane, Duration>,
    /// The last one that was looked at.
    last: Option<Lane>,
    /// Number of the queued job where the next round goes on.
    from: u64,
}

impl Reconciler {
    async fn round(&mut self, engine: &Engine) -> Result<(), Fault> {
        let link = &engine.link;
        // Those at sites first: a job that comes meanwhile is then counted twice rather than not at all.
        let mut queued = link.store.queued_at().await?;
        let mut placed: BTreeMap<Topic, u64> = BTreeMap::new();
        for (lane, count) in &queued {
            *placed.entry(lane.topic.clone()).or_default() += count;
        }
        for (topic, states) in link.store.counts().await? {
            let all = states.get(&State::Queued).copied().unwrap_or(0);
            let anywhere = all.saturating_sub(placed.get(&topic).copied().unwrap_or(0));
            if anywhere > 0 {
                queued.insert(topic.into(), anywhere);
            }
        }
        self.empty.retain(|lane, _| queued.contains_key(lane));
        // What consumers hold is counted before and after the lanes are: what moved meanwhile is counted twice rather
        // than not at all.
        let before = if queued.is_empty() { return Ok(()) } else { link.view().await? };
        let mut depths = BTreeMap::new();
        for normal in self.turn(&queued) {
            let mut depth = 0;
            for lane in normal.pair().iter().filter(|lane| !lane.high || engine.known.borrow().contains(lane)) {
                depth += link.broker.depth(lane).await?.unwrap_or(0);
            }
            depths.insert(normal.clone(), depth);
        }
        self.last = depths.keys().next_back().cloned();
        let after = link.view().await?;
        let now = link.world.clock.boot();
        let mut lanes = Vec::new();
        for (lane, depth) in depths {
            let held = held(&before, &lane) + held(&after, &lane);
            if depth + held > 0 {
                self.empty.remove(&lane);
                let reach: u64 = after.instances.iter().map(|card| PREFETCH * u64::from(card.slots)).sum();
                let copies = depth + held + reach;
                if queued.get(&lane).is_some_and(|jobs| *jobs > copies) {
                    lanes.push(Depleted { lane, copies: Some(copies) });
                }
                continue;
            }
            let since = *self.empty.entry(lane.clone()).or_insert(now);
            if now.saturating_sub(since) >= DRAINED {
                lanes.push(Depleted { lane, copies: None });
            }
        }
        if lanes.is_empty() {
            return Ok(());
        }
        self.republish(engine, lanes).await
    }

    /// The lanes whose turn it is.
    fn turn<'t>(&self, queued: &'t BTreeMap<Lane, u64>) -> Vec<&'t Lane> {
        let later = queued.keys().filter(|lane| self.last.as_ref().is_none_or(|last| *lane > last));
        let earlier = queued.keys().filter(|lane| self.last.as_ref().is_some_and(|last| *lane <= last));
        later.chain(earlier).take(LANES).collect()
    }

    async fn republish(&mut self, engine: &Engine, mut lanes: Vec<Depleted>) -> Result<(), Fault> {
        for _ in 0..CALLS {
            let done = engine.link.store.republish(&lanes, IN_FLIGHT_MS, self.from, LOOK).await?;
            self.from = done.next;
            if done.jobs > 0 {
                tracing::warn!(jobs = done.jobs, "the broker had lost the copies of queued jobs; they get new ones");
                engine.metrics.reconciled(done.jobs);
                engine.relay_now.notify_one();
                // The relay may have published them by the next call.
                for copies in lanes.iter_mut().filter_map(|lane| lane.copies.as_mut()) {
                    *copies += done.jobs;
                }
            }
            if self.from == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn held(view: &View, lane: &Lane) -> u64 {
    view.instances.iter().map(|card| card.holds(lane)).sum()
}
