//! The table of settings: name, meaning, place, bounds. Nothing can be set that is not here.

use super::urls;
use super::{LogFormat, OnDoubt, OnUnreachable, Settings, WithoutStore};
use crate::limits;
use crate::names::Namespace;
use crate::secret::Secret;
use crate::span;
use crate::topic::TopicPattern;
use crate::topology::properties::{parse_endpoints, parse_labels, write_labels};
use crate::trust::Keyring;
use std::path::PathBuf;
use std::time::Duration;

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file: `section.name`, or `name` alone.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// A shorter environment variable, besides [`Key::env`].
    pub alias: Option<&'static str>,
    pub(super) slot: Slot,
}

/// Where a value lives, and what is allowed there.
#[derive(Debug)]
pub(super) enum Slot {
    Span {
        at: fn(&mut Settings) -> &mut Duration,
        from: Duration,
        to: Duration,
    },
    Count {
        at: fn(&mut Settings) -> &mut usize,
        from: usize,
        to: usize,
    },
    Bytes {
        at: fn(&mut Settings) -> &mut u64,
        from: u64,
        to: u64,
    },
    /// A number as far above 0 as below it.
    Degree {
        at: fn(&mut Settings) -> &mut i32,
        most: i32,
    },
    /// A secret as a whole.
    Hidden {
        at: fn(&mut Settings) -> &mut Secret,
        check: fn(&str) -> Result<(), String>,
    },
    /// An address, which may hold a password.
    Url {
        at: fn(&mut Settings) -> &mut Secret,
        check: fn(&str) -> Result<(), String>,
    },
    Word {
        at: fn(&mut Settings) -> &mut Option<String>,
    },
    Path {
        at: fn(&mut Settings) -> &mut Option<PathBuf>,
    },
    /// A list in the file, parted by commas elsewhere.
    Patterns {
        set: fn(&mut Settings, Vec<TopicPattern>),
        show: fn(&Settings) -> String,
    },
    Text {
        set: fn(&mut Settings, &str) -> Result<(), String>,
        show: fn(&Settings) -> String,
    },
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_millis(crate::limits::DELAY_MS);

const fn key(name: &'static str, doc: &'static str, slot: Slot) -> Key {
    Key { name, doc, alias: None, slot }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Every setting, by section.
pub const KEYS: &[Key] = &[
    key(
        "namespace",
        "prefix of every name in the broker and the store: 1 to 32 lower-case letters, digits and `-`",
        Slot::Text {
            set: |s, text| Namespace::new(text).map(|namespace| s.namespace = namespace),
            show: |s| s.namespace.to_string(),
        },
    ),
    key(
        "operator",
        "who is named in the audit record for changes by `longshore`; default: user@host",
        Slot::Word { at: |s| &mut s.operator },
    ),
    key(
        "on_unreachable",
        "what a process does when the broker or the store is away at start: `fail` with a clear error, or `wait`",
        Slot::Text {
            set: |s, text| choose(text, &ON_UNREACHABLE).map(|choice| s.on_unreachable = choice),
            show: |s| name_of(s.on_unreachable, &ON_UNREACHABLE),
        },
    ),
    key(
        "broker.url",
        "`amqp://user:password@host:5672/vhost`, `amqps://…`, or `embedded:` for a broker in this process",
        Slot::Url { at: |s| &mut s.broker.url, check: urls::broker },
    ),
    key(
        "broker.ca",
        "file with the certificates to trust at `amqps://`, and no others (PEM); default: the public authorities",
        Slot::Path { at: |s| &mut s.broker.tls.ca },
    ),
    key(
        "broker.cert",
        "file with this process's own certificate (PEM), for a server that asks for one",
        Slot::Path { at: |s| &mut s.broker.tls.cert },
    ),
    key("broker.key", "file with the private key of `broker.cert` (PEM)", Slot::Path { at: |s| &mut s.broker.tls.key }),
    key(
        "broker.connect_timeout",
        "longest wait for a connection to the broker",
        Slot::Span { at: |s| &mut s.broker.connect_timeout, from: ms(100), to: HOUR },
    ),
    key(
        "broker.heartbeat",
        "AMQP heartbeat, whole seconds: two missed ones end a connection",
        Slot::Span { at: |s| &mut s.broker.heartbeat, from: SECOND, to: Duration::from_secs(600) },
    ),
    key(
        "broker.publish_timeout",
        "deadline of one publish, from the call to the broker's confirm",
        Slot::Span { at: |s| &mut s.broker.publish_timeout, from: ms(100), to: HOUR },
    ),
    key(
        "broker.publish_window",
        "publishes that may wait for their confirm at once",
        Slot::Count { at: |s| &mut s.broker.publish_window, from: 1, to: 65_536 },
    ),
    key(
        "broker.quarantine_bytes",
        "most bytes of letters in quarantine; beyond, what cannot be read rests and comes back. Fixed when the namespace is \
         first used",
        Slot::Bytes { at: |s| &mut s.broker.quarantine_bytes, from: 1024 * 1024, to: 1024 * 1024 * 1024 * 1024 },
    ),
    key(
        "broker.journal",
        "`on`: jobs with a future start are also written to a stream in the broker, so that a store that loses everything \
         gets them back with `longshore doctor --rebuild-from broker`; give producers and consumers the same. `off`",
        Slot::Text {
            set: |s, text| choose(text, &SWITCH).map(|choice| s.broker.journal.enabled = choice),
            show: |s| name_of(s.broker.journal.enabled, &SWITCH),
        },
    ),
    key(
        "broker.journal_bytes",
        "most bytes in the journal; beyond, its oldest entries go. Fixed when the journal is first written",
        Slot::Bytes { at: |s| &mut s.broker.journal.bytes, from: 16 * 1024 * 1024, to: 1024 * 1024 * 1024 * 1024 },
    ),
    key(
        "broker.journal_age",
        "how long an entry stays in the journal: longer than any job waits for its start. Fixed when the journal is \
         first written",
        Slot::Span { at: |s| &mut s.broker.journal.age, from: HOUR, to: Duration::from_secs(2 * 366 * 86_400) },
    ),
    key(
        "store.url",
        "`redis://user:password@host:6379/0`, `rediss://…`, or `embedded:` for a store in this process",
        Slot::Url { at: |s| &mut s.store.url, check: urls::store },
    ),
    key(
        "store.ca",
        "file with the certificates to trust at `rediss://`, and no others (PEM); default: the public authorities",
        Slot::Path { at: |s| &mut s.store.tls.ca },
    ),
    key(
        "store.cert",
        "file with this process's own certificate (PEM), for a server that asks for one",
        Slot::Path { at: |s| &mut s.store.tls.cert },
    ),
    key("store.key", "file with the private key of `store.cert` (PEM)", Slot::Path { at: |s| &mut s.store.tls.key }),
    key(
        "store.connect_timeout",
        "longest wait for a connection to the store",
        Slot::Span { at: |s| &mut s.store.connect_timeout, from: ms(100), to: HOUR },
    ),
    key(
        "store.call_timeout",
        "deadline of one call to the store; after it the answer is unknown and the call is repeated",
        Slot::Span { at: |s| &mut s.store.call_timeout, from: ms(50), to: HOUR },
    ),
    key(
        "blobs.url",
        "where payload files are kept: `file:///directory` that all instances share, `s3://bucket/prefix`, \
         `gs://bucket/prefix`, `az://container/prefix` (each if the program was built with it), or `embedded:`; empty: no \
         place, so that only files small enough to travel with the job can be sent",
        Slot::Url { at: |s| &mut s.blobs.url, check: urls::blobs },
    ),
    key(
        "blobs.max_file_bytes",
        "largest payload or output file, bytes",
        Slot::Bytes { at: |s| &mut s.blobs.max_file_bytes, from: 1, to: crate::limits::FILE_BYTES },
    ),
    key(
        "blobs.grace",
        "how long files that no job needs are kept: longer than a job takes from its upload to its acceptance, by way of \
         a spool as well",
        Slot::Span { at: |s| &mut s.blobs.grace, from: Duration::from_secs(60), to: YEAR },
    ),
    key(
        "blobs.endpoint",
        "`http(s)://host:port` of an S3-compatible or Azure-compatible service; default: the provider's own",
        Slot::Text {
            set: |s, text| urls::endpoint(text).map(|url| s.blobs.endpoint = url),
            show: |s| show_word(&s.blobs.endpoint),
        },
    ),
    key("blobs.region", "region of the S3 bucket", Slot::Word { at: |s| &mut s.blobs.region }),
    key(
        "blobs.access_key",
        "id of the S3 access key, or name of the Azure account; default: the provider's environment variables \
         (`AWS_…`, `GOOGLE_…`, `AZURE_…`) and metadata service",
        Slot::Word { at: |s| &mut s.blobs.access_key },
    ),
    key(
        "blobs.secret_key",
        "the key that belongs to `blobs.access_key`; best given as `LONGSHORE_BLOBS__SECRET_KEY`",
        Slot::Hidden { at: |s| &mut s.blobs.secret_key, check: |_| Ok(()) },
    ),
    key(
        "trust.keys",
        "`name=key, name=key`: instances sign what they say of themselves with the first, and accept whoever signs with \
         one of them; best given as `LONGSHORE_TRUST__KEYS`. Default: nothing is signed, and everybody is accepted",
        Slot::Hidden { at: |s| &mut s.trust.keys, check: |text| Keyring::read(&Secret::new(text), true).map(drop) },
    ),
    key(
        "trust.required",
        "whether instances that are not signed with one of `trust.keys` are kept out: `on`, or `off` while keys are given \
         to a fleet, or taken from it",
        Slot::Text {
            set: |s, text| choose(text, &SWITCH).map(|choice| s.trust.required = choice),
            show: |s| name_of(s.trust.required, &SWITCH),
        },
    ),
    key(
        "instance.name",
        "name of this consumer instance; default: the host's name",
        Slot::Word { at: |s| &mut s.instance.name },
    ),
    key(
        "instance.cluster",
        "cluster that the instance belongs to; default: one of its own",
        Slot::Word { at: |s| &mut s.instance.cluster },
    ),
    Key {
        alias: Some("LONGSHORE_HOME"),
        ..key(
            "instance.home",
            "directory in which the instance keeps its id and its lock; default: \
             `<state directory>/longshore/<namespace>/<name>`",
            Slot::Path { at: |s| &mut s.instance.home },
        )
    },
    key(
        "instance.labels",
        "what the instance is, for whoever looks for instances: `zone=a,disk=ssd`; everybody in the fleet sees it",
        Slot::Text {
            set: |s, text| parse_labels(text).map(|labels| s.instance.labels = labels),
            show: |s| write_labels(&s.instance.labels),
        },
    ),
    key(
        "instance.endpoints",
        "where the instance can be reached, parted by commas: `http://worker-1:8080`; without passwords, as everybody in \
         the fleet sees it",
        Slot::Text {
            set: |s, text| parse_endpoints(text).map(|endpoints| s.instance.endpoints = endpoints),
            show: |s| s.instance.endpoints.join(","),
        },
    ),
    key(
        "instance.leader_preference",
        "how much the instance is to lead its cluster and coordinate the fleet, -100 to 100: of the live ones that say most \
         the one leads that has been there longest; below 0: rather not",
        Slot::Degree { at: |s| &mut s.instance.leader_preference, most: limits::LEADER_PREFERENCE },
    ),
    key(
        "instance.allow",
        "topics and patterns that the instance may take, whatever its handlers; default: `**`, all",
        Slot::Patterns {
            set: |s, patterns| {
                s.instance.allowed.allow = (!patterns.contains(&TopicPattern::everything())).then_some(patterns)
            },
            show: |s| {
                s.instance.allowed.allow.as_deref().map_or_else(|| TopicPattern::everything().to_string(), joined)
            },
        },
    ),
    key(
        "instance.deny",
        "topics and patterns that the instance does not take, though allowed; default: none",
        Slot::Patterns {
            set: |s, patterns| s.instance.allowed.deny = patterns,
            show: |s| joined(&s.instance.allowed.deny),
        },
    ),
    key(
        "instance.concurrency",
        "jobs that the instance runs at once",
        Slot::Count { at: |s| &mut s.instance.concurrency, from: 1, to: 100_000 },
    ),
    key(
        "instance.held_bytes",
        "most bytes of messages that wait in the instance for a slot; beyond, lanes get theirs back and hold fewer",
        Slot::Bytes { at: |s| &mut s.instance.held_bytes, from: 1024 * 1024, to: 1024 * 1024 * 1024 * 1024 },
    ),
    key(
        "instance.grace",
        "how long running jobs may go on after the instance was told to stop",
        Slot::Span { at: |s| &mut s.instance.grace, from: Duration::ZERO, to: Duration::from_secs(86_400) },
    ),
    key(
        "instance.log_lines",
        "kept log lines of each attempt that the instance runs, the newest; 0: none",
        Slot::Count { at: |s| &mut s.instance.log_lines, from: 0, to: limits::LOG_LINES },
    ),
    key(
        "instance.apply_queues",
        "whether the queues of its file are applied for the whole fleet when it starts: on or off",
        Slot::Text {
            set: |s, text| choose(text, &SWITCH).map(|choice| s.instance.apply_queues = choice),
            show: |s| name_of(s.instance.apply_queues, &SWITCH),
        },
    ),
    key(
        "lease.beat",
        "time between two proofs of life",
        Slot::Span { at: |s| &mut s.lease.beat, from: ms(50), to: HOUR },
    ),
    key(
        "lease.length",
        "how long a proof of life keeps an instance and its jobs; after it others take the jobs over",
        Slot::Span { at: |s| &mut s.lease.length, from: ms(200), to: HOUR },
    ),
    key(
        "lease.doubt",
        "without an answered proof of life for so long, an instance stops by itself; at least two beats, and shorter \
         than the lease",
        Slot::Span { at: |s| &mut s.lease.doubt, from: ms(100), to: HOUR },
    ),
    key(
        "lease.on_doubt",
        "what happens to running handlers then: `cancel`, or `continue` (two attempts of one job may run at once)",
        Slot::Text {
            set: |s, text| choose(text, &ON_DOUBT).map(|choice| s.lease.on_doubt = choice),
            show: |s| name_of(s.lease.on_doubt, &ON_DOUBT),
        },
    ),
    key(
        "lease.hold",
        "a job that runs longer keeps running under its lease alone: its message is swapped for a parked copy; at most a \
         third of the broker's consumer_timeout",
        Slot::Span { at: |s| &mut s.lease.hold, from: ms(1_000), to: HOUR },
    ),
    key(
        "send.deadline",
        "every send has its answer after this time: accepted, refused or unknown",
        Slot::Span { at: |s| &mut s.send.deadline, from: ms(100), to: HOUR },
    ),
    key(
        "send.without_store",
        "what a send does when the store does not answer: `fail`, or `broker` (the broker alone takes jobs that start at \
         once; they have to be claimed within two hours)",
        Slot::Text {
            set: |s, text| choose(text, &WITHOUT_STORE).map(|choice| s.send.without_store = choice),
            show: |s| name_of(s.send.without_store, &WITHOUT_STORE),
        },
    ),
    key(
        "send.spool",
        "directory that keeps jobs while neither store nor broker takes them; one for each process that uses \
         `Producer::connect`. Nowhere by default",
        Slot::Path { at: |s| &mut s.send.spool },
    ),
    key(
        "send.spool_bytes",
        "most bytes in the spool; a job that does not fit is refused",
        Slot::Bytes { at: |s| &mut s.send.spool_bytes, from: 64 * 1024, to: 1024 * 1024 * 1024 * 1024 },
    ),
    key(
        "retention.succeeded",
        "how long succeeded jobs are kept, where their queue does not say it",
        Slot::Span { at: |s| &mut s.retention.succeeded, from: Duration::ZERO, to: YEAR },
    ),
    key(
        "retention.failed",
        "how long jobs that ended otherwise are kept, where their queue does not say it",
        Slot::Span { at: |s| &mut s.retention.failed, from: Duration::ZERO, to: YEAR },
    ),
    key(
        "retention.succeeded_count",
        "how many succeeded jobs are kept, the newest, where their queue does not say it",
        Slot::Bytes { at: |s| &mut s.retention.succeeded_count, from: 0, to: u64::MAX >> 12 },
    ),
    key(
        "retention.failed_count",
        "how many jobs of each other end are kept, the newest, where their queue does not say it",
        Slot::Bytes { at: |s| &mut s.retention.failed_count, from: 0, to: u64::MAX >> 12 },
    ),
    key(
        "health.listen",
        "address of the consumer program's health and metrics endpoints, or `off`",
        Slot::Text {
            set: set_listen,
            show: |s| s.health.listen.map_or_else(|| "off".into(), |address| address.to_string()),
        },
    ),
    key(
        "log.format",
        "form of log lines: `text` or `json`",
        Slot::Text {
            set: |s, text| choose(text, &LOG_FORMAT).map(|choice| s.log.format = choice),
            show: |s| name_of(s.log.format, &LOG_FORMAT),
        },
    ),
    Key {
        alias: Some("LONGSHORE_LOG"),
        ..key(
            "log.level",
            "`off`, `error`, `warn`, `info`, `debug` or `trace`; also for parts: `info,longshore_link=debug`",
            Slot::Text { set: set_level, show: |s| s.log.level.clone() },
        )
    },
];

const ON_UNREACHABLE: [(&str, OnUnreachable); 2] = [("fail", OnUnreachable::Fail), ("wait", OnUnreachable::Wait)];
const WITHOUT_STORE: [(&str, WithoutStore); 2] = [("fail", WithoutStore::Fail), ("broker", WithoutStore::Broker)];
const SWITCH: [(&str, bool); 2] = [("off", false), ("on", true)];
const ON_DOUBT: [(&str, OnDoubt); 2] = [("cancel", OnDoubt::Cancel), ("continue", OnDoubt::Continue)];
const LOG_FORMAT: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl Key {
    /// The setting with a name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Its section in the file, if it is in one.
    #[must_use]
    pub fn section(&self) -> Option<&'static str> {
        self.name.split_once('.').map(|(section, _)| section)
    }

    /// The environment variable that sets it: `LONGSHORE_BROKER__URL` for `broker.url`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("LONGSHORE_{}", self.name.to_ascii_uppercase().replace('.', "__"))
    }

    /// Its value as it may be shown: secrets are hidden.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> String {
        // The accessors lend the place to write to; reading goes through a copy.
        let mut copy = settings.clone();
        match &self.slot {
            Slot::Span { at, .. } => span::show(*at(&mut copy)),
            Slot::Count { at, .. } => at(&mut copy).to_string(),
            Slot::Bytes { at, .. } => at(&mut copy).to_string(),
            Slot::Degree { at, .. } => at(&mut copy).to_string(),
            Slot::Url { at, .. } => at(&mut copy).shown(),
            Slot::Hidden { at, .. } => {
                if at(&mut copy).is_empty() {
                    String::new()
                } else {
                    "***".into()
                }
            }
            Slot::Word { at } => at(&mut copy).clone().unwrap_or_default(),
            Slot::Path { at } => at(&mut copy).as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            Slot::Patterns { show, .. } | Slot::Text { show, .. } => show(&copy),
        }
    }

    /// Reads a text into its place.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match &self.slot {
            Slot::Span { at, from, to } => {
                let value = span::parse(text).map_err(|error| error.to_string())?;
                if !(*from..=*to).contains(&value) {
                    let (value, from, to) = (span::show(value), span::show(*from), span::show(*to));
                    return Err(format!("{value} is not between {from} and {to}"));
                }
                *at(settings) = value;
            }
            Slot::Count { at, from, to } => *at(settings) = number(text, from, to)?,
            Slot::Bytes { at, from, to } => *at(settings) = number(text, from, to)?,
            Slot::Degree { at, most } => *at(settings) = number(text, &-*most, most)?,
            Slot::Url { at, check } | Slot::Hidden { at, check } => {
                check(text)?;
                *at(settings) = Secret::new(text);
            }
            Slot::Word { at } => *at(settings) = word(text)?,
            Slot::Path { at } => *at(settings) = (!text.is_empty()).then(|| PathBuf::from(text)),
            Slot::Patterns { set, .. } => set(settings, patterns(text)?),
            Slot::Text { set, .. } => set(settings, text)?,
        }
        Ok(())
    }
}

fn number<N>(text: &str, from: &N, to: &N) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = text.trim().parse().ok().filter(|number| (from..=to).contains(&number));
    number.ok_or_else(|| format!("`{}` is not a whole number from {from} to {to}", crate::limits::cut(text, 40)))
}

fn patterns(text: &str) -> Result<Vec<TopicPattern>, String> {
    let parts = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
    let count = parts.clone().count();
    if count > crate::limits::PATTERNS {
        let most = crate::limits::PATTERNS;
        return Err(format!("{count} patterns are more than {most}; take whole branches with `a/**`"));
    }
    parts.map(|part| TopicPattern::new(part).map_err(|error| error.to_string())).collect()
}

fn joined(patterns: &[TopicPattern]) -> String {
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A name that can be part of a path and of a key; empty is none.
fn word(text: &str) -> Result<Option<String>, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if text.len() > 64 || !text.chars().all(legal) || text.starts_with('.') {
        let shown = crate::limits::cut(text, 80);
        let form = "use 1 to 64 letters, digits, `_`, `-` and `.`, the first not `.`";
        return Err(format!("`{}` is not a name: {form}", shown.escape_debug()));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn show_word(word: &Option<String>) -> String {
    word.clone().unwrap_or_default()
}

fn set_listen(settings: &mut Settings, text: &str) -> Result<(), String> {
    settings.health.listen = match text {
        "" | "off" => None,
        text => Some(text.parse().map_err(|_| {
            format!("`{}` is not an address; write 127.0.0.1:9464, [::]:9464 or off", crate::limits::cut(text, 80))
        })?),
    };
    Ok(())
}

fn set_level(settings: &mut Settings, text: &str) -> Result<(), String> {
    for part in text.split(',') {
        let level = part.rsplit('=').next().unwrap_or(part).trim();
        if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
            let level = crate::limits::cut(level, 40);
            return Err(format!("`{level}` is not a level; use one of {}", LEVELS.join(", ")));
        }
    }
    text.clone_into(&mut settings.log.level);
    Ok(())
}

fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("`{}` is not a choice; use {}", crate::limits::cut(text, 40), names.join(" or "))
    })
}

fn name_of<T: PartialEq + Copy>(value: T, choices: &[(&str, T)]) -> String {
    choices.iter().find(|(_, choice)| *choice == value).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
}
