//! Lanes of sites in the broker: they are as every other one, apart from all others, and can be taken away.

use super::bench::{Bench, TOPIC, at, ids, message, normal};
use crate::broker::{Copies, Intake, Letters, Target};
use longshore_model::lane::Lane;
use longshore_model::names::Park;

const SITE: &str = "prefer_label:zone=a.b %";

fn lane() -> Lane {
    at(TOPIC, SITE)
}

/// A broker may take a moment to count.
async fn depth(bench: &Bench, lane: &Lane, expected: Option<u64>) {
    let what = format!("{expected:?} messages in {lane}");
    bench.eventually(&what, async || bench.b.broker.depth(lane).await.unwrap() == expected).await;
}

pub async fn p03_a_first_publish_makes_the_lane_of_a_site_and_no_other(bench: &Bench) {
    let [placed, urgent] = lane().pair();
    bench.publish(&Target::Jobs(placed.clone()), &["a", "b"]).await;
    bench.publish(&Target::Jobs(urgent.clone()), &["c"]).await;
    depth(bench, &placed, Some(2)).await;
    depth(bench, &urgent, Some(1)).await;
    for other in [normal(TOPIC), Lane { high: true, ..normal(TOPIC) }, at(TOPIC, "leader")] {
        depth(bench, &other, None).await;
    }
    bench.publish(&Target::Jobs(normal(TOPIC)), &["d"]).await;
    depth(bench, &normal(TOPIC), Some(1)).await;
    let mut session = bench.b.broker.consume().await.unwrap();
    session.add(&placed, 10).await.unwrap();
    let deliveries = bench.deliveries(&mut session, 2).await;
    assert_eq!((ids(&deliveries), &deliveries[0].lane), (vec!["a", "b"], &placed));
    bench.quiet(&mut session).await;
}

pub async fn p03_what_has_no_lane_of_its_site_is_unrouted_and_returns_with_it(bench: &Bench) {
    bench.a.broker.declare(&[normal(TOPIC)]).await.unwrap();
    bench.publish(&Target::Lane(lane()), &["a"]).await;
    let count = async || bench.b.broker.count_letters(Letters::Unrouted).await.unwrap();
    bench.eventually("it is unrouted", async || count().await == 1).await;
    assert_eq!(bench.a.broker.reroute(10).await.unwrap(), 0);
    bench.a.broker.declare(&[lane()]).await.unwrap();
    assert_eq!(bench.a.broker.reroute(10).await.unwrap(), 1);
    depth(bench, &lane(), Some(1)).await;
    depth(bench, &normal(TOPIC), Some(0)).await;
}

pub async fn p03_copies_tell_of_which_site_their_lane_is(bench: &Bench) {
    bench.a.broker.declare(&[lane()]).await.unwrap();
    bench.publish(&Target::Parked(Park::Long, lane()), &["a"]).await;
    bench.publish(&Target::Lane(lane()), &["b"]).await;
    for place in [Copies::Parked(Park::Long), Copies::Lane(lane())] {
        let count = async || bench.b.broker.count_copies(&place).await.unwrap();
        bench.eventually("the copy lies there", async || count().await == Some(1)).await;
        let mut reading = bench.a.broker.read_copies(&place).await.unwrap().unwrap();
        assert_eq!(reading.next().await.unwrap().unwrap().lane, Some(lane()), "{place:?}");
        reading.close().await.unwrap();
    }
}

pub async fn p03_a_lane_is_taken_away_and_made_again(bench: &Bench) {
    bench.publish(&Target::Jobs(lane()), &["a"]).await;
    bench.publish(&Target::Jobs(normal(TOPIC)), &["b"]).await;
    let mut session = bench.b.broker.consume().await.unwrap();
    session.add(&lane(), 10).await.unwrap();
    bench.deliveries(&mut session, 1).await;
    bench.a.broker.remove(&[lane(), at(TOPIC, "leader")]).await.unwrap();
    match bench.within("the lane is lost", session.next()).await {
        Intake::LaneLost { lane: lost, .. } => assert_eq!(lost, lane()),
        other => panic!("expected a lost lane: {other:?}"),
    }
    depth(bench, &lane(), None).await;
    depth(bench, &normal(TOPIC), Some(1)).await;
    bench.a.broker.remove(&[lane()]).await.unwrap();
    // Whoever took it away makes it again with the next publish.
    assert_eq!(bench.a.broker.publish(vec![message(Target::Jobs(lane()), "c")]).await, [Ok(())]);
    depth(bench, &lane(), Some(1)).await;
}
