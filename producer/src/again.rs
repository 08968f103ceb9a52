//! Jobs of the history, sent again (J14): as they were, changed, or many of them at a rate.
//!
//! Each is a new job with a new id, linked both ways with the old one. What is decided here is only what the new job is
//! like; that the old one has ended is checked by the store in the step that accepts the new one.

use crate::builder::Prepared;
use crate::connect::Producer;
use crate::errors::{Refusal, RetryError};
use crate::send::{Custody, Sent};
use longshore_model::envelope::Envelope;
use longshore_model::gate::Rate;
use longshore_model::record::{Admission, Start};
use longshore_model::snapshot::Snapshot;
use longshore_model::span::ms;
use longshore_model::{JobId, limits};
use serde_json::value::RawValue;
use std::time::Duration;

/// What is to be different in a job that is sent again. Everything else stays, its order and limits included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edit {
    payload: Option<String>,
    retries: Option<i32>,
    retry_delay: Option<Duration>,
    timeout: Option<Duration>,
    retry_for: Option<Duration>,
}

impl Edit {
    /// Nothing different.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Another payload, JSON text of the same version.
    #[must_use]
    pub fn payload(mut self, json: impl Into<String>) -> Self {
        self.payload = Some(json.into());
        self
    }

    /// So many failures allowed before the last one; -1 without end.
    #[must_use]
    pub const fn retries(mut self, retries: i32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Another time between a failure and the next attempt.
    #[must_use]
    pub const fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = Some(delay);
        self
    }

    /// Another longest run of one attempt.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Another time in which it may be tried again.
    #[must_use]
    pub const fn retry_for(mut self, span: Duration) -> Self {
        self.retry_for = Some(span);
        self
    }

    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn apply(self, envelope: &mut Envelope, admission: &mut Admission) -> Result<(), Refusal> {
        if let Some(json) = self.payload {
            if json.len() > limits::INLINE_BYTES {
                return Err(Refusal::TooLarge { bytes: json.len() });
            }
            envelope.payload = RawValue::from_string(json).map_err(|error| Refusal::NotJson(error.to_string()))?;
        }
        if let Some(retries) = self.retries {
            (envelope.retries, admission.max_retries) = (Some(retries), retries);
        }
        envelope.retry_delay_ms = self.retry_delay.map(ms).or(envelope.retry_delay_ms);
        envelope.timeout_ms = self.timeout.map(ms).or(envelope.timeout_ms);
        envelope.retry_for_ms = self.retry_for.map(ms).or(envelope.retry_for_ms);
        Ok(())
    }
}

impl Producer {
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
            answers.push(self.retry_one(id, snapshot, Edit::new()).await);
        }
        let sent = answers.iter().flatten().filter(|sent| !sent.existed).count() as u64;
        self.record("job retry", "", &[("sent", sent), ("not sent", answers.len() as u64 - sent)]).await;
        answers
    }

    /// As [`Self::retry`], for one job that is to be different from what failed.
    ///
    /// # Errors
    /// [`RetryError`]; [`RetryError::Retried`] where an earlier retry has not ended yet, which the change would not reach.
    pub async fn retry_changed(&self, id: JobId, edit: Edit) -> Result<Sent, RetryError> {
        let (_, snapshot) = self.load(&[id]).await?.pop().ok_or(RetryError::NotFound(id))?;
        let sent = self.retry_one(id, snapshot, edit).await?;
        self.record("job retry", &id.to_string(), &[("changed and sent", 1)]).await;
        Ok(sent)
    }

    /// As [`Self::retry`], evenly spread over time: no more than `rate`, so that what failed because it was too much is
    /// not too much again. Tells of each as it is done.
    pub async fn retry_paced(
        &self,
        ids: impl IntoIterator<Item = JobId>,
        rate: Rate,
        mut done: impl FnMut(JobId, Result<Sent, RetryError>),
    ) {
        let clock = &self.inner.link.world.clock;
        let interval = Duration::from_millis(rate.per_ms) / rate.count.max(1);
        let mut due = clock.boot();
        for id in ids {
            clock.sleep(due.saturating_sub(clock.boot())).await;
            // Time that a slow store took is not made up for by a burst.
            due = due.max(clock.boot().saturating_sub(interval)) + interval;
            if let Some(answer) = self.retry([id]).await.pop() {
                done(id, answer);
            }
        }
    }

    async fn retry_one(&self, id: JobId, snapshot: Option<Snapshot>, edit: Edit) -> Result<Sent, RetryError> {
        let Snapshot { record, envelope, .. } = snapshot.ok_or(RetryError::NotFound(id))?;
        if !record.state.is_terminal() {
            return Err(RetryError::NotEnded { id, state: record.state });
        }
        let link = &self.inner.link;
        if let Some(earlier) = record.retried_as
            && let Some(Some(again)) = link.store.records(vec![earlier]).await?.pop()
            && !again.state.is_terminal()
        {
            if !edit.is_empty() {
                return Err(RetryError::Retried { id, again: earlier });
            }
            return Ok(Sent::new(self.clone(), earlier, Custody::Store, true, again.state));
        }
        let mut envelope =
            Envelope::decode(&envelope).map_err(|error| RetryError::Damaged(format!("job {id}: {error}")))?;
        envelope.id = id.sibling(link.world.clock.unix_ms(), link.world.random.bytes());
        envelope.retry_of = Some(id);
        // It was counted from the first sending and would drop the new job at once.
        envelope.expires_ms = None;
        let mut admission = Admission {
            id: envelope.id,
            topic: record.topic,
            queue: record.queue,
            start: Start::Now,
            max_retries: record.max_retries,
            max_crashes: record.max_crashes,
            expires: None,
            gates: record.gates,
            site: record.site,
            unique: record.unique,
        };
        let refused = |why: Refusal| RetryError::Send(why.into());
        edit.apply(&mut envelope, &mut admission).map_err(refused)?;
        crate::files::keep_for(link, envelope.id, &envelope.files).await;
        let prepared = Prepared::new(admission, envelope, Some(id)).map_err(refused)?;
        Ok(self.send_prepared(prepared, self.inner.deadline()).await?)
    }
}
