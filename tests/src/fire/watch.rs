//! What the store says of jobs that have ended, asked for all the time and written down.
//!
//! A job that ends a second time, or otherwise, comes up here a second time: the index of an ended state is asked for
//! everything that entered it since the last time, so nothing is missed however short the look.

use super::history::{Event, History};
use crate::wait::pause;
use longshore_model::names::{Namespace, StoreNames, shard_keys};
use longshore_model::{JobId, State};
use redis::aio::MultiplexedConnection;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const PAUSE: Duration = Duration::from_millis(300);
const PAGE: usize = 5_000;
/// Jobs in one line of the history.
const LINE: usize = 40;
const ANSWER: Duration = Duration::from_secs(2);

type Known = BTreeMap<JobId, (State, u64)>;

/// Asks until it is stopped.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    shard: String,
    known: Mutex<Known>,
    history: History,
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }

    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let config =
            redis::AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWER)).set_response_timeout(Some(ANSWER));
        redis::Client::open(self.url.as_str())?.get_multiplexed_async_connection_with_config(&config).await
    }
}

impl Watcher {
    /// Begins to ask.
    #[must_use]
    pub fn start(url: String, ns: &Namespace, history: History) -> Self {
        let shard = StoreNames::new(ns.clone()).shard(None);
        let shared = Arc::new(Shared { url, shard, known: Mutex::default(), history });
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(ask(Arc::clone(&shared), stopped));
        Self { shared, stop, task }
    }

    /// Jobs that were seen to end so far.
    #[must_use]
    pub fn ended(&self) -> usize {
        self.shared.known().len()
    }

    /// Whether all of these were.
    #[must_use]
    pub fn ended_of(&self, ids: &[JobId]) -> bool {
        let known = self.shared.known();
        known.len() >= ids.len() && ids.iter().all(|id| known.contains_key(id))
    }

    /// How many jobs have not ended; `None` when the store does not answer.
    pub async fn open(&self) -> Option<u64> {
        let mut connection = self.shared.connection().await.ok()?;
        let key = format!("{}{}", self.shared.shard, shard_keys::OPEN);
        redis::cmd("ZCARD").arg(key).query_async(&mut connection).await.ok()
    }

    /// The jobs that have not ended; `None` when the store does not answer.
    pub async fn open_ids(&self) -> Option<Vec<JobId>> {
        let mut connection = self.shared.connection().await.ok()?;
        let key = format!("{}{}", self.shared.shard, shard_keys::OPEN);
        let ids: Vec<String> = redis::cmd("ZRANGE").arg(key).arg(0).arg(-1).query_async(&mut connection).await.ok()?;
        Some(ids.into_iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Notes ends that somebody else read, as [`look`] would have.
    pub fn saw(&self, jobs: Vec<(JobId, State, u64)>) {
        note(&self.shared, jobs);
    }

    /// Asks once more and ends.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        while self.task.join_next().await.is_some() {}
    }
}

async fn ask(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    // Where the last look at each state ended, by the store's clock.
    let mut reached: BTreeMap<State, u64> = BTreeMap::new();
    let mut connection = None;
    loop {
        let last = *stop.borrow();
        if connection.is_none() {
            connection = shared.connection().await.ok();
        }
        if let Some(open) = &mut connection
            && look(&shared, open, &mut reached).await.is_err()
        {
            connection = None;
        }
        if last {
            return;
        }
        tokio::select! {
            () = pause(PAUSE) => {}
            _ = stop.changed() => {}
        }
    }
}

async fn look(
    shared: &Shared,
    connection: &mut MultiplexedConnection,
    reached: &mut BTreeMap<State, u64>,
) -> redis::RedisResult<()> {
    for state in State::ALL.into_iter().filter(|state| state.is_terminal()) {
        let key = format!("{}{}{state}", shared.shard, shard_keys::STATE);
        let mut skip = 0;
        loop {
            let from = reached.get(&state).copied().unwrap_or_default();
            let found: Vec<(String, f64)> = redis::cmd("ZRANGEBYSCORE")
                .arg(&key)
                .arg(from)
                .arg("+inf")
                .arg("WITHSCORES")
                .arg("LIMIT")
                .arg(skip)
                .arg(PAGE)
                .query_async(connection)
                .await?;
            let full = found.len() == PAGE;
            let jobs: Vec<(JobId, State, u64)> =
                found.into_iter().filter_map(|(id, at)| Some((id.parse().ok()?, state, at as u64))).collect();
            let newest = jobs.last().map_or(from, |(_, _, at)| *at);
            note(shared, jobs);
            // More of the same millisecond than a page holds: the rest of it is behind what was read.
            skip = if full && newest == from { skip + PAGE } else { 0 };
            reached.insert(state, newest);
            if !full {
                break;
            }
        }
        // A clock that went back puts new ends before what was read: everything is read again.
        let held: usize = redis::cmd("ZCARD").arg(&key).query_async(connection).await?;
        if held > shared.known().values().filter(|(known, _)| *known == state).count() {
            reached.remove(&state);
        }
    }
    Ok(())
}

/// Writes down what is new, or other than before.
fn note(shared: &Shared, mut jobs: Vec<(JobId, State, u64)>) {
    let mut known = shared.known();
    jobs.retain(|(id, state, at)| known.insert(*id, (*state, *at)) != Some((*state, *at)));
    drop(known);
    for part in jobs.chunks(LINE) {
        shared.history.note(Event::Seen { jobs: part.to_vec() });
    }
}
