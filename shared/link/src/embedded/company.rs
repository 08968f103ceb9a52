//! Who ran beside whom when processes went away: what a job is blamed by, and what its dossier tells.
//!
//! Like the rescue of the Redis store: the leases of one process end together, or within two beats of each other, and
//! what was taken from a silent process before is remembered for a while.

use super::core::Core;
use longshore_model::id::{JobId, Owner};
use longshore_model::limits;
use longshore_model::record::{Crash, State};
use std::collections::BTreeMap;

/// Silent processes from which attempts were taken back not long ago.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    owners: BTreeMap<Owner, Company>,
    /// The last time, ms.
    at: u64,
}

/// The attempts of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Company {
    /// Whether the process has not renewed for two beats.
    silent: bool,
    /// Taken back before.
    before: usize,
    /// Those, and those that it has now.
    count: usize,
    /// Jobs of the former, some only, and of the latter.
    ids: Vec<JobId>,
    /// Jobs of the former, some only, and of those that were taken now.
    gone: Vec<JobId>,
    taken: usize,
}

/// The companies of all whose leases have ended or end soon.
#[derive(Debug, Default)]
pub(super) struct Companies {
    all: BTreeMap<Owner, Company>,
    /// Whether there are too many to be looked at.
    crowded: bool,
}

impl Core {
    /// Looks at every attempt whose lease ends within `gap_ms`.
    pub(super) fn companies(&mut self, gap_ms: u64) -> Companies {
        let now = self.now();
        if self.fallen.at + limits::FALLEN_MS <= now {
            self.fallen.owners.clear();
        }
        let near = self.table.ready(State::Active, now.saturating_add(gap_ms), limits::COMPANY);
        let mut companies = Companies { all: BTreeMap::new(), crowded: near.len() >= limits::COMPANY };
        for id in near {
            let Some(owner) = self.table.get(&id).and_then(|entry| entry.record.owner.clone()) else { continue };
            let company = companies.all.entry(owner.clone()).or_insert_with(|| {
                let Company { count, gone, .. } = self.fallen.owners.get(&owner).cloned().unwrap_or_default();
                let silent = self.is_silent(&owner, gap_ms);
                Company { silent, before: count, count, ids: gone.clone(), gone, taken: 0 }
            });
            company.count += 1;
            company.ids.push(id);
        }
        companies
    }

    fn is_silent(&self, owner: &Owner, gap_ms: u64) -> bool {
        let renewed = self.renewals.get(&owner.instance).filter(|(incarnation, _)| *incarnation == owner.incarnation);
        renewed.is_none_or(|(_, at)| self.now() - at > gap_ms)
    }

    /// Remembers from whom attempts were taken.
    pub(super) fn remember(&mut self, companies: Companies) {
        for (owner, mut company) in companies.all {
            if company.silent && company.taken > 0 {
                company.gone.truncate(limits::NEIGHBOURS + 1);
                company.count = company.before + company.taken;
                self.fallen.owners.insert(owner, company);
                self.fallen.at = self.now();
            }
        }
    }
}

impl Companies {
    /// Whether nothing else ran in the process.
    pub(super) fn alone(&self, owner: &Owner) -> bool {
        self.all.get(owner).is_some_and(|company| company.silent && company.count == 1 && !self.crowded)
    }

    /// An attempt was taken from its process: completes what is kept of that.
    pub(super) fn taken(&mut self, owner: &Owner, id: JobId, crash: &mut Crash) {
        let Some(company) = self.all.get_mut(owner) else { return };
        company.taken += 1;
        company.gone.push(id);
        crash.beside = u32::try_from(company.count - 1).unwrap_or(u32::MAX);
        crash.neighbours = company.ids.iter().filter(|other| **other != id).take(limits::NEIGHBOURS).copied().collect();
    }
}
