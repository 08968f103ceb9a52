//! RabbitMQ behind `Broker`: what it promises, held against a real node and its failures.
//!
//! One node serves all tests that only need a namespace of their own; those that stop, freeze, starve or reconfigure
//! the node start their own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests: a failed step is a failed test")]

use bytes::Bytes;
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use longshore_link::amqp::Amqp;
use longshore_link::broker::{Broker, Consumption, Delivery, Headers, Intake, Message, Target};
use longshore_link::error::Fault;
use longshore_link::world::World;
use longshore_model::envelope::Trace;
use longshore_model::id::{Fence, Generation};
use longshore_model::lane::Lane;
use longshore_model::names::{BrokerNames, Namespace, Park};
use longshore_model::secret::Secret;
use longshore_model::settings::{BrokerSettings, Settings};
use longshore_model::topic::Topic;
use longshore_tests::services::{RabbitMq, Shared, namespace};
use longshore_tests::wait::{eventually, eventually_ok, within};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// A namespace on a node, and a broker that speaks to it.
struct Bench {
    broker: Arc<dyn Broker>,
    names: BrokerNames,
    url: String,
}

impl Bench {
    async fn on(url: &str, test: &str) -> Self {
        Self::with(url, test, |_| {}).await
    }

    async fn with(url: &str, test: &str, change: impl FnOnce(&mut BrokerSettings)) -> Self {
        let ns = Namespace::new(&namespace(test)).unwrap();
        let mut settings = Settings::default().broker;
        settings.url = Secret::new(url);
        change(&mut settings);
        let broker = Amqp::connect(&settings, ns.clone(), World::system(), "test").await.unwrap();
        Self { broker, names: BrokerNames::new(ns), url: url.to_owned() }
    }

    /// A channel beside ours.
    async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }

    /// How many messages wait in a queue; none when it does not exist.
    async fn waiting(&self, queue: &str) -> Option<u32> {
        let (_connection, channel) = self.channel().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await.ok()?;
        Some(queue.message_count())
    }

    async fn wait_for(&self, queue: &str, count: u32) {
        eventually_ok(SOON, &format!("{count} messages in {queue}"), async || match self.waiting(queue).await {
            Some(found) if found == count => Ok(()),
            found => Err(found),
        })
        .await;
    }

    async fn delete(&self, queue: &str) {
        let (_connection, channel) = self.channel().await;
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    async fn publish(&self, target: Target, count: usize) {
        for answer in self.broker.publish(messages(&target, count)).await {
            answer.unwrap();
        }
    }
}

fn normal(text: &str) -> Lane {
    Topic::new(text).unwrap().into()
}

fn message(target: Target, id: &str) -> Message {
    let body = Bytes::from(format!("body of {id}"));
    Message { target, message_id: id.to_owned(), headers: Headers::default(), body }
}

fn messages(target: &Target, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(target.clone(), &format!("m-{n}"))).collect()
}

async fn delivery(consumption: &mut Box<dyn Consumption>) -> Delivery {
    match within(SOON, "a delivery", consumption.next()).await {
        Intake::Delivery(delivery) => delivery,
        other => panic!("not a delivery: {other:?}"),
    }
}

async fn deliveries(consumption: &mut Box<dyn Consumption>, count: usize) -> Vec<Delivery> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(delivery(consumption).await);
    }
    seen
}

#[tokio::test]
async fn a_message_arrives_as_it_was_sent() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "round-trip").await;
    let lane = normal("media/thumbnail");
    let headers = Headers {
        generation: Generation(7),
        enqueued: Some(1_763_719_000_123),
        fence: Fence(1_763_719_000_123_456),
        parked: Some(longshore_model::names::Park::Long),
        reason: Some("because".into()),
        trace: Some(Trace { traceparent: "00-0af7-b7ad-01".into(), tracestate: Some("a=b".into()) }),
    };
    let sent = Message {
        target: Target::Jobs(lane.clone()),
        message_id: "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00".into(),
        headers: headers.clone(),
        body: Bytes::from_static(b"{\"v\":1}"),
    };
    let to_lane = message(Target::Lane(lane.clone()), "second");
    let answers = bench.broker.publish(vec![sent.clone(), to_lane]).await;
    assert_eq!(answers, [Ok(()), Ok(())]);
    assert_eq!(bench.broker.depth(&lane).await.unwrap(), Some(2));
    assert_eq!(bench.broker.depth(&normal("never/declared")).await.unwrap(), None);

    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 10).await.unwrap();
    assert_eq!(consumption.lanes(), vec![lane.clone()]);
    let (first, second) = (delivery(&mut consumption).await, delivery(&mut consumption).await);
    assert_eq!((&first.lane, &first.headers, &first.body), (&lane, &headers, &sent.body));
    assert_eq!(first.message_id.as_deref(), Some(sent.message_id.as_str()));
    assert!(!first.redelivered);
    assert_eq!(second.headers, Headers::default());
    assert_ne!(first.nonce, second.nonce);

    let settler = consumption.settler();
    settler.ack(first.tag);
    settler.give_back(second.tag);
    let again = delivery(&mut consumption).await;
    assert_eq!(again.message_id.as_deref(), Some("second"));
    assert!(again.redelivered);
    assert_ne!(again.nonce, second.nonce);
    settler.ack(again.tag);
    consumption.close().await;
    assert!(!settler.is_live());
    bench.wait_for(&bench.names.lane(&lane), 0).await;
}

#[tokio::test]
async fn letters_of_people_have_their_queues() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "letters").await;
    bench.publish(Target::Quarantine, 2).await;
    bench.publish(Target::Dead, 3).await;
    assert_eq!(bench.waiting(&bench.names.quarantine()).await, Some(2));
    assert_eq!(bench.waiting(&bench.names.dead()).await, Some(3));
}

#[tokio::test]
async fn what_finds_no_lane_is_kept_and_comes_back_with_its_lane() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "unrouted").await;
    bench.broker.declare(&[]).await.unwrap();
    let (_connection, channel) = bench.channel().await;
    let (known, unknown) = (normal("known/later"), normal("never/known"));
    // As a client without the right to declare would: straight to the exchange.
    for (n, key) in
        [unknown.topic.dotted(), known.topic.dotted(), unknown.topic.dotted(), known.topic.dotted()].iter().enumerate()
    {
        let properties = BasicProperties::default().with_message_id(format!("m-{n}").into());
        let options = BasicPublishOptions::default();
        let publish = channel.basic_publish(bench.names.jobs().into(), key.as_str().into(), options, b"x", properties);
        assert!(publish.await.unwrap().await.unwrap().is_ack());
    }
    let unrouted = bench.names.unrouted();
    bench.wait_for(&unrouted, 4).await;
    assert_eq!(bench.broker.reroute(10).await.unwrap(), 0);
    bench.wait_for(&unrouted, 4).await;

    bench.broker.declare(std::slice::from_ref(&known)).await.unwrap();
    // One at a time: what cannot be moved must not hide what is behind it.
    let mut moved = 0;
    for _ in 0..8 {
        moved += bench.broker.reroute(1).await.unwrap();
    }
    assert_eq!(moved, 2);
    assert_eq!(bench.broker.depth(&known).await.unwrap(), Some(2));
    bench.wait_for(&unrouted, 2).await;

    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&known, 10).await.unwrap();
    let ids: BTreeSet<_> =
        deliveries(&mut consumption, 2).await.into_iter().map(|delivery| delivery.message_id.unwrap()).collect();
    assert_eq!(ids, BTreeSet::from(["m-1".to_owned(), "m-3".to_owned()]));
    consumption.close().await;
}

#[tokio::test]
async fn parked_copies_return_to_their_lane_past_those_of_a_deleted_one() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "parked").await;
    let (gone, live) = (normal("gone"), normal("live"));
    bench.broker.declare(&[gone.clone(), live.clone()]).await.unwrap();
    bench.publish(Target::Parked(Park::Short, gone.clone()), 100).await;
    let began = Instant::now();
    bench.publish(Target::Parked(Park::Short, live.clone()), 1).await;
    bench.delete(&bench.names.lane(&gone)).await;
    assert_eq!(bench.waiting(&bench.names.park(Park::Short)).await, Some(101));

    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&live, 10).await.unwrap();
    let rested = match within(Duration::from_secs(45), "the parked copy", consumption.next()).await {
        Intake::Delivery(delivery) => delivery,
        other => panic!("not a delivery: {other:?}"),
    };
    assert!(began.elapsed() >= Duration::from_secs(29), "it rested only {:?}", began.elapsed());
    assert_eq!(rested.body, Bytes::from_static(b"body of m-0"));
    consumption.settler().ack(rested.tag);
    // Those whose lane is gone are kept, too.
    bench.wait_for(&bench.names.unrouted(), 100).await;
    bench.broker.declare(std::slice::from_ref(&gone)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn confirms_belong_to_their_messages() {
    let node = RabbitMq::start().await;
    let bench = Bench::on(&node.url(), "confirms").await;
    let (full, open) = (normal("full"), normal("open"));
    bench.broker.declare(&[full.clone(), open.clone()]).await.unwrap();
    let pattern = format!("^{}$", bench.names.lane(&full).replace('.', "\\."));
    node.ctl(&["set_policy", "full", &pattern, r#"{"max-length":1}"#, "--apply-to", "queues"]).await;
    eventually(SOON, "the full lane refuses", async || {
        let answers = bench.broker.publish(messages(&Target::Lane(full.clone()), 20)).await;
        answers.iter().any(Result::is_err).then_some(())
    })
    .await;
    let before = bench.broker.depth(&full).await.unwrap().unwrap();

    let tasks = (0..400).map(|n| {
        let broker = Arc::clone(&bench.broker);
        let (full, open) = (full.clone(), open.clone());
        async move {
            let batch = (0..10).map(|m| {
                let target = if (n + m) % 3 == 0 { full.clone() } else { open.clone() };
                message(Target::Lane(target), &format!("{n}-{m}"))
            });
            let answers = broker.publish(batch.collect()).await;
            (n, answers)
        }
    });
    let handles: Vec<_> = tasks.map(|task| World::system().tasks.spawn(task)).collect();
    let mut taken = 0;
    for handle in handles {
        let (n, answers) = handle.await.unwrap();
        for (m, answer) in answers.into_iter().enumerate() {
            match (n + m) % 3 == 0 {
                true => assert!(matches!(answer, Err(Fault::Blocked { .. })), "{n}-{m}: {answer:?}"),
                false => {
                    assert_eq!(answer, Ok(()), "{n}-{m}");
                    taken += 1;
                }
            }
        }
    }
    assert_eq!(bench.broker.depth(&open).await.unwrap(), Some(taken));
    assert_eq!(bench.broker.depth(&full).await.unwrap(), Some(before));
}

#[tokio::test]
async fn acknowledgements_out_of_order_leave_nothing_and_lose_nothing() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "acks").await;
    let lane = normal("acks");
    bench.publish(Target::Jobs(lane.clone()), 1_000).await;
    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 300).await.unwrap();
    let settler = consumption.settler();
    let (mut held, mut kept) = (Vec::new(), HashSet::new());
    for n in 0..1_000_usize {
        let delivery = delivery(&mut consumption).await;
        if n % 100 == 37 {
            kept.insert(delivery.message_id.unwrap());
            continue;
        }
        held.push(delivery.tag);
        // Newest first, then every other one, some twice.
        if held.len() == 50 {
            held.reverse();
            let (one, two): (Vec<_>, Vec<_>) = held.drain(..).partition(|tag| tag.number % 2 == 0);
            for tag in one.iter().chain(&two).chain(&one[..3]) {
                settler.ack(*tag);
            }
        }
    }
    for tag in held.drain(..) {
        settler.ack(tag);
    }
    // A busy quorum queue takes acknowledgements late, and forgets those that it has not taken when the channel goes.
    // That as many more are delivered as the prefetch leaves beside the kept ones shows that it has taken them all.
    bench.publish(Target::Jobs(lane.clone()), 290).await;
    for more in deliveries(&mut consumption, 290).await {
        kept.insert(more.message_id.unwrap());
    }
    consumption.close().await;
    // A settler of a session that ended does nothing.
    settler.ack(longshore_link::broker::Tag { session: 1, channel: 1, number: 1 });
    bench.wait_for(&bench.names.lane(&lane), 300).await;

    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 300).await.unwrap();
    let again: HashSet<_> =
        deliveries(&mut consumption, 300).await.into_iter().map(|delivery| delivery.message_id.unwrap()).collect();
    assert_eq!(again, kept);
    consumption.close().await;
}

#[tokio::test]
async fn a_removed_lane_yields_what_was_delivered_and_can_be_added_again() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "remove").await;
    let lane = normal("remove");
    bench.publish(Target::Jobs(lane.clone()), 9).await;
    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 5).await.unwrap();
    let first = delivery(&mut consumption).await;
    consumption.remove(&lane).await.unwrap();
    assert_eq!(consumption.lanes(), []);
    let settler = consumption.settler();
    settler.ack(first.tag);
    let mut tags: Vec<_> = deliveries(&mut consumption, 4).await.into_iter().map(|delivery| delivery.tag).collect();
    settler.ack(tags.remove(0));
    for tag in tags {
        settler.give_back(tag);
    }
    bench.wait_for(&bench.names.lane(&lane), 7).await;
    consumption.add(&lane, 10).await.unwrap();
    consumption.add(&lane, 20).await.unwrap();
    for delivery in deliveries(&mut consumption, 7).await {
        settler.ack(delivery.tag);
    }
    consumption.close().await;
    bench.wait_for(&bench.names.lane(&lane), 0).await;
}

#[tokio::test]
async fn a_hundred_lanes_share_a_session() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "lanes").await;
    let lanes: Vec<_> = (0..100).map(|n| normal(&format!("many/lane{n}"))).collect();
    bench.broker.declare(&lanes).await.unwrap();
    let mut consumption = bench.broker.consume().await.unwrap();
    for lane in &lanes {
        consumption.add(lane, 2).await.unwrap();
    }
    assert_eq!(consumption.lanes().len(), 100);
    let batch = lanes.iter().map(|lane| message(Target::Jobs(lane.clone()), lane.topic.as_str())).collect();
    assert!(bench.broker.publish(batch).await.iter().all(Result::is_ok));
    let seen = deliveries(&mut consumption, 100).await;
    let channels: HashSet<_> = seen.iter().map(|delivery| delivery.tag.channel).collect();
    assert_eq!(channels.len(), 2);
    for delivery in seen {
        assert_eq!(delivery.message_id.as_deref(), Some(delivery.lane.topic.as_str()));
        consumption.settler().ack(delivery.tag);
    }
    consumption.close().await;
}

#[tokio::test]
async fn a_deleted_lane_costs_its_consumer_and_nothing_else() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "lane-lost").await;
    let (doomed, other) = (normal("doomed"), normal("other"));
    bench.publish(Target::Jobs(doomed.clone()), 1).await;
    let mut consumption = bench.broker.consume().await.unwrap();
    for lane in [&doomed, &other] {
        consumption.add(lane, 5).await.unwrap();
    }
    let orphan = delivery(&mut consumption).await;
    bench.delete(&bench.names.lane(&doomed)).await;
    match within(SOON, "the loss of a lane", consumption.next()).await {
        Intake::LaneLost { lane, .. } => assert_eq!(lane, doomed),
        other => panic!("{other:?}"),
    }
    assert_eq!(consumption.lanes(), vec![other.clone()]);
    // Its delivery is settled to no effect, and to no harm.
    consumption.settler().ack(orphan.tag);
    bench.publish(Target::Jobs(other.clone()), 1).await;
    let fine = delivery(&mut consumption).await;
    assert_eq!(fine.lane, other);
    consumption.settler().ack(fine.tag);
    // Whoever publishes or consumes next declares it again.
    consumption.add(&doomed, 5).await.unwrap();
    bench.publish(Target::Jobs(doomed.clone()), 1).await;
    let back = delivery(&mut consumption).await;
    assert_eq!(back.lane, doomed);
    consumption.settler().ack(back.tag);
    assert!(consumption.settler().is_live());
    consumption.close().await;
    bench.wait_for(&bench.names.lane(&other), 0).await;
    bench.wait_for(&bench.names.lane(&doomed), 0).await;
}

#[tokio::test]
async fn a_delivery_held_too_long_costs_its_channel_and_not_the_session() {
    let node = RabbitMq::start_with(&["consumer_timeout = 1000"]).await;
    let bench = Bench::on(&node.url(), "held").await;
    let lanes = [normal("held/one"), normal("held/two")];
    bench.publish(Target::Jobs(lanes[0].clone()), 1).await;
    let mut consumption = bench.broker.consume().await.unwrap();
    for lane in &lanes {
        consumption.add(lane, 5).await.unwrap();
    }
    let held = delivery(&mut consumption).await;
    let mut lost = Vec::new();
    for _ in 0..2 {
        // The broker looks once a minute.
        match within(Duration::from_secs(90), "the loss of a lane", consumption.next()).await {
            Intake::LaneLost { lane, why } => {
                assert!(why.contains("timed out") || why.contains("timeout"), "{why}");
                lost.push(lane);
            }
            other => panic!("{other:?}"),
        }
    }
    lost.sort();
    assert_eq!(lost, lanes);
    let settler = consumption.settler();
    assert!(settler.is_live());
    settler.ack(held.tag);
    consumption.add(&lanes[0], 5).await.unwrap();
    let again = delivery(&mut consumption).await;
    assert!(again.redelivered);
    assert_ne!(again.tag.channel, held.tag.channel);
    // The old number again, on purpose: it must not reach the new channel.
    settler.ack(held.tag);
    settler.ack(again.tag);
    consumption.close().await;
    bench.wait_for(&bench.names.lane(&lanes[0]), 0).await;
}

#[tokio::test]
async fn a_lost_connection_ends_the_session_and_the_next_one_gets_what_was_unsettled() {
    let mut node = RabbitMq::start().await;
    let bench = Bench::on(&node.url(), "ended").await;
    let lane = normal("ended");
    bench.publish(Target::Jobs(lane.clone()), 10).await;
    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 10).await.unwrap();
    let seen = deliveries(&mut consumption, 10).await;
    let settler = consumption.settler();
    for delivery in &seen[..4] {
        settler.ack(delivery.tag);
    }
    eventually(SOON, "four acknowledgements", async || {
        let out = node.ctl(&["list_queues", "name", "messages_unacknowledged"]).await;
        out.lines().any(|line| line == format!("{}\t6", bench.names.lane(&lane))).then_some(())
    })
    .await;
    node.close_all_connections().await;
    for _ in 0..2 {
        match within(SOON, "the end", consumption.next()).await {
            Intake::Ended { why } => assert!(why.contains("closed by a test"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(!settler.is_live());
    assert_eq!(consumption.lanes(), []);
    settler.ack(seen[5].tag);
    assert!(consumption.add(&lane, 10).await.is_err());

    let mut consumption = within(SOON, "a new session", bench.broker.consume()).await.unwrap();
    consumption.add(&lane, 10).await.unwrap();
    // Of another session, with numbers that are good in this one: dropped.
    for delivery in &seen {
        consumption.settler().ack(delivery.tag);
    }
    let again = deliveries(&mut consumption, 6).await;
    assert!(again.iter().all(|delivery| delivery.redelivered));
    // The publishing connection was lost as well and is back, or waited for.
    bench.publish(Target::Jobs(lane.clone()), 1).await;
    assert!(bench.broker.status().connected);
    consumption.close().await;
    bench.wait_for(&bench.names.lane(&lane), 7).await;

    // The same through a restart: at once an answer, and within seconds of the return all is well.
    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 10).await.unwrap();
    node.stop().await;
    assert!(matches!(within(SOON, "the end", consumption.next()).await, Intake::Delivery(_) | Intake::Ended { .. }));
    let began = Instant::now();
    let answers = bench.broker.publish(messages(&Target::Jobs(lane.clone()), 3)).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Fault::Unreachable { .. }))), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(!bench.broker.status().connected);
    node.resume().await;
    let began = Instant::now();
    eventually(SOON, "a publish", async || {
        bench.broker.publish(messages(&Target::Jobs(lane.clone()), 1)).await.remove(0).ok()
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 10).await.unwrap();
    drop(deliveries(&mut consumption, 8).await);
    consumption.close().await;
}

#[tokio::test]
async fn a_memory_alarm_refuses_publishes_and_lets_acknowledgements_through() {
    let node = RabbitMq::start().await;
    let bench = Bench::with(&node.url(), "alarm", |settings| settings.publish_timeout = Duration::from_secs(2)).await;
    let lane = normal("alarm");
    bench.publish(Target::Jobs(lane.clone()), 10).await;
    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 10).await.unwrap();
    let seen = deliveries(&mut consumption, 10).await;
    node.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await;

    // The first one finds out, at the latest at its deadline; from then on they are told at once and why.
    let began = Instant::now();
    let first = bench.broker.publish(messages(&Target::Jobs(lane.clone()), 1)).await.remove(0);
    assert!(matches!(first, Err(Fault::Unknown { .. } | Fault::Blocked { .. })), "{first:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    eventually(SOON, "the alarm is known", async || bench.broker.status().blocked).await;
    assert!(bench.broker.status().connected);
    let began = Instant::now();
    for answer in bench.broker.publish(messages(&Target::Jobs(lane.clone()), 50)).await {
        let Err(Fault::Blocked { detail, .. }) = answer else { panic!("{answer:?}") };
        assert!(detail.contains("memory"), "{detail}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    for delivery in seen {
        consumption.settler().ack(delivery.tag);
    }
    consumption.close().await;
    eventually(SOON, "everything acknowledged", async || {
        let out = node.ctl(&["list_queues", "name", "messages"]).await;
        out.lines().any(|line| line == format!("{}\t0", bench.names.lane(&lane))).then_some(())
    })
    .await;

    node.ctl(&["set_vm_memory_high_watermark", "0.6"]).await;
    eventually(SOON, "the alarm is over", async || bench.broker.status().blocked.is_none().then_some(())).await;
    bench.publish(Target::Jobs(lane.clone()), 1).await;
    // The one whose fate was unknown has arrived after all; none of the refused ones has.
    let expected = if first.unwrap_err().is_unknown() { 2 } else { 1 };
    bench.wait_for(&bench.names.lane(&lane), expected).await;
}

#[tokio::test]
async fn a_frozen_broker_makes_answers_unknown_and_connections_end() {
    let node = RabbitMq::start().await;
    let bench = Bench::with(&node.url(), "frozen", |settings| {
        settings.publish_timeout = Duration::from_secs(2);
        settings.heartbeat = Duration::from_secs(1);
    })
    .await;
    let lane = normal("frozen");
    bench.publish(Target::Jobs(lane.clone()), 1).await;
    let mut consumption = bench.broker.consume().await.unwrap();
    consumption.add(&lane, 10).await.unwrap();
    let held = delivery(&mut consumption).await;
    node.freeze();
    let began = Instant::now();
    let answers = bench.broker.publish(messages(&Target::Jobs(lane.clone()), 20)).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Fault::Unknown { .. }))), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    match within(SOON, "the end", consumption.next()).await {
        Intake::Ended { .. } => {}
        other => panic!("{other:?}"),
    }
    assert!(!consumption.settler().is_live());
    eventually(SOON, "the publisher noticed", async || (!bench.broker.status().connected).then_some(())).await;
    let answers = bench.broker.publish(messages(&Target::Jobs(lane.clone()), 1)).await;
    assert!(matches!(answers[0], Err(Fault::Unreachable { .. })), "{answers:?}");
    let began = Instant::now();
    assert!(bench.broker.consume().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());

    node.thaw();
    eventually(SOON, "a publish", async || {
        bench.broker.publish(messages(&Target::Jobs(lane.clone()), 1)).await.remove(0).ok()
    })
    .await;
    let mut consumption = eventually(SOON, "a session", async || bench.broker.consume().await.ok()).await;
    consumption.add(&lane, 100).await.unwrap();
    let again = eventually(SOON, "the held delivery again", async || {
        let delivery = delivery(&mut consumption).await;
        (delivery.nonce != held.nonce && delivery.redelivered).then_some(delivery)
    })
    .await;
    consumption.settler().ack(again.tag);
    consumption.close().await;
}

#[tokio::test]
async fn a_broker_that_reads_but_never_answers_is_given_up() {
    use longshore_tests::proxy::{Direction, Proxy};
    let services = Shared::services().await;
    let (proxy, url) = Proxy::before(&services.broker_url).await;
    let bench = Bench::with(&url, "swallow", |settings| settings.publish_timeout = Duration::from_secs(1)).await;
    let lane = normal("swallow");
    bench.publish(Target::Jobs(lane.clone()), 1).await;
    proxy.swallow(Direction::ToClient);
    let answers = bench.broker.publish(messages(&Target::Jobs(lane.clone()), 5)).await;
    assert!(answers.iter().all(|answer| matches!(answer, Err(Fault::Unknown { .. }))), "{answers:?}");
    // By our own deadline, long before two heartbeats.
    eventually(Duration::from_secs(3), "the connection is given up", async || {
        (!bench.broker.status().connected).then_some(())
    })
    .await;
    proxy.heal().await;
    eventually(SOON, "a publish", async || {
        bench.broker.publish(messages(&Target::Jobs(lane.clone()), 1)).await.remove(0).ok()
    })
    .await;
}

#[tokio::test]
async fn a_different_object_and_a_missing_right_are_refused_by_name() {
    let node = RabbitMq::start().await;
    let bench = Bench::on(&node.url(), "refused").await;
    let (odd, fine) = (normal("odd"), normal("fine"));
    let (_connection, channel) = bench.channel().await;
    let durable = QueueDeclareOptions::durable();
    channel.queue_declare(bench.names.lane(&odd).into(), durable, FieldTable::default()).await.unwrap();
    let Err(Fault::Refused { detail, .. }) = bench.broker.declare(&[fine.clone(), odd.clone()]).await else {
        panic!("a classic queue in place of a lane was accepted")
    };
    assert!(detail.contains(&bench.names.lane(&odd)) && detail.contains("namespace"), "{detail}");
    // The others are as they should be, and the odd one is no reason not to publish.
    bench.broker.declare(std::slice::from_ref(&fine)).await.unwrap();
    bench.publish(Target::Jobs(odd.clone()), 1).await;
    bench.wait_for(&bench.names.unrouted(), 1).await;

    // A producer that may write and nothing else, on a topology that somebody else declared.
    let prefix = bench.names.jobs().replace(".jobs", "");
    node.ctl(&["add_user", "producer", "hunter2"]).await;
    let write = format!("^{prefix}\\.(jobs|direct)$");
    node.ctl(&["set_permissions", "producer", "^$", &write, "^$"]).await;
    let url = node.url().replace(&format!("guest:{}", longshore_tests::services::PASSWORD), "producer:hunter2");
    let mut settings = Settings::default().broker;
    settings.url = Secret::new(&url);
    let ns = Namespace::new(&prefix).unwrap();
    let poor = Amqp::connect(&settings, ns, World::system(), "test").await.unwrap();
    poor.declare(std::slice::from_ref(&fine)).await.unwrap();
    assert_eq!(poor.publish(vec![message(Target::Jobs(fine.clone()), "a")]).await, [Ok(())]);
    let new = normal("brand/new");
    let Err(Fault::Refused { detail, .. }) = poor.declare(std::slice::from_ref(&new)).await else {
        panic!("declared without the right")
    };
    assert!(detail.contains(&bench.names.lane(&new)) && detail.contains("configure"), "{detail}");
    assert_eq!(poor.publish(vec![message(Target::Jobs(new), "b")]).await, [Ok(())]);
    bench.wait_for(&bench.names.unrouted(), 2).await;
    let answers = poor.publish(vec![message(Target::Quarantine, "c")]).await;
    let Err(Fault::Refused { detail, .. }) = &answers[0] else { panic!("{answers:?}") };
    assert!(detail.contains(&bench.names.quarantine()) && detail.contains("write"), "{detail}");
    // The channel that it cost is replaced.
    assert_eq!(poor.publish(vec![message(Target::Jobs(fine), "d")]).await, [Ok(())]);

    // No way in: said so, without the password.
    for (wrong, said) in [
        (node.url().replace(&format!("guest:{}", longshore_tests::services::PASSWORD), "producer:hunter3"), "password"),
        (node.url().replace("%2f", "nowhere"), "virtual host"),
        ("producer:hunter3@127.0.0.1".to_owned(), "expected amqp://"),
    ] {
        settings.url = Secret::new(&wrong);
        let began = Instant::now();
        let fault = Amqp::connect(&settings, Namespace::default(), World::system(), "test").await.unwrap_err();
        assert!(matches!(fault, Fault::Refused { .. }), "{fault:?}");
        assert!(fault.to_string().contains(said) && !fault.to_string().contains("hunter3"), "{fault}");
        assert!(began.elapsed() < Duration::from_secs(4));
    }
    settings.url = Secret::new("amqp://guest:guest@127.0.0.1:1/%2f");
    settings.connect_timeout = Duration::from_secs(1);
    let fault = Amqp::connect(&settings, Namespace::default(), World::system(), "test").await.unwrap_err();
    assert!(matches!(fault, Fault::Unreachable { .. }), "{fault:?}");
}

#[tokio::test]
async fn the_topology_is_what_the_names_say() {
    let node = RabbitMq::start().await;
    let bench = Bench::on(&node.url(), "topology").await;
    let lane = normal("a/b");
    bench.broker.declare(std::slice::from_ref(&lane)).await.unwrap();
    bench.broker.declare(std::slice::from_ref(&lane)).await.unwrap();
    let queues = node.ctl(&["list_queues", "name", "type", "durable", "arguments"]).await;
    let line = |name: &str| {
        let start = format!("{name}\tquorum\ttrue\t");
        queues.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{name} in {queues}")).to_owned()
    };
    let lane_line = line(&bench.names.lane(&lane));
    let dead = format!("{{\"x-dead-letter-exchange\",\"{}\"}}", bench.names.dead());
    for part in [dead.as_str(), "at-least-once", "reject-publish", "x-delivery-limit"] {
        assert!(lane_line.contains(part), "{part} in {lane_line}");
    }
    assert!(!lane_line.contains("x-max-length"));
    for park in Park::ALL {
        let park_line = line(&bench.names.park(park));
        let direct = format!("{{\"x-dead-letter-exchange\",\"{}\"}}", bench.names.direct());
        let ttl = format!("{{\"x-message-ttl\",{}}}", park.ms());
        for part in [direct.as_str(), ttl.as_str(), "at-least-once", "reject-publish"] {
            assert!(park_line.contains(part), "{part} in {park_line}");
        }
        assert!(!park_line.contains("x-dead-letter-routing-key"));
    }
    for letters in [bench.names.unrouted(), bench.names.dead()] {
        assert!(!line(&letters).contains("x-max-length"));
    }
    let quarantine = line(&bench.names.quarantine());
    for part in ["x-max-length-bytes", "reject-publish"] {
        assert!(quarantine.contains(part), "{part} in {quarantine}");
    }
    let exchanges = node.ctl(&["list_exchanges", "name", "type", "durable", "arguments"]).await;
    for (name, kind) in [(bench.names.jobs(), "topic"), (bench.names.direct(), "direct")] {
        let alternate = format!("{name}\t{kind}\ttrue\t[{{\"alternate-exchange\",\"{}\"}}]", bench.names.unrouted());
        assert!(exchanges.contains(&alternate), "{alternate} in {exchanges}");
    }
    let bindings = node.ctl(&["list_bindings", "source_name", "destination_name", "routing_key"]).await;
    let queue = bench.names.lane(&lane);
    for binding in
        [format!("{}\t{queue}\ta.b", bench.names.jobs()), format!("{}\t{queue}\t{queue}", bench.names.direct())]
    {
        assert!(bindings.lines().any(|line| line == binding), "{binding} in {bindings}");
    }
    let connections = node.ctl(&["list_connections", "client_properties", "timeout"]).await;
    assert!(connections.contains("longshore test "), "{connections}");
    assert!(connections.trim_end().lines().any(|line| line.ends_with("\t5")), "{connections}");
}

#[tokio::test]
async fn many_publish_the_first_message_of_a_topic_at_once() {
    let services = Shared::services().await;
    let bench = Bench::on(&services.broker_url, "first").await;
    let answers = join_all((0..50).map(|n| {
        let target = Target::Jobs(normal(&format!("first/{}", n % 5)));
        bench.broker.publish(messages(&target, 2))
    }))
    .await;
    assert!(answers.into_iter().flatten().all(|answer| answer.is_ok()));
    for n in 0..5 {
        assert_eq!(bench.broker.depth(&normal(&format!("first/{n}"))).await.unwrap(), Some(20));
    }
    assert_eq!(bench.waiting(&bench.names.unrouted()).await, Some(0));
}
