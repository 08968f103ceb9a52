//! One connected set of borders: what producer and consumer are built on.

use crate::amqp::Amqp;
use crate::blobs::Blobs;
use crate::broker::{Absent, Broker};
use crate::embedded::registry;
use crate::error::{Fault, Service};
use crate::events::Events;
use crate::redis::RedisStore;
use crate::store::Store;
use crate::trusted::Trust;
use crate::world::World;
use longshore_model::settings::Settings;
use std::sync::Arc;

/// Broker, store, blobs and the world. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Link {
    /// Time, randomness, tasks.
    pub world: World,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The broker.
    pub broker: Arc<dyn Broker>,
    /// Payload files.
    pub blobs: Blobs,
    /// Who listens to events, and what is to be told.
    pub events: Arc<Events>,
    /// Who belongs to the fleet.
    pub trust: Trust,
}

/// What the addresses of broker and store ask for.
#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    /// Both in this process, under a name.
    Embedded(&'a str),
    /// RabbitMQ and Redis.
    Services,
}

impl Link {
    /// Connects as the settings say. `role` is the name under which people see the connections (`producer`,
    /// `consumer render-1`).
    ///
    /// With `embedded:<name>` for the broker and the store, both are in this process; all that use the same name and
    /// namespace share them.
    ///
    /// # Errors
    /// [`Fault::Refused`] for an address that cannot work, with the remedy; [`Fault::Unreachable`] when a service is
    /// away.
    pub async fn connect(settings: &Settings, world: World, role: &str) -> Result<Self, Fault> {
        match kind(settings.broker.url.reveal(), settings.store.url.reveal())? {
            Kind::Embedded(name) => {
                let embedded = registry::open(name, &settings.namespace, &world);
                embedded.set_quarantine_bytes(settings.broker.quarantine_bytes);
                let link = embedded.link(world);
                let blobs = blobs(settings, &link.world, Some(&link.blobs))?;
                Ok(Self { blobs, trust: Trust::of(settings)?, ..link })
            }
            Kind::Services => services(settings, world, role).await,
        }
    }
}

impl Link {
    /// Connects to the store alone, for whoever reads and controls jobs: an operator wants answers most when the
    /// broker is away. Publishing answers [`Fault::Unreachable`].
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_store(settings: &Settings, world: World) -> Result<Self, Fault> {
        match kind(settings.broker.url.reveal(), settings.store.url.reveal())? {
            Kind::Embedded(_) => Self::connect(settings, world, "reader").await,
            Kind::Services => {
                let store = RedisStore::connect(&settings.store, settings.namespace.clone(), world.clone()).await?;
                let (blobs, events) = (blobs(settings, &world, None)?, Events::new(&world));
                Ok(Self { world, store, broker: Arc::new(Absent), blobs, events, trust: Trust::of(settings)? })
            }
        }
    }
}

/// The place of payload files: an empty address is that of the embedded backend, or none.
fn blobs(settings: &Settings, world: &World, embedded: Option<&Blobs>) -> Result<Blobs, Fault> {
    let url = &settings.blobs.url;
    if let Some(name) = url.reveal().strip_prefix("embedded:") {
        return Ok(registry::open(name, &settings.namespace, world).blobs());
    }
    if url.is_empty() {
        return Ok(embedded.cloned().unwrap_or_else(|| Blobs::nowhere(world)));
    }
    Blobs::open(&settings.blobs, &settings.namespace, world)
}

async fn services(settings: &Settings, world: World, role: &str) -> Result<Link, Fault> {
    // The store first: it is what every call needs.
    let store = RedisStore::connect(&settings.store, settings.namespace.clone(), world.clone()).await?;
    let broker = Amqp::connect(&settings.broker, settings.namespace.clone(), world.clone(), role).await?;
    let (blobs, events) = (blobs(settings, &world, None)?, Events::new(&world));
    Ok(Link { world, store, broker, blobs, events, trust: Trust::of(settings)? })
}

fn kind<'a>(broker: &'a str, store: &'a str) -> Result<Kind<'a>, Fault> {
    let embedded = |url: &'a str| url.strip_prefix("embedded:");
    match (embedded(broker), embedded(store)) {
        (Some(broker), Some(store)) if broker == store => Ok(Kind::Embedded(broker)),
        (Some(_), Some(_)) => Err(Fault::refused(
            Service::Store,
            "broker.url and store.url name two embedded backends: give both the same name",
        )),
        (Some(_), None) => Err(Fault::refused(
            Service::Broker,
            "broker.url is `embedded:` and store.url is not: an embedded broker needs the embedded store",
        )),
        (None, Some(_)) => Err(Fault::refused(
            Service::Store,
            "store.url is `embedded:` and broker.url is not: an embedded store needs the embedded broker",
        )),
        (None, None) => Ok(Kind::Services),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_is_for_both_or_neither_and_under_one_name() {
        assert_eq!(kind("embedded:", "embedded:"), Ok(Kind::Embedded("")));
        assert_eq!(kind("embedded:a", "embedded:a"), Ok(Kind::Embedded("a")));
        assert_eq!(kind("amqp://host", "redis://host"), Ok(Kind::Services));
        for (broker, store, word) in [
            ("embedded:a", "embedded:b", "same name"),
            ("embedded:", "redis://host", "embedded store"),
            ("amqp://host", "embedded:", "embedded broker"),
        ] {
            let fault = kind(broker, store).unwrap_err();
            assert!(!fault.is_passing() && fault.to_string().contains(word), "{fault}");
        }
    }
}
