//! Scheduler: sends the jobs of schedules when their time has come.
//!
//! Reads what is due, asks the model what that means, and exchanges each schedule together with its jobs:
//! whoever is second finds that something differs and has done nothing, so that there is one job a slot
//! whoever fires. The exchange enters the jobs in the outbox; publishing them at once makes them fast. It waits
//! until the next time that the store knows; a nudge wakes it when a schedule becomes due earlier, when a
//! job ends for whose end another one waits, and when this instance becomes the coordinator.

use super::BACKUP;
use crate::engine::{Engine, Phase};
use longshore_link::Fault;
use longshore_link::schedules::{self, Changed, DueSchedules, Kept, ScheduleChange};
use longshore_link::store::Nudge;
use longshore_model::event::{Class, Kind};
use longshore_model::id::JobId;
use longshore_model::record::State;
use longshore_model::schedule::change::Plan;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// How long a time may have passed before an instance steps in that is not the coordinator; and the rest after a call
/// that was not answered.
const PACE: Duration = Duration::from_millis(500);
/// Longest rest, should every nudge have been lost.
const NET: Duration = Duration::from_secs(60);
/// Schedules in one call.
const LIMIT: usize = longshore_model::limits::BATCH;

/// Fires until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut nudges = engine.link.store.nudges();
    let mut awaited = Awaited::default();
    loop {
        let rest = match round(&engine, &mut awaited).await {
            Ok(rest) => rest,
            Err(fault) => {
                tracing::debug!(%fault, "due schedules could not be fired; trying again");
                PACE
            }
        };
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = appointed(&engine) => {}
            heard = hear(&mut nudges, &mut awaited) => if !heard { return },
            () = engine.link.world.clock.sleep(rest) => {}
        }
    }
}

/// Schedules whose next job waits for the end of another. Forgetting one costs what it rests between two looks.
#[derive(Debug, Default)]
struct Awaited {
    /// By the job whose end is waited for.
    schedules: BTreeMap<JobId, String>,
    /// Those whose job has ended.
    ready: BTreeSet<String>,
}

impl Awaited {
    fn ended(&mut self, job: &JobId) -> bool {
        let found = self.schedules.remove(job);
        let any = found.is_some();
        self.ready.extend(found);
        any
    }
}

/// Fires what is due. Answers how long to rest.
async fn round(engine: &Arc<Engine>, awaited: &mut Awaited) -> Result<Duration, Fault> {
    let store = &engine.link.store;
    let DueSchedules { now, mut kept, mut next, mut more } = store.due_schedules(LIMIT).await?;
    for name in std::mem::take(&mut awaited.ready) {
        if !kept.iter().any(|kept| kept.schedule.spec.name == name) {
            kept.extend(store.schedule(&name).await?.kept);
        }
    }
    let plans: Vec<(&Kept, Plan)> = kept.iter().map(|kept| (kept, kept.schedule.fire(now, kept.open))).collect();
    let mut changes = Vec::with_capacity(plans.len());
    for (kept, plan) in &plans {
        more |= plan.more;
        changes.push(kept.fire(plan, &engine.policies.get(), now).unwrap_or_else(|why| refused(kept, plan, &why)));
    }
    let answers = if changes.is_empty() { Vec::new() } else { store.change_schedules(changes.clone()).await? };
    let (mut outgoing, mut again, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for (((kept, plan), change), answer) in plans.iter().zip(&changes).zip(answers) {
        match answer {
            Changed::Done(jobs) => {
                outgoing.extend(schedules::outgoing(change, &jobs));
                // What was fired is due again as it says.
                let due = change.next.as_ref().and_then(|next| next.due);
                next = next.into_iter().chain(due).min();
                let waits = change.next.as_ref().filter(|next| next.waiting.is_some());
                waiting.extend(waits.and_then(|next| Some((next.last()?, change.name.clone()))));
            }
            Changed::Refused(why) => again.push(refused(kept, plan, &why.to_string())),
            // Somebody else was here, or a job has ended meanwhile: what is left is due still.
            Changed::Differs | Changed::Full => more = true,
        }
    }
    if !again.is_empty() {
        store.change_schedules(again).await?;
        more = true;
    }
    engine.metrics.scheduled(outgoing.len());
    if engine.link.is_heard(Class::Job) {
        outgoing.iter().for_each(|job| engine.link.tell_of(Kind::Added, job.id));
    }
    engine.publish_outgoing(outgoing).await;
    if !waiting.is_empty() {
        let jobs: Vec<JobId> = waiting.iter().map(|(job, _)| *job).collect();
        awaited.schedules.extend(waiting);
        for (job, state) in jobs.iter().zip(store.watch(jobs.clone()).await?) {
            more |= state.is_none_or(State::is_terminal) && awaited.ended(job);
        }
    }
    Ok(match next {
        _ if more => Duration::ZERO,
        Some(next) => NET.min(Duration::from_millis(next.saturating_sub(now)) + lag(engine)),
        None => NET,
    })
}

/// How long after its time an instance looks at a schedule: the coordinator at once, others when that seems to be away.
fn lag(engine: &Engine) -> Duration {
    if *engine.coordinator.borrow() { Duration::ZERO } else { engine.link.world.random.jitter(PACE * BACKUP) }
}

/// The slots of a plan whose jobs cannot be accepted are over; the schedule says why.
fn refused(kept: &Kept, plan: &Plan, why: &str) -> ScheduleChange {
    let schedule = &kept.schedule.spec.name;
    tracing::error!(schedule, why, "a schedule could not send its job");
    kept.change(kept.schedule.refused(plan, why))
}

/// Waits until this instance becomes the coordinator.
async fn appointed(engine: &Engine) {
    let mut coordinator = engine.coordinator.subscribe();
    if *coordinator.borrow_and_update() {
        return std::future::pending().await;
    }
    // The sender lives as long as the engine.
    let _ = coordinator.wait_for(|now| *now).await;
}

/// Waits for a nudge that makes it worth looking again. Answers whether there may be more of them.
async fn hear(nudges: &mut Receiver<Nudge>, awaited: &mut Awaited) -> bool {
    loop {
        match nudges.recv().await {
            Ok(Nudge::Schedules | Nudge::Missed) | Err(RecvError::Lagged(_)) => return true,
            Ok(Nudge::Ended(job)) if awaited.ended(&job) => return true,
            Ok(_) => {}
            Err(RecvError::Closed) => return false,
        }
    }
}
