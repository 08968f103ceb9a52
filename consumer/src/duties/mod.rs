//! Duties: background work that any instance can do at any time, and the coordinator normally does.
//!
//! One file each. No duty's safety depends on there being one coordinator: every step is guarded in
//! the store, so two instances doing the same duty at once do it once. An instance that is not the
//! coordinator steps in at a slower pace, so that nothing stands still between two coordinators.

pub(crate) mod auditor;
pub(crate) mod clearer;
pub(crate) mod collector;
pub(crate) mod janitor;
pub(crate) mod promoter;
pub(crate) mod reconciler;
pub(crate) mod relay;
pub(crate) mod rescuer;
pub(crate) mod scheduler;
pub(crate) mod scrubber;
pub(crate) mod teller;
pub(crate) mod undertaker;

use crate::engine::Engine;
use std::sync::Arc;
use std::time::Duration;

/// How much slower an instance does a duty when it is not the coordinator.
const BACKUP: u32 = 10;

/// Starts all duties; they end when the instance has stopped.
pub(crate) fn start(engine: &Arc<Engine>, retention: longshore_link::store::Retention, file_grace: Duration) {
    keep(engine, promoter::run);
    keep(engine, relay::run);
    keep(engine, scheduler::run);
    keep(engine, rescuer::run);
    keep(engine, undertaker::run);
    keep(engine, reconciler::run);
    keep(engine, clearer::run);
    keep(engine, auditor::run);
    keep(engine, scrubber::run);
    keep(engine, teller::run);
    keep(engine, move |engine| janitor::run(engine, retention.clone()));
    keep(engine, move |engine| collector::run(engine, file_grace));
}

/// Does a duty while the instance belongs to the fleet. A stranger may have another broker, another place of files and
/// other rules; what it was in the middle of is dropped, as when a process dies.
fn keep<D, F>(engine: &Arc<Engine>, duty: D)
where
    D: Fn(Arc<Engine>) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let engine = Arc::clone(engine);
    let tasks = engine.link.world.tasks.clone();
    drop(tasks.spawn(async move {
        while engine.until_inside().await {
            tokio::select! {
                biased;
                () = duty(Arc::clone(&engine)) => return,
                () = engine.until_outside() => {}
            }
        }
    }));
}

/// The pace of a duty on this instance, now.
fn pace(engine: &Engine, coordinator: Duration) -> Duration {
    if *engine.coordinator.borrow() { coordinator } else { coordinator * BACKUP }
}

/// Sleeps until this instance may look again: about `coordinator` on the coordinator, on others much longer, unless they
/// become it meanwhile. Shortened at random, so that nobody looks in step with anybody else.
async fn rest(engine: &Engine, coordinator: Duration) {
    let world = &engine.link.world;
    for _ in 0..BACKUP {
        world.clock.sleep(world.random.jitter(coordinator)).await;
        if *engine.coordinator.borrow() {
            return;
        }
    }
}
