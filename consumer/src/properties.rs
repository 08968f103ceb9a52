//! Properties that an application gives its instance while it runs (V05): everybody sees them in the topology within a
//! beat. They are not kept: each lasts as long as what provides it.

use crate::engine::Engine;
use longshore_model::topology::properties::Providers;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A property that cannot be provided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadProperty(String);

/// All providers of the instance.
#[derive(Debug, Default)]
pub(crate) struct Properties(Mutex<Providers>);

impl Properties {
    fn lock(&self) -> MutexGuard<'_, Providers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn merged(&self) -> BTreeMap<String, String> {
        self.lock().merged()
    }
}

/// Provides properties until it is dropped.
#[derive(Debug)]
pub struct Provided {
    engine: Arc<Engine>,
    number: u64,
}

impl Provided {
    pub(crate) fn new<N: Into<String>, V: Into<String>>(
        engine: &Arc<Engine>,
        ranking: i32,
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, BadProperty> {
        let number = engine.properties.lock().add(ranking, collect(values)).map_err(BadProperty)?;
        engine.beat_now.notify_one();
        Ok(Self { engine: Arc::clone(engine), number })
    }

    /// Exchanges all that it provides.
    ///
    /// # Errors
    /// [`BadProperty`] for a name that breaks the grammar (letters, digits, `.`, `_`, `-`) or what is out of bounds; it
    /// provides what it did before then.
    pub fn update<N: Into<String>, V: Into<String>>(
        &self,
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Result<(), BadProperty> {
        self.engine.properties.lock().update(self.number, collect(values)).map_err(BadProperty)?;
        self.engine.beat_now.notify_one();
        Ok(())
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        self.engine.properties.lock().remove(self.number);
        self.engine.beat_now.notify_one();
    }
}

fn collect<N: Into<String>, V: Into<String>>(values: impl IntoIterator<Item = (N, V)>) -> BTreeMap<String, String> {
    values.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}
