//! Scrubbing of the embedded store (T21), as `redis/lua/scrub.lua` does it: records first, then what repeats them.

use super::core::Core;
use super::table::Indexed;
use crate::scrub::{Mended, Scrubbed, Scrubbing};
use longshore_model::gate::GateName;
use longshore_model::id::JobId;
use longshore_model::record::{Record, State};
use longshore_model::topic::Topic;
use longshore_model::unique::UniqueMode;
use std::ops::Bound;

/// How far it is, and what it did.
#[derive(Debug, Default)]
pub(super) struct Scrub {
    at: Place,
    pub(super) so_far: Scrubbing,
}

/// What was looked at last.
#[derive(Debug, Clone)]
enum Place {
    Record(Option<JobId>),
    Entry(Indexed, Option<(u64, JobId)>),
    Key(Option<(Topic, String)>),
    Gate(Option<GateName>),
}

impl Default for Place {
    fn default() -> Self {
        Self::Record(None)
    }
}

/// Whether a unique key belongs to a job, as its record says: a period ends by itself.
fn owns_key(record: &Record) -> bool {
    record.unique.as_ref().is_some_and(|unique| {
        let begun = unique.mode.until_started() && record.attempts > 0;
        !record.state.is_terminal() && unique.mode != UniqueMode::Period && !begun
    })
}

impl Core {
    pub(super) fn scrub(&mut self, limit: usize) -> Scrubbed {
        let mut done = Scrubbed::default();
        let mut at = std::mem::take(&mut self.scrub.at);
        while done.looked < limit.max(1) as u64 && !done.round {
            done.looked += 1;
            at = match at {
                Place::Record(last) => self.look_at_record(last, &mut done.mended),
                Place::Entry(index, last) => self.look_at_entry(index, last, &mut done.mended),
                Place::Key(last) => self.look_at_key(last.as_ref(), &mut done.mended),
                Place::Gate(last) => self.look_at_gate(last.as_ref(), &mut done),
            };
        }
        let now = self.now();
        let Scrub { so_far, .. } = &mut self.scrub;
        so_far.mended += done.mended;
        if done.mended.total() > 0 {
            so_far.last_mended = Some(now);
        }
        if done.round {
            so_far.rounds += 1;
            so_far.last_round = Some(now);
        }
        self.scrub.at = at;
        done
    }

    fn look_at_record(&mut self, last: Option<JobId>, mended: &mut Mended) -> Place {
        let Some(record) = self.table.record_after(last) else {
            return Place::Entry(Indexed::State(State::ALL[0]), None);
        };
        mended.indexes += self.table.complete(&record);
        mended.indexes += u64::from(self.gates.keep_waiting(&record, self.now_us));
        if let Some(unique) = record.unique.as_ref().filter(|_| owns_key(&record))
            && self.holder(&record.topic, &unique.key).is_none()
        {
            self.keys.insert((record.topic.clone(), unique.key.clone()), (record.id, None));
            mended.keys += 1;
        }
        Place::Record(Some(record.id))
    }

    fn look_at_entry(&mut self, index: Indexed, last: Option<(u64, JobId)>, mended: &mut Mended) -> Place {
        match self.table.entry_after(index, last) {
            Some((entry, agrees)) => {
                if !agrees {
                    self.table.drop_entry(index, entry);
                    mended.entries += 1;
                }
                Place::Entry(index, Some(entry))
            }
            None => index.next().map_or(Place::Key(None), |next| Place::Entry(next, None)),
        }
    }

    fn look_at_key(&mut self, last: Option<&(Topic, String)>, mended: &mut Mended) -> Place {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.keys.range::<(Topic, String), _>((from, Bound::Unbounded)).next();
        let Some((key, (id, until))) = next.map(|(key, held)| (key.clone(), *held)) else { return Place::Gate(None) };
        let record = self.table.get(&id).map(|entry| &entry.record);
        let named = |record: &Record| record.unique.as_ref().is_some_and(|unique| unique.key == key.1);
        let owned = record.is_some_and(|record| record.topic == key.0 && named(record) && owns_key(record));
        if until.is_none() && !owned {
            self.keys.remove(&key);
            mended.keys += 1;
        }
        Place::Key(Some(key))
    }

    fn look_at_gate(&mut self, last: Option<&GateName>, done: &mut Scrubbed) -> Place {
        let Some((gate, places)) = self.gates.after(last) else {
            done.round = true;
            return Place::default();
        };
        for held in places {
            done.looked += 1;
            let record = self.table.get(held.job()).map(|entry| &entry.record);
            if !held.agrees(&gate, record) {
                self.gates.take_away(&gate, &held);
                match held {
                    super::gates::Held::Passed(_) => done.mended.holders += 1,
                    super::gates::Held::Waits(..) => done.mended.entries += 1,
                }
            }
        }
        Place::Gate(Some(gate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Embedded;
    use crate::store::Query;
    use crate::world::World;
    use longshore_model::gate::Gates;
    use longshore_model::unique::Unique;
    use std::sync::PoisonError;

    /// A round of steps of a few, in two processes by turns; what they mended.
    async fn round(link: &crate::connect::Link, other: &crate::connect::Link) -> Mended {
        let mut mended = Mended::default();
        loop {
            for store in [&link.store, &other.store] {
                let step = store.scrub(3).await.unwrap();
                mended += step.mended;
                if step.round {
                    return mended;
                }
            }
        }
    }

    #[tokio::test]
    async fn t21_whatever_disagrees_with_a_record_is_mended() {
        let backend = Embedded::new(&World::system());
        let (link, other) = (backend.link(World::system()), backend.link(World::system()));
        let mut jobs = Vec::new();
        for n in 0..4 {
            let mut job = super::super::tests::job(&link);
            let order = Some(GateName::order("main", "k")).filter(|_| n >= 2);
            job.admission.gates = Gates { order, ..Gates::default() };
            job.admission.unique =
                (n < 2).then(|| Unique { key: format!("k{n}"), mode: UniqueMode::UntilFinished, ms: 0 });
            jobs.push(link.store.enqueue(vec![job]).await.unwrap().remove(0).unwrap().id);
        }
        let [ended, keyed, holder, blocked] = jobs[..] else { panic!("{jobs:?}") };
        link.store.stop("a test", vec![ended]).await.unwrap();
        assert_eq!(round(&link, &other).await, Mended::default(), "a sound store is left alone");
        let (topic, gone) = {
            let mut core = backend.backend.core.lock().unwrap_or_else(PoisonError::into_inner);
            let topic = core.table.get(&ended).unwrap().record.topic.clone();
            let gone = JobId::new(1, [7; 16], 0);
            let queued = Indexed::State(State::Queued);
            let entry = core.table.entries_of(queued).find(|(_, id)| *id == keyed).unwrap();
            core.table.drop_entry(queued, entry);
            core.table.add_entry(Indexed::State(State::Active), entry);
            core.table.add_entry(Indexed::Open, (1, gone));
            core.keys.remove(&(topic.clone(), "k1".into()));
            core.keys.insert((topic.clone(), "k0".into()), (ended, None));
            core.keys.insert((topic.clone(), "other".into()), (gone, None));
            let gate = GateName::order("main", "k");
            core.gates.hold_for_tests(&gate, gone);
            core.gates.take_away(&gate, &super::super::gates::Held::Waits(String::new(), blocked));
            (topic, gone)
        };
        let mended = round(&link, &other).await;
        assert_eq!(mended, Mended { indexes: 2, entries: 2, keys: 3, holders: 1 }, "{gone}");
        assert_eq!(link.store.holder(&topic, "k0").await.unwrap(), None);
        assert_eq!(link.store.holder(&topic, "k1").await.unwrap(), Some(keyed));
        let found = link.store.find(Query { states: vec![State::Queued], limit: 9, ..Query::default() }).await;
        assert!(found.unwrap().jobs.contains(&keyed));
        link.store.stop("a test", vec![holder]).await.unwrap();
        let record = link.store.records(vec![blocked]).await.unwrap().remove(0).unwrap();
        assert_eq!(record.state, State::Queued, "it is in its line again, and nobody else holds the order");
        assert_eq!(round(&link, &other).await, Mended::default(), "once");
        let so_far = other.store.scrubbing().await.unwrap();
        assert_eq!((so_far.rounds, so_far.mended), (3, mended));
        assert!(so_far.last_round.is_some() && so_far.last_mended.is_some());
    }
}
