//! What is left to a send when the store does not answer: the broker alone, then this machine's disk, then an error.
//!
//! Both ways are off by default. A job that the broker alone has is made known to the store by the consumer that claims
//! it, as a message of a foreign client is. All ways keep the job's id, so that taking two of them, or repeating the
//! send, makes one job. The time of a send is divided between them: none of them ever exceeds the deadline.

use crate::builder::Prepared;
use crate::connect::{Inner, Producer};
use crate::errors::SendError;
use crate::send::{Custody, Failed, Repeated, Sent};
use crate::spool::{Spool, SpoolError};
use longshore_link::Fault;
use longshore_link::broker::{Headers, Message, Target};
use longshore_link::error::Service;
use longshore_link::store::NewJob;
use longshore_model::record::{Start, State};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A send that finds the store away although another one found it so less than this ago waits only a little for it.
const FRESH: Duration = Duration::from_secs(5);

impl Inner {
    /// Until when a send waits for the store: to the end where it has no other way.
    pub(crate) fn store_deadline(&self, deadline: Duration) -> Duration {
        let now = self.link.world.clock.boot();
        let left = deadline.saturating_sub(now);
        if !self.options.allow_degraded && self.options.spool.is_none() {
            return deadline;
        }
        let failed = Duration::from_micros(self.store_failed.load(Ordering::Relaxed));
        let fresh = !failed.is_zero() && now.saturating_sub(failed) < FRESH;
        now + if fresh { left / 20 } else { left / 2 }
    }

    /// Notes whether the store answered a send.
    pub(crate) fn note_store(&self, answered: bool) {
        let now = if answered { Duration::ZERO } else { self.link.world.clock.boot() };
        self.store_failed.store(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Producer {
    /// Answers for jobs for which the store did not.
    pub(crate) async fn without_store(
        &self,
        jobs: &[&Prepared],
        failed: &Failed,
        deadline: Duration,
    ) -> Vec<Result<Sent, SendError>> {
        let inner = &self.inner;
        if !failed.fault.is_passing() {
            // It is there, and somebody has to look after it.
            return jobs.iter().map(|job| Err(failed.clone().into_error(id(job)))).collect();
        }
        inner.note_store(false);
        let mut answers: Vec<Option<Result<Sent, SendError>>> = jobs.iter().map(|_| None).collect();
        // Whether the broker may have a job all the same, by its place.
        let mut unsure: BTreeSet<usize> = BTreeSet::new();
        if inner.options.allow_degraded {
            // The disk gets the last quarter of what is left.
            let now = inner.link.world.clock.boot();
            let left = deadline.saturating_sub(now);
            let until = if inner.options.spool.is_some() { now + left * 3 / 4 } else { deadline };
            let places: Vec<usize> = (0..jobs.len()).filter(|place| may_go_alone(jobs[*place])).collect();
            let chosen: Vec<&Prepared> = places.iter().map(|place| jobs[*place]).collect();
            for (place, confirm) in places.into_iter().zip(self.publish_alone(&chosen, until).await) {
                match confirm {
                    Ok(()) => answers[place] = Some(Ok(self.held(jobs[place], Custody::Broker, failed))),
                    Err(fault) if fault.is_unknown() => drop(unsure.insert(place)),
                    Err(_) => {}
                }
            }
        }
        let rest: Vec<usize> = (0..jobs.len()).filter(|place| answers[*place].is_none()).collect();
        let spooled = match &inner.options.spool {
            Some(spool) if !rest.is_empty() => Some(self.spool(spool, &rest, jobs, deadline).await),
            _ => None,
        };
        for place in rest {
            let (job, id, fault) = (jobs[place], id(jobs[place]), failed.fault.clone());
            let open = unsure.contains(&place) || failed.repeated == Repeated::Yes;
            answers[place] = Some(match &spooled {
                Some(Ok(())) => Ok(self.held(job, Custody::Spool, failed)),
                // Who cannot tell must not say no.
                Some(Err(SpoolError::Late(_))) => Err(SendError::Unknown { id, fault }),
                _ if open => Err(SendError::Unknown { id, fault }),
                Some(Err(spool)) => Err(SendError::NotSpooled { id, fault, spool: spool.clone() }),
                None => Err(SendError::Unreachable { id, fault }),
            });
        }
        // Every place was answered by the broker or is in the rest.
        answers.into_iter().flatten().collect()
    }

    /// Publishes jobs that the store does not know, and waits for the confirms.
    async fn publish_alone(&self, jobs: &[&Prepared], until: Duration) -> Vec<Result<(), Fault>> {
        if jobs.is_empty() {
            return Vec::new();
        }
        let messages: Vec<Message> = jobs.iter().map(|job| message(job)).collect();
        let late = Fault::unknown(Service::Broker, "no confirm before the deadline of the send");
        let confirms = self.inner.within(until, self.inner.link.broker.publish(messages)).await;
        confirms.unwrap_or_else(|| vec![Err(late); jobs.len()])
    }

    async fn spool(
        &self,
        spool: &Spool,
        places: &[usize],
        jobs: &[&Prepared],
        deadline: Duration,
    ) -> Result<(), SpoolError> {
        let chosen: Vec<&Prepared> = places.iter().map(|place| jobs[*place]).collect();
        let now_ms = self.inner.link.world.clock.unix_ms();
        let kept = self.inner.within(deadline, spool.append(&chosen, now_ms)).await;
        let kept = kept.unwrap_or_else(|| Err(SpoolError::Late(spool.dir().to_owned())));
        if let Err(error) = &kept {
            tracing::warn!(%error, count = chosen.len(), "jobs could not be spooled");
        }
        kept
    }

    fn held(&self, job: &Prepared, custody: Custody, failed: &Failed) -> Sent {
        let state = if job.job.admission.start == Start::Now { State::Queued } else { State::Scheduled };
        Sent::new(self.clone(), id(job), custody, false, state).held_up(failed.fault.clone())
    }
}

const fn id(job: &Prepared) -> longshore_model::JobId {
    job.job.admission.id
}

/// Whether a message says all that matters of the job: one that has to wait, or to be linked with another, needs the
/// store.
fn may_go_alone(job: &Prepared) -> bool {
    let NewJob { admission, retry_of, .. } = &job.job;
    // Only the store knows who has a unique key.
    admission.start == Start::Now && admission.unique.is_none() && retry_of.is_none()
}

/// As a foreign client would write it: neither generation nor time of acceptance are known.
fn message(job: &Prepared) -> Message {
    let admission = &job.job.admission;
    Message {
        // Only the store can tell those who consume it of a high lane.
        target: Target::Jobs(admission.topic.clone().into()),
        message_id: admission.id.to_string(),
        headers: Headers { trace: job.trace.clone(), ..Headers::default() },
        body: job.job.envelope.clone(),
    }
}
