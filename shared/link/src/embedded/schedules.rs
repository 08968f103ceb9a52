//! Schedules: kept by name, found by when they are due, exchanged when nobody else did.

use super::core::Core;
use crate::error::NotAccepted;
use crate::schedules::{Changed, DueSchedules, Expect, Kept, ScheduleChange, Schedules};
use crate::store::Nudge;
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::schedule::Schedule;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// All schedules.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    kept: BTreeMap<String, (u64, Schedule)>,
    due: BTreeSet<(u64, String)>,
}

impl Shelf {
    fn put(&mut self, revision: u64, schedule: Schedule) {
        let name = schedule.spec.name.clone();
        self.remove(&name);
        if let Some(due) = schedule.due {
            self.due.insert((due, name.clone()));
        }
        self.kept.insert(name, (revision, schedule));
    }

    fn remove(&mut self, name: &str) {
        if let Some((_, old)) = self.kept.remove(name)
            && let Some(due) = old.due
        {
            self.due.remove(&(due, name.to_owned()));
        }
    }

    /// How many schedules there are.
    pub(super) fn len(&self) -> u64 {
        self.kept.len() as u64
    }

    fn first_due(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }
}

impl Core {
    pub(super) fn schedule(&self, name: &str) -> Schedules {
        Schedules { now: self.now(), kept: self.kept(name).into_iter().collect(), next: None }
    }

    pub(super) fn find_schedules(&self, after: Option<&str>, limit: usize) -> Schedules {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut names = self.shelf.kept.range::<str, _>((from, Bound::Unbounded)).map(|(name, _)| name);
        let kept: Vec<Kept> = names.by_ref().take(limit).filter_map(|name| self.kept(name)).collect();
        let last = kept.last().map(|kept| kept.schedule.spec.name.clone());
        Schedules { now: self.now(), kept, next: last.filter(|_| names.next().is_some()) }
    }

    pub(super) fn due_schedules(&self, limit: usize) -> DueSchedules {
        let now = self.now();
        let mut due = self.shelf.due.iter().take_while(|(due, _)| *due <= now);
        let kept = due.by_ref().take(limit).filter_map(|(_, name)| self.kept(name)).collect();
        let next = self.shelf.due.iter().map(|(due, _)| *due).find(|due| *due > now);
        DueSchedules { now, kept, next, more: due.next().is_some() }
    }

    pub(super) fn change_schedule(&mut self, change: &ScheduleChange) -> Changed {
        let first = self.shelf.first_due();
        let changed = self.exchange(change);
        if self.shelf.first_due().is_some_and(|due| first.is_none_or(|first| due < first)) {
            self.tell(Nudge::Schedules);
        }
        changed
    }

    fn exchange(&mut self, change: &ScheduleChange) -> Changed {
        let revision = self.shelf.kept.get(&change.name).map(|(revision, _)| *revision);
        let as_expected = match change.expect {
            Expect::Absent => revision.is_none(),
            Expect::Revision(expected) => revision == Some(expected),
            Expect::Anything => true,
        };
        if !as_expected || change.open.is_some_and(|(job, open)| self.is_open(&job) != open) {
            return Changed::Differs;
        }
        if revision.is_none() && change.next.is_some() && self.shelf.kept.len() >= limits::SCHEDULES {
            return Changed::Full;
        }
        let mut answers = Vec::with_capacity(change.jobs.len());
        for job in &change.jobs {
            let answer = self.accept(job, false);
            match answer {
                Ok(_) | Err(NotAccepted::Ended(_) | NotAccepted::IdTaken(_)) => answers.push(answer),
                Err(refused) => return Changed::Refused(refused),
            }
        }
        match &change.next {
            Some(next) => {
                let revision = self.now_us.max(revision.unwrap_or(0) + 1);
                self.shelf.put(revision, next.as_ref().clone());
            }
            None => self.shelf.remove(&change.name),
        }
        Changed::Done(answers)
    }

    fn kept(&self, name: &str) -> Option<Kept> {
        let (revision, schedule) = self.shelf.kept.get(name)?;
        let open = schedule.last().is_some_and(|job| self.is_open(&job));
        Some(Kept { schedule: schedule.clone(), revision: *revision, open })
    }

    fn is_open(&self, job: &JobId) -> bool {
        self.table.get(job).is_some_and(|entry| !entry.record.state.is_terminal())
    }
}
