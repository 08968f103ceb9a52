//! Identifiers: jobs, instances, incarnations, and the counters that fence them.
//!
//! A job id is a UUIDv7 made by the caller, so that repeating a call whose answer was lost is safe.
//! Its last byte names the shard of the store; the maker of the id sets it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The identity of a job: a UUIDv7 whose last byte chooses the store's shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

/// A text that is not a job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a job id: expected a UUID such as 019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00")]
pub struct BadJobId(pub String);

impl JobId {
    /// Makes an id from a time in milliseconds since 1970 and 16 random bytes; `shard` becomes the last byte.
    #[must_use]
    pub fn new(unix_ms: u64, random: [u8; 16], shard: u8) -> Self {
        let mut tail = [0_u8; 10];
        tail.copy_from_slice(&random[..10]);
        tail[9] = shard;
        Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &tail).into_uuid())
    }

    /// The id of the `index`-th follow-up job of this one: the same for every attempt, and on this job's shard,
    /// so that follow-ups can be committed together with the attempt that made them.
    #[must_use]
    pub fn follow_up(&self, index: u32) -> Self {
        let name = Uuid::new_v5(&self.0, &index.to_be_bytes());
        Self::new(self.created_ms(), *name.as_bytes(), self.shard_byte())
    }

    /// The id of the job of one slot (ms since 1970) of the schedule with this incarnation: the same whoever fires it.
    #[must_use]
    pub fn slot(&self, slot_ms: u64) -> Self {
        let name = Uuid::new_v5(&self.0, &slot_ms.to_be_bytes());
        Self::new(slot_ms, *name.as_bytes(), self.shard_byte())
    }

    /// No job's id; what stands in an envelope that is not sent yet.
    #[must_use]
    pub const fn nil() -> Self {
        Self(Uuid::nil())
    }

    /// The id that the `count`-th retry of this finished job gets when the caller names none.
    #[must_use]
    pub fn sibling(&self, unix_ms: u64, random: [u8; 16]) -> Self {
        Self::new(unix_ms, random, self.shard_byte())
    }

    /// Milliseconds since 1970 at which the id was made, by its maker's clock. Foreign ids that are not
    /// version 7 answer 0.
    #[must_use]
    pub fn created_ms(&self) -> u64 {
        if self.0.get_version_num() != 7 {
            return 0;
        }
        let bytes = self.0.as_bytes();
        bytes[..6].iter().fold(0, |ms, byte| (ms << 8) | u64::from(*byte))
    }

    /// The byte that chooses the shard.
    #[must_use]
    pub fn shard_byte(&self) -> u8 {
        self.0.as_bytes()[15]
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for JobId {
    type Err = BadJobId;

    fn from_str(text: &str) -> Result<Self, BadJobId> {
        // Only the hyphenated form: one job has one spelling, in every store and every log.
        if text.len() != 36 {
            return Err(BadJobId(text.chars().take(80).collect()));
        }
        Uuid::parse_str(text).map(Self).map_err(|_| BadJobId(text.to_owned()))
    }
}

/// Microseconds of the store's clock, at least the previous value plus one: handed out by every claim and
/// demanded by every write of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// Grows by one each time a job enters `queued`; a copy in the broker carries the generation it was published for.
/// Zero means "not known" (a message from a foreign client).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// The persistent identity of one consumer installation: `[A-Za-z0-9_.-]{1,64}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One start of an instance: new at every start, never reused (a UUIDv7 in text).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

impl Incarnation {
    /// Makes an incarnation id; same arguments as [`JobId::new`].
    #[must_use]
    pub fn new(unix_ms: u64, random: [u8; 16]) -> Self {
        Self(JobId::new(unix_ms, random, random[15]).to_string())
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who holds an active job: one incarnation of one instance. In the store it is the text `instance/incarnation`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// The instance.
    pub instance: InstanceId,
    /// The start of it that claimed.
    pub incarnation: Incarnation,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.incarnation)
    }
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (instance, incarnation) =
            text.split_once('/').ok_or_else(|| format!("`{text}` is not instance/incarnation"))?;
        Ok(Self { instance: InstanceId(instance.to_owned()), incarnation: Incarnation(incarnation.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_time_and_its_shard() {
        let id = JobId::new(1_763_719_000_123, [7; 16], 0x2a);
        assert_eq!(id.created_ms(), 1_763_719_000_123);
        assert_eq!(id.shard_byte(), 0x2a);
        assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
    }

    #[test]
    fn follow_ups_are_the_same_for_every_attempt_and_stay_on_the_shard() {
        let parent = JobId::new(5, [9; 16], 0x11);
        assert_eq!(parent.follow_up(0), parent.follow_up(0));
        assert_ne!(parent.follow_up(0), parent.follow_up(1));
        assert_eq!(parent.follow_up(3).shard_byte(), 0x11);
    }

    #[test]
    fn only_one_spelling_is_an_id() {
        assert!("019a2f6e5d3c7a109c440d6f2b7e1a00".parse::<JobId>().is_err());
        assert!("".parse::<JobId>().is_err());
        assert!("019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a0z".parse::<JobId>().is_err());
    }
}
