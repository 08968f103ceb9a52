//! Priority: whose turn it is first among jobs that wait at one gate, with ageing, so that nobody starves; and which lane
//! of the broker is theirs.
//!
//! A class is worth a length of waiting ([`limits::AGEING_MS`]), no more: an urgent job goes before a normal one that has
//! waited up to so much longer, and after one that has waited longer than that. So the order in a line is that of one
//! number, which is known when a job joins it, and nothing has to be looked at again as time passes.

use crate::limits;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How much a job presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// After the others.
    Low,
    /// Neither.
    #[default]
    Normal,
    /// Before the others.
    Urgent,
}

impl Priority {
    /// Every class, the least pressing first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::Urgent];

    /// The name used in settings, in JSON and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::Urgent => "urgent",
        }
    }

    /// Whether its jobs have a lane of their own in the broker ([`crate::lane`]).
    #[must_use]
    pub const fn is_high(self) -> bool {
        matches!(self, Self::Urgent)
    }

    /// As the store keeps it: 1 urgent, 0 normal, -1 low.
    #[must_use]
    pub const fn rank(self) -> i8 {
        match self {
            Self::Low => -1,
            Self::Normal => 0,
            Self::Urgent => 1,
        }
    }

    /// Reads what the store keeps.
    #[must_use]
    pub const fn of_rank(rank: i64) -> Self {
        match rank {
            ..0 => Self::Low,
            0 => Self::Normal,
            1.. => Self::Urgent,
        }
    }

    /// Where a job stands in a line that has this place, us.
    #[must_use]
    pub const fn standing(self, place: u64) -> u64 {
        let worth = limits::AGEING_MS * 1_000;
        match self {
            Self::Low => place.saturating_add(worth),
            Self::Normal => place,
            Self::Urgent => place.saturating_sub(worth),
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text).ok_or_else(|| {
            format!("`{}` is not a priority: use urgent, normal or low", limits::cut(text, 80).escape_debug())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q13_a_class_is_worth_a_length_of_waiting_and_no_more() {
        let (place, ageing) = (1_700_000_000_000_000, limits::AGEING_MS * 1_000);
        let urgent = Priority::Urgent.standing(place);
        assert!(urgent < Priority::Normal.standing(place - ageing + 1), "it goes before who waited a little longer");
        assert!(urgent > Priority::Normal.standing(place - ageing - 1), "and after who waited much longer");
        assert!(Priority::Low.standing(place - ageing - 1) < Priority::Normal.standing(place));
    }

    #[test]
    fn what_is_written_reads_back() {
        for priority in Priority::ALL {
            assert_eq!(priority.as_str().parse(), Ok(priority));
            assert_eq!(Priority::of_rank(priority.rank().into()), priority);
        }
        assert!("high".parse::<Priority>().unwrap_err().contains("urgent"));
    }
}
