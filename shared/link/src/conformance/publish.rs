//! Where messages go, and that a confirm means responsibility.

use super::bench::{Bench, TOPIC, ids, message, normal};
use crate::broker::{Letters, Target};

pub async fn a_first_publish_makes_its_lane(bench: &Bench) {
    bench.publish(&Target::Jobs(normal(TOPIC)), &["a", "b"]).await;
    bench.depth(&normal(TOPIC), Some(2)).await;
}

pub async fn a_lane_that_nobody_made_has_no_depth(bench: &Bench) {
    assert_eq!(bench.a.broker.depth(&normal("no/body")).await.unwrap(), None);
}

pub async fn declaring_twice_is_declaring_once(bench: &Bench) {
    let lanes = [normal("a/b"), normal("c")];
    bench.a.broker.declare(&lanes).await.unwrap();
    bench.publish(&Target::Lane(normal("c")), &["x"]).await;
    bench.b.broker.declare(&lanes).await.unwrap();
    bench.depth(&normal("c"), Some(1)).await;
    bench.depth(&normal("a/b"), Some(0)).await;
}

pub async fn what_has_no_lane_is_unrouted_and_returns_with_its_lane(bench: &Bench) {
    for lane in [normal("gone"), normal("never")] {
        bench.a.broker.declare(std::slice::from_ref(&lane)).await.unwrap();
        bench.hooks.delete_lane(&lane).await;
    }
    bench.publish(&Target::Lane(normal("gone")), &["a", "b"]).await;
    bench.publish(&Target::Lane(normal("never")), &["c"]).await;
    let unrouted = async || bench.hooks.letters(Letters::Unrouted).await;
    bench.eventually("three letters", async || unrouted().await.len() == 3).await;
    bench.b.broker.declare(&[normal("gone")]).await.unwrap();
    bench.rerouted(2).await;
    bench.depth(&normal("gone"), Some(2)).await;
    bench.eventually("the other stays", async || unrouted().await.len() == 1).await;
    assert_eq!(unrouted().await[0].message_id, "c");
    let mut session = bench.consume("gone", 10).await;
    let deliveries = bench.deliveries(&mut session, 2).await;
    assert_eq!(ids(&deliveries), ["a", "b"]);
    assert_eq!(deliveries[0].body, message(Target::Dead, "a").body);
}

pub async fn quarantine_and_the_dead_keep_the_bytes_and_the_reason(bench: &Bench) {
    bench.a.broker.declare(&[normal(TOPIC)]).await.unwrap();
    for (target, place) in [(Target::Quarantine, Letters::Quarantine), (Target::Dead, Letters::Dead)] {
        let mut letter = message(target, "bad");
        letter.body = bytes::Bytes::from_static(b"\xff\x00 not json");
        letter.headers.reason = Some("it cannot be read".into());
        bench.a.broker.publish(vec![letter.clone()]).await.remove(0).unwrap();
        bench.eventually("the letter", async || !bench.hooks.letters(place).await.is_empty()).await;
        let found = bench.hooks.letters(place).await.remove(0);
        assert_eq!((found.message_id, found.body), (letter.message_id, letter.body));
        assert_eq!(found.reason.as_deref(), Some("it cannot be read"));
    }
}

pub async fn each_message_of_a_batch_is_answered(bench: &Bench) {
    let lanes = ["one", "two", "three"].map(normal);
    let messages = (0..300).map(|n| message(Target::Jobs(lanes[n % 3].clone()), &n.to_string())).collect();
    let answers = bench.a.broker.publish(messages).await;
    assert_eq!(answers.len(), 300);
    assert!(answers.iter().all(Result::is_ok));
    for lane in ["one", "two", "three"] {
        bench.depth(&normal(lane), Some(100)).await;
    }
    assert!(bench.a.broker.status().connected && bench.a.broker.status().blocked.is_none());
}
