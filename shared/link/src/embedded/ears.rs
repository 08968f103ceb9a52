//! Who listens to events, and until when; and what happened to jobs without a process that tells them of it.

use crate::store::Untold;
use longshore_model::event::{Class, Interest, Kind};
use longshore_model::limits;
use longshore_model::record::{Record, State};
use longshore_model::transition::Event;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

/// All interests, by their text, as the other store keeps them.
#[derive(Debug, Default)]
pub(super) struct Ears {
    interests: BTreeMap<String, (Interest, u64)>,
    changes: u64,
    /// Oldest first, at most [`limits::UNTOLD`].
    untold: VecDeque<Untold>,
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

    /// Keeps what a job came into by something that no process tells of, where somebody listens.
    pub(super) fn note(&mut self, event: &Event, after: &Record, now: u64) {
        let kind = match (event, after.state) {
            (Event::LeaseGone { .. }, state) if !state.is_terminal() => Kind::Failed,
            (
                Event::LeaseGone { .. }
                | Event::Claim { .. }
                | Event::Expire
                | Event::Replace
                | Event::Displace
                | Event::Skip { .. },
                state,
            ) if state.is_terminal() => {
                if state == State::Dropped {
                    Kind::Removed
                } else {
                    Kind::Cancelled
                }
            }
            _ => return,
        };
        let listens = |(interest, until): &(Interest, u64)| interest.class == Class::Job && *until > now;
        if !self.interests.values().any(listens) {
            return;
        }
        if self.untold.len() >= limits::UNTOLD {
            self.untold.pop_front();
        }
        self.untold.push_back(Untold { kind, id: after.id, at: now });
    }

    /// Hands out what was kept and is not too old.
    pub(super) fn untold(&mut self, limit: usize, now: u64) -> Vec<Untold> {
        let some = self.untold.drain(..limit.min(self.untold.len()));
        some.filter(|untold| untold.at + limits::UNTOLD_MS >= now).collect()
    }

    /// How often somebody began to listen.
    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    /// Nobody is known to listen any more; those who do say so again.
    pub(super) fn clear(&mut self) {
        self.interests.clear();
        self.untold.clear();
        self.changes += u64::from(self.changes > 0);
    }
}
