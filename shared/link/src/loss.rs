//! What a store may have lost: how its processes notice, and what they can tell of it.
//!
//! An epoch begins when the store may have lost writes. Every renewal of leases compares what its process knew with what
//! the store knows; the span in which writes may be missing is remembered with the epoch that follows it, since a job
//! that was accepted in it may be rebuilt from its message however old it is.

/// What a process knows of the store, to notice, and to tell, what the store lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Grows when the store may have lost writes: it was wiped, restarted or rolled back.
    pub epoch: u64,
    /// Grows with every renewal of anybody; a smaller one than before means that the store was rolled back.
    pub tick: u64,
    /// Jobs that wait for their time: what a wiped store cannot get back from the broker.
    pub scheduled: u64,
    /// Jobs that wait after a failure.
    pub retrying: u64,
    /// Jobs that wait in lanes.
    pub queued: u64,
    /// Jobs that run.
    pub active: u64,
    /// Jobs that wait at a gate.
    pub blocked: u64,
}

/// How the store may have lost writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LossKind {
    /// It knew nothing: it was wiped, or is new.
    #[default]
    Wiped,
    /// It restarted or failed over: the last seconds may be missing.
    Restarted,
    /// It knew less than before: an older state was restored.
    RolledBack,
}

impl LossKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Wiped, Self::Restarted, Self::RolledBack];

    /// The name used in the store and in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wiped => "wiped",
            Self::Restarted => "restarted",
            Self::RolledBack => "rolled_back",
        }
    }
}

impl std::str::FromStr for LossKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("`{text}` is no kind of loss"))
    }
}

/// A span of the store's clock in which accepted writes may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The epoch that began after it.
    pub epoch: u64,
    /// What happened.
    pub kind: LossKind,
    /// Its begin, ms; 0: everything before its end.
    pub from: u64,
    /// Its end, ms: when it was noticed.
    pub to: u64,
    /// What a process that lived through it had known just before.
    pub before: Option<Known>,
    /// Everything was paused because of it: the store had gone back by more than
    /// [`longshore_model::limits::ROLLBACK_MS`], as from a backup, and somebody has to look before old work runs again.
    pub held: bool,
}
