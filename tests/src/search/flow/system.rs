//! What a state of the searched system consists of. No behaviour; see [`super`] for where that is.

use super::super::record::Slim;
use super::property::Property;
use longshore_model::record::State;

/// Jobs of one search, at most.
pub const JOBS: usize = 4;

/// The pause of the order 0.
pub(super) const HALT: u8 = 2;

/// One gate. The first pause is that of everything, the second that of the topic 0, the third that of the order 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Gate {
    /// One job of a key at a time.
    Order(u8),
    /// So many jobs at once.
    Limit(u8),
    /// Nothing passes.
    Pause(u8),
}

impl Gate {
    /// Every one.
    pub(super) const ALL: [Self; 7] = [
        Self::Order(0),
        Self::Order(1),
        Self::Limit(0),
        Self::Limit(1),
        Self::Pause(0),
        Self::Pause(1),
        Self::Pause(HALT),
    ];

    /// Its place in [`Flow::due`].
    pub(super) const fn bit(self) -> u8 {
        match self {
            Self::Order(number) => 1 << number,
            Self::Limit(number) => 4 << number,
            Self::Pause(number) => 16 << number,
        }
    }
}

/// Something that happens at most so often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process dies with its job.
    Crash,
    /// A lease ends while the handler runs on.
    Lease,
    /// Somebody stops or removes a job.
    Control,
    /// Somebody pauses.
    Pause,
    /// Somebody changes a limit.
    Limit,
    /// As long passes as a class of priority is worth.
    Age,
}

/// How often each fault may still happen.
pub type Left = [u8; 6];

/// One state of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    pub(in crate::search) jobs: [Job; JOBS],
    /// Who holds each order.
    pub(in crate::search) orders: [Option<u8>; 2],
    pub(in crate::search) limits: [Limit; 2],
    /// Everything; the topic 0; and the order 0.
    pub(in crate::search) paused: [bool; 3],
    /// What a judge knows: a job of the order 0 failed for good, and nobody has resumed it.
    pub(super) halted: bool,
    pub(super) key: Option<Key>,
    /// What a judge knows: a job was accepted for a period that has not passed.
    pub(super) period: bool,
    pub(super) slots: [Option<Run>; 2],
    /// Gates that the next promotion looks at, a bit each.
    pub(super) due: u8,
    /// Jobs that came to their gates so far.
    pub(super) accepted: u8,
    pub(super) left: Left,
    /// The first promise that was broken on the way here.
    pub(super) broken: Option<Property>,
}

/// One job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Job {
    pub(in crate::search) record: Option<Slim>,
    /// Its sender has not called yet.
    pub(super) to_send: bool,
    /// Where it waits, while it is blocked.
    pub(in crate::search) waits: Option<Gate>,
    /// Its place in lines, zero while it has none.
    pub(super) place: u8,
    /// The number under which it came to its gates, from 1.
    pub(super) came: u8,
    /// Whether the time that it waits for has passed.
    pub(super) ripe: bool,
    /// An attempt of it was started.
    pub(super) started: bool,
    /// Whose payload it has, and whose it should have.
    pub(super) payload: u8,
    pub(super) newest: u8,
    /// Nobody sent a newer payload for so long that it may start.
    pub(super) quiet: bool,
    /// For how long it has its place, in lengths of waiting that a class of priority is worth.
    pub(super) age: u8,
    /// What a judge knows: it waited behind a job of its order that failed for good, where such are skipped.
    pub(super) doomed: bool,
    /// What a judge knows: how often it failed in the way that has a rule, and that its time for retries is over.
    pub(super) ruled: u8,
    pub(super) late: bool,
}

/// A limit for one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Jobs at once; zero: any number.
    pub(super) max: u8,
    /// Whom it let through, a bit each.
    pub(in crate::search) holders: u8,
    /// Turns that have waiters, plus one, the next first.
    pub(super) turns: [u8; 2],
    /// What a judge knows: how many may run, which is more than `max` while those run that passed before it was lowered.
    pub(super) ceiling: u8,
    /// What a judge knows: how often each turn was passed over since it was let through, while it had waiters.
    pub(super) passed_over: [u8; 2],
}

/// The unique key's holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) job: u8,
    /// It is held for a time, which has not passed.
    pub(super) timed: bool,
}

/// A slot that runs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Run {
    pub(super) job: u8,
    pub(super) fence: u8,
    /// Its lease ended, and it does not know.
    pub(super) lost: bool,
}

impl Job {
    pub(in crate::search) fn state(&self) -> Option<State> {
        self.record.map(|record| record.state)
    }

    /// Accepted, and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.state().is_some_and(|state| !state.is_terminal())
    }

    /// Queued or running.
    pub(super) fn is_inside(&self) -> bool {
        self.state().is_some_and(State::holds_limits)
    }
}

impl Flow {
    pub(super) fn job(&mut self, job: u8) -> &mut Job {
        &mut self.jobs[usize::from(job)]
    }

    /// Spends a fault, if there is one left.
    pub(super) fn spend(&mut self, fault: Fault) -> bool {
        let left = &mut self.left[fault as usize];
        let there = *left > 0;
        *left -= u8::from(there);
        there
    }

    /// Jobs that wait at a gate.
    pub(super) fn waiting(&self, gate: Gate) -> impl Iterator<Item = u8> + '_ {
        (0..JOBS as u8).filter(move |job| self.jobs[usize::from(*job)].waits == Some(gate))
    }

    /// Makes equal what has the same future: places are ranks, and of what has ended nothing is asked.
    pub(super) fn tidy(&mut self) {
        for job in &mut self.jobs {
            if job.state().is_some_and(State::is_terminal) {
                let state = job.record;
                *job = Job { record: state, came: job.came, ..Job::default() };
            }
        }
        let mut places: Vec<u8> = self.jobs.iter().map(|job| job.place).filter(|place| *place > 0).collect();
        places.sort_unstable();
        for job in self.jobs.iter_mut().filter(|job| job.place > 0) {
            let rank = places.iter().filter(|place| **place <= job.place).count();
            job.place = u8::try_from(rank).unwrap_or(u8::MAX);
        }
    }
}
