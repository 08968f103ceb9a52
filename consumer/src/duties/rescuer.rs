//! Rescuer: takes back the jobs of whoever went away (T12).
//!
//! Any instance that learns of an expired lease acts at once, coordinator or not: every beat's answer
//! says whether there are any. A first crash is published here and now, and run here if there is a slot: in its
//! lane it would wait behind all that was sent since. Later ones wait their back-off in the outbox. The store
//! refuses during an amnesty.

use super::pace;
use crate::engine::{Engine, Phase};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks of the coordinator without being told: beats are further apart than a takeover may wait.
const PACE: Duration = Duration::from_millis(500);
/// Jobs in one call.
const LIMIT: usize = longshore_model::limits::BATCH;

/// Rescues until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        let more = match engine.link.store.rescue(LIMIT, longshore_model::span::ms(engine.lease.beat)).await {
            Ok(moved) => {
                let (runnable, ended) = (moved.runnable.len(), moved.ended);
                if runnable > 0 || ended > 0 {
                    tracing::warn!(runnable, ended, "jobs of an instance that went away were taken back");
                    engine.metrics.rescued(runnable, ended);
                }
                // Only what has a copy in the broker is run here: a store that is wiped meanwhile must find it again.
                if engine.publish_outgoing(moved.runnable.clone()).await == runnable {
                    engine.run_here(moved.runnable);
                }
                moved.more
            }
            Err(fault) => {
                tracing::debug!(%fault, "expired leases could not be looked at; trying again");
                false
            }
        };
        if more {
            continue;
        }
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.rescue_now.notified() => {}
            () = engine.link.world.clock.sleep(pace(&engine, PACE)) => {}
        }
    }
}
