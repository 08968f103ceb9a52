//! The audit record (N04): what operators did, kept in the store, a bounded number of the last entries.

use crate::limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What somebody did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Who, for people: `user@host`, or what the settings say.
    pub who: String,
    /// One session of that person: what it does of one kind to one thing is one entry, whose counts add up.
    pub run: String,
    /// What was done: `pause`, `limit set`, `job remove`, …
    pub action: String,
    /// To what: a queue, a limit, a schedule; empty where the counts say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// The plan, as it was asked for: the command without secrets and payloads, filters and reasons included.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub plan: String,
    /// How many of what: jobs, letters, queues.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, u64>,
}

/// One entry of the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was done first, ms since 1970 by the store's clock.
    pub at: u64,
    /// When it was done last.
    pub until: u64,
    /// What.
    #[serde(flatten)]
    pub deed: Deed,
}

impl Deed {
    /// The same within the bounds of what is kept: longer texts are cut, further counts left out.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for text in [&mut self.who, &mut self.run, &mut self.action, &mut self.of] {
            *text = limits::cut(text, limits::TITLE_BYTES);
        }
        self.plan = limits::cut(&self.plan, limits::PLAN_BYTES);
        self.counts = self.counts.into_iter().take(limits::AUDIT_COUNTS).collect();
        self
    }

    /// Whether another deed goes into the same entry.
    #[must_use]
    pub fn goes_on(&self, other: &Self) -> bool {
        (&self.run, &self.action, &self.of) == (&other.run, &other.action, &other.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let deed = Deed {
            who: "w".repeat(1_000),
            plan: "p".repeat(10_000),
            counts: (0..100).map(|n| (format!("{n:03}"), n)).collect(),
            ..Deed::default()
        };
        let kept = deed.bounded();
        assert!(kept.who.len() <= limits::TITLE_BYTES && kept.plan.len() <= limits::PLAN_BYTES);
        assert_eq!(kept.counts.len(), limits::AUDIT_COUNTS);
    }
}
