//! Payload files by content: stored once under their SHA-256, checked when read.
//!
//! Owns the object store and nothing else; who may read which blob is decided by whoever holds its
//! digest. A blob is written whole or not at all, and reading one whose bytes do not match its
//! digest is a refusal, never a wrong file.

use object_store::ObjectStore;
use std::any::Any;
use std::sync::Arc;

/// The place of payload files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    /// Whatever must live as long as anybody reads the blobs.
    keep: Option<Arc<dyn Any + Send + Sync>>,
}

impl Blobs {
    /// Blobs in this process, for the embedded backend.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { store: Arc::new(object_store::memory::InMemory::new()), keep: None }
    }

    /// The same blobs, which keep something alive.
    #[must_use]
    pub(crate) fn keeping(self, keep: Arc<dyn Any + Send + Sync>) -> Self {
        Self { keep: Some(keep), ..self }
    }
}
