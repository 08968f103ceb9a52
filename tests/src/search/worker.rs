//! The slots of consumers: delivery, claim, run, commit, acknowledgement. Mutants of these rules are here.
//!
//! Every step is one call, or one thing that happens inside the process; whatever else there is comes between any two.

use super::mutant::Mutant;
use super::plan::Fault;
use super::property::Property;
use super::sender::Publish;
use super::store::Claimed;
use super::system::{Ending, Hold, Message, Phase, System, Worker};
use super::{Model, Steps, record};
use longshore_model::limits;
use longshore_model::record::State;
use longshore_model::transition::Answer;

impl Model {
    /// What the slots can do.
    pub(super) fn work(&self, system: &System, into: &mut Steps) {
        for slot in 0..self.plan.slots {
            let worker = &system.workers[slot];
            if worker.paused {
                self.paused(system, into, slot);
                continue;
            }
            if worker.cut {
                self.cut(system, into, slot);
            }
            let who = slot as u8;
            match worker.phase {
                Phase::Idle => self.deliver(system, into, slot),
                Phase::Claim if worker.hold == Hold::Gone => {
                    let mut next = *system;
                    next.workers[slot].forget();
                    self.step(into, "a slot drops what is not its any more", who, next);
                }
                Phase::Claim if !worker.cut => self.call(
                    system,
                    into,
                    ("a slot claims", who),
                    |system| self.claim(system, slot),
                    |system, claimed| self.claimed(system, slot, &claimed),
                ),
                Phase::Run => self.run(system, into, slot),
                Phase::Park => {
                    let message = self.copy(worker, worker.generation, true);
                    self.copy_out(system, into, slot, ("a slot parks a copy", message), |system, confirmed| {
                        if confirmed {
                            system.workers[slot].phase = Phase::Commit(Ending::Failed);
                        }
                    });
                }
                Phase::Commit(ending) if !worker.cut => self.call(
                    system,
                    into,
                    ("a slot commits", who),
                    |system| self.finish(system, slot, ending),
                    |system, answer| self.committed(system, slot, answer.as_ref()),
                ),
                Phase::Again(generation) if worker.hold != Hold::Gone => {
                    let message = self.copy(worker, generation, false);
                    self.copy_out(system, into, slot, ("a slot publishes", message), |system, confirmed| {
                        if confirmed {
                            system.workers[slot].phase = Phase::Mark(generation);
                        }
                    });
                }
                Phase::Mark(generation) if !worker.cut => self.call(
                    system,
                    into,
                    ("a slot marks", who),
                    |system| self.published(system, worker.job, generation),
                    |system, ()| system.workers[slot].phase = Phase::Ack,
                ),
                Phase::Divert if worker.hold != Hold::Gone => {
                    let floor = worker.delivery().map_or(worker.fence, |message| message.floor);
                    let message = Message { floor, ..self.copy(worker, worker.generation, true) };
                    self.copy_out(system, into, slot, ("a slot diverts", message), |system, confirmed| {
                        if confirmed {
                            system.workers[slot].phase = Phase::Ack;
                        }
                    });
                }
                Phase::Ack | Phase::Again(_) | Phase::Divert => {
                    let mut next = *system;
                    self.acknowledge(&mut next, slot);
                    next.workers[slot].forget();
                    self.step(into, "a slot acknowledges", who, next);
                }
                Phase::Claim | Phase::Commit(_) | Phase::Mark(_) => {}
            }
        }
        self.disturb_workers(system, into);
    }

    fn deliver(&self, system: &System, into: &mut Steps, slot: usize) {
        let sibling = &system.workers[1 - slot];
        let shared = self.plan.one_instance && self.plan.slots > 1;
        if system.workers[slot].cut || shared && sibling.alone && !self.has(Mutant::CompanyForSuspects) {
            return;
        }
        // Who has nothing else to run offers to run a suspect.
        // Only what the store refuses is known to be one.
        let told = !self.has(Mutant::SuspectAnywhere);
        let alone = told && (!shared || sibling.phase == Phase::Idle || self.has(Mutant::CompanyForSuspects));
        for job in 0..2 {
            let it = &system.jobs[usize::from(job)];
            let start = |next: &mut System, hold, generation| {
                let nonce = self.fresh_nonce(next, slot, job);
                let next_record = next.job(job).record;
                let worker = &mut next.workers[slot];
                let suspect = next_record.is_some_and(|record| u32::from(record.crashes) >= limits::SUSPECT_CRASHES);
                *worker =
                    Worker { phase: Phase::Claim, job, hold, nonce, generation, alone: alone && suspect, ..*worker };
            };
            for message in it.lying(false) {
                let mut next = *system;
                next.job(job).take(message);
                start(&mut next, Hold::Live(message), message.generation);
                self.step(into, "a slot gets a message", slot as u8, next);
            }
            let taken_back = |record: &super::record::Slim| {
                record.state == State::Queued && !record.outbox && record.crashes > 0 && self.plan.runs_here
            };
            if let Some(record) = it.record.filter(taken_back) {
                let mut next = *system;
                start(&mut next, Hold::Nothing, record.generation);
                self.step(into, "a slot takes what its instance took back", slot as u8, next);
            }
        }
    }

    /// A nonce that tells a new delivery from the one under which the job is held, and from another slot's.
    fn fresh_nonce(&self, system: &System, slot: usize, job: u8) -> u8 {
        let mine = |nonce| self.holder(slot, &Worker { nonce, ..system.workers[slot] });
        let other = 1 - slot;
        let held = system.jobs[usize::from(job)].record.and_then(|record| record.holder);
        let theirs = self.holder(other, &system.workers[other]);
        (0..3).find(|nonce| Some(mine(*nonce)) != held && mine(*nonce) != theirs).expect("two of three can be taken")
    }

    /// The start of an instance after the one that holds jobs, or held them when it died.
    fn fresh_incarnation(&self, system: &System, slot: usize) -> u8 {
        let worker = &system.workers[slot];
        let instance = self.holder(slot, worker).instance;
        let holders = system.jobs.iter().filter_map(|job| job.record.and_then(|record| record.holder));
        let held =
            |number: u8| holders.clone().any(|holder| holder.instance == instance && holder.incarnation == number);
        let fallen = |number: u8| system.jobs.iter().any(|job| job.fallen == Some((instance, number)));
        (0..5).find(|number| !held(*number) && !fallen(*number)).expect("two of five can be held, and two be fallen")
    }

    fn claimed(&self, system: &mut System, slot: usize, claimed: &Claimed) {
        let worker = system.workers[slot];
        let flagged = worker.delivery().is_some_and(|message| message.flagged);
        let phase = match claimed {
            Claimed::Known(Answer::Run { fence, .. }) => {
                system.workers[slot].fence = record::number(*fence);
                if self.has(Mutant::EarlyAck) {
                    self.acknowledge(system, slot);
                }
                Phase::Run
            }
            Claimed::Known(Answer::Busy { .. }) if self.has(Mutant::AckOnBusy) => Phase::Ack,
            Claimed::Known(Answer::Busy { .. } | Answer::Elsewhere { .. }) => Phase::Divert,
            Claimed::Known(Answer::Waiting { .. }) if flagged && !self.has(Mutant::AckOnWaiting) => Phase::Divert,
            // The newer copy that would make it superfluous is not in the broker yet.
            Claimed::Unpublished if !self.has(Mutant::AckOnOutdated) => Phase::Divert,
            _ => Phase::Ack,
        };
        system.workers[slot].phase = phase;
        if worker.hold == Hold::Nothing && phase != Phase::Run {
            // It had no message: somebody else got it from its lane.
            system.workers[slot].forget();
        }
    }

    fn run(&self, system: &System, into: &mut Steps, slot: usize) {
        let (worker, who) = (&system.workers[slot], slot as u8);
        for ending in &self.plan.endings {
            let mut next = *system;
            if matches!(ending, Ending::Released | Ending::Snoozed) {
                if next.releases == 0 {
                    continue;
                }
                next.releases -= 1;
            }
            let parks = *ending == Ending::Failed && worker.hold != Hold::Gone && !self.has(Mutant::RetryWithoutCopy);
            next.workers[slot].phase = if parks { Phase::Park } else { Phase::Commit(*ending) };
            if self.has(Mutant::AckBeforeCommit) {
                self.acknowledge(&mut next, slot);
            }
            self.step(into, ending.what(), who, next);
        }
        if let (Hold::Swapped(_), mut next) = (worker.hold, *system) {
            self.acknowledge(&mut next, slot);
            self.step(into, "a slot acknowledges what it swapped", who, next);
        }
        if let (Hold::Live(message), true) = (worker.hold, self.plan.swaps) {
            if self.has(Mutant::SwapWithoutCopy) {
                let mut next = *system;
                self.acknowledge(&mut next, slot);
                self.step(into, "a slot acknowledges at the longest hold", who, next);
            } else {
                let copy = self.copy(worker, worker.generation, true);
                self.copy_out(system, into, slot, ("a slot swaps its delivery", copy), |system, confirmed| {
                    if confirmed {
                        system.workers[slot].hold = Hold::Swapped(message);
                    }
                });
            }
        }
        if !worker.cut {
            let mut next = *system;
            let renewed = matches!(self.renew(&mut next, slot), Some(Answer::Renewed { .. }));
            if !renewed && !self.adopt(&mut next, slot) {
                // The attempt was taken away: its handler is told to end.
                next.workers[slot].phase = Phase::Commit(Ending::Released);
            }
            if next != *system {
                self.step(into, "a slot beats", who, next);
            }
        }
    }

    fn committed(&self, system: &mut System, slot: usize, answer: Option<&Answer>) {
        let generation = system.job(system.workers[slot].job).record.map_or(0, |record| record.generation);
        system.workers[slot].phase = match answer {
            Some(Answer::Moved { state: State::Queued } | Answer::Already { state: State::Queued }) => {
                if self.has(Mutant::AckBeforePublish) {
                    self.acknowledge(system, slot);
                }
                Phase::Again(generation)
            }
            Some(Answer::Stale { state }) if !state.is_terminal() && !self.has(Mutant::AckOnStale) => Phase::Divert,
            _ => Phase::Ack,
        };
    }

    /// A copy of what a slot holds, with the fence of its attempt.
    fn copy(&self, worker: &Worker, generation: u8, parked: bool) -> Message {
        let floor = if self.has(Mutant::CopyWithoutFence) { 0 } else { worker.fence };
        Message { generation, floor, flagged: parked, parked }
    }

    fn copy_out(
        &self,
        system: &System,
        into: &mut Steps,
        slot: usize,
        (what, message): (&'static str, Message),
        then: impl Fn(&mut System, bool),
    ) {
        let publish = Publish { what, who: slot as u8, job: system.workers[slot].job, message, waits: false };
        self.publish(system, into, publish, then);
    }

    /// Acknowledges the delivery of a slot, if it still has one.
    fn acknowledge(&self, system: &mut System, slot: usize) {
        let worker = system.workers[slot];
        if worker.delivery().is_none() {
            return;
        }
        system.workers[slot].hold = Hold::Gone;
        let elsewhere = system.workers.iter().any(|it| it.job == worker.job && it.delivery().is_some());
        let job = &system.jobs[usize::from(worker.job)];
        if !(system.happened.emptied || job.seen.ended || job.seen.put_off || elsewhere || job.count() > 0) {
            self.breaks(system, Property::AckRule);
        }
    }

    fn paused(&self, system: &System, into: &mut Steps, slot: usize) {
        let mut next = *system;
        for member in self.members(slot) {
            next.workers[member].paused = false;
        }
        self.step(into, "an instance goes on", slot as u8, next);
        if system.workers[slot].delivery().is_some() {
            let mut next = *system;
            self.session_ends(&mut next, slot);
            self.step(into, "the broker gives up on an instance", slot as u8, next);
        }
    }

    fn cut(&self, system: &System, into: &mut Steps, slot: usize) {
        let mut next = *system;
        for member in self.members(slot) {
            next.workers[member].cut = false;
        }
        self.step(into, "an instance reaches the store again", slot as u8, next);
        if system.workers[slot].phase == Phase::Run {
            let mut next = *system;
            next.workers[slot].phase = Phase::Commit(Ending::Released);
            self.step(into, "an instance in doubt stops its handler", slot as u8, next);
        }
    }

    /// The slots of the same instance.
    fn members(&self, slot: usize) -> std::ops::Range<usize> {
        if self.plan.one_instance { 0..2 } else { slot..slot + 1 }
    }

    /// The broker takes an unacknowledged delivery back.
    fn session_ends(&self, system: &mut System, slot: usize) {
        let worker = system.workers[slot];
        if let Some(message) = worker.delivery() {
            system.workers[slot].hold = Hold::Gone;
            if !self.has(Mutant::BrokerDropsOnCrash) {
                let back = Message { flagged: true, parked: false, ..message };
                assert!(system.job(worker.job).publish(back), "there is room for what is held");
            }
        }
    }

    fn disturb_workers(&self, system: &System, into: &mut Steps) {
        for slot in 0..system.workers.len() {
            let who = slot as u8;
            let worker = &system.workers[slot];
            let first = self.members(slot).start == slot;
            let busy = self.members(slot).any(|slot| system.workers[slot].phase != Phase::Idle);
            if first && busy {
                let mut dead = *system;
                if dead.spend(Fault::Worker) {
                    for member in self.members(slot) {
                        self.session_ends(&mut dead, member);
                        dead.workers[member] = Worker::idle(self.fresh_incarnation(system, slot));
                    }
                    self.fault(into, "an instance dies", who, dead);
                }
                let runs = |slot: usize| system.workers[slot].phase == Phase::Run && system.workers[slot].job == 0;
                let mut poisoned = *system;
                if self.members(slot).any(runs) && poisoned.spend(Fault::Poison) {
                    for member in self.members(slot) {
                        self.session_ends(&mut poisoned, member);
                        poisoned.workers[member] = Worker::idle(self.fresh_incarnation(system, slot));
                    }
                    poisoned.job(0).seen.kills += 1;
                    if poisoned.job(0).seen.kills + self.plan.crashes > 3 {
                        self.breaks(&mut poisoned, Property::Kills);
                    }
                    self.fault(into, "a job takes down its instance", who, poisoned);
                }
                let mut paused = *system;
                if !worker.paused && paused.spend(Fault::Pause) {
                    paused.happened.paused = true;
                    for member in self.members(slot) {
                        paused.workers[member].paused = true;
                    }
                    self.fault(into, "an instance stands still", who, paused);
                }
                let mut cut = *system;
                if !worker.cut && cut.spend(Fault::Cut) {
                    for member in self.members(slot) {
                        cut.workers[member].cut = true;
                    }
                    self.fault(into, "an instance loses the store", who, cut);
                }
            }
            let mut blip = *system;
            if worker.delivery().is_some() && blip.spend(Fault::Blip) {
                self.session_ends(&mut blip, slot);
                self.fault(into, "a session with the broker ends", who, blip);
            }
        }
    }
}

impl Ending {
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Succeeded => "a handler succeeds",
            Self::Fatal => "a handler fails for good",
            Self::Failed => "a handler fails",
            Self::FailedNow => "a handler fails, to run again at once",
            Self::FailedAs(_) => "a handler fails in a way that has a rule",
            Self::FailedInTime => "a handler fails that has a time for retries",
            Self::Released => "a handler is interrupted by a drain",
            Self::Snoozed => "a handler asks to be called later",
        }
    }
}
