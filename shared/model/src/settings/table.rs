//! Reads the tables of the settings file field by field: a wrong field is noted and the next one is read.

use super::problems::{Origin, Problem};
use crate::span;
use crate::suggest;
use crate::topic::TopicPattern;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The settings file: its name for messages, and its text.
#[derive(Clone, Copy)]
pub(super) struct Source<'s> {
    pub(super) name: &'s str,
    pub(super) text: &'s str,
}

impl Source<'_> {
    /// Where the byte at `offset` is.
    pub(super) fn at(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().iter().take(offset);
        Origin::File { name: self.name.to_owned(), line: 1 + before.filter(|byte| **byte == b'\n').count() }
    }
}

/// A name of a field and what it means, for messages and the manual.
pub(super) type Field = (&'static str, &'static str);

/// One table, and the place where problems go.
pub(super) struct Reader<'t, 's> {
    source: Source<'s>,
    path: String,
    table: &'t Spanned<&'t DeTable<'s>>,
    problems: &'t mut Vec<Problem>,
}

impl<'t, 's> Reader<'t, 's> {
    pub(super) fn new(
        source: Source<'s>,
        path: String,
        table: &'t Spanned<&'t DeTable<'s>>,
        problems: &'t mut Vec<Problem>,
    ) -> Self {
        Self { source, path, table, problems }
    }

    /// Notes every field that is not among the known ones.
    pub(super) fn only(&mut self, known: &[Field]) {
        for key in self.table.get_ref().keys().filter(|key| !known.iter().any(|(name, _)| *name == key.get_ref())) {
            let names = known.iter().map(|(name, _)| *name);
            let why = format!("there is no such field; {}", suggest::advice(key.get_ref(), names));
            self.note(key.get_ref(), key.span().start, why);
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.value(field).is_some()
    }

    /// Whether a problem of the field has been noted.
    pub(super) fn noted(&self, field: &str) -> bool {
        let key = format!("{}.{field}", self.path);
        self.problems.iter().any(|problem| problem.key == key)
    }

    /// Notes a problem of a field, at its place if it is there, else at the table's. The field of a nested table is
    /// found at the outer one.
    pub(super) fn wrong(&mut self, field: &str, why: impl Into<String>) {
        let outer = field.split('.').next().unwrap_or(field);
        let offset = self.value(outer).map_or_else(|| self.table.span().start, |value| value.span().start);
        self.note(field, offset, why.into());
    }

    pub(super) fn text(&mut self, field: &str) -> Option<String> {
        self.read(field, "a text in quotes", |value| value.as_str().map(|text| Ok(text.to_owned())))
    }

    pub(super) fn span(&mut self, field: &str) -> Option<Duration> {
        self.read(field, "a length of time in quotes, such as \"30s\"", |value| {
            value.as_str().map(|text| span::parse(text).map_err(|error| error.to_string()))
        })
    }

    pub(super) fn whole(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.read(field, "a whole number", |value| {
            value.is_integer().then(|| match integer(value).filter(|number| range.contains(number)) {
                Some(number) => Ok(number),
                None => Err(format!("it must be {} to {}", range.start(), range.end())),
            })
        })
    }

    /// A number as it is written.
    pub(super) fn number(&mut self, field: &str) -> Option<String> {
        self.read(field, "a number", |value| {
            let float = value.as_float().map(|float| float.as_str().replace('_', ""));
            float.or_else(|| integer(value).map(|number| number.to_string())).map(Ok)
        })
    }

    /// The texts of a list, each with its place; a field that is missing is an empty list.
    fn list(&mut self, field: &str) -> Vec<(usize, String)> {
        let Some(value) = self.value(field) else { return Vec::new() };
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(field, expected("a list of texts, such as [\"a\", \"b\"]", value.get_ref()));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push((item.span().start, text.to_owned())),
                None => self.note(field, item.span().start, expected("texts in quotes", item.get_ref())),
            }
        }
        texts
    }

    pub(super) fn texts(&mut self, field: &str) -> Vec<String> {
        self.list(field).into_iter().map(|(_, text)| text).collect()
    }

    pub(super) fn patterns(&mut self, field: &str) -> Vec<TopicPattern> {
        let mut patterns = Vec::new();
        for (offset, text) in self.list(field) {
            match TopicPattern::new(&text) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.note(field, offset, error.to_string()),
            }
        }
        patterns
    }

    pub(super) fn pattern(&mut self, field: &str) -> Option<TopicPattern> {
        self.read(field, "a topic or pattern in quotes", |value| {
            value.as_str().map(|text| TopicPattern::new(text).map_err(|error| error.to_string()))
        })
    }

    /// A table of texts.
    pub(super) fn map(&mut self, field: &str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let Some(value) = self.value(field) else { return map };
        let Some(table) = value.get_ref().as_table() else {
            self.wrong(field, expected("a table of texts, such as { NAME = \"value\" }", value.get_ref()));
            return map;
        };
        for (name, value) in table.iter() {
            match value.get_ref().as_str() {
                Some(text) => drop(map.insert(name.get_ref().to_string(), text.to_owned())),
                None => {
                    let why = expected("a text in quotes", value.get_ref());
                    self.note(&format!("{field}.{}", name.get_ref()), value.span().start, why);
                }
            }
        }
        map
    }

    /// Reads a nested table, if the field is one.
    pub(super) fn nested<T>(&mut self, field: &str, read: impl FnOnce(&mut Reader<'_, 's>) -> T) -> Option<T> {
        let value = self.value(field)?;
        let table = Spanned::new(value.span(), value.get_ref().as_table()?);
        let path = format!("{}.{field}", self.path);
        Some(read(&mut Reader::new(self.source, path, &table, self.problems)))
    }

    fn value(&self, field: &str) -> Option<&'t Spanned<DeValue<'s>>> {
        self.table.get_ref().iter().find(|(key, _)| key.get_ref() == field).map(|(_, value)| value)
    }

    fn note(&mut self, field: &str, offset: usize, why: String) {
        let key = format!("{}.{field}", self.path);
        self.problems.push(Problem { key, origin: self.source.at(offset), why });
    }

    /// Reads one field: `None` from `read` is a value of the wrong kind.
    fn read<T>(
        &mut self,
        field: &str,
        want: &str,
        read: impl FnOnce(&DeValue<'s>) -> Option<Result<T, String>>,
    ) -> Option<T> {
        let value = self.value(field)?.get_ref();
        match read(value).unwrap_or_else(|| Err(expected(want, value))) {
            Ok(value) => Some(value),
            Err(why) => {
                self.wrong(field, why);
                None
            }
        }
    }
}

/// The message about a value of the wrong kind. It does not repeat the value, which may be a secret.
pub(super) fn expected(want: &str, found: &DeValue<'_>) -> String {
    format!("write {want}; this is of the kind {}", found.type_str())
}

/// A whole number in any of TOML's notations.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}
