//! What can happen: senders send, slots claim, run and finish, duties move what is due, people interfere, things break.

use super::super::record::{self, Holder, LATER_MS, Until};
use super::super::store::verdict;
use super::super::system::Ending;
use super::gates::Op;
use super::mutant::Mutant;
use super::property::Property;
use super::system::{Fault, Flow, Gate, HALT, JOBS, Run};
use super::{Model, Steps, rules};
use longshore_model::record::{Start, State};
use longshore_model::transition::{Answer, Event, Verdict};
use longshore_model::unique::UniqueMode;

impl Model {
    pub(super) fn senders(&self, flow: &Flow, into: &mut Steps) {
        for job in 0..JOBS as u8 {
            if flow.jobs[usize::from(job)].to_send {
                let mut op = Op::new(self, flow);
                self.enqueue(&mut op, job);
                self.push(into, false, ("a job is sent", job), op.done());
            }
        }
    }

    fn enqueue(&self, op: &mut Op<'_>, job: u8) {
        op.flow.job(job).to_send = false;
        let ask = self.plan.asks[usize::from(job)];
        if op.instead(job).is_some() || !ask.late && op.is_refused(job) || op.is_crowded() {
            return;
        }
        if ask.unique == Some(UniqueMode::Period) && std::mem::replace(&mut op.flow.period, true) {
            self.breaks(&mut op.flow, Property::Unique);
        }
        let record = self.records.admit(if ask.late { Start::After(LATER_MS) } else { Start::Now });
        let it = op.flow.job(job);
        (it.record, it.payload, it.newest) = (Some(record), job + 1, job + 1);
        op.take_key(job);
        if !ask.late {
            op.enter(job, true);
        }
        if self.plan.length.is_some_and(|length| rules::waiting(&op.flow).len() > length.max.into()) {
            self.breaks(&mut op.flow, Property::Length);
        }
    }

    pub(super) fn slots(&self, flow: &Flow, into: &mut Steps) {
        for slot in 0..flow.slots.len() {
            // Two that wait do the same.
            if slot > 0 && flow.slots[slot].is_none() && flow.slots[slot - 1].is_none() {
                continue;
            }
            match flow.slots[slot] {
                None => (0..JOBS as u8).for_each(|job| self.claim(flow, into, slot, job)),
                Some(run) => {
                    for ending in &self.plan.endings {
                        let mut op = Op::new(self, flow);
                        op.flow.slots[slot] = None;
                        self.finish(&mut op, run, *ending);
                        self.push(into, false, (ending.what(), run.job), op.done());
                    }
                }
            }
        }
    }

    fn finish(&self, op: &mut Op<'_>, run: Run, ending: Ending) {
        let verdict = match verdict(ending) {
            Verdict::Failed { delay_ms, error, .. } if self.has(Mutant::TermsNotSent) => {
                Verdict::failed(delay_ms, error)
            }
            verdict => verdict,
        };
        let answer = op.apply(run.job, &Event::Finish { fence: record::fence(run.fence), verdict });
        if let (Ending::FailedAs(retries), Answer::Moved { .. }) = (ending, answer) {
            let it = op.flow.job(run.job);
            it.ruled += 1;
            if i32::from(it.ruled) > retries + i32::from(!it.is_open()) {
                self.breaks(&mut op.flow, Property::Retries);
            }
        }
    }

    fn claim(&self, flow: &Flow, into: &mut Steps, slot: usize, job: u8) {
        let Some(record) = flow.jobs[usize::from(job)].record.filter(|it| it.state == State::Queued) else { return };
        let mut op = Op::new(self, flow);
        if !op.stop_short(job) {
            let holder = Holder { instance: slot as u8, incarnation: 0, nonce: 0 };
            if let Some(record) = op.flow.job(job).record.as_mut().filter(|_| self.has(Mutant::TimeNotAskedByClaims)) {
                record.until = Until::Never;
            }
            match op.apply(job, &self.records.claim(holder, record.generation, 0, true)) {
                Answer::Run { fence, .. } => {
                    op.flow.slots[slot] = Some(Run { job, fence: record::number(fence), lost: false });
                    self.started(&mut op.flow, job);
                }
                Answer::Ended { .. } if record.until == Until::Over => {}
                answer => unreachable!("a queued job can be claimed: {answer:?}"),
            }
        }
        self.push(into, false, ("a slot claims", job), op.done());
    }

    /// What can only be judged at the moment at which an attempt starts.
    fn started(&self, flow: &mut Flow, job: u8) {
        let ask = self.plan.asks[usize::from(job)];
        let halted = flow.paused[usize::from(HALT)] && ask.order == Some(0);
        let paused = flow.paused[0] || flow.paused[1] && ask.topic == 0 || halted;
        if paused {
            self.breaks(flow, Property::Paused);
        }
        let it = *flow.job(job);
        if it.late {
            self.breaks(flow, Property::RetryTime);
        }
        if !it.started && it.payload != it.newest {
            self.breaks(flow, Property::Newest);
        }
        flow.job(job).started = true;
    }

    pub(super) fn duties(&self, flow: &Flow, into: &mut Steps) {
        for job in 0..JOBS as u8 {
            let it = &flow.jobs[usize::from(job)];
            match it.state() {
                Some(State::Active) => {
                    let alive = |run: &Run| run.job == job && !run.lost;
                    if !flow.slots.iter().flatten().any(alive) {
                        let mut op = Op::new(self, flow);
                        op.apply(job, &Event::LeaseGone { alone: true });
                        let record = op.flow.job(job).record.as_mut();
                        if let Some(record) = record.filter(|_| self.has(Mutant::KindForgottenByRescue)) {
                            record.kinds = 0;
                        }
                        self.push(into, false, ("it is taken back", job), op.done());
                    }
                }
                Some(State::Scheduled | State::Retrying) if !it.ripe => {
                    let mut next = *flow;
                    (next.job(job).ripe, next.job(job).quiet) = (true, true);
                    self.push(into, false, ("its time passes", job), next);
                }
                Some(State::Scheduled | State::Retrying) => {
                    let mut op = Op::new(self, flow);
                    if self.plan.asks[usize::from(job)].unique == Some(UniqueMode::Debounce) && !it.started && !it.quiet
                    {
                        self.breaks(&mut op.flow, Property::Newest);
                    }
                    op.apply(job, &Event::Promote);
                    self.push(into, false, ("it is promoted", job), op.done());
                }
                _ => {}
            }
        }
        for job in 0..JOBS as u8 {
            let mut next = *flow;
            let it = next.job(job);
            if let Some(record) = it.record.as_mut().filter(|record| record.until == Until::Ahead) {
                (record.until, it.late) = (Until::Over, true);
                self.push(into, false, ("its time for retries passes", job), next);
            }
        }
        if flow.due != 0 {
            let mut op = Op::new(self, flow);
            op.flow.due = 0;
            Gate::ALL.into_iter().filter(|gate| flow.due & gate.bit() != 0).for_each(|gate| op.wake(gate));
            self.push(into, false, ("gates are looked at", 0), op.done());
        }
        for limit in 0..flow.limits.len() as u8 {
            let mut op = Op::new(self, flow);
            op.wake(Gate::Limit(limit));
            let next = op.done_late();
            if next != *flow {
                self.push(into, false, ("a limit is looked at much later", limit), next);
            }
        }
        if flow.period {
            let mut next = *flow;
            (next.key, next.period) = (None, false);
            self.push(into, false, ("a period passes", 0), next);
        }
    }

    pub(super) fn people(&self, flow: &Flow, into: &mut Steps) {
        for what in 0..flow.paused.len() {
            let mut op = Op::new(self, flow);
            if flow.paused[what] {
                op.flow.paused[what] = false;
                op.flow.halted &= what != usize::from(HALT);
                if !self.has(Mutant::PauseEndsUnseen) {
                    op.flow.due |= Gate::Pause(what as u8).bit();
                }
                self.push(into, false, ("a pause ends", what as u8), op.done());
            } else if what != usize::from(HALT) && op.flow.spend(Fault::Pause) {
                op.flow.paused[what] = true;
                self.push(into, true, ("somebody pauses", what as u8), op.done());
            }
        }
        let mut next = *flow;
        if next.jobs.iter().any(|job| job.place > 0) && next.spend(Fault::Age) {
            next.jobs.iter_mut().filter(|job| job.place > 0).for_each(|job| job.age += 1);
            self.push(into, true, ("a minute passes", 0), next);
        }
        for limit in 0..flow.limits.len() {
            let mut next = *flow;
            if !self.plan.asks.iter().any(|ask| ask.limits.contains(&(limit as u8))) || !next.spend(Fault::Limit) {
                continue;
            }
            for max in (0..=2).filter(|max| *max != flow.limits[limit].max) {
                let inside = self.inside(flow, limit as u8);
                let runs = |job: &usize| self.runs_at(flow, limit as u8, *job);
                let active = (0..self.plan.asks.len()).filter(runs).fold(0, |all, job| all | 1 << job);
                let it = &mut next.limits[limit];
                if it.max == 0 && !self.has(Mutant::RunningNotCounted) {
                    it.holders |= active;
                }
                it.max = max;
                it.ceiling = inside.max(max);
                next.due |= Gate::Limit(limit as u8).bit();
                self.push(into, true, ("somebody changes a limit", limit as u8), next);
            }
        }
        for job in (0..JOBS as u8).filter(|job| flow.jobs[usize::from(*job)].is_open()) {
            for (event, what) in
                [(Event::Stop { by: "somebody".into() }, "somebody stops"), (Event::Remove, "somebody removes")]
            {
                let mut op = Op::new(self, flow);
                if op.flow.spend(Fault::Control) {
                    op.apply(job, &event);
                    self.push(into, true, (what, job), op.done());
                }
            }
        }
    }

    pub(super) fn faults(&self, flow: &Flow, into: &mut Steps) {
        for slot in 0..flow.slots.len() {
            let Some(run) = flow.slots[slot] else { continue };
            let mut next = *flow;
            if next.spend(Fault::Crash) {
                next.slots[slot] = None;
                self.push(into, true, ("a process dies", run.job), next);
            }
            let mut next = *flow;
            if !run.lost && next.spend(Fault::Lease) {
                next.slots[slot] = Some(Run { lost: true, ..run });
                self.push(into, true, ("a lease ends unnoticed", run.job), next);
            }
        }
    }
}
