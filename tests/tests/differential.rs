//! The scripts of the Redis store against the model's state machine: random sequences of operations, compared step by
//! step, with the raw indexes in Redis compared with the records at the end.
#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod redis_server;

use longshore_link::conformance::sequences;
use longshore_link::redis::RedisStore;
use longshore_link::{Embedded, Link, World};
use longshore_model::names::{Namespace, StoreNames, shard_keys};
use longshore_model::record::State;
use longshore_model::secret::Secret;
use longshore_model::settings::Settings;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use redis_server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};

/// A link whose store is Redis, in a namespace of its own.
async fn link(server: &Server, namespace: &Namespace) -> Link {
    let mut settings = Settings::default().store;
    settings.url = Secret::new(server.url(""));
    let world = World::system();
    let store = RedisStore::connect(&settings, namespace.clone(), world.clone()).await.unwrap();
    Link { store, ..Embedded::new(&world).link(world) }
}

#[test]
fn random_sequences_agree_with_the_state_machine() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(Server::start());
    let number = AtomicU32::new(0);
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let checked = TestRunner::new(config).run(&sequences::steps(30), |steps| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let namespace = Namespace::new(&format!("seq-{number}")).unwrap();
        runtime.block_on(async {
            let link = link(&server, &namespace).await;
            let checked = sequences::check(&link, &steps).await;
            let raw = indexes(&server, &namespace).await;
            checked.and(raw).map_err(TestCaseError::fail)
        })
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

type Members = BTreeMap<String, u64>;

/// Every index of jobs holds exactly what the records say, with the scores that they say.
async fn indexes(server: &Server, namespace: &Namespace) -> Result<(), String> {
    let names = StoreNames::new(namespace.clone());
    let (prefix, everything) = (names.shard(None), names.everything());
    let mut expected: BTreeMap<String, Members> = BTreeMap::new();
    let mut found: BTreeMap<String, Members> = BTreeMap::new();
    let mut buried = BTreeSet::new();
    // In a glob `{` is a letter like any other.
    for key in server.command::<Vec<String>>(&["KEYS", &everything]).await {
        let suffix = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
        if let Some(id) = suffix.strip_prefix(shard_keys::JOB) {
            let fields = server.record(&key).await;
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
            if !server.command::<bool>(&["EXISTS", &format!("{prefix}{}{id}", shard_keys::ENVELOPE)]).await {
                return Err(format!("{id} has no envelope"));
            }
        } else if suffix.starts_with(shard_keys::TOMBSTONES) {
            buried.extend(server.command::<Vec<String>>(&["SMEMBERS", &key]).await);
        } else if suffix != shard_keys::RENEWED && server.command::<String>(&["TYPE", &key]).await == "zset" {
            let members: Vec<(String, f64)> = server.command(&["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await;
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
