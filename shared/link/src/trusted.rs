//! The view without strangers: who belongs to the fleet, where that takes a signature.
//!
//! The store cannot compute a signature, so whoever reads the view judges it: what is in Longshore asks [`Link::view`]
//! who is there, and not the store. Times are the store's. Against somebody who may write to the store this is no
//! protection of the jobs; see the chapter on trust in `docs/deploying.md`.

use crate::connect::Link;
use crate::error::{Fault, Service};
use longshore_model::id::Owner;
use longshore_model::names::Namespace;
use longshore_model::settings::Settings;
use longshore_model::topology::{Card, View};
use longshore_model::trust::{Ignored, Keyring, Outside, Signature, membership};
use std::sync::Arc;

/// The keys of a fleet, if this process has any.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    keys: Option<Arc<Keyring>>,
    namespace: Namespace,
}

/// Who is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The view without those who are not trusted; all, where this process has no keys.
    pub view: View,
    /// Who is not trusted, and why. Where signatures are not required they are in the view all the same.
    pub ignored: Vec<Ignored>,
}

impl Trust {
    /// What the settings say.
    ///
    /// # Errors
    /// [`Fault::Refused`] with what is wrong with the keys, without any of them.
    pub fn of(settings: &Settings) -> Result<Self, Fault> {
        let keys = Keyring::read(&settings.trust.keys, settings.trust.required);
        let keys = keys.map_err(|why| Fault::refused(Service::Store, format!("trust.keys: {why}")))?;
        Ok(Self { keys: keys.map(Arc::new), namespace: settings.namespace.clone() })
    }

    /// Whether there are keys.
    #[must_use]
    pub const fn has_keys(&self) -> bool {
        self.keys.is_some()
    }

    /// Signs a card, if there are keys. `now_ms`: the store's clock.
    #[must_use]
    pub fn sign(&self, card: &Card, now_ms: u64) -> Option<Signature> {
        self.keys.as_ref()?.sign(&self.namespace, card, now_ms)
    }

    /// Whether whoever has these keys belongs to a fleet with this seal.
    ///
    /// # Errors
    /// [`Outside`] with the remedy.
    pub fn membership(&self, seal: &str) -> Result<(), Outside> {
        membership(self.keys.as_deref(), &self.namespace, seal)
    }

    fn sift(&self, view: View, now_ms: u64) -> Seen {
        match &self.keys {
            Some(keys) => {
                let (view, ignored) = keys.sift(&self.namespace, view, now_ms);
                Seen { view, ignored }
            }
            None => Seen { view, ignored: Vec::new() },
        }
    }
}

impl Link {
    /// The live instances that belong to the fleet.
    ///
    /// # Errors
    /// When the store gives no answer.
    pub async fn view(&self) -> Result<View, Fault> {
        Ok(self.seen().await?.view)
    }

    /// The live instances that belong to the fleet, and those that do not.
    ///
    /// # Errors
    /// When the store gives no answer.
    pub async fn seen(&self) -> Result<Seen, Fault> {
        if !self.trust.has_keys() {
            return Ok(Seen { view: self.store.view().await?, ignored: Vec::new() });
        }
        let (view, now) = tokio::try_join!(self.store.view(), self.store.ping())?;
        Ok(self.trust.sift(view, now))
    }

    /// As [`Self::seen`], by an instance, and whether that belongs to the fleet itself. It also seals the fleet where that
    /// is due.
    ///
    /// # Errors
    /// When the store gives no answer.
    pub async fn seen_by(&self, me: &Owner) -> Result<(Seen, Result<(), Outside>), Fault> {
        let Some(keys) = &self.trust.keys else {
            let (view, seal) = tokio::try_join!(self.store.view(), self.store.seal(None))?;
            return Ok((Seen { view, ignored: Vec::new() }, self.trust.membership(&seal)));
        };
        let (view, now, mut seal) = tokio::try_join!(self.store.view(), self.store.ping(), self.store.seal(None))?;
        if let Some(next) = keys.reseal(&self.trust.namespace, &seal, &view, me, now) {
            seal = self.store.seal(Some((&seal, &next))).await?;
            match seal.split(':').next().filter(|_| seal == next) {
                None => {}
                Some("") => tracing::info!("the fleet is not sealed any more: joining needs no signature"),
                Some(key) => tracing::info!(key, "the fleet is sealed: joining needs a signature"),
            }
        }
        Ok((self.trust.sift(view, now), self.trust.membership(&seal)))
    }
}
