//! The store: every call that it answers, each in one step, as its scripts are. Mutants of the store's rules are here.
//!
//! States change through [`Model::change`] alone, which applies the product's transition function and notices what
//! the properties are about.

use super::mutant::Mutant;
use super::plan::Fault;
use super::property::Property;
use super::record::{self, Holder, KIND, LATER_MS, RETRY_FOR_MS, Slim};
use super::system::{Duty, Ending, Hold, Outgoing, Phase, System, Worker};
use super::{Model, gates};
use longshore_model::id::Generation;
use longshore_model::record::{Reason, Start, State};
use longshore_model::transition::{Answer, Event, FailureTerms, Verdict};

/// What a sender is told.
pub(super) enum Enqueued {
    /// It is in the store.
    Accepted { state: State, generation: u8 },
    /// It ended long ago.
    Ended,
    /// Another job holds its unique key.
    Duplicate,
}

/// What a slot is told of its claim.
pub(super) enum Claimed {
    /// By the state machine.
    Known(Answer),
    /// The copy is older than the record, whose own is not confirmed yet.
    Unpublished,
    /// It ended long ago.
    Tombstone,
    /// Nobody knows it (only where the rebuild is left out).
    Unknown,
}

impl Model {
    /// Applies an event to the record of a job. `None`: there is none.
    pub(super) fn change(&self, system: &mut System, job: u8, event: &Event) -> Option<Answer> {
        let clock = system.job(job).clock;
        let before = system.job(job).record?;
        let mut after = before;
        let answer = self.records.apply(&mut after, clock, event);
        self.distort(event, &before, &mut after, clock);
        self.notice(system, job, event, &before, &after, &answer);
        let it = system.job(job);
        it.record = Some(after);
        if after.fence != before.fence {
            it.clock += 1;
            it.seen.newest = it.seen.newest.max(after.fence);
        }
        if after.state != before.state {
            it.seen.confirmed = false;
            it.seen.put_off = match after.state {
                State::Scheduled => true,
                State::Queued => it.seen.put_off,
                _ => false,
            };
        }
        if after.state.is_terminal() && !before.state.is_terminal() {
            it.seen.ended = true;
            if !self.has(Mutant::KeyKept) || !matches!(event, Event::LeaseGone { .. }) {
                gates::leave(system, job);
            }
        }
        Some(answer)
    }

    /// What mutants do to a state after an event.
    fn distort(&self, event: &Event, before: &Slim, after: &mut Slim, clock: u8) {
        let queued = after.state == State::Queued && before.state != State::Queued;
        if self.has(Mutant::FenceKeptAtRescue) && matches!(event, Event::LeaseGone { .. }) {
            after.fence = before.fence;
        }
        if self.has(Mutant::FenceFromClock) && after.fence != before.fence {
            after.fence = clock + 1;
        }
        if self.has(Mutant::GenerationKept) && queued {
            after.generation = before.generation;
        }
        if self.has(Mutant::PromoteWithoutOutbox) && matches!(event, Event::Promote) {
            after.outbox = false;
        }
    }

    fn notice(&self, system: &mut System, job: u8, event: &Event, before: &Slim, after: &Slim, answer: &Answer) {
        let seen = system.job(job).seen;
        if after.state.is_terminal() && !before.state.is_terminal() && seen.ended {
            self.breaks(system, Property::EndsOnce);
        }
        match (event, answer) {
            (Event::Claim { .. }, Answer::Run { .. }) => {
                if seen.ended {
                    self.breaks(system, Property::NoRunAfterEnd);
                }
                if after != before && after.fence <= seen.newest && !seen.ended {
                    self.breaks(system, Property::FencesGrow);
                }
            }
            (Event::Finish { fence, .. }, Answer::Moved { .. }) => {
                let fence = record::number(*fence);
                if fence != seen.newest {
                    self.breaks(system, Property::Fenced);
                }
            }
            (Event::LeaseGone { .. }, Answer::Moved { .. }) if !system.happened.disturbed => {
                self.breaks(system, Property::Blame);
            }
            _ => {}
        }
    }

    /// T1, T2. The same id again is answered before any gate is asked.
    pub(super) fn enqueue(&self, system: &mut System, job: u8) -> Enqueued {
        let free = gates::may_enter(system, job);
        if self.has(Mutant::KeyAskedFirst) && system.key.is_some() {
            if system.key == Some(job) {
                self.breaks(system, Property::Unique);
            }
            return Enqueued::Duplicate;
        }
        if let Some(record) = system.job(job).record {
            return Enqueued::Accepted { state: record.state, generation: record.generation };
        }
        if system.job(job).tombstone {
            return Enqueued::Ended;
        }
        if !free && !self.has(Mutant::KeyNotAsked) {
            return Enqueued::Duplicate;
        }
        let mut record = self.records.admit(if self.plan.delayed { Start::After(LATER_MS) } else { Start::Now });
        if self.has(Mutant::EnqueueWithoutOutbox) || self.has(Mutant::PublishFirst) {
            record.outbox = false;
        }
        record.crashes = self.plan.crashes;
        system.job(job).record = Some(record);
        gates::enter(system, job, self.shares_key());
        Enqueued::Accepted { state: record.state, generation: record.generation }
    }

    /// T4.
    pub(super) fn published(&self, system: &mut System, job: u8, generation: u8) {
        let current = system.job(job).record.map_or(0, |record| record.generation);
        let generation = if self.has(Mutant::MarkAnyGeneration) { current } else { generation };
        self.change(system, job, &Event::Published { generation: Generation(generation.into()) });
    }

    /// T5, and T6 where nobody knows the job.
    pub(super) fn claim(&self, system: &mut System, slot: usize) -> Claimed {
        let worker = system.workers[slot];
        let holder = self.holder(slot, &worker);
        let floor = worker.delivery().map_or(0, |message| message.floor);
        let alone = worker.alone || self.has(Mutant::SuspectAnywhere);
        let event = self.records.claim(holder, worker.generation, floor, alone);
        let job = worker.job;
        if system.job(job).record.is_none() {
            if self.has(Mutant::PublishFirst) {
                return Claimed::Unknown;
            }
            if system.job(job).tombstone {
                return Claimed::Tombstone;
            }
            system.job(job).record = Some(self.records.admit(Start::Now));
            gates::enter(system, job, self.shares_key());
        }
        if let Some(record) = &mut system.job(job).record
            && let Some(current) = record.holder
        {
            let theirs = current != holder;
            if theirs && self.has(Mutant::ClaimTakesOver) {
                (record.state, record.holder) = (State::Queued, None);
            }
            if self.has(Mutant::ClaimNotRepeatable) && !theirs {
                return Claimed::Known(Answer::Busy { lease_left_ms: 0 });
            }
            if self.has(Mutant::ClaimWithoutNonce) && current.instance == holder.instance {
                record.holder = Some(holder);
            }
        }
        match self.change(system, job, &event) {
            Some(Answer::Outdated { replaced: false }) => Claimed::Unpublished,
            Some(answer) => Claimed::Known(answer),
            None => Claimed::Unknown,
        }
    }

    /// T7. `None`: the store has no such job.
    pub(super) fn renew(&self, system: &mut System, slot: usize) -> Option<Answer> {
        let worker = system.workers[slot];
        let event = Event::Renew { fence: record::fence(worker.fence), lease_ms: LATER_MS };
        self.change(system, worker.job, &event)
    }

    /// T7b: an attempt whose job the store has lost goes on under its fence. Answers whether it may.
    pub(super) fn adopt(&self, system: &mut System, slot: usize) -> bool {
        let worker = system.workers[slot];
        let holder = self.holder(slot, &worker);
        let job = system.job(worker.job);
        let lost = job.record.is_none_or(|record| record.state == State::Queued && record.fence < worker.fence);
        if job.tombstone || !lost {
            return false;
        }
        let generation = worker.generation.max(job.record.map_or(1, |record| record.generation));
        let (fence, holder) = (worker.fence, Some(holder));
        let admitted = job.record.unwrap_or_else(|| self.records.admit(Start::Now));
        job.record = Some(Slim { state: State::Active, generation, fence, holder, outbox: false, ..admitted });
        gates::enter(system, worker.job, self.shares_key());
        true
    }

    /// T8 to T11, onto the adopted job where the store has lost it. `None`: it ended and was purged.
    pub(super) fn finish(&self, system: &mut System, slot: usize, ending: Ending) -> Option<Answer> {
        let worker = system.workers[slot];
        if system.job(worker.job).record.is_none() && !self.adopt(system, slot) {
            return None;
        }
        let mut fence = worker.fence;
        if self.has(Mutant::CommitWithoutFence)
            && let Some(record) = system.job(worker.job).record
            && record.state == State::Active
        {
            fence = record.fence;
            // Who commits is who is judged: the newest fence is not theirs.
            if worker.fence != system.job(worker.job).seen.newest {
                self.breaks(system, Property::Fenced);
            }
        }
        let event = Event::Finish { fence: record::fence(fence), verdict: verdict(ending) };
        let answer = self.change(system, worker.job, &event);
        if matches!(answer, Some(Answer::Already { .. })) && !worker.committed {
            self.breaks(system, Property::Fenced);
        }
        system.workers[slot].committed |= matches!(answer, Some(Answer::Moved { .. }));
        answer
    }

    /// T12, by whoever sees it. Answers whether it is to be published.
    pub(super) fn rescue(&self, system: &mut System, job: u8) -> bool {
        let holder = system.jobs[usize::from(job)].record.and_then(|record| record.holder);
        let process = |holder: Holder| (holder.instance, holder.incarnation);
        let other = &system.jobs[usize::from(1 - job)];
        let beside = other.record.and_then(|record| record.holder).map(process);
        let before = other.fallen.filter(|_| !self.has(Mutant::CompanyForgotten));
        let alone = self.has(Mutant::BlameAnybody)
            || holder.is_some_and(|holder| Some(process(holder)) != beside && Some(process(holder)) != before);
        let answer = self.change(system, job, &Event::LeaseGone { alone });
        if !self.plan.keyed && matches!(answer, Some(Answer::Moved { .. })) {
            let record = system.job(job).record;
            if job == 1 && record.is_some_and(|record| record.state == State::GivenUp) {
                self.breaks(system, Property::Innocent);
            }
            system.job(job).fallen = holder.map(process);
        }
        matches!(answer, Some(Answer::Moved { state: State::Queued }))
    }

    const fn shares_key(&self) -> bool {
        self.plan.keyed && self.plan.jobs > 1
    }

    /// T13. Answers whether it is to be published.
    pub(super) fn promote(&self, system: &mut System, job: u8) -> bool {
        matches!(self.change(system, job, &Event::Promote), Some(Answer::Moved { .. }))
    }

    /// The reconciler: the broker has nothing in the lane of a job that it should have.
    pub(super) fn reconcile(&self, system: &mut System, job: u8) {
        if let Some(record) = &mut system.job(job).record {
            record.outbox = true;
        }
    }

    /// T19: history makes room for a tombstone.
    pub(super) fn purge(&self, system: &mut System, job: u8) {
        if self.change(system, job, &Event::Remove) == Some(Answer::Purge) {
            system.job(job).record = None;
            system.job(job).tombstone = !self.has(Mutant::NoTombstone);
        }
    }

    /// Whether the lease of an active job may have ended: nobody who beats holds it. Time passes as it likes; only
    /// a process that works and reaches the store keeps its lease, and one that does not reach it stops before it ends.
    pub(super) fn lease_may_end(&self, system: &System, job: u8) -> bool {
        let Some(holder) = system.jobs[usize::from(job)].record.and_then(|record| record.holder) else { return false };
        let fence = system.jobs[usize::from(job)].record.map_or(0, |record| record.fence);
        let keeps = |slot: usize| {
            let worker = &system.workers[slot];
            if worker.paused || worker.job != job || self.holder(slot, worker) != holder {
                return false;
            }
            match worker.phase {
                Phase::Claim => !worker.cut && worker.hold != Hold::Gone,
                Phase::Run => worker.fence == fence && !(worker.cut && self.has(Mutant::NoSelfFence)),
                Phase::Park | Phase::Commit(_) => worker.fence == fence && !worker.cut,
                _ => false,
            }
        };
        self.has(Mutant::RescueWithoutLeaseCheck) || !(keeps(0) || keeps(1))
    }

    /// Who a slot is for the store.
    pub(super) const fn holder(&self, slot: usize, worker: &Worker) -> Holder {
        let instance = if self.plan.one_instance { 0 } else { slot as u8 };
        Holder { instance, incarnation: worker.incarnation, nonce: worker.nonce }
    }

    /// The faults of the store, and people who stop jobs.
    pub(super) fn disturb_store(&self, system: &System, into: &mut super::Steps) {
        let mut wiped = *system;
        if wiped.spend(Fault::Wipe) {
            wiped.happened.wiped = true;
            wiped.key = None;
            for job in &mut wiped.jobs {
                (job.record, job.tombstone) = (None, false);
                job.seen.confirmed = false;
            }
            self.fault(into, "the store is wiped", 0, wiped);
        }
        for job in 0..2 {
            let mut back = *system;
            if back.jobs[usize::from(job)].clock > 0 && back.spend(Fault::Clock) {
                back.job(job).clock = 0;
                self.fault(into, "the store's clock jumps back", job, back);
            }
            let record = system.jobs[usize::from(job)].record;
            if record.is_some_and(|record| !record.state.is_terminal()) && system.left.has(Fault::Control) {
                for (event, what) in
                    [(Event::Stop { by: "somebody".into() }, "somebody stops"), (Event::Remove, "somebody removes")]
                {
                    let mut asked = *system;
                    asked.spend(Fault::Control);
                    self.change(&mut asked, job, &event);
                    self.fault(into, what, job, asked);
                }
            }
        }
    }
}

pub(super) fn verdict(ending: Ending) -> Verdict {
    let error = String::new;
    match ending {
        Ending::Succeeded => Verdict::Succeeded { message: None },
        Ending::Fatal => Verdict::Fatal { reason: Reason::Permanent, error: error() },
        Ending::Failed => Verdict::failed(LATER_MS, error()),
        Ending::FailedNow => Verdict::failed(0, error()),
        Ending::FailedAs(retries) => {
            let terms = FailureTerms { kind: Some(KIND.to_owned()), retries: Some(retries), retry_for_ms: None };
            Verdict::Failed { delay_ms: 0, error: error(), terms }
        }
        Ending::FailedInTime => {
            let terms = FailureTerms { retry_for_ms: Some(RETRY_FOR_MS), ..FailureTerms::default() };
            Verdict::Failed { delay_ms: LATER_MS, error: error(), terms }
        }
        Ending::Released => Verdict::Released { delay_ms: 0, reason: Reason::Interrupted, message: error() },
        Ending::Snoozed => Verdict::Released { delay_ms: LATER_MS, reason: Reason::Snoozed, message: error() },
    }
}

/// What a duty that publishes a job starts from.
pub(super) fn outgoing(system: &System, job: u8) -> Duty {
    let record = system.jobs[usize::from(job)].record;
    let outgoing = |record: Slim| Outgoing { job, generation: record.generation, fence: record.fence };
    record.map_or(Duty::Idle, |record| Duty::Publish(outgoing(record)))
}
