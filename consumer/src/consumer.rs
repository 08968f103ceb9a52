//! A consumer: its handlers and settings, and how an instance starts.
//!
//! [`Consumer`] collects; [`Consumer::start`] makes it live and answers a [`Running`], which drains,
//! reports and stops it. [`Consumer::run`] does both and ends on SIGTERM or SIGINT.

use crate::Ctx;
use crate::duties;
use crate::engine::files::WorkDir;
use crate::engine::isolation::{self, Isolation};
use crate::engine::taken_back::TakenBack;
use crate::engine::{Engine, Phase, Trust, adopt, answering, beats, intake, lanes, policies, recommit, running, sight};
use crate::handler::{Handler, HandlerOptions, erase, erase_raw};
use crate::home::{self, Home};
use crate::instance::{RunError, Running, Signals};
use crate::metrics::Metrics;
use crate::outcome::IntoOutcome;
use crate::question::{Answers, Question};
use crate::registry::{DuplicateHandler, Registration, Registry};
use futures_util::FutureExt;
use longshore_link::recent::Recent;
use longshore_link::signal;
use longshore_link::store::{Bound, Retention};
use longshore_link::trusted;
use longshore_link::{Fault, Link, World};
use longshore_model::Job;
use longshore_model::id::{Incarnation, InstanceId, Owner};
use longshore_model::queue::{BadQueues, Queues};
use longshore_model::settings::{Loaded, OnUnreachable, RetentionSettings, Settings};
use longshore_model::span::ms;
use longshore_model::topic::{BadTopic, Topic, TopicPattern};
use longshore_model::topology::Allowed;
use longshore_producer::SettingsError;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, oneshot};

/// How long a view has to be stable before it is announced.
const STABLE: Duration = Duration::from_secs(3);

/// Why a consumer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two handlers for one pattern.
    #[error(transparent)]
    Duplicate(#[from] DuplicateHandler),
    /// More handlers than an instance may have.
    #[error(
        "`{0}` would be more than {max} patterns of one instance; take whole branches with `a/**`, or start another instance",
        max = longshore_model::limits::PATTERNS
    )]
    TooManyHandlers(String),
    /// Two handlers for one question.
    #[error("`{name}` is answered twice: by the handler registered at {first} and by that at {second}; take one away")]
    AnsweredTwice {
        /// Its name.
        name: Topic,
        /// Where the first one was registered.
        first: String,
        /// Where the second one was.
        second: String,
    },
    /// The rules by kind of error of a handler cannot be used.
    #[error("retry_on of the handler of `{pattern}`, registered at {place}: {why}")]
    BadRules {
        /// What it takes.
        pattern: String,
        /// Where it was registered.
        place: String,
        /// What is wrong, and the remedy.
        why: String,
    },
    /// A topic or pattern breaks the grammar.
    #[error(transparent)]
    Topic(#[from] BadTopic),
    /// The queues cannot be used.
    #[error(transparent)]
    Queues(#[from] BadQueues),
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
    stable: Duration,
    link: Option<Link>,
    world: Option<World>,
    registry: Registry,
    answers: Answers,
    problem: Option<StartError>,
    state: S,
}

impl Consumer<()> {
    /// A consumer with these settings and the main queue alone.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            queues: Queues::default(),
            allowed: settings.instance.allowed.clone(),
            retention: retention(&settings.retention),
            stable: STABLE,
            settings,
            link: None,
            world: None,
            registry: Registry::default(),
            answers: Answers::default(),
            problem: None,
            state: (),
        }
    }

    /// A consumer with these settings and queues. `[[handlers]]` are not looked at: they are for the ready-made
    /// program. What is wrong with the queues is told by [`Consumer::start`].
    #[must_use]
    pub fn from_loaded(loaded: Loaded) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut consumer = Self::new(loaded.settings);
        match Queues::new(loaded.queues, cores) {
            Ok(queues) => consumer.queues = queues,
            Err(bad) => consumer.note(bad.into()),
        }
        consumer
    }

    /// A consumer with the settings of the file that `LONGSHORE_CONFIG` names (else `longshore.toml` in the working
    /// directory, if there is one) and of the environment.
    ///
    /// # Errors
    /// [`SettingsError`] with everything that is wrong.
    pub fn from_env() -> Result<Self, SettingsError> {
        longshore_producer::settings::load(None, &[]).map(Self::from_loaded)
    }

    /// Gives the handlers a state; call it before [`Consumer::handle`].
    #[must_use]
    pub fn state<S: Clone + Send + Sync + 'static>(self, state: S) -> Consumer<S> {
        Consumer {
            settings: self.settings,
            queues: self.queues,
            allowed: self.allowed,
            retention: self.retention,
            stable: self.stable,
            link: self.link,
            world: self.world,
            registry: self.registry,
            answers: self.answers,
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

    /// How much of the history is kept, where the queues of the fleet do not say it for theirs.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// How long a changed topology has to stay as it is before its listeners hear of it; default 3 s. That it changes
    /// they hear at once ([`crate::topology`]).
    #[must_use]
    pub const fn stable_after(mut self, stable: Duration) -> Self {
        self.stable = stable;
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
                let options = handler.options().or(&J::options());
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

    /// Answers questions of this name, a topic of one's own choice, which somebody asks all instances or some of them
    /// ([`Running::ask`], `longshore_producer::Producer::ask`). The handler is called at most once for each question in
    /// the life of a process, beside the jobs and without taking a slot, for at most 16 questions at a time; it is dropped
    /// when nobody waits for the answer any more. An answer of at most 64 KiB goes back, or an error, cut to 4 KiB; a panic
    /// is an error. Names that no handler has are answered with "no handler". Two handlers for one name are an error at
    /// start.
    #[must_use]
    #[track_caller]
    pub fn answer<F, Fut, T, E>(mut self, name: &str, handler: F) -> Self
    where
        F: Fn(Question) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize + 'static,
        E: Display + 'static,
    {
        if let Err(problem) = self.answers.add(name, handler, Location::caller()) {
            self.note(problem);
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
        if self.registry.capabilities().len() >= longshore_model::limits::PATTERNS {
            return self.note(StartError::TooManyHandlers(pattern.to_string()));
        }
        if let Err(why) = options.retry_on.check() {
            return self.note(StartError::BadRules { pattern: pattern.to_string(), place: place.to_string(), why });
        }
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
    /// [`RunError`] when it cannot start, or cannot go on.
    pub async fn run(self) -> Result<(), RunError> {
        self.run_with(|_| {}).await
    }

    /// As [`Self::run`], and hands the live instance to `started`, for health endpoints and the like.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_with(self, started: impl FnOnce(&Arc<Running>)) -> Result<(), RunError> {
        // Before anything else: a process that is the first of its container gets no signal that it has not asked for.
        let mut signals = Signals::new()?;
        let running = tokio::select! {
            biased;
            () = signals.next() => return Ok(()),
            running = self.start().boxed() => Arc::new(running?),
        };
        started(&running);
        running.until_asked(&mut signals).await
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
            Some(link) => {
                let own = trusted::Trust::of(&self.settings)?;
                let trust = if own.has_keys() { own } else { link.trust.clone() };
                Link { world: world.clone(), trust, ..link }
            }
            // The connections keep tasks of their own for as long as they live; the instance waits for its own only.
            None => Link { world: world.clone(), ..Box::pin(connect(&self.settings, &world.process())).await? },
        };
        link.events.set_origin(&identity.owner.instance.0);
        let engine = Arc::new(Engine {
            owner: identity.owner.clone(),
            name: identity.name,
            cluster: self.settings.instance.cluster.clone().unwrap_or_else(|| identity.owner.instance.0.clone()),
            leader_preference: self.settings.instance.leader_preference,
            lease: self.settings.lease.clone(),
            policies: policies::Policies::new(self.queues, self.settings.instance.apply_queues),
            matrix: crate::engine::matrix::Matrix::default(),
            sight: sight::Sight::new(self.stable),
            strangers: crate::engine::strangers::Strangers::default(),
            answering: answering::Answering::new(self.answers),
            properties: crate::properties::Properties::default(),
            labels: self.settings.instance.labels.clone(),
            endpoints: self.settings.instance.endpoints.clone(),
            allowed: self.allowed,
            work_dir: identity.work_dir,
            max_file_bytes: self.settings.blobs.max_file_bytes,
            journal: self.settings.broker.journal.enabled,
            slots: self.settings.instance.concurrency.max(1),
            held_bytes: self.settings.instance.held_bytes,
            log_lines: self.settings.instance.log_lines,
            registry: self.registry,
            running: running::Running::default(),
            held: crate::engine::held::Held::default(),
            taken_back: TakenBack::default(),
            isolation: Isolation::default(),
            metrics: Arc::new(Metrics::default()),
            busy: signal::Sender::new(0),
            phase: signal::Sender::new(Phase::Working),
            trust: signal::Sender::new(Trust::Doubt),
            proven: signal::Sender::new(None),
            gone: signal::Sender::new(BTreeSet::new()),
            coordinator: signal::Sender::new(false),
            wanted: signal::Sender::new(None),
            consuming: signal::Sender::new(BTreeSet::new()),
            lost: signal::Sender::new(None),
            known: signal::Sender::new(BTreeSet::new()),
            slot_freed: Notify::new(),
            beat_now: Notify::new(),
            topics_changed: Notify::new(),
            rescue_now: Notify::new(),
            promote_now: Notify::new(),
            relay_now: Notify::new(),
            adopt_now: Notify::new(),
            recommit_now: Notify::new(),
            committed: Recent::default(),
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
        drop(world.tasks.spawn(policies::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(sight::follow_nudges(Arc::clone(&engine))));
        drop(world.tasks.spawn(sight::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(lanes::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(intake::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(isolation::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(answering::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(adopt::run(Arc::clone(&engine))));
        drop(world.tasks.spawn(recommit::run(Arc::clone(&engine))));
        duties::start(&engine, self.retention, self.settings.blobs.grace);
        tracing::info!(instance = %engine.owner.instance, name = engine.name, slots = engine.slots, "consumer started");
        Ok(Running::new(engine, self.settings.instance.grace, identity.home))
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
    work_dir: WorkDir,
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
            // Handlers get paths below it, and may run in another directory.
            Some(dir) => Some(std::path::absolute(dir).map_err(StartError::Home)?),
            None if borrowed || embedded => None,
            None => Some(state_home(settings, &name)?),
        };
        let Some(dir) = home_dir else {
            // Not named after the instance: in a simulation others have the same id, and nobody should guess the name.
            let scratch = tempfile::Builder::new().prefix("longshore-").tempdir().map_err(StartError::Home)?;
            let work_dir = WorkDir::Scratch(scratch);
            return Ok(Self { owner: Owner { instance: fresh, incarnation }, name, home: None, work_dir });
        };
        let home = Home::open(&dir, &fresh, &host).map_err(StartError::Home)?;
        if let Some(notice) = &home.notice {
            tracing::warn!("{notice}");
        }
        let work = dir.join("work");
        if home.sole {
            clear(&work);
        }
        let work_dir = WorkDir::AtHome(work.join(&incarnation.0));
        Ok(Self { owner: Owner { instance: home.id.clone(), incarnation }, name, home: Some(home), work_dir })
    }
}

/// Removes what killed processes of the instance left behind.
fn clear(work: &Path) {
    if let Err(error) = std::fs::remove_dir_all(work)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %work.display(), %error, "files of earlier processes could not be removed");
    }
}

fn retention(settings: &RetentionSettings) -> Retention {
    Retention {
        succeeded: Bound { age_ms: ms(settings.succeeded), count: Some(settings.succeeded_count) },
        failed: Bound { age_ms: ms(settings.failed), count: Some(settings.failed_count) },
        queues: Vec::new(),
    }
}

/// Where an instance without a named home keeps its id.
fn state_home(settings: &Settings, name: &str) -> Result<PathBuf, StartError> {
    let state = longshore_producer::settings::state_directory().ok_or(StartError::NoHome)?;
    Ok(state.join("longshore").join(settings.namespace.as_str()).join(name))
}
