//! High lanes: a topic's second lane, for urgent jobs. It is as every other one, and apart from the first.

use super::bench::{Bench, TOPIC, high, ids, message, normal, topic};
use crate::broker::{Copies, Intake, Letters, Target};
use longshore_model::lane::Lane;
use longshore_model::names::Park;

pub async fn q13_a_first_publish_makes_the_lane_of_urgent_jobs_and_no_other(bench: &Bench) {
    bench.publish(&Target::Jobs(high(TOPIC)), &["a", "b"]).await;
    bench.depth(&high(TOPIC), Some(2)).await;
    bench.depth(&normal(TOPIC), None).await;
    bench.publish(&Target::Jobs(normal("test/other")), &["c"]).await;
    bench.depth(&normal("test/other"), Some(1)).await;
    bench.depth(&high("test/other"), None).await;
}

pub async fn q13_both_lanes_of_a_topic_are_consumed_apart(bench: &Bench) {
    bench.publish(&Target::Jobs(normal(TOPIC)), &["a", "b"]).await;
    bench.publish(&Target::Jobs(high(TOPIC)), &["now"]).await;
    let mut session = bench.b.broker.consume().await.unwrap();
    session.add(&high(TOPIC), 5).await.unwrap();
    let urgent = bench.delivery(&mut session).await;
    assert_eq!((urgent.message_id.as_deref(), &urgent.lane), (Some("now"), &high(TOPIC)));
    bench.quiet(&mut session).await;
    session.add(&normal(TOPIC), 5).await.unwrap();
    let others = bench.deliveries(&mut session, 2).await;
    assert_eq!(ids(&others), ["a", "b"]);
    assert!(others.iter().all(|delivery| delivery.lane == normal(TOPIC)));
    let mut lanes = session.lanes();
    lanes.sort();
    assert_eq!(lanes, Lane::both(&topic(TOPIC)));
    session.remove(&normal(TOPIC)).await.unwrap();
    assert_eq!(session.lanes(), [high(TOPIC)]);
    others.iter().for_each(|delivery| session.settler().give_back(delivery.tag));
    bench.depth(&normal(TOPIC), Some(2)).await;
    bench.depth(&high(TOPIC), Some(0)).await;
    bench.publish(&Target::Lane(high(TOPIC)), &["next"]).await;
    let urgent = bench.delivery(&mut session).await;
    assert_eq!((urgent.message_id.as_deref(), &urgent.lane), (Some("next"), &high(TOPIC)));
}

pub async fn q13_a_deleted_high_lane_is_reported_and_the_other_lives(bench: &Bench) {
    let mut session = bench.consume(TOPIC, 5).await;
    session.add(&high(TOPIC), 5).await.unwrap();
    bench.hooks.delete_lane(&high(TOPIC)).await;
    let next = bench.within("the news", session.next()).await;
    assert!(matches!(&next, Intake::LaneLost { lane, .. } if *lane == high(TOPIC)), "{next:?}");
    assert_eq!(session.lanes(), [normal(TOPIC)]);
    session.add(&high(TOPIC), 5).await.unwrap();
    bench.publish(&Target::Lane(high(TOPIC)), &["a"]).await;
    assert_eq!(bench.delivery(&mut session).await.lane, high(TOPIC));
}

pub async fn q13_what_has_no_high_lane_is_unrouted_and_returns_with_it(bench: &Bench) {
    bench.a.broker.declare(&[normal("gone"), high("gone")]).await.unwrap();
    bench.hooks.delete_lane(&high("gone")).await;
    bench.publish(&Target::Lane(high("gone")), &["a"]).await;
    let count = async || bench.b.broker.count_letters(Letters::Unrouted).await.unwrap();
    bench.eventually("it is unrouted", async || count().await == 1).await;
    assert_eq!(bench.b.broker.reroute(10).await.unwrap(), 0, "the normal lane is not the one that was meant");
    bench.eventually("it is back", async || count().await == 1).await;
    let mut reading = bench.a.broker.read_letters(Letters::Unrouted).await.unwrap();
    assert_eq!(reading.next().await.unwrap().unwrap().lane, Some(high("gone")));
    reading.close().await.unwrap();
    bench.b.broker.declare(&[high("gone")]).await.unwrap();
    bench.rerouted(1).await;
    bench.depth(&high("gone"), Some(1)).await;
    bench.depth(&normal("gone"), Some(0)).await;
}

pub async fn q13_copies_tell_that_they_are_of_a_high_lane(bench: &Bench) {
    bench.a.broker.declare(&[high(TOPIC)]).await.unwrap();
    bench.publish(&Target::Parked(Park::Long, high(TOPIC)), &["a"]).await;
    bench.publish(&Target::Lane(high(TOPIC)), &["b"]).await;
    for place in [Copies::Parked(Park::Long), Copies::Lane(high(TOPIC))] {
        bench.copies(&place, 1).await;
        let mut reading = bench.a.broker.read_copies(&place).await.unwrap().unwrap();
        assert_eq!(reading.next().await.unwrap().unwrap().lane, Some(high(TOPIC)), "{place:?}");
        reading.close().await.unwrap();
    }
    assert!(bench.a.broker.read_copies(&Copies::Lane(normal(TOPIC))).await.unwrap().is_none());
}

pub async fn q13_erasing_a_topic_deletes_both_of_its_lanes(bench: &Bench) {
    for lane in Lane::both(&topic(TOPIC)) {
        bench.a.broker.publish(vec![message(Target::Jobs(lane), "a")]).await.remove(0).unwrap();
    }
    bench.a.broker.erase(&Lane::both(&topic(TOPIC))).await.unwrap();
    for lane in Lane::both(&topic(TOPIC)) {
        assert_eq!(bench.b.broker.depth(&lane).await.unwrap(), None);
    }
}
