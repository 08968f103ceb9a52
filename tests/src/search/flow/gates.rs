//! Who may pass, as the stores decide it: an order first, and kept until the job has ended; of pauses and limits all or
//! none. Whoever leaves a gate wakes it, and what was woken is looked at before the step ends. Mutants are here.

use super::Model;
use super::mutant::Mutant;
use super::property::Property;
use super::system::{Flow, Gate, HALT, JOBS};
use longshore_model::gate::{Over, Pausable};
use longshore_model::record::{Reason, State, WaitsAt};
use longshore_model::transition::{Answer, Event};
use std::collections::VecDeque;

/// One operation of the store, and the gates that it has to look at before it ends.
pub(super) struct Op<'a> {
    pub(super) model: &'a Model,
    pub(super) flow: Flow,
    waking: VecDeque<Gate>,
    /// By limit: from whom it may be taken back, because they were let through long ago and are not started.
    old: [u8; 2],
    /// By order: who waited behind a job that failed for good, a bit each.
    pub(super) skips: [u8; 2],
}

impl<'a> Op<'a> {
    pub(super) fn new(model: &'a Model, flow: &Flow) -> Self {
        Self { model, flow: *flow, waking: VecDeque::new(), old: [0; 2], skips: [0; 2] }
    }

    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.model.has(mutant)
    }

    fn state(&self, job: u8) -> State {
        self.flow.jobs[usize::from(job)].state().expect("it was accepted")
    }

    /// Lets something happen to a job; where it would be queued by that, it has to pass its gates.
    pub(super) fn apply(&mut self, job: u8, event: &Event) -> Answer {
        let generation = self.flow.job(job).record.map_or(0, |record| record.generation);
        let answer = self.move_on(job, event);
        let after = self.flow.job(job).record;
        if after.is_some_and(|after| after.state == State::Queued && after.generation != generation) {
            self.enter(job, false);
        }
        answer
    }

    /// Lets something happen to a job whatever gates say; what it leaves may let others pass.
    pub(super) fn move_on(&mut self, job: u8, event: &Event) -> Answer {
        let mut record = self.flow.job(job).record.expect("it was accepted");
        let before = record.state;
        let clock = record.fence;
        let answer = self.model.records.apply(&mut record, clock, event);
        let it = self.flow.job(job);
        it.record = Some(record);
        if record.state.waits_for_time() && record.state != before {
            it.ripe = false;
        }
        if record.state != before {
            self.left(job, before, record.state, event);
            self.free_key(job);
        } else if self.has(Mutant::StaleFinishFrees) && matches!(answer, Answer::Stale { .. }) {
            self.release(job, true);
        }
        answer
    }

    fn left(&mut self, job: u8, before: State, after: State, event: &Event) {
        let ask = self.model.plan.asks[usize::from(job)];
        let rescued = matches!(event, Event::LeaseGone { .. });
        if let Some(gate) = self.flow.job(job).waits.filter(|_| after != State::Blocked) {
            self.unwait(job);
            if after.is_terminal() {
                self.wake(gate);
            }
        }
        if let Some(order) = ask.order.filter(|_| after == State::Retrying && self.is_failure(after, event)) {
            self.after_failure(order);
            self.wake(Gate::Order(order));
        }
        if let Some(order) = ask.order {
            let retried = matches!(after, State::Retrying) && self.has(Mutant::OrderFreedByFailure)
                || rescued && self.has(Mutant::OrderFreedByRescue);
            let kept = rescued && self.has(Mutant::OrderKeptByTheDead);
            if (after.is_terminal() && !kept || retried) && self.flow.orders[usize::from(order)] == Some(job) {
                self.flow.orders[usize::from(order)] = None;
                self.judge_failure(order, after);
                if self.is_failure(after, event) {
                    self.after_failure(order);
                }
                if after != State::Dropped || !self.has(Mutant::OrderNotWokenByRemoval) {
                    self.wake(Gate::Order(order));
                }
            }
        }
        let kept = rescued && self.has(Mutant::LimitKeptByTheDead)
            || after == State::Retrying && self.has(Mutant::LimitKeptByFailure)
            || after == State::Blocked && self.has(Mutant::LimitKeptByPause);
        if before.holds_limits() && !after.holds_limits() && !kept {
            self.release(job, !(after == State::Stopped && self.has(Mutant::LimitNotWokenByStop)));
        }
        if after == State::Active && before != State::Queued {
            ask.order.map(|order| self.flow.orders[usize::from(order)].replace(job));
            self.take(job);
        }
    }

    fn release(&mut self, job: u8, wakes: bool) {
        for limit in self.model.plan.asks[usize::from(job)].limits {
            let gate = &mut self.flow.limits[usize::from(*limit)];
            if gate.holders & (1 << job) != 0 {
                gate.holders &= !(1 << job);
                if wakes {
                    self.wake(Gate::Limit(*limit));
                }
            }
        }
    }

    pub(super) fn wake(&mut self, gate: Gate) {
        if !self.waking.contains(&gate) {
            self.waking.push_back(gate);
        }
    }

    fn pause_of(&self, job: u8) -> Option<Gate> {
        let topic = self.model.plan.asks[usize::from(job)].topic;
        let order = self.model.plan.asks[usize::from(job)].order;
        let here = |what: u8| self.flow.paused[usize::from(what)].then_some(Gate::Pause(what));
        here(0).or_else(|| here(1).filter(|_| topic == 0)).or_else(|| here(HALT).filter(|_| order == Some(0)))
    }

    /// Whether a limit does not let a job pass. `from`: the gate whose first in line it is.
    fn is_closed(&mut self, job: u8, limit: u8, from: Option<Gate>) -> bool {
        let gate = self.flow.limits[usize::from(limit)];
        if gate.max == 0 {
            return false;
        }
        let held = gate.holders & (1 << job) != 0;
        let one_more = u32::from(self.has(Mutant::LimitHasRoomForOneMore));
        if !held && gate.holders.count_ones() >= u32::from(gate.max) + one_more {
            return true;
        }
        if !held && from != Some(Gate::Limit(limit)) && gate.turns[0] != 0 {
            self.wake(Gate::Limit(limit));
            return true;
        }
        false
    }

    /// What does not let a job pass. Takes the order of a job that is next in it.
    fn refusal(&mut self, job: u8, from: Option<Gate>) -> Option<(Gate, Reason)> {
        let ask = self.model.plan.asks[usize::from(job)];
        if let Some(order) = ask.order {
            let gate = Gate::Order(order);
            match self.flow.orders[usize::from(order)] {
                Some(holder) if holder == job => {}
                Some(_) if !self.has(Mutant::OrderNotAsked) => return Some((gate, Reason::Order)),
                None if from != Some(gate) && self.flow.waiting(gate).next().is_some() => {
                    self.wake(gate);
                    return Some((gate, Reason::Order));
                }
                _ => self.flow.orders[usize::from(order)] = Some(job),
            }
        }
        if let Some(gate) = self.pause_of(job) {
            return Some((gate, Reason::Paused));
        }
        for limit in ask.limits {
            if self.is_closed(job, *limit, from) {
                return Some((Gate::Limit(*limit), Reason::Limit));
            }
            if self.has(Mutant::LimitsOneAfterTheOther) {
                self.flow.limits[usize::from(*limit)].holders |= 1 << job;
            }
        }
        None
    }

    fn take(&mut self, job: u8) {
        for limit in self.model.plan.asks[usize::from(job)].limits {
            let gate = &mut self.flow.limits[usize::from(*limit)];
            if gate.max > 0 {
                gate.holders |= 1 << job;
                self.old[usize::from(*limit)] &= !(1 << job);
            }
        }
    }

    /// A job was made queued: it passes, or waits.
    pub(super) fn enter(&mut self, job: u8, new: bool) {
        if self.flow.job(job).came == 0 {
            self.flow.accepted += 1;
            self.flow.job(job).came = self.flow.accepted;
        }
        let Some((gate, reason)) = self.refusal(job, None) else {
            self.judge_turn(job);
            return self.take(job);
        };
        if new && reason == Reason::Limit && self.model.plan.over == Over::Replace {
            let waiting: Vec<u8> = self.flow.waiting(gate).collect();
            for id in waiting.into_iter().take(if self.has(Mutant::ReplaceNobody) { 0 } else { JOBS }) {
                self.move_on(id, &Event::Replace);
            }
        }
        self.wait_at(job, gate, reason);
    }

    /// The limit that refuses a new job, if one does.
    pub(super) fn is_refused(&mut self, job: u8) -> bool {
        let limits = self.model.plan.asks[usize::from(job)].limits;
        self.model.plan.over == Over::Refuse && limits.iter().any(|limit| self.is_closed(job, *limit, None))
    }

    fn wait_at(&mut self, job: u8, gate: Gate, reason: Reason) {
        if self.flow.job(job).place == 0 {
            let last = self.flow.jobs.iter().map(|job| job.place).max().unwrap_or(0);
            (self.flow.job(job).place, self.flow.job(job).age) = (last + 1, 0);
        }
        self.flow.job(job).waits = Some(gate);
        if let Gate::Limit(limit) = gate {
            let turn = self.model.plan.asks[usize::from(job)].turn + 1;
            let turns = &mut self.flow.limits[usize::from(limit)].turns;
            if !turns.contains(&turn) {
                turns[usize::from(turns[0] != 0)] = turn;
            }
        }
        let at = WaitsAt { gate: name(gate), turn: String::new() };
        self.move_on(job, &Event::Block { reason, at });
    }

    fn unwait(&mut self, job: u8) {
        let Some(gate) = self.flow.job(job).waits.take() else { return };
        let Gate::Limit(limit) = gate else { return };
        let turn = self.model.plan.asks[usize::from(job)].turn;
        let same = |other: u8| self.model.plan.asks[usize::from(other)].turn == turn;
        if !self.flow.waiting(gate).any(same) {
            let it = &mut self.flow.limits[usize::from(limit)];
            it.passed_over[usize::from(turn)] = 0;
            if it.turns[0] == turn + 1 {
                it.turns = [it.turns[1], 0];
            } else if it.turns[1] == turn + 1 {
                it.turns[1] = 0;
            }
        }
    }

    /// A queued job that is about to be claimed: whether a pause, or a limit that was set after it had passed, takes it
    /// back. Otherwise it is counted where it was not yet.
    pub(super) fn stop_short(&mut self, job: u8) -> bool {
        if let Some(gate) = self.pause_of(job).filter(|_| !self.has(Mutant::PauseNotAskedByClaims)) {
            self.wait_at(job, gate, Reason::Paused);
            return true;
        }
        for limit in self.model.plan.asks[usize::from(job)].limits {
            let gate = self.flow.limits[usize::from(*limit)];
            if gate.max == 0 || gate.holders & (1 << job) != 0 || self.has(Mutant::LimitNotAskedByClaims) {
                continue;
            }
            if gate.holders.count_ones() >= u32::from(gate.max) {
                self.wait_at(job, Gate::Limit(*limit), Reason::Limit);
                return true;
            }
            self.flow.limits[usize::from(*limit)].holders |= 1 << job;
        }
        false
    }

    /// Ends the operation: looks at every gate that was woken.
    pub(super) fn done(mut self) -> Flow {
        while let Some(gate) = self.waking.pop_front() {
            self.pass(gate);
        }
        self.flow
    }

    /// The same, long after whoever holds a limit was let through.
    pub(super) fn done_late(mut self) -> Flow {
        self.old = self.flow.limits.map(|limit| limit.holders);
        self.done()
    }

    /// Of the turn that was let through longest ago: who is first.
    pub(super) fn first(&self, gate: Gate) -> Option<u8> {
        let turn = match gate {
            Gate::Limit(limit) => self.flow.limits[usize::from(limit)].turns[0].checked_sub(1)?,
            Gate::Order(_) | Gate::Pause(_) => 0,
        };
        let of_turn =
            |job: &u8| !matches!(gate, Gate::Limit(_)) || self.model.plan.asks[usize::from(*job)].turn == turn;
        let line = self.flow.waiting(gate).filter(of_turn);
        let stands = |job: &u8| self.standing(*job, gate);
        if self.has(Mutant::LastInFirstOut) { line.max_by_key(stands) } else { line.min_by_key(stands) }
    }

    fn pass(&mut self, gate: Gate) {
        while let Some(job) = self.first(gate) {
            if let Gate::Order(order) = gate
                && self.skips[usize::from(order)] & (1 << job) != 0
            {
                self.skip(job);
                continue;
            }
            match self.refusal(job, Some(gate)) {
                Some((other, reason)) if other == gate => {
                    if reason != Reason::Limit || !self.take_back(gate, job) {
                        return;
                    }
                }
                Some((other, reason)) => {
                    self.unwait(job);
                    self.wait_at(job, other, reason);
                }
                None => {
                    self.judge_turn(job);
                    self.take(job);
                    self.move_on(job, &Event::Release);
                    if let Gate::Limit(limit) = gate {
                        self.rotate(limit, self.model.plan.asks[usize::from(job)].turn);
                    }
                }
            }
        }
    }

    /// The turn that was let through goes to the end of the line of turns.
    fn rotate(&mut self, limit: u8, turn: u8) {
        let (rotates, other) = (!self.has(Mutant::TurnsNotTaken), 1 - turn);
        let it = &mut self.flow.limits[usize::from(limit)];
        if it.turns == [turn + 1, other + 1] && rotates {
            it.turns = [other + 1, turn + 1];
        }
        it.passed_over[usize::from(turn)] = 0;
        if it.turns.contains(&(other + 1)) {
            it.passed_over[usize::from(other)] += 1;
            if it.passed_over[usize::from(other)] > 1 {
                self.model.breaks(&mut self.flow, Property::Turns);
            }
        }
    }

    /// Takes a limit back from a job that it let through long ago and that no instance takes, for one of another topic.
    fn take_back(&mut self, gate: Gate, waiter: u8) -> bool {
        let Gate::Limit(limit) = gate else { return false };
        let topic = |job: u8| self.model.plan.asks[usize::from(job)].topic;
        let holders = self.flow.limits[usize::from(limit)].holders & self.old[usize::from(limit)];
        let old = (0..JOBS as u8)
            .filter(|job| holders & (1 << job) != 0)
            .find(|job| self.state(*job) == State::Queued && topic(*job) != topic(waiter));
        let Some(holder) = old else { return false };
        self.flow.job(holder).place = 0;
        self.wait_at(holder, gate, Reason::Limit);
        true
    }
}

/// The name of a gate in records.
pub(super) fn name(gate: Gate) -> longshore_model::gate::GateName {
    use longshore_model::gate::GateName;
    match gate {
        Gate::Order(key) => GateName::order("main", &key.to_string()),
        Gate::Limit(limit) => GateName::limit(&format!("l{limit}"), ""),
        Gate::Pause(what) => GateName::pause(&paused(what)),
    }
}

/// What a pause is of.
pub(super) fn paused(what: u8) -> Pausable {
    match what {
        0 => Pausable::All,
        HALT => Pausable::Key { queue: "main".into(), key: "0".into() },
        _ => Pausable::Topic("search/0".into()),
    }
}
