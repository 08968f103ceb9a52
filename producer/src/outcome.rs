//! Outcomes: waiting for the end of jobs, and what they left.
//!
//! One task per producer waits for all of them: it registers as a watcher in the store, hears nudges,
//! and asks again every beat, for all ids at once, because a nudge may be lost. The state in the store
//! is the truth; an outage of the store makes the wait longer and nothing else.

use crate::connect::Producer;
use crate::errors::{ResultError, WaitError};
use longshore_link::Link;
use longshore_link::error::Fault;
use longshore_link::store::Nudge;
use longshore_model::envelope::FileRef;
use longshore_model::snapshot::{JobView, Snapshot};
use longshore_model::{JobId, State, limits, span};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

impl Producer {
    /// Waits for the end of a job: `.await` it, or give it a `.timeout(…)` first. Any process may wait for any job.
    pub fn outcome(&self, id: JobId) -> Outcome {
        Outcome { producer: self.clone(), id, timeout: None, also_unknown: false }
    }
}

/// A wait that was not begun yet; `.await` begins it.
#[derive(Debug, Clone)]
#[must_use = "waiting begins with `.await`"]
pub struct Outcome {
    producer: Producer,
    id: JobId,
    timeout: Option<Duration>,
    /// The store may not know the job yet.
    also_unknown: bool,
}

impl Outcome {
    /// Waits no longer than this; the job goes on. Default without end.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// A job that the store does not know is waited for all the same, as long as a message of it could be claimed.
    pub(crate) const fn also_unknown(mut self) -> Self {
        self.also_unknown = true;
        self
    }

    async fn wait(self) -> Result<Report, WaitError> {
        let Self { producer, id, timeout, also_unknown } = self;
        let inner = &producer.inner;
        let waiters = inner.waiters.get_or_init(|| Waiters::start(&inner.link, inner.options.ask_again));
        let clock = &inner.link.world.clock;
        let begun = clock.boot();
        let ended = async {
            loop {
                let ended = waiters.wait(id).await;
                let unknown = matches!(ended, Err(WaitError::Gone(_)));
                if !(unknown && also_unknown) || span::ms(clock.boot() - begun) > limits::TOMBSTONE_MS {
                    return ended;
                }
                clock.sleep(inner.options.ask_again).await;
            }
        };
        let job = match timeout {
            Some(after) => clock.timeout(after, ended).await.ok_or(WaitError::TimedOut { id, after })?,
            None => ended.await,
        };
        Ok(Report { job: job?, link: inner.link.clone() })
    }
}

impl IntoFuture for Outcome {
    type Output = Result<Report, WaitError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

/// A job that has ended. It does not change any more (J11).
#[derive(Debug, Clone)]
pub struct Report {
    /// The job as it was when it was read after its end.
    pub job: JobView,
    pub(crate) link: Link,
}

impl Report {
    /// Whether it succeeded.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.job.state == State::Succeeded
    }

    /// Its result.
    ///
    /// # Errors
    /// [`ResultError::Failed`] when the job did not succeed, [`ResultError::Shape`] when the result is something else.
    /// A job without a result has `null`, which `()` and `Option` read.
    pub fn result<T: DeserializeOwned>(&self) -> Result<T, ResultError> {
        let id = self.job.id;
        if !self.is_success() {
            let reason = self.job.reason.map_or_else(|| "no message".into(), |reason| reason.to_string());
            let message = self.job.message.clone().unwrap_or(reason);
            return Err(ResultError::Failed { id, state: self.job.state, message });
        }
        let text = self.job.result.as_ref().map_or("null", |raw| raw.get());
        serde_json::from_str(text).map_err(|error| ResultError::Shape { id, detail: error.to_string() })
    }

    /// The files that it left.
    #[must_use]
    pub fn outputs(&self) -> &[FileRef] {
        &self.job.outputs
    }
}

type Answer = oneshot::Sender<Result<JobView, WaitError>>;

/// The task that waits for all.
pub(crate) struct Waiters {
    register: mpsc::UnboundedSender<(JobId, Answer)>,
}

impl Waiters {
    fn start(link: &Link, ask_again: Duration) -> Self {
        let (register, registered) = mpsc::unbounded_channel();
        let watch = Watch { link: link.clone(), ask_again, waiting: BTreeMap::new(), ended: BTreeSet::new() };
        // Subscribed before the first watch, so that no end falls between the two.
        let nudges = link.store.nudges();
        drop(link.world.tasks.spawn(watch.run(registered, nudges)));
        Self { register }
    }

    async fn wait(&self, id: JobId) -> Result<JobView, WaitError> {
        let (answer, ended) = oneshot::channel();
        let gone = || Err(WaitError::ShutDown(id));
        if self.register.send((id, answer)).is_err() {
            return gone();
        }
        ended.await.unwrap_or_else(|_| gone())
    }
}

struct Watch {
    link: Link,
    ask_again: Duration,
    waiting: BTreeMap<JobId, Vec<Answer>>,
    /// Known to have ended, and not read yet.
    ended: BTreeSet<JobId>,
}

impl Watch {
    /// Ends when the last producer is gone.
    async fn run(
        mut self,
        mut registered: mpsc::UnboundedReceiver<(JobId, Answer)>,
        nudges: broadcast::Receiver<Nudge>,
    ) {
        let mut nudges = Some(nudges);
        let mut batch = Vec::new();
        let clock = self.link.world.clock.clone();
        // A fixed time, not a pause between two events: a stream of nudges must not put the net off.
        let mut next = clock.boot() + self.ask_again;
        loop {
            let idle = self.waiting.is_empty();
            let ask: Vec<JobId> = tokio::select! {
                biased;
                count = registered.recv_many(&mut batch, limits::BATCH) => {
                    if count == 0 {
                        return;
                    }
                    let ids = batch.iter().map(|(id, _)| *id).collect();
                    for (id, answer) in batch.drain(..) {
                        self.waiting.entry(id).or_default().push(answer);
                    }
                    ids
                }
                nudge = hear(&mut nudges) => match nudge {
                    Heard::Ended(id) => {
                        if self.waiting.contains_key(&id) {
                            self.ended.insert(id);
                        }
                        // Those that came together are read together.
                        self.drain(&mut nudges)
                    }
                    Heard::Missed => self.everyone(),
                    Heard::Other => continue,
                },
                () = clock.sleep(next.saturating_sub(clock.boot())), if !idle => {
                    next = clock.boot() + self.ask_again;
                    self.everyone()
                }
            };
            self.ask(ask).await;
            self.read().await;
        }
    }

    /// Takes the nudges that are there already; answers whom to ask for when some were lost.
    fn drain(&mut self, nudges: &mut Option<broadcast::Receiver<Nudge>>) -> Vec<JobId> {
        let Some(receiver) = nudges else { return Vec::new() };
        for _ in 0..limits::BATCH {
            match receiver.try_recv() {
                Ok(Nudge::Ended(id)) if self.waiting.contains_key(&id) => {
                    self.ended.insert(id);
                }
                Ok(Nudge::Missed) | Err(broadcast::error::TryRecvError::Lagged(_)) => return self.everyone(),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Vec::new()
    }

    /// Every job that somebody still waits for.
    fn everyone(&mut self) -> Vec<JobId> {
        self.waiting.retain(|_, answers| {
            answers.retain(|answer| !answer.is_closed());
            !answers.is_empty()
        });
        self.waiting.keys().copied().collect()
    }

    async fn ask(&mut self, ids: Vec<JobId>) {
        for part in ids.chunks(limits::BATCH) {
            match self.link.store.watch(part.to_vec()).await {
                Ok(states) => {
                    for (id, state) in part.iter().zip(states) {
                        match state {
                            Some(state) if state.is_terminal() => {
                                self.ended.insert(*id);
                            }
                            Some(_) => {}
                            None => self.answer(*id, &Err(WaitError::Gone(*id))),
                        }
                    }
                }
                // The next beat asks again.
                Err(fault) => return waits(&fault),
            }
        }
    }

    async fn read(&mut self) {
        let ended: Vec<JobId> = std::mem::take(&mut self.ended).into_iter().collect();
        for part in ended.chunks(limits::BATCH) {
            match self.link.store.load(part.to_vec()).await {
                Ok(snapshots) => {
                    for (id, snapshot) in part.iter().zip(snapshots) {
                        self.deliver(*id, snapshot);
                    }
                }
                Err(fault) => return waits(&fault),
            }
        }
    }

    fn deliver(&mut self, id: JobId, snapshot: Option<Snapshot>) {
        match snapshot {
            Some(snapshot) if snapshot.record.state.is_terminal() => {
                self.answer(id, &JobView::build(snapshot).map_err(WaitError::Damaged));
            }
            // A nudge is not the truth; the next beat asks again.
            Some(_) => {}
            None => self.answer(id, &Err(WaitError::Gone(id))),
        }
    }

    fn answer(&mut self, id: JobId, result: &Result<JobView, WaitError>) {
        for answer in self.waiting.remove(&id).unwrap_or_default() {
            let _ = answer.send(result.clone());
        }
    }
}

fn waits(fault: &Fault) {
    tracing::debug!(%fault, "outcomes are asked for again with the next beat");
}

enum Heard {
    Ended(JobId),
    Missed,
    Other,
}

/// The next nudge; never, when there are none any more.
async fn hear(nudges: &mut Option<broadcast::Receiver<Nudge>>) -> Heard {
    let Some(receiver) = nudges else { return std::future::pending().await };
    match receiver.recv().await {
        Ok(Nudge::Ended(id)) => Heard::Ended(id),
        Ok(Nudge::Missed) | Err(RecvError::Lagged(_)) => Heard::Missed,
        Ok(_) => Heard::Other,
        Err(RecvError::Closed) => {
            *nudges = None;
            Heard::Other
        }
    }
}
