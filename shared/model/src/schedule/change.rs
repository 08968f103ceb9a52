//! Every change to a schedule: from what is kept, and what happens, to what is to be kept, and the jobs to send.
//!
//! Pure functions. Whoever calls them reads the schedule with its revision, writes the answer if the
//! revision is still the same, and begins anew if it is not; the jobs are accepted with that same write.

use super::{Fired, Missed, Overlap, Problem, Schedule, Spec, Suspension, Times, Timing, Waiting};
use crate::id::JobId;
use crate::limits;

/// What is to be kept.
#[derive(Debug, Clone)]
pub enum Next {
    /// The schedule, changed.
    Kept(Box<Schedule>),
    /// Nothing: all of its times are over.
    Gone,
}

/// Jobs to be sent with a change, and what is to be kept then.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is to be kept.
    pub next: Next,
    /// The jobs.
    pub fire: Vec<Fired>,
    /// Whether there is more to do at once.
    pub more: bool,
}

/// What comes of asking a schedule to send a job now.
#[derive(Debug, Clone)]
pub enum Now {
    /// It sends it.
    Fire(Plan),
    /// It sends it when the job before has ended ([`Overlap::QueueOne`]).
    Wait(Box<Schedule>),
    /// It did so before, for the same call.
    Done,
    /// It does not: the job before has not ended ([`Overlap::Skip`]), or one waits for that already
    /// ([`Overlap::QueueOne`]), or it is suspended, so that none may wait.
    Refused {
        /// The job that has not ended.
        running: JobId,
    },
}

/// How a slot is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Run,
    Miss,
}

/// Makes a schedule, or defines it anew; `None` when it is defined so already. `fresh` becomes the incarnation of a
/// new one. A suspension outlives a new definition; `suspended` (who) is for a schedule that is made.
///
/// # Errors
/// Everything that is wrong with the definition.
pub fn put(
    old: Option<&Schedule>,
    spec: Spec,
    suspended: Option<String>,
    fresh: JobId,
    now: u64,
) -> Result<Option<Schedule>, Vec<Problem>> {
    if old.is_some_and(|old| old.spec.same(&spec)) {
        return Ok(None);
    }
    let problems = spec.problems(now, old.map_or(&[], |old| &old.spec.timings));
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut schedule = match old {
        // The same times go on as they went.
        Some(old) if old.spec.timings == spec.timings && old.spec.zone == spec.zone => {
            Schedule { spec, version: old.version + 1, changed: now, problem: None, ..old.clone() }
        }
        Some(old) => Schedule {
            spec,
            version: old.version + 1,
            changed: now,
            anchor: now,
            after: now,
            problem: None,
            ..old.clone()
        },
        None => Schedule {
            spec,
            incarnation: fresh,
            version: 1,
            created: now,
            changed: now,
            anchor: now,
            after: now,
            next: None,
            due: None,
            suspended: suspended.map(|by| Suspension { by, since: now }),
            waiting: None,
            fired: 0,
            skipped: 0,
            missed: 0,
            refused: 0,
            recent: Vec::new(),
            problem: None,
        },
    };
    let times = schedule.spec.times(schedule.anchor).map_err(|why| vec![Problem::new("timings", why)])?;
    schedule.look_ahead(&times, now);
    Ok(Some(schedule))
}

impl Schedule {
    /// Fires nothing from now on; `None` when it is suspended already.
    #[must_use]
    pub fn suspend(&self, by: &str, now: u64) -> Option<Self> {
        if self.suspended.is_some() {
            return None;
        }
        let by = limits::cut(by, limits::CREATED_BY_BYTES);
        let skipped = self.skipped + u64::from(self.waiting.is_some());
        let suspended = Some(Suspension { by, since: now });
        Some(Self { suspended, waiting: None, skipped, due: None, ..self.clone() })
    }

    /// Fires again, from the next slot on: those of the meantime are over. `None` when it is not suspended.
    #[must_use]
    pub fn resume(&self, now: u64) -> Option<Next> {
        self.suspended.as_ref()?;
        let schedule = Self { suspended: None, after: now, ..self.clone() };
        Some(match schedule.spec.times(schedule.anchor) {
            Ok(times) => schedule.settle(&times, now),
            Err(why) => Next::Kept(Box::new(schedule.in_trouble(why, now))),
        })
    }

    /// Deals with every slot whose time has come. `open`: whether the job that it sent last has not ended.
    #[must_use]
    pub fn fire(&self, now: u64, open: bool) -> Plan {
        let mut schedule = self.clone();
        if schedule.suspended.is_some() {
            schedule.due = None;
            return Plan { next: Next::Kept(Box::new(schedule)), fire: Vec::new(), more: false };
        }
        let times = match schedule.spec.times(schedule.anchor) {
            Ok(times) => times,
            Err(why) => {
                let next = Next::Kept(Box::new(schedule.in_trouble(why, now)));
                return Plan { next, fire: Vec::new(), more: false };
            }
        };
        let mut fire: Vec<Fired> = Vec::new();
        if let Some(waiting) = schedule.waiting.filter(|_| !open) {
            schedule.waiting = None;
            fire.push(Fired { job: waiting.job, slot: waiting.slot, at: now });
        }
        let at_once = limits::SCHEDULE_JOBS.min(limits::BATCH_BYTES / (schedule.spec.job.bytes() + 1)).max(1);
        let (slots, mut more) = schedule.due_slots(&times, now);
        for (slot, fate) in slots {
            let free =
                schedule.spec.overlap == Overlap::Allow || !(open || !fire.is_empty() || schedule.waiting.is_some());
            match (fate, schedule.spec.overlap) {
                (Fate::Miss, _) => schedule.missed += 1,
                (Fate::Run, _) if free && fire.len() >= at_once => {
                    more = true;
                    break;
                }
                (Fate::Run, _) if free => fire.push(Fired { job: schedule.job_id(slot), slot: Some(slot), at: now }),
                (Fate::Run, Overlap::QueueOne) if schedule.waiting.is_none() => {
                    schedule.waiting = Some(Waiting { job: schedule.job_id(slot), slot: Some(slot) });
                }
                (Fate::Run, _) => schedule.skipped += 1,
            }
            schedule.after = slot;
        }
        schedule.sent(&fire);
        Plan { next: schedule.settle(&times, now), fire, more }
    }

    /// What is kept when the store refused the jobs of a plan: their slots are over.
    #[must_use]
    pub fn refused(&self, plan: &Plan, why: &str) -> Next {
        let refused = u64::try_from(plan.fire.len()).unwrap_or(u64::MAX);
        let problem = Some(limits::cut(why, limits::MESSAGE_BYTES));
        match &plan.next {
            Next::Kept(next) => {
                let (fired, recent) = (self.fired, self.recent.clone());
                let refused = self.refused + refused;
                Next::Kept(Box::new(Self { fired, recent, refused, problem, ..next.as_ref().clone() }))
            }
            // A person should see it: it stays, without a time.
            Next::Gone => {
                let (next, due, waiting) = (None, None, None);
                Next::Kept(Box::new(Self {
                    next,
                    due,
                    waiting,
                    refused: self.refused + refused,
                    problem,
                    ..self.clone()
                }))
            }
        }
    }

    /// Sends one job more, now, also while it is suspended. `id` is the caller's, so that the call can be repeated.
    #[must_use]
    pub fn run_now(&self, id: JobId, now: u64, open: bool) -> Now {
        if self.recent.iter().any(|fired| fired.job == id) || self.waiting.is_some_and(|waiting| waiting.job == id) {
            return Now::Done;
        }
        let mut schedule = self.clone();
        match (self.spec.overlap, self.last().filter(|_| open)) {
            (Overlap::Skip, Some(running)) => Now::Refused { running },
            // While it is suspended nobody would see to a job that waits.
            (Overlap::QueueOne, Some(running)) if self.waiting.is_some() || self.suspended.is_some() => {
                Now::Refused { running }
            }
            (Overlap::QueueOne, Some(_)) => {
                schedule.waiting = Some(Waiting { job: id, slot: None });
                schedule.due = Some(now);
                Now::Wait(Box::new(schedule))
            }
            _ => {
                let fire = vec![Fired { job: id, slot: None, at: now }];
                schedule.sent(&fire);
                Now::Fire(Plan { next: Next::Kept(Box::new(schedule)), fire, more: false })
            }
        }
    }

    /// Slots whose time has come, in order, and what becomes of them. Of very many late ones only some are looked at.
    fn due_slots(&self, times: &Times, now: u64) -> (Vec<(u64, Fate)>, bool) {
        let late_before = now.saturating_sub(limits::SCHEDULE_LATE_MS);
        let mut due: Vec<(u64, Fate)> = Vec::new();
        let (mut from, mut leapt, mut on_time) = (self.after, false, false);
        let more = loop {
            let Some(slot) = times.next(from) else { break false };
            let at = slot.saturating_add(self.spec.jitter(slot));
            if at > now {
                break false;
            }
            let late = at < late_before;
            on_time |= !late;
            let made_up =
                matches!(self.spec.missed, Missed::All { window_ms } if slot >= now.saturating_sub(window_ms));
            due.push((slot, if late && !made_up { Fate::Miss } else { Fate::Run }));
            from = slot;
            if due.len() >= limits::SCHEDULE_CATCH_UP && !leapt {
                // Nobody needs the number of all that were missed in a year: those of the last hour, or window.
                let back = match self.spec.missed {
                    Missed::All { window_ms } => window_ms,
                    Missed::Skip | Missed::Last => 3_600_000,
                };
                from = from.max(now.saturating_sub(limits::SCHEDULE_LATE_MS.saturating_add(back)).saturating_sub(1));
                leapt = true;
            }
            if due.len() >= LOOKED_AT {
                break true;
            }
        };
        if self.spec.missed == Missed::Last
            && !on_time
            && let Some(newest) = due.last_mut()
        {
            newest.1 = Fate::Run;
        }
        (due, more)
    }

    fn sent(&mut self, fire: &[Fired]) {
        self.fired += u64::try_from(fire.len()).unwrap_or(u64::MAX);
        self.recent.extend(fire);
        self.recent.drain(..self.recent.len().saturating_sub(limits::SCHEDULE_RECENT));
        if !fire.is_empty() {
            self.problem = None;
        }
    }

    /// Takes out what is over, and finds what comes.
    fn settle(mut self, times: &Times, now: u64) -> Next {
        let after = self.after;
        self.spec.timings.retain(|timing| !matches!(timing, Timing::At { ms } if *ms <= after));
        if self.spec.timings.is_empty() && self.waiting.is_none() {
            return Next::Gone;
        }
        // What was taken out lies before `after`: `times` answers as if it were not there.
        self.look_ahead(times, now);
        Next::Kept(Box::new(self))
    }

    fn look_ahead(&mut self, times: &Times, now: u64) {
        self.next = times.next(self.after);
        let mut due = self.next.map(|slot| slot.saturating_add(self.spec.jitter(slot)));
        if self.waiting.is_some() {
            let again = now.saturating_add(limits::SCHEDULE_WAIT_MS);
            due = Some(due.map_or(again, |due| due.min(again)));
        }
        self.due = due.filter(|_| self.suspended.is_none());
    }

    /// A definition that this process cannot read; another one, or a later one, may.
    fn in_trouble(mut self, why: String, now: u64) -> Self {
        self.problem = Some(why);
        self.due = Some(now.saturating_add(limits::SCHEDULE_TROUBLE_MS));
        self
    }
}

/// Slots that are looked at in one plan: all of an hour, once a second, beside those that were counted before it.
const LOOKED_AT: usize = 5_000;
