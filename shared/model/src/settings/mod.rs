//! Settings: what can be set, its default, where each value comes from, and everything that is wrong with it.
//!
//! [`Settings::read`] puts the layers on top of each other (defaults, then the file, then the
//! environment, then flags) and answers with every problem at once. It is pure: texts come in;
//! finding them is the producer crate's work. One table, [`KEYS`], says what there is to set; reading,
//! printing and the manual all go by it. The lists `[[queues]]` and `[[handlers]]` come from the file alone.

mod check;
mod handlers;
mod keys;
mod layers;
mod problems;
mod queues;
mod table;
#[cfg(test)]
mod tests;
mod urls;

pub use handlers::{HANDLER_FIELDS, HandlerConfig, Run};
pub use keys::{KEYS, Key};
pub use layers::{Loaded, SettingRow, read_queues};
pub use problems::{Origin, Problem, Problems};
pub use queues::QUEUE_FIELDS;

use crate::limits;
use crate::names::Namespace;
use crate::secret::Secret;
use crate::topology::Allowed;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Every setting, with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Prefix of every name in the broker and the store.
    pub namespace: Namespace,
    /// The broker.
    pub broker: BrokerSettings,
    /// The store.
    pub store: StoreSettings,
    /// Payload files.
    pub blobs: BlobSettings,
    /// Who belongs to the fleet.
    pub trust: TrustSettings,
    /// This consumer instance.
    pub instance: InstanceSettings,
    /// Leases and beats.
    pub lease: LeaseSettings,
    /// Sending jobs.
    pub send: SendSettings,
    /// How long ended jobs are kept.
    pub retention: RetentionSettings,
    /// Health and metrics endpoints of the consumer program.
    pub health: HealthSettings,
    /// What the programs write about themselves.
    pub log: LogSettings,
    /// Whether a process whose broker or store is away at start waits for it.
    pub on_unreachable: OnUnreachable,
    /// Who is named in the audit record for what this program changes; `None`: the user at this machine.
    pub operator: Option<String>,
}

/// The broker.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerSettings {
    /// `amqp://user:password@host:5672/vhost`, `amqps://…`, or `embedded:` with an optional name.
    pub url: Secret,
    /// For `amqps://`.
    pub tls: TlsSettings,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// AMQP heartbeat.
    pub heartbeat: Duration,
    /// Deadline of one publish, from the call to the broker's confirm.
    pub publish_timeout: Duration,
    /// Publishes that may wait for their confirm at once.
    pub publish_window: usize,
    /// Most bytes of letters in quarantine; beyond, what cannot be read rests and comes back.
    pub quarantine_bytes: u64,
    /// The journal.
    pub journal: JournalSettings,
}

/// The journal: a stream in the broker with a copy of what the store alone holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// Whether jobs with a future start are written to it before they count as accepted by both.
    pub enabled: bool,
    /// Most bytes in it; beyond, the oldest entries go.
    pub bytes: u64,
    /// How long an entry stays; longer than any job waits for its start.
    pub age: Duration,
}

/// The store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// `redis://user:password@host:6379/0`, `rediss://…`, or `embedded:` with an optional name.
    pub url: Secret,
    /// For `rediss://`.
    pub tls: TlsSettings,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Deadline of one call.
    pub call_timeout: Duration,
}

/// The files of an encrypted connection, all in PEM form. They are read once, when the process connects.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TlsSettings {
    /// Certificates to trust, and no others; without it, the public authorities that come with the program.
    pub ca: Option<PathBuf>,
    /// This process's own certificate, with those between it and the authority; for a server that asks for one.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    pub key: Option<PathBuf>,
}

/// Payload files.
#[derive(Debug, Clone, PartialEq)]
pub struct BlobSettings {
    /// `file:///var/lib/longshore/blobs`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or
    /// `embedded:`; empty: no place, so that only files small enough to travel with the job can be sent.
    pub url: Secret,
    /// Largest payload or output file, bytes.
    pub max_file_bytes: u64,
    /// How long what no job needs is kept: longer than any job takes from its upload to its acceptance.
    pub grace: Duration,
    /// Address of an S3-compatible or Azure-compatible service; default: the provider's own.
    pub endpoint: Option<String>,
    /// Region of the S3 bucket.
    pub region: Option<String>,
    /// Id of the S3 access key, or name of the Azure account; default: what the provider's environment variables and
    /// metadata service say.
    pub access_key: Option<String>,
    /// The key that belongs to it.
    pub secret_key: Secret,
}

/// Who belongs to the fleet.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustSettings {
    /// `name=key, name=key`: the first signs, all are accepted; empty: nothing is signed, and everybody is accepted.
    pub keys: Secret,
    /// Whether instances that are not signed with one of them are kept out, or only told of.
    pub required: bool,
}

/// This consumer instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceSettings {
    /// Its name; the host name by default.
    pub name: Option<String>,
    /// Its cluster; its own by default.
    pub cluster: Option<String>,
    /// Where it keeps its id and its lock; `<state directory>/longshore/<namespace>/<name>` by default.
    pub home: Option<PathBuf>,
    /// What it is, for whoever looks for instances.
    pub labels: BTreeMap<String, String>,
    /// Where it can be reached, for whoever looks for instances.
    pub endpoints: Vec<String>,
    /// How much it is to lead: of the live ones that say most, the one leads that has been there longest.
    pub leader_preference: i32,
    /// Which topics it may take at all, whatever its handlers.
    pub allowed: Allowed,
    /// Jobs that it runs at once.
    pub concurrency: usize,
    /// Most bytes of messages that wait in it for a slot.
    pub held_bytes: u64,
    /// How long running jobs may go on after the instance was told to stop.
    pub grace: Duration,
    /// Kept log lines of each attempt that it runs.
    pub log_lines: usize,
    /// Whether its queues are applied for the whole fleet when it starts, where they differ.
    pub apply_queues: bool,
}

/// Leases and beats.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaseSettings {
    /// Time between two beats.
    pub beat: Duration,
    /// How long a beat keeps an instance and its jobs.
    pub length: Duration,
    /// Without an answered beat for so long, the instance stops by itself.
    pub doubt: Duration,
    /// What happens to running handlers then.
    pub on_doubt: OnDoubt,
    /// How long a running job keeps its message unacknowledged.
    pub hold: Duration,
}

/// Sending jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct SendSettings {
    /// Every send has an answer after this time: accepted, refused or unknown.
    pub deadline: Duration,
    /// What a send does when the store does not answer.
    pub without_store: WithoutStore,
    /// Directory that keeps jobs while neither store nor broker takes them; `None` is nowhere. For one process.
    pub spool: Option<PathBuf>,
    /// Most bytes in it.
    pub spool_bytes: u64,
}

/// How long ended jobs are kept, and how many, where their queue does not say it.
#[derive(Debug, Clone, PartialEq)]
pub struct RetentionSettings {
    /// Jobs that succeeded.
    pub succeeded: Duration,
    /// Jobs that ended otherwise.
    pub failed: Duration,
    /// The newest so many that succeeded.
    pub succeeded_count: u64,
    /// The newest so many that ended otherwise, of each state.
    pub failed_count: u64,
}

/// Health and metrics endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthSettings {
    /// Where they listen; `None` is nowhere.
    pub listen: Option<SocketAddr>,
}

/// What the programs write about themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// For people or for machines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace` or `off`; several `target=level` parted by commas.
    pub level: String,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What happens to running handlers when an instance cannot prove that it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDoubt {
    /// They are cancelled: nothing runs twice at once.
    Cancel,
    /// They go on: less is repeated, and two attempts of one job may run at once.
    Continue,
}

/// What a send does when the store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutStore {
    /// It fails.
    Fail,
    /// The broker alone takes jobs that start at once.
    Broker,
}

/// What a process does when the broker or the store cannot be reached at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnreachable {
    /// Ends with a clear error.
    Fail,
    /// Keeps trying, and says so.
    Wait,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            broker: BrokerSettings {
                url: Secret::new("amqp://127.0.0.1:5672/%2f"),
                tls: TlsSettings::default(),
                connect_timeout: Duration::from_secs(5),
                heartbeat: Duration::from_secs(5),
                publish_timeout: Duration::from_secs(5),
                publish_window: 1_024,
                quarantine_bytes: 1024 * 1024 * 1024,
                journal: JournalSettings {
                    enabled: false,
                    bytes: 1024 * 1024 * 1024,
                    age: Duration::from_secs(31 * 86_400),
                },
            },
            store: StoreSettings {
                url: Secret::new("redis://127.0.0.1:6379/0"),
                tls: TlsSettings::default(),
                connect_timeout: Duration::from_secs(5),
                call_timeout: Duration::from_secs(2),
            },
            blobs: BlobSettings {
                url: Secret::default(),
                max_file_bytes: 32 * 1024 * 1024,
                grace: Duration::from_secs(2 * 86_400),
                endpoint: None,
                region: None,
                access_key: None,
                secret_key: Secret::default(),
            },
            trust: TrustSettings { keys: Secret::default(), required: true },
            instance: InstanceSettings {
                name: None,
                cluster: None,
                home: None,
                labels: BTreeMap::new(),
                endpoints: Vec::new(),
                leader_preference: 0,
                allowed: Allowed::default(),
                concurrency: 16,
                held_bytes: 64 * 1024 * 1024,
                grace: Duration::from_secs(30),
                log_lines: limits::LOG_LINES,
                apply_queues: true,
            },
            lease: LeaseSettings {
                beat: Duration::from_secs(2),
                length: Duration::from_secs(10),
                doubt: Duration::from_secs(7),
                on_doubt: OnDoubt::Cancel,
                hold: Duration::from_secs(300),
            },
            send: SendSettings {
                deadline: Duration::from_secs(10),
                without_store: WithoutStore::Fail,
                spool: None,
                spool_bytes: 64 * 1024 * 1024,
            },
            retention: RetentionSettings {
                succeeded: Duration::from_secs(86_400),
                failed: Duration::from_secs(7 * 86_400),
                succeeded_count: 1_000_000,
                failed_count: 1_000_000,
            },
            health: HealthSettings { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9464))) },
            log: LogSettings { format: LogFormat::Text, level: "info".into() },
            on_unreachable: OnUnreachable::Fail,
            operator: None,
        }
    }
}

impl Settings {
    /// The defaults with broker, store and blobs in this process, under a name: two callers in one process that
    /// use the same name share them.
    #[must_use]
    pub fn embedded(name: &str) -> Self {
        let mut settings = Self::default();
        let url = Secret::new(format!("embedded:{name}"));
        settings.broker.url = url.clone();
        settings.store.url = url.clone();
        settings.blobs.url = url;
        settings
    }
}
