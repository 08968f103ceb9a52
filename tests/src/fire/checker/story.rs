//! A history, digested: by job, by process, with the place of everything in the order of lines.

use super::super::history::{Allowed, Event, How, Intent, Line};
use longshore_model::{Fence, JobId, State};
use std::collections::{BTreeMap, BTreeSet};

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The attempt.
    pub fence: Fence,
    /// Its process.
    pub who: String,
    /// The line at which its handler began.
    pub began: usize,
    /// The same by the clock, ms.
    pub began_ms: u64,
    /// The line at which it ended, with its process if need be.
    pub ended: Option<usize>,
    /// How its handler ended; `None`: its process died first.
    pub how: Option<How>,
    /// Whether its process was frozen meanwhile.
    pub frozen: bool,
}

/// What the store said of a job that had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The line.
    pub line: usize,
    /// The job.
    pub id: JobId,
    /// Its state.
    pub state: State,
    /// Since when.
    pub at: u64,
}

/// A history by job and process.
#[derive(Debug, Clone, Default)]
pub struct Story {
    /// Name of the scenario.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// What it may do.
    pub allowed: Allowed,
    /// Jobs that were sent, with the time of their first sending, ms.
    pub sent: BTreeMap<JobId, (Intent, u64)>,
    /// Jobs whose send was answered with Ok.
    pub accepted: BTreeSet<JobId>,
    /// Jobs whose send was answered with another job.
    pub merged: BTreeMap<JobId, JobId>,
    /// Sends that were not.
    pub not_accepted: usize,
    /// Attempts of each job, as they began.
    pub runs: BTreeMap<JobId, Vec<Run>>,
    /// Ends of handlers that never began.
    pub ends_without_begin: Vec<(JobId, Fence)>,
    /// What the store said while it went on.
    pub seen: Vec<Seen>,
    /// Lines at which the store lost everything, or what was new.
    pub wipes: Vec<usize>,
    /// Jobs that may be gone with the store.
    pub forgotten: BTreeSet<JobId>,
    /// Faults by kind.
    pub faults: BTreeMap<String, usize>,
    /// Starts of processes.
    pub births: usize,
    /// Broken promises that the scenario found itself.
    pub broken: Vec<String>,
    /// What was measured.
    pub measured: Vec<String>,
    /// First and last line by the clock, ms.
    pub span: (u64, u64),
}

/// The kind of fault after which the store knows nothing.
pub const WIPE: &str = "store wiped";
/// The kind of fault after which the store knows only what it knew a while ago.
pub const ROLLED_BACK: &str = "store rolled back";

impl Story {
    /// Digests a history.
    #[must_use]
    pub fn of(lines: &[Line]) -> Self {
        let span = (lines.first().map_or(0, |line| line.t), lines.last().map_or(0, |line| line.t));
        let mut story = Self { span, ..Self::default() };
        let mut frozen: BTreeSet<&str> = BTreeSet::new();
        for (at, line) in lines.iter().enumerate() {
            match &line.event {
                Event::Run { scenario, seed, allowed } => {
                    (story.scenario, story.seed, story.allowed) = (scenario.clone(), *seed, allowed.clone());
                }
                Event::Sending { jobs } => {
                    for job in jobs {
                        story.sent.entry(job.id).or_insert((*job, line.t));
                    }
                }
                Event::Accepted { ids } => story.accepted.extend(ids),
                Event::Merged { id, into } => drop(story.merged.insert(*id, *into)),
                Event::NotAccepted { count, .. } => story.not_accepted += count,
                Event::Born { .. } => story.births += 1,
                Event::Died { who, .. } => {
                    frozen.remove(who.as_str());
                    for run in story.open_runs(who) {
                        run.ended = Some(at);
                    }
                }
                Event::Frozen { who } => {
                    frozen.insert(who);
                    for run in story.open_runs(who) {
                        run.frozen = true;
                    }
                }
                Event::Thawed { who } => {
                    frozen.remove(who.as_str());
                }
                Event::Fault { kind, .. } => {
                    *story.faults.entry(kind.clone()).or_default() += 1;
                    if kind == WIPE || kind == ROLLED_BACK {
                        story.wipes.push(at);
                    }
                }
                Event::Began { id, fence, who, .. } => story.runs.entry(*id).or_default().push(Run {
                    fence: *fence,
                    who: who.clone(),
                    began: at,
                    began_ms: line.t,
                    ended: None,
                    how: None,
                    frozen: frozen.contains(who.as_str()),
                }),
                Event::Ended { id, fence, how } => {
                    let runs = story.runs.get_mut(id).map(Vec::as_mut_slice).unwrap_or_default();
                    match runs.iter_mut().rfind(|run| run.fence == *fence && run.how.is_none()) {
                        // A process that takes its own life says so a moment before it does.
                        Some(run) => (run.ended, run.how) = (run.ended.or(Some(at)), Some(*how)),
                        None => story.ends_without_begin.push((*id, *fence)),
                    }
                }
                Event::Seen { jobs } => {
                    let seen = |&(id, state, since)| Seen { line: at, id, state, at: since };
                    story.seen.extend(jobs.iter().map(seen));
                }
                Event::Forgotten { ids } => story.forgotten.extend(ids),
                Event::Broken { what } => story.broken.push(what.clone()),
                Event::Measured { what } => story.measured.push(what.clone()),
                Event::Healed => {}
            }
        }
        story
    }

    fn open_runs<'a>(&'a mut self, who: &'a str) -> impl Iterator<Item = &'a mut Run> {
        self.runs.values_mut().flatten().filter(move |run| run.ended.is_none() && run.who == who)
    }

    /// The stretch between two wipes that a line belongs to.
    #[must_use]
    pub fn epoch(&self, line: usize) -> usize {
        self.wipes.iter().filter(|wipe| **wipe < line).count()
    }

    /// Pairs of attempts of one job of which the later began before the earlier ended.
    #[must_use]
    pub fn overlaps(&self) -> Vec<(JobId, &Run, &Run)> {
        let mut found = Vec::new();
        for (id, runs) in &self.runs {
            for (place, later) in runs.iter().enumerate() {
                let earlier = runs[..place].iter().filter(|earlier| earlier.ended.is_none_or(|end| end > later.began));
                found.extend(earlier.map(|earlier| (*id, earlier, later)));
            }
        }
        found
    }

    /// Attempts beyond one for each job and one for each failure on purpose.
    #[must_use]
    pub fn extra_starts(&self) -> usize {
        let needed = |id: &JobId| self.sent.get(id).map_or(1, |(intent, _)| intent.fails as usize + 1);
        self.runs.iter().map(|(id, runs)| runs.len().saturating_sub(needed(id))).sum()
    }
}
