//! Copies that are read without being taken for good, and a broker that loses all of them.

use super::{Exchange, Stored};
use crate::broker::{Copies, Message};
use longshore_model::lane::Lane;

/// Copies that a reading has taken.
#[derive(Debug)]
pub(in crate::embedded::broker) struct Taken {
    place: Copies,
    /// Of the lane, when it was one.
    life: u64,
    /// By when they are due, then in their order.
    pub(in crate::embedded::broker) lying: Vec<((u64, u64), Message)>,
}

impl Exchange {
    /// Takes the copies that lie in a place, for a reading that gives them back; `None` when there is no such place.
    pub(in crate::embedded::broker) fn take_copies(&mut self, place: &Copies) -> Option<Taken> {
        let mut taken = Taken { place: place.clone(), life: 0, lying: Vec::new() };
        match place {
            Copies::Lane(name) => {
                let lane = self.lanes.get_mut(name)?;
                taken.life = lane.life;
                let ready = std::mem::take(&mut lane.ready).into_iter();
                taken.lying = ready.map(|(place, stored)| ((0, place), stored.message)).collect();
            }
            Copies::Parked(park) => {
                let here = |message: &Message| message.target.park() == Some(*park);
                let (lying, others): (Vec<_>, Vec<_>) =
                    std::mem::take(&mut self.parked).into_iter().partition(|(_, message)| here(message));
                self.parked = others.into_iter().collect();
                taken.lying = lying;
            }
            Copies::Journal => {
                let entries = self.journal.as_ref()?.iter().cloned();
                taken.lying = entries.map(|message| ((0, 0), message)).collect();
            }
        }
        Some(taken)
    }

    /// Puts back what a reading had taken.
    pub(in crate::embedded::broker) fn put_copies(&mut self, taken: Taken) {
        match &taken.place {
            Copies::Lane(name) => {
                let Some(lane) = self.lanes.get_mut(name).filter(|lane| lane.life == taken.life) else { return };
                for ((_, place), message) in taken.lying {
                    lane.ready.insert(place, Stored { message, redelivered: true });
                }
                self.serve(name);
            }
            Copies::Parked(_) => self.parked.extend(taken.lying),
            Copies::Journal => {}
        }
    }

    /// How many copies lie in a place.
    pub(in crate::embedded::broker) fn count_copies(&self, place: &Copies) -> Option<u64> {
        match place {
            Copies::Lane(name) => self.depth(name),
            Copies::Parked(park) => {
                Some(self.parked.values().filter(|message| message.target.park() == Some(*park)).count() as u64)
            }
            Copies::Journal => self.journal.as_ref().map(|entries| entries.len() as u64),
        }
    }

    /// Loses every lane, everything at rest, every letter and the journal, as a broker without its disk would. Answers
    /// how many lanes there were.
    pub(in crate::embedded) fn wipe(&mut self) -> u64 {
        let names: Vec<Lane> = self.lanes.keys().cloned().collect();
        names.iter().for_each(|name| self.delete(name));
        self.parked.clear();
        self.piles.clear();
        self.readings.clear();
        self.journal = None;
        self.wipes += 1;
        self.end_all("the broker lost everything");
        names.len() as u64
    }
}
