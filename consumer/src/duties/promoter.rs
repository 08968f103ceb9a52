//! Promoter: makes jobs runnable when their time has come (T13), and publishes them.
//!
//! Sleeps until the next due time that the store knows, at most a second; a nudge wakes it when a
//! job becomes due earlier. The outbox is the net under its publishes.

use super::pace;
use crate::engine::{Engine, Phase};
use std::sync::Arc;
use std::time::Duration;

/// Longest sleep of the coordinator.
const PACE: Duration = Duration::from_millis(500);
/// Jobs in one call.
const LIMIT: usize = longshore_model::limits::BATCH;

/// Promotes until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    // How long to sleep at most: shorter when the store knows of a job that is due sooner.
    let mut wait = Duration::ZERO;
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.promote_now.notified() => {}
            () = engine.link.world.clock.sleep(wait) => {}
        }
        wait = match engine.link.store.promote(LIMIT).await {
            Ok(moved) => {
                engine.metrics.promoted(moved.runnable.len());
                let (left, more) = (moved.next.map(|next| next.saturating_sub(moved.now)), moved.more);
                engine.publish_outgoing(moved.runnable).await;
                if more {
                    Duration::ZERO
                } else {
                    let pace = pace(&engine, PACE);
                    left.map_or(pace, |left| Duration::from_millis(left).min(pace))
                }
            }
            Err(fault) => {
                tracing::debug!(%fault, "due jobs could not be promoted; trying again");
                PACE
            }
        };
    }
}
