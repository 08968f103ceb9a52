//! The audit record: who changed what.

use longshore_producer::{LimitPolicy, Pausable, Producer, ProducerOptions};

use super::Fleet;

/// What a person changes is recorded, with counts that add up; what an application does by itself is not.
pub async fn n04_what_an_operator_does_is_recorded_and_what_an_application_does_is_not(fleet: &Fleet) {
    let plain = Producer::connect_with(fleet.link().await, ProducerOptions::default());
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(plain.raw("test/audit", "{}").send().await.unwrap().id);
    }
    plain.set_limit("own", &LimitPolicy { max: Some(1), ..LimitPolicy::default() }).await.unwrap();
    plain.stop([ids[0]], "the application").await.unwrap();
    assert_eq!(plain.audited(10).await.unwrap(), []);
    let operator = plain.on_behalf_of("ann@console", "clean up");
    let queue: Pausable = "queue:main".parse().unwrap();
    operator.pause(&queue, "ann", "disk full", None).await.unwrap();
    for id in &ids {
        operator.remove([*id]).await.unwrap();
    }
    operator.resume(&queue).await.unwrap();
    let found = fleet.producer().audited(10).await.unwrap();
    let deeds: Vec<_> = found.iter().map(|entry| (entry.deed.action.as_str(), entry.deed.of.as_str())).collect();
    assert_eq!(deeds, [("resume", "queue:main"), ("job remove", ""), ("pause", "queue:main")]);
    assert_eq!(found[1].deed.counts, [("dropped".to_owned(), 2), ("purged".to_owned(), 1)].into());
    assert!(
        found.iter().all(|entry| (entry.deed.who.as_str(), entry.deed.plan.as_str()) == ("ann@console", "clean up"))
    );
    assert!(found.iter().all(|entry| entry.at > 0 && entry.at <= entry.until));
}
