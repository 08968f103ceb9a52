//! What people ask: listings, snapshots, counts, and how many wait ahead.

use super::core::Core;
use super::table::{Entry, Place as Counted, Tally};
use crate::store::{Counts, Page, Query};
use longshore_model::id::JobId;
use longshore_model::record::{Record, State};
use longshore_model::snapshot::Snapshot;
use longshore_model::statistics::{Part, Statistics};
use longshore_model::topic::{Topic, TopicPattern};
use longshore_model::{indexed, limits};
use std::collections::BTreeMap;

/// Most jobs of one page.
const PAGE: usize = 1_000;

/// Where a page ended: in which part of the listing, at which score and job.
#[derive(Debug, Clone, Copy)]
enum Place {
    Open(u64, JobId),
    History(u64, JobId),
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (part, score, id) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        match part {
            "o" => Some(Self::Open(score, id)),
            "h" => Some(Self::History(score, id)),
            _ => None,
        }
    }

    fn show(self) -> String {
        match self {
            Self::Open(score, id) => format!("o:{score}:{id}"),
            Self::History(score, id) => format!("h:{score}:{id}"),
        }
    }
}

impl Core {
    /// A page, or `Err` for a cursor that no page gave out.
    pub(super) fn find(&self, query: &Query) -> Result<Page, String> {
        let bad = |text: &String| format!("`{text}` is not a cursor of a listing: leave it out to begin anew");
        let from = query.cursor.as_ref().map(|text| Place::parse(text).ok_or_else(|| bad(text))).transpose()?;
        let open = self.table.open().iter().map(|(score, id)| Place::Open(*score, *id));
        let history = self.table.history().iter().rev().map(|(score, id)| Place::History(*score, *id));
        let mut found =
            open.chain(history).filter(|place| is_after(*place, from)).filter(|place| self.fits(*place, query));
        let limit = query.limit.clamp(1, PAGE);
        let places: Vec<Place> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        let next = places.last().filter(|_| more).map(|place| place.show());
        let jobs = places.into_iter().map(|(Place::Open(_, id) | Place::History(_, id))| id).collect();
        Ok(Page { jobs, next })
    }

    fn fits(&self, place: Place, query: &Query) -> bool {
        let (Place::Open(_, id) | Place::History(_, id)) = place;
        let Some(entry) = self.table.get(&id) else { return false };
        let record = &entry.record;
        (query.states.is_empty() || query.states.contains(&record.state))
            && query.topic.as_ref().is_none_or(|pattern| pattern.matches(&record.topic))
            && query.queue.as_ref().is_none_or(|queue| *queue == record.queue)
            && query.labels.iter().all(|(name, value)| entry.labels.get(name) == Some(value))
            && indexed::fit(&entry.fields, &query.templates)
            && query.since.is_none_or(|since| record.created >= since)
    }

    /// Of each field, whether all jobs of these topics have it indexed.
    pub(super) fn indexed(&self, topics: Option<&TopicPattern>, paths: &[String]) -> Vec<bool> {
        let taken = |entry: &&Entry| topics.is_none_or(|pattern| pattern.matches(&entry.record.topic));
        let has = |path: &String| self.table.entries().filter(taken).all(|entry| entry.fields.contains_key(path));
        paths.iter().map(has).collect()
    }

    pub(super) fn snapshot(&self, id: &JobId) -> Option<Snapshot> {
        let entry = self.table.get(id)?;
        let Entry { record, envelope, result, progress, properties, outputs, log, log_dropped, attempts, past, .. } =
            entry;
        Some(Snapshot {
            record: record.clone(),
            envelope: envelope.to_vec(),
            result: result.clone(),
            progress: progress.clone(),
            properties: properties.clone(),
            log: log.iter().cloned().collect(),
            log_dropped: *log_dropped,
            outputs: outputs.clone(),
            attempts: attempts.iter().cloned().collect(),
            past: past.clone(),
            now: self.now(),
        })
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for ((topic, _), tally) in self.table.tallies() {
            for (state, count) in &tally.now {
                *counts.entry(topic.clone()).or_default().entry(*state).or_default() += count;
            }
        }
        counts
    }

    pub(super) fn statistics(&self) -> Statistics {
        let mut waits: BTreeMap<(&Topic, &str), u64> = BTreeMap::new();
        let mut oldest = None;
        for state in [State::Queued, State::Blocked] {
            for (since, id) in self.table.state(state).take(limits::LOOKED_AT_WAITING) {
                let first = |other: u64| other.min(since);
                oldest = Some(oldest.map_or(since, first));
                if let Some(Record { topic, queue, .. }) = self.table.get(&id).map(|entry| &entry.record) {
                    waits.entry((topic, queue)).and_modify(|at| *at = first(*at)).or_insert(since);
                }
            }
        }
        let part = |((topic, queue), tally): (&Counted, &Tally)| Part {
            queue: queue.clone(),
            topic: topic.clone(),
            accepted: u64::try_from(tally.accepted).unwrap_or(0),
            now: tally.now.clone(),
            oldest: waits.get(&(topic, queue.as_str())).copied(),
            activity: self.table.activities().get(&(topic.clone(), queue.clone())).cloned().unwrap_or_default(),
        };
        Statistics {
            now: self.now(),
            parts: self.table.tallies().iter().map(part).collect(),
            oldest,
            schedules: self.shelf.len(),
        }
    }

    pub(super) fn ahead(&self, id: &JobId) -> Option<u64> {
        let record = &self.table.get(id)?.record;
        let lane = record.lane();
        let goes_before = |other: &Record| {
            let same = other.topic == lane.topic && other.site == lane.site;
            same && (!lane.high || other.gates.priority.is_high())
        };
        if record.state != State::Queued {
            return None;
        }
        let place = (record.since, *id);
        let before = self.table.state(State::Queued).take_while(|other| *other < place);
        let ahead = before.filter(|(_, id)| self.table.get(id).is_some_and(|entry| goes_before(&entry.record))).count();
        u64::try_from(ahead).ok()
    }
}

/// Open jobs come first, oldest first; history follows, newest end first.
fn is_after(place: Place, from: Option<Place>) -> bool {
    match (from, place) {
        (None, _) | (Some(Place::Open(..)), Place::History(..)) => true,
        (Some(Place::History(..)), Place::Open(..)) => false,
        (Some(Place::Open(score, id)), Place::Open(a, b)) => (a, b) > (score, id),
        (Some(Place::History(score, id)), Place::History(a, b)) => (a, b) < (score, id),
    }
}
