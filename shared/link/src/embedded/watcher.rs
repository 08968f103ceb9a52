//! Whoever looks at the store after each of its operations: for judges, to whom the order of what happened matters
//! and who must not be a client, whose calls take time and may fail.

use super::core::Core;
use longshore_model::gate::Pausable;
use longshore_model::record::Record;
use std::fmt;

/// The store right after an operation, before anybody hears of it.
#[derive(Debug)]
pub struct Sight<'s>(&'s Core);

impl Sight<'_> {
    /// Every job that it knows, in the order of their ids.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.0.table.entries().map(|entry| &entry.record)
    }

    /// What is paused.
    pub fn pauses(&self) -> impl Iterator<Item = &Pausable> {
        self.0.gates.pauses.keys()
    }
}

/// Who looks, if anybody does.
#[derive(Default)]
pub(super) struct Watcher(Option<Box<Watch>>);

type Watch = dyn FnMut(&Sight<'_>) + Send;

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&self.0.is_some()).finish()
    }
}

impl Watcher {
    pub(super) fn new(watch: impl FnMut(&Sight<'_>) + Send + 'static) -> Self {
        Self(Some(Box::new(watch)))
    }
}

impl Core {
    /// An operation is done.
    pub(super) fn show(&mut self) {
        if let Some(mut watch) = self.watcher.0.take() {
            watch(&Sight(self));
            self.watcher.0 = Some(watch);
        }
    }
}
