//! Jobs that this instance took back from one that went away, to be run here, ahead of the lanes.
//!
//! In its lane such a job would wait behind everything that was sent since it was first taken. Its copy is in the lane
//! all the same, confirmed before the job comes here: whoever claims first runs it, and losing this list loses
//! nothing. So it is bounded, and what cannot be run soon is left to the lane.

use super::Engine;
use longshore_link::broker::{Delivery, Headers, Settler, Tag};
use longshore_link::store::Outgoing;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// No session has it.
const NO_TAG: Tag = Tag { session: 0, channel: 0, number: 0 };

/// The jobs, oldest first.
#[derive(Debug, Default)]
pub(crate) struct TakenBack {
    jobs: Mutex<VecDeque<Delivery>>,
}

impl TakenBack {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Delivery>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pop(&self) -> Option<Delivery> {
        self.lock().pop_front()
    }

    /// It could not be run now, and is the next one again.
    pub(crate) fn put_back(&self, job: Delivery) {
        self.lock().push_front(job);
    }
}

impl Engine {
    /// Takes jobs whose copies are in their lanes; those that this instance does not consume, and more than fill its
    /// slots, stay there.
    pub(crate) fn run_here(&self, jobs: Vec<Outgoing>) {
        let consuming = self.consuming.borrow().clone();
        let mut waiting = self.taken_back.lock();
        for job in jobs.into_iter().filter(|job| consuming.contains(&job.lane)) {
            if waiting.len() >= self.slots {
                break;
            }
            waiting.push_back(delivery(job, self.link.world.random.next()));
        }
        drop(waiting);
        self.slot_freed.notify_one();
    }
}

/// Whether a delivery is one of a job that was taken back, so that no message belongs to it.
pub(crate) fn is(delivery: &Delivery) -> bool {
    delivery.tag == NO_TAG
}

fn delivery(job: Outgoing, nonce: u64) -> Delivery {
    Delivery {
        headers: Headers::from(&job),
        lane: job.lane,
        tag: NO_TAG,
        nonce: format!("{nonce:016x}-again"),
        message_id: Some(job.id.to_string()),
        body: job.envelope,
        redelivered: false,
    }
}

/// Settles nothing: no message belongs to the attempt. Copies that its end asks for are published as for any other.
#[derive(Debug)]
pub(crate) struct NoMessage;

impl Settler for NoMessage {
    fn ack(&self, _: Tag) {}

    fn give_back(&self, _: Tag) {}

    fn is_live(&self) -> bool {
        true
    }
}
