//! Broker and store whose every call takes a random time, before it happens and before its answer comes.
//!
//! That is what makes calls of different tasks overtake each other; the times are drawn from the
//! world's seed. Before and after every call a process can also be hit by a [`Trap`].

use super::Without;
use async_trait::async_trait;
use longshore_link::broker::{Broker, BrokerStatus, Consumption, Copies, Intake, Letters, Listening, Message, Settler};
use longshore_link::error::{NotAccepted, Service};
use longshore_link::letters::Reading;
use longshore_link::schedules::{Changed, DueSchedules, ScheduleChange, Schedules};
use longshore_link::store::{
    Accepted, Adopt, Asked, Beat, Beaten, Claim, Claimed, Complete, Completed, Controlled, Counts, Depleted, Fact,
    FilePlace, Finish, Finished, Heart, LimitState, Loss, Moved, NewJob, Nudge, Outgoing, Page, PauseOrder, PauseState,
    Purged, Query, QueueSet, Rebuild, Rebuilt, Renew, Renewed, Report, Republished, Restore, Restored, Retention,
    RowChange, Scrubbed, Scrubbing, Standing, Store, Untold,
};
use longshore_link::{Fault, Link, World};
use longshore_model::audit::{Deed, Entry};
use longshore_model::event::Interest;
use longshore_model::gate::{GateName, LimitPolicy, Pausable};
use longshore_model::id::{Fence, Generation, InstanceId, JobId, Owner};
use longshore_model::lane::Lane;
use longshore_model::ledger::Ledger;
use longshore_model::record::{Record, State};
use longshore_model::snapshot::Snapshot;
use longshore_model::statistics::{Selection, Statistics};
use longshore_model::topic::{Topic, TopicPattern};
use longshore_model::topology::View;
use longshore_model::topology::asking::{Question, QuestionId, Said};
use longshore_model::topology::matrix::{KeptRow, Row};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// What hits a process at one of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// It dies.
    Crash,
    /// It stands still, until somebody lets it go on.
    Freeze,
    /// It does not get the answer.
    LostAnswer,
}

/// What one process suffers apart from the others.
#[derive(Debug, Clone, Default)]
pub struct Roughness {
    store_cut: Arc<AtomicBool>,
    broker_cut: Arc<AtomicBool>,
    /// Wakes who waits for a delivery when the process is cut off the broker.
    torn: Arc<Notify>,
    /// After how many more steps of calls it hits.
    trap: Arc<Mutex<Option<(Trap, u64)>>>,
    without: Option<Without>,
}

impl Roughness {
    /// A process in which a rule of the protocol is left out.
    #[must_use]
    pub fn without(without: Without) -> Self {
        Self { without: Some(without), ..Self::default() }
    }

    /// Cuts the process off from the store, or lets it back.
    pub fn cut_store(&self, cut: bool) {
        self.store_cut.store(cut, Ordering::SeqCst);
    }

    /// Cuts the process off from the broker, or lets it back.
    pub fn cut_broker(&self, cut: bool) {
        self.broker_cut.store(cut, Ordering::SeqCst);
        if cut {
            self.torn.notify_waiters();
        }
    }

    /// Sets a trap behind so many steps of calls; a call has two, its begin and its answer.
    pub fn set_trap(&self, trap: Trap, steps: u64) {
        *self.trap.lock().unwrap() = Some((trap, steps));
    }

    /// Whether the trap that was set has hit. It does not afterwards.
    pub fn take_trap(&self) -> bool {
        self.trap.lock().unwrap().take().is_none()
    }

    /// Whether a trap is set and has not hit.
    #[must_use]
    pub fn is_trapped(&self) -> bool {
        self.trap.lock().unwrap().is_some()
    }

    /// One more step. Answers what hits now.
    fn step(&self) -> Option<Trap> {
        let mut trap = self.trap.lock().unwrap();
        let (kind, left) = trap.as_mut()?;
        *left = left.saturating_sub(1);
        let hit = (*left == 0).then_some(*kind);
        if hit.is_some() {
            *trap = None;
        }
        hit
    }

    fn broker_is_cut(&self) -> bool {
        self.broker_cut.load(Ordering::SeqCst)
    }
}

/// The same link, with rough roads.
#[must_use]
pub fn link(link: Link, roughness: &Roughness) -> Link {
    let road = Road { world: link.world.clone(), roughness: roughness.clone() };
    Link {
        store: Arc::new(RoughStore { inner: link.store, road: road.clone() }),
        broker: Arc::new(RoughBroker { inner: link.broker, road }),
        ..link
    }
}

#[derive(Debug, Clone)]
struct Road {
    world: World,
    roughness: Roughness,
}

impl Road {
    /// A step of a call. Answers whether an answer that comes this way is lost.
    async fn travel(&self) -> bool {
        // Mostly quick, now and then slow.
        let ms = if self.world.random.below(20) == 0 { 400 } else { 8 };
        self.world.clock.sleep(Duration::from_micros(self.world.random.below(ms * 1_000))).await;
        match self.roughness.step() {
            Some(Trap::Crash) => {
                self.world.tasks.kill();
                std::future::pending().await
            }
            Some(Trap::Freeze) => {
                self.world.tasks.freeze(true);
                // The task stands still here, as all others at their awaits.
                tokio::task::yield_now().await;
                false
            }
            Some(Trap::LostAnswer) => true,
            None => false,
        }
    }

    async fn to_store(&self) -> Result<(), Fault> {
        // What is lost on the way there has not happened, and the caller cannot know.
        if self.travel().await {
            return Err(Fault::unknown(Service::Store, "lost"));
        }
        if self.roughness.store_cut.load(Ordering::SeqCst) {
            return Err(Fault::unreachable(Service::Store, "cut off"));
        }
        Ok(())
    }

    /// The way back: an answer that is on its way when the cut comes is lost.
    async fn back<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        if self.travel().await || self.roughness.store_cut.load(Ordering::SeqCst) {
            return Err(Fault::unknown(Service::Store, "cut off"));
        }
        answer
    }

    async fn to_broker(&self) -> Result<(), Fault> {
        if self.travel().await {
            return Err(Fault::unknown(Service::Broker, "lost"));
        }
        if self.roughness.broker_is_cut() {
            return Err(Fault::unreachable(Service::Broker, "cut off"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct RoughStore {
    inner: Arc<dyn Store>,
    road: Road,
}

/// Writes the whole implementation: `async_trait` must see the methods, not a macro that makes them.
macro_rules! rough_store {
    ($($name:ident($($arg:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for RoughStore {
            $(
                async fn $name(&self, $($arg: $kind),*) -> Result<$answer, Fault> {
                    self.road.to_store().await?;
                    let answer = self.inner.$name($($arg),*).await;
                    self.road.back(answer).await
                }
            )*

            async fn finish(&self, mut finishes: Vec<Finish>) -> Result<Vec<Finished>, Fault> {
                self.road.to_store().await?;
                if self.road.roughness.without == Some(Without::Fences) {
                    let ids = finishes.iter().map(|finish| finish.id).collect();
                    for (finish, record) in finishes.iter_mut().zip(self.inner.records(ids).await?) {
                        finish.fence = record.map_or(finish.fence, |record| record.fence);
                    }
                }
                let answer = self.inner.finish(finishes).await;
                self.road.back(answer).await
            }

            async fn republish(
                &self,
                lanes: &[Depleted],
                patience_ms: u64,
                from: u64,
                limit: usize,
            ) -> Result<Republished, Fault> {
                if self.road.roughness.without == Some(Without::Reconciler) {
                    return Ok(Republished::default());
                }
                self.road.to_store().await?;
                let answer = self.inner.republish(lanes, patience_ms, from, limit).await;
                self.road.back(answer).await
            }

            async fn heart(&self) -> Result<Box<dyn Heart>, Fault> {
                self.road.to_store().await?;
                let inner = self.inner.heart().await?;
                Ok(Box::new(RoughHeart { inner, road: self.road.clone() }))
            }

            fn interest_changes(&self) -> u64 {
                self.inner.interest_changes()
            }

            fn restarts(&self) -> u64 {
                self.inner.restarts()
            }

            fn nudges(&self) -> broadcast::Receiver<Nudge> {
                self.inner.nudges()
            }
        }
    };
}

rough_store! {
    enqueue(jobs: Vec<NewJob>) -> Vec<Result<Accepted, NotAccepted>>;
    published(jobs: Vec<(JobId, Generation)>) -> ();
    claim(owner: &Owner, lease_ms: u64, claims: Vec<Claim>) -> Vec<Claimed>;
    rebuild(owner: &Owner, lease_ms: u64, job: Rebuild) -> Rebuilt;
    adopt(owner: &Owner, lease_ms: u64, attempt: Adopt) -> Claimed;
    restore(jobs: Vec<Restore>, dry: bool) -> Vec<Restored>;
    losses() -> Vec<Loss>;
    complete(completion: Complete) -> Completed;
    report(reports: Vec<(JobId, Fence, Report)>) -> Vec<bool>;
    rescue(limit: usize, beat_ms: u64) -> Moved;
    bury(owner: &Owner) -> u64;
    promote(limit: usize) -> Moved;
    set_limit(name: &str, policy: Option<&LimitPolicy>) -> ();
    limits() -> Vec<LimitState>;
    set_pause(what: &Pausable, order: Option<&PauseOrder>) -> bool;
    pauses() -> Vec<PauseState>;
    audit(deed: &Deed) -> ();
    audited(limit: usize) -> Vec<Entry>;
    listen(interests: &[Interest], ms: u64) -> ();
    interests() -> Vec<(Interest, u64)>;
    untold(limit: usize) -> Vec<Untold>;
    queues() -> Option<QueueSet>;
    past_queues() -> Vec<QueueSet>;
    head(order: &GateName) -> Option<JobId>;
    set_queues(after: u64, by: &str, text: &str, limits: &[(String, LimitPolicy)]) -> QueueSet;
    outbox(limit: usize, hold_ms: u64) -> Vec<Outgoing>;
    purge(retention: &Retention, limit: usize) -> Purged;
    file_place(id: Option<&str>, replace: bool) -> Option<FilePlace>;
    keep_files(job: JobId, digests: &[String]) -> bool;
    release_files(grace_ms: u64, limit: usize) -> u64;
    doom_files(digests: &[String], over: bool) -> Vec<String>;
    stop(by: &str, jobs: Vec<JobId>) -> Vec<Controlled>;
    remove(jobs: Vec<JobId>) -> Vec<Controlled>;
    load(jobs: Vec<JobId>) -> Vec<Option<Snapshot>>;
    records(jobs: Vec<JobId>) -> Vec<Option<Record>>;
    indexed(topics: Option<&TopicPattern>, paths: &[String]) -> Vec<bool>;
    scrub(limit: usize) -> Scrubbed;
    scrubbing() -> Scrubbing;
    find(query: Query) -> Page;
    watch(jobs: Vec<JobId>) -> Vec<Option<State>>;
    follow(job: JobId) -> Option<State>;
    counts() -> Counts;
    ledger() -> Ledger;
    statistics() -> Statistics;
    reset_statistics(selection: &Selection) -> u64;
    ahead(job: JobId) -> Option<u64>;
    topics() -> Vec<Topic>;
    lanes() -> Vec<Lane>;
    know(lanes: Vec<Lane>) -> ();
    queued_at() -> BTreeMap<Lane, u64>;
    forget(lanes: Vec<Lane>, idle_ms: u64) -> Vec<Lane>;
    holder(topic: &Topic, key: &str) -> Option<JobId>;
    view() -> View;
    matrix() -> BTreeMap<InstanceId, KeptRow>;
    row(instance: &InstanceId) -> Option<KeptRow>;
    set_row(instance: &InstanceId, after: u64, row: &Row) -> RowChange;
    seal(exchange: Option<(&str, &str)>) -> String;
    ask(id: &QuestionId, question: &Question, of: &[Owner], ms: u64) -> bool;
    take_questions(owner: &Owner, known: &[QuestionId], limit: usize) -> Vec<Asked>;
    answer(id: &QuestionId, owner: &Owner, said: &Said) -> bool;
    standings(id: &QuestionId, of: &[Owner], close: bool) -> Option<Vec<Standing>>;
    erase() -> u64;
    about() -> Vec<Fact>;
    ping() -> u64;
    schedule(name: &str) -> Schedules;
    find_schedules(after: Option<&str>, limit: usize) -> Schedules;
    due_schedules(limit: usize) -> DueSchedules;
    change_schedules(changes: Vec<ScheduleChange>) -> Vec<Changed>;
}

#[derive(Debug)]
struct RoughHeart {
    inner: Box<dyn Heart>,
    road: Road,
}

#[async_trait]
impl Heart for RoughHeart {
    async fn beat(&mut self, beat: &Beat) -> Result<Beaten, Fault> {
        self.road.to_store().await?;
        let answer = self.inner.beat(beat).await;
        self.road.back(answer).await
    }

    async fn renew(&mut self, renew: &Renew) -> Result<Renewed, Fault> {
        self.road.to_store().await?;
        let answer = self.inner.renew(renew).await;
        self.road.back(answer).await
    }

    async fn leave(&mut self, owner: &Owner) -> Result<(), Fault> {
        self.road.to_store().await?;
        self.inner.leave(owner).await
    }
}

#[derive(Debug)]
struct RoughBroker {
    inner: Arc<dyn Broker>,
    road: Road,
}

#[async_trait]
impl Broker for RoughBroker {
    async fn declare(&self, lanes: &[Lane]) -> Result<(), Fault> {
        self.road.to_broker().await?;
        self.inner.declare(lanes).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Fault>> {
        if let Err(fault) = self.road.to_broker().await {
            return messages.iter().map(|_| Err(fault.clone())).collect();
        }
        if self.road.roughness.without == Some(Without::ParkedCopies)
            && messages.iter().all(|message| message.target.park().is_some())
        {
            return messages.iter().map(|_| Ok(())).collect();
        }
        let answers = self.inner.publish(messages).await;
        if self.road.travel().await || self.road.roughness.broker_is_cut() {
            let lost = Fault::unknown(Service::Broker, "cut off");
            return answers.iter().map(|_| Err(lost.clone())).collect();
        }
        answers
    }

    async fn consume(&self) -> Result<Box<dyn Consumption>, Fault> {
        self.road.to_broker().await?;
        let inner = self.inner.consume().await?;
        Ok(Box::new(RoughConsumption { inner, roughness: self.road.roughness.clone() }))
    }

    async fn depth(&self, lane: &Lane) -> Result<Option<u64>, Fault> {
        self.road.to_broker().await?;
        self.inner.depth(lane).await
    }

    async fn reroute(&self, limit: usize) -> Result<u64, Fault> {
        self.road.to_broker().await?;
        self.inner.reroute(limit).await
    }

    async fn read_letters(&self, place: Letters) -> Result<Box<dyn Reading>, Fault> {
        self.road.to_broker().await?;
        self.inner.read_letters(place).await
    }

    async fn count_letters(&self, place: Letters) -> Result<u64, Fault> {
        self.road.to_broker().await?;
        self.inner.count_letters(place).await
    }

    async fn read_copies(&self, place: &Copies) -> Result<Option<Box<dyn Reading>>, Fault> {
        self.road.to_broker().await?;
        self.inner.read_copies(place).await
    }

    async fn count_copies(&self, place: &Copies) -> Result<Option<u64>, Fault> {
        self.road.to_broker().await?;
        self.inner.count_copies(place).await
    }

    async fn listen(&self, interests: Vec<Interest>) -> Result<Box<dyn Listening>, Fault> {
        self.road.to_broker().await?;
        self.inner.listen(interests).await
    }

    async fn remove(&self, lanes: &[Lane]) -> Result<(), Fault> {
        self.road.to_broker().await?;
        self.inner.remove(lanes).await
    }

    async fn erase(&self, lanes: &[Lane]) -> Result<u64, Fault> {
        self.road.to_broker().await?;
        self.inner.erase(lanes).await
    }

    fn status(&self) -> BrokerStatus {
        let status = self.inner.status();
        BrokerStatus { connected: status.connected && !self.road.roughness.broker_is_cut(), ..status }
    }
}

/// A session that ends when its process is cut off.
#[derive(Debug)]
struct RoughConsumption {
    inner: Box<dyn Consumption>,
    roughness: Roughness,
}

#[async_trait]
impl Consumption for RoughConsumption {
    async fn next(&mut self) -> Intake {
        let torn = self.roughness.torn.notified();
        if !self.roughness.broker_is_cut() {
            tokio::select! {
                biased;
                () = torn => {}
                intake = self.inner.next() => return intake,
            }
        }
        self.inner.close().await;
        Intake::Ended { why: "cut off".to_owned() }
    }

    async fn add(&mut self, lane: &Lane, prefetch: u16) -> Result<(), Fault> {
        self.inner.add(lane, prefetch).await
    }

    async fn remove(&mut self, lane: &Lane) -> Result<(), Fault> {
        self.inner.remove(lane).await
    }

    fn lanes(&self) -> Vec<Lane> {
        self.inner.lanes()
    }

    fn settler(&self) -> Arc<dyn Settler> {
        self.inner.settler()
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}
