//! The table of attempts that this process runs: what beats renew, and what can be cancelled.

use super::adopt::Origin;
use crate::ctx::Cancelled;
use longshore_link::signal;
use longshore_model::id::{Fence, JobId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Attempts from their claim to their commit.
#[derive(Debug, Default)]
pub(crate) struct Running {
    table: Mutex<Table>,
    count: signal::Sender<usize>,
}

#[derive(Debug, Default)]
struct Table {
    attempts: BTreeMap<JobId, Attempt>,
    /// Why whatever is entered now is cancelled at once.
    closed: Option<Cancelled>,
}

#[derive(Debug)]
struct Attempt {
    fence: Fence,
    cancel: signal::Sender<Option<Cancelled>>,
    origin: Arc<Origin>,
    /// The store has no record of it, or an older one.
    behind: bool,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an attempt. An older attempt of the same job in this process is cancelled: it is not current any more.
    pub(crate) fn enter(
        &self,
        id: JobId,
        fence: Fence,
        cancel: signal::Sender<Option<Cancelled>>,
        origin: Arc<Origin>,
    ) {
        let Table { attempts, closed } = &mut *self.lock();
        if let Some(reason) = closed {
            set(&cancel, reason.clone());
        }
        if let Some(older) = attempts.insert(id, Attempt { fence, cancel, origin, behind: false }) {
            set(&older.cancel, Cancelled::LeaseLost("a newer attempt of the job was started".into()));
        }
        self.count.send_replace(attempts.len());
    }

    /// Takes an attempt out, unless a newer one of the same job took its place.
    pub(crate) fn leave(&self, id: JobId, fence: Fence) {
        let Table { attempts, .. } = &mut *self.lock();
        if attempts.get(&id).is_some_and(|attempt| attempt.fence == fence) {
            attempts.remove(&id);
        }
        self.count.send_replace(attempts.len());
    }

    /// What is to be renewed.
    pub(crate) fn fences(&self) -> Vec<(JobId, Fence)> {
        self.lock().attempts.iter().map(|(id, attempt)| (*id, attempt.fence)).collect()
    }

    /// The store has no record of this attempt, or an older one.
    pub(crate) fn mark_behind(&self, id: &JobId, fence: Fence) {
        if let Some(attempt) = self.lock().attempts.get_mut(id)
            && attempt.fence == fence
        {
            attempt.behind = true;
        }
    }

    /// The attempts that were marked since the last call.
    pub(crate) fn take_behind(&self) -> Vec<(JobId, Fence, Arc<Origin>)> {
        let marked = |(id, attempt): (&JobId, &mut Attempt)| {
            std::mem::take(&mut attempt.behind).then(|| (*id, attempt.fence, Arc::clone(&attempt.origin)))
        };
        self.lock().attempts.iter_mut().filter_map(marked).collect()
    }

    /// Whether the job runs here.
    pub(crate) fn contains(&self, id: &JobId) -> bool {
        self.lock().attempts.contains_key(id)
    }

    /// Whether an attempt of this process is not current any more, as far as this process knows.
    pub(crate) fn is_lost(&self, id: &JobId, fence: Fence) -> bool {
        let table = self.lock();
        let lost = |attempt: &Attempt| matches!(*attempt.cancel.borrow(), Some(Cancelled::LeaseLost(_)));
        table.attempts.get(id).is_none_or(|attempt| attempt.fence != fence || lost(attempt))
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.lock().attempts.len()
    }

    /// Cancels one attempt; the first reason stays. With a fence: only that attempt.
    pub(crate) fn cancel(&self, id: &JobId, fence: Option<Fence>, reason: Cancelled) {
        let table = self.lock();
        if let Some(attempt) = table.attempts.get(id)
            && fence.is_none_or(|fence| fence == attempt.fence)
        {
            set(&attempt.cancel, reason);
        }
    }

    /// Cancels all attempts.
    pub(crate) fn cancel_all(&self, reason: &Cancelled) {
        for attempt in self.lock().attempts.values() {
            set(&attempt.cancel, reason.clone());
        }
    }

    /// Cancels all attempts, and from now on every one that is entered: a claim may still be under way.
    pub(crate) fn close(&self, reason: &Cancelled) {
        self.lock().closed.get_or_insert_with(|| reason.clone());
        self.cancel_all(reason);
    }

    /// Waits until nothing runs.
    pub(crate) async fn idle(&self) {
        let mut count = self.count.subscribe();
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

fn set(cancel: &signal::Sender<Option<Cancelled>>, reason: Cancelled) {
    cancel.send_if_modified(|now| {
        let first = now.is_none();
        if first {
            *now = Some(reason);
        }
        first
    });
}
