//! Copies that rest. On a real broker these cases take as long as the shortest rest: half a minute.

use super::bench::{Bench, TOPIC, high, message, normal};
use crate::broker::{Letters, Target};
use longshore_model::names::Park;
use std::time::Duration;

/// The shortest rest and what a busy machine adds to it.
const REST: Duration = Duration::from_millis(Park::Short.ms() + 20_000);

pub async fn a_parked_copy_returns_after_its_time_and_not_before(bench: &Bench) {
    let mut session = bench.consume(TOPIC, 5).await;
    session.add(&high(TOPIC), 5).await.unwrap();
    let mut copy = message(Target::Parked(Park::Short, normal(TOPIC)), "a");
    copy.headers.parked = Some(Park::Short);
    let start = bench.a.world.clock.boot();
    bench.a.broker.publish(vec![copy.clone()]).await.remove(0).unwrap();
    bench.publish(&Target::Parked(Park::Short, high(TOPIC)), &["urgent"]).await;
    bench.quiet(&mut session).await;
    let next = bench.a.world.clock.timeout(REST, session.next()).await.expect("it should return");
    let crate::broker::Intake::Delivery(delivery) = next else { panic!("{next:?}") };
    let rested = bench.a.world.clock.boot() - start;
    assert!(rested >= Duration::from_millis(Park::Short.ms() - 100), "{rested:?}");
    assert_eq!((delivery.message_id.as_deref(), &delivery.lane), (Some("a"), &normal(TOPIC)));
    assert_eq!((delivery.headers, delivery.body), (copy.headers, copy.body));
    let urgent = bench.delivery(&mut session).await;
    assert_eq!((urgent.message_id.as_deref(), &urgent.lane), (Some("urgent"), &high(TOPIC)), "into its own lane");
}

pub async fn parked_copies_for_a_missing_lane_do_not_delay_the_others(bench: &Bench) {
    let mut session = bench.consume(TOPIC, 5).await;
    bench.a.broker.declare(&[normal("gone")]).await.unwrap();
    let lost: Vec<String> = (0..100).map(|n| format!("lost {n}")).collect();
    let lost: Vec<&str> = lost.iter().map(String::as_str).collect();
    bench.publish(&Target::Parked(Park::Short, normal("gone")), &lost).await;
    bench.publish(&Target::Parked(Park::Short, normal(TOPIC)), &["alive"]).await;
    bench.hooks.delete_lane(&normal("gone")).await;
    let next = bench.a.world.clock.timeout(REST, session.next()).await.expect("it should return in time");
    assert!(matches!(&next, crate::broker::Intake::Delivery(found) if found.message_id.as_deref() == Some("alive")));
    bench.eventually("none is lost", async || bench.hooks.letters(Letters::Unrouted).await.len() == 100).await;
}
