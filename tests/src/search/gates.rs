//! The unique key, which must be free before a job may enter the store, and is freed when it ends; with all of the protocol
//! around it. Its other modes, orders, limits and pauses are searched by [`super::flow`], without the broker.
//!
//! The rule is that of a key that is unique until its job has ended. The script that accepts a job takes the key, the script
//! that ends it gives the key back, and nobody frees another job's. A job that is made from its message takes the key if it
//! is free and runs in any case: it was accepted before.

use super::system::System;

/// Whether a new job may enter.
pub(super) fn may_enter(system: &System, job: u8) -> bool {
    system.key.is_none_or(|holder| holder == job)
}

/// The job is in the store and has not ended; whether it shares its key with another.
pub(super) fn enter(system: &mut System, job: u8, shared: bool) {
    if shared && system.key.is_none() {
        system.key = Some(job);
    }
}

/// The job ended.
pub(super) fn leave(system: &mut System, job: u8) {
    if system.key == Some(job) {
        system.key = None;
    }
}
