//! Every interleaving of two coordinators that fire one schedule.
//!
//! What is kept changes through the product's own functions ([`longshore_model::schedule`]); a coordinator reads it,
//! and writes what they answer if nobody else did so meanwhile, together with the jobs. Between the two anything may
//! happen: it dies, another one fires, somebody suspends, the store forgets its last change, the answer is lost. Time is
//! counted in slots. Nothing of jobs is modelled but that they end some time.

use super::Label;
use super::explore::{Found, Next as Step, Space, explore};
use longshore_model::envelope::Envelope;
use longshore_model::id::JobId;
use longshore_model::schedule::change::Next;
use longshore_model::schedule::{Fired, Missed, Overlap, Schedule, Spec, Suspension, Template, Timing, UTC, Waiting};
use serde_json::value::RawValue;
use std::fmt;

/// Slots of a search.
const SLOTS: usize = 3;
const BEGUN_MS: u64 = 1_800_000_000_000;
const EVERY_MS: u64 = 60_000;

/// A promise about the jobs of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Property {
    /// Every slot is dealt with some time, and a job that was counted as sent is there.
    NoLoss,
    /// A slot has one job.
    Once,
    /// Each slot that is dealt with was counted as sent, skipped, missed or waiting.
    Counted,
    /// Where jobs may not overlap they do not, as long as the store forgets nothing.
    Overlap,
    /// What was dealt with stays so.
    Back,
    /// Nothing is fired while it is suspended.
    Suspended,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLoss => "a slot is never dealt with, or its job is missing",
            Self::Once => "a slot had two jobs",
            Self::Counted => "a slot was dealt with and not counted",
            Self::Overlap => "two jobs overlapped",
            Self::Back => "a slot that was dealt with is open again",
            Self::Suspended => "a job was sent while the schedule was suspended",
        })
    }
}

/// A known mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Whoever writes last wins.
    NoRevision,
    /// A suspension changes no revision.
    SuspensionUnseen,
    /// Each job of a slot has an id of its own.
    FreshIds,
    /// The slot is marked first, and the job sent in a second step.
    MarkThenSend,
    /// A coordinator begins with the slot of now.
    BeginsNow,
}

/// What is searched.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Whether jobs may run beside each other.
    pub overlap: Overlap,
    /// Faults: a coordinator dies; an answer is lost; the store forgets its last change; somebody suspends.
    pub faults: [u8; 4],
}

/// The searches; each is small enough for every test run.
#[must_use]
pub fn plans() -> Vec<Plan> {
    let plan = |name, overlap| Plan { name, overlap, faults: [1, 1, 1, 1] };
    vec![
        plan("slots-allow", Overlap::Allow),
        plan("slots-skip", Overlap::Skip),
        plan("slots-queue-one", Overlap::QueueOne),
    ]
}

impl Mutant {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::NoRevision, Self::SuspensionUnseen, Self::FreshIds, Self::MarkThenSend, Self::BeginsNow];

    /// The smallest plan that shows it, and what it breaks there.
    #[must_use]
    pub fn trial(self) -> (Plan, Property) {
        let plan = |faults| Plan { name: "trial", overlap: Overlap::Allow, faults };
        match self {
            Self::NoRevision => (plan([0, 0, 0, 0]), Property::Back),
            Self::SuspensionUnseen => (plan([0, 0, 0, 1]), Property::Suspended),
            Self::FreshIds => (plan([0, 0, 1, 0]), Property::Once),
            Self::MarkThenSend => (plan([1, 0, 0, 0]), Property::NoLoss),
            Self::BeginsNow => (plan([0, 0, 0, 0]), Property::Counted),
        }
    }
}

/// Searches a plan, with a mistake if one is named, for everything or for one property.
#[must_use]
pub fn search(plan: &Plan, mutant: Option<Mutant>, only: Option<Property>, states: usize) -> Found<Property> {
    explore(&Model { plan: *plan, mutant, only, template: template(plan.overlap) }, states)
}

/// What is kept of a schedule, in slots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Kept {
    revision: u8,
    after: u8,
    waiting: Option<u8>,
    suspended: bool,
    last: Option<u8>,
    fired: u8,
    skipped: u8,
    missed: u8,
    /// Slots that passed while it was suspended, which nobody counts.
    over: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Job {
    Never,
    Open,
    Ended,
}

/// What a coordinator is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Coordinator {
    Idle,
    /// It read this, at this time, with the last job open or not.
    Read {
        kept: Kept,
        at: u8,
        open: bool,
    },
    /// It marked these slots, a bit each, and has not sent their jobs (a mutant does).
    Marked(u8),
}

/// One state of everything. The job of slot `n` is at `n - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    kept: Kept,
    before: Kept,
    jobs: [Job; SLOTS],
    sent: [u8; SLOTS],
    coordinators: [Coordinator; 2],
    left: [u8; 4],
    broken: Option<Property>,
}

#[derive(Debug)]
struct Model {
    plan: Plan,
    mutant: Option<Mutant>,
    only: Option<Property>,
    template: Schedule,
}

fn template(overlap: Overlap) -> Schedule {
    let envelope = Envelope::new(
        JobId::nil(),
        "search/slot".parse().expect("a topic"),
        RawValue::from_string("null".into()).expect("JSON"),
    );
    let spec = Spec {
        name: "search".into(),
        job: Template { envelope, expires_in_ms: None },
        timings: vec![Timing::Every { ms: EVERY_MS }],
        zone: UTC.into(),
        overlap,
        missed: Missed::All { window_ms: 3_600_000 },
        jitter_ms: 0,
    };
    let fresh = JobId::new(BEGUN_MS, [1; 16], 0);
    let made = longshore_model::schedule::change::put(None, spec, None, fresh, BEGUN_MS);
    made.expect("a definition without problems").expect("a new one")
}

const fn time(slot: u8) -> u64 {
    BEGUN_MS + slot as u64 * EVERY_MS
}

fn slot(time: u64) -> u8 {
    u8::try_from((time - BEGUN_MS) / EVERY_MS).expect("few slots")
}

fn small(count: u64) -> u8 {
    u8::try_from(count).expect("few slots")
}

impl Model {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn breaks(&self, state: &mut State, property: Property) {
        if self.only.is_none_or(|only| only == property) {
            state.broken.get_or_insert(property);
        }
    }

    /// What is kept, as the product keeps it.
    fn full(&self, kept: &Kept) -> Schedule {
        let mut schedule = self.template.clone();
        let id = |slot: u8| schedule.job_id(time(slot));
        let waiting = kept.waiting.map(|slot| Waiting { job: id(slot), slot: Some(time(slot)) });
        let last = kept.last.map(|slot| Fired { job: id(slot), slot: Some(time(slot)), at: time(slot) });
        schedule.waiting = waiting;
        schedule.recent = last.into_iter().collect();
        schedule.after = time(kept.after);
        schedule.suspended = kept.suspended.then(|| Suspension { by: "somebody".into(), since: BEGUN_MS });
        (schedule.fired, schedule.skipped, schedule.missed) =
            (kept.fired.into(), kept.skipped.into(), kept.missed.into());
        schedule
    }

    fn slim(next: &Schedule, kept: &Kept) -> Kept {
        Kept {
            revision: kept.revision,
            after: slot(next.after),
            waiting: next.waiting.and_then(|waiting| waiting.slot).map(slot),
            suspended: next.suspended.is_some(),
            last: next.recent.last().and_then(|fired| fired.slot).map(slot),
            fired: small(next.fired),
            skipped: small(next.skipped),
            missed: small(next.missed),
            over: kept.over,
        }
    }

    fn push(&self, into: &mut Vec<Step<State, Label>>, fault: bool, what: &'static str, who: usize, mut state: State) {
        if state.coordinators == [Coordinator::Idle, state.coordinators[1]] {
            state.coordinators.swap(0, 1);
        }
        self.judge(&mut state);
        into.push(Step { label: Label { what, who: u8::try_from(who).unwrap_or(u8::MAX) }, fault, state });
    }

    fn judge(&self, state: &mut State) {
        let kept = state.kept;
        let counted = kept.fired + kept.skipped + kept.missed + kept.over + u8::from(kept.waiting.is_some());
        if counted < kept.after {
            self.breaks(state, Property::Counted);
        }
        let open = state.jobs.iter().filter(|job| **job == Job::Open).count();
        // Once the store forgot a change nobody knows of the job that was sent with it, until its slot comes again.
        let forgot = state.left[2] < self.plan.faults[2];
        if open > 1 && self.plan.overlap != Overlap::Allow && !forgot {
            self.breaks(state, Property::Overlap);
        }
        if state.sent.iter().any(|sent| *sent > 1) {
            self.breaks(state, Property::Once);
        }
    }

    fn is_open(state: &State, kept: &Kept) -> bool {
        kept.last.is_some_and(|slot| state.jobs[usize::from(slot) - 1] == Job::Open)
    }

    /// The store accepts the job of a slot: the same id is accepted once.
    fn send(&self, state: &mut State, slot: u8) {
        let place = usize::from(slot) - 1;
        if state.jobs[place] == Job::Never || self.has(Mutant::FreshIds) {
            state.jobs[place] = Job::Open;
            state.sent[place] += 1;
        }
    }

    /// A coordinator writes what comes of what it read. Answers whether the store took it.
    fn exchange(&self, state: &mut State, place: usize, read: &Kept, at: u8, open: bool) -> bool {
        let same = read.revision == state.kept.revision || self.has(Mutant::NoRevision);
        if !same || open != Self::is_open(state, read) {
            return false;
        }
        let mut schedule = self.full(read);
        if self.has(Mutant::BeginsNow) {
            schedule.after = schedule.after.max(time(at) - EVERY_MS);
        }
        let plan = schedule.fire(time(at), open);
        let Next::Kept(next) = plan.next else { unreachable!("it fires for ever") };
        let slots: Vec<u8> = plan.fire.iter().filter_map(|fired| fired.slot).map(slot).collect();
        if state.kept.suspended && !slots.is_empty() {
            self.breaks(state, Property::Suspended);
        }
        if slot(next.after) < state.kept.after {
            self.breaks(state, Property::Back);
        }
        state.before = state.kept;
        state.kept = Kept { revision: state.kept.revision + 1, ..Self::slim(&next, read) };
        if self.has(Mutant::MarkThenSend) {
            state.coordinators[place] = Coordinator::Marked(slots.iter().fold(0, |all, slot| all | 1 << slot));
        } else {
            slots.into_iter().for_each(|slot| self.send(state, slot));
            state.coordinators[place] = Coordinator::Idle;
        }
        true
    }

    fn coordinate(&self, state: &State, into: &mut Vec<Step<State, Label>>, place: usize) {
        let mut next = *state;
        match state.coordinators[place] {
            Coordinator::Idle => {
                let open = Self::is_open(state, &state.kept);
                // A job that waits for another one is looked at again and again, which changes nothing until that ended.
                let due = state.kept.after < state.now || state.kept.waiting.is_some() && !open;
                if due && !state.kept.suspended {
                    next.coordinators[place] = Coordinator::Read { kept: state.kept, at: state.now, open };
                    self.push(into, false, "a coordinator reads", place, next);
                }
            }
            Coordinator::Read { kept, at, open } => {
                let done = self.exchange(&mut next, place, &kept, at, open);
                let mut lost = next;
                if !done {
                    next.coordinators[place] = Coordinator::Idle;
                }
                self.push(into, false, "a coordinator writes", place, next);
                if done && lost.left[1] > 0 && !self.has(Mutant::MarkThenSend) {
                    lost.left[1] -= 1;
                    lost.coordinators[place] = state.coordinators[place];
                    self.push(into, true, "a coordinator writes, and hears nothing", place, lost);
                }
            }
            Coordinator::Marked(slots) => {
                (1..=SLOTS as u8).filter(|slot| slots & (1 << slot) != 0).for_each(|slot| self.send(&mut next, slot));
                next.coordinators[place] = Coordinator::Idle;
                self.push(into, false, "a coordinator sends", place, next);
            }
        }
        let mut dead = *state;
        if dead.coordinators[place] != Coordinator::Idle && dead.left[0] > 0 {
            dead.left[0] -= 1;
            dead.coordinators[place] = Coordinator::Idle;
            self.push(into, true, "a coordinator dies", place, dead);
        }
    }

    fn suspend(&self, state: &State, into: &mut Vec<Step<State, Label>>) {
        let mut next = *state;
        let schedule = self.full(&state.kept);
        if state.kept.suspended {
            let Some(Next::Kept(resumed)) = schedule.resume(time(state.now)) else { unreachable!("it is suspended") };
            let over = state.kept.over + state.now - state.kept.after;
            next.kept = Kept { revision: state.kept.revision + 1, over, ..Self::slim(&resumed, &state.kept) };
            self.push(into, false, "somebody resumes it", 0, next);
        } else if state.left[3] > 0 {
            next.left[3] -= 1;
            let Some(suspended) = schedule.suspend("somebody", time(state.now)) else { unreachable!("it is not") };
            let revision = state.kept.revision + u8::from(!self.has(Mutant::SuspensionUnseen));
            next.before = state.kept;
            next.kept = Kept { revision, ..Self::slim(&suspended, &state.kept) };
            self.push(into, true, "somebody suspends it", 0, next);
        }
    }
}

impl Space for Model {
    type State = State;
    type Label = Label;
    type Wrong = Property;

    fn initial(&self) -> State {
        State {
            now: 0,
            kept: Kept::default(),
            before: Kept::default(),
            jobs: [Job::Never; SLOTS],
            sent: [0; SLOTS],
            coordinators: [Coordinator::Idle; 2],
            left: self.plan.faults,
            broken: None,
        }
    }

    fn next(&self, state: &State, into: &mut Vec<Step<State, Label>>) {
        if usize::from(state.now) < SLOTS {
            self.push(into, false, "time passes", 0, State { now: state.now + 1, ..*state });
        }
        for place in (0..SLOTS).filter(|place| state.jobs[*place] == Job::Open) {
            let mut next = *state;
            next.jobs[place] = Job::Ended;
            self.push(into, false, "a job ends", place + 1, next);
        }
        for place in 0..state.coordinators.len() {
            // Two that wait do the same.
            if place == 0 && state.coordinators[0] == Coordinator::Idle && state.coordinators[1] == Coordinator::Idle {
                continue;
            }
            self.coordinate(state, into, place);
        }
        self.suspend(state, into);
        let mut forgot = *state;
        // A revision is never given twice: it grows with the store's clock.
        if state.left[2] > 0 && state.before != state.kept && !state.kept.suspended && !state.before.suspended {
            forgot.left[2] -= 1;
            forgot.kept = Kept { revision: state.kept.revision + 1, ..state.before };
            self.push(into, true, "the store forgets its last change", 0, forgot);
        }
    }

    fn wrong(&self, state: &State) -> Option<Property> {
        state.broken
    }

    /// Slots that are not dealt with, or whose job was counted as sent and is not there.
    fn owes(&self, state: &State) -> bool {
        let sent = state.jobs.iter().filter(|job| **job != Job::Never).count();
        state.kept.after < state.now || state.kept.waiting.is_some() || sent < usize::from(state.kept.fired)
    }

    fn loss(&self) -> Option<Property> {
        self.only.is_none_or(|only| only == Property::NoLoss).then_some(Property::NoLoss)
    }
}
