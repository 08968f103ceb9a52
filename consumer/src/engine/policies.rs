//! The queues that the instance goes by: those of the store, else its own; and how many jobs of each run here.
//!
//! They are read when the instance starts and whenever somebody applies others; until the store answers, the instance's
//! own hold. A limit of a queue per instance that is lowered lets what runs go on and starts nothing new until there is
//! room (Q09). What a queue allows in the whole fleet is the store's to decide.

use super::{Engine, Phase};
use longshore_model::queue::{QueueConfig, Queues, own_limits, write};
use longshore_model::topic::Topic;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A nudge that was lost costs so much.
const AGAIN: Duration = Duration::from_secs(10);

/// The queues of an instance.
#[derive(Debug)]
pub(crate) struct Policies {
    /// What holds, and of which version; 0: the instance's own.
    current: Mutex<(Arc<Queues>, u64)>,
    /// Jobs of a queue that have a slot here, by the queue's name.
    running: Mutex<BTreeMap<String, usize>>,
    cores: usize,
    /// Whether the instance's own queues are applied for the fleet when it starts.
    apply: bool,
    pub(crate) changed: Notify,
}

impl Policies {
    pub(crate) fn new(own: Queues, apply: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let current = Mutex::new((Arc::new(own), 0));
        Self { current, running: Mutex::default(), cores, apply, changed: Notify::new() }
    }

    /// The queues as they are now.
    pub(crate) fn get(&self) -> Arc<Queues> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Counts a job of a lane against what its queue allows here. `None`: there is no room. Answers the name under which
    /// it is counted, if it is.
    pub(crate) fn enter(&self, lane: &Topic) -> Option<Option<String>> {
        let queues = self.get();
        if queues.is_plain() {
            return Some(None);
        }
        let queue = queues.resolve(lane);
        if !queue.configured {
            return Some(None);
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(queue.name.clone()).or_default();
        if *count >= queue.config.max_parallel.effective(self.cores).max(1) {
            return None;
        }
        *count += 1;
        Some(Some(queue.name))
    }

    /// A job that was counted has left its slot.
    pub(crate) fn leave(&self, queue: &str) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(queue) {
            *count -= 1;
            if *count == 0 {
                running.remove(queue);
            }
        }
    }
}

/// Keeps the queues up to date until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    // A stranger does not decide for the fleet.
    if engine.policies.apply && engine.until_inside().await {
        apply_own(&engine).await;
    }
    loop {
        read(&engine).await;
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.policies.changed.notified() => {}
            () = engine.link.world.clock.sleep(AGAIN) => {}
        }
    }
}

async fn read(engine: &Engine) {
    let set = match engine.link.store.queues().await {
        Ok(Some(set)) => set,
        Ok(None) => return,
        Err(fault) => {
            tracing::debug!(%fault, "the queues could not be read; going by the last ones");
            return;
        }
    };
    let policies = &engine.policies;
    let mut current = policies.current.lock().unwrap_or_else(PoisonError::into_inner);
    if current.1 == set.version {
        return;
    }
    match Queues::applied(&set.text, policies.cores) {
        Ok(queues) => {
            tracing::info!(version = set.version, by = set.by, "going by the queues that were applied");
            *current = (Arc::new(queues), set.version);
            // What waits for room may have it now.
            engine.slot_freed.notify_one();
        }
        Err(why) => tracing::error!(version = set.version, why, "queues that were applied cannot be used here"),
    }
}

/// Applies the instance's own queues for the fleet, if they differ from what is there.
async fn apply_own(engine: &Engine) {
    let queues = engine.policies.get();
    if queues.is_plain() {
        return;
    }
    let configs: &[QueueConfig] = queues.configs();
    let text = write(configs);
    let limits = own_limits(configs);
    let store = &engine.link.store;
    let by = format!("instance {}", engine.name);
    loop {
        let done = async {
            let before = store.queues().await?;
            if before.as_ref().is_some_and(|set| set.text == text) {
                return Ok(true);
            }
            let version = before.map_or(0, |set| set.version);
            let now = store.set_queues(version, &by, &text, &limits).await?;
            Ok::<bool, longshore_link::Fault>(now.version == version + 1)
        };
        match done.await {
            Ok(true) => return,
            Ok(false) => tracing::debug!("somebody else applied queues just now; looking again"),
            Err(fault) => tracing::warn!(%fault, "the queues of this instance could not be applied; trying again"),
        }
        if !engine.pause(engine.link.world.random.jitter(Duration::from_secs(1))).await {
            return;
        }
    }
}
