//! What gates and keys promise, and the judge that looks at every state.

use super::Model;
use super::system::{Flow, Gate, HALT, JOBS};
use longshore_model::gate::Over;
use longshore_model::record::State;
use longshore_model::unique::UniqueMode;
use std::fmt;

/// A promise of gates or keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Property {
    /// From every state in which an accepted job has not ended, it can end without a further fault.
    NoLoss,
    /// Of an order, nobody is queued or runs beside or before one that came earlier and has not ended.
    Order,
    /// No more run at once than a limit allows, or than ran when it was lowered.
    Limit,
    /// Who holds an order has not ended, and who holds a limit is queued or runs: nobody who waits holds one.
    Held,
    /// Whoever is first in a line is held up by something.
    Idle,
    /// While others wait, nobody is let through twice before they are once.
    Turns,
    /// At a limit where the newest replaces the others, one waits.
    Replaced,
    /// Nothing starts while it is paused.
    Paused,
    /// Where a job comes into a queue with a longest length, no more wait than that; and nobody is refused where
    /// fewer do.
    Length,
    /// Whoever is dropped from a full queue is the oldest that waits.
    Oldest,
    /// Where an order halts, nothing of it passes from a final failure on until somebody resumes it; and it halts for
    /// nothing else.
    Halted,
    /// Where an order skips, whoever waited behind a final failure is dropped, and nobody else.
    Skipped,
    /// Nobody is let through by a limit before one who presses more, or came earlier.
    Priority,
    /// A job fails as often in one way as the rule for it says.
    Retries,
    /// No attempt begins after the time for retries.
    RetryTime,
    /// As many jobs of one key as its mode allows.
    Unique,
    /// No key is held longer than its mode says.
    KeyFreed,
    /// What starts has the newest payload that was sent for it; what is debounced is due only when nothing newer was sent
    /// for its time.
    Newest,
}

impl Property {
    /// Every one.
    pub const ALL: [Self; 18] = [
        Self::NoLoss,
        Self::Order,
        Self::Limit,
        Self::Held,
        Self::Idle,
        Self::Turns,
        Self::Replaced,
        Self::Paused,
        Self::Length,
        Self::Oldest,
        Self::Halted,
        Self::Skipped,
        Self::Priority,
        Self::Retries,
        Self::RetryTime,
        Self::Unique,
        Self::KeyFreed,
        Self::Newest,
    ];
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLoss => "an accepted job can never end",
            Self::Order => "a job of an order went beside or before an earlier one",
            Self::Limit => "more ran at once than the limit allows",
            Self::Held => "an order or a limit is held by a job that ended, or that waits",
            Self::Idle => "the first in a line waits for nothing",
            Self::Turns => "a turn was passed over twice",
            Self::Replaced => "two wait at a limit where the newest replaces the others",
            Self::Paused => "a paused job started",
            Self::Length => "more wait in a queue than may, or a job is refused though fewer do",
            Self::Oldest => "a job is dropped from a full queue, and an older one stays",
            Self::Halted => "an order does not halt after a final failure, or halts without one",
            Self::Skipped => "a job behind a final failure is not skipped, or another one is",
            Self::Priority => "a job is let through before one that presses more",
            Self::Retries => "a job failed more often in one way than its rule allows",
            Self::RetryTime => "an attempt began after the time for retries",
            Self::Unique => "there were more jobs of one key than its mode allows",
            Self::KeyFreed => "a key was held longer than its mode says",
            Self::Newest => "an older payload ran, or too early",
        })
    }
}

impl Model {
    /// Notes that a promise is broken, if it is looked at in this search.
    pub(super) fn breaks(&self, flow: &mut Flow, property: Property) {
        if self.only.is_none_or(|only| only == property) {
            flow.broken.get_or_insert(property);
        }
    }

    /// Attempts of a limit that run.
    pub(super) fn running(&self, flow: &Flow, limit: u8) -> u8 {
        let running = (0..self.plan.asks.len()).filter(|job| self.runs_at(flow, limit, *job)).count();
        u8::try_from(running).unwrap_or(u8::MAX)
    }

    /// Whether a job of a limit runs.
    pub(super) fn runs_at(&self, flow: &Flow, limit: u8, job: usize) -> bool {
        self.plan.asks[job].limits.contains(&limit) && flow.jobs[job].state() == Some(State::Active)
    }

    /// Jobs that a limit let through, or that run without having been let through.
    pub(super) fn inside(&self, flow: &Flow, limit: u8) -> u8 {
        let holders = flow.limits[usize::from(limit)].holders;
        let counts = |job: &usize| holders & (1 << *job) != 0 || self.runs_at(flow, limit, *job);
        u8::try_from((0..self.plan.asks.len()).filter(counts).count()).unwrap_or(u8::MAX)
    }

    /// Looks at what can be seen from a state alone. The rest is noticed where it happens.
    pub(super) fn judge(&self, flow: &mut Flow) {
        let jobs = 0..self.plan.asks.len();
        for (a, b) in jobs.clone().flat_map(|a| jobs.clone().map(move |b| (a, b))).filter(|(a, b)| a != b) {
            let (first, second) = (flow.jobs[a], flow.jobs[b]);
            let one_order = self.plan.asks[a].order.is_some() && self.plan.asks[a].order == self.plan.asks[b].order;
            let before = first.came > 0 && first.came < second.came && first.is_open();
            if one_order && before && second.is_inside() {
                self.breaks(flow, Property::Order);
            }
        }
        let of_halted = |job: usize| self.plan.asks[job].order == Some(0) && flow.jobs[job].is_inside();
        let passed = (0..self.plan.asks.len()).any(of_halted);
        if flow.halted && passed || flow.paused[usize::from(HALT)] && !flow.halted {
            self.breaks(flow, Property::Halted);
        }
        if flow.jobs.iter().any(|job| job.doomed && job.is_open()) {
            self.breaks(flow, Property::Skipped);
        }
        for limit in 0..flow.limits.len() {
            let (running, inside) = (self.running(flow, limit as u8), self.inside(flow, limit as u8));
            let it = &mut flow.limits[limit];
            it.ceiling = it.max.max(it.ceiling.min(inside));
            if it.max > 0 && running > it.ceiling {
                self.breaks(flow, Property::Limit);
            }
        }
        let open = |job: u8| flow.jobs[usize::from(job)].is_open();
        let inside = |job: u8| flow.jobs[usize::from(job)].is_inside();
        let holders = flow.limits.iter().fold(0, |all, limit| all | limit.holders);
        let held = flow.orders.iter().flatten().all(|job| open(*job));
        if !held || (0..JOBS as u8).any(|job| holders & (1 << job) != 0 && !inside(job)) {
            self.breaks(flow, Property::Held);
        }
        for gate in Gate::ALL {
            let waiting = flow.waiting(gate).count();
            let shut = match gate {
                Gate::Order(order) => flow.orders[usize::from(order)].is_some(),
                Gate::Limit(limit) => {
                    let it = &flow.limits[usize::from(limit)];
                    it.max > 0 && it.holders.count_ones() >= u32::from(it.max)
                }
                Gate::Pause(what) => flow.paused[usize::from(what)],
            };
            if waiting > 0 && !shut && flow.due & gate.bit() == 0 {
                self.breaks(flow, Property::Idle);
            }
            if waiting > 1 && self.plan.over == Over::Replace && matches!(gate, Gate::Limit(_)) {
                self.breaks(flow, Property::Replaced);
            }
        }
        self.judge_key(flow);
    }

    fn judge_key(&self, flow: &mut Flow) {
        let Some(mode) = self.plan.asks[0].unique else { return };
        let open = flow.jobs.iter().filter(|job| job.is_open());
        let (all, unstarted) = open.fold((0, 0), |(all, unstarted), job| (all + 1, unstarted + u8::from(!job.started)));
        let running = flow.jobs.iter().filter(|job| job.state() == Some(State::Active)).count();
        let wrong = match mode {
            UniqueMode::UntilStarted | UniqueMode::Debounce => unstarted > 1,
            UniqueMode::UntilFinished => all > 1,
            // Judged where a job is accepted.
            UniqueMode::Period => false,
            UniqueMode::Latest => unstarted > 1 || running > 1,
        };
        if wrong {
            self.breaks(flow, Property::Unique);
        }
        if let Some(key) = flow.key {
            let holder = flow.jobs[usize::from(key.job)];
            let over = !holder.is_open() || holder.started && mode.until_started();
            if over && !key.timed {
                self.breaks(flow, Property::KeyFreed);
            }
        }
    }
}
