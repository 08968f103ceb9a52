//! Scrubber: goes through records and what repeats them at a bounded pace, and has mended what disagrees (T21).
//!
//! A sound store is only read. Whatever is mended was written by somebody else, or is a fault of ours: it is counted and
//! told.

use super::pace;
use crate::engine::{Engine, Phase};
use longshore_link::scrub::Mended;
use std::sync::Arc;
use std::time::Duration;

/// Time between two steps of the coordinator, and between two rounds.
const PACE: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(60);
/// Keys and entries of one step: a few milliseconds of the store's time.
const LIMIT: usize = 500;

/// Scrubs until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut wait = REST;
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.link.world.clock.sleep(pace(&engine, wait)) => {}
        }
        match engine.link.store.scrub(LIMIT).await {
            Ok(step) => {
                wait = if step.round { REST } else { PACE };
                if step.mended.total() > 0 {
                    tell(step.mended);
                    engine.metrics.scrubbed(step.mended.total());
                }
            }
            Err(fault) => {
                wait = REST;
                tracing::debug!(%fault, "the store could not be scrubbed; trying again");
            }
        }
    }
}

fn tell(mended: Mended) {
    let Mended { indexes, entries, keys, holders } = mended;
    tracing::warn!(
        indexes,
        entries,
        keys,
        holders,
        "the store did not agree with its records, and was mended; somebody wrote to it from outside, or this is a fault \
         of Longshore: report it"
    );
}
