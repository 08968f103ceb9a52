//! Teller: tells those who listen what happened to jobs without a process that could (N01): attempts that were lost with
//! their process, waiting jobs that expired or made room for others.
//!
//! The store keeps it while somebody listens, and hands each out once; nobody is asked while nobody listens.

use super::pace;
use crate::engine::{Engine, Phase};
use longshore_model::event::Class;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks of the coordinator.
const PACE: Duration = Duration::from_millis(500);
/// Happenings in one call.
const LIMIT: usize = 100;

/// Tells until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.link.world.clock.sleep(pace(&engine, PACE)) => {}
        }
        while engine.link.is_heard(Class::Job) {
            match engine.link.store.untold(LIMIT).await {
                Ok(untold) => {
                    let more = untold.len() == LIMIT;
                    untold.into_iter().for_each(|one| engine.link.tell_untold(one));
                    if !more {
                        break;
                    }
                }
                Err(fault) => {
                    tracing::debug!(%fault, "what happened to jobs could not be read; trying again");
                    break;
                }
            }
        }
    }
}
