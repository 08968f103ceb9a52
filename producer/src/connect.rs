//! The producer itself: what it is connected to, and the two things that go on behind the calls.
//!
//! Owns the choice of defaults ([`ProducerOptions`]) and the tasks that all clones share: the
//! collector of enqueues and the one that takes published jobs out of the outbox. Both end by
//! themselves when the last clone is gone; neither is needed for what was promised (the relay of any
//! consumer publishes what a producer left behind).

use crate::outcome::Waiters;
use crate::queues::LiveQueues;
use crate::reoffer::Reoffer;
use crate::spool::{self, Spool, SpoolStatus};
use longshore_link::batch::{Batcher, Bounds};
use longshore_link::error::{Fault, NotAccepted, Service};
use longshore_link::store::{Accepted, NewJob, Store};
use longshore_link::{Link, World};
use longshore_model::audit::Deed;
use longshore_model::limits;
use longshore_model::placement::Origin;
use longshore_model::queue::{BadQueues, Queues};
use longshore_model::settings::{Loaded, OnUnreachable, Settings, WithoutStore};
use longshore_model::{Generation, JobId};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Longest pause between two attempts to connect at start.
const CONNECT_PAUSE: Duration = Duration::from_millis(1_500);

/// Defaults of everything that a producer sends.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Longest time from a call of `send` to its answer. Default 10 s.
    pub deadline: Duration,
    /// The queues by which jobs are sent as long as nobody has applied any in the store. Default: the main queue alone.
    pub queues: Queues,
    /// Who sends, as far as it matters for where jobs run. Default: the cluster of the setting `instance.cluster`, if that is
    /// set. In the process of a consumer: what its `Running::origin` says.
    pub origin: Origin,
    /// What jobs say of who sent them, where the sender does not. Default nothing.
    pub created_by: Option<String>,
    /// How often outcomes that are waited for are asked for, in case a nudge was lost. Default 2 s.
    pub ask_again: Duration,
    /// Largest payload file, bytes. Default 32 MiB.
    pub max_file_bytes: u64,
    /// Whether the broker alone may take a job that starts at once while the store is away ([`Custody::Broker`]).
    /// Default no.
    ///
    /// [`Custody::Broker`]: crate::Custody::Broker
    pub allow_degraded: bool,
    /// Whether jobs with a future start are also written to the journal in the broker, before they count as held by
    /// both: a store that loses everything gets them back from there. Default no.
    pub journal: bool,
    /// Keeps jobs on this machine while nobody else takes them ([`Custody::Spool`]). Default none.
    ///
    /// [`Custody::Spool`]: crate::Custody::Spool
    pub spool: Option<Spool>,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self::from_settings(&Settings::default())
    }
}

impl ProducerOptions {
    /// What the settings and the queues beside them say.
    ///
    /// # Errors
    /// [`BadQueues`] with all that is wrong with the queues.
    pub fn from_loaded(loaded: &Loaded) -> Result<Self, BadQueues> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let queues = Queues::new(loaded.queues.clone(), cores)?;
        Ok(Self { queues, ..Self::from_settings(&loaded.settings) })
    }

    /// What the settings say; the main queue alone. A spool has to be opened: [`Producer::connect`] does it.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            deadline: settings.send.deadline,
            queues: Queues::default(),
            origin: Origin { cluster: settings.instance.cluster.clone(), instance: None },
            created_by: settings.instance.name.clone(),
            ask_again: settings.lease.beat,
            max_file_bytes: settings.blobs.max_file_bytes,
            allow_degraded: settings.send.without_store == WithoutStore::Broker,
            journal: settings.broker.journal.enabled,
            spool: None,
        }
    }
}

/// Sends jobs, waits for them, finds and controls them. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Producer {
    pub(crate) inner: Arc<Inner>,
    /// In whose name it changes things, if in anybody's.
    pub(crate) operator: Option<Arc<Deed>>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

pub(crate) type Admitted = Result<Accepted, NotAccepted>;

pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) options: ProducerOptions,
    pub(crate) queues: LiveQueues,
    /// Concurrent single sends share calls to the store.
    pub(crate) enqueue: Batcher<NewJob, Admitted>,
    /// Grows only with accepted sends, of which there are none while the store is away: hence no bound.
    published: mpsc::UnboundedSender<Mark>,
    /// What the store took last.
    pub(crate) reoffer: Reoffer,
    /// Started with the first outcome that somebody waits for.
    pub(crate) waiters: OnceLock<Waiters>,
    /// When the store was last found not to answer, microseconds of the boot clock; 0 since it did.
    pub(crate) store_failed: AtomicU64,
    /// Ends the drain of the spool.
    _draining: DropGuard,
}

enum Mark {
    Published(JobId, Generation),
    /// Answered when everything before it was marked.
    Flush(oneshot::Sender<()>),
}

impl Producer {
    /// Connects to the broker, the store and the blob store that the settings name.
    ///
    /// # Errors
    /// [`Fault`] as [`connect_link`]; [`Fault::Refused`] when the spool of the settings cannot be opened.
    pub async fn connect(settings: &Settings) -> Result<Self, Fault> {
        let world = World::system();
        let spool = match &settings.send.spool {
            Some(dir) => {
                let opened = Spool::open(dir, settings.send.spool_bytes, &world);
                Some(opened.map_err(|error| Fault::refused(Service::Spool, error.to_string()))?)
            }
            None => None,
        };
        let link = connect_link(settings, world, "producer").await?;
        Ok(Self::connect_with(link, ProducerOptions { spool, ..ProducerOptions::from_settings(settings) }))
    }

    /// A producer on connections that exist. To be called on a runtime.
    #[must_use]
    pub fn connect_with(link: Link, options: ProducerOptions) -> Self {
        let store = Arc::clone(&link.store);
        let fault = |detail: &str| Fault::unknown(Service::Store, detail);
        let enqueue = Batcher::start(&link.world.tasks, Bounds::default(), fault, move |jobs| {
            let store = Arc::clone(&store);
            async move { store.enqueue(jobs).await }
        });
        let (published, marks) = mpsc::unbounded_channel();
        drop(link.world.tasks.spawn(mark(Arc::clone(&link.store), marks)));
        let draining = CancellationToken::new();
        let inner = Arc::new(Inner {
            reoffer: Reoffer::new(link.store.restarts()),
            link,
            queues: LiveQueues::new(options.queues.clone()),
            options,
            enqueue,
            published,
            waiters: OnceLock::new(),
            store_failed: AtomicU64::new(0),
            _draining: draining.clone().drop_guard(),
        });
        if let Some(spool) = &inner.options.spool {
            spool::start_draining(spool.clone(), &inner, draining);
        }
        Self { inner, operator: None }
    }

    /// What waits in the spool; nothing without one.
    #[must_use]
    pub fn spooled(&self) -> SpoolStatus {
        self.inner.options.spool.as_ref().map(Spool::status).unwrap_or_default()
    }

    /// The connections, for whatever this crate does not offer.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.inner.link
    }

    /// Waits until the store knows what was published. A short-lived program calls it before it ends: without it,
    /// the relay publishes its last jobs a second time after two seconds, which costs a message and nothing else.
    pub async fn flush(&self) {
        let (done, waiter) = oneshot::channel();
        if self.inner.published.send(Mark::Flush(done)).is_ok() {
            let _ = self.inner.link.world.clock.timeout(self.inner.options.deadline, waiter).await;
        }
    }
}

/// Connects, and where `on_unreachable` is `wait`, keeps trying and says so. `role` is the name under which people
/// see the connections.
///
/// # Errors
/// [`Fault`] when a service refuses, or cannot be reached and `on_unreachable` is `fail`.
pub async fn connect_link(settings: &Settings, world: World, role: &str) -> Result<Link, Fault> {
    loop {
        let fault = match Link::connect(settings, world.clone(), role).await {
            Ok(link) => return Ok(link),
            Err(fault) => fault,
        };
        if !fault.is_passing() || settings.on_unreachable == OnUnreachable::Fail {
            return Err(fault);
        }
        let pause = world.random.jitter(CONNECT_PAUSE);
        tracing::warn!(%fault, ?pause, "not connected yet; trying again");
        world.clock.sleep(pause).await;
    }
}

impl Inner {
    /// Has a published job taken out of the outbox, later.
    pub(crate) fn mark_published(&self, id: JobId, generation: Generation) {
        // The task lives as long as this sender, unless the runtime is going away.
        let _ = self.published.send(Mark::Published(id, generation));
    }
}

/// Takes published jobs out of the outbox, as many as there are in one call. What cannot be taken out is published
/// again by the relay and claimed once: so a fault is not repeated.
async fn mark(store: Arc<dyn Store>, mut marks: mpsc::UnboundedReceiver<Mark>) {
    let mut batch = Vec::with_capacity(limits::BATCH);
    while marks.recv_many(&mut batch, limits::BATCH).await > 0 {
        let (mut jobs, mut flushed) = (Vec::with_capacity(batch.len()), Vec::new());
        for mark in batch.drain(..) {
            match mark {
                Mark::Published(id, generation) => jobs.push((id, generation)),
                Mark::Flush(done) => flushed.push(done),
            }
        }
        if !jobs.is_empty()
            && let Err(fault) = store.published(jobs).await
        {
            tracing::debug!(%fault, "published jobs stay in the outbox; the relay will publish them once more");
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}
