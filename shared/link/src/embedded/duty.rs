//! What any instance does for all: publish marks and the relay (T4), rescue (T12), promotion (T13), expiry and purge
//! (T19, T20); and what people do: stop and remove (T15, T16, J12).

use super::core::Core;
use crate::store::{Bound, Controlled, Depleted, Moved, Nudge, Outgoing, Purged, Republished, Retention};
use longshore_model::gate::QUEUE_LIMIT;
use longshore_model::id::{Generation, JobId, Owner};
use longshore_model::lane::Lane;
use longshore_model::record::State;
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Event};
use std::collections::BTreeMap;

impl Core {
    pub(super) fn published(&mut self, id: &JobId, generation: Generation) {
        // No record: it was removed meanwhile, and its outbox entry with it.
        let _ = self.apply(id, &Event::Published { generation });
    }

    pub(super) fn rescue(&mut self, limit: usize, beat_ms: u64) -> Moved {
        let now = self.now();
        let mut moved = Moved { now, ..Moved::default() };
        let gap_ms = beat_ms.saturating_mul(2);
        let silent_since = self.leases.just_ended(now, gap_ms);
        let hoped = silent_since.is_some_and(|from| self.renewals.values().any(|(_, renewed)| *renewed <= from));
        if !self.leases.is_over(now) || self.leases.is_quiet(now, gap_ms) || hoped {
            return moved;
        }
        let due = self.table.ready(State::Active, now, limit);
        if due.is_empty() {
            return moved;
        }
        let mut companies = self.companies(gap_ms);
        for id in due {
            let Some(owner) = self.table.get(&id).and_then(|entry| entry.record.owner.clone()) else { continue };
            let answer = self.apply(&id, &Event::LeaseGone { alone: companies.alone(&owner) });
            if let Some(entry) = self.table.get_mut(&id)
                && let Some(crash) = entry.attempts.back_mut().and_then(|past| past.crash.as_mut())
            {
                crash.progress.clone_from(&entry.progress);
                companies.taken(&owner, id, crash);
            }
            match answer {
                // From the second crash on, the relay publishes it after its rest.
                Some(Answer::Moved { state: State::Queued }) => {
                    moved.runnable.extend(self.outgoing(&id).filter(|_| self.crashes(&id) <= 1));
                }
                Some(Answer::Moved { state }) if state.is_terminal() => moved.ended += 1,
                _ => {}
            }
        }
        self.remember(companies);
        moved.more = !self.table.ready(State::Active, now, 1).is_empty();
        moved
    }

    pub(super) fn bury(&mut self, alive: &Owner) -> u64 {
        let now = self.now();
        let dead: Vec<(u64, JobId)> =
            self.table.state(State::Active).filter(|(_, id)| self.is_older_self(id, alive)).collect();
        let mut buried = 0;
        for (lease, id) in dead {
            // It is silent for good.
            if let Some(owner) = self.table.get(&id).and_then(|entry| entry.record.owner.as_ref())
                && self.renewals.get(&owner.instance).is_some_and(|(renewed, _)| *renewed == owner.incarnation)
            {
                self.renewals.remove(&owner.instance);
            }
            if lease > now {
                self.table.adjust(&id, |record| record.lease = Some(now));
                buried += 1;
            }
        }
        buried
    }

    pub(super) fn promote(&mut self, limit: usize) -> Moved {
        let now = self.now();
        let mut moved = Moved { now, ..Moved::default() };
        let mut promoted = 0;
        while let Some(id) = self.first_due(now) {
            if promoted >= limit {
                moved.more = true;
                break;
            }
            let Some(answer) = self.apply(&id, &Event::Promote) else { break };
            promoted += 1;
            if answer == (Answer::Moved { state: State::Queued }) {
                moved.runnable.extend(self.outgoing(&id));
            }
        }
        self.gates.wake_due(now);
        self.open();
        moved.next = self.next_due();
        moved.more |= moved.next.is_some_and(|next| next <= now);
        moved
    }

    pub(super) fn outbox(&mut self, limit: usize, hold_ms: u64) -> Vec<Outgoing> {
        let now = self.now();
        let ready = self.table.outbox().iter().take_while(|(at, _)| *at <= now).take(limit);
        let ids: Vec<JobId> = ready.map(|(_, id)| *id).collect();
        for id in &ids {
            self.table.adjust(id, |record| record.outbox = Some(now + hold_ms));
        }
        ids.iter().filter_map(|id| self.outgoing(id)).collect()
    }

    pub(super) fn republish(&mut self, lanes: &[Depleted], patience_ms: u64, from: u64, limit: usize) -> Republished {
        let outbox = self.table.outbox().len() as u64;
        let (counts, at) = (self.counts(), self.queued_at());
        let of_topic =
            |topic: &Topic| counts.get(topic).and_then(|states| states.get(&State::Queued)).copied().unwrap_or(0);
        let queued = |lane: &Lane| match &lane.site {
            Some(_) => at.get(lane).copied().unwrap_or(0),
            None => {
                let placed = at.iter().filter(|(other, _)| other.topic == lane.topic).map(|(_, count)| count);
                of_topic(&lane.topic).saturating_sub(placed.sum())
            }
        };
        let allowance = |depleted: &Depleted| {
            depleted.copies.map_or(u64::MAX, |held| queued(&depleted.lane).saturating_sub(held + outbox))
        };
        let mut allowed: BTreeMap<Lane, u64> =
            lanes.iter().map(|depleted| (depleted.lane.clone(), allowance(depleted))).collect();
        let first = usize::try_from(from).unwrap_or(usize::MAX);
        let looked: Vec<JobId> = self.table.state(State::Queued).skip(first).take(limit).map(|(_, id)| id).collect();
        let next = if looked.len() < limit { 0 } else { from + looked.len() as u64 };
        let mut jobs = 0;
        for id in looked {
            let Some(entry) = self.table.get(&id) else { continue };
            let normal = Lane { high: false, ..entry.record.lane() };
            let Some(left) = allowed.get_mut(&normal).filter(|left| **left > 0) else { continue };
            if matches!(
                self.table.apply(&id, self.now_us, &Event::Republish { patience_ms }),
                Some(Answer::Moved { .. })
            ) {
                *left -= 1;
                jobs += 1;
            }
        }
        Republished { jobs, next }
    }

    pub(super) fn purge(&mut self, retention: &Retention, limit: usize) -> Purged {
        let now = self.now();
        let expired: Vec<JobId> =
            self.table.expiring().iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, id)| *id).collect();
        for id in &expired {
            let _ = self.apply(id, &Event::Expire);
        }
        let mut old = Vec::new();
        for state in State::ALL.into_iter().filter(|state| state.is_terminal()) {
            if retention.queues.is_empty() {
                let ended: Vec<_> = self.table.state(state).collect();
                old.extend(surplus(&ended, retention.general(state), now));
                continue;
            }
            // What ended in this very millisecond is not filed yet.
            let mut files: BTreeMap<Option<usize>, Vec<(u64, JobId)>> = BTreeMap::new();
            for (ended, id) in self.table.state(state).take_while(|(ended, _)| *ended < now) {
                files.entry(self.rule_of(&id, retention)).or_default().push((ended, id));
            }
            for (rule, ended) in files {
                let keep = rule.and_then(|rule| retention.queues.get(rule));
                let bound = keep.map_or_else(|| retention.general(state), |(_, keep)| retention.bound(keep, state));
                old.extend(surplus(&ended, bound, now));
            }
        }
        // What expired a moment ago is history that begins now; it goes when its own retention has passed.
        old.retain(|id| !expired.contains(id));
        let more = old.len() >= limit;
        old.truncate(limit);
        for id in &old {
            self.table.bury(id, now);
        }
        Purged { gone: (expired.len() + old.len()) as u64, more }
    }

    /// Which queue says how long this job is kept.
    fn rule_of(&self, id: &JobId, retention: &Retention) -> Option<usize> {
        let record = &self.table.get(id)?.record;
        let own = record.gates.of_queue(&record.queue).and_then(|gate| gate.of().strip_prefix(QUEUE_LIMIT));
        let named = |name: &str| retention.queues.iter().position(|(queue, _)| queue == name);
        own.and_then(named).or_else(|| named(&record.queue))
    }

    pub(super) fn stop(&mut self, by: &str, id: &JobId) -> Controlled {
        let Some(answer) = self.apply(id, &Event::Stop { by: by.to_owned() }) else { return Controlled::NotFound };
        if answer == Answer::Asked {
            self.tell(Nudge::Stop(*id));
        }
        Controlled::Known(answer)
    }

    pub(super) fn remove(&mut self, id: &JobId) -> Controlled {
        let was_active = self.table.get(id).is_some_and(|entry| entry.record.state == State::Active);
        let Some(answer) = self.apply(id, &Event::Remove) else { return Controlled::NotFound };
        if was_active {
            self.tell(Nudge::Stop(*id));
        }
        if answer == Answer::Purge {
            self.table.bury(id, self.now());
        }
        Controlled::Known(answer)
    }

    pub(super) fn outgoing(&mut self, id: &JobId) -> Option<Outgoing> {
        let lane = self.table.get(id)?.record.lane();
        if lane.site.is_some() {
            // Somebody may have let go of it since.
            self.know(&lane);
        }
        let entry = self.table.get(id)?;
        let record = &entry.record;
        Some(Outgoing {
            id: *id,
            lane,
            generation: record.generation,
            fence: record.fence,
            created: record.created,
            envelope: entry.envelope.clone(),
        })
    }

    fn crashes(&self, id: &JobId) -> u32 {
        self.table.get(id).map_or(0, |entry| entry.record.crashes)
    }

    fn is_older_self(&self, id: &JobId, alive: &Owner) -> bool {
        self.table
            .get(id)
            .and_then(|entry| entry.record.owner.as_ref())
            .is_some_and(|owner| owner.instance == alive.instance && owner.incarnation != alive.incarnation)
    }

    /// The job that has been due for longest.
    fn first_due(&self, now: u64) -> Option<JobId> {
        let first = |state| self.table.state(state).next();
        let (due, id) = first(State::Scheduled).into_iter().chain(first(State::Retrying)).min()?;
        (due <= now).then_some(id)
    }
}

/// What is too old of jobs in the order of their ends, or more than enough.
fn surplus(ended: &[(u64, JobId)], bound: Bound, now: u64) -> Vec<JobId> {
    let kept = bound.count.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX));
    let over = ended.len().saturating_sub(kept);
    let old = ended.iter().take_while(|(at, _)| at.saturating_add(bound.age_ms) <= now).count();
    ended.iter().take(over.max(old)).map(|(_, id)| *id).collect()
}
