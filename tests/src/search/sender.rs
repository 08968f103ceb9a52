//! The sender of a job: the store first, the broker second, then the mark. And the faults of the broker.

use super::mutant::Mutant;
use super::plan::Fault;
use super::store::Enqueued;
use super::system::{Hold, Message, Sender, System};
use super::{Model, Steps};
use longshore_model::record::State;

/// A message to be published.
#[derive(Clone, Copy)]
pub(super) struct Publish {
    pub(super) what: &'static str,
    pub(super) who: u8,
    pub(super) job: u8,
    pub(super) message: Message,
    /// Whether it waits while the broker has as many as the plan allows. A slot does not: it makes a copy of what it
    /// holds and will acknowledge.
    pub(super) waits: bool,
}

impl Model {
    /// What the senders can do.
    pub(super) fn send(&self, system: &System, into: &mut Steps) {
        for job in 0..2 {
            let sender = system.jobs[usize::from(job)].sender;
            match sender {
                Sender::Absent | Sender::Done => continue,
                // The mutant's order: the broker first.
                Sender::Enqueue if self.has(Mutant::PublishFirst) && system.jobs[usize::from(job)].count() == 0 => {
                    let mut next = *system;
                    next.job(job).publish(Message { generation: 1, floor: 0, flagged: false, parked: false });
                    next.job(job).sender = Sender::Publish(0);
                    self.step(into, "the sender publishes first", job, next);
                }
                Sender::Enqueue | Sender::Publish(0) => self.call(
                    system,
                    into,
                    ("the sender calls the store", job),
                    |system| self.enqueue(system, job),
                    |system, answer| self.enqueued(system, job, &answer),
                ),
                Sender::Publish(generation) => {
                    let message = Message { generation, floor: 0, flagged: false, parked: false };
                    let publish = Publish { what: "the sender publishes", who: job, job, message, waits: true };
                    self.publish(system, into, publish, |system, confirmed| {
                        let it = system.job(job);
                        // Without a confirm it is the relay's.
                        it.sender = if confirmed { Sender::Mark(generation) } else { Sender::Done };
                        it.seen.promised |= confirmed;
                    });
                }
                Sender::Mark(generation) => self.call(
                    system,
                    into,
                    ("the sender marks", job),
                    |system| self.published(system, job, generation),
                    |system, ()| system.job(job).sender = Sender::Done,
                ),
            }
            let mut dead = *system;
            if dead.spend(Fault::Sender) {
                dead.job(job).sender = Sender::Done;
                self.fault(into, "the sender dies", job, dead);
            }
        }
    }

    fn enqueued(&self, system: &mut System, job: u8, answer: &Enqueued) {
        let first = self.has(Mutant::PublishFirst);
        // What only the store holds is as durable as the store.
        let promised = !self.plan.wipes();
        let it = system.job(job);
        it.sender = match answer {
            Enqueued::Accepted { state: State::Queued, generation } if !first => Sender::Publish(*generation),
            _ => Sender::Done,
        };
        if matches!(answer, Enqueued::Accepted { .. }) {
            it.seen.promised |= promised;
        }
    }

    /// Publishes a message and goes on with whether the confirm came.
    pub(super) fn publish(
        &self,
        system: &System,
        into: &mut Steps,
        publish: Publish,
        then: impl Fn(&mut System, bool),
    ) {
        let Publish { what, who, job, message, waits } = publish;
        let mut next = *system;
        let full = waits && next.job(job).count() >= self.plan.messages;
        if full || !next.job(job).publish(message) {
            return;
        }
        let mut lost = next;
        if !message.parked {
            let it = next.job(job);
            it.seen.put_off = false;
            it.seen.confirmed |= it
                .record
                .is_some_and(|record| record.state == State::Queued && record.generation == message.generation);
        }
        then(&mut next, true);
        self.step(into, what, who, next);
        if lost.spend(Fault::Reply) {
            then(&mut lost, false);
            self.fault(into, what, who, lost);
        }
    }

    /// Copies come out of the parking places; the broker doubles and loses messages.
    pub(super) fn broker(&self, system: &System, into: &mut Steps) {
        for job in 0..2 {
            let it = system.jobs[usize::from(job)];
            for message in it.lying(true) {
                let mut next = *system;
                next.job(job).take(message);
                next.job(job).publish(Message { parked: false, ..message });
                self.step(into, "a parked copy returns", job, next);
            }
            for message in it.lying(false) {
                let mut next = *system;
                if it.count() < self.plan.messages && next.spend(Fault::Duplicate) {
                    next.job(job).publish(message);
                    self.fault(into, "a message is doubled", job, next);
                }
            }
        }
        let mut next = *system;
        if next.spend(Fault::Broker) {
            next.happened.emptied = true;
            for job in &mut next.jobs {
                job.messages = Default::default();
            }
            for worker in &mut next.workers {
                if worker.delivery().is_some() {
                    worker.hold = Hold::Gone;
                }
            }
            self.fault(into, "the broker loses every message", 0, next);
        }
    }
}
