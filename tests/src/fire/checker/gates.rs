//! Checks of gates: jobs of one order or one unique key come one after the other, and no more jobs of a limit run than it
//! lets through.
//!
//! Judged by what handlers wrote: of a job that was held up by its process being frozen nothing is said, and jobs from
//! before and after a loss of the store are not compared, since the store forgets then who passed.

use super::super::history::Gate;
use super::{Case, Run};
use longshore_model::JobId;
use std::collections::BTreeMap;

/// When a job ran, by lines, and what it passed.
struct Span {
    id: JobId,
    began: usize,
    ended: usize,
}

/// By gate and stretch between two losses of the store: what `of` makes of the attempts of each job.
fn spans<'a>(case: &'a Case<'_>, of: impl Fn(&[&'a Run]) -> Vec<(usize, usize)>) -> BTreeMap<(Gate, usize), Vec<Span>> {
    let mut found: BTreeMap<_, Vec<Span>> = BTreeMap::new();
    for (id, (intent, _)) in &case.story.sent {
        let Some(gate) = intent.gate else { continue };
        let runs: Vec<&Run> = case.story.runs.get(id).into_iter().flatten().filter(|run| !run.frozen).collect();
        for (began, ended) in of(&runs) {
            found.entry((gate, case.story.epoch(began))).or_default().push(Span { id: *id, began, ended });
        }
    }
    for spans in found.values_mut() {
        spans.sort_by_key(|span| span.began);
    }
    found
}

fn end(run: &Run) -> usize {
    run.ended.unwrap_or(usize::MAX)
}

/// From its first attempt to the end of its last.
fn whole(runs: &[&Run]) -> Vec<(usize, usize)> {
    let (began, ended) = (runs.iter().map(|run| run.began).min(), runs.iter().map(|run| end(run)).max());
    began.zip(ended).into_iter().collect()
}

fn one_by_one(case: &Case<'_>, meant: impl Fn(Gate) -> bool, found: &mut Vec<String>) {
    for ((gate, _), spans) in spans(case, whole).into_iter().filter(|((gate, _), _)| meant(*gate)) {
        let mut last = &spans[0];
        for span in &spans[1..] {
            if span.began < last.ended {
                found.push(format!("{gate:?}: job {} began before job {} had ended", span.id, last.id));
            }
            last = if span.ended > last.ended { span } else { last };
        }
    }
}

/// Between the first attempt of a job and its last no other one of its order key runs.
pub(super) fn order(case: &Case<'_>, found: &mut Vec<String>) {
    one_by_one(case, |gate| matches!(gate, Gate::Order(_)), found);
}

/// No two jobs have a unique key at once, and a duplicate is answered with a job that has the same key.
pub(super) fn unique(case: &Case<'_>, found: &mut Vec<String>) {
    one_by_one(case, |gate| matches!(gate, Gate::Unique(_)), found);
    let gate = |id| case.story.sent.get(id).and_then(|(intent, _)| intent.gate);
    for (id, first) in &case.story.merged {
        if gate(id).is_none() || gate(id) != gate(first) {
            found.push(format!("job {id} was answered with job {first}: {:?}, {:?}", gate(id), gate(first)));
        }
        if case.story.runs.contains_key(id) {
            found.push(format!("job {id} was answered with job {first}, and ran"));
        }
    }
}

/// No more jobs of a limit run at once than it lets through.
pub(super) fn limit(case: &Case<'_>, found: &mut Vec<String>) {
    let each = |runs: &[&Run]| runs.iter().map(|run| (run.began, end(run))).collect();
    for ((gate, _), spans) in spans(case, each) {
        let Gate::Limit { max, .. } = gate else { continue };
        for span in &spans {
            let mut at_once: Vec<JobId> = spans
                .iter()
                .filter(|other| other.began <= span.began && span.began < other.ended)
                .map(|other| other.id)
                .collect();
            at_once.sort_unstable();
            at_once.dedup();
            if at_once.len() > max as usize {
                found.push(format!("{gate:?}: {} jobs ran at once: {at_once:?}", at_once.len()));
            }
        }
    }
}
