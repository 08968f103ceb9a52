//! Attempts that the store has lost, or knows only the past of, are taken back into it under their own fences (T7b).
//!
//! A store that was wiped or restored does not know what runs. A beat tells which attempts those are; this file offers
//! them again. A commit that finds no record does the same before it is offered once more. What the store answers
//! against it (the job ended, was removed, or a newer attempt began) ends the attempt as a lost lease does.

use super::attempt::{claim_of, newly};
use super::{Engine, Phase};
use crate::ctx::Cancelled;
use longshore_link::Fault;
use longshore_link::broker::Delivery;
use longshore_link::store::{Adopt, Claimed};
use longshore_model::envelope::Envelope;
use longshore_model::id::{Fence, JobId};
use longshore_model::kind::KindCounts;
use longshore_model::transition::Answer;
use std::sync::Arc;

/// What a job is made from again, should the store lose it while it runs.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) delivery: Delivery,
    pub(crate) attempt: u32,
    pub(crate) failures: u32,
    pub(crate) kinds: KindCounts,
    pub(crate) crashes: u32,
}

/// What an offer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adopted {
    /// The attempt is the current one.
    Current,
    /// The job has ended, or was removed.
    Ended,
    /// Another attempt is the current one, or the record cannot be read.
    Refused,
}

/// Offers what beats say is missing, until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.adopt_now.notified() => {}
        }
        for (id, fence, origin) in engine.running.take_behind() {
            match offer(&engine, id, fence, &origin).await {
                Ok(Adopted::Current) => {
                    tracing::warn!(job = %id, "the store had lost a running job; it knows it again")
                }
                Ok(_) => {
                    let why = "the store has lost the attempt and does not take it back".to_owned();
                    engine.running.cancel(&id, Some(fence), Cancelled::LeaseLost(why));
                }
                // The next beat says so again.
                Err(fault) => tracing::debug!(job = %id, %fault, "a lost job could not be offered to the store"),
            }
        }
    }
}

/// Offers one attempt.
pub(crate) async fn offer(engine: &Engine, id: JobId, fence: Fence, origin: &Origin) -> Result<Adopted, Fault> {
    let headers = &origin.delivery.headers;
    let adopt = Adopt {
        job: newly(engine, &origin.envelope, &origin.delivery),
        enqueued: headers.enqueued.unwrap_or_else(|| id.created_ms()),
        claim: claim_of(&origin.delivery, &origin.envelope, false),
        fence,
        attempt: origin.attempt,
        failures: origin.failures,
        crashes: origin.crashes,
    };
    Ok(match engine.link.store.adopt(&engine.owner, engine.lease_ms(), adopt).await? {
        Claimed::Known(Answer::Run { .. }) => {
            engine.metrics.adopted();
            Adopted::Current
        }
        Claimed::Known(Answer::Ended { .. }) | Claimed::Tombstone => Adopted::Ended,
        Claimed::Known(_) | Claimed::Unknown | Claimed::Damaged(_) => Adopted::Refused,
    })
}
