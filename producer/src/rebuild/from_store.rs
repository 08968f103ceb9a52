//! The broker from the store: lanes are declared, and topics with more queued jobs than copies are published again.
//!
//! Which jobs lack a copy cannot be seen without reading the lane, so that all queued jobs of such a topic get one: a
//! second copy is refused when it is claimed.
//!
//! What is scheduled or retrying stays in the store, which publishes it when its time has come. The spare copies of
//! retrying jobs, which would outlive a wiped store, come back with their next failure.

use crate::connect::Producer;
use longshore_link::broker::{Copies, Message};
use longshore_link::error::Fault;
use longshore_link::store::Depleted;
use longshore_model::ledger::Ledger;
use longshore_model::names::Park;
use longshore_model::{Lane, Site, State, Topic, limits};
use serde::Serialize;
use std::collections::BTreeMap;

/// Queued jobs that one call looks at.
const LOOK: usize = 1_000;
/// How long an outbox entry that is published here is kept from relays, ms.
const HOLD_MS: u64 = 30_000;

/// The queued jobs of the store beside their copies in the broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BrokerRebuild {
    /// Every known topic.
    pub lanes: Vec<LaneState>,
    /// Copies at rest, of any topic.
    pub parked: u64,
    /// Queued jobs in the outbox: on their way to the broker.
    pub outbox: u64,
    /// Fixed queues that do not exist.
    pub missing_queues: u64,
    /// Jobs that were published; 0 in a plan.
    pub published: u64,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneState {
    /// The topic.
    pub topic: Topic,
    /// Where its jobs are to run; absent for those that may run anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<Site>,
    /// Jobs that the store calls queued.
    pub queued: u64,
    /// Messages in the lane; `None`: there is no lane.
    pub lane: Option<u64>,
    /// Messages in the lane of urgent jobs; `None`: there is none.
    pub high: Option<u64>,
    /// Deliveries that instances say they hold.
    pub held: u64,
}

impl LaneState {
    /// How many jobs have no copy in a lane or with an instance. Some may be at rest, or on their way.
    #[must_use]
    pub fn without_copy(&self) -> u64 {
        self.queued.saturating_sub(self.lane.unwrap_or(0) + self.high.unwrap_or(0) + self.held)
    }
}

impl BrokerRebuild {
    /// How many jobs can have no copy anywhere: neither in a lane, nor with an instance, at rest or in the outbox. While
    /// jobs move a few may be counted so; what stays for longer than a copy rests (10 minutes) is lost, and the
    /// reconciler of any consumer, or a rebuild, gives it a new one.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let without: u64 = self.lanes.iter().map(LaneState::without_copy).sum();
        without.saturating_sub(self.parked + self.outbox)
    }
}

impl Producer {
    /// Compares queued jobs with their copies in the broker. Changes nothing.
    ///
    /// # Errors
    /// [`Fault`] when a service gives no answer.
    pub async fn compare_lanes(&self) -> Result<BrokerRebuild, Fault> {
        let link = self.link();
        let mut found = BrokerRebuild::default();
        for park in Park::ALL {
            match link.broker.count_copies(&Copies::Parked(park)).await? {
                Some(copies) => found.parked += copies,
                None => found.missing_queues += 1,
            }
        }
        let view = link.view().await?;
        let mut depths: BTreeMap<Lane, [Option<u64>; 2]> = BTreeMap::new();
        for lane in link.store.lanes().await? {
            let depth = link.broker.depth(&lane).await?;
            let high = usize::from(lane.high);
            depths.entry(Lane { high: false, ..lane }).or_default()[high] = depth;
        }
        // Read last, so that what was claimed meanwhile is not missed.
        let (at, ledger): (_, Ledger) = (link.store.queued_at().await?, link.store.ledger().await?);
        found.outbox = ledger.outbox;
        for (normal, [lane, high]) in depths {
            let held = view.instances.iter().map(|card| card.holds(&normal)).sum();
            let queued = if normal.site.is_some() {
                at.get(&normal).copied().unwrap_or(0)
            } else {
                let all = ledger.topics.get(&normal.topic).map_or(0, |account| account.of(State::Queued));
                let placed: u64 =
                    at.iter().filter(|(other, _)| other.topic == normal.topic).map(|(_, count)| count).sum();
                u64::try_from(all).unwrap_or(0).saturating_sub(placed)
            };
            let Lane { topic, site, .. } = normal;
            found.lanes.push(LaneState { topic, site, queued, lane, high, held });
        }
        Ok(found)
    }

    /// Rebuilds a broker that lost what it held: declares every lane, and publishes the queued jobs of
    /// every topic of which it has fewer copies than there are jobs.
    /// [`Self::compare_lanes`] is the plan. May be repeated: a job that was published anew before, by this or by a
    /// reconciler, rests for a minute after that, longer each time.
    ///
    /// # Errors
    /// [`Fault`] when a service gives no answer. What was done stays done.
    pub async fn rebuild_broker(&self) -> Result<BrokerRebuild, Fault> {
        let link = self.link();
        link.broker.declare(&link.store.lanes().await?).await?;
        let mut found = self.compare_lanes().await?;
        let lanes: Vec<Depleted> = found
            .lanes
            .iter()
            .filter(|lane| lane.without_copy() > 0)
            .map(|lane| {
                let lane = Lane { topic: lane.topic.clone(), site: lane.site.clone(), high: false };
                Depleted { lane, copies: None }
            })
            .collect();
        if !lanes.is_empty() {
            let mut from = 0;
            loop {
                from = link.store.republish(&lanes, 0, from, LOOK).await?.next;
                found.published += self.publish_outbox().await?;
                if from == 0 {
                    break;
                }
            }
        }
        found.published += self.publish_outbox().await?;
        self.record("rebuild broker", "", &[("published", found.published)]).await;
        Ok(found)
    }

    /// Publishes what is in the outbox now.
    async fn publish_outbox(&self) -> Result<u64, Fault> {
        let (link, mut published) = (self.link(), 0);
        loop {
            let outgoing = link.store.outbox(limits::BATCH, HOLD_MS).await?;
            if outgoing.is_empty() {
                return Ok(published);
            }
            let jobs: Vec<_> = outgoing.iter().map(|job| (job.id, job.generation)).collect();
            let answers = link.broker.publish(outgoing.into_iter().map(Message::from).collect()).await;
            let failed = answers.iter().find_map(|answer| answer.clone().err());
            let sent = jobs.into_iter().zip(answers).filter(|(_, answer)| answer.is_ok()).map(|(job, _)| job);
            let sent: Vec<_> = sent.collect();
            published += sent.len() as u64;
            link.store.published(sent).await?;
            if let Some(fault) = failed {
                return Err(fault);
            }
        }
    }
}
