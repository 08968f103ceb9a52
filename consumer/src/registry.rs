//! The registry: which handler runs which topic on this instance, now.
//!
//! Handlers may come and go while the instance runs (U03, U06); whoever must follow waits on
//! [`Registry::changes`]. The nearest pattern wins: exact, then `/*`, then the nearest enclosing
//! `/**` (U02).

use crate::engine::run::DEFAULT_GRACE;
use crate::handler::{Erased, HandlerOptions};
use longshore_link::signal;
use longshore_model::envelope::Envelope;
use longshore_model::topic::{Topic, TopicPattern};
use longshore_model::topology::Capability;
use std::fmt;
use std::panic::Location;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;

/// One registered handler.
pub(crate) struct Registration {
    /// What it takes.
    pub(crate) pattern: TopicPattern,
    /// The newest payload version that it reads; 0 any.
    pub(crate) version: u32,
    /// What was set for it.
    pub(crate) options: HandlerOptions,
    /// Where it was registered, for error messages.
    pub(crate) place: &'static Location<'static>,
    /// Its own slots, if its concurrency is limited.
    pub(crate) slots: Option<Arc<Semaphore>>,
    /// The handler.
    pub(crate) run: Erased,
}

impl Registration {
    /// Whether its handler reads this version of the payload.
    pub(crate) fn can_read(&self, envelope: &Envelope) -> bool {
        self.version == 0 || envelope.payload_version <= self.version
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("pattern", &self.pattern)
            .field("version", &self.version)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Two handlers for one pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two handlers take `{pattern}`: one registered at {first}, one at {second}; remove one of them")]
pub struct DuplicateHandler {
    /// The pattern.
    pub pattern: String,
    /// Where the first was registered.
    pub first: String,
    /// Where the second was registered.
    pub second: String,
}

/// The handlers of one instance. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub struct Registry {
    handlers: Arc<RwLock<Vec<Arc<Registration>>>>,
    version: signal::Sender<u64>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { handlers: Arc::default(), version: signal::Sender::new(0) }
    }
}

impl Registry {
    pub(crate) fn add(&self, registration: Registration) -> Result<(), DuplicateHandler> {
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = handlers.iter().find(|other| other.pattern == registration.pattern) {
            return Err(DuplicateHandler {
                pattern: registration.pattern.to_string(),
                first: first.place.to_string(),
                second: registration.place.to_string(),
            });
        }
        handlers.push(Arc::new(registration));
        drop(handlers);
        self.version.send_if_modified(|version| {
            *version += 1;
            true
        });
        Ok(())
    }

    /// Takes a handler away; jobs of its topics go to the next nearest handler, or to other instances. Answers whether
    /// there was one.
    #[must_use]
    pub fn remove(&self, pattern: &TopicPattern) -> bool {
        let mut handlers = self.handlers.write().unwrap_or_else(PoisonError::into_inner);
        let before = handlers.len();
        handlers.retain(|handler| handler.pattern != *pattern);
        let found = handlers.len() < before;
        drop(handlers);
        if found {
            self.version.send_if_modified(|version| {
                *version += 1;
                true
            });
        }
        found
    }

    /// The handler of a topic.
    pub(crate) fn choose(&self, topic: &Topic) -> Option<Arc<Registration>> {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        handlers
            .iter()
            .filter(|handler| handler.pattern.matches(topic))
            .min_by_key(|handler| handler.pattern.distance(topic))
            .cloned()
    }

    /// The longest time that any of the handlers has to end when it is cancelled.
    pub(crate) fn longest_grace(&self) -> Duration {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        handlers.iter().filter_map(|handler| handler.options.grace).fold(DEFAULT_GRACE, Duration::max)
    }

    /// What the instance can do, sorted by pattern (U04).
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = handlers
            .iter()
            .map(|handler| Capability { pattern: handler.pattern.clone(), version: handler.version })
            .collect();
        found.sort_by(|a, b| a.pattern.cmp(&b.pattern));
        found
    }

    /// Follows changes.
    #[must_use]
    pub fn changes(&self) -> signal::Receiver<u64> {
        self.version.subscribe()
    }
}
