//! When a schedule fires: one timing, what is wrong with it, and the moment after a moment.
//!
//! Calendar timings go by the clock on the wall of the schedule's zone, and are all patterns of cron.
//! When that clock changes: a time that it leaves out is the moment of the change, so that it fires once
//! right after it; a time that it shows twice is the first of the two. Patterns with `*` or `/` among seconds,
//! minutes or hours, hourly ones and [`Timing::Every`] go by the time that passes.

use super::Problem;
use crate::{limits, span};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, Zoned};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The zone of schedules that name none.
pub const UTC: &str = "UTC";

/// Names of the days, Sunday first.
pub const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// One of the times at which a schedule fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Timing {
    /// Once.
    At {
        /// When, ms since 1970.
        ms: u64,
    },
    /// Again and again, the first time one length after the schedule was made.
    Every {
        /// The length, ms.
        ms: u64,
    },
    /// Once an hour.
    Hourly {
        /// 0 to 59.
        minute: u8,
    },
    /// Once a day.
    Daily {
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// Once a week.
    Weekly {
        /// 1 to 7; Sunday is 1.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// Once a month.
    Monthly {
        /// 1 to 28.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// Once a year.
    Yearly {
        /// 1 to 12.
        month: u8,
        /// 1 to 28.
        day: u8,
        /// 0 to 23.
        hour: u8,
        /// 0 to 59.
        minute: u8,
    },
    /// A pattern of five fields (minute, hour, day of the month, month, day of the week) or of six, seconds first.
    Cron {
        /// The pattern. Days of the week are 0 to 7, 0 and 7 being Sunday, or names.
        expression: String,
    },
}

impl Timing {
    /// The pattern of a calendar timing.
    fn pattern(&self) -> Option<String> {
        Some(match self {
            Self::At { .. } | Self::Every { .. } => return None,
            Self::Hourly { minute } => format!("{minute} * * * *"),
            Self::Daily { hour, minute } => format!("{minute} {hour} * * *"),
            Self::Weekly { day, hour, minute } => format!("{minute} {hour} * * {}", day.saturating_sub(1)),
            Self::Monthly { day, hour, minute } => format!("{minute} {hour} {day} * *"),
            Self::Yearly { month, day, hour, minute } => format!("{minute} {hour} {day} {month} *"),
            Self::Cron { expression } => expression.clone(),
        })
    }

    /// Everything that is wrong with it; `field` is where it stands. Times that have to lie ahead are judged by whoever
    /// knows the time.
    pub(super) fn check(&self, field: &str, problems: &mut Vec<Problem>) {
        let mut within = |what: &str, value: u8, least: u8, most: u8, remedy: &str| {
            if !(least..=most).contains(&value) {
                let why = format!("{value} is not {least} to {most}{remedy}");
                problems.push(Problem::new(format!("{field}.{what}"), why));
            }
        };
        match self {
            Self::At { .. } => {}
            Self::Every { ms } if (limits::SCHEDULE_EVERY_MS..=limits::DELAY_MS).contains(ms) => {}
            Self::Every { ms } => {
                let shown = span::show(Duration::from_millis(*ms));
                let why = format!("{shown} is not between 1s and a year; choose another length");
                problems.push(Problem::new(format!("{field}.every"), why));
            }
            Self::Cron { expression } => {
                if let Err(why) = check_pattern(expression) {
                    problems.push(Problem::new(format!("{field}.cron"), why));
                }
            }
            Self::Hourly { minute } => within("minute", *minute, 0, 59, ""),
            Self::Daily { hour, minute } => {
                within("hour", *hour, 0, 23, "");
                within("minute", *minute, 0, 59, "");
            }
            Self::Weekly { day, hour, minute } => {
                within("day", *day, 1, 7, "; Sunday is 1, Saturday is 7");
                within("hour", *hour, 0, 23, "");
                within("minute", *minute, 0, 59, "");
            }
            Self::Monthly { day, hour, minute } => {
                within("day", *day, 1, 28, ", the days that every month has; use cron for the last day (`0 3 L * *`)");
                within("hour", *hour, 0, 23, "");
                within("minute", *minute, 0, 59, "");
            }
            Self::Yearly { month, day, hour, minute } => {
                within("month", *month, 1, 12, "");
                within("day", *day, 1, 28, ", the days that every month has");
                within("hour", *hour, 0, 23, "");
                within("minute", *minute, 0, 59, "");
            }
        }
    }
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At { ms } => write!(f, "at {}", span::rfc3339(*ms)),
            Self::Every { ms } => write!(f, "every {}", span::show(Duration::from_millis(*ms))),
            Self::Hourly { minute } => write!(f, "hourly at minute {minute}"),
            Self::Daily { hour, minute } => write!(f, "daily at {hour:02}:{minute:02}"),
            Self::Weekly { day, hour, minute } => {
                let day = DAYS.get(usize::from(*day).wrapping_sub(1)).unwrap_or(&"?");
                write!(f, "weekly on {day} at {hour:02}:{minute:02}")
            }
            Self::Monthly { day, hour, minute } => write!(f, "monthly on day {day} at {hour:02}:{minute:02}"),
            Self::Yearly { month, day, hour, minute } => {
                write!(f, "yearly on day {day} of month {month} at {hour:02}:{minute:02}")
            }
            Self::Cron { expression } => write!(f, "cron {expression}"),
        }
    }
}

/// Finds a zone by its name in the database that is part of this program.
///
/// # Errors
/// A sentence that names the text and the form expected.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        let shown = limits::cut(name, 80);
        format!("`{shown}` is not a time zone: write an IANA name such as Europe/Berlin, or UTC")
    })
}

fn parse(expression: &str) -> Result<Cron, String> {
    let shown = limits::cut(expression, 80);
    if expression.len() > limits::CRON_BYTES {
        return Err(format!("{} bytes is more than {}; split it into several", expression.len(), limits::CRON_BYTES));
    }
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let fields = "write minute, hour, day of the month, month and day of the week, with seconds before them if needed, \
                  such as `0 3 * * *`";
    parser.parse(expression).map_err(|error| {
        let why = match error {
            CronError::IllegalCharacters(why) | CronError::ComponentError(why) | CronError::InvalidPattern(why) => why,
            other => other.to_string(),
        };
        format!("`{shown}` is not a cron pattern: {}; {fields}", why.trim_end_matches('.'))
    })
}

fn check_pattern(expression: &str) -> Result<(), String> {
    let cron = parse(expression)?;
    // From some day on; what never comes in the leap years around it never comes.
    let from = DateTime::constant(2024, 1, 1, 0, 0, 0, 0).to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
    match cron.find_next_occurrence(&from, true) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("`{}` never comes; choose a day that exists", limits::cut(expression, 80))),
    }
}

/// A timing that is ready to be asked.
#[derive(Debug)]
enum Clockwork {
    At(u64),
    Every {
        ms: u64,
        anchor: u64,
    },
    /// By the time that passes.
    Passing(Cron),
    /// By the clock on the wall.
    Wall(Cron),
}

/// The timings of one schedule, ready to be asked.
#[derive(Debug)]
pub struct Times {
    parts: Vec<Clockwork>,
    zone: TimeZone,
}

impl Times {
    /// Makes timings ready; `anchor` is when [`Timing::Every`] begins, ms.
    ///
    /// # Errors
    /// A sentence when the zone or a pattern cannot be read.
    pub fn new(timings: &[Timing], zone_name: &str, anchor: u64) -> Result<Self, String> {
        let zone = zone(zone_name)?;
        let part = |timing: &Timing| {
            Ok(match timing {
                Timing::At { ms } => Clockwork::At(*ms),
                Timing::Every { ms } => Clockwork::Every { ms: (*ms).max(1), anchor },
                calendar => {
                    let pattern = calendar.pattern().unwrap_or_default();
                    let cron = parse(&pattern)?;
                    if goes_by_passing_time(&pattern) { Clockwork::Passing(cron) } else { Clockwork::Wall(cron) }
                }
            })
        };
        Ok(Self { parts: timings.iter().map(part).collect::<Result<_, String>>()?, zone })
    }

    /// The first moment after `after`, ms since 1970; `None` when there is none.
    #[must_use]
    pub fn next(&self, after: u64) -> Option<u64> {
        self.parts.iter().filter_map(|part| self.next_of(part, after)).min()
    }

    /// At most `most` moments after `after`, in order, each once.
    #[must_use]
    pub fn upcoming(&self, after: u64, most: usize) -> Vec<u64> {
        std::iter::successors(self.next(after), |last| self.next(*last)).take(most).collect()
    }

    fn next_of(&self, part: &Clockwork, after: u64) -> Option<u64> {
        match part {
            Clockwork::At(ms) => Some(*ms).filter(|ms| *ms > after),
            Clockwork::Every { ms, anchor } => {
                let past = after.saturating_sub(*anchor) / ms;
                anchor.checked_add(ms.checked_mul(past + 1)?)
            }
            Clockwork::Passing(cron) => {
                let found = cron.find_next_occurrence(&self.at(after)?, false).ok()?;
                u64::try_from(found.timestamp().as_millisecond()).ok()
            }
            Clockwork::Wall(cron) => {
                // The pattern is asked as if the clock on the wall never changed; then its answer finds its moment.
                let mut wall = self.at(after)?.datetime().to_zoned(TimeZone::UTC).ok()?;
                loop {
                    wall = cron.find_next_occurrence(&wall, false).ok()?;
                    // Smaller only within the hour that comes twice.
                    let moment = self.moment(wall.datetime())?;
                    if moment > after {
                        return Some(moment);
                    }
                }
            }
        }
    }

    fn at(&self, ms: u64) -> Option<Zoned> {
        let stamp = Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()?;
        Some(stamp.to_zoned(self.zone.clone()))
    }

    /// When the clock on the wall shows this, first; or, where it never does, when it leaps over it.
    fn moment(&self, shown: DateTime) -> Option<u64> {
        let ambiguous = self.zone.to_ambiguous_timestamp(shown);
        let stamp = match ambiguous.offset() {
            AmbiguousOffset::Gap { before, .. } => {
                let beyond = before.to_timestamp(shown).ok()?.checked_add(SignedDuration::from_secs(1)).ok()?;
                self.zone.preceding(beyond).next()?.timestamp()
            }
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
        };
        u64::try_from(stamp.as_millisecond()).ok()
    }
}

/// Whether a pattern has `*` or steps in its seconds, minutes or hours.
fn goes_by_passing_time(pattern: &str) -> bool {
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    let times = fields.len().saturating_sub(3).max(1);
    // A nickname such as `@hourly` is one field.
    let hourly = fields.first().is_some_and(|first| first.eq_ignore_ascii_case("@hourly"));
    hourly || fields.iter().take(times).any(|field| field.contains(['*', '/', '?']))
}
