//! Unique keys of the embedded store: who has one, until when, and what a second job changes (as `redis/lua/admit.lua`).

use super::admit::accepted;
use super::core::Core;
use crate::error::NotAccepted;
use crate::store::{Accepted, NewJob};
use longshore_model::envelope;
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::record::{Record, State};
use longshore_model::topic::Topic;
use longshore_model::transition::Event;
use longshore_model::unique::{Unique, UniqueMode};
use std::collections::BTreeMap;

/// Who has which key: the job, and until when, ms, where that is a time.
pub(super) type Keys = BTreeMap<(Topic, String), (JobId, Option<u64>)>;

/// When new keys are given again after the store may have forgotten some.
#[derive(Debug, Default)]
pub(super) struct KeysWait {
    /// It restarted, went back or was emptied, and nobody looked yet when that was.
    pub(super) shaken: bool,
    /// The last renewal's lease, ms.
    pub(super) lease_ms: u64,
    /// From when on, ms.
    from: u64,
}

impl KeysWait {
    /// How long, ms.
    pub(super) fn left(&mut self, now: u64) -> u64 {
        let longest = self.lease_ms.max(limits::KEYS_WAIT_MS);
        if std::mem::take(&mut self.shaken) {
            self.from = self.from.max(now + longest);
        }
        self.from.saturating_sub(now).min(longest)
    }
}

impl Core {
    /// The job that has a key now.
    pub(super) fn holder(&self, topic: &Topic, key: &str) -> Option<JobId> {
        let (id, until) = self.keys.get(&(topic.clone(), key.to_owned()))?;
        until.is_none_or(|until| until > self.now()).then_some(*id)
    }

    /// The job that keeps another one from having its key.
    fn rival(&self, id: &JobId, topic: &Topic, unique: &Unique) -> Option<JobId> {
        let rival = self.holder(topic, &unique.key).filter(|rival| rival != id)?;
        let timed = self.keys.get(&(topic.clone(), unique.key.clone())).is_some_and(|(_, until)| until.is_some());
        let alive = self
            .table
            .get(&rival)
            .is_some_and(|entry| entry.record.unique.is_some() && !entry.record.state.is_terminal());
        (timed || alive).then_some(rival)
    }

    /// What a new unique job is answered where another one has its key, or where no new ones are given (`fresh`: nobody
    /// accepted it before).
    pub(super) fn instead(&mut self, job: &NewJob, fresh: bool) -> Option<Result<Accepted, NotAccepted>> {
        let admission = &job.admission;
        let unique = admission.unique.as_ref()?;
        let Some(rival) = self.rival(&admission.id, &admission.topic, unique) else {
            let now = self.now();
            let ms = if fresh { self.keys_wait.left(now) } else { 0 };
            return (ms > 0).then_some(Err(NotAccepted::KeysWait { ms }));
        };
        if self.table.get(&rival).is_none() {
            return Some(Err(NotAccepted::KeyTaken(rival)));
        }
        let replaced = self.supersede(&rival, job, unique);
        let record = &self.table.get(&rival)?.record;
        Some(Ok(Accepted { replaced, ..accepted(record, true) }))
    }

    fn supersede(&mut self, first: &JobId, job: &NewJob, unique: &Unique) -> bool {
        let waits = self.table.get(first).is_some_and(|entry| entry.record.state.may_expire());
        let Some(envelope) = envelope::with_id(&job.envelope, *first).filter(|_| unique.mode.replaces() && waits)
        else {
            return false;
        };
        if let Some(entry) = self.table.get_mut(first) {
            entry.envelope = envelope.into();
            entry.labels.clone_from(&job.labels);
            entry.fields.clone_from(&job.fields);
        }
        let delay_ms = (unique.mode == UniqueMode::Debounce).then_some(unique.ms);
        let _ = self.move_on(first, &Event::Supersede { delay_ms });
        true
    }

    /// Gives a job its key, unless another one has it.
    pub(super) fn take_key(&mut self, record: &Record) {
        let Some(unique) = record.unique.as_ref().filter(|_| !record.state.is_terminal()) else { return };
        if self.rival(&record.id, &record.topic, unique).is_none() {
            let until = (unique.mode == UniqueMode::Period).then(|| self.now() + unique.ms);
            self.keys.insert((record.topic.clone(), unique.key.clone()), (record.id, until));
        }
    }

    /// A job changed its state: its key may be free by that.
    pub(super) fn free_key(&mut self, record: &Record) {
        let Some(unique) = record.unique.as_ref() else { return };
        let over = record.state.is_terminal() || record.state == State::Active && unique.mode.until_started();
        let key = (record.topic.clone(), unique.key.clone());
        if over && unique.mode != UniqueMode::Period && self.keys.get(&key).is_some_and(|(id, _)| *id == record.id) {
            self.keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_given_again_after_a_lease_or_ten_seconds() {
        let mut wait = KeysWait::default();
        assert_eq!(wait.left(1_000), 0, "a new store gives keys at once");
        wait.shaken = true;
        assert_eq!((wait.left(1_000), wait.left(6_000), wait.left(11_000)), (10_000, 5_000, 0));
        (wait.shaken, wait.lease_ms) = (true, 30_000);
        assert_eq!((wait.left(20_000), wait.left(49_999), wait.left(50_000)), (30_000, 1, 0));
        wait.shaken = true;
        wait.left(60_000);
        assert_eq!(wait.left(1_000), 30_000, "a clock that went back does not make it longer");
    }
}
