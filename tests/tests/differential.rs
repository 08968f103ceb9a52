//! The scripts of the Redis store against the model's state machine: random sequences of operations, compared step by
//! step, with the raw indexes in Redis compared with the records at the end. The long run:
//! `cargo nextest run --release -p longshore-tests --test differential --run-ignored only`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test; counts are the result")]

mod redis_server;

use longshore_link::conformance::sequences::{self, Step};
use longshore_link::redis::RedisStore;
use longshore_link::{Embedded, Link, World};
use longshore_model::names::{Namespace, StoreNames, shard_keys};
use longshore_model::record::State;
use longshore_model::secret::Secret;
use longshore_model::settings::Settings;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use redis::aio::MultiplexedConnection;
use redis_server::{Server, read_record};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

/// One of the databases of a server, in which one sequence runs at a time.
struct Lane {
    url: String,
    connection: MultiplexedConnection,
}

impl Lane {
    async fn open(server: &Server, database: usize) -> Self {
        let url = format!("{}{database}", server.url(""));
        let client = redis::Client::open(url.as_str()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Self { url, connection }
    }

    async fn command<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connection).await.unwrap()
    }

    /// The fields of the packed record under a key.
    async fn record(&mut self, key: &str) -> BTreeMap<String, String> {
        self.command(&read_record(key)).await
    }

    /// A link whose store is this database, in a namespace of its own.
    async fn link(&self, namespace: &Namespace) -> Link {
        let mut settings = Settings::default().store;
        settings.url = Secret::new(&self.url);
        let world = World::system();
        let store = RedisStore::connect(&settings, namespace.clone(), world.clone()).await.unwrap();
        Link { store, ..Embedded::new(&world).link(world) }
    }

    /// Runs a sequence in an empty database.
    async fn check(&mut self, steps: &[Step], number: u64) -> Result<(), String> {
        let namespace = Namespace::new(&format!("seq-{number}")).unwrap();
        let link = self.link(&namespace).await;
        let checked = sequences::check(&link, steps).await;
        let raw = indexes(self, &namespace).await;
        self.command::<()>(&["FLUSHDB"]).await;
        checked.and(raw)
    }
}

/// Runs sequences until so many commands have been compared, beside each other in as many databases as there are lanes.
fn agree(commands: u64, lanes: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(Server::start());
    let (done, number) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for database in 0..lanes {
            let (runtime, server, done, number) = (&runtime, &server, &done, &number);
            scope.spawn(move || {
                let lane = RefCell::new(runtime.block_on(Lane::open(server, database)));
                while done.load(Ordering::Relaxed) < commands {
                    let config = Config { cases: 10, failure_persistence: None, ..Config::default() };
                    let checked = TestRunner::new(config).run(&sequences::steps(30), |steps| {
                        done.fetch_add(steps.len() as u64, Ordering::Relaxed);
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        let checked = runtime.block_on(lane.borrow_mut().check(&steps, number));
                        checked.map_err(TestCaseError::fail)
                    });
                    checked.unwrap_or_else(|failure| panic!("{failure}"));
                }
            });
        }
    });
    done.into_inner()
}

#[test]
fn random_sequences_agree_with_the_state_machine() {
    agree(600, 4);
}

#[test]
#[ignore = "takes long: the million, by command"]
fn alone_a_million_commands_agree_with_the_state_machine() {
    println!("{} commands agreed", agree(1_000_000, 16));
}

type Members = BTreeMap<String, u64>;

/// Every index of jobs holds exactly what the records say, with the scores that they say.
async fn indexes(lane: &mut Lane, namespace: &Namespace) -> Result<(), String> {
    let names = StoreNames::new(namespace.clone());
    let (prefix, everything) = (names.shard(None), names.everything());
    let mut expected: BTreeMap<String, Members> = BTreeMap::new();
    let mut found: BTreeMap<String, Members> = BTreeMap::new();
    let mut buried = BTreeSet::new();
    // In a glob `{` is a letter like any other.
    for key in lane.command::<Vec<String>>(&["KEYS", &everything]).await {
        let suffix = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
        if let Some(id) = suffix.strip_prefix(shard_keys::JOB) {
            let fields = lane.record(&key).await;
            let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
            let state: State = fields["st"].parse()?;
            let score = match state {
                State::Active => number("le"),
                State::Scheduled | State::Retrying => number("du"),
                _ => number("si"),
            };
            let mut enter = |index: String, score: Option<u64>| {
                expected.entry(index).or_default().insert(id.to_owned(), score.unwrap_or(u64::MAX));
            };
            enter(format!("{}{state}", shard_keys::STATE), score);
            enter(format!("{}{}", shard_keys::TOPIC, fields["tp"]), number("ct"));
            enter(format!("{}{}", shard_keys::QUEUE, fields["qu"]), number("ct"));
            if !state.is_terminal() {
                enter(shard_keys::OPEN.into(), number("ct"));
            }
            if state == State::Queued && number("ob").is_some() {
                enter(shard_keys::OUTBOX.into(), number("ob"));
            }
            if matches!(state, State::Queued | State::Scheduled) && number("ex").is_some() {
                enter(shard_keys::EXPIRY.into(), number("ex"));
            }
            if !lane.command::<bool>(&["EXISTS", &format!("{prefix}{}{id}", shard_keys::ENVELOPE)]).await {
                return Err(format!("{id} has no envelope"));
            }
        } else if suffix.starts_with(shard_keys::TOMBSTONES) {
            buried.extend(lane.command::<Vec<String>>(&["SMEMBERS", &key]).await);
        } else if suffix != shard_keys::RENEWED && lane.command::<String>(&["TYPE", &key]).await == "zset" {
            let members: Vec<(String, f64)> = lane.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "scores are whole and small")]
            let members = members.into_iter().map(|(id, score)| (id, score as u64)).collect();
            found.insert(suffix, members);
        }
    }
    if let Some(id) = expected.values().flat_map(BTreeMap::keys).find(|id| buried.contains(*id)) {
        return Err(format!("{id} lives and has a tombstone"));
    }
    if found == expected { Ok(()) } else { Err(format!("the indexes are {found:?}, the records say {expected:?}")) }
}
