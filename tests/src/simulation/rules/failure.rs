//! What a final failure does to its order: one that halts starts nothing until somebody resumes it, one that skips
//! drops whoever waited behind the failure, and nobody else.

use super::judge::{Findings, Step};
use longshore_model::JobId;
use longshore_model::gate::{GateName, OnFailure, Pausable};
use longshore_model::record::{Reason, Record, State};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of failures and their orders.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// What is said, by the own limit of a queue.
    then: BTreeMap<GateName, OnFailure>,
    /// Orders that halt, and because of whom.
    halted: BTreeMap<GateName, JobId>,
    /// What somebody is about to resume.
    resumed: BTreeSet<Pausable>,
    /// Who is to be skipped, and because of whom.
    skipped: BTreeMap<JobId, JobId>,
}

/// What is paused where an order halts.
fn paused(order: &GateName) -> Pausable {
    let (queue, key) = (order.of().to_owned(), order.key().to_owned());
    if key.is_empty() { Pausable::Queue(queue) } else { Pausable::Key { queue, key } }
}

impl Failures {
    pub(super) fn then(&mut self, gate: GateName, then: OnFailure) {
        self.then.insert(gate, then);
    }

    /// Somebody is about to resume it.
    pub(super) fn resume(&mut self, what: &Pausable) {
        self.resumed.insert(what.clone());
    }

    pub(super) fn look(&mut self, step: &Step<'_>, found: &mut Findings) {
        for (before, after) in step.moves() {
            let failed = matches!(after.state, State::Error | State::GivenUp)
                && before.is_some_and(|before| !before.state.is_terminal());
            if failed && let Some(order) = &after.gates.order {
                self.failed(after, order, step, found);
            }
        }
        for job in step.entered() {
            let Some(order) = &job.gates.order else { continue };
            if let Some(failed) = self.halted.get(order) {
                found.wrong(format!("order {order} halts since {failed} failed, and {} goes on", job.id));
            }
            if let Some(failed) = self.skipped.get(&job.id) {
                found.wrong(format!("order {order}: {} was to be skipped since {failed} failed, and goes on", job.id));
            }
        }
        for (before, after) in step.moves() {
            let had = |reason| before.is_some_and(|before| before.reason == Some(reason));
            let has = |reason| after.reason == Some(reason) && !had(reason);
            if has(Reason::Skipped) && !self.skipped.contains_key(&after.id) {
                found.wrong(format!("job {} was skipped, and nobody before it had failed", after.id));
            }
            let halts = after.gates.order.as_ref().is_some_and(|order| self.halted.contains_key(order));
            if has(Reason::Paused) && !halts {
                found.wrong(format!("job {} waits for a pause that nobody ordered", after.id));
            }
        }
        let over: Vec<GateName> =
            self.halted.keys().filter(|order| !step.pauses.contains(&paused(order))).cloned().collect();
        for order in over {
            self.halted.remove(&order);
            if self.resumed.remove(&paused(&order)) {
                found.count("an order resumed");
            } else {
                found.wrong(format!("order {order} halted, and nobody resumed it"));
            }
        }
    }

    fn failed(&mut self, job: &Record, order: &GateName, step: &Step<'_>, found: &mut Findings) {
        let own = job.gates.of_queue(&job.queue);
        match own.and_then(|own| self.then.get(own)) {
            None | Some(OnFailure::Continue) => {}
            Some(OnFailure::Halt) => {
                found.count("an order halted");
                if !step.pauses.contains(&paused(order)) {
                    found.wrong(format!("order {order} did not halt when {} failed", job.id));
                }
                // Whoever resumed it before did not mean this failure.
                self.resumed.remove(&paused(order));
                self.halted.insert(order.clone(), job.id);
            }
            Some(OnFailure::Skip) => {
                let behind = step
                    .all_before()
                    .filter(|other| other.id != job.id && other.waits_at.as_ref().is_some_and(|at| at.gate == *order));
                for other in behind {
                    found.count("a job skipped");
                    self.skipped.insert(other.id, job.id);
                }
            }
        }
    }

    /// Whoever was to be skipped was.
    pub(super) fn end(&self, jobs: &BTreeMap<JobId, Record>, found: &mut Findings) {
        for (id, failed) in &self.skipped {
            let Some(job) = jobs.get(id) else { continue };
            if (job.state, job.reason) != (State::Dropped, Some(Reason::Skipped)) {
                found.wrong(format!("job {id} was to be skipped since {failed} failed: {job:?}"));
            }
        }
    }
}
