//! Writes what handlers report while they run: progress, properties, log lines.
//!
//! Runs beside the handler, in the same task; an attempt has at most one write under way, at most ten a
//! second, and none if it reports nothing. What is left at the end goes with the commit.

use super::adopt::Origin;
use super::{Engine, telling};
use crate::ctx::{Cancelled, ReportSink};
use longshore_model::id::Fence;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time between two writes of one attempt.
const PACE: Duration = Duration::from_millis(100);

/// Writes an attempt's reports until `over`; a write under way is waited for, so that it cannot overtake the commit.
pub(crate) async fn run(engine: &Engine, origin: &Origin, fence: Fence, sink: &ReportSink, over: &CancellationToken) {
    let id = origin.envelope.id;
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = sink.filled() => {}
        }
        let report = sink.take();
        if !report.is_empty() {
            match engine.link.store.report(vec![(id, fence, report.clone())]).await {
                Ok(answers) if answers.first() == Some(&false) => {
                    let why = "the job was given to somebody else".to_owned();
                    engine.running.cancel(&id, Some(fence), Cancelled::LeaseLost(why));
                    return;
                }
                Ok(_) => {
                    if let Some(progress) = &report.progress {
                        telling::progressed(engine, origin, progress);
                    }
                }
                // If it was written all the same, its log lines come twice; better than never.
                Err(_) => sink.put_back(report),
            }
        }
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = engine.link.world.clock.sleep(PACE) => {}
        }
    }
}
