//! A live instance: what is known of it, and how it ends.
//!
//! [`Running`] answers questions (ready, alive, metrics) and ends the instance in order: drain, then stop. It decides
//! nothing about jobs; that is the engine's work.

use crate::Cancelled;
use crate::consumer::StartError;
use crate::engine::{Engine, Phase, Status, Trust};
use crate::home::Home;
use crate::metrics::Gauges;
use crate::properties::{BadProperty, Provided};
use crate::registry::Registry;
use crate::topology::Topology;
use longshore_model::id::{InstanceId, Owner};
use longshore_model::lane::Lane;
use longshore_model::placement::Origin;
use longshore_producer::Ask;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// At the very end, time for cancelled handlers to be settled, beside their grace; then their attempts are left to the
/// rescuer. Also the time for all tasks to end.
const SETTLE: Duration = Duration::from_secs(5);

/// Why a consumer did not run to an orderly end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system refuses to tell of signals.
    #[error("SIGTERM and SIGINT cannot be listened for: {0}")]
    Signals(#[from] std::io::Error),
    /// Another process has taken the instance's place.
    #[error("another process took the place of the instance {0}; give each process a name or a home of its own")]
    Superseded(InstanceId),
    /// The thread that proves that the instance is alive has ended.
    #[error("the instance's beats have ended unexpectedly, so its jobs were given up; its log says why")]
    Lifeless,
}

/// A live instance.
#[derive(Debug)]
pub struct Running {
    engine: Arc<Engine>,
    grace: Duration,
    _home: Option<Home>,
}

impl Running {
    pub(crate) fn new(engine: Arc<Engine>, grace: Duration, home: Option<Home>) -> Self {
        Self { engine, grace, _home: home }
    }

    /// Which start of which instance this is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.engine.owner
    }

    /// This instance as a sender of jobs: what a producer in the same process needs to send jobs that are to run near it,
    /// as `ProducerOptions::origin`.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.engine.origin()
    }

    /// The handlers; changing them changes what the instance takes.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.engine.registry.clone()
    }

    /// The topology as this instance sees it.
    #[must_use]
    pub fn topology(&self) -> Topology {
        Topology::new(&self.engine)
    }

    /// Gives the instance properties, which everybody sees in the topology, until the answer is dropped. Where several
    /// provide the same one, the highest ranking wins, and among equals who came first.
    ///
    /// # Errors
    /// [`BadProperty`] for a name that breaks the grammar (letters, digits, `.`, `_`, `-`) or what is out of bounds.
    pub fn provide<N: Into<String>, V: Into<String>>(
        &self,
        ranking: i32,
        values: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Provided, BadProperty> {
        Provided::new(&self.engine, ranking, values)
    }

    /// Asks live instances something, this one among them, and waits until all have answered or are gone; see
    /// `longshore_producer::Ask` for whom, how long, and what comes back.
    pub fn ask(&self, name: &str, payload: &impl Serialize) -> Ask {
        Ask::over(&self.engine.link, name, payload)
    }

    /// Where the instance stands.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            wanted: self.engine.wanted.borrow().clone().unwrap_or_default(),
            consuming: self.engine.consuming.borrow().clone(),
            alive: *self.engine.trust.borrow() == Trust::Sure,
            draining: self.engine.phase() != Phase::Working,
            drained: self.engine.matrix.row().drained,
            running: self.engine.running.len(),
            coordinator: *self.engine.coordinator.borrow(),
            outside: self.engine.strangers.why(),
        }
    }

    /// Whether every topic that the instance advertises has a registered consumer, and beats are answered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.unready().is_empty()
    }

    /// What keeps the instance from being ready, for people; empty when it is.
    #[must_use]
    pub fn unready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match *self.engine.trust.borrow() {
            Trust::Sure => {}
            Trust::Doubt => reasons.push("the store answers no beats".to_owned()),
            Trust::Superseded | Trust::Lifeless => reasons.push("the instance is not part of the fleet".to_owned()),
        }
        if self.engine.phase() != Phase::Working {
            reasons.push("it takes no new work: it was asked to stop".to_owned());
        }
        reasons.extend(self.engine.strangers.why().map(|why| format!("it takes no work: {why}")));
        match &*self.engine.wanted.borrow() {
            None => reasons.push("it does not know yet which topics there are".to_owned()),
            Some(wanted) => {
                let consuming = self.engine.consuming.borrow();
                let missing = wanted.difference(&consuming).map(Lane::to_string).collect::<Vec<_>>();
                if !missing.is_empty() {
                    reasons.push(format!("no consumer is registered for: {}", missing.join(", ")));
                }
            }
        }
        reasons
    }

    /// Whether the instance can still go on by itself: `false` once another process took its place, or its beats ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(*self.engine.trust.borrow(), Trust::Sure | Trust::Doubt)
    }

    /// Waits until [`Self::is_ready`], or until the instance has stopped. An instance whose patterns match no known
    /// topic yet is ready as well: it takes the first one when it comes.
    pub async fn ready(&self) {
        let mut wanted = self.engine.wanted.subscribe();
        let mut consuming = self.engine.consuming.subscribe();
        let mut trust = self.engine.trust.subscribe();
        let mut standing = self.engine.strangers.standing.subscribe();
        loop {
            if self.is_ready() || self.engine.is_stopped() {
                return;
            }
            tokio::select! {
                biased;
                () = self.engine.until(Phase::Stopped) => return,
                _ = wanted.changed() => {}
                _ = consuming.changed() => {}
                _ = trust.changed() => {}
                _ = standing.changed() => {}
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
            outside: status.outside.is_some(),
            strangers: self.engine.strangers.ignored().len(),
            broker_connected: self.engine.link.broker.status().connected,
        })
    }

    /// Waits until the instance cannot go on, and tells why: [`RunError::Superseded`] or [`RunError::Lifeless`]. Stop
    /// it then.
    pub async fn broken(&self) -> RunError {
        let mut trust = self.engine.trust.subscribe();
        match trust.wait_for(|trust| matches!(trust, Trust::Superseded | Trust::Lifeless)).await.map(|found| *found) {
            Ok(Trust::Superseded) => RunError::Superseded(self.engine.owner.instance.clone()),
            // The sender lives as long as `self`.
            _ => RunError::Lifeless,
        }
    }

    /// Runs until a signal; then drains. A second signal ends the grace.
    pub(crate) async fn until_asked(&self, signals: &mut Signals) -> Result<(), RunError> {
        let broken = tokio::select! {
            biased;
            () = signals.next() => None,
            why = self.broken() => Some(why),
        };
        if let Some(why) = broken {
            self.stop().await;
            return Err(why);
        }
        tracing::info!("asked to stop: draining; a second signal ends the grace");
        tokio::select! {
            biased;
            () = signals.next() => self.stop().await,
            () = self.drain() => {}
        }
        Ok(())
    }

    /// Takes nothing new, gives back what was not started, and lets running jobs finish within the grace; then as
    /// [`Self::stop`].
    pub async fn drain(&self) {
        self.begin_drain();
        let _ = self.engine.link.world.clock.timeout(self.grace, self.engine.idle()).await;
        self.stop().await;
    }

    fn begin_drain(&self) {
        self.engine.phase.send_if_modified(|phase| {
            let changes = *phase < Phase::Draining;
            if changes {
                *phase = Phase::Draining;
            }
            changes
        });
        // Others learn at once that this instance takes nothing.
        self.engine.beat_now.notify_one();
    }

    /// Cancels what still runs, gives it back uncharged, leaves the fleet and ends every task.
    pub async fn stop(&self) {
        let engine = &self.engine;
        self.begin_drain();
        engine.running.close(&Cancelled::Shutdown);
        let patience = engine.registry.longest_grace() + SETTLE;
        if engine.link.world.clock.timeout(patience, engine.idle()).await.is_none() {
            let left = engine.running.len();
            tracing::warn!(left, "handlers did not end; their jobs are taken back when their leases end");
        }
        engine.phase.send_replace(Phase::Stopped);
        let _ = engine.link.world.clock.timeout(SETTLE, engine.link.world.tasks.wait()).await;
        if let Err(error) = tokio::fs::remove_dir_all(engine.work_dir.path()).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "the work directory could not be removed");
        }
        tracing::info!("stopped");
    }
}

/// SIGTERM and SIGINT. From its making on they do not end the process any more.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
