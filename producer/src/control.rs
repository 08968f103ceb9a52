//! Control: stop and remove (J12, J13) jobs by id, wherever they are.
//!
//! Every answer is per job. Stopping may be repeated; so may removing, but for one thing that is written there.

use crate::connect::Producer;
use longshore_link::error::Fault;
use longshore_link::store::Controlled;
use longshore_model::event::{Class, Kind};
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
        let (link, ids) = (&self.inner.link, ids.into_iter().collect::<Vec<_>>());
        let answers = in_parts(&ids, |part| link.store.stop(by, part)).await?;
        self.tell(Kind::Cancelled, &ids, &answers);
        let answers: Vec<Stopped> = answers.into_iter().map(stopped).collect();
        let count = |counts: fn(&Stopped) -> bool| answers.iter().filter(|answer| counts(answer)).count() as u64;
        let stopped = count(|answer| *answer == Stopped::Now);
        let asked = count(|answer| *answer == Stopped::Asked);
        self.record("job stop", "", &[("stopped", stopped), ("asked", asked)]).await;
        Ok(answers)
    }

    /// Removes jobs (J12): what has not ended goes into the history as `dropped`, what has ended goes out of the
    /// history. One answer per id, in order.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer. Asking again is safe for the job, which stays removed; the
    /// second time also takes it out of the history.
    pub async fn remove(&self, ids: impl IntoIterator<Item = JobId>) -> Result<Vec<Removed>, Fault> {
        let (link, ids) = (&self.inner.link, ids.into_iter().collect::<Vec<_>>());
        let answers = in_parts(&ids, |part| link.store.remove(part)).await?;
        self.tell(Kind::Removed, &ids, &answers);
        let answers: Vec<Removed> = answers.into_iter().map(removed).collect();
        let count = |wanted: Removed| answers.iter().filter(|answer| **answer == wanted).count() as u64;
        let counts = [("dropped", count(Removed::Dropped)), ("purged", count(Removed::Purged))];
        self.record("job remove", "", &counts).await;
        Ok(answers)
    }

    /// Tells what happened to jobs that had not ended.
    fn tell(&self, kind: Kind, ids: &[JobId], answers: &[Controlled]) {
        let link = &self.inner.link;
        if !link.is_heard(Class::Job) {
            return;
        }
        for (id, answer) in ids.iter().zip(answers) {
            if matches!(answer, Controlled::Known(Answer::Moved { .. })) {
                link.tell_of(kind, *id);
            }
        }
    }
}

async fn in_parts<F>(ids: &[JobId], call: impl Fn(Vec<JobId>) -> F) -> Result<Vec<Controlled>, Fault>
where
    F: Future<Output = Result<Vec<Controlled>, Fault>>,
{
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
