//! Broker and store whose every call takes a random time, before it happens and before its answer comes.
//!
//! That is what makes calls of different tasks overtake each other; the times are drawn from the
//! world's seed.

use super::Without;
use async_trait::async_trait;
use longshore_link::broker::{Broker, BrokerStatus, Consumption, Copies, Letters, Message};
use longshore_link::error::{NotAccepted, Service};
use longshore_link::letters::Reading;
use longshore_link::store::{
    Accepted, Adopt, Beat, Beaten, Claim, Claimed, Controlled, Counts, Depleted, Fact, Finish, Finished, Heart, Loss,
    Moved, NewJob, Nudge, Outgoing, Page, Query, Rebuild, Rebuilt, Renew, Renewed, Report, Republished, Restore,
    Restored, Retention, Store,
};
use longshore_link::{Fault, Link, World};
use longshore_model::id::{Fence, Generation, JobId, Owner};
use longshore_model::ledger::Ledger;
use longshore_model::record::{Record, State};
use longshore_model::snapshot::Snapshot;
use longshore_model::topic::Topic;
use longshore_model::topology::View;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::broadcast;

/// What one process suffers apart from the others.
#[derive(Debug, Clone, Default)]
pub struct Roughness {
    store_cut: Arc<AtomicBool>,
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
    async fn travel(&self) {
        // Mostly quick, now and then slow.
        let ms = if self.world.random.below(20) == 0 { 400 } else { 8 };
        self.world.clock.sleep(Duration::from_micros(self.world.random.below(ms * 1_000))).await;
    }

    async fn to_store(&self) -> Result<(), Fault> {
        self.travel().await;
        if self.roughness.store_cut.load(Ordering::SeqCst) {
            return Err(Fault::unreachable(Service::Store, "cut off"));
        }
        Ok(())
    }

    /// The way back: an answer that is on its way when the cut comes is lost.
    async fn back<T>(&self, answer: Result<T, Fault>) -> Result<T, Fault> {
        self.travel().await;
        if self.roughness.store_cut.load(Ordering::SeqCst) {
            return Err(Fault::unknown(Service::Store, "cut off"));
        }
        answer
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
    finish(finishes: Vec<Finish>) -> Vec<Finished>;
    report(reports: Vec<(JobId, Fence, Report)>) -> Vec<bool>;
    rescue(limit: usize, beat_ms: u64) -> Moved;
    bury(owner: &Owner) -> u64;
    promote(limit: usize) -> Moved;
    outbox(limit: usize, hold_ms: u64) -> Vec<Outgoing>;
    purge(retention: Retention, limit: usize) -> u64;
    stop(by: &str, jobs: Vec<JobId>) -> Vec<Controlled>;
    remove(jobs: Vec<JobId>) -> Vec<Controlled>;
    load(jobs: Vec<JobId>) -> Vec<Option<Snapshot>>;
    records(jobs: Vec<JobId>) -> Vec<Option<Record>>;
    find(query: Query) -> Page;
    watch(jobs: Vec<JobId>) -> Vec<Option<State>>;
    counts() -> Counts;
    ledger() -> Ledger;
    ahead(job: JobId) -> Option<u64>;
    topics() -> Vec<Topic>;
    know(topics: Vec<Topic>) -> ();
    view() -> View;
    erase() -> u64;
    about() -> Vec<Fact>;
    ping() -> u64;
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
    async fn declare(&self, topics: &[Topic]) -> Result<(), Fault> {
        self.road.travel().await;
        self.inner.declare(topics).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Fault>> {
        self.road.travel().await;
        if self.road.roughness.without == Some(Without::ParkedCopies)
            && messages.iter().all(|message| message.target.park().is_some())
        {
            return messages.iter().map(|_| Ok(())).collect();
        }
        let answers = self.inner.publish(messages).await;
        self.road.travel().await;
        answers
    }

    async fn consume(&self) -> Result<Box<dyn Consumption>, Fault> {
        self.road.travel().await;
        self.inner.consume().await
    }

    async fn depth(&self, topic: &Topic) -> Result<Option<u64>, Fault> {
        self.inner.depth(topic).await
    }

    async fn reroute(&self, limit: usize) -> Result<u64, Fault> {
        self.road.travel().await;
        self.inner.reroute(limit).await
    }

    async fn read_letters(&self, place: Letters) -> Result<Box<dyn Reading>, Fault> {
        self.road.travel().await;
        self.inner.read_letters(place).await
    }

    async fn count_letters(&self, place: Letters) -> Result<u64, Fault> {
        self.road.travel().await;
        self.inner.count_letters(place).await
    }

    async fn read_copies(&self, place: &Copies) -> Result<Option<Box<dyn Reading>>, Fault> {
        self.road.travel().await;
        self.inner.read_copies(place).await
    }

    async fn count_copies(&self, place: &Copies) -> Result<Option<u64>, Fault> {
        self.road.travel().await;
        self.inner.count_copies(place).await
    }

    async fn erase(&self, topics: &[Topic]) -> Result<u64, Fault> {
        self.road.travel().await;
        self.inner.erase(topics).await
    }

    fn status(&self) -> BrokerStatus {
        self.inner.status()
    }
}
