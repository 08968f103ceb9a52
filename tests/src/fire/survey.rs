//! What is left at the end of a run: every record, every index, every queue, every process.
//!
//! Only a description, written to a file beside the history; whether it is right is for the [`checker`](super::checker)
//! to say. Records are read through [`longshore_link::Store`], indexes and keys as they lie in Redis.

use super::files::{self, Left};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use longshore_model::names::{Namespace, StoreNames, shard_keys};
use longshore_model::{Fence, JobId, State};
use longshore_producer::Producer;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::services::{RabbitMq, Redis};
use crate::wait::pause;

/// Jobs that are read in one call.
const PART: usize = 200;
/// How long a read is repeated: a service that has just gone through something, on a busy machine, answers late.
const PATIENCE: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_secs(1);

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
    /// The files that it left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Left>,
}

/// Reads everything, and repeats what is not answered. Nothing may be running any more.
pub async fn take(producer: &Producer, rabbitmq: &RabbitMq, redis: &Redis, ns: &Namespace, sent: &[JobId]) -> Final {
    let mut last = Final::default();
    let store = &producer.link().store;
    for part in sent.chunks(PART) {
        let snapshots = repeated(async || store.load(part.to_vec()).await).await;
        for snapshot in snapshots.unwrap_or_else(|error| last.blind(error)).into_iter().flatten() {
            let (record, mut outputs) = (snapshot.record, Vec::new());
            for file in &snapshot.outputs {
                match repeated(async || files::found(&producer.link().blobs, record.id, file).await).await {
                    Ok(left) => outputs.push(left),
                    Err(error) => last.unreadable.push(format!("output `{}` of job {}: {error}", file.name, record.id)),
                }
            }
            let kept = Kept {
                state: record.state,
                since: record.since,
                fence: record.fence,
                attempts: record.attempts,
                failures: record.failures,
                crashes: record.crashes,
                result: snapshot.result,
                message: record.message,
                outputs,
            };
            last.jobs.insert(record.id, kept);
        }
    }
    let counts = repeated(async || producer.counts().await).await;
    for (state, count) in counts.unwrap_or_else(|error| last.blind(error)).into_values().flatten() {
        *last.counts.entry(state).or_default() += count;
    }
    let ledger = repeated(async || producer.ledger().await).await;
    match ledger {
        Ok(ledger) => last.drifts = ledger.drifts().iter().map(ToString::to_string).collect(),
        Err(error) => last.unreadable.push(error),
    }
    let shard = StoreNames::new(ns.clone()).shard(None);
    for state in State::ALL {
        let found = members(redis, &format!("{shard}{}{state}", shard_keys::STATE)).await;
        let found = found.unwrap_or_else(|error| last.blind(error));
        last.by_state.insert(state, found);
    }
    let open = members(redis, &format!("{shard}{}", shard_keys::OPEN)).await;
    last.open = open.unwrap_or_else(|error| last.blind(error));
    let outbox = members(redis, &format!("{shard}{}", shard_keys::OUTBOX)).await;
    last.outbox = outbox.unwrap_or_else(|error| last.blind(error));
    let strays = strays(redis, ns, &sent.iter().map(ToString::to_string).collect()).await;
    last.strays = strays.unwrap_or_else(|error| last.blind(error));
    let queues = repeated(async || queues(rabbitmq, ns).await).await;
    last.queues = queues.unwrap_or_else(|error| last.blind(error));
    last
}

impl Final {
    /// Notes that something could not be read, and stands in for it.
    fn blind<T: Default>(&mut self, error: String) -> T {
        self.unreadable.push(error);
        T::default()
    }
}

/// Asks until there is an answer, for as long as that is worth waiting for.
async fn repeated<T, E: Display>(mut ask: impl AsyncFnMut() -> Result<T, E>) -> Result<T, String> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.to_string()),
            Err(_) => pause(AGAIN).await,
        }
    }
}

async fn members(redis: &Redis, key: &str) -> Result<Vec<JobId>, String> {
    let ids: Vec<String> = repeated(async || {
        let mut connection = redis.try_connection().await?;
        redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).query_async(&mut connection).await
    })
    .await?;
    Ok(ids.into_iter().filter_map(|id| id.parse().ok()).collect())
}

/// Keys that should not be there.
async fn strays(redis: &Redis, ns: &Namespace, sent: &BTreeSet<String>) -> Result<Vec<String>, String> {
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
    // Of what passed or waits: nothing does any more.
    let of_gates =
        [shard_keys::HOLDERS, shard_keys::WAITERS, shard_keys::TURNS, shard_keys::UNCLAIMED, shard_keys::UNIQUE];
    let mut strays = BTreeSet::new();
    let mut cursor: u64 = 0;
    loop {
        let (next, keys): (u64, Vec<String>) = repeated(async || {
            let mut connection = redis.try_connection().await?;
            redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(10_000).query_async(&mut connection).await
        })
        .await?;
        for key in keys {
            let known = match key.strip_prefix(&shard) {
                Some(rest) if of_gates.iter().any(|kind| rest.starts_with(kind)) => false,
                Some(rest) => {
                    of_jobs.iter().find_map(|kind| rest.strip_prefix(kind)).is_none_or(|id| sent.contains(id))
                }
                None => key.starts_with(&meta),
            };
            if !known {
                strays.insert(key);
            }
        }
        cursor = next;
        if cursor == 0 {
            return Ok(strays.into_iter().collect());
        }
    }
}

/// Every queue of the namespace with its messages.
async fn queues(rabbitmq: &RabbitMq, ns: &Namespace) -> Result<BTreeMap<String, u32>, String> {
    let listed = rabbitmq.try_ctl(&["list_queues", "name", "--no-table-headers"]).await?;
    let connection = Connection::connect(&rabbitmq.url(), ConnectionProperties::default()).await;
    let connection = connection.map_err(|error| error.to_string())?;
    let mut depths = BTreeMap::new();
    for name in listed.lines().map(str::trim).filter(|name| name.starts_with(&format!("{ns}."))) {
        // A channel each: asking for a queue that is gone ends it.
        let channel = connection.create_channel().await.map_err(|error| error.to_string())?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        if let Ok(queue) = channel.queue_declare(name.into(), options, FieldTable::default()).await {
            depths.insert(name.to_owned(), queue.message_count());
        }
    }
    Ok(depths)
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
