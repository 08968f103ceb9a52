//! Topics and topic patterns: one grammar, used everywhere.
//!
//! A topic names a *kind* of job: `media/thumbnail/create`. At most 16 segments of
//! `[A-Za-z0-9_-]{1,64}`, joined by `/`, at most 180 bytes, no dots; the broker's routing key is the
//! same text with dots, which makes the mapping one to one.
//!
//! A pattern is a topic (`a/b`, itself), `a/*` (direct children of `a`), `a/**` (all descendants of
//! `a`, not `a`) or `**` (everything). The queue patterns of the seed systems map onto it with
//! [`TopicPattern::from_queue_pattern`].

use crate::limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The kind of a job, for example `media/thumbnail/create`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(String);

/// Why a text is not a topic or not a pattern. The message names the text and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("illegal {what} `{text}`: {why}")]
pub struct BadTopic {
    /// `topic` or `topic pattern`.
    pub what: &'static str,
    /// The text, shortened.
    pub text: String,
    /// What is wrong and what would be right.
    pub why: String,
}

fn check(what: &'static str, text: &str) -> Result<(), BadTopic> {
    let bad = |why: String| {
        let text = text.chars().take(200).collect();
        Err(BadTopic { what, text, why })
    };
    if text.is_empty() {
        return bad("it is empty; write segments joined by `/`, such as media/thumbnail".into());
    }
    if text.len() > limits::TOPIC_BYTES {
        return bad(format!(
            "{} bytes is more than {}; use fewer or shorter segments",
            text.len(),
            limits::TOPIC_BYTES
        ));
    }
    let mut segments = 0;
    for segment in text.split('/') {
        segments += 1;
        if segment.is_empty() {
            return bad("a segment is empty; remove the leading, trailing or doubled `/`".into());
        }
        if segment.len() > limits::TOPIC_SEGMENT_BYTES {
            return bad(format!("a segment is longer than {} bytes", limits::TOPIC_SEGMENT_BYTES));
        }
        if let Some(c) = segment.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))) {
            return bad(format!("`{}` is not allowed; use letters, digits, `_`, `-` and `/`", c.escape_default()));
        }
    }
    if segments > limits::TOPIC_SEGMENTS {
        return bad(format!("{segments} segments is more than {}", limits::TOPIC_SEGMENTS));
    }
    Ok(())
}

impl Topic {
    /// Checks the grammar and makes a topic.
    ///
    /// # Errors
    /// [`BadTopic`] when the text breaks the grammar in the module's head.
    pub fn new(text: impl Into<String>) -> Result<Self, BadTopic> {
        let text = text.into();
        check("topic", &text)?;
        Ok(Self(text))
    }

    /// The text, with slashes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text with dots: the broker's routing key.
    #[must_use]
    pub fn dotted(&self) -> String {
        self.0.replace('/', ".")
    }

    /// The topic of a routing key.
    ///
    /// # Errors
    /// [`BadTopic`] when the key is not the dotted form of a topic.
    pub fn from_dotted(key: &str) -> Result<Self, BadTopic> {
        if key.contains('/') {
            return Err(BadTopic {
                what: "topic",
                text: key.into(),
                why: "a routing key has dots, not slashes".into(),
            });
        }
        Self::new(key.replace('.', "/"))
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Topic {
    type Err = BadTopic;
    fn from_str(text: &str) -> Result<Self, BadTopic> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Topic {
    type Error = BadTopic;
    fn try_from(text: &str) -> Result<Self, BadTopic> {
        Self::new(text)
    }
}

impl TryFrom<String> for Topic {
    type Error = BadTopic;
    fn try_from(text: String) -> Result<Self, BadTopic> {
        Self::new(text)
    }
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Topic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Reach {
    Itself,
    Children,
    Descendants,
}

/// A set of topics: `a/b`, `a/*`, `a/**` or `**`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern {
    /// Without the wildcard; empty for `**` alone.
    base: String,
    reach: Reach,
}

impl TopicPattern {
    /// Parses the grammar of the module's head.
    ///
    /// # Errors
    /// [`BadTopic`] for anything else, a bare `*` among it (say `**` for everything).
    pub fn new(text: &str) -> Result<Self, BadTopic> {
        let what = "topic pattern";
        if text == "**" {
            return Ok(Self::everything());
        }
        if text == "*" {
            let why = "a bare `*` matches nothing useful; write `**` for every topic or `a/*` for the children of `a`";
            return Err(BadTopic { what, text: text.into(), why: why.into() });
        }
        let (base, reach) = if let Some(base) = text.strip_suffix("/**") {
            (base, Reach::Descendants)
        } else if let Some(base) = text.strip_suffix("/*") {
            (base, Reach::Children)
        } else {
            (text, Reach::Itself)
        };
        if base.contains('*') {
            let why = "`*` and `**` may stand only as the whole last segment";
            return Err(BadTopic { what, text: text.chars().take(200).collect(), why: why.into() });
        }
        check(what, base)?;
        Ok(Self { base: base.to_owned(), reach })
    }

    /// The pattern `**`, which takes every topic.
    #[must_use]
    pub const fn everything() -> Self {
        Self { base: String::new(), reach: Reach::Descendants }
    }

    /// Parses a queue pattern of the seed systems: `a` itself, `a.` or `a/.` direct children, `a*` or `a/*`
    /// all descendants, `*` everything. (QC-04 to QC-06; note that their `a/*` is our `a/**`.)
    ///
    /// # Errors
    /// [`BadTopic`] when what remains is not a topic.
    pub fn from_queue_pattern(text: &str) -> Result<Self, BadTopic> {
        if text == "*" {
            return Self::new("**");
        }
        if let Some(base) = text.strip_suffix('.') {
            let base = base.strip_suffix('/').unwrap_or(base);
            check("topic pattern", base)?;
            return Ok(Self { base: base.into(), reach: Reach::Children });
        }
        if let Some(base) = text.strip_suffix('*') {
            let base = base.strip_suffix('/').unwrap_or(base);
            check("topic pattern", base)?;
            return Ok(Self { base: base.into(), reach: Reach::Descendants });
        }
        Self::new(text)
    }

    /// Whether the pattern takes the topic.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        self.remainder(topic).is_some()
    }

    /// The part of a matching topic that the wildcard stands for (empty for an exact pattern); `None` when the
    /// pattern does not take the topic. It fills `{0}` in a queue's name (Q05).
    #[must_use]
    pub fn remainder<'t>(&self, topic: &'t Topic) -> Option<&'t str> {
        let text = topic.as_str();
        if self.reach == Reach::Itself {
            return (text == self.base).then_some("");
        }
        let rest =
            if self.base.is_empty() { text } else { text.strip_prefix(self.base.as_str())?.strip_prefix('/')? };
        (self.reach == Reach::Descendants || !rest.contains('/')).then_some(rest)
    }

    /// The topic itself when the pattern has no wildcard.
    #[must_use]
    pub fn exact(&self) -> Option<Topic> {
        (self.reach == Reach::Itself).then(|| Topic(self.base.clone()))
    }

    /// How near the pattern is to a topic it matches, smaller first: exact, then `/*`, then the nearest
    /// enclosing `/**` (U02).
    #[must_use]
    pub fn distance(&self, topic: &Topic) -> usize {
        match self.reach {
            Reach::Itself => 0,
            Reach::Children => 1,
            Reach::Descendants => 2 + topic.as_str().len() - self.base.len(),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reach, self.base.as_str()) {
            (Reach::Itself, base) => f.write_str(base),
            (Reach::Children, base) => write!(f, "{base}/*"),
            (Reach::Descendants, "") => f.write_str("**"),
            (Reach::Descendants, base) => write!(f, "{base}/**"),
        }
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TopicPattern {
    type Err = BadTopic;
    fn from_str(text: &str) -> Result<Self, BadTopic> {
        Self::new(text)
    }
}

impl From<Topic> for TopicPattern {
    fn from(topic: Topic) -> Self {
        Self { base: topic.0, reach: Reach::Itself }
    }
}

impl Serialize for TopicPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TopicPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &TopicPattern, yes: &[&str], no: &[&str]) {
        for topic in yes {
            assert!(pattern.matches(&Topic::new(*topic).unwrap()), "{pattern} should match {topic}");
        }
        for topic in no {
            assert!(!pattern.matches(&Topic::new(*topic).unwrap()), "{pattern} should not match {topic}");
        }
    }

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    #[test]
    fn tm_01_an_exact_pattern_takes_itself_only() {
        check(&pattern("a/b"), &["a/b"], &["a", "a/c", "a/b/a"]);
    }

    #[test]
    fn u01_tm_02_a_star_takes_direct_children() {
        check(&pattern("a/*"), &["a/b", "a/c"], &["a", "a/b/a"]);
    }

    #[test]
    fn tm_03_two_stars_take_all_descendants_but_not_the_base() {
        check(&pattern("a/**"), &["a/b", "a/c", "a/b/a"], &["a", "ab/c"]);
        check(&pattern("**"), &["a", "a/b/c"], &[]);
    }

    #[test]
    fn tm_04_the_nearest_pattern_wins() {
        let topic = Topic::new("a/b/c").unwrap();
        let mut patterns = ["**", "a/**", "a/b/**", "a/b/*", "a/b/c"].map(pattern);
        patterns.sort_by_key(|p| p.distance(&topic));
        assert_eq!(patterns.map(|p| p.to_string()), ["a/b/c", "a/b/*", "a/b/**", "a/**", "**"]);
    }

    #[test]
    fn qc_04_a_queue_pattern_with_a_dot_takes_children() {
        for text in ["a.", "a/."] {
            check(&TopicPattern::from_queue_pattern(text).unwrap(), &["a/b", "a/c"], &["a", "a/b/c", "t", "t/x"]);
        }
    }

    #[test]
    fn qc_05_a_queue_pattern_with_a_star_takes_descendants() {
        for text in ["a*", "a/*"] {
            check(&TopicPattern::from_queue_pattern(text).unwrap(), &["a/b", "a/c", "a/b/c"], &["a", "t", "t/x"]);
        }
        check(&TopicPattern::from_queue_pattern("*").unwrap(), &["a", "t/x"], &[]);
    }

    #[test]
    fn qc_06_a_plain_queue_pattern_takes_itself() {
        check(&TopicPattern::from_queue_pattern("a").unwrap(), &["a"], &["a/b", "b"]);
    }

    #[test]
    fn jh_10_illegal_topics_are_refused_with_the_reason() {
        for (text, part) in [
            ("", "empty"),
            ("/a", "segment is empty"),
            ("a/", "segment is empty"),
            ("a//b", "segment is empty"),
            ("a.b", "`.` is not allowed"),
            ("a/*", "`*` is not allowed"),
            ("a b", "` ` is not allowed"),
            ("ä", "not allowed"),
        ] {
            let error = Topic::new(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Topic::new("a/".repeat(16) + "a").is_err());
        assert!(Topic::new("a/".repeat(15) + "a").is_ok());
        assert!(Topic::new("a".repeat(64)).is_ok());
        assert!(Topic::new("a".repeat(65)).is_err());
        let long = vec!["a".repeat(59); 3].join("/");
        assert_eq!(long.len(), 179);
        assert!(Topic::new(format!("{long}b")).is_ok());
        assert!(Topic::new(format!("{long}bb")).is_err());
    }

    #[test]
    fn patterns_read_back_as_written_and_odd_ones_are_refused() {
        for text in ["a", "a/b", "a/*", "a/b/**", "**"] {
            assert_eq!(pattern(text).to_string(), text);
        }
        for text in ["*", "a/*/b", "a*", "**/a", "a/***", ""] {
            assert!(TopicPattern::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn routing_keys_and_topics_are_one_to_one() {
        let topic = Topic::new("a/b-c/d_e").unwrap();
        assert_eq!(topic.dotted(), "a.b-c.d_e");
        assert_eq!(Topic::from_dotted("a.b-c.d_e").unwrap(), topic);
        assert!(Topic::from_dotted("a/b").is_err());
    }
}
