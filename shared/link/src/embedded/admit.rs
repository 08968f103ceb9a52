//! How jobs come in: accepted from a producer (T1, T2), or rebuilt from an envelope that arrived (T6).

use super::core::Core;
use super::table::Entry;
use crate::error::NotAccepted;
use crate::store::{Accepted, Adopt, Claimed, NewJob, Rebuild, Rebuilt, Restore, Restored};
use longshore_model::id::{JobId, Owner};
use longshore_model::limits;
use longshore_model::placement::Site;
use longshore_model::record::{Admission, Record, Start, State};
use longshore_model::topic::Topic;
use longshore_model::transition::Event;

impl Core {
    /// Accepts what somebody sends.
    pub(super) fn enqueue(&mut self, job: &NewJob) -> Result<Accepted, NotAccepted> {
        self.accept(job, !job.again)
    }

    /// Accepts a job. `fresh`: it gets no new unique key while the store gives none.
    pub(super) fn accept(&mut self, job: &NewJob, fresh: bool) -> Result<Accepted, NotAccepted> {
        let accepted = self.admit(job, fresh)?;
        let lane = accepted.lane(&job.admission);
        if !lane.is_first() {
            // It is published there, whoever it stands for.
            self.know(&lane);
        }
        Ok(accepted)
    }

    fn admit(&mut self, job: &NewJob, fresh: bool) -> Result<Accepted, NotAccepted> {
        let (id, topic) = (job.admission.id, &job.admission.topic);
        if let Some(entry) = self.table.get(&id) {
            if entry.record.topic != *topic {
                return Err(NotAccepted::IdTaken(id));
            }
            let anywhere = job.admission.site.is_some() && entry.record.site.is_none();
            return Ok(Accepted { anywhere, ..accepted(&entry.record, true) });
        }
        if self.table.is_buried(&id, self.now()) {
            return Err(NotAccepted::Ended(id));
        }
        if let Some(old) = job.retry_of
            && !self.is_history(&old)
        {
            return Err(NotAccepted::NotInHistory(old));
        }
        if self.too_many(topic) {
            return Err(NotAccepted::TooManyTopics(topic.to_string()));
        }
        let lane = job.admission.lane();
        let anywhere = !self.has_room(&lane);
        if anywhere && lane.site.as_ref().is_some_and(Site::is_firm) {
            return Err(NotAccepted::TooManyLanes(lane.to_string()));
        }
        if let Some(answer) = self.instead(job, fresh) {
            return answer.map(|accepted| Accepted { anywhere, ..accepted });
        }
        if job.admission.start == Start::Now
            && let Some(limit) = self.full(&id, &job.admission.gates.limits)
        {
            return Err(NotAccepted::OverLimit(limit));
        }
        if job.admission.start != Start::Never
            && let Some(max) = self.crowded(&job.admission.gates, &job.admission.queue)
        {
            return Err(NotAccepted::QueueFull { queue: job.admission.queue.clone(), max });
        }
        let record = Record::admit(&job.admission, self.now());
        let answer = accepted(&record, false);
        Ok(Accepted { state: self.insert(record, job), anywhere, ..answer })
    }

    pub(super) fn rebuild(&mut self, owner: &Owner, lease_ms: u64, rebuild: &Rebuild) -> Rebuilt {
        match self.claim(owner, lease_ms, &rebuild.claim) {
            Claimed::Unknown => {}
            known => return Rebuilt::Claimed(known),
        }
        if self.too_old(rebuild.enqueued) {
            return Rebuilt::Orphan;
        }
        self.make(&rebuild.job, rebuild.enqueued);
        Rebuilt::Claimed(self.claim(owner, lease_ms, &rebuild.claim))
    }

    pub(super) fn restore(&mut self, restore: &Restore, dry: bool) -> Restored {
        let (admission, now) = (&restore.job.admission, self.now());
        if let Some(entry) = self.table.get(&admission.id) {
            return Restored::Known(entry.record.state);
        }
        if self.table.is_buried(&admission.id, now) {
            return Restored::Ended;
        }
        if self.too_old(restore.enqueued) {
            return Restored::Orphan;
        }
        if self.too_many(&admission.topic) {
            return Restored::TooManyTopics;
        }
        let record = Record::restore(admission, now, restore.enqueued, restore.copy, restore.fence);
        Restored::Made(if dry { record.state } else { self.insert(record, &restore.job) })
    }

    pub(super) fn adopt(&mut self, owner: &Owner, lease_ms: u64, adopt: &Adopt) -> Claimed {
        let id = adopt.claim.id;
        if self.table.get(&id).is_none() {
            if self.table.is_buried(&id, self.now()) {
                return Claimed::Tombstone;
            }
            self.make(&adopt.job, adopt.enqueued);
        }
        let event = Event::Adopt {
            owner: owner.clone(),
            nonce: adopt.claim.nonce.clone(),
            fence: adopt.fence,
            generation: adopt.claim.generation,
            attempt: adopt.attempt,
            failures: adopt.failures,
            crashes: adopt.crashes,
            lease_ms,
        };
        self.apply(&id, &event).map_or(Claimed::Unknown, Claimed::Known)
    }

    /// Whether the tombstone of a job that was accepted then may be gone, and it was not lost.
    fn too_old(&mut self, accepted: u64) -> bool {
        let old = self.now().saturating_sub(accepted) > limits::TOMBSTONE_MS;
        !self.epoch.covers(self.now_us, accepted) && old
    }

    fn too_many(&self, topic: &Topic) -> bool {
        !self.topics.contains_key(topic) && self.topics.len() >= limits::TOPICS
    }

    /// Makes a job of a message or an attempt that is at hand: it can run now, whatever it waited for once.
    fn make(&mut self, job: &NewJob, enqueued: u64) {
        let now = self.now();
        let admission = Admission { start: Start::Now, ..job.admission.clone() };
        let record = Record { created: enqueued.min(now), ..Record::admit(&admission, now) };
        self.insert(record, job);
    }

    /// Enters a new job, which waits where a gate does not let it pass. Answers its state.
    fn insert(&mut self, mut record: Record, job: &NewJob) -> State {
        let (id, state) = (record.id, record.state);
        self.take_key(&record);
        if !self.has_room(&record.lane()) {
            // What it needs is more than what it would rather have.
            record.site = record.site.filter(Site::is_firm);
        }
        self.know(&record.lane());
        self.table.insert(Entry::new(record, job.envelope.clone(), job.labels.clone(), job.fields.clone()));
        if let Some(old) = job.retry_of {
            self.table.adjust(&old, |record| record.retried_as = Some(id));
        }
        if state == State::Queued {
            self.enter(&id, true);
        }
        if !state.is_terminal()
            && let Some(entry) = self.table.get(&id)
        {
            self.gates.count_in(&entry.record, self.now_us);
        }
        self.table.get(&id).map_or(state, |entry| entry.record.state)
    }

    fn is_history(&self, id: &JobId) -> bool {
        self.table.get(id).is_some_and(|entry| entry.record.state.is_terminal())
    }
}

pub(super) const fn accepted(record: &Record, existed: bool) -> Accepted {
    Accepted {
        id: record.id,
        state: record.state,
        generation: record.generation,
        created: record.created,
        existed,
        replaced: false,
        anywhere: false,
    }
}
