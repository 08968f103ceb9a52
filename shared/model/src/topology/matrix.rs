//! The topic × instance matrix: which instance may take which topic, whatever its handlers and its settings would.
//!
//! One [`Row`] for each instance, edited from anywhere and kept in the store. A row only ever takes away: what an
//! instance's settings deny (U05), or it has no handler for, it does not get by a row. Pure: who keeps rows and who
//! obeys them is elsewhere.

use crate::limits;
use crate::topic::{Topic, TopicPattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What a row says of a pattern of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// The instance takes it, also where a wider pattern is disabled or another topic is exclusive.
    Enabled,
    /// The instance does not take it.
    Disabled,
    /// The instance takes it, and nothing that has no rule of its own (O09).
    Exclusive,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Enabled, Self::Disabled, Self::Exclusive];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Exclusive => "exclusive",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|rule| rule.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a rule: use enabled, disabled or exclusive"))
    }
}

/// How an instance stands to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stand {
    /// It takes its jobs.
    Takes,
    /// It has no handler for it.
    NoHandler,
    /// Its settings `instance.allow` and `instance.deny` keep it away.
    Denied,
    /// The matrix keeps it away by a rule for the topic.
    Disabled,
    /// Another topic is exclusive in its row.
    Excluded,
    /// It was drained: it takes nothing new until it is resumed.
    Drained,
    /// It is shutting down.
    Stopping,
    /// It does not belong to the fleet, by its own judgement.
    Outside,
}

/// What the matrix says of one instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// By pattern; of several that match a topic the nearest one holds, as with handlers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<TopicPattern, Rule>,
    /// Whether it takes nothing new at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drained: bool,
    /// Who changed it last, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
}

impl Row {
    /// How an instance with this row stands to a topic, as far as the row goes.
    #[must_use]
    pub fn stand(&self, topic: &Topic) -> Stand {
        if self.drained {
            return Stand::Drained;
        }
        let matching = self.rules.iter().filter(|(pattern, _)| pattern.matches(topic));
        match matching.min_by_key(|(pattern, _)| pattern.distance(topic)) {
            Some((_, Rule::Disabled)) => Stand::Disabled,
            None if self.rules.values().any(|rule| *rule == Rule::Exclusive) => Stand::Excluded,
            _ => Stand::Takes,
        }
    }

    /// Whether the row lets the instance take a topic.
    #[must_use]
    pub fn admits(&self, topic: &Topic) -> bool {
        self.stand(topic) == Stand::Takes
    }

    /// Whether the row restricts nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.drained && self.rules.is_empty()
    }

    /// The row after one more rule. `exclusive` replaces all rules that were there; rules that would restrict nothing
    /// any more are dropped.
    ///
    /// # Errors
    /// A sentence with the bound, when there would be too many rules.
    pub fn set(&self, pattern: &TopicPattern, rule: Rule, by: &str) -> Result<Self, String> {
        let mut rules = if rule == Rule::Exclusive { BTreeMap::new() } else { self.rules.clone() };
        rules.insert(pattern.clone(), rule);
        if rules.values().all(|rule| *rule == Rule::Enabled) {
            rules.clear();
        }
        if rules.len() > limits::PATTERNS {
            return Err(format!(
                "rules: {} are more than the {} that one instance may have; name whole branches with `a/**`",
                rules.len(),
                limits::PATTERNS
            ));
        }
        Ok(Self { rules, drained: self.drained, by: by.to_owned() })
    }

    /// The row when the instance is drained, or resumed.
    #[must_use]
    pub fn drain(&self, drained: bool, by: &str) -> Self {
        Self { rules: self.rules.clone(), drained, by: by.to_owned() }
    }

    /// The row without any rules.
    #[must_use]
    pub fn clear(&self, by: &str) -> Self {
        Self { rules: BTreeMap::new(), drained: self.drained, by: by.to_owned() }
    }
}

/// A row as the store keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptRow {
    /// When it was written, microseconds since 1970 of the store's clock: of two rows of an instance the one with the
    /// larger revision is the newer one, also after the store went back to an older state.
    pub revision: u64,
    /// What it says.
    pub row: Row,
}

impl KeptRow {
    /// When it was written, ms since 1970 of the store's clock.
    #[must_use]
    pub const fn since(&self) -> u64 {
        self.revision / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    /// The row after these changes, from left to right.
    fn row(changes: &[(&str, Rule)]) -> Row {
        changes.iter().fold(Row::default(), |row, (text, rule)| row.set(&pattern(text), *rule, "ann").unwrap())
    }

    #[track_caller]
    fn check(row: &Row, stands: &[(&str, Stand)]) {
        for (topic, stand) in stands {
            assert_eq!(row.stand(&Topic::new(*topic).unwrap()), *stand, "{topic} of {row:?}");
        }
    }

    #[test]
    fn o08_the_nearest_rule_decides() {
        use Rule::{Disabled, Enabled};
        check(&Row::default(), &[("a", Stand::Takes)]);
        check(&row(&[("a/b", Disabled)]), &[("a/b", Stand::Disabled), ("a/b/c", Stand::Takes), ("x", Stand::Takes)]);
        let but = row(&[("a/**", Disabled), ("a/b", Enabled)]);
        check(
            &but,
            &[("a/b", Stand::Takes), ("a/c", Stand::Disabled), ("a/b/c", Stand::Disabled), ("x", Stand::Takes)],
        );
        check(&row(&[("**", Disabled), ("a/*", Enabled)]), &[("x", Stand::Disabled), ("a/b", Stand::Takes)]);
    }

    #[test]
    fn o09_exclusive_puts_all_others_off() {
        use Rule::{Disabled, Enabled, Exclusive};
        let only = row(&[("a/b", Disabled), ("x", Exclusive)]);
        check(&only, &[("x", Stand::Takes), ("a/b", Stand::Excluded), ("y", Stand::Excluded)]);
        let more = row(&[("x", Exclusive), ("y", Enabled)]);
        check(&more, &[("x", Stand::Takes), ("y", Stand::Takes), ("z", Stand::Excluded)]);
        // The last one that was made exclusive is the exclusive one.
        check(&row(&[("x", Exclusive), ("y", Exclusive)]), &[("x", Stand::Excluded), ("y", Stand::Takes)]);
        // Enabling the exclusive one ends the exclusion.
        assert!(row(&[("x", Exclusive), ("x", Enabled)]).is_open());
    }

    #[test]
    fn a_drained_row_takes_nothing_and_keeps_its_rules() {
        let rules = row(&[("a", Rule::Disabled)]);
        let drained = rules.drain(true, "bob");
        check(&drained, &[("a", Stand::Drained), ("x", Stand::Drained)]);
        assert!(!Row::default().drain(true, "bob").is_open());
        assert_eq!(drained.drain(false, "ann"), rules);
        assert!(drained.drain(false, "bob").clear("bob").is_open());
    }

    #[test]
    fn rules_are_bounded_and_written_as_text() {
        let mut full = Row::default();
        for index in 0..limits::PATTERNS {
            full = full.set(&pattern(&format!("t/{index}")), Rule::Disabled, "").unwrap();
        }
        assert!(full.set(&pattern("one/more"), Rule::Disabled, "").unwrap_err().contains("a/**"));
        let text = serde_json::to_string(&row(&[("a/**", Rule::Disabled), ("a/b", Rule::Enabled)])).unwrap();
        assert_eq!(text, r#"{"rules":{"a/**":"disabled","a/b":"enabled"},"by":"ann"}"#);
        assert_eq!(
            serde_json::from_str::<Row>(&text).unwrap(),
            row(&[("a/**", Rule::Disabled), ("a/b", Rule::Enabled)])
        );
        assert_eq!(serde_json::from_str::<Row>("{}").unwrap(), Row::default());
        assert_eq!(Rule::ALL.map(|rule| rule.to_string().parse()), Rule::ALL.map(Ok));
        assert!("off".parse::<Rule>().is_err());
    }
}
