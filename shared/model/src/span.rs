//! Lengths of time as people write them: `500ms`, `30s`, `5m`, `1h30m`, `7d`.
//!
//! Used by settings, the command line and the `Job` attributes, so that one spelling works everywhere.

use std::time::Duration;

/// A text that is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a length of time: write a number with a unit, such as 500ms, 30s, 5m, 2h or 7d")]
pub struct BadSpan(pub String);

/// Reads a length of time. Units: `ms`, `s`, `m`, `h`, `d`; several may follow each other, largest first or not.
///
/// # Errors
/// [`BadSpan`] when a unit is missing or unknown, or the sum does not fit.
pub fn parse(text: &str) -> Result<Duration, BadSpan> {
    let bad = || BadSpan(text.chars().take(80).collect());
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest == "0" {
        return Ok(sum);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit_ms: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        rest = rest[letters..].trim_start();
        let part = number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(bad)?;
        sum = sum.checked_add(part).ok_or_else(bad)?;
    }
    Ok(sum)
}

/// Writes a length of time in the form that [`parse`] reads, exact to the millisecond.
#[must_use]
pub fn show(span: Duration) -> String {
    let mut ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if ms >= size {
            text.push_str(&format!("{}{unit}", ms / size));
            ms %= size;
        }
    }
    text
}

/// Milliseconds of a length of time, at most `u64::MAX`.
#[must_use]
pub fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A point in time, given as milliseconds since 1970, in RFC 3339 and UTC.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let stamp = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    stamp.map_or_else(|| format!("{unix_ms} ms"), |stamp| format!("{stamp:.3}"))
}

/// Reads RFC 3339 (`2026-11-21T10:00:00Z`) into milliseconds since 1970.
///
/// # Errors
/// A sentence that names the text and the form expected.
pub fn parse_rfc3339(text: &str) -> Result<u64, String> {
    text.parse::<jiff::Timestamp>().ok().and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok()).ok_or_else(|| {
        format!("`{text}` is not a time: write it as 2026-11-21T10:00:00Z or with an offset such as +01:00")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write() {
        for (text, ms) in
            [("0", 0), ("250ms", 250), ("30s", 30_000), ("1h30m", 5_400_000), ("7d", 604_800_000), ("2m 5s", 125_000)]
        {
            assert_eq!(parse(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        assert_eq!(show(Duration::from_millis(5_400_250)), "1h30m250ms");
        for text in ["", "5", "s", "5 x", "-5s", "1.5h", "99999999999999999999d", "18446744073709551615d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_utc_to_the_millisecond() {
        assert_eq!(rfc3339(1_763_719_000_123), "2025-11-21T09:56:40.123Z");
        assert_eq!(parse_rfc3339("2025-11-21T10:56:40.123+01:00").unwrap(), 1_763_719_000_123);
        assert!(parse_rfc3339("tomorrow").is_err());
    }
}
