//! Following one job: what changes on it while somebody looks (O10).
//!
//! Reads the job when a nudge says that its state changed, or that its attempt reported something, and every two seconds
//! in case a nudge was lost; answers only when something is different. Lines that left the bounded log between two looks are
//! lost to the follower, not to anybody else.

use crate::connect::Producer;
use crate::errors::{QueryError, WaitError};
use longshore_link::store::Nudge;
use longshore_model::JobId;
use longshore_model::snapshot::{JobView, LogView};
use std::time::Duration;
use tokio::sync::broadcast;

/// Longest time between two looks: what a lost nudge costs.
const LOOK: Duration = Duration::from_secs(2);

impl Producer {
    /// Follows a job from now until it ends.
    #[must_use]
    pub fn follow(&self, id: JobId) -> Follow {
        let nudges = Some(self.inner.link.store.nudges());
        Follow { producer: self.clone(), id, nudges, watched: false, last: None }
    }
}

/// The changes of one job, oldest first.
#[derive(Debug)]
pub struct Follow {
    producer: Producer,
    id: JobId,
    nudges: Option<broadcast::Receiver<Nudge>>,
    watched: bool,
    last: Option<JobView>,
}

/// How a followed job looks now.
#[derive(Debug, Clone)]
pub struct Change {
    /// The job.
    pub job: JobView,
    /// Log lines since the change before; with the first one, the whole log.
    pub new_log: Vec<LogView>,
}

impl Follow {
    /// The next change; `None` after the one with which the job ended. An outage of the store makes it wait.
    ///
    /// # Errors
    /// [`WaitError::Gone`] when there is no such job, [`WaitError::Damaged`] when it cannot be read.
    pub async fn next(&mut self) -> Result<Option<Change>, WaitError> {
        if self.last.as_ref().is_some_and(|last| last.state.is_terminal()) {
            return Ok(None);
        }
        loop {
            // The first look is at once, later ones after a pause.
            if self.last.is_some() {
                self.pause().await;
            }
            self.watch().await;
            match self.producer.show(self.id).await {
                Ok(Some(job)) => {
                    if let Some(change) = self.compare(job) {
                        return Ok(Some(change));
                    }
                }
                Ok(None) => return Err(WaitError::Gone(self.id)),
                Err(QueryError::Fault(fault)) => {
                    tracing::debug!(job = %self.id, %fault, "the followed job is read again");
                    self.producer.inner.link.world.clock.sleep(LOOK).await;
                }
                Err(other) => return Err(WaitError::Damaged(other.to_string())),
            }
        }
    }

    fn compare(&mut self, job: JobView) -> Option<Change> {
        let old = self.last.as_ref();
        let same = old.is_some_and(|old| {
            (old.state, old.reason, old.attempt, &old.progress, &old.log, &old.properties, &old.waiting)
                == (job.state, job.reason, job.attempt, &job.progress, &job.log, &job.properties, &job.waiting)
        });
        if same {
            return None;
        }
        let new_log = added(old.map_or(&[], |old| &old.log), &job.log).to_vec();
        self.last = Some(job.clone());
        Some(Change { job, new_log })
    }

    /// Asks for nudges of the job. Failing costs two seconds with each change.
    async fn watch(&mut self) {
        if !self.watched {
            self.watched = self.producer.inner.link.store.follow(self.id).await.is_ok();
        }
    }

    async fn pause(&mut self) {
        let clock = &self.producer.inner.link.world.clock;
        let Some(nudges) = &mut self.nudges else { return clock.sleep(LOOK).await };
        let id = self.id;
        let closed = clock.timeout(LOOK, async {
            loop {
                match nudges.recv().await {
                    Ok(Nudge::Ended(told) | Nudge::Changed(told)) if told == id => return false,
                    Ok(Nudge::Missed) | Err(broadcast::error::RecvError::Lagged(_)) => return false,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Closed) => return true,
                }
            }
        });
        if closed.await == Some(true) {
            self.nudges = None;
        }
    }
}

/// What a log that grows at its end, and may lose lines at its beginning, has gained.
fn added<'n>(old: &[LogView], new: &'n [LogView]) -> &'n [LogView] {
    let kept = (0..=old.len()).find_map(|cut| {
        let kept = &old[cut..];
        let same =
            |(old, new): (&LogView, &LogView)| (&old.at, &old.level, &old.text) == (&new.at, &new.level, &new.text);
        (new.len() >= kept.len() && kept.iter().zip(new).all(same)).then_some(kept.len())
    });
    &new[kept.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_lines_are_found_when_old_ones_were_cut_off() {
        let lines = |texts: &[&str]| -> Vec<LogView> {
            let line = |text: &&str| LogView {
                at: String::new(),
                level: "info".into(),
                text: (*text).into(),
                truncated: false,
            };
            texts.iter().map(line).collect()
        };
        let check = |old: &[&str], new: &[&str], gained: usize| {
            assert_eq!(added(&lines(old), &lines(new)).len(), gained, "{old:?} -> {new:?}");
        };
        check(&[], &["a", "b"], 2);
        check(&["a", "b"], &["a", "b"], 0);
        check(&["a", "b"], &["a", "b", "c"], 1);
        check(&["a", "b", "c"], &["b", "c", "d"], 1);
        check(&["a", "b"], &["c", "d"], 2);
    }
}
