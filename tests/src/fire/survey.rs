//! What is left at the end of a run: every record, every index, every queue, every process.
//!
//! Only a description, written to a file beside the history; whether it is right is for the [`checker`](super::checker)
//! to say. Records are read through [`longshore_link::Store`], indexes and keys as they lie in Redis.

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use longshore_model::names::{Namespace, StoreNames, shard_keys};
use longshore_model::{Fence, JobId, State};
use longshore_producer::Producer;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::services::{RabbitMq, Redis};

/// Jobs that are read in one call.
const PART: usize = 200;

/// The end of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// What the store knows of each job that was sent.
    pub jobs: BTreeMap<JobId, Kept>,
    /// The jobs in the index of each state.
    pub by_state: BTreeMap<State, Vec<JobId>>,
    /// The jobs in the index of those that have not ended.
    pub open: Vec<JobId>,
    /// The jobs in the outbox.
    pub outbox: Vec<JobId>,
    /// What the store's counters say.
    pub counts: BTreeMap<State, u64>,
    /// Where the ledger is not in balance.
    #[serde(default)]
    pub drifts: Vec<String>,
    /// Keys of jobs that nobody sent, and keys of no known kind.
    pub strays: Vec<String>,
    /// Messages in each queue of the namespace.
    pub queues: BTreeMap<String, u32>,
    /// Processes that should be gone.
    pub processes: Vec<String>,
    /// What could not be read.
    pub unreadable: Vec<String>,
}

/// What the store knows of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its state.
    pub state: State,
    /// Since when, ms of the store's clock.
    pub since: u64,
    /// The fence of its last attempt.
    pub fence: Fence,
    /// Attempts started.
    pub attempts: u32,
    /// Attempts that failed.
    pub failures: u32,
    /// Attempts that ended without a verdict.
    pub crashes: u32,
    /// Its result: a handler answers with its fence.
    pub result: Option<String>,
    /// What its last attempt said.
    pub message: Option<String>,
}

/// Reads everything. Nothing may be running any more.
///
/// # Panics
/// When a service does not answer.
pub async fn take(producer: &Producer, rabbitmq: &RabbitMq, redis: &Redis, ns: &Namespace, sent: &[JobId]) -> Final {
    let mut last = Final::default();
    for part in sent.chunks(PART) {
        let snapshots = producer.link().store.load(part.to_vec()).await;
        let snapshots = match snapshots {
            Ok(snapshots) => snapshots,
            Err(fault) => {
                last.unreadable.push(fault.to_string());
                continue;
            }
        };
        for snapshot in snapshots.into_iter().flatten() {
            let record = snapshot.record;
            let kept = Kept {
                state: record.state,
                since: record.since,
                fence: record.fence,
                attempts: record.attempts,
                failures: record.failures,
                crashes: record.crashes,
                result: snapshot.result,
                message: record.message,
            };
            last.jobs.insert(record.id, kept);
        }
    }
    match producer.counts().await {
        Ok(counts) => {
            for (state, count) in counts.into_values().flatten() {
                *last.counts.entry(state).or_default() += count;
            }
        }
        Err(fault) => last.unreadable.push(fault.to_string()),
    }
    match producer.ledger().await {
        Ok(ledger) => last.drifts = ledger.drifts().iter().map(ToString::to_string).collect(),
        Err(fault) => last.unreadable.push(fault.to_string()),
    }
    let mut connection = redis.connection().await;
    let shard = StoreNames::new(ns.clone()).shard(None);
    for state in State::ALL {
        let key = format!("{shard}{}{state}", shard_keys::STATE);
        last.by_state.insert(state, members(&mut connection, &key).await);
    }
    last.open = members(&mut connection, &format!("{shard}{}", shard_keys::OPEN)).await;
    last.outbox = members(&mut connection, &format!("{shard}{}", shard_keys::OUTBOX)).await;
    last.strays = strays(&mut connection, ns, &sent.iter().map(ToString::to_string).collect()).await;
    last.queues = queues(rabbitmq, ns).await;
    last
}

async fn members(connection: &mut MultiplexedConnection, key: &str) -> Vec<JobId> {
    let ids: Vec<String> =
        redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).query_async(connection).await.expect("read an index");
    ids.into_iter().filter_map(|id| id.parse().ok()).collect()
}

/// Keys that should not be there.
async fn strays(connection: &mut MultiplexedConnection, ns: &Namespace, sent: &BTreeSet<String>) -> Vec<String> {
    let names = StoreNames::new(ns.clone());
    let (shard, meta) = (names.shard(None), names.meta());
    let of_jobs = [
        shard_keys::JOB,
        shard_keys::ENVELOPE,
        shard_keys::RESULT,
        shard_keys::DETAIL,
        shard_keys::LOG,
        shard_keys::ATTEMPTS,
    ];
    let mut strays = Vec::new();
    let mut cursor: u64 = 0;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("COUNT")
            .arg(1_000)
            .query_async(connection)
            .await
            .expect("walk over the keys");
        for key in keys {
            let known = match key.strip_prefix(&shard) {
                Some(rest) => {
                    of_jobs.iter().find_map(|kind| rest.strip_prefix(kind)).is_none_or(|id| sent.contains(id))
                }
                None => key.starts_with(&meta),
            };
            if !known {
                strays.push(key);
            }
        }
        cursor = next;
        if cursor == 0 {
            strays.sort();
            return strays;
        }
    }
}

/// Every queue of the namespace with its messages.
async fn queues(rabbitmq: &RabbitMq, ns: &Namespace) -> BTreeMap<String, u32> {
    let listed = rabbitmq.ctl(&["list_queues", "name", "--no-table-headers"]).await;
    let connection = Connection::connect(&rabbitmq.url(), ConnectionProperties::default()).await.expect("the broker");
    let mut depths = BTreeMap::new();
    for name in listed.lines().map(str::trim).filter(|name| name.starts_with(&format!("{ns}."))) {
        // A channel each: asking for a queue that is gone ends it.
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        if let Ok(queue) = channel.queue_declare(name.into(), options, FieldTable::default()).await {
            depths.insert(name.to_owned(), queue.message_count());
        }
    }
    depths
}

/// Messages in these queues together; `None` when the broker does not answer.
pub async fn depth(url: &str, queues: &[String]) -> Option<u32> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.ok()?;
    let channel = connection.create_channel().await.ok()?;
    let mut messages = 0;
    for name in queues {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        messages +=
            channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.ok()?.message_count();
    }
    Some(messages)
}
