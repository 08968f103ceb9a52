//! One place for letters: what lies there, and what readings hold of it.
//!
//! A letter keeps its place number, so that what a reading gives back lies where it lay.

use crate::broker::Message;
use crate::letters::Eviction;
use std::collections::BTreeMap;

/// A message among the letters.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) message: Message,
    /// Set when it was the broker that put it here.
    pub(super) evicted: Option<Eviction>,
}

/// One place, by place number.
#[derive(Debug, Default)]
pub(super) struct Pile {
    lying: BTreeMap<u64, Kept>,
    /// By reading, then place.
    held: BTreeMap<(u64, u64), Kept>,
}

impl Pile {
    pub(super) fn put(&mut self, place: u64, kept: Kept) {
        self.lying.insert(place, kept);
    }

    /// Hands the oldest letter that nobody holds to a reading.
    pub(super) fn hand(&mut self, reading: u64) -> Option<(u64, Kept)> {
        let (place, kept) = self.lying.pop_first()?;
        self.held.insert((reading, place), kept.clone());
        Some((place, kept))
    }

    /// Removes what a reading holds, for good.
    pub(super) fn remove(&mut self, reading: u64, place: u64) {
        self.held.remove(&(reading, place));
    }

    /// Gives back what one reading holds, or all of them.
    pub(super) fn give_back(&mut self, reading: Option<u64>) {
        let held = std::mem::take(&mut self.held);
        for ((holder, place), kept) in held {
            if reading.is_none_or(|reading| reading == holder) {
                self.lying.insert(place, kept);
            } else {
                self.held.insert((holder, place), kept);
            }
        }
    }

    /// Takes the oldest letters that nobody holds off the pile.
    pub(super) fn take(&mut self, limit: usize) -> Vec<(u64, Kept)> {
        std::iter::from_fn(|| self.lying.pop_first()).take(limit).collect()
    }

    /// Letters that nobody holds.
    pub(super) fn len(&self) -> usize {
        self.lying.len()
    }

    /// Bytes of all letters, held or not.
    pub(super) fn bytes(&self) -> u64 {
        self.lying.values().chain(self.held.values()).map(|kept| kept.message.body.len() as u64).sum()
    }

    /// All letters, held or not, oldest first.
    pub(super) fn all(&self) -> Vec<Message> {
        let held = self.held.iter().map(|((_, place), kept)| (*place, kept));
        let all: BTreeMap<u64, &Kept> = self.lying.iter().map(|(place, kept)| (*place, kept)).chain(held).collect();
        all.into_values().map(|kept| kept.message.clone()).collect()
    }
}
