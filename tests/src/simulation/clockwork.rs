//! Schedules in a simulated run: one job for each slot, and under `all` none is missed, whoever fires and dies.
//!
//! They are defined while everything goes wrong, fire until it is over, and are then stopped and counted: every slot up
//! to that moment must have its job under its own id, and there must be no other jobs of their topic.

use super::{Fleet, Member};
use longshore_link::schedules::{Changed, Kept};
use longshore_link::store::Store;
use longshore_link::world::Random;
use longshore_model::JobId;
use longshore_model::schedule::change::Next;
use longshore_producer::{Missed, Producer, ScheduleError, ScheduleHandle};
use std::sync::Arc;
use std::time::Duration;

/// The topic of their jobs, and of no others.
pub(super) const TOPIC: &str = "sim/clock";
const NAMES: [&str; 3] = ["every", "spread", "cron"];
/// Longer than any run: nothing that is late is left out.
const WINDOW_MS: u64 = 80 * 60_000;
/// How long slots may stay due when nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(600);

/// Defines the schedules, and again until it is answered: the same definition changes nothing.
pub(super) async fn define(producer: &Producer, random: &Random) {
    for name in NAMES {
        let seconds = |least: u64, spread: u64| Duration::from_secs(least + random.below(spread));
        let (every, jitter) = (seconds(5, 20), seconds(1, 30));
        let timed = |schedule: ScheduleHandle| match name {
            "every" => schedule.every(every),
            "spread" => schedule.every(every * 2).jitter(jitter),
            _ => schedule.cron("*/15 * * * * *").cron("7 * * * * *").zone("America/New_York"),
        };
        loop {
            let job = producer.raw(TOPIC, "{}").retries(3);
            let schedule = producer.schedule(name).job(job).missed(Missed::All { window_ms: WINDOW_MS });
            match timed(schedule).put().await {
                Ok(_) => break,
                Err(refused @ ScheduleError::Refused(_)) => panic!("{refused}"),
                Err(_) => {}
            }
            producer.link().world.clock.sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Stops the schedules once nothing is due. Answers the jobs that there must be, and what is wrong.
pub(super) async fn stop(fleet: &Fleet, members: &mut [Member]) -> (Vec<JobId>, Vec<String>) {
    let store = fleet.backend.link(fleet.world.process()).store;
    let (mut jobs, mut wrong) = (Vec::new(), Vec::new());
    for name in NAMES {
        match suspended(fleet, members, &store, name).await {
            Ok(kept) => {
                let schedule = kept.schedule;
                let times = schedule.spec.times(schedule.anchor).unwrap();
                let slots = std::iter::successors(times.next(schedule.created), |slot| times.next(*slot));
                let slots: Vec<u64> = slots.take_while(|slot| *slot <= schedule.after).collect();
                let counts = (schedule.fired, schedule.missed, schedule.skipped, schedule.refused);
                // There may be none: a run may be over before the first, above all where the store's clock went back.
                if counts != (slots.len() as u64, 0, 0, 0) {
                    wrong.push(format!("schedule {name} counts {counts:?} of {} slots", slots.len()));
                }
                jobs.extend(slots.into_iter().map(|slot| schedule.job_id(slot)));
            }
            Err(why) => wrong.push(format!("schedule {name}: {why}")),
        }
    }
    let ledger = store.ledger().await.unwrap_or_default();
    let accepted = ledger.topics.iter().find(|(topic, _)| topic.as_str() == TOPIC).map_or(0, |(_, line)| line.accepted);
    if i64::try_from(jobs.len()) != Ok(accepted) {
        wrong.push(format!("{} slots have {accepted} jobs", jobs.len()));
    }
    (jobs, wrong)
}

/// The schedule as it was when it was suspended, with nothing due.
async fn suspended(fleet: &Fleet, members: &mut [Member], store: &Arc<dyn Store>, name: &str) -> Result<Kept, String> {
    let clock = &fleet.world.clock;
    let begun = clock.boot();
    let mut last = String::new();
    loop {
        // Answers may still be lost: then it is asked again, and may have been suspended already.
        match store.schedule(name).await {
            Ok(found) => {
                let kept = found.kept.into_iter().next().ok_or("it is gone")?;
                last = format!("slots stay due: {:?} at {}", kept.schedule.due, found.now);
                let Some(still) = kept.schedule.suspend("the end", found.now) else { return Ok(kept) };
                if kept.schedule.due.is_some_and(|due| due > found.now) {
                    let change = kept.change(Next::Kept(Box::new(still)));
                    if store.change_schedules(vec![change]).await.is_ok_and(|done| done == [Changed::Done(Vec::new())])
                    {
                        return Ok(kept);
                    }
                }
            }
            Err(fault) if fault.is_passing() => {}
            Err(fault) => return Err(fault.to_string()),
        }
        if clock.boot().saturating_sub(begun) > PATIENCE {
            return Err(last);
        }
        fleet.replace_dead(members).await;
        clock.sleep(Duration::from_millis(200)).await;
    }
}
