//! The state of the embedded store, and the rule by which every operation runs on it.
//!
//! One lock, one operation at a time, as in Redis. An operation sees one moment of the store's clock
//! (never smaller than the one before), and what it brought about for others (nudges) is sent before
//! the lock is let go. The operations themselves are in `admit`, `attempt`, `duty` and `find`.

use super::company::Fallen;
use super::deeds::Deeds;
use super::ears::Ears;
use super::epoch::Epoch;
use super::files::Files;
use super::fleet::Fleet;
use super::gates::Gates;
use super::outage::Outage;
use super::table::Table;
use super::unique::Keys;
use crate::store::Nudge;
use longshore_model::id::{Incarnation, InstanceId, JobId};
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::record::{Record, State};
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Event};
use std::collections::BTreeMap;
use tokio::sync::broadcast;

/// Nudges that a slow listener may be behind before it hears that some were lost.
const NUDGES: usize = 1_024;

/// Everything that the store knows.
#[derive(Debug, Default)]
pub(super) struct Core {
    pub(super) table: Table,
    pub(super) fleet: Fleet,
    /// When the leases of jobs may be taken back.
    pub(super) leases: Outage,
    /// What may be missing.
    pub(super) epoch: Epoch,
    /// How often it restarted.
    pub(super) restarts: u64,
    /// Jobs that are sent at times known before.
    pub(super) shelf: super::schedules::Shelf,
    /// The last renewal of each instance: by which incarnation, and when, ms.
    pub(super) renewals: BTreeMap<InstanceId, (Incarnation, u64)>,
    /// Orders, limits and pauses.
    pub(super) gates: Gates,
    /// When new unique keys are given again.
    pub(super) keys_wait: super::unique::KeysWait,
    /// How far scrubbing is.
    pub(super) scrub: super::scrub::Scrub,
    /// Unique keys.
    pub(super) keys: Keys,
    /// Who listens to events.
    pub(super) ears: Ears,
    /// What instances are asked.
    pub(super) questions: super::questions::Questions,
    /// What operators did.
    pub(super) deeds: Deeds,
    /// From whom attempts were taken back.
    pub(super) fallen: Fallen,
    /// Which job needs which blob.
    pub(super) files: Files,
    /// Known topics, and whether each has a high lane.
    pub(super) topics: BTreeMap<Topic, bool>,
    /// Lanes of sites, and when each was made use of last, ms.
    pub(super) sites: BTreeMap<Lane, u64>,
    /// Changes whenever a topic becomes known, or that there is one more lane of it, or one fewer; survives a wipe.
    pub(super) topics_version: u64,
    /// The moment of the operation that runs, us.
    pub(super) now_us: u64,
    /// Who looks at it after each operation.
    pub(super) watcher: super::watcher::Watcher,
    news: Vec<Nudge>,
    /// For one process each.
    letters: Vec<(u64, Nudge)>,
    processes: BTreeMap<u64, broadcast::Sender<Nudge>>,
    next_process: u64,
}

impl Core {
    /// Runs one operation.
    pub(super) fn operate<A>(&mut self, clock_us: u64, operation: impl FnOnce(&mut Self) -> A) -> A {
        self.now_us = clock_us.max(self.now_us + 1);
        let due = self.next_due();
        let answer = operation(self);
        self.open();
        self.show();
        if self.next_due().is_some_and(|next| due.is_none_or(|due| next < due)) {
            self.news.push(Nudge::Due);
        }
        self.spread();
        answer
    }

    /// The moment of the operation that runs, ms.
    pub(super) const fn now(&self) -> u64 {
        self.now_us / 1_000
    }

    /// Lets something happen to a job; one that would be queued by it waits in the store instead, where a gate does not
    /// let it pass.
    pub(super) fn apply(&mut self, id: &JobId, event: &Event) -> Option<Answer> {
        let before = self.table.get(id)?.record.generation;
        let answer = self.move_on(id, event)?;
        let record = &self.table.get(id)?.record;
        if record.state != State::Queued || record.generation == before {
            return Some(answer);
        }
        self.enter(id, false);
        let state = self.table.get(id)?.record.state;
        Some(if state == State::Blocked { Answer::Moved { state } } else { answer })
    }

    /// Lets something happen to a job whatever gates say; what it leaves may let others pass.
    pub(super) fn move_on(&mut self, id: &JobId, event: &Event) -> Option<Answer> {
        let record = &self.table.get(id)?.record;
        let was = record.state;
        if record.gates.is_empty() && record.waits_at.is_none() && record.unique.is_none() {
            let answer = self.table.apply(id, self.now_us, event);
            self.note(id, event, was);
            return answer;
        }
        let before = record.clone();
        let answer = self.table.apply(id, self.now_us, event)?;
        self.note(id, event, was);
        if let Some(entry) = self.table.get(id).filter(|entry| entry.record.state != before.state) {
            let after = entry.record.clone();
            self.gates.left(&before, &after, self.now_us);
            self.free_key(&after);
        }
        Some(answer)
    }

    /// Keeps what happened to a job without a process that tells it.
    fn note(&mut self, id: &JobId, event: &Event, was: State) {
        let now = self.now();
        if let Some(entry) = self.table.get(id).filter(|entry| entry.record.state != was) {
            self.ears.note(event, &entry.record, now);
        }
    }

    /// When there is something to promote, ms: a job that is due, or a gate that may be open.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.table.next_due().into_iter().chain(self.gates.next_wake()).min()
    }

    /// Tells every process, when the operation is done.
    pub(super) fn tell(&mut self, nudge: Nudge) {
        self.news.push(nudge);
    }

    /// Tells one process, when the operation is done.
    pub(super) fn tell_one(&mut self, process: u64, nudge: Nudge) {
        self.letters.push((process, nudge));
    }

    /// Makes a topic known, and that it has this lane. Whoever consumes it hears of it before anything is published there.
    pub(super) fn know(&mut self, lane: &Lane) {
        let before = self.topics.get(&lane.topic).copied();
        let high = lane.high && lane.site.is_none();
        let mut changed = before.is_none_or(|known| high && !known);
        if changed {
            self.topics.insert(lane.topic.clone(), high);
        }
        if lane.site.is_some() {
            changed |= self.sites.insert(lane.clone(), self.now()).is_none();
        }
        if changed {
            self.topics_version += 1;
            self.tell(Nudge::Topics);
        }
    }

    /// Whether one more lane of a site may be.
    pub(super) fn has_room(&self, lane: &Lane) -> bool {
        lane.site.is_none() || self.sites.contains_key(lane) || self.sites.len() < limits::SITES
    }

    /// How many queued jobs are to run at a site, by the normal lane of each topic and site.
    pub(super) fn queued_at(&self) -> BTreeMap<Lane, u64> {
        let mut queued = BTreeMap::new();
        for (_, id) in self.table.state(State::Queued) {
            let lane = self.table.get(&id).map(|entry| entry.record.lane()).filter(|lane| lane.site.is_some());
            if let Some(lane) = lane {
                *queued.entry(Lane { high: false, ..lane }).or_default() += 1;
            }
        }
        queued
    }

    /// Lets go of lanes of sites that nobody uses.
    pub(super) fn forget(&mut self, lanes: Vec<Lane>, idle_ms: u64) -> Vec<Lane> {
        let (queued, now) = (self.queued_at(), self.now());
        let idle = |since: &u64| since + idle_ms <= now;
        let mut gone = Vec::new();
        for lane in lanes {
            let free = !queued.contains_key(&Lane { high: false, ..lane.clone() });
            if free && self.sites.get(&lane).is_some_and(idle) {
                self.sites.remove(&lane);
                gone.push(lane);
            }
        }
        if !gone.is_empty() {
            self.topics_version += 1;
            self.tell(Nudge::Topics);
        }
        gone
    }

    /// One more process hears nudges.
    pub(super) fn join(&mut self) -> (u64, broadcast::Sender<Nudge>) {
        let (sender, _) = broadcast::channel(NUDGES);
        self.next_process += 1;
        self.processes.insert(self.next_process, sender.clone());
        (self.next_process, sender)
    }

    /// A process hears nothing more.
    pub(super) fn part(&mut self, process: u64) {
        self.processes.remove(&process);
    }

    /// Loses everything, as a store without its disk would: jobs, tombstones, topics and members. Those who listen
    /// hear that they may have missed something.
    pub(super) fn wipe(&mut self) -> Vec<Record> {
        let lost = std::mem::take(&mut self.table).records();
        self.fleet = Fleet::default();
        self.leases = Outage::default();
        self.gates = Gates::default();
        self.keys.clear();
        self.ears.clear();
        self.questions = super::questions::Questions::default();
        self.deeds.clear();
        self.keys_wait.shaken = true;
        self.files = Files::default();
        self.renewals.clear();
        self.fallen = Fallen::default();
        self.shelf = super::schedules::Shelf::default();
        self.scrub = super::scrub::Scrub::default();
        self.epoch = Epoch::default();
        self.leases.restart();
        self.fleet.outage.restart();
        self.restarts += 1;
        self.topics.clear();
        self.sites.clear();
        self.topics_version += 1;
        self.tell(Nudge::Missed);
        lost
    }

    /// Keeps everything, but nobody can know who beat meanwhile.
    pub(super) fn restart(&mut self) {
        self.declare_restart();
        self.tell(Nudge::Missed);
    }

    const fn declare_restart(&mut self) {
        self.restarts += 1;
        self.keys_wait.shaken = true;
        self.leases.restart();
        self.fleet.outage.restart();
        self.epoch.restart();
    }

    /// Nobody needs to listen: a send without receivers is not an error.
    fn spread(&mut self) {
        for (job, watchers) in self.table.take_ended() {
            for watcher in watchers {
                if let Some(process) = self.processes.get(&watcher) {
                    let _ = process.send(Nudge::Ended(job));
                }
            }
        }
        for (job, followers) in self.table.take_changed() {
            for process in followers.iter().filter_map(|follower| self.processes.get(follower)) {
                let _ = process.send(Nudge::Changed(job));
            }
        }
        for (process, nudge) in std::mem::take(&mut self.letters) {
            if let Some(process) = self.processes.get(&process) {
                let _ = process.send(nudge);
            }
        }
        for nudge in std::mem::take(&mut self.news) {
            for process in self.processes.values() {
                let _ = process.send(nudge.clone());
            }
        }
    }
}
