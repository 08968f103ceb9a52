//! The jobs of the embedded store and their indexes.
//!
//! Owns every record and everything that hangs on it; changes a record only through the model's
//! [`transition`], and keeps each index in step with it. Decides nothing by itself. Every map is
//! ordered, so that a seeded run repeats itself to the letter.

use bytes::Bytes;
use longshore_model::envelope::FileRef;
use longshore_model::id::JobId;
use longshore_model::indexed::Fields;
use longshore_model::ledger::Ledger;
use longshore_model::limits;
use longshore_model::record::{PastAttempt, Record, State};
use longshore_model::snapshot::{LogLine, PastReport, Progress};
use longshore_model::statistics::{Activity, Before, Happened, Selection};
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Event, transition};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

/// Jobs in the order of a score (ms), equal scores in the order of their ids.
pub(super) type Index = BTreeSet<(u64, JobId)>;

/// One job.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) envelope: Bytes,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) fields: Fields,
    pub(super) result: Option<String>,
    pub(super) progress: Option<Progress>,
    pub(super) properties: BTreeMap<String, String>,
    pub(super) outputs: Vec<FileRef>,
    pub(super) log: VecDeque<LogLine>,
    /// How many older lines of it were let go.
    pub(super) log_dropped: u64,
    pub(super) attempts: VecDeque<PastAttempt>,
    /// What attempts before the last one reported, by their number.
    pub(super) past: BTreeMap<u32, PastReport>,
    /// Processes that wait for its end.
    pub(super) watchers: BTreeSet<u64>,
    /// Processes that follow every change.
    pub(super) followers: BTreeSet<u64>,
}

impl Entry {
    pub(super) fn new(record: Record, envelope: Bytes, labels: BTreeMap<String, String>, fields: Fields) -> Self {
        Self {
            record,
            envelope,
            labels,
            fields,
            result: None,
            progress: None,
            properties: BTreeMap::new(),
            outputs: Vec::new(),
            log: VecDeque::new(),
            log_dropped: 0,
            attempts: VecDeque::new(),
            past: BTreeMap::new(),
            watchers: BTreeSet::new(),
            followers: BTreeSet::new(),
        }
    }
}

/// Where a job is counted: its topic and its queue.
pub(super) type Place = (Topic, String);

/// Counters of jobs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Tally {
    /// Jobs that came in.
    pub(super) accepted: i64,
    /// Jobs in each state.
    pub(super) now: BTreeMap<State, u64>,
    /// Jobs that ended so and were purged.
    pub(super) forgotten: BTreeMap<State, i64>,
}

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct Table {
    jobs: BTreeMap<JobId, Entry>,
    states: BTreeMap<State, Index>,
    open: Index,
    /// All terminal states together, by their end.
    history: Index,
    outbox: Index,
    /// Queued and scheduled jobs that must start before a time, by that time.
    expiring: Index,
    tallies: BTreeMap<Place, Tally>,
    /// What happened to jobs.
    activities: BTreeMap<Place, Activity>,
    tombstones: BTreeMap<u64, BTreeSet<JobId>>,
    /// Jobs that ended in the current operation, and who waits for them.
    ended: Vec<(JobId, BTreeSet<u64>)>,
    /// Followed jobs that changed in the current operation, and who follows them.
    changed: Vec<(JobId, BTreeSet<u64>)>,
}

/// One of the indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Indexed {
    State(State),
    Open,
    History,
    Outbox,
    Expiring,
}

impl Indexed {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        State::ALL.into_iter().map(Self::State).chain([Self::Open, Self::History, Self::Outbox, Self::Expiring])
    }

    /// The one after this.
    pub(super) fn next(self) -> Option<Self> {
        Self::all().skip_while(|other| *other != self).nth(1)
    }

    /// By what a job is sorted in it; `None` where it should not be in it.
    fn score(self, record: &Record) -> Option<u64> {
        match self {
            Self::State(state) => (record.state == state).then(|| score(record)),
            Self::Open => (!record.state.is_terminal()).then_some(record.created),
            Self::History => record.state.is_terminal().then(|| score(record)),
            Self::Outbox => record.outbox,
            Self::Expiring => expiry(record),
        }
    }
}

/// What a job is sorted by in the index of its state, ms: the lease's end, the due time, the time of entry, or the end.
pub(super) fn score(record: &Record) -> u64 {
    match record.state {
        State::Active => record.lease.unwrap_or(0),
        State::Scheduled | State::Retrying => record.due.unwrap_or(0),
        State::Queued | State::Blocked => record.since,
        _ => record.finished.unwrap_or(record.since),
    }
}

impl Table {
    pub(super) fn get(&self, id: &JobId) -> Option<&Entry> {
        self.jobs.get(id)
    }

    /// For what no index depends on; a record changes in [`Self::apply`] and [`Self::adjust`] only.
    pub(super) fn get_mut(&mut self, id: &JobId) -> Option<&mut Entry> {
        self.jobs.get_mut(id)
    }

    pub(super) fn insert(&mut self, entry: Entry) {
        self.index(&entry.record);
        self.tally(&entry.record).accepted += 1;
        self.jobs.insert(entry.record.id, entry);
    }

    /// Lets something happen to a job; `None` when there is no such job.
    pub(super) fn apply(&mut self, id: &JobId, now_us: u64, event: &Event) -> Option<Answer> {
        let (was, happened, (answer, past)) = self.adjust(id, |record| {
            let (was, before) = (record.state, Before::of(record));
            let answered = transition(record, now_us, event);
            (was, Happened::by(event, &before, record, now_us / 1_000), answered)
        })?;
        if let Some(happened) = happened {
            self.count(id, happened, now_us / 1_000);
        }
        let entry = self.jobs.get_mut(id)?;
        if let Some(past) = past {
            entry.attempts.push_back(past);
            while entry.attempts.len() > limits::ATTEMPTS_KEPT {
                entry.attempts.pop_front();
            }
        }
        let state = entry.record.state;
        if !was.is_terminal() && state.is_terminal() {
            let mut told = std::mem::take(&mut entry.watchers);
            told.append(&mut entry.followers);
            self.ended.push((*id, told));
        } else if was != state {
            self.tell_followers(id);
        }
        Some(answer)
    }

    /// Changes what the state machine does not know of (an outbox hold, a buried lease) and keeps the indexes in step.
    pub(super) fn adjust<A>(&mut self, id: &JobId, change: impl FnOnce(&mut Record) -> A) -> Option<A> {
        let mut record = self.jobs.get(id)?.record.clone();
        self.unindex(&record);
        let answer = change(&mut record);
        self.index(&record);
        if let Some(entry) = self.jobs.get_mut(id) {
            entry.record = record;
        }
        Some(answer)
    }

    /// Forgets a job and remembers that it was here.
    pub(super) fn bury(&mut self, id: &JobId, now_ms: u64) {
        let Some(entry) = self.jobs.remove(id) else { return };
        self.unindex(&entry.record);
        *self.tally(&entry.record).forgotten.entry(entry.record.state).or_default() += 1;
        let bucket = now_ms / limits::TOMBSTONE_BUCKET_MS;
        self.tombstones.entry(bucket).or_default().insert(*id);
        let oldest = (bucket + 1).saturating_sub(limits::TOMBSTONE_BUCKETS);
        self.tombstones = self.tombstones.split_off(&oldest);
    }

    /// Whether a job with this id was removed or purged not long ago.
    pub(super) fn is_buried(&self, id: &JobId, now_ms: u64) -> bool {
        let bucket = now_ms / limits::TOMBSTONE_BUCKET_MS;
        let oldest = (bucket + 1).saturating_sub(limits::TOMBSTONE_BUCKETS);
        self.tombstones.range(oldest..).any(|(_, ids)| ids.contains(id))
    }

    /// Every job, by id.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.jobs.values()
    }

    /// Every record, by id.
    pub(super) fn records(self) -> Vec<Record> {
        self.jobs.into_values().map(|entry| entry.record).collect()
    }

    /// Jobs in one state, by [`score`].
    pub(super) fn state(&self, state: State) -> impl DoubleEndedIterator<Item = (u64, JobId)> {
        self.states.get(&state).into_iter().flatten().copied()
    }

    /// Ids in one state whose score is at most `until`, at most `limit` of them.
    pub(super) fn ready(&self, state: State, until: u64, limit: usize) -> Vec<JobId> {
        self.state(state).take_while(|(score, _)| *score <= until).take(limit).map(|(_, id)| id).collect()
    }

    pub(super) const fn open(&self) -> &Index {
        &self.open
    }

    pub(super) const fn history(&self) -> &Index {
        &self.history
    }

    pub(super) const fn outbox(&self) -> &Index {
        &self.outbox
    }

    pub(super) const fn expiring(&self) -> &Index {
        &self.expiring
    }

    pub(super) const fn tallies(&self) -> &BTreeMap<Place, Tally> {
        &self.tallies
    }

    pub(super) const fn activities(&self) -> &BTreeMap<Place, Activity> {
        &self.activities
    }

    fn tally(&mut self, record: &Record) -> &mut Tally {
        self.tallies.entry((record.topic.clone(), record.queue.clone())).or_default()
    }

    fn count(&mut self, id: &JobId, happened: Happened, now: u64) {
        let Some(record) = self.jobs.get(id).map(|entry| &entry.record) else { return };
        let place = (record.topic.clone(), record.queue.clone());
        if !self.activities.contains_key(&place) && self.activities.len() >= limits::STATISTICS {
            return;
        }
        let activity = self.activities.entry(place).or_insert_with(|| Activity::new(now));
        match happened {
            Happened::Started(waited) => activity.started(now, waited),
            Happened::Finished(ran) => activity.finished(now, ran),
            Happened::Failed => activity.failed(now),
            Happened::Cancelled => activity.cancelled(now),
        }
    }

    /// Begins to count anew, and answers how many were.
    pub(super) fn reset_statistics(&mut self, selection: &Selection, now: u64) -> u64 {
        let mut reset = 0;
        for ((topic, queue), activity) in &mut self.activities {
            if selection.takes(queue, topic) {
                *activity = Activity::new(now);
                reset += 1;
            }
        }
        reset
    }

    /// The ledger, as the scripts of the other store keep it.
    pub(super) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger { open: size(&self.open), outbox: size(&self.outbox), ..Ledger::default() };
        for ((topic, _), tally) in &self.tallies {
            let account = ledger.topics.entry(topic.clone()).or_default();
            account.accepted += tally.accepted;
            for (state, count) in &tally.now {
                *account.now.entry(*state).or_default() += i64::try_from(*count).unwrap_or(i64::MAX);
            }
            for (state, count) in &tally.forgotten {
                *account.forgotten.entry(*state).or_default() += count;
            }
        }
        for entry in self.jobs.values() {
            ledger.topics.entry(entry.record.topic.clone()).or_default().indexed += 1;
        }
        let indexed = self.states.iter().map(|(state, ids)| (*state, size(ids)));
        ledger.indexed = indexed.filter(|(_, count)| *count > 0).collect();
        ledger
    }

    /// When the next job becomes due, ms.
    pub(super) fn next_due(&self) -> Option<u64> {
        let first = |state| self.state(state).next().map(|(due, _)| due);
        first(State::Scheduled).into_iter().chain(first(State::Retrying)).min()
    }

    /// Something about a job changed that its followers want to see.
    pub(super) fn tell_followers(&mut self, id: &JobId) {
        if let Some(entry) = self.jobs.get(id).filter(|entry| !entry.followers.is_empty()) {
            self.changed.push((*id, entry.followers.clone()));
        }
    }

    /// Followed jobs that changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<(JobId, BTreeSet<u64>)> {
        std::mem::take(&mut self.changed)
    }

    /// Jobs that ended since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<(JobId, BTreeSet<u64>)> {
        std::mem::take(&mut self.ended)
    }

    fn index(&mut self, record: &Record) {
        let id = record.id;
        self.states.entry(record.state).or_default().insert((score(record), id));
        if record.state.is_terminal() {
            self.history.insert((score(record), id));
        } else {
            self.open.insert((record.created, id));
        }
        if let Some(at) = record.outbox {
            self.outbox.insert((at, id));
        }
        if let Some(expires) = expiry(record) {
            self.expiring.insert((expires, id));
        }
        *self.tally(record).now.entry(record.state).or_default() += 1;
    }

    fn unindex(&mut self, record: &Record) {
        let id = record.id;
        if let Some(index) = self.states.get_mut(&record.state) {
            index.remove(&(score(record), id));
        }
        self.history.remove(&(score(record), id));
        self.open.remove(&(record.created, id));
        if let Some(at) = record.outbox {
            self.outbox.remove(&(at, id));
        }
        if let Some(expires) = expiry(record) {
            self.expiring.remove(&(expires, id));
        }
        let now = &mut self.tally(record).now;
        if let Some(count) = now.get_mut(&record.state) {
            *count -= 1;
            if *count == 0 {
                now.remove(&record.state);
            }
        }
    }

    /// The record after this one, by id.
    pub(super) fn record_after(&self, last: Option<JobId>) -> Option<Record> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.jobs.range((from, Bound::Unbounded)).next().map(|(_, entry)| entry.record.clone())
    }

    /// Puts a job into every index in which it should be. Answers in how many it was not.
    pub(super) fn complete(&mut self, record: &Record) -> u64 {
        let missing = |index: &Indexed| {
            let score = index.score(record)?;
            let has = self.index_of(*index).is_some_and(|entries| entries.contains(&(score, record.id)));
            (!has).then_some((*index, (score, record.id)))
        };
        let missing: Vec<_> = Indexed::all().filter_map(|index| missing(&index)).collect();
        for (index, entry) in &missing {
            self.add_entry(*index, *entry);
        }
        missing.len() as u64
    }

    /// The entry of an index after this one, and whether the job's record says the same.
    pub(super) fn entry_after(&self, index: Indexed, last: Option<(u64, JobId)>) -> Option<((u64, JobId), bool)> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let entry = *self.index_of(index)?.range((from, Bound::Unbounded)).next()?;
        let agrees = self.jobs.get(&entry.1).is_some_and(|job| index.score(&job.record) == Some(entry.0));
        Some((entry, agrees))
    }

    pub(super) fn add_entry(&mut self, index: Indexed, entry: (u64, JobId)) {
        self.index_mut(index).insert(entry);
    }

    pub(super) fn drop_entry(&mut self, index: Indexed, entry: (u64, JobId)) {
        self.index_mut(index).remove(&entry);
    }

    #[cfg(test)]
    pub(super) fn entries_of(&self, index: Indexed) -> impl Iterator<Item = (u64, JobId)> {
        self.index_of(index).into_iter().flatten().copied()
    }

    fn index_of(&self, index: Indexed) -> Option<&Index> {
        match index {
            Indexed::State(state) => self.states.get(&state),
            Indexed::Open => Some(&self.open),
            Indexed::History => Some(&self.history),
            Indexed::Outbox => Some(&self.outbox),
            Indexed::Expiring => Some(&self.expiring),
        }
    }

    fn index_mut(&mut self, index: Indexed) -> &mut Index {
        match index {
            Indexed::State(state) => self.states.entry(state).or_default(),
            Indexed::Open => &mut self.open,
            Indexed::History => &mut self.history,
            Indexed::Outbox => &mut self.outbox,
            Indexed::Expiring => &mut self.expiring,
        }
    }

    /// Compares every index with the records, for tests: the first disagreement in words.
    #[cfg(any(test, feature = "conformance"))]
    pub(super) fn check(&self) -> Result<(), String> {
        let mut fresh = Self::default();
        for entry in self.jobs.values() {
            fresh.index(&entry.record);
        }
        let kept = |states: &BTreeMap<State, Index>| -> Vec<(State, Index)> {
            states.iter().filter(|(_, ids)| !ids.is_empty()).map(|(state, ids)| (*state, ids.clone())).collect()
        };
        let same = |name: &str, equal: bool| if equal { Ok(()) } else { Err(format!("index `{name}` is wrong")) };
        same("states", kept(&self.states) == kept(&fresh.states))?;
        same("open", self.open == fresh.open)?;
        same("history", self.history == fresh.history)?;
        same("outbox", self.outbox == fresh.outbox)?;
        same("expiring", self.expiring == fresh.expiring)?;
        let now = |table: &Self| -> BTreeMap<Place, BTreeMap<State, u64>> {
            let tallies = table.tallies.iter().filter(|(_, tally)| !tally.now.is_empty());
            tallies.map(|(place, tally)| (place.clone(), tally.now.clone())).collect()
        };
        same("tallies", now(self) == now(&fresh))?;
        match self.ledger().drifts().first() {
            Some(drift) => Err(format!("the ledger drifts: {drift}")),
            None => Ok(()),
        }
    }
}

fn size(index: &Index) -> u64 {
    u64::try_from(index.len()).unwrap_or(u64::MAX)
}

fn expiry(record: &Record) -> Option<u64> {
    record.expires.filter(|_| record.state.may_expire())
}
