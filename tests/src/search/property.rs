//! What must hold, by the numbers of the protocol's invariants, and the judge that looks at every state.

use super::Model;
use super::mutant::Mutant;
use super::system::{Phase, System};
use longshore_model::record::State;
use std::fmt;

/// A promise of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Property {
    /// I1: from every state in which an accepted job has not ended, it can end without a further fault.
    NoLoss,
    /// I3: a job ends once.
    EndsOnce,
    /// I3: only the attempt with the newest fence commits, and nobody is told that it committed who did not.
    Fenced,
    /// I4: two attempts run at once only after a process stood still for longer than its lease.
    NoOverlap,
    /// I5: a queued job is in the outbox, or a publish for its generation was confirmed.
    Outbox,
    /// I6: nothing runs after it ended.
    NoRunAfterEnd,
    /// I7: a crash is counted only when something happened to who ran the job.
    Blame,
    /// I8: one job at a time holds a unique key, and nobody is refused because of itself.
    Unique,
    /// I8: no unique key outlives its job.
    KeyFreed,
    /// I12: a message is acknowledged when its job has ended, or when another copy is in the broker.
    AckRule,
    /// I13: a later fence is greater.
    FencesGrow,
    /// A job that takes down its processes does so three times at most.
    Kills,
    /// A job that was only beside it is not given up.
    Innocent,
}

impl Property {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::NoLoss,
        Self::EndsOnce,
        Self::Fenced,
        Self::NoOverlap,
        Self::Outbox,
        Self::NoRunAfterEnd,
        Self::Blame,
        Self::Unique,
        Self::KeyFreed,
        Self::AckRule,
        Self::FencesGrow,
        Self::Kills,
        Self::Innocent,
    ];

    /// Whether nothing is promised any more once the store forgot everything: then jobs may run again.
    const fn ends_with_a_wipe(self) -> bool {
        !matches!(self, Self::NoLoss | Self::KeyFreed | Self::FencesGrow)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLoss => "I1: an accepted job is lost",
            Self::EndsOnce => "I3: a job ended twice",
            Self::Fenced => "I3: a stale result was accepted, or a commit was confirmed that was none",
            Self::NoOverlap => "I4: two attempts ran at once though nobody stood still",
            Self::Outbox => "I5: a queued job is neither in the outbox nor was its publish confirmed",
            Self::NoRunAfterEnd => "I6: a job ran after it had ended",
            Self::Blame => "I7: a crash was counted though nothing had happened",
            Self::Unique => "I8: two jobs held one unique key, or a job was refused because of itself",
            Self::KeyFreed => "I8: a unique key outlived its job",
            Self::AckRule => "I12: the only copy of a job that had not ended was acknowledged",
            Self::FencesGrow => "I13: a fence was not greater than the one before",
            Self::Kills => "I7: a job took down a fourth process",
            Self::Innocent => "I7: a job was given up that only ran beside another",
        })
    }
}

impl Model {
    /// Notes that a promise is broken, if it is promised in this state and looked at in this search.
    pub(super) fn breaks(&self, system: &mut System, property: Property) {
        let off = system.happened.wiped && property.ends_with_a_wipe();
        if !off && self.only.is_none_or(|only| only == property) {
            system.breaks(property);
        }
    }

    /// Looks at what can be seen from a state alone. The rest is noticed where it happens.
    pub(super) fn judge(&self, system: &mut System) {
        let running = |job: usize| {
            let at_it = |worker: &&super::system::Worker| worker.phase == Phase::Run && usize::from(worker.job) == job;
            system.workers.iter().filter(at_it).count()
        };
        if !system.happened.paused && (running(0) > 1 || running(1) > 1) {
            self.breaks(system, Property::NoOverlap);
        }
        let (mut holders, mut unpublished) = (0, false);
        for job in &system.jobs {
            let Some(record) = job.record else { continue };
            holders += usize::from(!record.state.is_terminal());
            unpublished |= record.state == State::Queued && !record.outbox && !job.seen.confirmed;
        }
        if unpublished {
            self.breaks(system, Property::Outbox);
        }
        if self.plan.keyed && holders > 1 {
            self.breaks(system, Property::Unique);
        }
        if let Some(holder) = system.key
            && system.jobs[usize::from(holder)].record.is_none_or(|record| record.state.is_terminal())
        {
            self.breaks(system, Property::KeyFreed);
        }
    }

    /// Whether the searched system has this mistake.
    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}
