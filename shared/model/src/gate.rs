//! Gates: what a job has to pass, beside its time, before it may be queued.
//!
//! Owns how gates are named ([`GateName`]), what a job asks of them ([`Gates`]) and what a limit says
//! ([`LimitPolicy`]). Whether one is open is decided by the store, which alone knows who passed it. There are three
//! kinds:
//!
//! - an **order** lets one job of a key through at a time, in the order in which they were accepted, and the next only
//!   when that one has ended, also through its retries;
//! - a **limit** has a name and, for each key, lets so many jobs through at once (`max`) or in a time (`rate`);
//! - a **pause** lets nothing through, until somebody ends it or its time has passed.
//!
//! A job takes its order first and keeps it; of everything else it takes all or nothing. So nobody who waits for a
//! limit holds another limit, and no two jobs can wait for each other.

use crate::limits;
use crate::priority::Priority;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a gate: `o:<queue>:<key>`, `l:<limit>:<key>`, `p:<what>:<name>` or `p:all`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GateName(String);

/// What kind of gate a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateKind {
    /// One at a time, in order.
    Order,
    /// A named limit.
    Limit,
    /// A pause.
    Pause,
}

impl GateName {
    /// The order of a key in a queue; an empty key is that of the whole queue.
    #[must_use]
    pub fn order(queue: &str, key: &str) -> Self {
        Self(format!("o:{queue}:{key}"))
    }

    /// A limit, for one of its keys; an empty key is for all that have none.
    #[must_use]
    pub fn limit(limit: &str, key: &str) -> Self {
        Self(format!("l:{limit}:{key}"))
    }

    /// A pause.
    #[must_use]
    pub fn pause(pause: &Pausable) -> Self {
        Self(format!("p:{pause}"))
    }

    /// The name as the store spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a name that the store keeps.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = text.get(..2)?;
        let named = matches!(kind, "o:" | "l:" | "p:") && text[2..].contains(':');
        (named || text == "p:all").then(|| Self(text.to_owned()))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> GateKind {
        match self.0.as_bytes().first() {
            Some(b'o') => GateKind::Order,
            Some(b'p') => GateKind::Pause,
            _ => GateKind::Limit,
        }
    }

    /// What it is of: the queue of an order, the limit, or what is paused.
    #[must_use]
    pub fn of(&self) -> &str {
        self.0[2..].split_once(':').map_or(&self.0[2..], |(of, _)| of)
    }

    /// The key of an order or a limit, or the name of what is paused.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0[2..].split_once(':').map_or("", |(_, key)| key)
    }
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What can be paused. Written `all`, `queue:NAME`, `topic:TOPIC` or `key:QUEUE:KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pausable {
    /// Every job of the namespace.
    All,
    /// Every job of a queue.
    Queue(String),
    /// Every job of a topic.
    Topic(String),
    /// Every job of a queue that has this order key.
    Key {
        /// The queue.
        queue: String,
        /// The order key.
        key: String,
    },
}

impl fmt::Display for Pausable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Queue(queue) => write!(f, "queue:{queue}"),
            Self::Topic(topic) => write!(f, "topic:{topic}"),
            Self::Key { queue, key } => write!(f, "key:{queue}:{key}"),
        }
    }
}

impl std::str::FromStr for Pausable {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let bad = || format!("`{text}` cannot be paused: write all, queue:NAME, topic:TOPIC or key:QUEUE:KEY");
        let (what, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(bad)?;
        check_key("name", name)?;
        match what {
            "queue" => Ok(Self::Queue(name.to_owned())),
            "topic" => Ok(Self::Topic(name.to_owned())),
            "key" => {
                let (queue, key) = name.split_once(':').filter(|(_, key)| !key.is_empty()).ok_or_else(bad)?;
                Ok(Self::Key { queue: queue.to_owned(), key: key.to_owned() })
            }
            _ => Err(bad()),
        }
    }
}

/// What a job asks of gates. The default asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gates {
    /// Runs after those of the same order, and before those that come later.
    pub order: Option<GateName>,
    /// Counts against these limits.
    pub limits: Vec<GateName>,
    /// On whose behalf it waits for a limit: jobs of different turns are let through by turns. Empty: all who name none.
    pub turn: String,
    /// Where it stands among those that wait with it, but for an order, which stays in its order.
    #[serde(default)]
    pub priority: Priority,
}

impl Gates {
    /// Whether nothing is asked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.order.is_none() && self.limits.is_empty()
    }

    /// The order and the limits, the order first.
    pub fn names(&self) -> impl Iterator<Item = &GateName> {
        self.order.iter().chain(&self.limits)
    }

    /// The own limit of the queue of that name, which jobs of configured queues count against.
    #[must_use]
    pub fn of_queue(&self, queue: &str) -> Option<&GateName> {
        self.limits.iter().find(|gate| {
            let of = gate.of().strip_prefix(QUEUE_LIMIT);
            of.is_some_and(|of| if gate.key().is_empty() { of == queue } else { gate.key() == queue })
        })
    }

    /// Reads what the store keeps: names, a line each.
    #[must_use]
    pub fn parse(names: &str, turn: String) -> Self {
        let mut gates = Self { turn, ..Self::default() };
        for name in names.lines().filter_map(GateName::parse) {
            match name.kind() {
                GateKind::Order => gates.order = Some(name),
                _ => gates.limits.push(name),
            }
        }
        gates
    }

    /// What [`Self::parse`] reads.
    #[must_use]
    pub fn lines(&self) -> String {
        self.names().map(GateName::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// What a limit allows, for each of its keys. It can be changed at any time; what passed already stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitPolicy {
    /// Jobs at once, from the time they are queued until their attempt has ended. `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Jobs in a time. `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What becomes of a new job that cannot pass.
    #[serde(default, skip_serializing_if = "Over::is_wait")]
    pub over: Over,
    /// Jobs of the queue that wait. `None`: any number. Only in the own limit of a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Length>,
    /// What a final failure does to its order. Only in the own limit of a queue.
    #[serde(default, skip_serializing_if = "OnFailure::is_continue")]
    pub on_failure: OnFailure,
}

/// How many jobs of a queue may wait, whatever for, and what becomes of a new one beyond. What runs does not count, and
/// what comes back for another attempt is never turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// How many.
    pub max: u32,
    /// What becomes of one more.
    #[serde(default)]
    pub full: WhenFull,
}

/// What becomes of a new job of a queue in which as many wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is refused, and its sender told.
    #[default]
    Refuse,
    /// It is taken, and the oldest of those that wait is dropped.
    DropOldest,
}

impl WhenFull {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::DropOldest];

    /// The name used in settings and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::DropOldest => "drop_oldest",
        }
    }
}

impl std::str::FromStr for WhenFull {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|full| full.as_str() == text)
            .ok_or_else(|| format!("`{}`: write \"refuse\" or \"drop_oldest\"", limits::cut(text, 80).escape_debug()))
    }
}

/// What becomes of an order when one of its jobs has failed for good (`error` or `given_up`; what people stop or remove
/// has not failed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The next job runs.
    #[default]
    Continue,
    /// Those that wait behind it at that moment are dropped, since they were to run after it; what comes later runs.
    Skip,
    /// Nothing more of this order runs until somebody resumes it.
    Halt,
}

impl OnFailure {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Continue, Self::Skip, Self::Halt];

    /// The name used in settings and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Skip => "skip",
            Self::Halt => "halt",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    const fn is_continue(&self) -> bool {
        matches!(self, Self::Continue)
    }
}

impl std::str::FromStr for OnFailure {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|then| then.as_str() == text).ok_or_else(|| {
            format!("`{}`: write \"continue\", \"skip\" or \"halt\"", limits::cut(text, 80).escape_debug())
        })
    }
}

/// So many in a time: a bucket that holds `count` tokens at most and is filled evenly. A job takes one when it is queued;
/// at most `count` that were let through may be waiting to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time, ms.
    pub per_ms: u64,
}

/// What becomes of a new job that a limit does not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// It waits.
    #[default]
    Wait,
    /// It is refused, and its sender told.
    Refuse,
    /// It waits, and takes the place of those that wait there already: they are dropped.
    Replace,
}

impl Over {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    const fn is_wait(&self) -> bool {
        matches!(self, Self::Wait)
    }
}

/// What limits of queues are called: `queue.` and the queue's name.
pub const QUEUE_LIMIT: &str = "queue.";

impl LimitPolicy {
    /// Everything that is wrong with it, each naming its field and the remedy.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.length.is_some() || self.on_failure != OnFailure::Continue {
            problems
                .push("length, on_failure: only queues have them; write max_length and on_failure there".to_owned());
        }
        if self.max.is_none() && self.rate.is_none() {
            problems.push("max, rate: there is neither; say how many at once, or how many in a time".to_owned());
        }
        if self.max == Some(0) {
            problems.push("max: 0 would let nothing through; pause the queue instead".to_owned());
        }
        if let Some(Rate { count, per_ms }) = self.rate {
            if !(1..=limits::RATE_COUNT).contains(&count) {
                problems.push(format!("rate.count: {count} is not 1 to {}", limits::RATE_COUNT));
            }
            if !(1..=limits::RATE_PER_MS).contains(&per_ms) {
                problems.push(format!("rate.per_ms: {per_ms} is not 1 ms to {} ms (a day)", limits::RATE_PER_MS));
            }
        }
        problems
    }
}

/// Checks the name of a limit.
///
/// # Errors
/// A sentence that says what a name may be.
pub fn check_limit_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > limits::LIMIT_NAME_BYTES || !name.chars().all(legal) {
        let shown = limits::cut(name, 80);
        let most = limits::LIMIT_NAME_BYTES;
        return Err(format!("limit `{}`: use 1 to {most} letters, digits, `_`, `-` and `.`", shown.escape_debug()));
    }
    Ok(())
}

/// Checks an order key, a limit's key, or a turn.
///
/// # Errors
/// A sentence that names the field and the remedy.
pub fn check_key(what: &str, key: &str) -> Result<(), String> {
    if key.len() > limits::KEY_BYTES {
        return Err(format!("{what}: {} bytes is more than {}; shorten or hash it", key.len(), limits::KEY_BYTES));
    }
    if key.chars().any(char::is_control) {
        return Err(format!("{what}: no control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_as_they_are_written() {
        let order = GateName::order("media", "asset:7");
        assert_eq!((order.kind(), order.of(), order.key()), (GateKind::Order, "media", "asset:7"));
        let limit = GateName::limit("mail", "");
        assert_eq!((limit.kind(), limit.of(), limit.key()), (GateKind::Limit, "mail", ""));
        let gates = Gates { order: Some(order), limits: vec![limit], turn: "t".into(), priority: Priority::Normal };
        assert_eq!(Gates::parse(&gates.lines(), "t".into()), gates);
        assert_eq!(Gates::parse("", String::new()), Gates::default());
        assert_eq!(GateName::parse("x:y:z"), None);
        assert_eq!(GateName::parse("ä"), None);
    }

    #[test]
    fn the_own_limit_of_a_queue_is_found_by_its_name() {
        let gates = |limits: &[(&str, &str)]| Gates {
            limits: limits.iter().map(|(limit, key)| GateName::limit(limit, key)).collect(),
            ..Gates::default()
        };
        let plain = gates(&[("mail", "a"), ("queue.other", ""), ("queue.a", "")]);
        assert_eq!(plain.of_queue("a"), Some(&GateName::limit("queue.a", "")));
        assert_eq!(plain.of_queue("mail"), None);
        assert_eq!(gates(&[("queue.q-_0_", "q-x")]).of_queue("q-x"), Some(&GateName::limit("queue.q-_0_", "q-x")));
        assert_eq!(gates(&[]).of_queue("a"), None);
    }

    #[test]
    fn what_can_be_paused_reads_as_it_is_written() {
        for text in ["all", "queue:main", "topic:a/b", "key:main:7:8"] {
            let pause: Pausable = text.parse().unwrap();
            assert_eq!(pause.to_string(), text);
            let gate = GateName::pause(&pause);
            assert_eq!((gate.kind(), GateName::parse(gate.as_str())), (GateKind::Pause, Some(gate.clone())));
            assert_eq!(gate.of(), text.split(':').next().unwrap());
        }
        for text in ["queue", "queue:", "key:main", "job:1", "topic:a\nb"] {
            assert!(text.parse::<Pausable>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_that_limits_nothing_or_lets_nothing_through_is_refused() {
        assert!(LimitPolicy::default().problems()[0].starts_with("max, rate: there is neither"));
        let bad = LimitPolicy { max: Some(0), rate: Some(Rate { count: 0, per_ms: 0 }), ..LimitPolicy::default() };
        assert_eq!(bad.problems().len(), 3, "{:?}", bad.problems());
        let own = LimitPolicy { max: Some(1), on_failure: OnFailure::Halt, ..LimitPolicy::default() };
        assert!(own.problems()[0].starts_with("length, on_failure: only queues"), "{:?}", own.problems());
        assert_eq!(LimitPolicy { max: Some(1), ..LimitPolicy::default() }.problems(), Vec::<String>::new());
        assert!(check_limit_name("mail.out-1").is_ok());
        assert!(check_limit_name("a b").is_err() && check_limit_name("").is_err());
        assert!(check_key("order_key", &"x".repeat(limits::KEY_BYTES)).is_ok());
        assert!(check_key("order_key", &"x".repeat(limits::KEY_BYTES + 1)).unwrap_err().starts_with("order_key: 257"));
    }
}
