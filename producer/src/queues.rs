//! The queues of the fleet: kept in the store, seen by every producer within seconds, applied as a whole.
//!
//! Owns the copy that a producer goes by ([`LiveQueues`]) and the change of what the store has. Until somebody has applied
//! queues, those of the producer's own settings hold.

use crate::connect::{Inner, Producer};
use longshore_link::error::Fault;
use longshore_link::store::QueueSet;
use longshore_model::limits;
use longshore_model::queue::{ANY_MACHINE, BadQueues, QueueConfig, Queues, own_limits, write};
use longshore_model::settings::{Problems, read_queues};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How old the copy may be.
const FRESH: Duration = Duration::from_secs(2);
/// Longest wait of the first send for the queues.
const PATIENCE: Duration = Duration::from_millis(500);

/// The queues that a producer goes by.
#[derive(Debug)]
pub(crate) struct LiveQueues {
    /// What holds, of which version (0: the producer's own), and when it was read, by the boot clock.
    state: Mutex<(Arc<Queues>, u64, Option<Duration>)>,
    /// Held while the store is asked.
    asking: tokio::sync::Mutex<()>,
}

impl LiveQueues {
    pub(crate) fn new(own: Queues) -> Self {
        Self { state: Mutex::new((Arc::new(own), 0, None)), asking: tokio::sync::Mutex::new(()) }
    }

    fn get(&self) -> (Arc<Queues>, Option<Duration>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&state.0), state.2)
    }
}

impl Inner {
    /// The queues, not much older than [`FRESH`] where the store answers.
    pub(crate) async fn queues(self: &Arc<Self>) -> Arc<Queues> {
        let (queues, read) = self.queues.get();
        let now = self.link.world.clock.boot();
        match read {
            Some(read) if now.saturating_sub(read) < FRESH => queues,
            Some(_) => {
                // The send goes on with what it has.
                let inner = Arc::clone(self);
                drop(self.link.world.tasks.spawn(async move { inner.read_queues().await }));
                queues
            }
            None => {
                let patience = PATIENCE.min(self.options.deadline / 10);
                let _ = self.link.world.clock.timeout(patience, self.read_queues()).await;
                self.queues.get().0
            }
        }
    }

    async fn read_queues(&self) {
        let _asking = self.queues.asking.lock().await;
        let now = self.link.world.clock.boot();
        if self.queues.get().1.is_some_and(|read| now.saturating_sub(read) < FRESH) {
            return;
        }
        let found = self.link.store.queues().await;
        let mut state = self.queues.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.2 = Some(now);
        match found {
            Ok(Some(set)) if set.version != state.1 => match Queues::applied(&set.text, ANY_MACHINE) {
                Ok(queues) => (state.0, state.1) = (Arc::new(queues), set.version),
                Err(why) => tracing::error!(version = set.version, why, "the queues in the store cannot be used"),
            },
            Ok(_) => {}
            Err(fault) => tracing::debug!(%fault, "the queues could not be read; going by the last ones"),
        }
    }
}

/// What applying queues changes, or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueChange {
    /// The version that is there now.
    pub version: u64,
    /// Whether anything was applied by this call.
    pub applied: bool,
    /// Queues that are new, by name, as TOML.
    pub added: BTreeMap<String, String>,
    /// Queues that are not there any more: the main queue takes their topics, and their jobs keep their name.
    pub removed: BTreeMap<String, String>,
    /// Queues that changed: before and after.
    pub changed: BTreeMap<String, (String, String)>,
}

impl QueueChange {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Why queues were not applied; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueuesError {
    /// The file cannot be used: everything that is wrong with it.
    #[error("{0}")]
    Problems(String),
    /// Somebody applied queues meanwhile.
    #[error("version {0} was applied meanwhile; look at the difference again")]
    Changed(u64),
    /// The store gives no answer.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<Problems> for QueuesError {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems.to_string())
    }
}

impl From<BadQueues> for QueuesError {
    fn from(bad: BadQueues) -> Self {
        Self::Problems(bad.to_string())
    }
}

impl Producer {
    /// The queues of the fleet as they were applied; `None`: nobody applied any, and everybody goes by own settings.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn queue_set(&self) -> Result<Option<QueueSet>, Fault> {
        self.link().store.queues().await
    }

    /// What was applied before, newest first, at most 20.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn past_queues(&self) -> Result<Vec<QueueSet>, Fault> {
        self.link().store.past_queues().await
    }

    /// Applies a file of `[[queues]]` (its name, for messages, and its text) for the whole fleet: checked whole, then all
    /// of it or nothing. Producers and consumers go by it within seconds; jobs that were accepted before keep the queue
    /// that they have, and new limits hold for them as well. With `dry` only the difference is answered.
    ///
    /// # Errors
    /// [`QueuesError`]; nothing was changed.
    pub async fn apply_queues(&self, name: &str, text: &str, by: &str, dry: bool) -> Result<QueueChange, QueuesError> {
        let configs = read_queues(name, text)?;
        self.apply_queue_configs(&configs, by, dry).await
    }

    /// As [`Self::apply_queues`], for queues made in code.
    ///
    /// # Errors
    /// [`QueuesError`]; nothing was changed.
    pub async fn apply_queue_configs(
        &self,
        configs: &[QueueConfig],
        by: &str,
        dry: bool,
    ) -> Result<QueueChange, QueuesError> {
        Queues::new(configs.to_vec(), ANY_MACHINE)?;
        let text = write(configs);
        if text.len() > limits::QUEUES_BYTES {
            let why = format!("queues: {} bytes is more than {}; shorten them", text.len(), limits::QUEUES_BYTES);
            return Err(QueuesError::Problems(why));
        }
        let store = &self.link().store;
        let before = store.queues().await?;
        let version = before.as_ref().map_or(0, |set| set.version);
        let mut change = difference(before.as_ref().map_or("", |set| &set.text), configs);
        change.version = version;
        if dry || before.is_some_and(|set| set.text == text) {
            return Ok(change);
        }
        let now = store.set_queues(version, by, &text, &own_limits(configs)).await?;
        if now.version != version + 1 || now.text != text {
            return Err(QueuesError::Changed(now.version));
        }
        change.version = now.version;
        change.applied = true;
        // This producer goes by it at once.
        self.inner.queues.state.lock().unwrap_or_else(PoisonError::into_inner).2 = None;
        let counts =
            [("added", &change.added), ("removed", &change.removed)].map(|(what, queues)| (what, queues.len() as u64));
        let counts = [counts[0], counts[1], ("changed", change.changed.len() as u64)];
        self.record("queue apply", &format!("version {}", change.version), &counts).await;
        Ok(change)
    }
}

/// What differs between the text that is there and these queues.
fn difference(before: &str, after: &[QueueConfig]) -> QueueChange {
    let by_name = |configs: &[QueueConfig]| -> BTreeMap<String, String> {
        configs.iter().map(|config| (config.name.clone(), write(std::slice::from_ref(config)))).collect()
    };
    let mut old = by_name(&read_queues("the store", before).unwrap_or_default());
    let mut change = QueueChange {
        version: 0,
        applied: false,
        added: BTreeMap::new(),
        removed: BTreeMap::new(),
        changed: BTreeMap::new(),
    };
    for (name, text) in by_name(after) {
        match old.remove(&name) {
            None => drop(change.added.insert(name, text)),
            Some(was) if was != text => drop(change.changed.insert(name, (was, text))),
            Some(_) => {}
        }
    }
    change.removed = old;
    change
}
