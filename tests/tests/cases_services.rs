//! Every case on RabbitMQ and Redis, in real time, in a namespace of its own.
#![allow(clippy::unwrap_used, reason = "helpers of tests: a failed step is a failed test")]

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use lapin::types::AMQPValue;
use lapin::{Connection, ConnectionProperties};
use longshore_consumer::Settings;
use longshore_link::{Link, World};
use longshore_model::Secret;
use longshore_model::lane::Lane;
use longshore_model::names::{BrokerNames, Namespace, headers};
use longshore_tests::cases::fixture::{Backend, Fleet, Pace};
use longshore_tests::cases::*;
use longshore_tests::services::{Shared, namespace};

/// Somebody else on the same broker.
#[derive(Debug)]
struct Services {
    connection: Connection,
    names: BrokerNames,
}

#[async_trait]
impl Backend for Services {
    async fn link(&self, settings: &Settings, world: World) -> Link {
        Link::connect(settings, world, "case").await.unwrap()
    }

    async fn quarantined(&self) -> Vec<(Bytes, String)> {
        let channel = self.connection.create_channel().await.unwrap();
        let (queue, mut found) = (self.names.quarantine(), Vec::new());
        while let Ok(Some(letter)) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await {
            let table = letter.properties.headers().clone().unwrap_or_default();
            let reason = match table.inner().get(headers::REASON) {
                Some(AMQPValue::LongString(text)) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
                other => format!("{other:?}"),
            };
            found.push((Bytes::from(letter.delivery.data.clone()), reason));
        }
        // They were only looked at: closing the channel puts them back.
        channel.close(200, "looked".into()).await.unwrap();
        found
    }

    async fn evict(&self, lane: &Lane) {
        // Refusing a message for good makes the broker do what it does at the delivery limit, only sooner.
        let channel = self.connection.create_channel().await.unwrap();
        let (queue, refuse) = (self.names.lane(lane), BasicNackOptions { multiple: false, requeue: false });
        while let Ok(Some(found)) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await {
            found.delivery.acker.nack(refuse).await.unwrap();
        }
        channel.close(200, "evicted".into()).await.unwrap();
    }
}

async fn fleet(case: &str, shared: &Shared, files: &Path) -> Fleet {
    let namespace = Namespace::new(&namespace(case)).unwrap();
    let mut settings = Settings { namespace, ..Settings::default() };
    settings.broker.url = Secret::new(shared.broker_url.as_str());
    settings.store.url = Secret::new(shared.store_url.as_str());
    settings.blobs.url = Secret::new(format!("file://{}", files.display()));
    let connection = Connection::connect(&shared.broker_url, ConnectionProperties::default()).await.unwrap();
    let names = BrokerNames::new(settings.namespace.clone());
    Fleet::new(Services { connection, names }, settings, World::system(), Pace::Real).await
}

macro_rules! on_services {
    ($($group:ident::$case:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (shared, files) = (Shared::services().await, tempfile::tempdir().unwrap());
            let fleet = fleet(stringify!($case), &shared, files.path()).await;
            Box::pin($group::$case(&fleet)).await;
            fleet.balanced().await;
        }
    )*};
}

longshore_tests::for_each_case!(on_services);
