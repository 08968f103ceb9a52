//! The row of the topic matrix that this instance goes by.
//!
//! It is read when the instance starts, whenever somebody says that the matrix changed, and with every look at the known
//! topics; until the store answers, the last one holds. Nothing is consumed before it was read once. A row that the
//! store lost, or an older one that it went back to, is put back: work that was forbidden stays forbidden.

use super::Engine;
use longshore_link::Fault;
use longshore_link::store::RowChange;
use longshore_model::topic::Topic;
use longshore_model::topology::matrix::{KeptRow, Row};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The row.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    current: Mutex<KeptRow>,
}

impl Matrix {
    fn lock(&self) -> MutexGuard<'_, KeptRow> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The row as it is now.
    pub(crate) fn row(&self) -> Row {
        self.lock().row.clone()
    }

    /// Whether the row lets the instance take a topic.
    pub(crate) fn admits(&self, topic: &Topic) -> bool {
        self.lock().row.admits(topic)
    }

    /// Goes by what the store says, or makes the store say what it lost. Answers whether the row is another one now.
    pub(crate) async fn refresh(&self, engine: &Engine) -> Result<bool, Fault> {
        let (store, me) = (&engine.link.store, &engine.owner.instance);
        let mut found = store.row(me).await?;
        loop {
            let before = self.lock().clone();
            let revision = found.as_ref().map_or(0, |kept| kept.revision);
            if revision >= before.revision {
                let now = found.unwrap_or_default();
                let changed = now.row != before.row;
                if changed {
                    tracing::info!(by = now.row.by, drained = now.row.drained, rules = ?now.row.rules, "the topic matrix changed");
                }
                *self.lock() = now;
                return Ok(changed);
            }
            tracing::warn!("the store lost what the topic matrix says of this instance; putting it back");
            found = match store.set_row(me, revision, &before.row).await? {
                RowChange::Done(kept) => Some(kept),
                RowChange::Differs(now) => now,
            };
        }
    }
}
