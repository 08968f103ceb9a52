//! Indexed fields: what of its payload a job is found by, without anybody looking at payloads.
//!
//! The kind of a job, its queue or its sender name the fields ([`Envelope::indexed`](crate::envelope::Envelope::indexed));
//! the store keeps an index of what the payload has there: numbers as numbers, texts as texts. An index knows a number as
//! a double and the first [`limits::INDEXED_CHARS`] characters of a text, so that it may take a job that does not fit,
//! and never leaves one out that does: whoever asks compares the payload itself in the end.

use crate::limits;
use crate::template::{Comparison, Condition};
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What an index knows of one field of one job.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// A number; never NaN.
    Number(f64),
    /// The first characters of a text.
    Text(String),
}

/// The indexed fields of a job, by path; `None` where the payload has neither a number nor a text there.
pub type Fields = BTreeMap<String, Option<FieldValue>>;

impl FieldValue {
    /// What an index knows of a value; `None`: nothing.
    #[must_use]
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            // Zero has one form only.
            Value::Number(number) => number.as_f64().filter(|number| !number.is_nan()).map(|n| Self::Number(n + 0.0)),
            // Characters and not bytes: texts that are cut after as many characters keep their order.
            Value::String(text) => Some(Self::Text(text.chars().take(limits::INDEXED_CHARS).collect())),
            _ => None,
        }
    }

    /// Which of two comes first; `None` where they are of different kinds.
    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// The same value is the same text, and another one is another: `n` and a number, or `s` and a text.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Number(number) => format!("n{number:e}"),
            Self::Text(text) => format!("s{text}"),
        }
    }
}

/// What a question asks of one indexed field: a value between two, both taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldRange {
    /// The field.
    pub path: String,
    /// The least; `None`: any of the kind of the other one.
    pub low: Option<FieldValue>,
    /// The greatest; `None`: any of the kind of the other one.
    pub high: Option<FieldValue>,
}

impl FieldRange {
    /// What an index can answer of a condition; `None`: nothing.
    #[must_use]
    pub fn of(condition: &Condition) -> Option<Self> {
        let value = FieldValue::of(&condition.value)?;
        let path = condition.path.join(".");
        // What is cut or rounded may be equal where the payload is not: the ends are always taken in.
        Some(match condition.comparison {
            Comparison::Is => Self { path, low: Some(value.clone()), high: Some(value) },
            Comparison::Less | Comparison::AtMost => Self { path, low: None, high: Some(value) },
            Comparison::Greater | Comparison::AtLeast => Self { path, low: Some(value), high: None },
        })
    }

    /// The one value that it takes, if it takes one.
    #[must_use]
    pub fn exact(&self) -> Option<&FieldValue> {
        self.low.as_ref().filter(|low| self.high.as_ref() == Some(low))
    }

    /// One range for both, where both are of one field and one kind: an index that is asked once finds less.
    fn and(&self, other: &Self) -> Option<Self> {
        let kind = |range: &Self| range.low.as_ref().or(range.high.as_ref()).map(std::mem::discriminant);
        if self.path != other.path || kind(self) != kind(other) {
            return None;
        }
        let pick = |a: &Option<FieldValue>, b: &Option<FieldValue>, greater: bool| match (a, b) {
            (Some(a), Some(b)) => Some(if (a.order(b)? == Ordering::Greater) == greater { a } else { b }.clone()),
            (one, other) => one.as_ref().or(other.as_ref()).cloned(),
        };
        let (low, high) = (pick(&self.low, &other.low, true), pick(&self.high, &other.high, false));
        Some(Self { path: self.path.clone(), low, high })
    }

    /// Ranges that all have to hold, those of one field put together.
    #[must_use]
    pub fn together(ranges: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for range in ranges {
            match all.iter_mut().find_map(|known| known.and(&range).map(|both| (known, both))) {
                Some((known, both)) => *known = both,
                None => all.push(range),
            }
        }
        all
    }

    /// Whether it takes a value.
    #[must_use]
    pub fn takes(&self, value: &FieldValue) -> bool {
        self.low.as_ref().is_none_or(|low| value.order(low).is_some_and(Ordering::is_ge))
            && self.high.as_ref().is_none_or(|high| value.order(high).is_some_and(Ordering::is_le))
    }
}

/// Whether a job with these fields fits one of several templates, each of ranges that all have to hold; without any
/// template every job fits.
#[must_use]
pub fn fit(fields: &Fields, templates: &[Vec<FieldRange>]) -> bool {
    let takes =
        |range: &FieldRange| fields.get(&range.path).and_then(Option::as_ref).is_some_and(|value| range.takes(value));
    templates.is_empty() || templates.iter().any(|ranges| ranges.iter().all(takes))
}

/// What a payload has at these paths; one that is no JSON has nothing.
#[must_use]
pub fn read(payload: &str, paths: &[String]) -> Fields {
    if paths.is_empty() {
        return Fields::new();
    }
    let payload = serde_json::from_str::<Value>(payload).unwrap_or_default();
    let at = |path: &str| path.split('.').try_fold(&payload, |value, name| crate::template::step(value, name));
    paths.iter().map(|path| (path.clone(), at(path).and_then(FieldValue::of))).collect()
}

/// How a field is written in the index of what jobs are found by: no label begins like this.
#[must_use]
pub fn term(path: &str, value: Option<&FieldValue>) -> String {
    let mut term = format!("{MARK}{path}{MARK}");
    // Writing into a text cannot fail.
    let _ = match value {
        Some(value) => write!(term, "{}", value.key()),
        None => write!(term, "-"),
    };
    term
}

/// What a field's term begins with, and what ends its path: labels and paths have no control characters.
const MARK: char = '\u{1}';

/// Checks the path of a field that is to be indexed: names with dots between them.
///
/// # Errors
/// A sentence that names the path and what is wrong with it.
pub fn check_path(path: &str) -> Result<(), String> {
    let shown = limits::cut(path, 80);
    if path.len() > limits::INDEXED_PATH_BYTES {
        return Err(format!("`{shown}`: {} bytes is more than {}", path.len(), limits::INDEXED_PATH_BYTES));
    }
    let wrong = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | '=');
    if path.split('.').any(str::is_empty) || path.chars().any(wrong) {
        return Err(format!("`{}`: write FIELD or FIELD.FIELD, without spaces, <, > and =", shown.escape_debug()));
    }
    Ok(())
}

/// Checks the paths of fields that are to be indexed.
///
/// # Errors
/// A sentence that names the path, or how many there are, and the remedy.
pub fn check_paths(paths: &[String]) -> Result<(), String> {
    if paths.len() > limits::INDEXED {
        let why = "each one costs the store with every job; leave out what nobody asks for";
        return Err(format!("{} fields are more than {}; {why}", paths.len(), limits::INDEXED));
    }
    paths.iter().enumerate().try_for_each(|(place, path)| {
        check_path(path)?;
        if paths[..place].contains(path) { Err(format!("`{path}` is named twice")) } else { Ok(()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(condition: &str) -> FieldRange {
        FieldRange::of(&condition.parse().unwrap()).unwrap()
    }

    fn fields(payload: &str, paths: &[&str]) -> Fields {
        read(payload, &paths.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn j10_a_payload_is_read_as_a_template_reads_it() {
        let payload = r#"{"size": 5, "name": "cat", "tags": ["a"], "deep": {"x": -0.0}, "flag": true}"#;
        let found = fields(payload, &["size", "name", "tags.0", "deep.x", "flag", "none"]);
        let text = |text: &str| Some(FieldValue::Text(text.into()));
        assert_eq!(found["size"], Some(FieldValue::Number(5.0)));
        assert_eq!((&found["name"], &found["tags.0"]), (&text("cat"), &text("a")));
        assert_eq!(term("deep.x", found["deep.x"].as_ref()), "\u{1}deep.x\u{1}n0e0", "zero has no sign");
        assert_eq!((&found["flag"], &found["none"]), (&None, &None));
        assert!(fields(payload, &[]).is_empty() && fields("no json", &["a"])["a"].is_none());
    }

    /// Whatever fits the payload is taken by the range that stands for the condition.
    #[test]
    fn j10_an_index_leaves_out_nothing_that_fits() {
        let long = |end: &str| format!("{}{end}", "ä".repeat(limits::INDEXED_CHARS));
        let big = 9_007_199_254_740_993_u64;
        let values = [
            Value::from(1),
            Value::from(1.5),
            Value::from(-3),
            Value::from(big),
            Value::from(big - 1),
            "".into(),
            "a".into(),
            "b".into(),
            "a\u{0}".into(),
            long("").into(),
            long("a").into(),
            long("b").into(),
            Value::Null,
        ];
        for (has, named) in values.iter().flat_map(|has| values.iter().map(move |named| (has, named))) {
            for comparison in
                [Comparison::Is, Comparison::Less, Comparison::AtMost, Comparison::Greater, Comparison::AtLeast]
            {
                let condition = Condition { path: vec!["x".into()], comparison, value: named.clone() };
                let payload = serde_json::json!({ "x": has });
                let Some(range) = FieldRange::of(&condition) else { continue };
                let taken = fit(&fields(&payload.to_string(), &["x"]), &[vec![range]]);
                assert!(taken || !condition.fits(&payload), "{has} {comparison:?} {named}");
            }
        }
    }

    #[test]
    fn ranges_take_values_of_their_kind_only() {
        let number = FieldValue::Number(3.0);
        assert!(
            range("x<=3").takes(&number) && range("x>=3").takes(&number) && range("x=3.0").exact() == Some(&number)
        );
        assert!(!range("x>3.5").takes(&number) && !range("x>=a").takes(&number) && !range("x<=a").takes(&number));
        assert!(range("x>2").exact().is_none());
        assert_eq!(FieldRange::of(&"x=true".parse().unwrap()), None);
        let either = [vec![range("x=1")], vec![range("x>2"), range("y=a")]];
        let has = |payload: &str| fit(&fields(payload, &["x", "y"]), &either);
        assert!(has(r#"{"x":1}"#) && has(r#"{"x":9,"y":"a"}"#) && !has(r#"{"x":9}"#) && !has("{}"));
    }

    #[test]
    fn ranges_of_one_field_are_one() {
        let together = |conditions: &[&str]| FieldRange::together(conditions.iter().map(|text| range(text)));
        let between =
            FieldRange { low: Some(FieldValue::Number(2.0)), high: Some(FieldValue::Number(5.0)), ..range("x=0") };
        assert_eq!(together(&["x>=1", "x<5", "x>2", "x<=7"]), [between]);
        assert_eq!(together(&["x>=1", "y<5", "x=3"]), [range("x=3"), range("y<5")]);
        assert_eq!(together(&["x>=1", "x>=a"]).len(), 2, "a number and a text are none");
        let none = together(&["x>5", "x<1"]);
        assert!(none.len() == 1 && !none[0].takes(&FieldValue::Number(3.0)));
    }

    #[test]
    fn paths_are_few_short_and_plain() {
        for bad in ["", "a..b", ".a", "a b", "a=b", "a<b", "a\u{1}b"] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path(&"x".repeat(limits::INDEXED_PATH_BYTES)).is_ok());
        assert!(check_path(&"x".repeat(limits::INDEXED_PATH_BYTES + 1)).is_err());
        let many = |count: usize| check_paths(&(0..count).map(|n| format!("f{n}")).collect::<Vec<_>>());
        assert!(many(limits::INDEXED).is_ok() && many(limits::INDEXED + 1).unwrap_err().contains("more than 8"));
        assert!(check_paths(&["a".into(), "a".into()]).unwrap_err().contains("twice"));
    }
}
