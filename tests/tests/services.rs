//! The private services do what the tests that use them rely on: they keep accepted data through a kill, come back on
//! the same address, freeze, and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::path::Path;
use std::time::Duration;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use longshore_tests::services::{RabbitMq, Redis, Shared, namespace};
use longshore_tests::wait::{eventually, within};
use redis::AsyncCommands as _;

const SOON: Duration = Duration::from_secs(20);

async fn open(url: &str) -> (Connection, Channel) {
    within(SOON, "connect to RabbitMQ", async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    })
    .await
}

async fn declare_quorum(channel: &Channel, queue: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    within(SOON, "declare a queue", channel.queue_declare(queue.into(), options, arguments)).await.unwrap();
}

async fn publish(channel: &Channel, queue: &str, text: &str) {
    let properties = BasicProperties::default().with_delivery_mode(2);
    let confirm = within(SOON, "publish", async {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        channel.basic_publish("".into(), queue.into(), options, text.as_bytes(), properties).await.unwrap().await
    });
    assert_eq!(confirm.await.unwrap(), Confirmation::Ack(None));
}

/// Takes one message; a quorum queue needs a moment after a restart until it has elected itself.
async fn get(channel: &Channel, queue: &str) -> String {
    let delivery: Delivery = eventually(SOON, "a message is there", async || {
        let message = channel.basic_get(queue.into(), BasicGetOptions::default()).await.unwrap();
        message.map(|message| message.delivery)
    })
    .await;
    assert!(delivery.ack(BasicAckOptions::default()).await.unwrap());
    String::from_utf8(delivery.data).unwrap()
}

#[tokio::test]
async fn rabbitmq_keeps_confirmed_messages_through_kill_stop_and_restart() {
    let mut rabbitmq = RabbitMq::start().await;
    let url = rabbitmq.url();
    let (_connection, channel) = open(&url).await;
    declare_quorum(&channel, "kept").await;
    publish(&channel, "kept", "one").await;
    publish(&channel, "kept", "two").await;
    rabbitmq.queue_on_disk("kept").await;

    rabbitmq.kill();
    rabbitmq.resume().await;
    let (_connection, channel) = open(&url).await;
    assert_eq!(get(&channel, "kept").await, "one");

    rabbitmq.restart().await;
    let (_connection, channel) = open(&url).await;
    assert_eq!(get(&channel, "kept").await, "two");
    assert_eq!(rabbitmq.url(), url);
}

#[tokio::test]
async fn rabbitmq_freezes_closes_connections_and_takes_commands() {
    let rabbitmq = RabbitMq::start_with(&["consumer_timeout = 123456"]).await;
    let (connection, channel) = open(&rabbitmq.url()).await;
    declare_quorum(&channel, "lane").await;
    publish(&channel, "lane", "one").await;
    eventually(SOON, "the queue is listed with its message", async || {
        let listed = rabbitmq.ctl(&["list_queues", "name", "type", "messages"]).await;
        listed.contains("lane\tquorum\t1").then_some(())
    })
    .await;
    assert!(rabbitmq.ctl(&["environment"]).await.contains("123456"));

    rabbitmq.freeze();
    let publishing = publish(&channel, "lane", "two");
    tokio::pin!(publishing);
    let answered = tokio::time::timeout(Duration::from_millis(300), &mut publishing).await;
    assert!(answered.is_err(), "a frozen broker confirmed");
    rabbitmq.thaw();
    publishing.await;

    rabbitmq.close_all_connections().await;
    eventually(SOON, "the connection is closed", async || (!connection.status().connected()).then_some(())).await;
    open(&rabbitmq.url()).await;
}

#[tokio::test]
async fn redis_keeps_written_data_through_kill_stop_and_restart() {
    let mut redis = Redis::start().await;
    let mut connection = redis.connection().await;
    let () = connection.set("key", "one").await.unwrap();
    // A reply may come before the write has reached the system when a sync is under way.
    eventually(SOON, "the append-only file is written", async || {
        let info: String = redis::cmd("INFO").arg("persistence").query_async(&mut connection).await.unwrap();
        let clean = |field: &str| info.lines().any(|line| line.trim() == format!("{field}:0"));
        (clean("aof_buffer_length") && clean("aof_pending_bio_fsync")).then_some(())
    })
    .await;
    redis.kill();
    redis.resume().await;
    let mut connection = redis.connection().await;
    assert_eq!(connection.get::<_, String>("key").await.unwrap(), "one");

    let () = connection.set("key", "two").await.unwrap();
    redis.restart().await;
    let mut connection = redis.connection().await;
    assert_eq!(connection.get::<_, String>("key").await.unwrap(), "two");

    redis.stop().await;
    redis.wipe();
    redis.resume().await;
    let mut connection = redis.connection().await;
    assert_eq!(connection.get::<_, Option<String>>("key").await.unwrap(), None);
}

#[tokio::test]
async fn redis_is_set_up_as_longshore_asks_and_freezes() {
    let redis = Redis::start().await;
    let mut connection = redis.connection().await;
    for (name, value) in [("appendonly", "yes"), ("appendfsync", "everysec"), ("maxmemory-policy", "noeviction")] {
        let set: Vec<String> = redis::cmd("CONFIG").arg(&["GET", name]).query_async(&mut connection).await.unwrap();
        assert_eq!(set, [name, value]);
    }
    redis.freeze();
    let ping = async { redis::cmd("PING").query_async::<String>(&mut connection).await };
    tokio::pin!(ping);
    let answered = tokio::time::timeout(Duration::from_millis(300), &mut ping).await;
    assert!(answered.is_err(), "a frozen store answered");
    redis.thaw();
    assert_eq!(within(SOON, "a thawed store answers", ping).await.unwrap(), "PONG");
}

#[tokio::test]
async fn services_end_with_their_owner_also_when_a_test_panics() {
    let redis = Redis::start().await;
    let rabbitmq = RabbitMq::start().await;
    let processes = [redis.pid(), rabbitmq.pid()];
    assert!(processes.iter().all(|pid| Path::new(&format!("/proc/{pid}")).exists()));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _owned = (redis, rabbitmq);
        panic!("a failing test");
    }));
    assert!(panicked.is_err());
    for pid in processes {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
    }
}

#[tokio::test]
async fn shared_services_answer_and_namespaces_keep_tests_apart() {
    let services = Shared::services().await;
    let (_connection, channel) = open(&services.broker_url).await;
    let queue = namespace("shared");
    declare_quorum(&channel, &queue).await;
    publish(&channel, &queue, "hello").await;
    assert_eq!(get(&channel, &queue).await, "hello");
    let client = redis::Client::open(services.store_url.as_str()).unwrap();
    let mut store = within(SOON, "connect", client.get_multiplexed_async_connection()).await.unwrap();
    let key = format!("{{{}.0}}:probe", namespace("shared"));
    assert_eq!(store.incr::<_, _, u64>(&key, 1).await.unwrap(), 1);
}
