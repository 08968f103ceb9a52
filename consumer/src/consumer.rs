//! A consumer: handlers, settings, and the life of an instance from start to clean drain.
//!
//! [`Consumer`] collects; [`Consumer::start`] makes it live and answers a [`Running`], which drains,
//! reports and stops it. [`Consumer::run`] does both and ends on SIGTERM or SIGINT.

use crate::duties;
use crate::engine::{Engine, Phase, Status, Trust, beats, intake, lanes, running};
use crate::handler::{Handler, HandlerOptions, erase, erase_raw};
use crate::home::{self, Home};
use crate::metrics::{Gauges, Metrics};
use crate::outcome::IntoOutcome;
use crate::registry::{DuplicateHandler, Registration, Registry};
use crate::{Cancelled, Ctx};
use longshore_link::signal;
use longshore_link::store::Retention;
use longshore_link::{Fault, Link, World};
use longshore_model::Job;
use longshore_model::id::{Incarnation, InstanceId, Owner};
use longshore_model::queue::Queues;
use longshore_model::settings::{OnUnreachable, Settings};
use longshore_model::topic::{BadTopic, TopicPattern};
use longshore_model::topology::Allowed;
use std::collections::BTreeSet;
use std::future::Future;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};

/// How long history is kept unless the settings say otherwise.
const RETENTION: Retention = Retention { succeeded_ms: 24 * 3_600_000, failed_ms: 7 * 24 * 3_600_000 };
/// How long cancelled handlers have at the very end before their attempts are left to the rescuer.
const LAST_GRACE: Duration = Duration::from_secs(15);

/// Why a consumer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two handlers for one pattern.
    #[error(transparent)]
    Duplicate(#[from] DuplicateHandler),
    /// A topic or pattern breaks the grammar.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The settings are wrong.
    #[error("{0}")]
    Settings(String),
    /// The home cannot be used.
    #[error("the instance's home cannot be used: {0}; set LONGSHORE_HOME to a directory that this process may write")]
    Home(#[source] std::io::Error),
    /// There is no place for a home.
    #[error("the instance has nowhere to keep its id: set LONGSHORE_HOME, XDG_STATE_HOME or HOME")]
    NoHome,
    /// Broker or store cannot be reached, or refuse.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Broker or store did not answer in time.
    #[error("the store answered no beat within {0:?}; is it reachable, and is its clock running?")]
    NoBeat(Duration),
}

/// Handlers and settings of an instance that does not run yet.
#[derive(Debug)]
pub struct Consumer<S = ()> {
    settings: Settings,
    queues: Queues,
    allowed: Allowed,
    retention: Retention,
    link: Option<Link>,
    world: Option<World>,
    registry: Registry,
    problem: Option<StartError>,
    state: S,
}

impl Consumer<()> {
    /// A consumer with these settings.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            queues: Queues::default(),
            allowed: Allowed::default(),
            retention: RETENTION,
            link: None,
            world: None,
            registry: Registry::default(),
            problem: None,
            state: (),
        }
    }

    /// Gives the handlers a state; call it before [`Consumer::handle`].
    #[must_use]
    pub fn state<S: Clone + Send + Sync + 'static>(self, state: S) -> Consumer<S> {
        Consumer {
            settings: self.settings,
            queues: self.queues,
            allowed: self.allowed,
            retention: self.retention,
            link: self.link,
            world: self.world,
            registry: self.registry,
            problem: self.problem,
            state,
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Consumer<S> {
    /// Uses these connections instead of opening its own.
    #[must_use]
    pub fn link(mut self, link: Link) -> Self {
        self.link = Some(link);
        self
    }

    /// Lives in this world instead of the real one.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// The policies of queues.
    #[must_use]
    pub fn queues(mut self, queues: Queues) -> Self {
        self.queues = queues;
        self
    }

    /// Bounds what the instance takes, whatever its handlers (U05).
    #[must_use]
    pub fn allowed(mut self, allowed: Allowed) -> Self {
        self.allowed = allowed;
        self
    }

    /// How long history is kept.
    #[must_use]
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Adds a handler: an async function whose first argument is the job. Two handlers for one topic are an error at
    /// start that names both places.
    #[must_use]
    #[track_caller]
    pub fn handle<H, J, Args>(mut self, handler: H) -> Self
    where
        H: Handler<J, Args, S>,
        J: Job,
    {
        let place = Location::caller();
        match J::topic() {
            Ok(topic) => {
                let (kind, own) = (J::options(), handler.options());
                let options = HandlerOptions {
                    timeout: own.timeout.or(kind.timeout),
                    retry_delay: own.retry_delay.or(kind.retry_delay),
                    ..own
                };
                let run = erase(handler, self.state.clone());
                self.add(TopicPattern::from(topic), J::VERSION, options, place, run);
            }
            Err(error) => self.note(error.into()),
        }
        self
    }

    /// Adds a handler of a topic pattern that takes any payload: `a/b`, `a/*`, `a/**` or `**`.
    #[must_use]
    #[track_caller]
    pub fn on<F, Fut, R>(self, pattern: &str, handler: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoOutcome,
    {
        self.on_with(pattern, HandlerOptions::default(), handler)
    }

    /// As [`Self::on`], with options.
    #[must_use]
    #[track_caller]
    pub fn on_with<F, Fut, R>(mut self, pattern: &str, options: HandlerOptions, handler: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoOutcome,
    {
        let place = Location::caller();
        match TopicPattern::new(pattern) {
            Ok(pattern) => self.add(pattern, 0, options, place, erase_raw(handler)),
            Err(error) => self.note(error.into()),
        }
        self
    }

    fn add(
        &mut self,
        pattern: TopicPattern,
        version: u32,
        options: HandlerOptions,
        place: &'static Location<'static>,
        run: crate::handler::Erased,
    ) {
        let slots = options.concurrency.map(|limit| Arc::new(Semaphore::new(limit.max(1))));
        let added = self.registry.add(Registration { pattern, version, options, place, slots, run });
        if let Err(error) = added {
            self.note(error.into());
        }
    }

    fn note(&mut self, problem: StartError) {
        self.problem.get_or_insert(problem);
    }

    /// The handlers; clones follow and change what the instance takes while it runs.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// Starts, and runs until SIGTERM or SIGINT; then drains: takes nothing new, gives back what was not started, lets
    /// running jobs finish within the grace, and gives back those that did not. A second signal ends the grace.
    ///
    /// # Errors
    /// [`StartError`] when it cannot start.
    pub async fn run(self) -> Result<(), StartError> {
        let running = self.start().await?;
        signalled().await;
        tracing::info!("asked to stop: draining; a second signal ends the grace");
        tokio::select! {
            biased;
            () = signalled() => running.stop().await,
            () = running.drain() => {}
        }
        Ok(())
    }

    /// Makes the instance live: home, connections, first beat, lanes, duties. With `on_unreachable = wait` it keeps
    /// trying while broker or store cannot be reached.
    ///
    /// # Errors
    /// [`StartError`] with the remedy.
    pub async fn start(self) -> Result<Running, StartError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let world = match (&self.world, &self.link) {
            (Some(world), _) => world.clone(),
            (None, Some(link)) => link.world.process(),
            (None, None) => World::system(),
        };
        let identity = Identity::establish(&self.settings, &world, self.link.is_some())?;
        let link = match self.link {
            Some(link) => Link { world: world.clone(), ..link },
            None => connect(&self.settings, &world).await?,
        };
        let engine = Arc::new(Engine {
            owner: identity.owner.clone(),
            name: identity.name,
            cluster: self.settings.instance.cluster.clone().unwrap_or_else(|| identity.owner.instance.0.clone()),
            lease: self.settings.lease.clone(),
            queues: self.queues,
            allowed: self.allowed,
            work_dir: identity.work_dir,
            max_file_bytes: self.settings.blobs.max_file_bytes,
            slots: self.settings.instance.concurrency.max(1),
            registry: self.registry,
            running: running::Running::default(),
            metrics: Arc::new(Metrics::default()),
            busy: AtomicUsize::new(0),
            phase: signal::Sender::new(Phase::Working),
            trust: signal::Sender::new(Trust::Doubt),
            coordinator: signal::Sender::new(false),
            wanted: signal::Sender::new(BTreeSet::new()),
            consuming: signal::Sender::new(BTreeSet::new()),
            slot_freed: Notify::new(),
            beat_now: Notify::new(),
            topics_changed: Notify::new(),
            rescue_now: Notify::new(),
            promote_now: Notify::new(),
            link,
        });
        if identity.home.as_ref().is_some_and(|home| home.sole) {
            match engine.link.store.bury(&engine.owner).await {
                Ok(0) => {}
                Ok(leases) => {
                    tracing::info!(leases, "earlier processes of this instance are dead: their jobs are free")
                }
                Err(fault) => tracing::warn!(%fault, "earlier leases of this instance run out by themselves"),
            }
        }
        let (told, first) = oneshot::channel();
        world.tasks.spawn_thread("longshore-beats", beats::run(Arc::clone(&engine), told)).map_err(StartError::Home)?;
        if self.settings.on_unreachable == OnUnreachable::Fail {
            let limit = self.settings.store.connect_timeout + engine.lease.beat;
            if !matches!(world.clock.timeout(limit, first).await, Some(Ok(()))) {
                engine.phase.send_replace(Phase::Stopped);
                return Err(StartError::NoBeat(limit));
            }
        }
        drop(world.tasks.spawn(lanes::follow_nudges(Arc::clone(&engine))));
        drop(world.tasks.spawn(lanes::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(intake::run(Arc::clone(&engine))));
        duties::start(&engine, self.retention);
        tracing::info!(instance = %engine.owner.instance, name = engine.name, slots = engine.slots, "consumer started");
        Ok(Running { engine, grace: self.settings.instance.grace, _home: identity.home })
    }
}

/// Connects; keeps trying if the settings say so.
async fn connect(settings: &Settings, world: &World) -> Result<Link, StartError> {
    loop {
        match Link::connect(settings, world.clone(), "consumer").await {
            Ok(link) => return Ok(link),
            Err(fault) if settings.on_unreachable == OnUnreachable::Wait && fault.is_passing() => {
                tracing::warn!(%fault, "not connected yet; trying again");
                world.clock.sleep(world.random.jitter(Duration::from_millis(1_500))).await;
            }
            Err(fault) => return Err(fault.into()),
        }
    }
}

/// Who this process is.
struct Identity {
    owner: Owner,
    name: String,
    home: Option<Home>,
    work_dir: PathBuf,
}

impl Identity {
    /// The home's identity; without a home (embedded, or connections that were handed in) a fresh one.
    fn establish(settings: &Settings, world: &World, borrowed: bool) -> Result<Self, StartError> {
        let host = home::host_name();
        let name = settings.instance.name.clone().unwrap_or_else(|| host.clone());
        let incarnation = Incarnation::new(world.clock.unix_ms(), world.random.bytes());
        let tail: String = incarnation.0.chars().rev().take(8).collect();
        let fresh = InstanceId(format!("{name}-{tail}"));
        let embedded = settings.store.url.reveal().starts_with("embedded:");
        let home_dir = match &settings.instance.home {
            Some(dir) => Some(dir.clone()),
            None if borrowed || embedded => None,
            None => Some(state_home(settings, &name)?),
        };
        let Some(dir) = home_dir else {
            let work_dir = std::env::temp_dir().join(format!("longshore-{fresh}"));
            return Ok(Self { owner: Owner { instance: fresh, incarnation }, name, home: None, work_dir });
        };
        let home = Home::open(&dir, &fresh, &host).map_err(StartError::Home)?;
        if let Some(notice) = &home.notice {
            tracing::warn!("{notice}");
        }
        let work_dir = dir.join("work").join(&incarnation.0);
        Ok(Self { owner: Owner { instance: home.id.clone(), incarnation }, name, home: Some(home), work_dir })
    }
}

/// Where an instance without a named home keeps its id.
fn state_home(settings: &Settings, name: &str) -> Result<PathBuf, StartError> {
    let state = longshore_producer::settings::state_directory().ok_or(StartError::NoHome)?;
    Ok(state.join("longshore").join(settings.namespace.as_str()).join(name))
}

/// Waits for SIGTERM or SIGINT.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        biased;
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// A live instance.
#[derive(Debug)]
pub struct Running {
    engine: Arc<Engine>,
    grace: Duration,
    _home: Option<Home>,
}

impl Running {
    /// Which start of which instance this is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.engine.owner
    }

    /// The handlers; changing them changes what the instance takes.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.engine.registry.clone()
    }

    /// Where the instance stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            wanted: self.engine.wanted.borrow().clone(),
            consuming: self.engine.consuming.borrow().clone(),
            alive: *self.engine.trust.borrow() == Trust::Sure,
            draining: self.engine.phase() != Phase::Working,
            running: self.engine.running.len(),
            coordinator: *self.engine.coordinator.borrow(),
        }
    }

    /// Whether every topic that the instance advertises has a registered consumer, and beats are answered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let status = self.status();
        status.alive && !status.draining && status.wanted.is_subset(&status.consuming)
    }

    /// Waits until [`Self::is_ready`] with at least one lane consumed, or until the instance has stopped.
    pub async fn ready(&self) {
        let mut wanted = self.engine.wanted.subscribe();
        let mut consuming = self.engine.consuming.subscribe();
        let mut trust = self.engine.trust.subscribe();
        loop {
            if (self.is_ready() && !self.engine.wanted.borrow().is_empty()) || self.engine.is_stopped() {
                return;
            }
            tokio::select! {
                biased;
                () = self.engine.until(Phase::Stopped) => return,
                _ = wanted.changed() => {}
                _ = consuming.changed() => {}
                _ = trust.changed() => {}
            }
        }
    }

    /// Prometheus text of this instance's counters and gauges.
    #[must_use]
    pub fn metrics(&self) -> String {
        let status = self.status();
        self.engine.metrics.render(&Gauges {
            running: status.running,
            slots: self.engine.slots,
            wanted: status.wanted.len(),
            consuming: status.consuming.len(),
            alive: status.alive,
            coordinator: status.coordinator,
            broker_connected: self.engine.link.broker.status().connected,
        })
    }

    /// Takes nothing new, gives back what was not started, and lets running jobs finish within the grace; then as
    /// [`Self::stop`].
    pub async fn drain(&self) {
        self.engine.phase.send_if_modified(|phase| {
            let changes = *phase < Phase::Draining;
            if changes {
                *phase = Phase::Draining;
            }
            changes
        });
        // Others learn at once that this instance takes nothing.
        self.engine.beat_now.notify_one();
        let _ = self.engine.link.world.clock.timeout(self.grace, self.engine.running.idle()).await;
        self.stop().await;
    }

    /// Cancels what still runs, gives it back uncharged, leaves the fleet and ends every task.
    pub async fn stop(&self) {
        let engine = &self.engine;
        engine.phase.send_if_modified(|phase| {
            let changes = *phase < Phase::Draining;
            if changes {
                *phase = Phase::Draining;
            }
            changes
        });
        engine.running.cancel_all(&Cancelled::Shutdown);
        if engine.link.world.clock.timeout(LAST_GRACE, engine.running.idle()).await.is_none() {
            let left = engine.running.len();
            tracing::warn!(left, "handlers did not end; their jobs are taken back when their leases end");
        }
        engine.phase.send_replace(Phase::Stopped);
        let _ = engine.link.world.clock.timeout(LAST_GRACE, engine.link.world.tasks.wait()).await;
        if let Err(error) = tokio::fs::remove_dir_all(&engine.work_dir).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the work directory could not be removed");
        }
        tracing::info!("stopped");
    }
}
