//! Checks of what jobs left: whole, of the attempt that won, and nothing where none did.

use super::super::files::OUTPUT;
use super::Case;
use longshore_model::State;

/// The outputs of every job are those of its winner.
pub(super) fn outputs(case: &Case<'_>, found: &mut Vec<String>) {
    for (id, job) in &case.last.jobs {
        let asked = case.story.sent.get(id).is_some_and(|(intent, _)| intent.files);
        if !asked || job.state != State::Succeeded {
            if !job.outputs.is_empty() {
                found.push(format!("job {id} left something, and should not have: {job:?}"));
            }
            continue;
        }
        if !job.outputs.iter().map(|left| left.name.as_str()).eq([OUTPUT]) {
            found.push(format!("job {id} succeeded and does not have its one output: {job:?}"));
        }
        for left in &job.outputs {
            if !left.whole {
                found.push(format!("job {id} has an output that is not whole: {left:?}"));
            } else if left.by != Some(job.fence) {
                found.push(format!("job {id} was won by attempt {}, and has an output of {left:?}", job.fence.0));
            }
        }
    }
}
