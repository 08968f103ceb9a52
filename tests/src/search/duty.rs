//! The duties: relay, rescuer, promoter, reconciler and janitor. Whoever is free does any of them, two at once as well.

use super::mutant::Mutant;
use super::plan::Fault;
use super::sender::Publish;
use super::store::outgoing;
use super::system::{Duty, Hold, Message, Outgoing, Phase, Sender, System, Worker};
use super::{Label, Model, Steps};
use longshore_model::record::State;

impl Model {
    /// What those at the duties can do.
    pub(super) fn duties(&self, system: &System, into: &mut Steps) {
        let busy = system.duties.iter().filter(|duty| **duty != Duty::Idle).count();
        for place in 0..system.duties.len() {
            // Two that are in the same middle do the same.
            if place > 0 && system.duties[place] == system.duties[place - 1] {
                continue;
            }
            match system.duties[place] {
                Duty::Idle if busy >= self.plan.duties => {}
                Duty::Idle => (0..2).for_each(|job| self.look(system, into, place, job)),
                Duty::Publish(outgoing @ Outgoing { job, generation, fence }) => {
                    let message = Message { generation, floor: fence, flagged: false, parked: false };
                    let publish = Publish { what: "a duty publishes", who: job, job, message, waits: true };
                    self.publish(system, into, publish, |system, confirmed| {
                        // Without a confirm it stays in the outbox.
                        system.duties[place] = if confirmed { Duty::Mark(outgoing) } else { Duty::Idle };
                    });
                }
                Duty::Mark(Outgoing { job, generation, .. }) => self.call(
                    system,
                    into,
                    ("a duty marks", job),
                    |system| self.published(system, job, generation),
                    |system, ()| system.duties[place] = Duty::Idle,
                ),
                Duty::Push(job) => {
                    let mut next = *system;
                    if let Some(record) = &mut next.job(job).record {
                        record.due = true;
                    }
                    self.promote(&mut next, job);
                    next.duties[place] = outgoing(&next, job);
                    self.step(into, "the promoter pushes", job, next);
                }
            }
            let mut dead = *system;
            if system.duties[place] != Duty::Idle && dead.spend(Fault::Duty) {
                dead.duties[place] = Duty::Idle;
                self.fault(into, "a duty dies", 0, dead);
            }
        }
    }

    /// One that is free finds something to do.
    fn look(&self, system: &System, into: &mut Steps, place: usize, job: u8) {
        let it = &system.jobs[usize::from(job)];
        let Some(record) = it.record else { return };
        match record.state {
            State::Queued if record.outbox => {
                let mut next = *system;
                let grace = self.is_published(system, job, record.generation);
                if grace && !next.spend(Fault::Slow) {
                    return;
                }
                next.duties[place] = outgoing(system, job);
                if self.has(Mutant::MarkBeforeConfirm) {
                    self.published(&mut next, job, record.generation);
                }
                self.push(into, grace, Label { what: "the relay reads the outbox", who: job }, next);
            }
            State::Queued if it.lying(false).next().is_none() && !self.no_reconciler() => {
                let mut next = *system;
                let early = it.count() > 0 || self.is_published(system, job, record.generation) || held(system, job);
                if early && !next.spend(Fault::Slow) {
                    return;
                }
                self.reconcile(&mut next, job);
                self.push(into, early, Label { what: "the reconciler misses its message", who: job }, next);
            }
            State::Active if self.lease_may_end(system, job) && !self.no_rescuer() => self.call(
                system,
                into,
                ("the rescuer takes it back", job),
                |system| self.rescue(system, job),
                |system, publish| {
                    if publish {
                        system.duties[place] = outgoing(system, job);
                    }
                },
            ),
            State::Scheduled | State::Retrying if self.has(Mutant::PopThenPush) && record.due => {
                let mut next = *system;
                if let Some(record) = &mut next.job(job).record {
                    record.due = false;
                }
                next.duties[place] = Duty::Push(job);
                self.step(into, "the promoter pops", job, next);
            }
            State::Scheduled | State::Retrying if record.due => self.call(
                system,
                into,
                ("the promoter moves it", job),
                |system| self.promote(system, job),
                |system, publish| {
                    if publish {
                        system.duties[place] = outgoing(system, job);
                    }
                },
            ),
            state if state.is_terminal() && self.plan.purges => {
                let mut next = *system;
                self.purge(&mut next, job);
                self.step(into, "the janitor purges it", job, next);
            }
            _ => {}
        }
    }

    /// Whether somebody is publishing it for this generation, and in time if nothing holds them up.
    fn is_published(&self, system: &System, job: u8, generation: u8) -> bool {
        let of = |outgoing: Outgoing| outgoing.job == job && outgoing.generation == generation;
        let sender = system.jobs[usize::from(job)].sender;
        let duty = |duty: &Duty| matches!(duty, Duty::Publish(it) | Duty::Mark(it) if of(*it));
        let slot = |worker: &Worker| {
            let at_it = matches!(worker.phase, Phase::Again(it) | Phase::Mark(it) if it == generation);
            worker.job == job && at_it && worker.hold != Hold::Gone && !worker.paused && !worker.cut
        };
        matches!(sender, Sender::Publish(it) | Sender::Mark(it) if it == generation)
            || system.duties.iter().any(duty)
            || system.workers.iter().any(slot)
    }

    fn no_reconciler(&self) -> bool {
        self.has(Mutant::NoReconciler) || self.has(Mutant::PublishFirst)
    }

    fn no_rescuer(&self) -> bool {
        self.has(Mutant::BrokerDropsOnCrash) || self.has(Mutant::EarlyAck)
    }
}

/// Whether a slot has a message of a job and has not settled it yet.
fn held(system: &System, job: u8) -> bool {
    system.workers.iter().any(|worker| worker.job == job && worker.delivery().is_some())
}
