//! Duties: background work that any instance can do at any time, and the coordinator normally does.
//!
//! One file each. No duty's safety depends on there being one coordinator: every step is guarded in
//! the store, so two instances doing the same duty at once do it once. An instance that is not the
//! coordinator steps in at a slower pace, so that nothing stands still between two coordinators.

pub(crate) mod auditor;
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
    let tasks = &engine.link.world.tasks;
    drop(tasks.spawn(promoter::run(Arc::clone(engine))));
    drop(tasks.spawn(relay::run(Arc::clone(engine))));
    drop(tasks.spawn(scheduler::run(Arc::clone(engine))));
    drop(tasks.spawn(rescuer::run(Arc::clone(engine))));
    drop(tasks.spawn(undertaker::run(Arc::clone(engine))));
    drop(tasks.spawn(reconciler::run(Arc::clone(engine))));
    drop(tasks.spawn(auditor::run(Arc::clone(engine))));
    drop(tasks.spawn(scrubber::run(Arc::clone(engine))));
    drop(tasks.spawn(teller::run(Arc::clone(engine))));
    drop(tasks.spawn(janitor::run(Arc::clone(engine), retention)));
    drop(tasks.spawn(collector::run(Arc::clone(engine), file_grace)));
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
