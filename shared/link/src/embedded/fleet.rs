//! The membership of the embedded store: who is in, in which order, and who coordinates.
//!
//! The same rules as the beat script of the Redis store: a beat refreshes its own member first, then
//! drops those whose lease ended, unless it was the store that was away; the view gets the next number when the set or the coordinator
//! changed, the term grows when another incarnation coordinates. Beside them the topic matrix, whose rows outlive their
//! instances for a while.

use super::outage::Outage;
use crate::store::{Beat, RowChange};
use longshore_model::id::{InstanceId, Owner};
use longshore_model::limits;
use longshore_model::topology::matrix::{KeptRow, Row};
use longshore_model::topology::{Card, View};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

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
    /// Grows with each profile that differs from the one before.
    profiles: u64,
    /// Members that have reached `number`.
    reached: BTreeSet<InstanceId>,
    /// When each instance beat last, ms, live or not.
    seen: BTreeMap<InstanceId, u64>,
    matrix: BTreeMap<InstanceId, KeptRow>,
    /// The revision of the row that was written last.
    revision: u64,
    /// What an instance has to be able to open; empty: nothing.
    seal: String,
    /// When members may be dropped.
    pub(super) outage: Outage,
}

/// Whether a beat counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Membership {
    Member,
    Superseded,
}

impl Fleet {
    /// A beat. A later incarnation of the same instance takes the older one's place, and queues last.
    pub(super) fn beat(&mut self, beat: &Beat, now: u64) -> Membership {
        let owner = &beat.card.owner;
        let newer = |member: &Member| {
            member.card.owner.instance == owner.instance && member.card.owner.incarnation > owner.incarnation
        };
        if self.members.iter().any(|member| member.until > now && newer(member)) {
            return Membership::Superseded;
        }
        let before = self.members.iter().find(|member| member.card.owner == *owner);
        let mine = before.map_or(0, |member| member.until.saturating_sub(beat.lease_ms));
        // Half a lease is longer than two beats of every sensible setting.
        self.outage.beat(now, beat.lease_ms, beat.lease_ms / 2, mine);
        let until = now + beat.lease_ms;
        let mut card = beat.card.clone();
        self.seen.insert(owner.instance.clone(), now);
        if let Some(member) = self.members.iter_mut().find(|member| member.card.owner == *owner) {
            card.started = member.card.started;
            self.profiles += u64::from(member.card.profile() != card.profile());
            *member = Member { card, until };
        } else {
            self.members.retain(|member| member.card.owner.instance != owner.instance);
            if card.started == 0 {
                card.started = now;
            }
            self.profiles += 1;
            self.members.push(Member { card, until });
        }
        self.forget(now);
        Membership::Member
    }

    /// Forgets instances that have not beaten for long, with their rows.
    fn forget(&mut self, now: u64) {
        let old = |(_, last): &(&InstanceId, &u64)| **last + limits::INSTANCE_KEPT_MS <= now;
        let gone = self.seen.iter().filter(old).take(limits::INSTANCES_FORGOTTEN).map(|(id, _)| id.clone());
        for instance in gone.collect::<Vec<_>>() {
            self.seen.remove(&instance);
            if !self.members.iter().any(|member| member.card.owner.instance == instance) {
                self.matrix.remove(&instance);
            }
        }
    }

    /// Takes an instance's last beat for one of so much longer ago, ms.
    #[cfg(any(test, feature = "conformance"))]
    pub(super) fn set_back(&mut self, instance: &InstanceId, ms: u64) {
        if let Some(seen) = self.seen.get_mut(instance) {
            *seen = seen.saturating_sub(ms);
        }
    }

    /// A member has reached a view. Answers whether it is the last one to reach this one.
    pub(super) fn reach(&mut self, instance: &InstanceId, number: u64) -> bool {
        number == self.number && self.reached.insert(instance.clone()) && self.synced()
    }

    /// Whether every member has reached the view.
    pub(super) fn synced(&self) -> bool {
        self.reached.len() == self.members.len()
    }

    /// Grows with each profile that differs from the one before.
    pub(super) const fn profiles(&self) -> u64 {
        self.profiles
    }

    pub(super) const fn matrix(&self) -> &BTreeMap<InstanceId, KeptRow> {
        &self.matrix
    }

    /// The revision of the row that was written last.
    pub(super) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Writes a row. `None`: there are as many as there may be. Answers beside it whether anything changed.
    pub(super) fn set_row(
        &mut self,
        instance: &InstanceId,
        after: u64,
        row: &Row,
        now_us: u64,
    ) -> Option<(RowChange, bool)> {
        let known = self.matrix.get(instance);
        match known {
            Some(kept) if kept.row == *row => return Some((RowChange::Done(kept.clone()), false)),
            known if known.map_or(0, |kept| kept.revision) != after => {
                return Some((RowChange::Differs(known.cloned()), false));
            }
            None if self.matrix.len() >= limits::ROWS => return None,
            _ => {}
        }
        // Larger than any before, also where an instance puts its row back into a store that lost it.
        self.revision = now_us.max(self.revision + 1).max(after + 1);
        let kept = KeptRow { revision: self.revision, row: row.clone() };
        self.matrix.insert(instance.clone(), kept.clone());
        // It may never have been here: it is forgotten as any other.
        self.seen.entry(instance.clone()).or_insert(now_us / 1_000);
        Some((RowChange::Done(kept), true))
    }

    pub(super) fn seal(&self) -> &str {
        &self.seal
    }

    /// Puts another seal in the place of the one that the caller read. Answers whether that changed anything.
    pub(super) fn exchange_seal(&mut self, before: &str, after: &str) -> bool {
        let changes = self.seal == before && self.seal != after;
        if changes {
            after.clone_into(&mut self.seal);
        }
        changes
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
        // It stays who it is while it is in and nobody is more preferred.
        let first = self.members.iter().min_by_key(|member| Reverse(member.card.leader_preference));
        let first = first.map(|member| member.card.owner.clone());
        if self.coordinator != first {
            self.term += u64::from(first.is_some());
            self.coordinator = first;
        }
        self.established = owners;
        self.number += 1;
        self.reached.clear();
        true
    }

    /// Whether this incarnation is in.
    pub(super) fn has(&self, owner: &Owner) -> bool {
        self.members.iter().any(|member| member.card.owner == *owner)
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
