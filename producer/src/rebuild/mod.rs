//! Rebuilding one service from the other, by somebody who looks first: a plan, then the same for real.
//!
//! Consumers repair most losses by themselves; this is for when they cannot (nobody takes a topic, the journal has to be
//! read) or when somebody wants it done now. Every step can be repeated: what is there already is left alone.

mod from_broker;
mod from_store;

pub use from_broker::{FoundCopies, RebuildError, RebuildStore, StoreRebuild};
pub use from_store::{BrokerRebuild, LaneState};

use crate::connect::Producer;
use longshore_link::store::{Loss, LossKind};

impl Producer {
    /// Rebuilds a store that lost what it held from the copies in the broker: [`RebuildStore::plan`] looks,
    /// [`RebuildStore::run`] does it.
    pub fn rebuild_store(&self) -> RebuildStore {
        RebuildStore::new(self.clone())
    }
}

/// The newest loss of more than the last seconds.
pub(crate) fn last_loss(losses: &[Loss]) -> Option<&Loss> {
    losses.iter().rev().find(|loss| loss.kind != LossKind::Restarted)
}

/// When the store was last seen before a loss, ms; `None`: nobody who lived through it has said so.
pub(crate) fn last_seen(loss: &Loss) -> Option<u64> {
    loss.before.map(|before| before.tick / 1_000)
}
