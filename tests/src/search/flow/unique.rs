//! The unique key: who has it, until when, and what a second job changes. Mutants are here.

use super::gates::Op;
use super::mutant::Mutant;
use super::property::Property;
use super::system::Key;
use longshore_model::record::State;
use longshore_model::transition::Event;
use longshore_model::unique::UniqueMode;

impl Op<'_> {
    fn mode(&self, job: u8) -> Option<UniqueMode> {
        self.model.plan.asks[usize::from(job)].unique
    }

    /// The job that stands for a new one of the same key; it may have got the new one's payload.
    pub(super) fn instead(&mut self, job: u8) -> Option<u8> {
        let mode = self.mode(job)?;
        let key = self.flow.key.filter(|key| key.timed || self.flow.jobs[usize::from(key.job)].is_open())?;
        if self.model.has(Mutant::KeyNotAsked) {
            return None;
        }
        let first = key.job;
        let it = self.flow.job(first);
        if mode.replaces() {
            if it.started {
                // Its payload was read: the newer one would never run.
                self.model.breaks(&mut self.flow, Property::Newest);
            } else {
                it.newest = job + 1;
                it.quiet = false;
            }
        }
        self.supersede(first, job, mode);
        Some(first)
    }

    fn supersede(&mut self, first: u8, job: u8, mode: UniqueMode) {
        let waits = self.flow.job(first).state().is_some_and(State::may_expire);
        if !mode.replaces() || !waits || self.model.has(Mutant::OldestPayloadStays) {
            return;
        }
        self.flow.job(first).payload = job + 1;
        if mode == UniqueMode::Debounce && !self.model.has(Mutant::TimeStays) {
            self.flow.job(first).ripe = false;
        }
        let delay_ms = (mode == UniqueMode::Debounce).then_some(super::super::record::LATER_MS);
        self.move_on(first, &Event::Supersede { delay_ms });
    }

    /// Gives a new job its key, unless another one has it.
    pub(super) fn take_key(&mut self, job: u8) {
        let Some(mode) = self.mode(job) else { return };
        let taken = self.flow.key.is_some_and(|key| key.timed || self.flow.jobs[usize::from(key.job)].is_open());
        if !taken {
            self.flow.key = Some(Key { job, timed: mode == UniqueMode::Period });
        }
    }

    /// A job changed its state: its key may be free by that.
    pub(super) fn free_key(&mut self, job: u8) {
        let (Some(mode), Some(state)) = (self.mode(job), self.flow.job(job).state()) else { return };
        let until_started = mode.until_started() && !self.model.has(Mutant::KeyKeptByStart)
            || mode == UniqueMode::UntilFinished && self.model.has(Mutant::KeyFreedByStart);
        let over = state.is_terminal() && !(state == State::Dropped && self.model.has(Mutant::KeyKeptByRemoval))
            || state == State::Active && until_started;
        let timed = mode == UniqueMode::Period && !self.model.has(Mutant::PeriodEndsWithItsJob);
        if over && !timed && self.flow.key.is_some_and(|key| key.job == job) {
            self.flow.key = None;
        }
    }
}
