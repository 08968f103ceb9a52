//! What a state of the searched system consists of. No behaviour; see [`super`] for where that is.

use super::plan::{Fault, Left};
use super::property::Property;
use super::record::Slim;

/// Room for messages of one job: what publishers may fill ([`super::Plan::messages`]), and for each slot what it holds
/// and the copy that it makes of it.
pub const MESSAGES: usize = 7;

/// One state of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct System {
    /// One or two jobs; two share a unique key.
    pub(super) jobs: [Job; 2],
    /// Two slots, of one instance or of two.
    pub(super) workers: [Worker; 2],
    /// What those who do duties are in the middle of, sorted: they have no identity.
    pub(super) duties: [Duty; 2],
    /// The store's unique key: the job that holds it.
    pub(super) key: Option<u8>,
    /// How often attempts may still be given back.
    pub(super) releases: u8,
    /// Faults that may still happen.
    pub(super) left: Left,
    /// What happened that allows more than usual.
    pub(super) happened: Happened,
    /// The first promise that was broken on the way here.
    pub(super) broken: Option<Property>,
}

/// Faults after which less is promised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Happened {
    /// The store forgot everything.
    pub(super) wiped: bool,
    /// A process stood still for longer than its lease.
    pub(super) paused: bool,
    /// The broker forgot every message.
    pub(super) emptied: bool,
    /// Anything that makes somebody lose what they hold.
    pub(super) disturbed: bool,
}

/// One job, in the store, in the broker and at its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Job {
    pub(super) record: Option<Slim>,
    pub(super) tombstone: bool,
    /// The fences that the store's clock has seen go by.
    pub(super) clock: u8,
    /// Those that nobody holds, sorted.
    pub(super) messages: [Option<Message>; MESSAGES],
    pub(super) sender: Sender,
    /// Where jobs run beside each other: the process, instance and incarnation, from which it was last taken back.
    pub(super) fallen: Option<(u8, u8)>,
    pub(super) seen: Seen,
}

/// What a judge remembers of a job; no part of the system reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The sender was told that it is accepted.
    pub(super) promised: bool,
    /// It reached a terminal state.
    pub(super) ended: bool,
    /// The largest fence that was handed out, or taken by taking an attempt away.
    pub(super) newest: u8,
    /// An attempt put it off: until it is published again it is the store's alone.
    pub(super) put_off: bool,
    /// While it is queued: a publish for its generation was confirmed.
    pub(super) confirmed: bool,
    /// How often it took its process down.
    pub(super) kills: u8,
}

/// One copy of a job in the broker. All have the same body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub(super) generation: u8,
    /// The fence that it carries.
    pub(super) floor: u8,
    /// Parked before, or delivered before: it may be the only copy.
    pub(super) flagged: bool,
    /// Rests in a parking place; else it is in its lane.
    pub(super) parked: bool,
}

/// What the sender of a job does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// There is no such job.
    Absent,
    /// It calls the store.
    Enqueue,
    /// It publishes, for a generation.
    Publish(u8),
    /// It tells the store that the publish was confirmed.
    Mark(u8),
    /// It knows its answer, or is gone.
    Done,
}

/// What somebody who does a duty does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Duty {
    /// Looks for something to do.
    Idle,
    /// Publishes a job that is in the outbox.
    Publish(Outgoing),
    /// Tells the store that the publish was confirmed.
    Mark(Outgoing),
    /// Holds a job that it took out of the store and has not put back (a mutant does).
    Push(u8),
}

/// A job as it was when it was read from the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outgoing {
    pub(super) job: u8,
    pub(super) generation: u8,
    pub(super) fence: u8,
}

/// A slot of an instance, with at most one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Worker {
    pub(super) incarnation: u8,
    pub(super) paused: bool,
    /// Cut off from the store.
    pub(super) cut: bool,
    pub(super) phase: Phase,
    pub(super) job: u8,
    pub(super) hold: Hold,
    pub(super) nonce: u8,
    /// Of the message that it got.
    pub(super) generation: u8,
    /// Of its attempt, zero before the claim.
    pub(super) fence: u8,
    /// The store took its commit, whether or not it knows.
    pub(super) committed: bool,
    /// It offers to run a suspect: the other slot of its instance starts nothing.
    pub(super) alone: bool,
}

/// What a slot does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Waits for a delivery.
    Idle,
    /// Claims.
    Claim,
    /// Runs the handler.
    Run,
    /// Parks a copy of a job that failed, before it tells the store.
    Park,
    /// Commits how the attempt ended.
    Commit(Ending),
    /// Publishes a job that is runnable again, for its new generation.
    Again(u8),
    /// Tells the store that this was confirmed.
    Mark(u8),
    /// Parks a copy of the delivery, in its place.
    Divert,
    /// Acknowledges.
    Ack,
}

/// What a slot has of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// The job came without a message: its copy is in its lane.
    Nothing,
    /// An unacknowledged delivery.
    Live(Message),
    /// The same, when a parked copy was confirmed in its place and it is to be acknowledged.
    Swapped(Message),
    /// The delivery's session is over, or it was acknowledged for a parked copy: a copy is somewhere else.
    Gone,
}

/// How a handler ended, as it is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ending {
    /// Done.
    Succeeded,
    /// Failed for good.
    Fatal,
    /// Failed; runs again after a delay, if retries are left.
    Failed,
    /// Failed; runs again at once, if retries are left.
    FailedNow,
    /// Failed in a way for which a rule says how often it is tried again; runs again at once, if it is.
    FailedAs(i32),
    /// Failed, and has a time for retries; runs again after a delay.
    FailedInTime,
    /// Given back, without a verdict.
    Released,
    /// Asks to be called later.
    Snoozed,
}

impl System {
    /// Spends a fault, if there is one left.
    pub(super) fn spend(&mut self, fault: Fault) -> bool {
        let there = self.left.spend(fault);
        if there && !matches!(fault, Fault::Reply | Fault::Duplicate | Fault::Slow | Fault::Control | Fault::Clock) {
            self.happened.disturbed = true;
        }
        there
    }

    /// Records a promise as broken, the first one only.
    pub(super) fn breaks(&mut self, property: Property) {
        self.broken.get_or_insert(property);
    }

    pub(super) fn job(&mut self, job: u8) -> &mut Job {
        &mut self.jobs[usize::from(job)]
    }
}

impl Job {
    pub(super) fn publish(&mut self, message: Message) -> bool {
        let Some(free) = self.messages.iter_mut().find(|place| place.is_none()) else { return false };
        *free = Some(message);
        self.messages.sort_unstable_by(|a, b| b.cmp(a));
        true
    }

    /// Different messages in the lane, or in the parking places.
    pub(super) fn lying(&self, parked: bool) -> impl Iterator<Item = Message> + use<> {
        let messages = self.messages;
        let new = move |index: &usize| *index == 0 || messages[*index] != messages[*index - 1];
        (0..MESSAGES).filter(new).filter_map(move |index| messages[index]).filter(move |it| it.parked == parked)
    }

    pub(super) fn take(&mut self, message: Message) {
        let place = self.messages.iter_mut().find(|place| **place == Some(message)).expect("it was just found");
        *place = None;
        self.messages.sort_unstable_by(|a, b| b.cmp(a));
    }

    pub(super) fn count(&self) -> usize {
        self.messages.iter().flatten().count()
    }
}

impl Worker {
    /// A slot that waits.
    pub(super) const fn idle(incarnation: u8) -> Self {
        Self {
            incarnation,
            paused: false,
            cut: false,
            phase: Phase::Idle,
            job: 0,
            hold: Hold::Nothing,
            nonce: 0,
            generation: 0,
            fence: 0,
            committed: false,
            alone: false,
        }
    }

    /// Gives up what it does; keeps what happened to it.
    pub(super) const fn forget(&mut self) {
        *self = Self { paused: self.paused, cut: self.cut, ..Self::idle(self.incarnation) };
    }

    /// The unacknowledged delivery.
    pub(super) const fn delivery(&self) -> Option<Message> {
        match self.hold {
            Hold::Live(message) | Hold::Swapped(message) => Some(message),
            Hold::Nothing | Hold::Gone => None,
        }
    }
}
