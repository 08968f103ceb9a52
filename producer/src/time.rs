//! Points in time as callers have them: the system's, milliseconds since 1970, or RFC 3339.

use longshore_model::span;
use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time, to the millisecond, not before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(u64);

impl Time {
    /// From milliseconds since 1970.
    #[must_use]
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_ms(self) -> u64 {
        self.0
    }
}

impl From<SystemTime> for Time {
    /// Times before 1970 become 1970.
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, span::ms))
    }
}

impl FromStr for Time {
    type Err = String;

    /// Reads RFC 3339, such as `2026-11-21T10:00:00Z`.
    fn from_str(text: &str) -> Result<Self, String> {
        span::parse_rfc3339(text).map(Self)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&span::rfc3339(self.0))
    }
}
