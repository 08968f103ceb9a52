//! The audit record (N04): what operators did through this library, written after it was done.
//!
//! A producer that acts on somebody's behalf ([`Producer::on_behalf_of`]) records every change that is not sending jobs; any
//! other records nothing, so that an application that stops its own jobs does not fill the record.

use crate::connect::Producer;
use longshore_link::error::Fault;
use longshore_model::audit::{Deed, Entry};
use std::sync::Arc;

impl Producer {
    /// The same producer, in somebody's name: what it changes from now on is recorded ([`Self::audited`]) with `who`
    /// (`user@host`) and `plan` (the command line, the page). No secrets: everybody who can read the store can read it.
    #[must_use]
    pub fn on_behalf_of(&self, who: impl Into<String>, plan: impl Into<String>) -> Self {
        let run = format!("{:016x}", self.inner.link.world.random.next());
        let deed = Deed { who: who.into(), run, plan: plan.into(), ..Deed::default() };
        Self { inner: Arc::clone(&self.inner), operator: Some(Arc::new(deed)) }
    }

    /// Whether it acts in somebody's name.
    #[must_use]
    pub const fn has_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// What operators did, newest first, at most so many. The last 1 000 entries are kept.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn audited(&self, limit: usize) -> Result<Vec<Entry>, Fault> {
        self.inner.link.store.audited(limit).await
    }

    /// Records what was done, where somebody is to be named for it. What cannot be recorded is in the log; it was done.
    pub(crate) async fn record(&self, action: &str, of: &str, counts: &[(&str, u64)]) {
        let Some(operator) = &self.operator else { return };
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let deed = Deed {
            action: action.to_owned(),
            of: of.to_owned(),
            counts: counts.map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            ..Deed::clone(operator)
        };
        if let Err(fault) = self.inner.link.store.audit(&deed.bounded()).await {
            tracing::error!(action, of, %fault, "it was done, and could not be written into the audit record");
        }
    }
}
