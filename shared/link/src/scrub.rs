//! What scrubbing (T21) finds and mends, as both stores answer it.
//!
//! Records say where a job is; indexes, unique keys and places at gates only repeat it. Every operation writes both in one
//! step, so that they disagree only where somebody else wrote to the store, or a program has a fault. Scrubbing goes
//! through all of it at a bounded pace and makes what is repeated agree with the records again.

use serde::{Deserialize, Serialize};

/// How often what was mended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mended {
    /// Jobs that an index lacked, or had in the wrong place.
    pub indexes: u64,
    /// Entries of an index whose job is gone, or elsewhere.
    pub entries: u64,
    /// Unique keys whose job had ended or was gone, which are free now; and jobs that had lost theirs.
    pub keys: u64,
    /// Places at orders and limits whose job had ended or was gone.
    pub holders: u64,
}

impl Mended {
    /// How often anything was.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.indexes + self.entries + self.keys + self.holders
    }
}

impl std::ops::AddAssign for Mended {
    fn add_assign(&mut self, other: Self) {
        self.indexes += other.indexes;
        self.entries += other.entries;
        self.keys += other.keys;
        self.holders += other.holders;
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Keys and entries that it looked at.
    pub looked: u64,
    /// All were looked at by now: the next step begins anew.
    pub round: bool,
    /// What it mended.
    pub mended: Mended,
}

/// What all steps of everybody did, since the store began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbing {
    /// How often all was looked at.
    pub rounds: u64,
    /// When the last of these rounds ended, ms.
    pub last_round: Option<u64>,
    /// What was mended.
    pub mended: Mended,
    /// When something was mended last, ms.
    pub last_mended: Option<u64>,
}
