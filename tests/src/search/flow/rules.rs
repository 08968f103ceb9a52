//! What a queue says beside how many run: how many may wait, and what a final failure does to its orders. And who
//! presses more at a limit. Mutants are here.

use super::gates::Op;
use super::mutant::Mutant;
use super::property::Property;
use super::system::{Flow, Gate, HALT, JOBS, Job};
use super::{Model, plan::Length};
use longshore_model::gate::{OnFailure, WhenFull};
use longshore_model::record::State;
use longshore_model::transition::Event;

/// Jobs of a queue that wait, the oldest first.
pub(super) fn waiting(flow: &Flow) -> Vec<u8> {
    let mut waiting: Vec<u8> = (0..JOBS as u8).filter(|job| flow.jobs[usize::from(*job)].waits_in_queue()).collect();
    waiting.sort_by_key(|job| flow.jobs[usize::from(*job)].came);
    waiting
}

impl Job {
    fn waits_in_queue(&self) -> bool {
        self.is_open() && self.state() != Some(State::Active)
    }
}

impl Op<'_> {
    /// Makes room for a new job; whether there is none.
    pub(super) fn is_crowded(&mut self) -> bool {
        let Some(Length { max, full }) = self.model.plan.length.filter(|_| !self.has(Mutant::LengthNotAsked)) else {
            return false;
        };
        let truly = waiting(&self.flow);
        let mut counted = truly.clone();
        if self.has(Mutant::RunningWaits) {
            let running = |job: &u8| self.flow.jobs[usize::from(*job)].state() == Some(State::Active);
            counted.extend((0..JOBS as u8).filter(running));
        }
        if self.has(Mutant::RetriesDoNotWait) {
            counted.retain(|job| !self.flow.jobs[usize::from(*job)].started);
        }
        if self.has(Mutant::NewestDisplaced) {
            counted.reverse();
        }
        let over = (counted.len() + 1).saturating_sub(max.into());
        if over > 0 && full == WhenFull::Refuse {
            if truly.len() < max.into() {
                self.model.breaks(&mut self.flow, Property::Length);
            }
            return true;
        }
        for job in counted.into_iter().take(over) {
            self.move_on(job, &Event::Displace);
            let older = |other: &u8| self.flow.jobs[usize::from(*other)].came < self.flow.jobs[usize::from(job)].came;
            if waiting(&self.flow).iter().any(older) {
                self.model.breaks(&mut self.flow, Property::Oldest);
            }
        }
        false
    }

    /// Whether the end of a job is one that its order hears of.
    pub(super) fn is_failure(&self, after: State, event: &Event) -> bool {
        let crashed = matches!(event, Event::LeaseGone { .. });
        match after {
            State::Error => true,
            State::GivenUp => !(crashed && self.has(Mutant::CrashIsNoFailure)),
            State::Stopped => self.has(Mutant::StopIsFailure),
            State::Retrying => self.has(Mutant::EveryFailureIsFinal),
            _ => false,
        }
    }

    /// A job of an order failed for good.
    pub(super) fn after_failure(&mut self, order: u8) {
        let behind = self.flow.waiting(Gate::Order(order)).fold(0, |all, job| all | 1 << job);
        match self.model.plan.on_failure {
            OnFailure::Continue => {}
            OnFailure::Skip => self.skips[usize::from(order)] = behind,
            OnFailure::Halt => self.flow.paused[usize::from(HALT)] = true,
        }
        if self.has(Mutant::NobodySkipped) {
            self.skips = [0; 2];
        } else if self.has(Mutant::OneSkipped) {
            let first = self.first(Gate::Order(order)).map_or(0, |job| 1 << job);
            self.skips[usize::from(order)] &= first;
        } else if self.has(Mutant::NothingHalts) {
            self.flow.paused[usize::from(HALT)] = false;
        }
    }

    /// What a judge knows of a final failure.
    pub(super) fn judge_failure(&mut self, order: u8, after: State) {
        if !matches!(after, State::Error | State::GivenUp) {
            return;
        }
        match self.model.plan.on_failure {
            OnFailure::Continue => {}
            OnFailure::Skip => {
                for job in self.flow.waiting(Gate::Order(order)).collect::<Vec<_>>() {
                    self.flow.job(job).doomed = true;
                }
            }
            OnFailure::Halt => self.flow.halted = true,
        }
    }

    /// Drops a job behind a failure.
    pub(super) fn skip(&mut self, job: u8) {
        if !self.flow.job(job).doomed {
            self.model.breaks(&mut self.flow, Property::Skipped);
        }
        self.move_on(job, &Event::Skip { why: String::new() });
    }

    /// Where a job stands in a line: the least goes first.
    pub(super) fn standing(&self, job: u8, gate: Gate) -> (i16, u8) {
        let it = &self.flow.jobs[usize::from(job)];
        let rank = i16::from(self.model.plan.asks[usize::from(job)].priority.rank());
        let age = if self.has(Mutant::NobodyAges) { 0 } else { i16::from(it.age) };
        let ordered = matches!(gate, Gate::Order(_)) && !self.has(Mutant::OrdersPress);
        let plain = ordered || self.has(Mutant::PriorityNotAsked);
        (if plain { 0 } else { -(age + rank) }, it.place)
    }

    /// A job is let through: nobody who goes before it waits at one of its limits.
    pub(super) fn judge_turn(&mut self, job: u8) {
        let ask = self.model.plan.asks[usize::from(job)];
        for limit in ask.limits {
            // A limit that was taken away lets pass whoever comes; who waits there is looked at a moment later.
            let it = self.flow.limits[usize::from(*limit)];
            let passed = it.max == 0 || it.holders & (1 << job) != 0;
            let waits = |other: &u8| *other != job && self.model.plan.asks[usize::from(*other)].turn == ask.turn;
            let waiting: Vec<u8> = self.flow.waiting(Gate::Limit(*limit)).filter(waits).collect();
            if !passed && waiting.iter().any(|other| self.model.goes_before(&self.flow, *other, job)) {
                self.model.breaks(&mut self.flow, Property::Priority);
            }
        }
    }
}

impl Model {
    /// Whether one job goes before another at a limit: it presses more than the other came earlier, in lengths of
    /// waiting that one class is worth; where neither is so, whoever came first.
    fn goes_before(&self, flow: &Flow, one: u8, other: u8) -> bool {
        let (first, second) = (flow.jobs[usize::from(one)], flow.jobs[usize::from(other)]);
        let rank = |job: u8| self.plan.asks[usize::from(job)].priority.rank();
        let classes = i16::from(rank(one)) - i16::from(rank(other));
        let later = i16::from(second.age) - i16::from(first.age);
        // Who never waited came last.
        second.place == 0 || classes > later || classes == later && first.place < second.place
    }
}
