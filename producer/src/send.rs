//! Sending: the store first, the broker second, and an answer within the deadline, always.
//!
//! The store accepts a job and keeps it in its outbox; the publish makes it runnable now; that the
//! broker has it is marked behind the answer. Whatever fails after the store accepted costs time and
//! nothing else: the relay publishes from the outbox. A call without an answer is repeated with the
//! same ids until the deadline, which the store answers as the first time. What is left when the store
//! does not answer at all is in `degraded`.

use crate::builder::{JobBuilder, Prepared};
use crate::connect::{Admitted, Inner, Producer};
use crate::errors::{Refusal, SendError};
use crate::outcome::Outcome;
use futures_util::{StreamExt, stream};
use longshore_link::broker::{Message, Target};
use longshore_link::error::{Fault, Service};
use longshore_link::store::Accepted;
use longshore_model::event::Class;
use longshore_model::{Job, JobId, Lane, State, limits};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// First wait before a call that failed is repeated; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Calls that one `send_all` has under way: enough to encode and publish one part while the store takes another.
const PARTS_AT_ONCE: usize = 4;

/// Who is known to hold an accepted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Custody {
    /// Store and broker: it can run now, or it waits for its time and is in the journal.
    Both,
    /// The store. It waits there for its time (and the journal, if there is one, did not confirm it), or the broker did
    /// not confirm it yet and the relay publishes it, or it had been accepted before.
    Store,
    /// The broker alone, because the store did not answer
    /// ([`ProducerOptions::allow_degraded`](crate::ProducerOptions::allow_degraded)). The store learns of the job when a
    /// consumer claims it, which has to happen within two hours; until then nobody finds or stops it.
    Broker,
    /// The spool of this machine, because neither answered ([`ProducerOptions::spool`](crate::ProducerOptions::spool)).
    /// It gets into the store when that is back, as long as this process lives or another one opens the spool.
    Spool,
}

/// A job was accepted: it will end, whatever happens to this process.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The job.
    pub id: JobId,
    /// Who is known to hold it.
    pub custody: Custody,
    /// It had been accepted before, with the same id, or as another job that has its unique key ([`Self::id`] is that
    /// one's); nothing was added.
    pub existed: bool,
    /// The state in which it was accepted, or is by now if it existed.
    pub state: State,
    /// What kept it from being in the hands of both, if something did: [`Fault::Blocked`] is a broker that takes no
    /// publishes for now.
    pub held_up: Option<Fault>,
    producer: Producer,
}

impl Sent {
    /// Waits for the end of the job: `.await` it, or give it a `.timeout(…)` first. A job that the store does not know
    /// yet ([`Custody::Broker`], [`Custody::Spool`]) is waited for until it does.
    pub fn outcome(&self) -> Outcome {
        let outcome = self.producer.outcome(self.id);
        match self.custody {
            Custody::Broker | Custody::Spool => outcome.also_unknown(),
            Custody::Both | Custody::Store => outcome,
        }
    }

    pub(crate) const fn new(producer: Producer, id: JobId, custody: Custody, existed: bool, state: State) -> Self {
        Self { id, custody, existed, state, held_up: None, producer }
    }

    pub(crate) fn held_up(self, fault: Fault) -> Self {
        Self { held_up: Some(fault), ..self }
    }
}

/// What [`Producer::send_all`] takes: jobs, or builders.
pub trait IntoJob {
    /// The job with its options.
    fn into_job(self, producer: &Producer) -> JobBuilder;
}

impl<J: Job> IntoJob for J {
    fn into_job(self, producer: &Producer) -> JobBuilder {
        producer.job(self)
    }
}

impl IntoJob for JobBuilder {
    fn into_job(self, _: &Producer) -> JobBuilder {
        self
    }
}

impl Producer {
    /// Sends a job with the defaults of its kind and its queue. [`Self::job`] is the form with options.
    ///
    /// # Errors
    /// [`SendError`], within the producer's deadline: refused, not sent, or unknown.
    pub async fn send<J: Job>(&self, job: J) -> Result<Sent, SendError> {
        self.send_built(self.job(job)).await
    }

    /// Sends many jobs, or builders, in calls of up to 200 that overlap. One answer per job, in order; what is wrong
    /// with one does not touch the others. Once a call found no store within the deadline, what was not begun
    /// yet is answered [`SendError::Unreachable`] at once.
    pub async fn send_all<I>(&self, jobs: I) -> Vec<Result<Sent, SendError>>
    where
        I: IntoIterator<IntoIter: Send>,
        I::Item: IntoJob,
    {
        let away = AtomicBool::new(false);
        // Built part by part as they are sent: a long iterator is not in memory twice.
        let mut jobs = jobs.into_iter();
        let parts = std::iter::from_fn(|| {
            let part: Vec<_> = jobs.by_ref().take(limits::BATCH).map(|job| job.into_job(self)).collect();
            (!part.is_empty()).then_some(part)
        });
        let answers = stream::iter(parts).map(|part| self.send_part(part, &away)).buffered(PARTS_AT_ONCE);
        answers.collect::<Vec<_>>().await.into_iter().flatten().collect()
    }

    pub(crate) async fn send_built(&self, job: JobBuilder) -> Result<Sent, SendError> {
        let prepared = job.prepare().await?;
        self.send_prepared(prepared, self.inner.deadline()).await
    }

    pub(crate) async fn send_prepared(&self, prepared: Prepared, deadline: Duration) -> Result<Sent, SendError> {
        let inner = &self.inner;
        let id = prepared.job.admission.id;
        let bytes = prepared.job.envelope.len();
        let until = inner.store_deadline(deadline);
        let admitted = inner.repeat(until, || inner.enqueue.call(prepared.job.clone(), bytes)).await;
        match admitted {
            Ok(Tried { answer, repeated }) => {
                inner.note_store(true);
                let accepted = answer.map_err(Refusal::from)?;
                let mut sent = self.publish(&[(&prepared, &accepted)], repeated, deadline).await;
                sent.pop().ok_or_else(|| SendError::Unknown { id, fault: no_answer() })
            }
            Err(failed) => {
                let mut answers = self.without_store(&[&prepared], &failed, deadline).await;
                answers.pop().unwrap_or_else(|| Err(failed.into_error(id)))
            }
        }
    }

    /// One part of [`Self::send_all`].
    async fn send_part(&self, part: Vec<JobBuilder>, away: &AtomicBool) -> Vec<Result<Sent, SendError>> {
        let mut answers: Vec<Option<Result<Sent, SendError>>> = Vec::with_capacity(part.len());
        let mut batch: Vec<(usize, Prepared)> = Vec::with_capacity(part.len());
        let mut bytes = 0;
        for (index, job) in part.into_iter().enumerate() {
            answers.push(None);
            match job.prepare().await {
                Ok(prepared) => {
                    let size = prepared.job.envelope.len();
                    if bytes + size > limits::BATCH_BYTES {
                        self.send_batch(std::mem::take(&mut batch), &mut answers, away).await;
                        bytes = 0;
                    }
                    bytes += size;
                    batch.push((index, prepared));
                }
                Err(error) => answers[index] = Some(Err(error)),
            }
        }
        self.send_batch(batch, &mut answers, away).await;
        // Every index was either answered above or was in a batch, which answers all of its own.
        answers.into_iter().flatten().collect()
    }

    async fn send_batch(
        &self,
        batch: Vec<(usize, Prepared)>,
        answers: &mut [Option<Result<Sent, SendError>>],
        away: &AtomicBool,
    ) {
        if batch.is_empty() {
            return;
        }
        let inner = &self.inner;
        let deadline = inner.deadline();
        let jobs = || batch.iter().map(|(_, prepared)| prepared.job.clone()).collect::<Vec<_>>();
        let tried = if away.load(Ordering::Relaxed) {
            let fault = Fault::unreachable(Service::Store, "it did not answer the jobs before this one in time");
            Err(Failed { fault, repeated: Repeated::No })
        } else {
            inner.repeat(inner.store_deadline(deadline), || inner.enqueue_all(jobs())).await
        };
        let Tried { answer, repeated } = match tried {
            Ok(tried) => tried,
            Err(failed) => {
                away.store(failed.fault.is_passing(), Ordering::Relaxed);
                let prepared: Vec<&Prepared> = batch.iter().map(|(_, prepared)| prepared).collect();
                for ((index, _), answer) in batch.iter().zip(self.without_store(&prepared, &failed, deadline).await) {
                    answers[*index] = Some(answer);
                }
                return;
            }
        };
        inner.note_store(true);
        let (mut accepted, mut places) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for ((index, prepared), admitted) in batch.iter().zip(&answer) {
            match admitted {
                Ok(admitted) => {
                    accepted.push((prepared, admitted));
                    places.push(*index);
                }
                Err(refused) => answers[*index] = Some(Err(Refusal::from(refused.clone()).into())),
            }
        }
        let sent = self.publish(&accepted, repeated, deadline).await;
        for (index, sent) in places.into_iter().zip(sent) {
            answers[index] = Some(Ok(sent));
        }
    }

    /// Publishes what was accepted: into its lane what can run now, into the journal what waits, where there is one. It
    /// cannot fail: a runnable job that the broker does not confirm in time is the relay's. What no lane holds is kept for
    /// a while, should the store forget it.
    pub(crate) async fn publish(
        &self,
        jobs: &[(&Prepared, &Accepted)],
        repeated: Repeated,
        deadline: Duration,
    ) -> Vec<Sent> {
        let sent = self.publish_runnable(jobs, repeated, deadline).await;
        for ((prepared, accepted), sent) in jobs.iter().zip(&sent) {
            if accepted.state != State::Queued || sent.custody == Custody::Store {
                self.keep_accepted(prepared, accepted);
            }
        }
        if self.inner.link.is_heard(Class::Job) {
            for ((prepared, accepted), _) in jobs.iter().zip(&sent).filter(|(_, sent)| !sent.existed) {
                self.inner.link.tell_added(&prepared.job, accepted);
            }
        }
        sent
    }

    async fn publish_runnable(
        &self,
        jobs: &[(&Prepared, &Accepted)],
        repeated: Repeated,
        deadline: Duration,
    ) -> Vec<Sent> {
        let inner = &self.inner;
        // A job that had been accepted before was, or will be, published by whoever got it accepted; our own first
        // call, whose answer was lost, was nobody's.
        let ours = |place: usize, accepted: &Accepted| {
            let same = accepted.id == jobs[place].0.job.admission.id;
            accepted.replaced || same && (!accepted.existed || repeated == Repeated::Yes)
        };
        let runnable = |place, accepted: &Accepted| accepted.state == State::Queued && ours(place, accepted);
        let mut sent: Vec<Sent> = Vec::with_capacity(jobs.len());
        let (mut messages, mut places, mut lanes) = (Vec::new(), Vec::new(), BTreeSet::new());
        // What the store alone would hold.
        let journaled = |place, accepted: &Accepted| {
            let held = matches!(accepted.state, State::Scheduled | State::Blocked);
            inner.options.journal && held && ours(place, accepted)
        };
        for (place, (prepared, accepted)) in jobs.iter().enumerate() {
            let another = accepted.id != prepared.job.admission.id;
            let existed = accepted.existed && (another || repeated == Repeated::No);
            sent.push(Sent::new(self.clone(), accepted.id, Custody::Store, existed, accepted.state));
            if runnable(place, accepted) {
                lanes.insert(accepted.lane(&prepared.job.admission));
                messages.push(message(prepared, accepted));
                places.push(place);
            } else if journaled(place, accepted) {
                messages.push(journal_entry(prepared, accepted));
                places.push(place);
            }
        }
        if messages.is_empty() {
            return sent;
        }
        let lanes: Vec<Lane> = lanes.into_iter().collect();
        let confirms = inner.within(deadline, async {
            // Without its lane a message goes to the unrouted letters, from where it is moved when the lane is there.
            if let Err(fault) = inner.link.broker.declare(&lanes).await {
                tracing::warn!(%fault, ?lanes, "the lanes could not be declared");
                if !matches!(fault, Fault::Refused { .. }) {
                    return messages.iter().map(|_| Err(fault.clone())).collect();
                }
            }
            inner.link.broker.publish(messages).await
        });
        let late = Fault::unknown(Service::Broker, "no confirm before the deadline of the send");
        let confirms = confirms.await.unwrap_or_else(|| vec![Err(late); places.len()]);
        for (place, confirm) in places.into_iter().zip(confirms) {
            let (id, queued) = (sent[place].id, jobs[place].1.state == State::Queued);
            match confirm {
                Ok(()) => {
                    sent[place].custody = Custody::Both;
                    if queued {
                        inner.mark_published(id, jobs[place].1.generation);
                    }
                }
                Err(fault) => {
                    if queued {
                        tracing::debug!(job = %id, %fault, "not confirmed by the broker; the relay publishes it");
                    } else {
                        tracing::debug!(job = %id, %fault, "not in the journal; until it starts the store alone has it");
                    }
                    sent[place].held_up = Some(fault);
                }
            }
        }
        sent
    }
}

fn message(prepared: &Prepared, accepted: &Accepted) -> Message {
    let target = Target::Jobs(accepted.lane(&prepared.job.admission));
    let mut message = Message::accepted(&prepared.job, accepted, target);
    message.headers.trace.clone_from(&prepared.trace);
    message
}

/// The journal's copy of a job that waits for its time.
fn journal_entry(prepared: &Prepared, accepted: &Accepted) -> Message {
    let admission = &prepared.job.admission;
    let target = Target::Journal(admission.topic.clone(), admission.start.at(accepted.created));
    Message { target, ..message(prepared, accepted) }
}

fn no_answer() -> Fault {
    Fault::unknown(Service::Store, "the call ended without an answer")
}

/// Whether an earlier call of ours may have reached the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    No,
    Yes,
}

pub(crate) struct Tried<A> {
    pub(crate) answer: A,
    pub(crate) repeated: Repeated,
}

/// No answer before the deadline.
#[derive(Debug, Clone)]
pub(crate) struct Failed {
    pub(crate) fault: Fault,
    /// Whether any of the calls may have reached the store.
    pub(crate) repeated: Repeated,
}

impl Failed {
    pub(crate) fn into_error(self, id: JobId) -> SendError {
        match (self.repeated, self.fault) {
            (Repeated::Yes, fault) => SendError::Unknown { id, fault },
            (Repeated::No, fault @ Fault::Refused { .. }) => SendError::Refused(Refusal::Store(fault)),
            (Repeated::No, fault) => SendError::Unreachable { id, fault },
        }
    }
}

impl Inner {
    /// When a call that begins now has to be answered, on the clock of [`longshore_link::world::Clock::boot`].
    pub(crate) fn deadline(&self) -> Duration {
        self.link.world.clock.boot() + self.options.deadline
    }

    fn left(&self, deadline: Duration) -> Duration {
        deadline.saturating_sub(self.link.world.clock.boot())
    }

    /// Runs a future until the deadline.
    pub(crate) async fn within<F: Future>(&self, deadline: Duration, future: F) -> Option<F::Output> {
        self.link.world.clock.timeout(self.left(deadline), future).await
    }

    pub(crate) async fn enqueue_all(&self, jobs: Vec<longshore_link::store::NewJob>) -> Result<Vec<Admitted>, Fault> {
        let count = jobs.len();
        let answers = self.link.store.enqueue(jobs).await?;
        if answers.len() == count {
            return Ok(answers);
        }
        Err(Fault::unknown(Service::Store, format!("{} answers for {count} jobs", answers.len())))
    }

    /// Makes a call again until it is answered, refused, or the deadline has passed.
    pub(crate) async fn repeat<A, F, C>(&self, deadline: Duration, call: C) -> Result<Tried<A>, Failed>
    where
        F: Future<Output = Result<A, Fault>>,
        C: Fn() -> F,
    {
        let (mut repeated, mut pause) = (Repeated::No, FIRST_PAUSE);
        loop {
            let fault = match self.within(deadline, call()).await {
                Some(Ok(answer)) => return Ok(Tried { answer, repeated }),
                Some(Err(fault)) => fault,
                None => Fault::unknown(Service::Store, "no answer before the deadline of the send"),
            };
            if fault.is_unknown() {
                repeated = Repeated::Yes;
            }
            let wait = self.link.world.random.jitter(pause);
            if !fault.is_passing() || self.left(deadline) <= wait {
                return Err(Failed { fault, repeated });
            }
            self.link.world.clock.sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
