//! Uniqueness: one job for a key, for as long as its mode says.
//!
//! Owns the modes and their bounds. The store keeps who has a key; a job that is sent while another has it is not
//! accepted a second time: its sender gets the first one's id. Keys belong to a topic.

use crate::gate::check_key;
use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A key, and how long nobody else may have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unique {
    /// The key, within the job's topic.
    pub key: String,
    /// How long, and what a second job changes.
    pub mode: UniqueMode,
    /// For `period` and `debounce`: how long, ms.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
const fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

/// How long a key belongs to its job, and what a second job changes meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueMode {
    /// Until its first attempt starts.
    UntilStarted,
    /// Until it has ended.
    UntilFinished,
    /// For a time after it was accepted, whatever becomes of it.
    Period,
    /// Until its first attempt starts, which is a time after the newest send: a second job replaces the payload, and the
    /// time begins anew. Of one that is due already and has not started, only the payload is replaced.
    Debounce,
    /// One runs and one waits: until its first attempt starts a second job replaces the payload; those of one key run one
    /// after the other.
    Latest,
}

impl UniqueMode {
    /// Every mode.
    pub const ALL: [Self; 5] = [Self::UntilStarted, Self::UntilFinished, Self::Period, Self::Debounce, Self::Latest];

    /// The name used in the store, in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UntilStarted => "until_started",
            Self::UntilFinished => "until_finished",
            Self::Period => "period",
            Self::Debounce => "debounce",
            Self::Latest => "latest",
        }
    }

    /// Whether a second job replaces the payload of one that has not started.
    #[must_use]
    pub const fn replaces(self) -> bool {
        matches!(self, Self::Debounce | Self::Latest)
    }

    /// Whether the key is free again when the job's first attempt starts.
    #[must_use]
    pub const fn until_started(self) -> bool {
        matches!(self, Self::UntilStarted | Self::Debounce | Self::Latest)
    }
}

impl fmt::Display for UniqueMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for UniqueMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|mode| mode.as_str()).collect();
            format!("`{text}` is not a mode of uniqueness: use one of {}", names.join(", "))
        })
    }
}

impl Unique {
    /// Checks key and time.
    ///
    /// # Errors
    /// A sentence that names the field and the remedy.
    pub fn check(&self) -> Result<(), String> {
        if self.key.is_empty() {
            return Err("unique.key: it is empty; leave `unique` out for a job that may be there twice".into());
        }
        check_key("unique.key", &self.key)?;
        let timed = matches!(self.mode, UniqueMode::Period | UniqueMode::Debounce);
        if timed && !(1..=limits::UNIQUE_MS).contains(&self.ms) {
            return Err(format!("unique.ms: {} is not 1 ms to {} ms (30 days)", self.ms, limits::UNIQUE_MS));
        }
        if !timed && self.ms != 0 {
            return Err(format!("unique.ms: the mode {} has no time; leave it out", self.mode));
        }
        Ok(())
    }

    /// What [`Self::parse`] reads: mode, time and key, a line each.
    #[must_use]
    pub fn lines(&self) -> String {
        format!("{}\n{}\n{}", self.mode, self.ms, self.key)
    }

    /// Reads what the store keeps.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.splitn(3, '\n');
        let (mode, ms) = (lines.next()?.parse().ok()?, lines.next()?.parse().ok()?);
        Some(Self { key: lines.next()?.to_owned(), mode, ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_keeps_reads_back() {
        let unique = Unique { key: "a:b".into(), mode: UniqueMode::Debounce, ms: 500 };
        assert_eq!(Unique::parse(&unique.lines()), Some(unique));
        assert_eq!(Unique::parse("sometimes\n0\nk"), None);
    }

    #[test]
    fn only_modes_with_a_time_have_one() {
        let unique = |mode, ms| Unique { key: "k".into(), mode, ms };
        for (mode, ms) in [(UniqueMode::Period, 1), (UniqueMode::Debounce, limits::UNIQUE_MS), (UniqueMode::Latest, 0)]
        {
            assert_eq!(unique(mode, ms).check(), Ok(()));
        }
        for (mode, ms) in
            [(UniqueMode::Period, 0), (UniqueMode::Debounce, limits::UNIQUE_MS + 1), (UniqueMode::Latest, 1)]
        {
            assert!(unique(mode, ms).check().unwrap_err().starts_with("unique.ms"), "{mode} {ms}");
        }
        assert!(Unique { key: String::new(), ..unique(UniqueMode::Latest, 0) }.check().is_err());
    }
}
