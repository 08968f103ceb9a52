//! When the embedded store believes in a death: an outage must not look like one.
//!
//! Owns the amnesty: until it ends nobody's lease counts as gone. It begins when the store restarted,
//! or when an incarnation that renewed before finds that nobody renewed for two beats. A process that
//! is new finds the same, but it proves nothing: the others may really be dead.

use longshore_model::id::Owner;
use std::collections::BTreeMap;

/// Renewals, seen from the store.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// The last renewal by anybody, ms.
    last: u64,
    /// The last renewal by each that renewed no longer than a lease before `last`, ms.
    renewed: BTreeMap<Owner, u64>,
    /// Until when nobody is declared dead, ms.
    until: u64,
    restarted: bool,
}

impl Leases {
    /// Somebody renews.
    pub(super) fn renewed(&mut self, owner: &Owner, now: u64, beat_ms: u64, lease_ms: u64) {
        let silence = now.saturating_sub(self.last) > 2 * beat_ms;
        let survivor = self.renewed.contains_key(owner);
        if self.restarted || (silence && survivor) {
            self.until = now + lease_ms;
            self.restarted = false;
        } else {
            // During a silence nobody is forgotten: each of the survivors must be known as one.
            self.renewed.retain(|_, at| *at + lease_ms >= self.last);
        }
        self.renewed.insert(owner.clone(), now);
        self.last = now;
    }

    /// The instance left by itself.
    pub(super) fn left(&mut self, owner: &Owner) {
        self.renewed.remove(owner);
    }

    /// Until when nobody is declared dead, ms; 0 without an amnesty.
    pub(super) const fn amnesty(&self, now: u64) -> u64 {
        if self.until > now { self.until } else { 0 }
    }

    /// The store restarted: whoever renews first brings an amnesty about, and until then nobody is declared dead.
    pub(super) const fn restart(&mut self) {
        self.restarted = true;
    }

    /// Whether leases may be taken back now.
    pub(super) const fn may_rescue(&self, now: u64) -> bool {
        !self.restarted && self.until <= now
    }
}
