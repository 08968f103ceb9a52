//! What happens to consumer processes.

use super::super::field::Field;
use super::lease;
use std::time::Duration;

/// A consumer is killed and started again, at once or when others have taken over.
pub async fn kill(field: &mut Field, missed: bool) {
    let name = field.any();
    field.fault(if missed { "consumer killed, missed for a lease" } else { "consumer killed, started again" }, &name);
    kill_one(field, &name, missed).await;
}

async fn kill_one(field: &mut Field, name: &str, missed: bool) {
    field.kill(name);
    let gap = if missed { lease(field) * 3 / 2 } else { Duration::from_millis(field.random.below(500)) };
    field.wait(gap).await;
    field.launch(name);
    field.ready(name).await;
}

/// The consumer that does most of the duties is killed.
pub async fn kill_coordinator(field: &mut Field) {
    let view = field.producer.topology().await.ok();
    let leader = view.and_then(|view| {
        let owner = view.coordinator?;
        Some(view.instances.into_iter().find(|card| card.owner == owner)?.name)
    });
    let name = leader.filter(|name| field.ways.contains_key(name)).unwrap_or_else(|| field.any());
    field.fault("coordinator killed", &name);
    kill_one(field, &name, true).await;
}

/// A consumer drains and comes back.
pub async fn terminate(field: &mut Field) {
    let name = field.any();
    field.fault("consumer asked to end, started again", &name);
    field.terminate(&name).await;
    field.launch(&name);
    field.ready(&name).await;
}

/// A consumer stands still for a part of a lease.
pub async fn freeze(field: &mut Field, times: u32, parts: u32) {
    let name = field.any();
    let long = times > parts;
    field.fault(if long { "consumer frozen for three leases" } else { "consumer frozen for half a lease" }, &name);
    field.freeze(&name);
    field.wait(lease(field) * times / parts).await;
    field.thaw(&name);
}
