//! Kinds of error: a word that a handler's failure carries, and rules that say how often and after how long a failure
//! of that kind is tried again.
//!
//! Pure. A rule has one spelling everywhere (settings, attributes, the command line, the envelope):
//! `KIND=[RETRIES][,DELAY[,xFACTOR,MAX]]`, such as `rate-limited=100,30s,x2,10m`. Which rule holds for a failure is decided
//! by whoever runs the handler; that the rule's retries are used up is decided by [`crate::transition`].

use crate::limits;
use crate::retry::Backoff;
use crate::span;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The kind of a failure by the job's timeout.
pub const TIMEOUT: &str = "timeout";
/// The kind of a failure by the job's stall timeout.
pub const STALLED: &str = "stalled";

/// Checks the word for a kind of error.
///
/// # Errors
/// A sentence that names the word and the remedy.
pub fn check(kind: &str) -> Result<(), String> {
    if kind.is_empty() || kind.len() > limits::KIND_BYTES || !kind.bytes().all(is_legal) {
        let shown = limits::cut(kind, 80);
        return Err(format!(
            "`{}` is not a kind of error: use 1 to {} letters, digits, `-`, `_` and `.`",
            shown.escape_debug(),
            limits::KIND_BYTES
        ));
    }
    Ok(())
}

/// The word made legal: a handler's failure must not be lost for its spelling.
#[must_use]
pub fn legal(kind: &str) -> String {
    let legal = kind.chars().take(limits::KIND_BYTES);
    let legal: String = legal.map(|c| if u8::try_from(c).is_ok_and(is_legal) { c } else { '-' }).collect();
    if legal.is_empty() { "-".into() } else { legal }
}

const fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// What holds for failures of one kind. What is `None` is left to the job, its handler and its queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryRule {
    /// Failures of this kind allowed before the last one, counted by themselves; -1 without end; 0: none.
    pub retries: Option<i32>,
    /// Time before the next attempt.
    pub delay: Option<Duration>,
    /// How that time grows.
    pub backoff: Backoff,
}

impl RetryRule {
    /// A rule that says nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// So many failures of this kind allowed before the last one, whatever the job's retries; -1 without end.
    #[must_use]
    pub const fn retries(mut self, retries: i32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// So long before the next attempt.
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// The delay grows: after the n-th failure a random time up to `delay * factor^(n-1)`, at most `max`.
    #[must_use]
    pub const fn exponential(mut self, factor: u32, max: Duration) -> Self {
        self.backoff = Backoff::Exponential { factor, max };
        self
    }

    fn check(&self) -> Result<(), String> {
        let year = Duration::from_millis(limits::DELAY_MS);
        if let Some(retries) = self.retries
            && !(-1..=limits::RETRIES).contains(&retries)
        {
            return Err(format!("retries: {retries} is not -1 (without end) to {}", limits::RETRIES));
        }
        if self.delay.is_some_and(|delay| delay > year) {
            return Err("delay: more than a year".into());
        }
        match (self.backoff, self.delay) {
            (Backoff::Exponential { .. }, None) => Err("a delay that grows needs one to begin with".into()),
            (Backoff::Exponential { factor, .. }, _) if !(2..=100).contains(&factor) => {
                Err(format!("factor: {factor} is not 2 to 100"))
            }
            (Backoff::Exponential { max, .. }, Some(delay)) if max < delay => {
                Err("the longest delay is shorter than the first; make it longer".into())
            }
            (Backoff::Fixed, _) | (Backoff::Exponential { .. }, Some(_)) => Ok(()),
        }
    }
}

/// Rules by kind of error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct RetryRules(BTreeMap<String, RetryRule>);

impl RetryRules {
    /// No rules.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets the rule of a kind. What is wrong with it is told by [`Self::check`].
    pub fn set(&mut self, kind: impl Into<String>, rule: RetryRule) {
        self.0.insert(kind.into(), rule);
    }

    /// The rule of a kind.
    #[must_use]
    pub fn get(&self, kind: &str) -> Option<&RetryRule> {
        self.0.get(kind)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The kinds that have a rule.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// These rules, and those of `other` for kinds of which they say nothing.
    #[must_use]
    pub fn or(mut self, other: &Self) -> Self {
        for (kind, rule) in &other.0 {
            self.0.entry(kind.clone()).or_insert(*rule);
        }
        self
    }

    /// Checks every rule.
    ///
    /// # Errors
    /// A sentence that names the kind and what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.0.len() > limits::KINDS {
            return Err(format!("{} kinds are more than {}", self.0.len(), limits::KINDS));
        }
        self.0.iter().try_for_each(|(kind, rule)| {
            check(kind)?;
            rule.check().map_err(|why| format!("{kind}: {why}"))
        })
    }

    /// Reads rules, one in each text.
    ///
    /// # Errors
    /// A sentence that names the text and what is wrong.
    pub fn parse<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, String> {
        let mut rules = Self::new();
        for text in texts {
            let Named(kind, rule) = text.parse()?;
            if rules.0.insert(kind, rule).is_some() {
                return Err(format!("`{}`: this kind has a rule already; keep one of them", limits::cut(text, 80)));
            }
        }
        rules.check()?;
        Ok(rules)
    }

    /// The rules as [`Self::parse`] reads them, by kind.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|(kind, rule)| Named(kind.clone(), *rule).to_string()).collect()
    }
}

impl From<RetryRules> for Vec<String> {
    fn from(rules: RetryRules) -> Self {
        rules.texts()
    }
}

impl TryFrom<Vec<String>> for RetryRules {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        Self::parse(texts.iter().map(String::as_str))
    }
}

/// A rule with its kind.
struct Named(String, RetryRule);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kind, RetryRule { retries, delay, backoff }) = self;
        write!(f, "{kind}=")?;
        if let Some(retries) = retries {
            write!(f, "{retries}")?;
        }
        if let Some(delay) = delay {
            write!(f, ",{}", span::show(*delay))?;
        }
        match backoff {
            Backoff::Fixed => Ok(()),
            Backoff::Exponential { factor, max } => write!(f, ",x{factor},{}", span::show(*max)),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |why: &str| {
            let shown = limits::cut(text, 80);
            format!(
                "`{}`: {why}; write KIND=RETRIES, such as timeout=2 or rate-limited=100,30s,x2,10m",
                shown.escape_debug()
            )
        };
        let (kind, rest) = text.split_once('=').ok_or_else(|| bad("there is no ="))?;
        let mut parts = rest.split(',').map(str::trim);
        let mut rule = RetryRule::new();
        let retries = parts.next().unwrap_or_default();
        if !retries.is_empty() {
            rule.retries = Some(retries.parse().map_err(|_| bad("the number of retries is no number"))?);
        }
        if let Some(delay) = parts.next() {
            rule.delay = Some(span::parse(delay).map_err(|error| bad(&error.to_string()))?);
        }
        if let Some(factor) = parts.next() {
            let factor = factor.strip_prefix('x').and_then(|factor| factor.parse().ok());
            let factor = factor.ok_or_else(|| bad("after the delay comes its growth, such as x2"))?;
            let max = parts.next().ok_or_else(|| bad("a delay that grows needs its longest, such as x2,10m"))?;
            rule = rule.exponential(factor, span::parse(max).map_err(|error| bad(&error.to_string()))?);
        }
        if parts.next().is_some() {
            return Err(bad("there is more behind it"));
        }
        if rule == RetryRule::new() {
            return Err(bad("it says nothing"));
        }
        Ok(Self(kind.trim().to_owned(), rule))
    }
}

/// How often a job has failed, by kind: of those kinds alone that have retries of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KindCounts(BTreeMap<String, u32>);

impl KindCounts {
    /// How often it failed so.
    #[must_use]
    pub fn of(&self, kind: &str) -> u32 {
        self.0.get(kind).copied().unwrap_or_default()
    }

    /// Counts one more, and answers how many there are now; `None` where too many kinds are counted already.
    pub fn add(&mut self, kind: &str) -> Option<u32> {
        if let Some(count) = self.0.get_mut(kind) {
            *count += 1;
            return Some(*count);
        }
        if self.0.len() >= limits::KINDS {
            return None;
        }
        self.0.insert(kind.to_owned(), 1);
        Some(1)
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.values().sum()
    }

    /// Whether none was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By kind.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(kind, count)| (kind.as_str(), *count))
    }

    /// Reads what the store keeps: `KIND COUNT`, a line each. A line that cannot be read counts nothing.
    #[must_use]
    pub fn parse(lines: &str) -> Self {
        let read = |line: &str| {
            let (kind, count) = line.split_once(' ')?;
            Some((kind.to_owned(), count.parse().ok()?))
        };
        Self(lines.lines().filter_map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_as_it_is_written() {
        let check = |text: &str, expected: RetryRule| {
            let rules = RetryRules::parse([text]).unwrap();
            let kind = text.split('=').next().unwrap();
            assert_eq!(rules.get(kind), Some(&expected), "{text}");
            assert_eq!(rules.texts(), [text]);
            let json = serde_json::to_string(&rules).unwrap();
            assert_eq!(serde_json::from_str::<RetryRules>(&json).unwrap(), rules);
        };
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        check("timeout=2", RetryRule::new().retries(2));
        check("exit-75=-1,1s", RetryRule::new().retries(-1).delay(second));
        check("http-503=,1s", RetryRule::new().delay(second));
        check("x.y_z=0", RetryRule::new().retries(0));
        check("rate-limited=100,1s,x2,1m", RetryRule::new().retries(100).delay(second).exponential(2, minute));
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, why) in [
            ("timeout", "no ="),
            ("timeout=", "says nothing"),
            ("a b=1", "not a kind"),
            ("=1", "not a kind"),
            ("a=x", "no number"),
            ("a=-2", "-1"),
            ("a=1,soon", "length of time"),
            ("a=1,2s,3", "growth"),
            ("a=1,2s,x3", "longest"),
            ("a=1,2s,x1,3s", "2 to 100"),
            ("a=1,2s,x2,1s", "shorter"),
            ("a=1,2s,x2,3s,4", "more behind"),
            ("a=1,367d", "year"),
        ] {
            let error = RetryRules::parse([text]).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(RetryRules::parse(["a=1", "a=2"]).unwrap_err().contains("already"));
        let many: Vec<String> = (0..=limits::KINDS).map(|n| format!("k{n}=1")).collect();
        assert!(RetryRules::parse(many.iter().map(String::as_str)).unwrap_err().contains("more than"));
    }

    #[test]
    fn nearer_rules_win_as_a_whole() {
        let near = RetryRules::parse(["a=1"]).unwrap();
        let far = RetryRules::parse(["a=2,5s", "b=3"]).unwrap();
        assert_eq!(near.or(&far).texts(), ["a=1", "b=3"]);
    }

    #[test]
    fn a_kind_of_any_text_is_made_legal() {
        assert_eq!(legal("rate-limited"), "rate-limited");
        assert_eq!(legal("Rate limited: ä\n"), "Rate-limited----");
        assert_eq!(legal(""), "-");
        assert!(check(&legal(&"x".repeat(500))).is_ok());
    }

    #[test]
    fn counts_are_bounded_in_kinds() {
        let mut counts = KindCounts::parse("a 2\nnonsense\nb 1\n");
        assert_eq!((counts.of("a"), counts.of("b"), counts.of("c"), counts.total()), (2, 1, 0, 3));
        assert_eq!((counts.add("a"), counts.add("c")), (Some(3), Some(1)));
        for n in 0..limits::KINDS {
            let _ = counts.add(&format!("k{n}"));
        }
        assert_eq!((counts.add("too-many"), counts.add("a")), (None, Some(4)));
    }
}
