//! What other people's programs put into our lanes.

use bytes::Bytes;
use longshore_link::broker::{Headers, Message, Target};
use longshore_model::lane::Lane;
use longshore_producer::Topic;

use super::{Fleet, Runs};

const TOPIC: &str = "test/trouble";

/// Bytes that are no JSON, JSON that is no envelope, an envelope that belongs elsewhere, one from the future.
pub async fn garbage_on_a_lane_is_quarantined_and_harms_nobody(fleet: &Fleet) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let lane: Lane = TOPIC.parse::<Topic>().unwrap().into();
    let elsewhere = fleet.send_to("test/elsewhere").await;
    let snapshot = fleet.producer().link().store.load(vec![elsewhere.id]).await.unwrap().remove(0).unwrap();
    let misplaced = Bytes::from(snapshot.envelope);
    let garbage = [
        (Bytes::from_static(b"\xff\xfe no JSON"), ""),
        (Bytes::from_static(b""), ""),
        (Bytes::from_static(b"[1, 2, 3]"), ""),
        (Bytes::from_static(br#"{"v": 99}"#), "99"),
        (misplaced, "lane"),
    ];
    let messages = garbage.iter().map(|(body, _)| Message {
        target: Target::Lane(lane.clone()),
        message_id: "not one of ours".into(),
        headers: Headers::default(),
        body: body.clone(),
    });
    for confirm in fleet.producer().link().broker.publish(messages.collect()).await {
        confirm.unwrap();
    }
    // The next good job is not held up, and the consumer lives.
    let good = fleet.send_to(TOPIC).await;
    assert!(fleet.end(&good).await.is_success());
    let found = fleet.quarantined(garbage.len()).await;
    assert_eq!(found.len(), garbage.len());
    for (body, word) in &garbage {
        let (_, reason) = found.iter().find(|(other, _)| other == body).unwrap();
        assert!(!reason.is_empty() && reason.contains(word), "`{reason}` does not say `{word}`");
    }
    assert!(running.is_ready());
    assert_eq!(runs.all().iter().map(|run| run.id).collect::<Vec<_>>(), [good.id]);
    assert!(running.metrics().contains("quarantined"), "it is counted");
    running.drain().await;
}
