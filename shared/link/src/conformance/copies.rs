//! Copies: they are read without being taken.

use super::bench::{Bench, TOPIC, ids, message, normal, topic};
use crate::broker::{Copies, Target};
use crate::letters::{Letter, Reading};
use longshore_model::names::Park;

async fn read(bench: &Bench, place: &Copies) -> (Box<dyn Reading>, Vec<Letter>) {
    let mut reading = bench.a.broker.read_copies(place).await.unwrap().unwrap();
    let mut copies = Vec::new();
    while let Some(copy) = reading.next().await.unwrap() {
        copies.push(copy);
    }
    (reading, copies)
}

fn names(copies: &[Letter]) -> Vec<&str> {
    copies.iter().filter_map(|copy| copy.message_id.as_deref()).collect()
}

pub async fn copies_in_a_lane_are_read_in_order_and_go_back(bench: &Bench) {
    let lane = Copies::Lane(normal(TOPIC));
    bench.publish(&Target::Jobs(normal(TOPIC)), &["a", "b", "c"]).await;
    bench.copies(&lane, 3).await;
    let (mut reading, copies) = read(bench, &lane).await;
    assert_eq!(names(&copies), ["a", "b", "c"]);
    assert!(copies.iter().all(|copy| copy.lane == Some(normal(TOPIC)) && copy.evicted.is_none()), "{copies:?}");
    // Nobody else gets them meanwhile.
    let mut session = bench.consume(TOPIC, 10).await;
    bench.quiet(&mut session).await;
    assert!(reading.next().await.unwrap().is_none());
    reading.close().await.unwrap();
    let deliveries = bench.deliveries(&mut session, 3).await;
    assert_eq!(ids(&deliveries), ["a", "b", "c"]);
}

pub async fn a_copy_at_rest_tells_its_lane_and_goes_back(bench: &Bench) {
    let place = Copies::Parked(Park::Long);
    bench.a.broker.declare(&[normal(TOPIC)]).await.unwrap();
    bench.publish(&Target::Parked(Park::Long, normal(TOPIC)), &["a"]).await;
    bench.copies(&place, 1).await;
    for _ in 0..2 {
        let (reading, copies) = read(bench, &place).await;
        assert_eq!((names(&copies), copies[0].lane.clone()), (vec!["a"], Some(normal(TOPIC))));
        reading.close().await.unwrap();
        bench.copies(&place, 1).await;
    }
    bench.copies(&Copies::Parked(Park::Short), 0).await;
}

pub async fn a_lane_that_is_not_there_has_no_copies(bench: &Bench) {
    let lane = Copies::Lane(normal("never/declared"));
    assert!(bench.a.broker.read_copies(&lane).await.unwrap().is_none());
    assert_eq!(bench.a.broker.count_copies(&lane).await.unwrap(), None);
    assert_eq!(bench.a.broker.count_copies(&Copies::Journal).await.unwrap(), None);
}

pub async fn the_journal_keeps_what_is_read(bench: &Bench) {
    let entry = |id: &str, start| message(Target::Journal(topic(TOPIC), start), id);
    for answer in bench.a.broker.publish(vec![entry("a", 5), entry("b", 6)]).await {
        answer.unwrap();
    }
    for _ in 0..2 {
        let (mut reading, copies) = read(bench, &Copies::Journal).await;
        let marks = copies.iter().filter(|copy| copy.body.is_empty()).count();
        let entries: Vec<_> = copies.into_iter().filter(|copy| !copy.body.is_empty()).collect();
        assert_eq!(names(&entries), ["a", "b"], "beside {marks} marks of earlier readings");
        assert_eq!(entries.iter().map(|entry| entry.start).collect::<Vec<_>>(), [Some(5), Some(6)]);
        assert_eq!(entries[0].body, entry("a", 5).body);
        reading.remove(1).await.unwrap_err();
        reading.close().await.unwrap();
    }
}
