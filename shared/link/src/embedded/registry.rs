//! Which embedded backend a name stands for: in one process the same name and namespace are the same backend, for as
//! long as anybody holds it.

use super::{Backend, Embedded};
use crate::world::World;
use longshore_model::names::Namespace;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, Weak};

type Key = (String, String);

static OPEN: Mutex<BTreeMap<Key, Weak<Backend>>> = Mutex::new(BTreeMap::new());

/// The backend of that name, new when nobody holds it. A new one takes its clock from `world`.
pub(crate) fn open(name: &str, namespace: &Namespace, world: &World) -> Embedded {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|_, backend| backend.strong_count() > 0);
    let key = (name.to_owned(), namespace.to_string());
    if let Some(backend) = open.get(&key).and_then(Weak::upgrade) {
        return Embedded { backend };
    }
    let embedded = Embedded::new(world);
    open.insert(key, std::sync::Arc::downgrade(&embedded.backend));
    embedded
}
