//! A private Redis server for one test, and stores on it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part of this; a failed set-up is a failed test"
)]

use ::redis::aio::MultiplexedConnection;
use bytes::Bytes;
use longshore_link::World;
use longshore_link::store::{Claim, NewJob, Store};
use longshore_link::{Fault, redis};
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::names::{Namespace, StoreNames};
use longshore_model::record::{Admission, Start};
use longshore_model::secret::Secret;
use longshore_model::settings::StoreSettings;
use longshore_model::topic::Topic;
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// A server that ends with the value.
pub(crate) struct Server {
    child: Option<Child>,
    dir: tempfile::TempDir,
    port: u16,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { child: None, dir: tempfile::tempdir().unwrap(), port };
        server.resume().await;
        server
    }

    /// Starts it again on the same data, and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        let port = self.port.to_string();
        let options = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"];
        let command = Command::new("redis-server")
            .args(options)
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server should be installed");
        self.child = Some(command);
        eventually("the server answers", async || match self.client().await {
            Ok(mut client) => ::redis::cmd("PING").query_async::<String>(&mut client).await.is_ok(),
            Err(_) => false,
        })
        .await;
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Suspends or continues it.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    pub(crate) fn url(&self, credentials: &str) -> String {
        format!("redis://{credentials}127.0.0.1:{}/", self.port)
    }

    /// A plain client.
    pub(crate) async fn client(&self) -> ::redis::RedisResult<MultiplexedConnection> {
        let config = ::redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(20)));
        ::redis::Client::open(self.url(""))?.get_multiplexed_async_connection_with_config(&config).await
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
        cmd.query_async(&mut self.client().await.unwrap()).await.unwrap()
    }

    /// The key of the only shard with this suffix.
    pub(crate) fn key(suffix: &str) -> String {
        format!("{}{suffix}", StoreNames::new(Namespace::default()).shard(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) async fn redis_store(url: &str) -> Result<Arc<dyn Store>, Fault> {
    let settings = StoreSettings {
        url: Secret::new(url),
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
        },
        envelope: Bytes::from_static(b"{\"v\":1}"),
        labels: BTreeMap::new(),
        retry_of: None,
    }
}

pub(crate) fn claim(id: JobId, nonce: &str) -> Claim {
    Claim { id, nonce: nonce.into(), generation: Generation(0), floor: Fence(0) }
}
