//! Puts the layers on top of each other: defaults, file, environment, flags.

use super::check::contradictions;
use super::handlers::{self, HandlerConfig};
use super::keys::{KEYS, Key, Slot};
use super::problems::{Origin, Problem, Problems};
use super::table::{Reader, Source, expected, integer};
use super::{Settings, queues};
use crate::queue::QueueConfig;
use crate::suggest;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Settings, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub settings: Settings,
    /// `[[queues]]`, in the order of the file.
    pub queues: Vec<QueueConfig>,
    /// `[[handlers]]`, in the order of the file.
    pub handlers: Vec<HandlerConfig>,
    /// Where each value came from, by key; a default is not in it.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// One setting as `longshore config` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingRow {
    /// Its name.
    pub key: &'static str,
    /// Its value, secrets hidden; empty where nothing is set.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// What it means.
    pub doc: &'static str,
}

impl Loaded {
    /// Every setting with its value and origin.
    #[must_use]
    pub fn table(&self) -> Vec<SettingRow> {
        let row = |key: &'static Key| SettingRow {
            key: key.name,
            value: key.show(&self.settings),
            origin: self.origins.get(key.name).cloned().unwrap_or(Origin::Default),
            doc: key.doc,
        };
        KEYS.iter().map(row).collect()
    }
}

impl Settings {
    /// Reads the layers: the file (its name, for messages, and its text), the environment, and flags (key and
    /// value). Values from the environment are texts and stay what they are; empty ones count as not set.
    ///
    /// # Errors
    /// [`Problems`]: everything that is wrong, not only the first.
    pub fn read(
        file: Option<(&str, &str)>,
        env: impl IntoIterator<Item = (String, String)>,
        flags: &[(String, String)],
    ) -> Result<Loaded, Problems> {
        let mut layers = Layers::default();
        if let Some((name, text)) = file {
            layers.file(Source { name, text });
        }
        // Sorted, so that the same environment gives the same messages.
        layers.environment(&env.into_iter().filter(|(_, value)| !value.is_empty()).collect());
        layers.flags(flags);
        layers.finish()
    }
}

/// Reads a file of `[[queues]]` and nothing else (its name, for messages, and its text).
///
/// # Errors
/// [`Problems`]: everything that is wrong, not only the first.
pub fn read_queues(name: &str, text: &str) -> Result<Vec<QueueConfig>, Problems> {
    let mut layers = Layers::default();
    layers.file(Source { name, text });
    if let Some((key, origin)) = layers.loaded.origins.iter().next() {
        let why = "only [[queues]] belong here; other settings are read where a program starts".to_owned();
        layers.problems.push(Problem { key: (*key).to_owned(), origin: origin.clone(), why });
    }
    let queues = std::mem::take(&mut layers.loaded.queues);
    if layers.problems.is_empty() { Ok(queues) } else { layers.finish().map(|_| queues) }
}

struct Layers {
    loaded: Loaded,
    problems: Vec<Problem>,
}

impl Default for Layers {
    fn default() -> Self {
        let loaded = Loaded {
            settings: Settings::default(),
            queues: Vec::new(),
            handlers: Vec::new(),
            origins: BTreeMap::new(),
        };
        Self { loaded, problems: Vec::new() }
    }
}

impl Layers {
    fn file(&mut self, source: Source<'_>) {
        let (document, errors) = DeTable::parse_recoverable(source.text);
        if !errors.is_empty() {
            // The message alone: the error's own display repeats the line, which may hold a password.
            self.problems.extend(errors.iter().map(|error| Problem {
                key: "syntax".into(),
                origin: source.at(error.span().map_or(0, |span| span.start)),
                why: error.message().to_owned(),
            }));
            return;
        }
        for (name, value) in document.get_ref().iter() {
            let (name, place) = (name.get_ref().as_ref(), source.at(name.span().start));
            match (name, value.get_ref()) {
                ("queues", list) => self.queues(source, &place, list),
                ("handlers", list) => self.handlers(source, &place, list),
                (section, DeValue::Table(table)) if is_section(section) => {
                    for (name, value) in table.iter() {
                        let full = format!("{section}.{}", name.get_ref());
                        self.file_value(&full, source.at(name.span().start), value.get_ref());
                    }
                }
                (section, _) if is_section(section) => {
                    self.wrong(
                        section,
                        place,
                        format!("this is a section; write [{section}] and its settings below it"),
                    );
                }
                (name, value) => self.file_value(name, place, value),
            }
        }
    }

    fn file_value(&mut self, name: &str, origin: Origin, value: &DeValue<'_>) {
        let Some(key) = Key::find(name) else { return self.wrong(name, origin, unknown(name)) };
        let (text, want) = match key.slot {
            Slot::Count { .. } | Slot::Bytes { .. } | Slot::Degree { .. } => {
                (integer(value).map(|n| n.to_string()), "a whole number")
            }
            Slot::Span { .. } => (value.as_str().map(Into::into), "a length of time in quotes, such as \"30s\""),
            Slot::Patterns { .. } => (joined(value), "a list of texts, such as [\"media/**\", \"mail\"]"),
            _ => (value.as_str().map(Into::into), "a text in quotes"),
        };
        match text {
            Some(text) => self.set(key, origin, &text),
            None => self.wrong(name, origin, expected(want, value)),
        }
    }

    fn queues(&mut self, source: Source<'_>, place: &Origin, list: &DeValue<'_>) {
        for (index, table) in self.tables("queues", place, list) {
            let mut reader = Reader::new(source, format!("queues[{index}]"), &table, &mut self.problems);
            let queue = queues::read(&mut reader);
            let same = self.loaded.queues.iter().position(|other| other.same_name(&queue));
            if let Some(same) = same.filter(|_| !reader.noted("name")) {
                reader.wrong("name", format!("queues[{}] has this name already; choose another", same + 1));
            }
            self.loaded.queues.push(queue);
        }
    }

    fn handlers(&mut self, source: Source<'_>, place: &Origin, list: &DeValue<'_>) {
        for (index, table) in self.tables("handlers", place, list) {
            let mut reader = Reader::new(source, format!("handlers[{index}]"), &table, &mut self.problems);
            let Some(handler) = handlers::read(&mut reader) else { continue };
            if self.loaded.handlers.iter().any(|other| other.topic == handler.topic) {
                let why = format!("another handler takes {} already; remove one of them", handler.topic);
                reader.wrong("topic", why);
            }
            self.loaded.handlers.push(handler);
        }
    }

    /// The tables of a list, numbered from 1.
    fn tables<'t, 'i>(
        &mut self,
        name: &str,
        place: &Origin,
        list: &'t DeValue<'i>,
    ) -> Vec<(usize, Spanned<&'t DeTable<'i>>)> {
        let mut tables = Vec::new();
        for (index, item) in list.as_array().into_iter().flat_map(|items| items.iter()).enumerate() {
            if let Some(table) = item.get_ref().as_table() {
                tables.push((index + 1, Spanned::new(item.span(), table)));
            }
        }
        if list.as_array().is_none_or(|items| items.len() != tables.len()) {
            self.wrong(name, place.clone(), format!("this is a list of tables; write [[{name}]] above each"));
        }
        tables
    }

    fn environment(&mut self, env: &BTreeMap<String, String>) {
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, value) in env.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let origin = Origin::Environment(name.clone());
            let key = KEYS.iter().find(|key| key.env() == *name || key.alias == Some(name));
            match key {
                Some(key) => {
                    if let Some(other) = seen.insert(key.name, name) {
                        let why = format!("it is set by {other} as well; keep one of the two variables");
                        self.wrong(key.name, origin.clone(), why);
                    }
                    self.set(key, origin, value);
                }
                None if is_foreign(name, value) => {}
                None => self.wrong(name, origin, unknown_variable(name)),
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (name, value) in flags {
            let origin = Origin::Flag(name.clone());
            match Key::find(name) {
                Some(key) => self.set(key, origin, value),
                None => self.wrong(name, origin, unknown(name)),
            }
        }
    }

    fn set(&mut self, key: &'static Key, origin: Origin, text: &str) {
        match key.set(&mut self.loaded.settings, text) {
            Ok(()) => drop(self.loaded.origins.insert(key.name, origin)),
            Err(why) => self.wrong(key.name, origin, why),
        }
    }

    fn wrong(&mut self, key: &str, origin: Origin, why: String) {
        self.problems.push(Problem { key: key.to_owned(), origin, why });
    }

    fn finish(mut self) -> Result<Loaded, Problems> {
        for contradiction in contradictions(&self.loaded.settings) {
            // A value that was refused is not the one that was meant: nothing follows from its default.
            if self.problems.iter().any(|problem| contradiction.keys.contains(&problem.key.as_str())) {
                continue;
            }
            let origins = contradiction.keys.iter().filter_map(|key| Some((*key, self.loaded.origins.get(key)?)));
            let first = contradiction.keys.first().copied().unwrap_or_default();
            let (key, origin) =
                origins.map(|(key, origin)| (key, origin.clone())).next().unwrap_or((first, Origin::Default));
            self.wrong(key, origin, contradiction.why);
        }
        if self.problems.is_empty() {
            return Ok(self.loaded);
        }
        self.problems.sort_by(|one, other| one.origin.cmp(&other.origin));
        Err(Problems(self.problems))
    }
}

/// A list of texts, parted by commas as in the other layers.
fn joined(list: &DeValue<'_>) -> Option<String> {
    let texts: Option<Vec<_>> = list.as_array()?.iter().map(|item| item.get_ref().as_str()).collect();
    Some(texts?.join(","))
}

/// The start of every environment variable of Longshore.
const PREFIX: &str = "LONGSHORE_";

/// Variables that the programs use and that are no settings.
const NOT_SETTINGS: [&str; 6] = [
    "LONGSHORE_CONFIG",
    "LONGSHORE_TOPIC",
    "LONGSHORE_ATTEMPT",
    "LONGSHORE_RETRY",
    "LONGSHORE_INPUT_DIR",
    "LONGSHORE_OUTPUT_DIR",
];

/// Whether a variable is somebody else's business: the programs' own, a job's (a handler may run `longshore`), the
/// tests', or one of those that Kubernetes puts into every container for a service named `longshore…`.
fn is_foreign(name: &str, value: &str) -> bool {
    let ours = ["LONGSHORE_JOB_", "LONGSHORE_TEST_", "LONGSHORE_BENCH_"];
    let service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || name.contains("_PORT_");
    let link = name.ends_with("_PORT") && ["tcp://", "udp://", "sctp://"].iter().any(|start| value.starts_with(start));
    NOT_SETTINGS.contains(&name) || ours.iter().any(|start| name.starts_with(start)) || service || link
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.section() == Some(name))
}

/// The message about a key that does not exist: the nearest one, else those of the same section, else the sections.
fn unknown(name: &str) -> String {
    let full = KEYS.iter().map(|key| key.name);
    let advice = if let Some(near) = suggest::nearest(name, full.clone()) {
        format!("did you mean `{near}`?")
    } else if let Some((section, _)) = name.split_once('.').filter(|(section, _)| is_section(section)) {
        let names: Vec<_> = full.filter_map(|key| key.strip_prefix(section)?.strip_prefix('.')).collect();
        suggest::advice(name, names)
    } else {
        let mut names: Vec<_> = KEYS.iter().map(|key| key.section().unwrap_or(key.name)).collect();
        names.extend(["queues", "handlers"]);
        names.dedup();
        suggest::advice(name, names)
    };
    format!("there is no such setting; {advice}")
}

fn unknown_variable(name: &str) -> String {
    let known: Vec<String> = KEYS.iter().map(|key| key.env().to_ascii_lowercase()).collect();
    match suggest::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("there is no such setting; did you mean `{}`?", near.to_ascii_uppercase()),
        None => "there is no such setting; `longshore config` lists all, and `__` parts section and name, as in \
                 LONGSHORE_BROKER__URL"
            .to_owned(),
    }
}
