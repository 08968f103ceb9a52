//! Checks of what became of jobs and their attempts.

use super::super::history::How;
use super::{Case, Seen};
use longshore_model::{JobId, State};
use std::collections::BTreeMap;

/// A run without jobs or without attempts proves nothing.
pub(super) fn something_happened(case: &Case<'_>, found: &mut Vec<String>) {
    if case.story.accepted.is_empty() {
        found.push("no job was accepted".into());
    }
    if case.story.runs.is_empty() {
        found.push("no attempt began".into());
    }
}

/// Accepted jobs that are not terminal in the store, were not seen to end before a wipe, and did not wait for their
/// time in a store that was wiped.
pub(super) fn lost_ids<'a>(case: &'a Case<'_>) -> impl Iterator<Item = JobId> + 'a {
    let (story, last) = (case.story, case.last);
    let known = |id: &JobId| last.jobs.get(id).is_some_and(|job| job.state.is_terminal());
    let ended_before_wipe =
        |id: &JobId| story.seen.iter().any(|seen| seen.id == *id && story.epoch(seen.line) < story.wipes.len());
    let gone = |id: &JobId| !last.jobs.contains_key(id) && story.forgotten.contains(id);
    story.accepted.iter().copied().filter(move |id| !known(id) && !ended_before_wipe(id) && !gone(id))
}

/// Every accepted job has ended.
pub(super) fn lost(case: &Case<'_>, found: &mut Vec<String>) {
    let lost: Vec<JobId> = lost_ids(case).collect();
    if lost.len() <= case.story.allowed.lost {
        return;
    }
    for id in lost {
        let where_ = case.last.jobs.get(&id).map_or_else(|| "is not in the store".into(), |job| format!("is {job:?}"));
        let runs = case.story.runs.get(&id).map_or(0, Vec::len);
        found.push(format!("job {id} was accepted and {where_}; {runs} attempts began"));
    }
}

/// No attempt of a job that nobody sent, no end of an attempt that never began.
pub(super) fn unexpected(case: &Case<'_>, found: &mut Vec<String>) {
    for (id, runs) in &case.story.runs {
        if !case.story.sent.contains_key(id) {
            found.push(format!("job {id} ran and was never sent: {runs:?}"));
        }
    }
    for (id, fence) in &case.story.ends_without_begin {
        found.push(format!("attempt {} of job {id} ended and never began", fence.0));
    }
}

/// No two attempts of a job at once, beyond what is allowed.
pub(super) fn overlap(case: &Case<'_>, found: &mut Vec<String>) {
    let overlaps = case.story.overlaps();
    if overlaps.len() > case.story.allowed.overlaps {
        for (id, earlier, later) in overlaps {
            found.push(format!("job {id}: {later:?} began before {earlier:?} ended"));
        }
    }
}

/// A later attempt has a larger fence. One that had begun late in a frozen process counts as an overlap instead.
pub(super) fn fences(case: &Case<'_>, found: &mut Vec<String>) {
    for (id, runs) in &case.story.runs {
        for pair in runs.windows(2) {
            let late = pair[1].frozen || pair[0].ended.is_none_or(|end| end > pair[1].began);
            if pair[1].fence == pair[0].fence || pair[1].fence < pair[0].fence && !late {
                found.push(format!("job {id}: {:?} began after {:?}", pair[1], pair[0]));
            }
        }
    }
}

/// Whatever the store says of a job that has ended stays so, until the store is wiped.
pub(super) fn double_commit(case: &Case<'_>, found: &mut Vec<String>) {
    let mut first: BTreeMap<JobId, Seen> = BTreeMap::new();
    let epoch = |seen: &Seen| case.story.epoch(seen.line);
    for seen in &case.story.seen {
        let before = first.entry(seen.id).or_insert(*seen);
        if epoch(before) < epoch(seen) {
            *before = *seen;
        } else if (before.state, before.at) != (seen.state, seen.at) {
            found.push(format!("job {} ended twice: {before:?}, then {seen:?}", seen.id));
        }
    }
    for (id, seen) in &first {
        if epoch(seen) < case.story.wipes.len() {
            continue;
        }
        match case.last.jobs.get(id) {
            Some(job) if (job.state, job.since) == (seen.state, seen.at) => {}
            job => found.push(format!("job {id} ended twice: {seen:?}, then {job:?}")),
        }
    }
}

/// What succeeded did so by an attempt that said that it was done, with that attempt's result.
pub(super) fn foreign_commit(case: &Case<'_>, found: &mut Vec<String>) {
    for (id, job) in &case.last.jobs {
        let runs = case.story.runs.get(id).map(Vec::as_slice).unwrap_or_default();
        if job.state.is_terminal()
            && let Some(beyond) = runs.iter().find(|run| run.fence > job.fence)
        {
            found.push(format!("job {id} ended under {:?}, and {beyond:?} began under a larger fence", job.fence));
        }
        if job.state != State::Succeeded {
            continue;
        }
        let done = runs.iter().any(|run| run.fence == job.fence && run.how == Some(How::Done));
        if !done {
            found.push(format!("job {id} succeeded by attempt {}, which never said so: {runs:?}", job.fence.0));
        }
        if job.result.as_deref() != Some(job.fence.0.to_string().as_str()) {
            found.push(format!("job {id} succeeded by attempt {} with the result {:?}", job.fence.0, job.result));
        }
    }
}

/// No attempt begins once the store was seen to say that the job has ended.
pub(super) fn run_after_terminal(case: &Case<'_>, found: &mut Vec<String>) {
    for seen in &case.story.seen {
        let runs = case.story.runs.get(&seen.id).map(Vec::as_slice).unwrap_or_default();
        let after = |began| began > seen.line && case.story.epoch(began) == case.story.epoch(seen.line);
        // A process that was frozen between its claim and its handler's first line may write that line late.
        for run in runs.iter().filter(|run| after(run.began) && !run.frozen) {
            found.push(format!("job {} had ended ({seen:?}), then {run:?} began", seen.id));
        }
    }
}

/// Jobs end as they were meant to; a poison alone is given up.
pub(super) fn ends(case: &Case<'_>, found: &mut Vec<String>) {
    for (id, (intent, _)) in &case.story.sent {
        if let Some(job) = case.last.jobs.get(id)
            && job.state.is_terminal()
            && job.state != intent.end
        {
            found.push(format!("job {id} should have ended as {} and did as {job:?}", intent.end));
        }
    }
}

/// A delayed job does not start before its time.
pub(super) fn early(case: &Case<'_>, found: &mut Vec<String>) {
    // By the times of two processes, so only where there is a delay: their clocks may differ.
    for (id, (intent, sent)) in case.story.sent.iter().filter(|(_, (intent, _))| intent.after_ms > 0) {
        let first = case.story.runs.get(id).and_then(|runs| runs.first());
        if let Some(run) = first.filter(|run| run.began_ms < sent + intent.after_ms) {
            found.push(format!("job {id} was sent at {sent} for {} ms later and {run:?} began", intent.after_ms));
        }
    }
}

/// No more attempts than the jobs' own failures and the faults make necessary.
pub(super) fn extra_starts(case: &Case<'_>, found: &mut Vec<String>) {
    let (extra, allowed) = (case.story.extra_starts(), case.story.allowed.extra_starts);
    if extra > allowed {
        found.push(format!("{extra} attempts too many, where {allowed} are allowed"));
    }
}

/// Only processes that died count as crashes.
pub(super) fn crashes(case: &Case<'_>, found: &mut Vec<String>) {
    let crashes: u64 = case.last.jobs.values().map(|job| u64::from(job.crashes)).sum();
    let allowed = case.story.allowed.crashes;
    if crashes > allowed {
        found.push(format!("the store counts {crashes} crashes, where {allowed} are allowed"));
    }
}
