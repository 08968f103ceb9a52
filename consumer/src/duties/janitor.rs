//! Janitor: drops jobs that were not started in time (T20), purges old history (T19), and moves letters that had
//! nowhere to go into lanes that exist now.

use super::pace;
use crate::engine::{Engine, Phase};
use longshore_link::store::Retention;
use std::sync::Arc;
use std::time::Duration;

/// Time between two rounds of the coordinator.
const PACE: Duration = Duration::from_secs(5);
/// Jobs in one call.
const LIMIT: usize = longshore_model::limits::BATCH;

/// Cleans up until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>, mut retention: Retention) {
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.link.world.clock.sleep(pace(&engine, PACE)) => {}
        }
        retention.queues = engine.policies.get().keeping();
        loop {
            match engine.link.store.purge(&retention, LIMIT).await {
                Ok(purged) if purged.more => {}
                Ok(_) => break,
                Err(fault) => {
                    tracing::debug!(%fault, "history could not be purged; trying again");
                    break;
                }
            }
        }
        match engine.link.broker.reroute(LIMIT).await {
            Ok(0) => {}
            Ok(moved) => tracing::info!(moved, "letters that had nowhere to go went into their lanes"),
            Err(fault) => tracing::debug!(%fault, "unrouted letters could not be looked at; trying again"),
        }
    }
}
