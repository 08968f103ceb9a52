//! The judge of rules: looks at the store after each of its operations, and says what was not allowed to happen.
//!
//! It knows what queues and jobs were meant to say from the load, and not from the store. What it judges is in
//! [`length`](super::length), [`failure`](super::failure), [`priority`](super::priority) and
//! [`retries`](super::retries), each of which sees one [`Step`] after the other.

use super::failure::Failures;
use super::length::Lengths;
use super::priority::Priorities;
use super::retries::Retries;
use longshore_link::embedded::Sight;
use longshore_model::gate::{LimitPolicy, Pausable};
use longshore_model::record::{Record, State};
use longshore_model::{JobId, gate::GateName};
use std::collections::{BTreeMap, BTreeSet};

/// What one operation of the store changed.
#[derive(Debug)]
pub(super) struct Step<'j> {
    /// Its number.
    pub(super) number: u64,
    /// Jobs as they are now.
    pub(super) jobs: &'j BTreeMap<JobId, Record>,
    /// Those that changed, as they were; `None`: they are new.
    old: &'j BTreeMap<JobId, Option<Record>>,
    /// What is paused now.
    pub(super) pauses: &'j BTreeSet<Pausable>,
}

impl Step<'_> {
    /// A job as it was before.
    pub(super) fn before(&self, id: &JobId) -> Option<&Record> {
        self.old.get(id).map_or_else(|| self.jobs.get(id), Option::as_ref)
    }

    /// Jobs as they were before.
    pub(super) fn all_before(&self) -> impl Iterator<Item = &Record> {
        self.jobs.keys().filter_map(|id| self.before(id))
    }

    /// Those that changed: as they were, if they were there, and as they are.
    pub(super) fn moves(&self) -> impl Iterator<Item = (Option<&Record>, &Record)> {
        self.old.iter().filter_map(|(id, old)| Some((old.as_ref(), self.jobs.get(id)?)))
    }

    /// Those that passed their gates in it, or were let run.
    pub(super) fn entered(&self) -> impl Iterator<Item = &Record> {
        let entered = |(before, after): (Option<&Record>, _)| {
            let was = before.is_some_and(|before| before.state.holds_limits());
            let is = |after: &&Record| after.state.holds_limits() && !was;
            Some(after).filter(is)
        };
        self.moves().filter_map(entered)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What is wrong.
    pub(super) wrong: Vec<String>,
    /// How often rules had something to say, by what they said.
    pub(super) counts: BTreeMap<&'static str, usize>,
}

impl Findings {
    pub(super) fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Judge {
    number: u64,
    jobs: BTreeMap<JobId, Record>,
    pub(super) lengths: Lengths,
    pub(super) failures: Failures,
    pub(super) priorities: Priorities,
    pub(super) retries: Retries,
    pub(super) found: Findings,
}

impl Judge {
    /// One that knows what the own limits of queues say.
    #[must_use]
    pub(super) fn new(policies: &[(String, LimitPolicy)]) -> Self {
        let mut judge = Self::default();
        for (name, policy) in policies {
            let gate = GateName::limit(name, "");
            if let Some(length) = policy.length {
                judge.lengths.bound(gate.clone(), length);
            }
            judge.failures.then(gate, policy.on_failure);
        }
        judge
    }

    /// Operations that it has seen.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// An operation is done.
    pub(super) fn look(&mut self, sight: &Sight<'_>) {
        let same = |known: &Record, now: &Record| {
            (known.state, known.generation, known.attempts) == (now.state, now.generation, now.attempts)
                && known.waits_at == now.waits_at
        };
        let changed: Vec<Record> = sight
            .records()
            .filter(|now| self.jobs.get(&now.id).is_none_or(|known| !same(known, now)))
            .cloned()
            .collect();
        self.step(changed, &sight.pauses().cloned().collect());
    }

    /// An operation is done that changed these jobs.
    pub(super) fn step(&mut self, changed: Vec<Record>, pauses: &BTreeSet<Pausable>) {
        self.number += 1;
        let mut old = BTreeMap::new();
        for record in changed {
            let id = record.id;
            old.insert(id, self.jobs.insert(id, record));
        }
        let step = Step { number: self.number, jobs: &self.jobs, old: &old, pauses };
        self.failures.look(&step, &mut self.found);
        if !old.is_empty() {
            self.lengths.look(&step, &mut self.found);
            self.priorities.look(&step, &mut self.found);
            self.retries.look(&step, &mut self.found);
        }
    }

    /// A sender was told that a queue is full, in a call that began after the operation of this number.
    pub(super) fn refused(&mut self, id: JobId, queue: &str, max: u32, since: u64) {
        self.lengths.refused(id, queue, max, since, &mut self.found);
    }

    /// Everything is over: what was wrong, and how often each rule had something to say.
    pub(super) fn end(&mut self) -> (Vec<String>, BTreeMap<&'static str, usize>) {
        self.lengths.end(&self.jobs, &mut self.found);
        self.failures.end(&self.jobs, &mut self.found);
        (std::mem::take(&mut self.found.wrong), std::mem::take(&mut self.found.counts))
    }
}

/// Whether a job waits, for whatever.
pub(super) const fn waits(state: State) -> bool {
    !state.is_terminal() && !matches!(state, State::Active)
}
