//! What a session of consuming gets, and what becomes of what it does not settle.

use super::bench::{Bench, TOPIC, ids, message, normal};
use crate::broker::{Consumption, Delivery, Headers, Intake, Target};
use longshore_model::envelope::Trace;
use longshore_model::id::{Fence, Generation};

async fn publish(bench: &Bench, names: &[&str]) {
    bench.publish(&Target::Jobs(normal(TOPIC)), names).await;
}

fn ack(session: &dyn Consumption, deliveries: &[Delivery]) {
    deliveries.iter().for_each(|delivery| session.settler().ack(delivery.tag));
}

pub async fn messages_arrive_in_order_as_they_were_sent(bench: &Bench) {
    let mut first = message(Target::Jobs(normal(TOPIC)), "first");
    first.headers = Headers {
        generation: Generation(7),
        enqueued: Some(1_767_225_600_123),
        fence: Fence(1_767_225_600_123_456),
        parked: Some(longshore_model::names::Park::Long),
        reason: Some("for a test".into()),
        trace: Some(Trace { traceparent: "00-ab-cd-01".into(), tracestate: Some("v=1".into()) }),
    };
    bench.a.broker.publish(vec![first.clone()]).await.remove(0).unwrap();
    publish(bench, &["b", "c", "d"]).await;
    let mut session = bench.consume(TOPIC, 10).await;
    let deliveries = bench.deliveries(&mut session, 4).await;
    assert_eq!(ids(&deliveries), ["first", "b", "c", "d"]);
    assert_eq!((&deliveries[0].headers, &deliveries[0].body), (&first.headers, &first.body));
    assert_eq!(deliveries[1].headers, Headers::default());
    assert!(deliveries.iter().all(|delivery| delivery.lane == normal(TOPIC) && !delivery.redelivered));
}

pub async fn an_acknowledged_message_is_gone(bench: &Bench) {
    publish(bench, &["a", "b"]).await;
    let mut session = bench.consume(TOPIC, 10).await;
    let deliveries = bench.deliveries(&mut session, 2).await;
    ack(session.as_ref(), &deliveries[..1]);
    // What was settled before the close stays settled.
    session.close().await;
    bench.depth(&normal(TOPIC), Some(1)).await;
    let mut again = bench.consume(TOPIC, 10).await;
    assert_eq!(bench.delivery(&mut again).await.message_id.as_deref(), Some("b"));
}

pub async fn prefetch_is_a_limit(bench: &Bench) {
    publish(bench, &["a", "b", "c", "d"]).await;
    let mut session = bench.consume(TOPIC, 2).await;
    let deliveries = bench.deliveries(&mut session, 2).await;
    bench.quiet(&mut session).await;
    ack(session.as_ref(), &deliveries[..1]);
    assert_eq!(bench.delivery(&mut session).await.message_id.as_deref(), Some("c"));
    bench.quiet(&mut session).await;
}

pub async fn a_closed_session_gives_back_in_order(bench: &Bench) {
    publish(bench, &["a", "b", "c", "d"]).await;
    let mut session = bench.consume(TOPIC, 3).await;
    let first = bench.deliveries(&mut session, 3).await;
    session.close().await;
    bench.depth(&normal(TOPIC), Some(4)).await;
    let mut again = bench.consume(TOPIC, 10).await;
    let second = bench.deliveries(&mut again, 4).await;
    assert_eq!(ids(&second), ["a", "b", "c", "d"]);
    assert_eq!(second.iter().map(|found| found.redelivered).collect::<Vec<_>>(), [true, true, true, false]);
    assert!(first.iter().all(|old| second.iter().all(|new| old.nonce != new.nonce)), "a delivery is a new one");
}

pub async fn a_removed_lane_delivers_nothing_more(bench: &Bench) {
    publish(bench, &["a"]).await;
    let mut session = bench.consume(TOPIC, 5).await;
    let held = bench.delivery(&mut session).await;
    session.remove(&normal(TOPIC)).await.unwrap();
    assert!(session.lanes().is_empty());
    publish(bench, &["b"]).await;
    bench.quiet(&mut session).await;
    session.settler().ack(held.tag);
    bench.depth(&normal(TOPIC), Some(1)).await;
}

pub async fn given_back_after_removal_goes_to_another(bench: &Bench) {
    publish(bench, &["a"]).await;
    let mut session = bench.consume(TOPIC, 5).await;
    let held = bench.delivery(&mut session).await;
    session.remove(&normal(TOPIC)).await.unwrap();
    session.settler().give_back(held.tag);
    let mut other = bench.consume(TOPIC, 5).await;
    let again = bench.delivery(&mut other).await;
    assert_eq!((again.message_id.as_deref(), again.redelivered), (Some("a"), true));
    bench.quiet(&mut session).await;
}

pub async fn two_sessions_share_a_lane(bench: &Bench) {
    let (mut one, mut two) = (bench.consume(TOPIC, 3).await, bench.consume(TOPIC, 3).await);
    let names: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    publish(bench, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut found = Vec::new();
    for session in [&mut one, &mut two] {
        found.extend(bench.deliveries(session, 3).await.into_iter().filter_map(|delivery| delivery.message_id));
    }
    found.sort();
    assert_eq!(found, names, "each has as many as it may, and none is with both");
}

pub async fn another_sessions_settler_changes_nothing(bench: &Bench) {
    publish(bench, &["a"]).await;
    let (mut one, two) = (bench.consume(TOPIC, 5).await, bench.consume("test/other", 5).await);
    let held = bench.delivery(&mut one).await;
    two.settler().ack(held.tag);
    two.settler().give_back(held.tag);
    bench.sleep(100).await;
    one.close().await;
    bench.depth(&normal(TOPIC), Some(1)).await;
}

pub async fn a_closed_session_says_so(bench: &Bench) {
    publish(bench, &["a"]).await;
    let mut session = bench.consume(TOPIC, 5).await;
    let (settler, held) = (session.settler(), bench.delivery(&mut session).await);
    assert!(settler.is_live());
    assert_eq!(session.lanes(), [normal(TOPIC)]);
    session.close().await;
    assert!(!settler.is_live());
    settler.ack(held.tag);
    for _ in 0..2 {
        let next = bench.within("the end", session.next()).await;
        assert!(matches!(next, Intake::Ended { .. }), "{next:?}");
    }
    bench.depth(&normal(TOPIC), Some(1)).await;
}

pub async fn a_deleted_lane_is_reported_and_can_be_consumed_again(bench: &Bench) {
    let mut session = bench.consume(TOPIC, 5).await;
    session.add(&normal("test/other"), 5).await.unwrap();
    bench.hooks.delete_lane(&normal(TOPIC)).await;
    let next = bench.within("the news", session.next()).await;
    assert!(matches!(&next, Intake::LaneLost { lane, .. } if *lane == normal(TOPIC)), "{next:?}");
    assert_eq!(session.lanes(), [normal("test/other")]);
    bench.publish(&Target::Lane(normal("test/other")), &["a"]).await;
    assert_eq!(bench.delivery(&mut session).await.message_id.as_deref(), Some("a"), "the session lives");
    session.add(&normal(TOPIC), 5).await.unwrap();
    bench.publish(&Target::Lane(normal(TOPIC)), &["b"]).await;
    assert_eq!(bench.delivery(&mut session).await.message_id.as_deref(), Some("b"));
}

pub async fn one_session_consumes_many_lanes(bench: &Bench) {
    let lanes: Vec<String> = (0..12).map(|n| format!("lane/l{n:02}")).collect();
    let mut session = bench.b.broker.consume().await.unwrap();
    for lane in &lanes {
        session.add(&normal(lane), 2).await.unwrap();
    }
    let mut consumed = session.lanes();
    consumed.sort();
    assert_eq!(consumed, lanes.iter().map(|lane| normal(lane)).collect::<Vec<_>>());
    for lane in &lanes {
        bench.publish(&Target::Lane(normal(lane)), &[lane]).await;
    }
    let deliveries = bench.deliveries(&mut session, lanes.len()).await;
    let mut found = Vec::new();
    for delivery in &deliveries {
        assert_eq!(delivery.message_id.as_deref(), Some(delivery.lane.topic.as_str()));
        found.push(delivery.lane.topic.as_str());
    }
    found.sort_unstable();
    assert_eq!(found, lanes);
}
