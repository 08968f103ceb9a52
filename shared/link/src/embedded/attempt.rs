//! What attempts do: claim (T5), report, renew (T7) and finish (T8 to T11). The fence decides.

use super::core::Core;
use super::table::Entry;
use crate::store::{
    Claim, Claimed, Complete, Completed, Finish, Finished, Known, LossKind, Nudge, Renew, Renewed, Report,
};
use longshore_model::id::{Fence, JobId, Owner};
use longshore_model::limits;
use longshore_model::record::State;
use longshore_model::snapshot::{LogLine, PastReport};
use longshore_model::transition::{Answer, Event, Verdict};

impl Core {
    pub(super) fn claim(&mut self, owner: &Owner, lease_ms: u64, claim: &Claim) -> Claimed {
        let before = self.fence(&claim.id);
        let event = Event::Claim {
            owner: owner.clone(),
            nonce: claim.nonce.clone(),
            generation: claim.generation,
            floor: claim.floor,
            lease_ms,
            alone: claim.alone,
        };
        if self.is_claimable(claim) && self.stop_short(&claim.id) {
            return Claimed::Known(Answer::Waiting { state: State::Blocked, left_ms: None });
        }
        let Some(answer) = self.apply(&claim.id, &event) else {
            let buried = self.table.is_buried(&claim.id, self.now());
            return if buried { Claimed::Tombstone } else { Claimed::Unknown };
        };
        // A repeated claim is answered with the fence that it has: what the attempt reported since then stays.
        if self.fence(&claim.id) != before
            && let Some(entry) = self.table.get_mut(&claim.id)
        {
            keep_report(entry);
            entry.progress = None;
            entry.log.clear();
            entry.log_dropped = 0;
            entry.properties.clear();
        }
        Claimed::Known(answer)
    }

    /// Whether the job is queued, in time, and the copy as new as its record.
    fn is_claimable(&self, claim: &Claim) -> bool {
        self.table.get(&claim.id).is_some_and(|entry| {
            let record = &entry.record;
            record.state == State::Queued
                && !record.is_outdated(claim.generation)
                && !record.is_expired(self.now())
                && !record.is_over_time(self.now())
        })
    }

    pub(super) fn finish(&mut self, finish: &Finish) -> Finished {
        let succeeds = matches!(finish.verdict, Verdict::Succeeded { .. });
        let event = Event::Finish { fence: finish.fence, verdict: finish.verdict.clone() };
        let Some(answer) = self.apply(&finish.id, &event) else { return Finished::Missing };
        if matches!(answer, Answer::Behind { .. }) {
            return Finished::Missing;
        }
        if matches!(answer, Answer::Moved { .. }) {
            let now = self.now();
            if let Some(entry) = self.table.get_mut(&finish.id) {
                write(entry, &finish.report, now);
                if succeeds {
                    entry.result.clone_from(&finish.result);
                    entry.outputs.clone_from(&finish.outputs);
                }
            }
        }
        let committed =
            matches!(answer, Answer::Moved { state: State::Succeeded } | Answer::Already { state: State::Succeeded });
        let follow_ups = if succeeds && committed {
            finish.follow_ups.iter().map(|job| self.accept(job, false)).collect()
        } else {
            Vec::new()
        };
        let generation = self.table.get(&finish.id).map(|entry| entry.record.generation).unwrap_or_default();
        Finished::Known { answer, generation, follow_ups, let_through: Vec::new() }
    }

    pub(super) fn complete(&mut self, completion: &Complete) -> Completed {
        let Complete { token, mark, verdict, result } = completion;
        let event = Event::Complete {
            fence: token.fence,
            nonce: token.nonce.clone(),
            mark: mark.clone(),
            verdict: verdict.clone(),
        };
        let Some(answer) = self.apply(&token.id, &event) else { return Completed::Missing };
        if matches!(answer, Answer::Behind { .. }) {
            return Completed::Behind;
        }
        if matches!(answer, Answer::Moved { .. }) {
            if matches!(verdict, Verdict::Succeeded { .. })
                && let Some(entry) = self.table.get_mut(&token.id)
            {
                entry.result.clone_from(result);
            }
            self.tell(Nudge::Stop(token.id));
        }
        Completed::Known(answer)
    }

    pub(super) fn report(&mut self, id: &JobId, fence: Fence, report: &Report) -> bool {
        let now = self.now();
        let Some(entry) = self.table.get_mut(id) else { return false };
        let current = entry.record.state == State::Active && entry.record.fence == fence;
        if current {
            write(entry, report, now);
            if !report.is_empty() {
                self.table.tell_followers(id);
            }
        }
        current
    }

    pub(super) fn renew(&mut self, renew: &Renew) -> Renewed {
        let now = self.now();
        let mine = self.note_renewal(renew, now);
        let amnesty = self.leases.beat(now, renew.lease_ms, 2 * renew.beat_ms, mine);
        self.keys_wait.lease_ms = renew.lease_ms;
        let before = self.epoch.current();
        let (epoch, tick, loss) = self.epoch.renewed(self.now_us, renew.known, |why| self.gates.hold_all(why, now));
        // A new store and one that was emptied look the same, unless somebody knew it.
        let knew = loss != LossKind::Wiped || renew.known.is_some_and(|known| known.epoch > 0);
        self.keys_wait.shaken |= epoch != before && knew;
        self.keys_wait.left(now);
        let mut renewed = Renewed { now, amnesty, loss, ..Renewed::default() };
        for (id, fence) in &renew.running {
            match self.apply(id, &Event::Renew { fence: *fence, lease_ms: renew.lease_ms }) {
                Some(Answer::Renewed { cancel }) => renewed.stop.extend(cancel.map(|by| (*id, by))),
                Some(Answer::Behind { .. }) => renewed.behind.push((*id, *fence)),
                None if !self.table.is_buried(id, now) => renewed.behind.push((*id, *fence)),
                _ => renewed.lost.push((*id, *fence)),
            }
        }
        let count = |state| self.table.state(state).count() as u64;
        renewed.known = Known {
            epoch,
            tick,
            scheduled: count(State::Scheduled),
            retrying: count(State::Retrying),
            queued: count(State::Queued),
            active: count(State::Active),
            blocked: count(State::Blocked),
        };
        if self.leases.is_over(now) {
            let expired = self.table.state(State::Active).take_while(|(lease, _)| *lease <= now).count();
            renewed.expired = u64::try_from(expired).unwrap_or(u64::MAX);
        }
        renewed
    }

    /// Remembers who renewed, by instance, and answers when the same incarnation did so before, ms; 0: never.
    fn note_renewal(&mut self, renew: &Renew, now: u64) -> u64 {
        let Owner { instance, incarnation } = renew.owner.clone();
        match self.renewals.insert(instance, (incarnation, now)) {
            Some((before, at)) if before == renew.owner.incarnation => at,
            _ => 0,
        }
    }

    fn fence(&self, id: &JobId) -> Option<Fence> {
        self.table.get(id).map(|entry| entry.record.fence)
    }
}

/// Keeps the end of what the attempt before this one reported, and lets go of the oldest.
fn keep_report(entry: &mut Entry) {
    let number = entry.record.attempts.saturating_sub(1);
    if let Some(report) = PastReport::of(entry.log.iter(), entry.progress.as_ref()) {
        entry.past.insert(number, report);
        entry.past.retain(|kept, _| kept + limits::PAST_REPORTS > number);
    }
}

fn write(entry: &mut Entry, report: &Report, now: u64) {
    if report.progress.is_some() {
        entry.progress.clone_from(&report.progress);
    }
    entry.properties.extend(report.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
    entry.log.extend(report.log.iter().map(|(level, text)| LogLine {
        at: now,
        level: level.clone(),
        text: limits::cut(text, limits::LOG_LINE_BYTES),
    }));
    let keep = report.keep.unwrap_or(limits::LOG_LINES).min(limits::LOG_LINES);
    if !report.log.is_empty() {
        let over = entry.log.len().saturating_sub(keep);
        entry.log.drain(..over);
        entry.log_dropped += over as u64 + report.dropped;
    }
}
