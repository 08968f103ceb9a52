//! Checks of what is left when everything has ended: indexes, counters, keys, queues, processes.

use super::Case;
use longshore_model::{JobId, State};
use std::collections::{BTreeMap, BTreeSet};

/// Every job is in the index of its state and in no other, and in those of open jobs and the outbox only as its state
/// demands.
pub(super) fn indexes(case: &Case<'_>, found: &mut Vec<String>) {
    let last = case.last;
    let mut indexed: BTreeMap<JobId, Vec<State>> = BTreeMap::new();
    for (state, ids) in &last.by_state {
        for id in ids {
            indexed.entry(*id).or_default().push(*state);
        }
    }
    for (id, job) in &last.jobs {
        let states = indexed.remove(id).unwrap_or_default();
        if states != [job.state] {
            found.push(format!("job {id} is {} and in the indexes of {states:?}", job.state));
        }
    }
    found.extend(indexed.into_iter().map(|(id, states)| format!("job {id} has no record and is indexed: {states:?}")));
    let open: BTreeSet<JobId> = last.open.iter().copied().collect();
    let not_ended: BTreeSet<JobId> =
        last.jobs.iter().filter(|(_, job)| !job.state.is_terminal()).map(|(id, _)| *id).collect();
    for id in open.symmetric_difference(&not_ended) {
        found.push(format!("job {id} is either open or in the index of open jobs, not both"));
    }
    for id in &last.outbox {
        if last.jobs.get(id).is_none_or(|job| job.state != State::Queued) {
            found.push(format!("job {id} is in the outbox and not queued"));
        }
    }
}

/// The counters agree with the indexes.
pub(super) fn counters(case: &Case<'_>, found: &mut Vec<String>) {
    for state in State::ALL {
        let counted = case.last.counts.get(&state).copied().unwrap_or_default();
        let indexed = case.last.by_state.get(&state).map_or(0, Vec::len) as u64;
        if counted != indexed {
            found.push(format!("{counted} jobs are counted as {state}, and {indexed} are indexed"));
        }
    }
}

/// What was accepted has ended, waits or runs.
pub(super) fn ledger(case: &Case<'_>, found: &mut Vec<String>) {
    found.extend(case.last.drifts.iter().cloned());
}

/// No key of a job that nobody sent.
pub(super) fn keys(case: &Case<'_>, found: &mut Vec<String>) {
    found.extend(case.last.strays.iter().map(|key| format!("the store holds {key}")));
}

/// No message anywhere: everything has ended.
pub(super) fn queues(case: &Case<'_>, found: &mut Vec<String>) {
    let left = case.last.queues.iter().filter(|(_, messages)| **messages > 0);
    found.extend(left.map(|(queue, messages)| format!("{queue} holds {messages} messages")));
}

/// No process outlives its consumer.
pub(super) fn processes(case: &Case<'_>, found: &mut Vec<String>) {
    found.extend(case.last.processes.iter().map(|process| format!("{process} still runs")));
    for (id, runs) in &case.story.runs {
        for run in runs.iter().filter(|run| run.ended.is_none()) {
            found.push(format!("job {id}: {run:?} never ended, nor did its process"));
        }
    }
}

/// What the scenario itself found.
pub(super) fn promises(case: &Case<'_>, found: &mut Vec<String>) {
    found.extend(case.story.broken.iter().cloned());
}

/// What could not be read cannot be judged.
pub(super) fn unreadable(case: &Case<'_>, found: &mut Vec<String>) {
    found.extend(case.last.unreadable.iter().cloned());
}
