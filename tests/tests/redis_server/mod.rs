//! A private Redis server for one test, and stores on it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of this; a failed set-up is a failed test"
)]

use bytes::Bytes;
use longshore_link::World;
use longshore_link::store::{Claim, NewJob, Store};
use longshore_link::{Fault, redis};
use longshore_model::gate::Gates;
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::names::{Namespace, StoreNames};
use longshore_model::record::{Admission, Start};
use longshore_model::secret::Secret;
use longshore_model::settings::{StoreSettings, TlsSettings};
use longshore_model::topic::Topic;
use longshore_tests::services::Redis;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A server that ends with the value, and what tests do to it from outside.
pub(crate) struct Server(Redis);

impl Server {
    pub(crate) async fn start() -> Self {
        Self(Redis::start().await)
    }

    /// Starts it again on the same data, and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        self.0.resume().await;
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill();
    }

    pub(crate) fn freeze(&self) {
        self.0.freeze();
    }

    pub(crate) fn thaw(&self) {
        self.0.thaw();
    }

    /// Its address with `user:password@`, or nothing, in front of the host.
    pub(crate) fn url(&self, credentials: &str) -> String {
        self.0.url().replace("redis://", &format!("redis://{credentials}"))
    }

    pub(crate) async fn store(&self) -> Arc<dyn Store> {
        self.store_as("").await.unwrap()
    }

    pub(crate) async fn store_as(&self, credentials: &str) -> Result<Arc<dyn Store>, Fault> {
        redis_store(&self.url(credentials)).await
    }

    /// Runs one command.
    pub(crate) async fn command<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut cmd = ::redis::cmd(words[0]);
        for word in &words[1..] {
            cmd.arg(*word);
        }
        cmd.query_async(&mut self.0.connection().await).await.unwrap()
    }

    /// The fields of the packed record under a key that hold something.
    pub(crate) async fn record(&self, key: &str) -> BTreeMap<String, String> {
        self.command(&read_record(key)).await
    }

    /// Changes a field of the packed record under a key to what Lua makes of an expression.
    pub(crate) async fn damage(&self, key: &str, field: &str, expression: &str) {
        let place = fields().iter().position(|name| *name == field).unwrap() + 1;
        let script = format!(
            "local record = {{cmsgpack.unpack(redis.call('GET', KEYS[1]))}}
            record[{place}] = {expression}
            return redis.call('SET', KEYS[1], cmsgpack.pack(unpack(record, 1, {})))",
            fields().len()
        );
        self.command::<String>(&["EVAL", &script, "1", key]).await;
    }

    /// The key of the only shard with this suffix.
    pub(crate) fn key(suffix: &str) -> String {
        format!("{}{suffix}", StoreNames::new(Namespace::default()).shard(None))
    }
}

/// The words of a command that answers the fields of the packed record under a key, and what they hold.
pub(crate) fn read_record(key: &str) -> Vec<&str> {
    const READ: &str = "local function fields(...)
          local found = {}
          for i = 1, select('#', ...) do
            local value = select(i, ...)
            if value ~= nil then
              found[#found + 1] = ARGV[i]
              found[#found + 1] = type(value) == 'number' and string.format('%.0f', value) or tostring(value)
            end
          end
          return found
        end
        return fields(cmsgpack.unpack(redis.call('GET', KEYS[1])))";
    let mut words = vec!["EVAL", READ, "1", key];
    words.extend(fields());
    words
}

/// The fields of a record, in the order of the script that packs them.
fn fields() -> Vec<&'static str> {
    const JOB: &str = include_str!("../../../shared/link/src/redis/lua/job.lua");
    let (_, names) = JOB.split_once("local function named(").unwrap();
    names.split_once(", ...)").unwrap().0.split(',').map(str::trim).collect()
}

pub(crate) async fn redis_store(url: &str) -> Result<Arc<dyn Store>, Fault> {
    let settings = StoreSettings {
        url: Secret::new(url),
        tls: TlsSettings::default(),
        connect_timeout: Duration::from_secs(2),
        call_timeout: Duration::from_secs(2),
    };
    redis::RedisStore::connect(&settings, Namespace::default(), World::system()).await
}

/// Asks until the answer is yes, for at most 20 s.
pub(crate) async fn eventually(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let clock = World::system().clock;
    let asking = async {
        while !ask().await {
            clock.sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(clock.timeout(Duration::from_secs(20), asking).await.is_some(), "in time: {what}");
}

pub(crate) fn owner(instance: &str, start: u64) -> Owner {
    let incarnation = Incarnation::new(1_700_000_000_000 + start, [7; 16]);
    Owner { instance: InstanceId(instance.into()), incarnation }
}

pub(crate) fn job(topic: &str) -> NewJob {
    job_with_id(World::system().job_id(None), topic)
}

pub(crate) fn job_with_id(id: JobId, topic: &str) -> NewJob {
    NewJob {
        admission: Admission {
            id,
            topic: Topic::new(topic).unwrap(),
            queue: "main".into(),
            start: Start::Now,
            max_retries: 2,
            max_crashes: 3,
            expires: None,
            gates: Gates::default(),
            site: None,
            unique: None,
        },
        envelope: Bytes::from_static(b"{\"v\":1}"),
        labels: BTreeMap::new(),
        fields: BTreeMap::new(),
        again: false,
        retry_of: None,
    }
}

pub(crate) fn claim(id: JobId, nonce: &str) -> Claim {
    Claim { id, nonce: nonce.into(), generation: Generation(0), floor: Fence(0), alone: false }
}
