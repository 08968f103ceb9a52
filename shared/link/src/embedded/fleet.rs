//! The membership of the embedded store: who is in, in which order, and who coordinates.
//!
//! The same rules as the beat script of the Redis store: a beat refreshes its own member first, then
//! drops those whose lease ended, unless it was the store that was away; the view gets the next number when the set or the coordinator
//! changed, the term grows when another incarnation coordinates.

use super::outage::Outage;
use crate::store::Beat;
use longshore_model::id::Owner;
use longshore_model::topology::{Card, View};

#[derive(Debug)]
struct Member {
    card: Card,
    until: u64,
}

/// The live instances.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    /// In the order in which they joined.
    members: Vec<Member>,
    /// The set and the coordinator that `number` stands for.
    established: Vec<Owner>,
    number: u64,
    term: u64,
    coordinator: Option<Owner>,
    /// When members may be dropped.
    pub(super) outage: Outage,
}

/// Whether a beat counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    Superseded,
}

impl Fleet {
    /// A beat. A later incarnation of the same instance takes the older one's place, and queues last.
    pub(super) fn beat(&mut self, beat: &Beat, now: u64) -> Standing {
        let owner = &beat.card.owner;
        let newer = |member: &Member| {
            member.card.owner.instance == owner.instance && member.card.owner.incarnation > owner.incarnation
        };
        if self.members.iter().any(|member| member.until > now && newer(member)) {
            return Standing::Superseded;
        }
        let before = self.members.iter().find(|member| member.card.owner == *owner);
        let mine = before.map_or(0, |member| member.until.saturating_sub(beat.lease_ms));
        // Half a lease is longer than two beats of every sensible setting.
        self.outage.beat(now, beat.lease_ms, beat.lease_ms / 2, mine);
        let until = now + beat.lease_ms;
        let mut card = beat.card.clone();
        if let Some(member) = self.members.iter_mut().find(|member| member.card.owner == *owner) {
            card.started = member.card.started;
            *member = Member { card, until };
        } else {
            self.members.retain(|member| member.card.owner.instance != owner.instance);
            if card.started == 0 {
                card.started = now;
            }
            self.members.push(Member { card, until });
        }
        Standing::Member
    }

    /// Takes one incarnation out; another one of the same instance stays.
    pub(super) fn leave(&mut self, owner: &Owner) {
        self.members.retain(|member| member.card.owner != *owner);
    }

    /// Drops those whose lease ended, except during an amnesty, and establishes the next view where that is due. Answers whether it was.
    pub(super) fn settle(&mut self, now: u64) -> bool {
        if self.outage.is_over(now) {
            self.members.retain(|member| member.until > now);
        }
        let owners: Vec<Owner> = self.members.iter().map(|member| member.card.owner.clone()).collect();
        if owners == self.established {
            return false;
        }
        if !self.coordinator.as_ref().is_some_and(|coordinator| owners.contains(coordinator)) {
            self.coordinator = owners.first().cloned();
            self.term += u64::from(self.coordinator.is_some());
        }
        self.established = owners;
        self.number += 1;
        true
    }

    /// The view as established last.
    pub(super) fn view(&self) -> View {
        View {
            number: self.number,
            term: self.term,
            coordinator: self.coordinator.clone(),
            instances: self.members.iter().map(|member| member.card.clone()).collect(),
        }
    }
}
