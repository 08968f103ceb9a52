//! Control: stop, remove (J12, J13) and retry (J14) jobs by id, wherever they are.
//!
//! Every answer is per job. Stopping and retrying may be repeated; so may removing, but for one
//! thing that is written there.

use crate::builder::Prepared;
use crate::connect::Producer;
use crate::errors::{Refusal, RetryError};
use crate::send::{Custody, Sent};
use longshore_link::error::Fault;
use longshore_link::store::Controlled;
use longshore_model::envelope::Envelope;
use longshore_model::record::{Admission, Start};
use longshore_model::snapshot::Snapshot;
use longshore_model::transition::Answer;
use longshore_model::{JobId, State, limits};
use std::future::Future;

/// What came of asking a job to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// It waited, and is `stopped` now.
    Now,
    /// It runs and was asked; its handler decides how it ends, within a beat.
    Asked,
    /// It had ended before.
    Ended(State),
    /// There is no such job.
    NotFound,
    /// What the store holds of it cannot be read.
    Damaged(String),
}

/// What came of removing a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// It had not ended: it is in the history as `dropped`. A running handler is cancelled at once, and whatever it
    /// still does changes nothing.
    Dropped,
    /// It had ended: it is gone from the history.
    Purged,
    /// There is no such job, so there is nothing to remove.
    NotFound,
    /// What the store holds of it cannot be read.
    Damaged(String),
}

impl Removed {
    /// Whether the job will not run (any more): true as well when there is none (JH-13).
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        !matches!(self, Self::Damaged(_))
    }
}

impl Producer {
    /// Asks jobs to stop; `by` says who and why, for people. One answer per id, in order.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer; asking again is safe.
    pub async fn stop(&self, ids: impl IntoIterator<Item = JobId>, by: &str) -> Result<Vec<Stopped>, Fault> {
        let store = &self.inner.link.store;
        let answers = in_parts(ids, |part| store.stop(by, part)).await?;
        Ok(answers.into_iter().map(stopped).collect())
    }

    /// Removes jobs (J12): what has not ended goes into the history as `dropped`, what has ended goes out of the
    /// history. One answer per id, in order.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer. Asking again is safe for the job, which stays removed; the
    /// second time also takes it out of the history.
    pub async fn remove(&self, ids: impl IntoIterator<Item = JobId>) -> Result<Vec<Removed>, Fault> {
        let store = &self.inner.link.store;
        let answers = in_parts(ids, |part| store.remove(part)).await?;
        Ok(answers.into_iter().map(removed).collect())
    }

    /// Sends jobs of the history again (J14), each as a new job with a new id, linked both ways; without its expiry,
    /// otherwise as it was first sent. Where an earlier retry has not ended yet, that one is the answer, with
    /// [`Sent::existed`]: so that a repeated call makes no second job. One answer per id, in order.
    pub async fn retry(&self, ids: impl IntoIterator<Item = JobId>) -> Vec<Result<Sent, RetryError>> {
        let ids: Vec<JobId> = ids.into_iter().collect();
        let found = match self.load(&ids).await {
            Ok(found) => found,
            Err(fault) => return ids.iter().map(|_| Err(fault.clone().into())).collect(),
        };
        let mut answers = Vec::with_capacity(found.len());
        for (id, snapshot) in found {
            answers.push(self.retry_one(id, snapshot).await);
        }
        answers
    }

    async fn retry_one(&self, id: JobId, snapshot: Option<Snapshot>) -> Result<Sent, RetryError> {
        let Snapshot { record, envelope, .. } = snapshot.ok_or(RetryError::NotFound(id))?;
        if !record.state.is_terminal() {
            return Err(RetryError::NotEnded { id, state: record.state });
        }
        let link = &self.inner.link;
        if let Some(earlier) = record.retried_as
            && let Some(Some(again)) = link.store.records(vec![earlier]).await?.pop()
            && !again.state.is_terminal()
        {
            return Ok(Sent::new(self.clone(), earlier, Custody::Store, true, again.state));
        }
        let mut envelope =
            Envelope::decode(&envelope).map_err(|error| RetryError::Damaged(format!("job {id}: {error}")))?;
        envelope.id = id.sibling(link.world.clock.unix_ms(), link.world.random.bytes());
        envelope.retry_of = Some(id);
        // It was counted from the first sending and would drop the new job at once.
        envelope.expires_ms = None;
        let admission = Admission {
            id: envelope.id,
            topic: record.topic,
            queue: record.queue,
            start: Start::Now,
            max_retries: record.max_retries,
            max_crashes: record.max_crashes,
            expires: None,
            gates: record.gates,
            unique: record.unique,
        };
        let prepared =
            Prepared::new(admission, envelope, Some(id)).map_err(|why: Refusal| RetryError::Send(why.into()))?;
        Ok(self.send_prepared(prepared, self.inner.deadline()).await?)
    }
}

async fn in_parts<F>(
    ids: impl IntoIterator<Item = JobId>,
    call: impl Fn(Vec<JobId>) -> F,
) -> Result<Vec<Controlled>, Fault>
where
    F: Future<Output = Result<Vec<Controlled>, Fault>>,
{
    let ids: Vec<JobId> = ids.into_iter().collect();
    let mut answers = Vec::with_capacity(ids.len());
    for part in ids.chunks(limits::BATCH) {
        answers.extend(call(part.to_vec()).await?);
    }
    Ok(answers)
}

fn stopped(answer: Controlled) -> Stopped {
    match answer {
        Controlled::Known(Answer::Moved { .. }) => Stopped::Now,
        Controlled::Known(Answer::Asked) => Stopped::Asked,
        Controlled::Known(Answer::Ended { state }) => Stopped::Ended(state),
        Controlled::Known(other) => Stopped::Damaged(format!("the store answered {other:?} to a stop")),
        Controlled::NotFound => Stopped::NotFound,
        Controlled::Damaged(detail) => Stopped::Damaged(detail),
    }
}

fn removed(answer: Controlled) -> Removed {
    match answer {
        Controlled::Known(Answer::Moved { .. }) => Removed::Dropped,
        Controlled::Known(Answer::Purge) => Removed::Purged,
        Controlled::Known(other) => Removed::Damaged(format!("the store answered {other:?} to a removal")),
        Controlled::NotFound => Removed::NotFound,
        Controlled::Damaged(detail) => Removed::Damaged(detail),
    }
}
