//! The conformance cases of the store on Redis.
#![allow(clippy::unwrap_used, reason = "helpers of tests: a failed step is a failed test")]

mod redis_server;

use async_trait::async_trait;
use longshore_link::broker::Letters;
use longshore_link::conformance::{Bench, Hooks, Letter, Running};
use longshore_link::redis::RedisStore;
use longshore_link::{Embedded, Link, World};
use longshore_model::id::InstanceId;
use longshore_model::lane::Lane;
use longshore_model::names::{Namespace, StoreNames, meta_keys};
use longshore_model::secret::Secret;
use longshore_model::settings::Settings;
use redis_server::Server;
use std::sync::Arc;

longshore_link::conformance_store!(crate::run);

/// Runs a case on two connected processes. Their broker is the embedded one, which cases of the store do not use.
fn run(case: impl for<'b> FnOnce(&'b Bench) -> Running<'b>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let server = Server::start().await;
        let mut settings = Settings::default().store;
        settings.url = Secret::new(server.url(""));
        let embedded = Embedded::new(&World::system());
        let link = async || {
            let world = World::system();
            let store = RedisStore::connect(&settings, Namespace::default(), world.clone()).await.unwrap();
            Link { store, ..embedded.link(world) }
        };
        let (a, b) = (link().await, link().await);
        let client = redis::Client::open(server.url("")).unwrap();
        case(&Bench { a, b, hooks: Arc::new(Outside(client)) }).await;
    });
}

/// Somebody else on the same server.
#[derive(Debug)]
struct Outside(redis::Client);

#[async_trait]
impl Hooks for Outside {
    async fn letters(&self, _: Letters) -> Vec<Letter> {
        Vec::new()
    }

    async fn delete_lane(&self, lane: &Lane) {
        panic!("a case of the store should not delete {lane}");
    }

    async fn set_back(&self, instance: &InstanceId, ms: u64) {
        let key = format!("{}{}", StoreNames::new(Namespace::default()).meta(), meta_keys::SEEN);
        let earlier = format!("-{ms}");
        let mut connection = self.0.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd("ZINCRBY");
        command.arg(key).arg(earlier).arg(&instance.0);
        command.query_async::<f64>(&mut connection).await.unwrap();
    }
}
