//! Offers the store again what it took in the last seconds, when it turns out to have begun anew.
//!
//! A store that syncs its file every second forgets up to that second when its machine dies, and one that fails over
//! forgets what its replica had not heard of. A job that is in a lane as well comes back from there; one that waits for its
//! time or at a gate is in the store alone. So a producer keeps those for a few seconds after they were accepted
//! ([`Recent`]), looks once a second whether the store is still the one that it was, and sends them again if not: with the
//! same ids, so that nothing is there twice, and for the same time. What this process had forgotten by then, or did not
//! live to offer, is what the journal is for.

use crate::builder::Prepared;
use crate::connect::{Inner, Producer};
use longshore_link::recent::Recent;
use longshore_link::store::{Accepted, NewJob};
use longshore_model::limits;
use longshore_model::record::{Expiry, Start};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

const LOOK: Duration = Duration::from_secs(1);
/// What a kept job takes beside its envelope, about, bytes.
const OVERHEAD: usize = 512;

/// What may have to be offered again.
#[derive(Debug)]
pub(crate) struct Reoffer {
    recent: Recent<Prepared>,
    /// Whether somebody looks.
    watched: AtomicBool,
    /// The store that holds what was accepted, as far as is known: restarts, and the last epoch (0: unknown).
    restarts: AtomicU64,
    epoch: AtomicU64,
}

impl Reoffer {
    pub(crate) fn new(restarts: u64) -> Self {
        Self {
            recent: Recent::default(),
            watched: AtomicBool::new(false),
            restarts: AtomicU64::new(restarts),
            epoch: AtomicU64::new(0),
        }
    }
}

impl Producer {
    /// Keeps a job that was just accepted.
    pub(crate) fn keep_accepted(&self, prepared: &Prepared, accepted: &Accepted) {
        if accepted.existed || accepted.id != prepared.job.admission.id || accepted.state.is_terminal() {
            return;
        }
        let (inner, mut prepared) = (&self.inner, prepared.clone());
        prepared.job.again = true;
        let NewJob { admission, envelope, .. } = &mut prepared.job;
        if let Start::After(_) = admission.start {
            admission.start = Start::At(admission.start.at(accepted.created));
        }
        if let Some(Expiry::After(span)) = admission.expires {
            admission.expires = Some(Expiry::At(accepted.created.saturating_add(span)));
        }
        let bytes = envelope.len() + OVERHEAD;
        inner.reoffer.recent.note(inner.link.world.clock.boot(), bytes, prepared);
        if !inner.reoffer.watched.swap(true, Ordering::Relaxed) {
            drop(inner.link.world.tasks.spawn(watch(Arc::downgrade(inner), inner.link.world.clock.clone())));
        }
    }
}

/// Looks after the store as long as something is recent.
async fn watch(inner: Weak<Inner>, clock: longshore_link::world::Clock) {
    loop {
        clock.sleep(LOOK).await;
        let Some(inner) = inner.upgrade() else { return };
        // Asked first: it is what reaches another server.
        if let Ok(losses) = inner.link.store.losses().await {
            let restarts = inner.link.store.restarts();
            let epoch = losses.last().map_or(0, |loss| loss.epoch);
            let known = inner.reoffer.epoch.load(Ordering::Relaxed);
            let anew = known != 0 && epoch != 0 && epoch != known;
            if (!anew && restarts == inner.reoffer.restarts.load(Ordering::Relaxed)) || offer(&inner).await {
                inner.reoffer.restarts.store(restarts, Ordering::Relaxed);
                if epoch != 0 {
                    inner.reoffer.epoch.store(epoch, Ordering::Relaxed);
                }
            }
        }
        if inner.reoffer.recent.is_over(clock.boot()) {
            inner.reoffer.watched.store(false, Ordering::Relaxed);
            // Somebody may have kept a job in between, and not have started another watch.
            if inner.reoffer.recent.is_over(clock.boot()) || inner.reoffer.watched.swap(true, Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Sends all again. Answers whether the store took part.
async fn offer(inner: &Arc<Inner>) -> bool {
    let producer = Producer { inner: Arc::clone(inner), operator: None };
    let recent = inner.reoffer.recent.again(inner.link.world.clock.boot());
    let (mut lost, mut answered) = (0, true);
    for part in recent.chunks(limits::BATCH) {
        let deadline = inner.deadline();
        let jobs = || part.iter().map(|prepared| prepared.job.clone()).collect::<Vec<_>>();
        let tried = match inner.repeat(deadline, || inner.enqueue_all(jobs())).await {
            Ok(tried) => tried,
            Err(failed) => {
                tracing::warn!(fault = %failed.fault, jobs = part.len(), "the store began anew and does not answer");
                answered = false;
                continue;
            }
        };
        let accepted = part.iter().zip(&tried.answer).filter_map(|(job, answer)| Some((job, answer.as_ref().ok()?)));
        let accepted: Vec<_> = accepted.filter(|(_, accepted)| !accepted.existed).collect();
        lost += accepted.len();
        producer.publish(&accepted, tried.repeated, deadline).await;
    }
    if lost > 0 {
        tracing::warn!(jobs = lost, "the store had lost jobs that it had just accepted; they were sent again");
    }
    answered
}
