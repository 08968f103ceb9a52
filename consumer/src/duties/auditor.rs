//! Auditor: reads the conservation ledger and the statistics and shows them in the metrics, and says loudly when the
//! ledger is not in balance.

use super::rest;
use crate::engine::{Engine, Phase};
use longshore_model::ledger::{ADVICE, Drift};
use longshore_model::statistics::Selection;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks of the coordinator.
const PACE: Duration = Duration::from_secs(15);

/// Audits until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut last = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return engine.metrics.counted(None),
            () = rest(&engine, PACE) => {}
        }
        match engine.link.store.ledger().await {
            Ok(ledger) => {
                let drifts = ledger.drifts();
                engine.metrics.audited(ledger.total(), drifts.len());
                // Once for each change: a drift does not go away by itself.
                if drifts != last {
                    report(&drifts);
                    last = drifts;
                }
            }
            Err(fault) => tracing::debug!(%fault, "the ledger could not be read; trying again"),
        }
        let store = &engine.link.store;
        match tokio::try_join!(store.statistics(), engine.link.view()) {
            Ok((statistics, view)) => {
                engine.metrics.counted(Some(statistics.overview(&Selection::default(), &view)));
            }
            Err(fault) => tracing::debug!(%fault, "the statistics could not be read; trying again"),
        }
    }
}

fn report(drifts: &[Drift]) {
    for drift in drifts {
        tracing::error!(%drift, advice = ADVICE, "the ledger of the store is not in balance");
    }
    if drifts.is_empty() {
        tracing::info!("the ledger of the store is in balance again");
    }
}
