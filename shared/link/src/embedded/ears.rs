//! Who listens to events, and until when.

use longshore_model::event::Interest;
use longshore_model::limits;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// All interests, by their text, as the other store keeps them.
#[derive(Debug, Default)]
pub(super) struct Ears {
    interests: BTreeMap<String, (Interest, u64)>,
    changes: u64,
}

impl Ears {
    /// Somebody listens for so long; `false`: to more than may be listened to.
    pub(super) fn listen(&mut self, interests: &[Interest], now: u64, ms: u64) -> bool {
        self.interests.retain(|_, (_, until)| *until > now);
        for interest in interests {
            let (full, until) = (self.interests.len() >= limits::INTERESTS, now + ms);
            match self.interests.entry(interest.to_string()) {
                Entry::Occupied(mut known) => known.get_mut().1 = until.max(known.get().1),
                Entry::Vacant(_) if full => return false,
                Entry::Vacant(free) => {
                    free.insert((interest.clone(), until));
                }
            }
        }
        self.changes += 1;
        true
    }

    /// What is listened to, and for how long it still is.
    pub(super) fn left(&self, now: u64) -> Vec<(Interest, u64)> {
        let left = |(interest, until): &(Interest, u64)| (interest.clone(), until.saturating_sub(now));
        self.interests.values().map(left).filter(|(_, left)| *left > 0).collect()
    }

    /// How often somebody began to listen.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Nobody is known to listen any more; those who do say so again.
    pub(super) fn clear(&mut self) {
        self.interests.clear();
        self.changes += u64::from(self.changes > 0);
    }
}
