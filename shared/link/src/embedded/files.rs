//! Payload files in the embedded store: the place that was agreed on, and which job needs which blob.

use super::table::Table;
use crate::store::FilePlace;
use longshore_model::id::JobId;
use longshore_model::limits;
use std::collections::{BTreeMap, BTreeSet};

/// What the store knows of payload files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Its id, and since when, ms.
    place: Option<(String, u64)>,
    /// What each job needs, and when that was said or looked at last, ms.
    jobs: BTreeMap<JobId, (u64, BTreeSet<String>)>,
    /// Blobs that are being deleted, and since when, ms.
    doomed: BTreeMap<String, u64>,
}

impl Files {
    pub(super) fn place(&mut self, id: Option<&str>, replace: bool, now: u64) -> Option<FilePlace> {
        let differs = id.filter(|id| self.place.as_ref().is_none_or(|(known, _)| replace && known != id));
        if let Some(id) = differs {
            self.place = Some((id.to_owned(), now));
        }
        self.place.clone().map(|(id, since)| FilePlace { id, since, now })
    }

    /// `None`: the job needs as many as it may.
    pub(super) fn keep(&mut self, job: JobId, digests: &[String], now: u64) -> Option<bool> {
        let dying = |since: &u64| *since + limits::DOOM_MS > now;
        if digests.iter().any(|digest| self.doomed.get(digest).is_some_and(dying)) {
            return Some(false);
        }
        let needed = self.jobs.get(&job).map_or(0, |(_, needed)| needed.len());
        if needed + digests.len() > limits::FILES_OF_JOB {
            return None;
        }
        let entry = self.jobs.entry(job).or_default();
        entry.0 = now;
        entry.1.extend(digests.iter().cloned());
        Some(true)
    }

    pub(super) fn release(&mut self, table: &Table, grace_ms: u64, limit: usize, now: u64) -> u64 {
        let old = now.saturating_sub(grace_ms);
        let mut due: Vec<_> =
            self.jobs.iter().filter(|(_, (at, _))| *at <= old).map(|(id, (at, _))| (*at, *id)).collect();
        due.sort_unstable();
        due.truncate(limit);
        for (_, id) in &due {
            match self.jobs.get_mut(id).filter(|_| table.get(id).is_some()) {
                Some(entry) => entry.0 = now,
                None => drop(self.jobs.remove(id)),
            }
        }
        due.len() as u64
    }

    pub(super) fn doom(&mut self, digests: &[String], over: bool, now: u64) -> Vec<String> {
        self.doomed.retain(|_, since| *since + limits::DOOM_MS > now);
        let mut doomed = Vec::new();
        for digest in digests {
            if over {
                self.doomed.remove(digest);
            } else if !self.jobs.values().any(|(_, needed)| needed.contains(digest)) {
                self.doomed.insert(digest.clone(), now);
                doomed.push(digest.clone());
            }
        }
        doomed
    }
}
