//! Sites: of which this instance is, and which lanes that makes its own.
//!
//! Owns the answer to three questions. Which lanes of sites are for this instance: those of its own sites, and those
//! of sites that others are rather to serve while nobody of these takes the topic. Whether it may start what it got:
//! the leader may have become another one since, and a message may have come by another way than its lane. And which
//! lanes of sites there were, should the store forget them.

use super::attempt::divert;
use super::{Engine, Phase};
use longshore_link::Fault;
use longshore_link::broker::{Delivery, Settler, Target};
use longshore_model::envelope::Envelope;
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::names::Park;
use longshore_model::placement::{Label, Origin, Site};
use longshore_model::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was let go of is forgotten here as well after so long.
pub(crate) const MEMORY: Duration = Duration::from_millis(limits::SITE_KEPT_MS);
/// A loss of the store is noticed so long after it at most.
const NOTICED: Duration = Duration::from_secs(60);

impl Engine {
    /// This instance, as a sender of jobs.
    pub(crate) fn origin(&self) -> Origin {
        Origin { cluster: Some(self.cluster.clone()), instance: Some(self.owner.instance.0.clone()) }
    }

    /// Whether this instance is of a site, as far as it has noticed.
    pub(crate) fn is_at(&self, site: &Site) -> bool {
        match site {
            Site::Cluster(cluster) => *cluster == self.cluster,
            Site::Instance(instance) => *instance == self.owner.instance.0,
            Site::Leader => *self.coordinator.borrow(),
            Site::Label(label) | Site::PreferLabel(label) => label.is_of(&self.labels),
        }
    }

    /// Whether this instance may start a job that runs there or not at all: who leads has to be able to prove it.
    fn may_serve(&self, site: &Site) -> bool {
        self.is_at(site) && (*site != Site::Leader || self.is_proven())
    }

    /// Whether this instance may start what a lane delivered: it may have ceased to lead since.
    pub(crate) fn may_start(&self, lane: &Lane) -> bool {
        lane.site.as_ref().is_none_or(|site| !site.is_firm() || self.may_serve(site))
    }

    /// The site of a job that runs there or not at all, where this instance is not of it.
    pub(crate) fn barred(&self, envelope: &Envelope) -> Option<Site> {
        if envelope.site.is_none() && envelope.queue.is_some() {
            return None;
        }
        envelope.site_in(&self.policies.get()).filter(|site| site.is_firm() && !self.may_serve(site))
    }

    /// Sites that this instance is of, whether or not it leads now.
    fn own_sites(&self) -> Vec<Site> {
        let mut sites =
            vec![Site::Cluster(self.cluster.clone()), Site::Instance(self.owner.instance.0.clone()), Site::Leader];
        for (name, value) in &self.labels {
            for value in [None, Some(value.clone())] {
                let label = Label { name: name.clone(), value };
                sites.extend([Site::Label(label.clone()), Site::PreferLabel(label)]);
            }
        }
        sites
    }
}

/// Of lanes whose topics this instance takes those that are for it. Who else is there is looked at only where it
/// matters.
pub(super) async fn choose(engine: &Engine, lanes: BTreeSet<Lane>) -> Result<BTreeSet<Lane>, Fault> {
    let (mut chosen, others): (BTreeSet<Lane>, BTreeSet<Lane>) =
        lanes.into_iter().partition(|lane| lane.site.as_ref().is_none_or(|site| engine.is_at(site)));
    let preferred: Vec<Lane> = others.into_iter().filter(is_preferred).collect();
    if preferred.is_empty() {
        return Ok(chosen);
    }
    let view = engine.link.view().await?;
    let is_open = |lane: &Lane| lane.site.as_ref().is_some_and(|site| view.at(site, &lane.topic).next().is_none());
    chosen.extend(preferred.into_iter().filter(is_open));
    Ok(chosen)
}

/// Whether others take a lane when nobody of its site does.
pub(super) fn is_preferred(lane: &Lane) -> bool {
    lane.site.as_ref().is_some_and(|site| !site.is_firm())
}

/// Sends a message on that this instance may not run: to the lane of its site, or to a rest where it came from there.
pub(super) async fn send_on(
    engine: &Engine,
    delivery: &Delivery,
    settler: &dyn Settler,
    envelope: &Envelope,
    site: Site,
) {
    let high = envelope.priority.is_some_and(|priority| priority.is_high());
    let lane = Lane { topic: envelope.topic.clone(), site: Some(site), high };
    if lane.site == delivery.lane.site {
        return divert(engine, delivery, settler, Target::Parked(Park::Short, delivery.lane.clone()), None).await;
    }
    tracing::debug!(job = %envelope.id, %lane, "a message came by another way than its lane; sending it there");
    // Whoever is of the site hears of the lane before anything is in it.
    while settler.is_live() && engine.phase() != Phase::Stopped {
        let known = engine.link.store.know(vec![lane.clone()]).await;
        match known {
            Ok(()) => {
                if let Err(fault) = engine.link.broker.declare(std::slice::from_ref(&lane)).await {
                    tracing::debug!(%lane, %fault, "the lane could not be declared; publishing all the same");
                }
                return divert(engine, delivery, settler, Target::Lane(lane), None).await;
            }
            Err(fault) => tracing::debug!(%lane, %fault, "the lane could not be made known; trying again"),
        }
        if !engine.pause(engine.link.world.random.jitter(Duration::from_secs(1))).await {
            return;
        }
    }
}

/// Lanes of sites that were known here.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// And since when they are not any more, by the boot clock.
    lanes: BTreeMap<Lane, Option<Duration>>,
    /// The loss after which the broker was searched last.
    searched: Option<Duration>,
}

impl Memory {
    /// These are known now.
    pub(super) fn note(&mut self, known: &BTreeSet<Lane>, now: Duration) {
        self.lanes.extend(known.iter().filter(|lane| lane.site.is_some()).map(|lane| (lane.clone(), None)));
        for (lane, gone) in &mut self.lanes {
            if !known.contains(lane) {
                gone.get_or_insert(now);
            }
        }
        self.lanes.retain(|_, gone| gone.is_none_or(|gone| now.saturating_sub(gone) < MEMORY));
    }

    /// Those that are not known any more.
    pub(super) fn gone(&self) -> BTreeSet<Lane> {
        self.lanes.iter().filter(|(_, gone)| gone.is_some()).map(|(lane, _)| lane.clone()).collect()
    }

    /// Those that the store has forgotten, and not let go of: it lost something not long ago, and they were known
    /// until then.
    pub(super) fn forgotten(&self, lost: Option<Duration>, now: Duration) -> Vec<Lane> {
        let Some(lost) = lost.filter(|lost| now.saturating_sub(*lost) < MEMORY) else { return Vec::new() };
        let by_it = |gone: &Duration| *gone + NOTICED >= lost;
        let gone = self.lanes.iter().filter(|(_, gone)| gone.as_ref().is_some_and(by_it));
        gone.map(|(lane, _)| lane.clone()).collect()
    }

    /// Lanes of this instance's own sites that the broker has, of topics that it takes: once after each loss, should
    /// nobody who knew of them have lived through it.
    pub(super) async fn search(&mut self, engine: &Engine, topics: &BTreeSet<Topic>) -> Vec<Lane> {
        let lost = *engine.lost.borrow();
        if lost.is_none() || lost == self.searched {
            return Vec::new();
        }
        let mut found = Vec::new();
        for topic in topics {
            for site in engine.own_sites() {
                let lanes = Lane { topic: topic.clone(), site: Some(site), high: false }.pair();
                for lane in lanes.into_iter().filter(|lane| lane.has_name() && !self.lanes.contains_key(lane)) {
                    match engine.link.broker.depth(&lane).await {
                        Ok(Some(_)) => found.push(lane),
                        Ok(None) => {}
                        Err(fault) => {
                            tracing::debug!(%lane, %fault, "lanes of sites could not be looked for; trying again");
                            return found;
                        }
                    }
                }
            }
        }
        self.searched = lost;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_lost_is_said_again_and_what_it_let_go_of_is_not() {
        let lane = |site: &str| Lane { site: Some(site.parse().unwrap()), ..Topic::new("a/b").unwrap().into() };
        let at = Duration::from_secs;
        let (kept, idle) = (lane("cluster:a"), lane("instance:b"));
        let mut memory = Memory::default();
        memory.note(&[kept.clone(), idle, Topic::new("a/b").unwrap().into()].into(), at(1_000));
        memory.note(&[kept.clone()].into(), at(1_100));
        assert!(memory.forgotten(None, at(1_100)).is_empty());
        // The store is wiped, which is seen before it is noticed.
        memory.note(&BTreeSet::new(), at(1_200));
        assert!(memory.forgotten(None, at(1_200)).is_empty());
        assert_eq!(memory.forgotten(Some(at(1_202)), at(1_203)), std::slice::from_ref(&kept));
        memory.note(&[kept].into(), at(1_203));
        assert!(memory.forgotten(Some(at(1_202)), at(1_204)).is_empty());
        // Long after the loss it is let go of.
        memory.note(&BTreeSet::new(), at(1_900));
        assert!(memory.forgotten(Some(at(1_202)), at(1_901)).is_empty());
        memory.note(&BTreeSet::new(), at(2_600));
        assert!(memory.lanes.is_empty());
    }
}
