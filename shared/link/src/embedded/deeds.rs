//! What operators did.

use longshore_model::audit::{Deed, Entry};
use longshore_model::limits;
use std::collections::VecDeque;

/// The record, newest first.
#[derive(Debug, Default)]
pub(super) struct Deeds(VecDeque<Entry>);

impl Deeds {
    /// Records a deed, or adds it to the one before that it goes on with.
    pub(super) fn record(&mut self, deed: &Deed, now: u64) {
        if let Some(last) = self.0.front_mut().filter(|last| last.deed.goes_on(deed)) {
            for (name, count) in &deed.counts {
                *last.deed.counts.entry(name.clone()).or_default() += count;
            }
            last.until = now;
            return;
        }
        self.0.push_front(Entry { at: now, until: now, deed: deed.clone() });
        self.0.truncate(limits::AUDIT);
    }

    /// The last ones, newest first.
    pub(super) fn last(&self, limit: usize) -> Vec<Entry> {
        self.0.iter().take(limit).cloned().collect()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
