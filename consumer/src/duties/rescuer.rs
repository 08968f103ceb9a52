//! Rescuer: takes back the jobs of whoever went away (T12).
//!
//! Any instance that learns of an expired lease acts at once, coordinator or not: every beat's answer
//! says whether there are any. A first crash is published here and now; later ones wait their back-off
//! in the outbox. The store refuses during an amnesty.

use crate::engine::{Engine, Phase};
use std::sync::Arc;
use std::time::Duration;

/// A look without being told, for the time when no beat is answered.
const PACE: Duration = Duration::from_secs(5);
/// Jobs in one call.
const LIMIT: usize = longshore_model::limits::BATCH;

/// Rescues until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        let more = match engine.link.store.rescue(LIMIT).await {
            Ok(moved) => {
                let (runnable, ended) = (moved.runnable.len(), moved.ended);
                if runnable > 0 || ended > 0 {
                    tracing::warn!(runnable, ended, "jobs of an instance that went away were taken back");
                    engine.metrics.rescued(runnable, ended);
                }
                engine.publish_outgoing(moved.runnable).await;
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
            () = engine.link.world.clock.sleep(PACE) => {}
        }
    }
}
