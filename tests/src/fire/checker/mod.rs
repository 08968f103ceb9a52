//! The checker: reads a history and the final store, and says what was not allowed to happen.
//!
//! It knows nothing of the harness that wrote them, and can be run again on a kept directory. A check is a function
//! from a [`Case`] to sentences and a line in [`CHECKS`]; what a fault makes legal is a number in
//! [`Allowed`](super::history::Allowed). Each check has a doctored history in `tests` that it must flag.

mod files;
mod gates;
mod jobs;
mod places;
mod rules;
mod story;
#[cfg(test)]
mod tests;

pub use story::{ROLLED_BACK, Run, Seen, Story, WIPE};

use super::survey::Final;
use longshore_model::State;
use std::collections::BTreeMap;
use std::fmt;

/// What is judged.
#[derive(Debug)]
pub struct Case<'a> {
    /// What happened.
    pub story: &'a Story,
    /// What is left.
    pub last: &'a Final,
}

/// A check: adds a sentence for everything that is wrong.
type Check = fn(&Case<'_>, &mut Vec<String>);

/// Every check, by the name of the violation that it finds.
const CHECKS: &[(&str, Check)] = &[
    ("nothing happened", jobs::something_happened),
    ("lost", jobs::lost),
    ("unexpected", jobs::unexpected),
    ("overlap", jobs::overlap),
    ("fence went back", jobs::fences),
    ("double commit", jobs::double_commit),
    ("foreign commit", jobs::foreign_commit),
    ("run after terminal", jobs::run_after_terminal),
    ("innocent dead", jobs::ends),
    ("too early", jobs::early),
    ("order violated", gates::order),
    ("unique violated", gates::unique),
    ("limit violated", gates::limit),
    ("rule violated", rules::retries),
    ("foreign output", files::outputs),
    ("extra starts", jobs::extra_starts),
    ("crashes counted", jobs::crashes),
    ("index against state", places::indexes),
    ("counter against index", places::counters),
    ("ledger", places::ledger),
    ("stray key", places::keys),
    ("message left", places::queues),
    ("process left", places::processes),
    (PROMISE, places::promises),
    ("unreadable", places::unreadable),
];

/// The check that passes on what a scenario found itself.
pub const PROMISE: &str = "promise of the scenario";

/// Something that was not allowed to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which check found it.
    pub check: &'static str,
    /// What.
    pub what: String,
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs accepted.
    pub accepted: usize,
    /// Sends that were refused, unreachable or unknown, and repeated.
    pub not_accepted: usize,
    /// How they ended.
    pub ended: BTreeMap<State, usize>,
    /// Attempts that began.
    pub starts: usize,
    /// Those beyond what the jobs' own failures make necessary.
    pub extra_starts: usize,
    /// Pairs of attempts of one job that ran at once.
    pub overlaps: usize,
    /// Of these, pairs whose earlier one was in a process that was frozen.
    pub overlaps_frozen: usize,
    /// Attempts that the store counts as crashes.
    pub crashes: u64,
    /// Accepted jobs that the store does not know and was never seen to end.
    pub lost: usize,
    /// Faults by kind.
    pub faults: BTreeMap<String, usize>,
    /// Processes that were started.
    pub births: usize,
    /// From the first line to the last, seconds.
    pub seconds: u64,
    /// What the scenario measured.
    pub measured: Vec<String>,
}

/// The verdict on a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The counts.
    pub summary: Summary,
    /// What was not allowed.
    pub violations: Vec<Violation>,
}

/// Judges a run.
#[must_use]
pub fn judge(story: &Story, last: &Final) -> Verdict {
    let case = Case { story, last };
    let mut violations = Vec::new();
    for (check, find) in CHECKS {
        let mut found = Vec::new();
        find(&case, &mut found);
        violations.extend(found.into_iter().map(|what| Violation { check, what }));
    }
    Verdict { summary: summarize(&case), violations }
}

fn summarize(case: &Case<'_>) -> Summary {
    let Case { story, last } = case;
    let mut ended = BTreeMap::new();
    for id in &story.accepted {
        if let Some(job) = last.jobs.get(id) {
            *ended.entry(job.state).or_default() += 1;
        }
    }
    let overlaps = story.overlaps();
    Summary {
        accepted: story.accepted.len(),
        not_accepted: story.not_accepted,
        ended,
        starts: story.runs.values().map(Vec::len).sum(),
        extra_starts: story.extra_starts(),
        overlaps: overlaps.len(),
        overlaps_frozen: overlaps.iter().filter(|(_, earlier, _)| earlier.frozen).count(),
        crashes: last.jobs.values().map(|job| u64::from(job.crashes)).sum(),
        lost: jobs::lost_ids(case).count(),
        faults: story.faults.clone(),
        births: story.births,
        seconds: story.span.1.saturating_sub(story.span.0) / 1_000,
        measured: story.measured.clone(),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: usize = self.faults.values().sum();
        let list = |parts: Vec<String>| if parts.is_empty() { "none".to_owned() } else { parts.join(", ") };
        writeln!(
            f,
            "{} jobs accepted ({} sends not accepted at first), {} faults of {} kinds, {} processes started, {} s",
            self.accepted,
            self.not_accepted,
            faults,
            self.faults.len(),
            self.births,
            self.seconds
        )?;
        writeln!(f, "  ended: {}", list(self.ended.iter().map(|(state, n)| format!("{state} {n}")).collect()))?;
        writeln!(
            f,
            "  {} lost; {} attempts, {} of them extra; {} overlaps ({} with a frozen process); {} crashes counted",
            self.lost, self.starts, self.extra_starts, self.overlaps, self.overlaps_frozen, self.crashes
        )?;
        write!(f, "  faults: {}", list(self.faults.iter().map(|(kind, n)| format!("{kind} {n}")).collect()))?;
        for what in &self.measured {
            write!(f, "\n  {what}")?;
        }
        Ok(())
    }
}
