//! One connected set of borders: what producer and consumer are built on.

use crate::blobs::Blobs;
use crate::broker::Broker;
use crate::store::Store;
use crate::world::World;
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
}
