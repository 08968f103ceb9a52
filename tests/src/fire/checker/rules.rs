//! Checks of rules for retries: a job fails as often in the way that has a rule as the rule says, and is not given up
//! before.
//!
//! Judged by what handlers wrote. Of a failure that a handler wrote down the store may never have heard, where its
//! process was struck a moment later: the store counts a crash for that. Where the store forgot anything nothing is
//! said.

use super::super::history::How;
use super::Case;
use longshore_model::State;

/// No more failures than the rule says, and no fewer where a job was given up.
pub(super) fn retries(case: &Case<'_>, found: &mut Vec<String>) {
    let story = case.story;
    if !story.wipes.is_empty() {
        return;
    }
    for (id, (intent, _)) in &story.sent {
        let (Some(retries), Some(job)) = (intent.rule, case.last.jobs.get(id)) else { continue };
        let runs = story.runs.get(id).map(Vec::as_slice).unwrap_or_default();
        let failures = runs.iter().filter(|run| run.how == Some(How::Failed)).count();
        let allowed = retries as usize + 1;
        let unheard = job.crashes as usize + story.allowed.extra_starts;
        if failures > allowed + unheard {
            found.push(format!("job {id} failed {failures} times, where a rule allows {allowed}: {job:?}"));
        }
        if job.state == State::GivenUp && failures < allowed {
            found.push(format!(
                "job {id} was given up after {failures} failures, where a rule allows {allowed}: {job:?}"
            ));
        }
    }
}
