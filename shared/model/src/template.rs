//! Templates: what the payload of a job has to say for the job to be found.
//!
//! A [`Template`] is conditions that all have to hold; a question with several templates finds what fits one of them
//! (J10). A condition compares what the payload has at a path with a value: numbers as numbers, texts as texts. What is
//! not there, or is of another kind, fits nothing.

use crate::limits;
use serde_json::Value;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// How a condition compares: what the job has, with the value that is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same; of any kind.
    Is,
    /// Less.
    Less,
    /// Less, or the same.
    AtMost,
    /// Greater.
    Greater,
    /// Greater, or the same.
    AtLeast,
}

impl Comparison {
    /// As it is written, longer ones first.
    const WRITTEN: [(Self, &'static str); 5] =
        [(Self::AtMost, "<="), (Self::AtLeast, ">="), (Self::Is, "="), (Self::Less, "<"), (Self::Greater, ">")];

    const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Is => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

/// One condition. Written `path=value`, `path<value`, `path<=value`, `path>value` or `path>=value`: the path names fields,
/// with dots between them, and places in lists by their number; the value is JSON, or else a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Names of fields and places in lists, from the outside in.
    pub path: Vec<String>,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what: of `<`, `<=`, `>` and `>=` a number or a text.
    pub value: Value,
}

impl Condition {
    /// Whether a payload fits.
    #[must_use]
    pub fn fits(&self, payload: &Value) -> bool {
        let at = self.path.iter().try_fold(payload, |value, name| step(value, name));
        at.is_some_and(|found| match order(found, &self.value) {
            Some(order) => self.comparison.holds(order),
            None => self.comparison == Comparison::Is && found == &self.value,
        })
    }
}

/// What a value has under a name, or at a place.
pub(crate) fn step<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        other => other.get(name),
    }
}

/// Which of two comes first; `None` where there is no order between them.
fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        // Whole numbers exactly: neighbours beyond 2^53 are one as floats.
        (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        _ => None,
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = limits::cut(text, 80);
        let bad = |why: &str| format!("`{}`: {why}", shown.escape_debug());
        if text.len() > limits::CONDITION_BYTES {
            return Err(bad(&format!("{} bytes is more than {}", text.len(), limits::CONDITION_BYTES)));
        }
        let at = text.find(['<', '>', '=']).ok_or_else(|| bad("write it as PATH=VALUE, or with <, <=, > or >="))?;
        let (path, rest) = text.split_at(at);
        let (comparison, sign) = Comparison::WRITTEN
            .into_iter()
            .find(|(_, sign)| rest.starts_with(sign))
            .ok_or_else(|| bad("write it as PATH=VALUE, or with <, <=, > or >="))?;
        let path: Vec<String> = path.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(bad("the path has an empty name; write it as FIELD or FIELD.FIELD"));
        }
        let value = rest[sign.len()..].trim();
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        if comparison != Comparison::Is && !matches!(value, Value::Number(_) | Value::String(_)) {
            return Err(bad("only numbers and texts have an order; use = for anything else"));
        }
        Ok(Self { path, comparison, value })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign =
            Comparison::WRITTEN.iter().find(|(known, _)| *known == self.comparison).map_or("=", |(_, sign)| sign);
        write!(f, "{}{sign}{}", self.path.join("."), self.value)
    }
}

/// Conditions that all have to hold; without any, everything fits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Template(Vec<Condition>);

impl Template {
    /// Of conditions as they are written.
    ///
    /// # Errors
    /// A sentence with the condition and what is wrong with it.
    pub fn of<T: AsRef<str>>(conditions: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let conditions: Vec<Condition> =
            conditions.into_iter().map(|text| text.as_ref().parse()).collect::<Result<_, _>>()?;
        if conditions.len() > limits::CONDITIONS {
            return Err(format!("{} conditions are more than {}", conditions.len(), limits::CONDITIONS));
        }
        Ok(Self(conditions))
    }

    /// The conditions.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        &self.0
    }

    /// Whether a payload fits; one that is no JSON fits nothing.
    #[must_use]
    pub fn fits(&self, payload: &str) -> bool {
        serde_json::from_str(payload).is_ok_and(|payload| self.0.iter().all(|condition| condition.fits(&payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(payload: &str, conditions: &[&str]) -> bool {
        Template::of(conditions).unwrap().fits(payload)
    }

    #[test]
    fn j10_operators_compare_what_the_job_has_with_what_is_named() {
        let payload =
            r#"{"size": 5, "name": "cat", "tags": ["a", {"b": true}], "big": 9007199254740993, "none": null}"#;
        for (condition, expected) in [
            ("size=5", true),
            ("size = 5.0", true),
            ("size=6", false),
            ("size<6", true),
            ("size<5", false),
            ("size<=5", true),
            ("size>4.5", true),
            ("size>5", false),
            ("size>=5", true),
            ("size=\"5\"", false),
            ("size<x", false),
            ("name=cat", true),
            ("name=\"cat\"", true),
            ("name<dog", true),
            ("name>=cat", true),
            ("name>1", false),
            ("tags.0=a", true),
            ("tags.1.b=true", true),
            ("tags.2=a", false),
            ("tags=[\"a\",{\"b\":true}]", true),
            ("big>9007199254740992", true),
            ("big=9007199254740992", false),
            ("none=null", true),
            ("missing=null", false),
            ("missing<1", false),
            ("size.deeper=5", false),
        ] {
            assert_eq!(fits(payload, &[condition]), expected, "{condition}");
        }
        assert!(fits(payload, &["size>1", "name=cat"]) && !fits(payload, &["size>1", "name=dog"]), "all have to hold");
        assert!(fits("7", &[]) && !fits("no json", &[]));
    }

    #[test]
    fn what_is_written_wrong_is_refused_with_the_remedy() {
        for (text, why) in [
            ("size", "PATH=VALUE"),
            ("=5", "empty name"),
            ("a..b=5", "empty name"),
            ("a<true", "only numbers and texts"),
            ("a>[1]", "only numbers and texts"),
        ] {
            assert!(text.parse::<Condition>().unwrap_err().contains(why), "{text}");
        }
        let long = |bytes: usize| format!("a={}", "x".repeat(bytes - 2)).parse::<Condition>();
        assert!(long(limits::CONDITION_BYTES).is_ok() && long(limits::CONDITION_BYTES + 1).is_err());
        let many = |count: usize| Template::of(vec!["a=1"; count]);
        assert!(many(limits::CONDITIONS).is_ok() && many(limits::CONDITIONS + 1).is_err());
        assert_eq!("a.b>=\"x\"".parse::<Condition>().unwrap().to_string(), "a.b>=\"x\"");
    }
}
