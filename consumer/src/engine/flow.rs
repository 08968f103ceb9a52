//! How many messages of a lane may be here at once.
//!
//! Enough for the running ones, as many again to be at hand, and those whose commit is under way: three for each slot.
//! Where jobs are so quick that twice as many are worked off within half a second, nobody waits for them because they are
//! here, and as many may be: the broker then sends, and hears of, more of them at once.

use super::intake::Session;
use longshore_model::lane::Lane;
use std::time::Duration;

/// Messages for each slot.
const USUAL: usize = 3;
/// Messages for each slot where jobs are quick.
pub(crate) const MOST: usize = 6;
/// Jobs are quick when so many times the usual number began within [`WINDOW`].
const QUICK: usize = 4;
/// In what time they have to begin.
const WINDOW: Duration = Duration::from_secs(1);

/// What begins of a lane.
#[derive(Debug)]
pub(super) struct Flow {
    /// Since when it is counted.
    since: Duration,
    begun: usize,
    /// So many in a window are quick.
    enough: usize,
    quick: bool,
}

impl Session {
    /// How many of a lane's messages may be here at once, now.
    pub(super) fn prefetch(&self, lane: &Lane, lanes: usize) -> u16 {
        let quick = self.flows.get(lane).is_some_and(|flow| flow.quick);
        let share = u16::try_from(self.share(lane, lanes, if quick { MOST } else { USUAL })).unwrap_or(u16::MAX);
        self.narrow.get(lane).map_or(share, |most| share.min(*most))
    }

    fn share(&self, lane: &Lane, lanes: usize, times: usize) -> usize {
        let limit = self.engine.registry.choose(&lane.topic).and_then(|handler| handler.options.concurrency);
        let slots = limit.map_or(self.engine.slots, |limit| limit.min(self.engine.slots)).max(1);
        (times * self.engine.slots).div_ceil(lanes.max(1)).clamp(slots, times * slots)
    }

    fn flow(&self, lane: &Lane, quick: bool) -> Flow {
        let enough = QUICK * self.share(lane, self.registered.len(), USUAL);
        Flow { since: self.now(), begun: 0, enough, quick }
    }

    /// A job of the lane begins.
    pub(super) fn count(&mut self, lane: &Lane) {
        let now = self.now();
        let known = self.flows.get(lane);
        if known.is_none_or(|flow| !flow.quick && now.saturating_sub(flow.since) > WINDOW) {
            self.flows.insert(lane.clone(), self.flow(lane, false));
        }
        let Some(flow) = self.flows.get_mut(lane) else { return };
        flow.begun += 1;
        if !flow.quick && flow.begun == flow.enough && !self.narrow.contains_key(lane) {
            self.quick.push(lane.clone());
        }
    }

    /// Lets more of those lanes be here whose jobs have turned out to be quick.
    pub(super) async fn quicken(&mut self) {
        for lane in std::mem::take(&mut self.quick) {
            self.set_pace(lane, true).await;
        }
    }

    /// Looks again at those whose jobs were quick: no more than the usual number in a window are not.
    pub(super) async fn slow_down(&mut self) {
        self.flows.retain(|lane, _| self.registered.contains(lane));
        let now = self.now();
        let still = |flow: &Flow| {
            let windows = now.saturating_sub(flow.since).as_millis() / WINDOW.as_millis();
            (windows > 0).then_some((flow.begun * QUICK) as u128 > windows * flow.enough as u128)
        };
        let quick = self.flows.iter().filter(|(_, flow)| flow.quick);
        let looked: Vec<_> = quick.filter_map(|(lane, flow)| Some((lane.clone(), still(flow)?))).collect();
        for (lane, quick) in looked {
            self.set_pace(lane, quick).await;
        }
    }

    /// Counts the lane's jobs from now on, and lets as many be here as it takes.
    async fn set_pace(&mut self, lane: Lane, quick: bool) {
        self.flows.insert(lane.clone(), self.flow(&lane, quick));
        let room = self.prefetch(&lane, self.registered.len());
        if self.registered.contains(&lane) {
            self.make_room(lane, room).await;
        }
    }

    /// Lets so many of a registered lane's messages be here.
    pub(super) async fn make_room(&mut self, lane: Lane, room: u16) {
        if let Err(fault) = self.consumption.add(&lane, room).await {
            tracing::debug!(%lane, %fault, "the lane's room could not be changed; it will be registered again");
            self.registered.remove(&lane);
            self.retry_lanes = true;
        }
    }
}
