//! Relay: publishes what is in the outbox because whoever should have published it did not (T4).
//!
//! Hands out entries whose time has come and keeps them from other relays for a while; the entry goes
//! only when the broker has confirmed, and only if the job's generation is still the one published.

use super::pace;
use crate::engine::{Engine, Phase};
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks of the coordinator.
const PACE: Duration = Duration::from_secs(1);
/// How long an instance that is not the coordinator waits when there is something to publish.
const BEHIND: Duration = Duration::from_millis(200);
/// How long an entry is kept from other relays, ms.
const HOLD_MS: u64 = 5_000;
/// Jobs in one call.
const LIMIT: usize = longshore_model::limits::BATCH;

/// Relays until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        let wait = match engine.link.store.outbox(LIMIT, HOLD_MS).await {
            Ok(outgoing) if outgoing.is_empty() => pace(&engine, PACE),
            Ok(outgoing) => {
                let count = outgoing.len();
                let published = engine.publish_outgoing(outgoing).await;
                if published > 0 {
                    tracing::info!(count, published, "the relay published jobs from the outbox");
                }
                if published == count { Duration::ZERO } else { PACE }
            }
            Err(fault) => {
                tracing::debug!(%fault, "the outbox could not be read; trying again");
                PACE
            }
        };
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.relay_now.notified() => {
                // Everybody hears of it, and one is enough; the others see whether the coordinator did it.
                if !*engine.coordinator.borrow() && !engine.pause(engine.link.world.random.jitter(BEHIND)).await {
                    return;
                }
            }
            () = engine.link.world.clock.sleep(wait) => {}
        }
    }
}
