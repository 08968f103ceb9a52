//! The conformance cases of the broker on RabbitMQ.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a failed step is a failed test")]

use async_trait::async_trait;
use bytes::Bytes;
use lapin::options::{BasicGetOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use longshore_link::amqp::Amqp;
use longshore_link::broker::Letters;
use longshore_link::conformance::{Bench, Hooks, Letter, Running};
use longshore_link::connect::Link;
use longshore_link::world::World;
use longshore_model::id::InstanceId;
use longshore_model::lane::Lane;
use longshore_model::names::{BrokerNames, Namespace, headers};
use longshore_model::secret::Secret;
use longshore_model::settings::Settings;
use longshore_tests::services::{Shared, namespace};
use std::sync::Arc;

longshore_link::conformance_broker!(crate::run);

/// Runs a case on two connected processes. Its store is the embedded one, which cases of the broker do not use.
fn run(case: impl for<'b> FnOnce(&'b Bench) -> Running<'b>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let services = Shared::services().await;
        let ns = namespace("conformance");
        let mut settings = Settings::embedded(&ns);
        settings.namespace = Namespace::new(&ns).unwrap();
        let (a, b) = (link(&settings, &services.broker_url).await, link(&settings, &services.broker_url).await);
        let names = BrokerNames::new(settings.namespace);
        let connection = Connection::connect(&services.broker_url, ConnectionProperties::default()).await.unwrap();
        case(&Bench { a, b, hooks: Arc::new(Outside { connection, names }) }).await;
    });
}

async fn link(settings: &Settings, url: &str) -> Link {
    let world = World::system();
    let mut link = Link::connect(settings, world.clone(), "test").await.unwrap();
    let mut broker = settings.broker.clone();
    broker.url = Secret::new(url);
    broker.quarantine_bytes = longshore_link::conformance::QUARANTINE_BYTES;
    link.broker = Amqp::connect(&broker, settings.namespace.clone(), world, "test").await.unwrap();
    link
}

/// Somebody else on the same broker.
#[derive(Debug)]
struct Outside {
    connection: Connection,
    names: BrokerNames,
}

impl Outside {
    async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }
}

#[async_trait]
impl Hooks for Outside {
    async fn letters(&self, place: Letters) -> Vec<Letter> {
        let queue = match place {
            Letters::Unrouted => self.names.unrouted(),
            Letters::Dead => self.names.dead(),
            Letters::Quarantine => self.names.quarantine(),
        };
        let (channel, mut letters) = (self.channel().await, Vec::new());
        while let Ok(Some(found)) = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await {
            let table: Option<&FieldTable> = found.properties.headers().as_ref();
            let reason = table.and_then(|table| table.inner().get(headers::REASON)).map(|value| match value {
                AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
                other => format!("{other:?}"),
            });
            letters.push(Letter {
                message_id: found.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default(),
                reason,
                body: Bytes::from(found.delivery.data.clone()),
            });
        }
        // They were only looked at: closing the channel puts them back.
        channel.close(200, "looked".into()).await.unwrap();
        letters
    }

    async fn delete_lane(&self, lane: &Lane) {
        let lane = self.names.lane(lane);
        self.channel().await.queue_delete(lane.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }

    async fn set_back(&self, instance: &InstanceId, _: u64) {
        panic!("a case of the broker should know nothing of {instance}");
    }
}
