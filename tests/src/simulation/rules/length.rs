//! The length of a queue: when a job comes in, no more wait than may; who is refused, or dropped, is so for a reason.
//!
//! Only where a new job comes in is the bound kept: what was accepted comes back for its retries in any case.

use super::judge::{Findings, Step, waits};
use longshore_model::JobId;
use longshore_model::gate::{GateName, Length, WhenFull};
use longshore_model::record::{Reason, Record, State};
use std::collections::{BTreeMap, BTreeSet};

/// What is known of the lengths of queues.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    bounds: BTreeMap<GateName, Length>,
    /// The operation that accepted a job.
    came: BTreeMap<JobId, u64>,
    /// Queues that have been full, and the operation that ended it; `None`: they are.
    full: BTreeMap<GateName, Option<u64>>,
    refused: BTreeSet<JobId>,
}

fn is_of(gate: &GateName, record: &Record) -> bool {
    record.gates.of_queue(&record.queue) == Some(gate)
}

impl Lengths {
    pub(super) fn bound(&mut self, gate: GateName, length: Length) {
        self.bounds.insert(gate, length);
    }

    pub(super) fn look(&mut self, step: &Step<'_>, found: &mut Findings) {
        for (before, after) in step.moves() {
            if before.is_none() {
                self.came.insert(after.id, step.number);
            }
        }
        for (gate, length) in &self.bounds {
            let max = length.max as usize;
            let waiting = step.jobs.values().filter(|job| is_of(gate, job) && waits(job.state)).count();
            if waiting >= max {
                self.full.insert(gate.clone(), None);
            } else if let Some(until) = self.full.get_mut(gate) {
                until.get_or_insert(step.number);
            }
            let new = step.moves().filter(|(before, after)| before.is_none() && is_of(gate, after)).count();
            if new > 0 && waiting > max {
                found.wrong(format!("queue {gate}: a job came in and {waiting} wait, which may be {max}"));
            }
            self.judge_displaced(gate, *length, new, step, found);
        }
    }

    fn judge_displaced(&self, gate: &GateName, length: Length, new: usize, step: &Step<'_>, found: &mut Findings) {
        let displaced: Vec<(Option<&Record>, &Record)> = step
            .moves()
            .filter(|(_, after)| is_of(gate, after) && after.reason == Some(Reason::Displaced))
            .filter(|(before, _)| before.is_none_or(|before| !before.state.is_terminal()))
            .collect();
        let before = step.all_before().filter(|job| is_of(gate, job) && waits(job.state)).count();
        if displaced.len() > (before + new).saturating_sub(length.max as usize) {
            let (count, max) = (displaced.len(), length.max);
            found.wrong(format!("queue {gate}: {count} were dropped for {new}, where {before} waited of {max}"));
        }
        for (before, after) in displaced {
            found.count("a job displaced");
            let waited = before.is_some_and(|before| waits(before.state));
            if after.state != State::Dropped || !waited || length.full == WhenFull::Refuse {
                found.wrong(format!("queue {gate}: a job was displaced that may not be: {before:?}, now {after:?}"));
            }
            let came = self.came.get(&after.id);
            let older = |job: &&Record| {
                is_of(gate, job)
                    && waits(job.state)
                    && step.before(&job.id).is_some_and(|before| waits(before.state))
                    && self.came.get(&job.id) < came
            };
            if let Some(older) = step.jobs.values().find(older) {
                found.wrong(format!("queue {gate}: {} was displaced, and {} is older", after.id, older.id));
            }
        }
    }

    pub(super) fn refused(&mut self, id: JobId, queue: &str, max: u32, since: u64, found: &mut Findings) {
        found.count("a job refused");
        self.refused.insert(id);
        let bound = self.bounds.iter().find(|(gate, _)| gate.of().strip_prefix("queue.") == Some(queue));
        let meant = bound.is_some_and(|(_, length)| *length == Length { max, full: WhenFull::Refuse });
        let until = bound.and_then(|(gate, _)| self.full.get(gate));
        let full = until.is_some_and(|until| until.is_none_or(|until| until > since));
        if !meant || !full {
            found.wrong(format!("job {id} was refused, as if {max} waited in queue {queue}"));
        }
    }

    /// Who was refused never was there.
    pub(super) fn end(&self, jobs: &BTreeMap<JobId, Record>, found: &mut Findings) {
        for id in self.refused.iter().filter(|id| jobs.contains_key(id)) {
            found.wrong(format!("job {id} was refused, and is there"));
        }
    }
}
