//! Schedules: F6 and G5, whoever fires, and whatever happens to them meanwhile.
#![allow(missing_docs, reason = "the name of a case is its sentence")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use longshore_consumer::{Ctx, Running};
use longshore_producer::{
    Defined, JobBuilder, JobId, Missed, Overlap, Resumed, RunNow, ScheduleError, ScheduleHandle, ScheduleView, State,
    Time,
};
use tokio::sync::Semaphore;

use super::{Fleet, Gauge, Runs};

const TOPIC: &str = "test/schedule";
const SECOND: Duration = Duration::from_secs(1);
/// Longer than any case.
const LONG: Duration = Duration::from_secs(80_000);

fn job(fleet: &Fleet) -> JobBuilder {
    fleet.producer().raw(TOPIC, "{\"n\":1}")
}

/// A schedule that sends a plain job, without a time.
fn schedule(fleet: &Fleet, name: &str) -> ScheduleHandle {
    fleet.producer().schedule(name).job(job(fleet))
}

async fn view(fleet: &Fleet, name: &str) -> ScheduleView {
    fleet.producer().schedule(name).get().await.unwrap().unwrap()
}

async fn names(fleet: &Fleet) -> Vec<String> {
    let page = fleet.producer().schedules().limit(0).list().await.unwrap();
    page.schedules.into_iter().map(|schedule| schedule.name).collect()
}

async fn consumer(fleet: &Fleet, runs: &Runs) -> Running {
    fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await
}

/// The slots of these jobs, seconds, in order.
fn slots(ids: impl IntoIterator<Item = JobId>) -> Vec<u64> {
    let mut slots: Vec<u64> = ids.into_iter().map(|id| id.created_ms() / 1_000).collect();
    slots.sort_unstable();
    slots
}

/// One job for each slot, none left out.
fn each_slot_once(runs: &Runs) {
    // A job whose process died may run twice; a slot has one job.
    let ids: BTreeSet<_> = runs.all().into_iter().map(|run| run.id).collect();
    let slots = slots(ids);
    assert!(slots.windows(2).all(|pair| pair[1] == pair[0] + 1), "{slots:?}");
}

pub async fn z01_zd_04_a_time_that_comes_once_runs_once_and_the_schedule_is_gone(fleet: &Fleet) {
    let runs = Runs::default();
    let running = consumer(fleet, &runs).await;
    let at = fleet.unix_ms() + 3_000;
    assert_eq!(schedule(fleet, "once").at(Time::from_unix_ms(at)).put().await.unwrap(), Defined::Created);
    assert_eq!(view(fleet, "once").await.upcoming.len(), 1);
    let id = runs.reach(1).await[0].id;
    assert_eq!(id.created_ms(), at);
    let once = fleet.producer().schedule("once");
    fleet.eventually("it is gone", async || once.get().await.unwrap().is_none().then_some(())).await;
    let job = fleet.end_of(id).await.job;
    let sent_by = job.schedule.unwrap();
    assert_eq!(
        (sent_by.name.as_str(), sent_by.slot.as_deref()),
        ("once", Some(Time::from_unix_ms(at).to_string().as_str()))
    );
    assert_eq!((job.labels["schedule"].as_str(), job.created_by.as_deref()), ("once", Some("schedule once")));
    fleet.quiet(Duration::from_secs(100)).await;
    assert_eq!(runs.count(), 1);
    running.drain().await;
}

pub async fn z10_zd_05_zd_06_what_is_wrong_is_refused_with_all_reasons_and_nothing_is_stored(fleet: &Fleet) {
    let refused = async |schedule: ScheduleHandle| match schedule.put().await {
        Err(ScheduleError::Refused(problems)) => {
            problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>().join(" ")
        }
        other => panic!("it should be refused: {other:?}"),
    };
    let near = Time::from_unix_ms(fleet.unix_ms() + 1_000);
    assert_eq!(refused(schedule(fleet, "a").at(near)).await, "timings[0].at");
    assert_eq!(refused(schedule(fleet, "a").monthly(29, 0, 0)).await, "timings[0].day");
    assert_eq!(refused(schedule(fleet, "a").daily(24, 60)).await, "timings[0].hour timings[0].minute");
    assert_eq!(refused(schedule(fleet, "a").yearly(13, 1, 0, 0)).await, "timings[0].month");
    let weeks = schedule(fleet, "a").weekly(0, 0, 0).weekly(8, 0, 0);
    assert_eq!(refused(weeks).await, "timings[0].day timings[1].day");
    assert_eq!(refused(schedule(fleet, "a").cron("every day").zone("Mars")).await, "timings[0].cron zone");
    assert_eq!(refused(schedule(fleet, "no name")).await, "name timings");
    assert_eq!(refused(fleet.producer().schedule("a").every(SECOND)).await, "job");
    let delayed = fleet.producer().schedule("a").job(job(fleet).after(SECOND)).every(SECOND);
    assert_eq!(refused(delayed).await, "job");
    let illegal = fleet.producer().schedule("a").job(fleet.producer().raw("no.topic", "{}")).every(SECOND);
    assert_eq!(refused(illegal).await, "job");
    assert!(names(fleet).await.is_empty());
}

pub async fn z07_zd_01_zd_02_the_same_definition_is_one_schedule_and_each_can_be_removed(fleet: &Fleet) {
    let define = async |name: &str| {
        let schedule = schedule(fleet, name);
        let timed = match name {
            "hourly" => schedule.hourly(5),
            "daily" => schedule.daily(10, 5),
            _ => schedule.weekly(3, 19, 12),
        };
        timed.put().await.unwrap()
    };
    for name in ["hourly", "daily", "weekly"] {
        assert_eq!(define(name).await, Defined::Created);
    }
    assert_eq!(define("weekly").await, Defined::Unchanged);
    assert_eq!(names(fleet).await, ["daily", "hourly", "weekly"]);
    assert_eq!(view(fleet, "weekly").await.version, 1);
    for (name, left) in [("hourly", 2), ("daily", 1), ("weekly", 0)] {
        assert!(fleet.producer().schedule(name).remove().await.unwrap());
        assert!(!fleet.producer().schedule(name).remove().await.unwrap(), "it is gone");
        assert_eq!(names(fleet).await.len(), left);
    }
}

pub async fn zd_09_different_definitions_are_different_schedules(fleet: &Fleet) {
    // Their definitions have one hash where a text is hashed into 32 bits as Java does.
    for payload in ["\"Aa\"", "\"BB\""] {
        let job = fleet.producer().raw(TOPIC, payload);
        let name = payload.trim_matches('"');
        fleet.producer().schedule(name).job(job).hourly(5).put().await.unwrap();
    }
    assert_eq!(names(fleet).await, ["Aa", "BB"]);
    assert_eq!((view(fleet, "Aa").await.payload.get(), view(fleet, "BB").await.payload.get()), ("\"Aa\"", "\"BB\""));
}

pub async fn z02_z03_z04_several_timings_fire_as_one_union(fleet: &Fleet) {
    let runs = Runs::default();
    let running = consumer(fleet, &runs).await;
    // Every second, said three times: by cron with six fields, as seconds of the minute, and as a length.
    let union = schedule(fleet, "union").cron("0-29 * * * * *").cron("30-59 * * * * *").cron("* * * * * *");
    union.daily(3, 0).zone("Europe/Berlin").put().await.unwrap();
    runs.reach(4).await;
    fleet.producer().schedule("union").remove().await.unwrap();
    each_slot_once(&runs);
    let shown = view_of_every_kind(fleet).await;
    assert_eq!(shown.timings.len(), 7);
    assert_eq!(shown.upcoming.len(), 10);
    running.drain().await;
}

async fn view_of_every_kind(fleet: &Fleet) -> ScheduleView {
    let at = Time::from_unix_ms(fleet.unix_ms() + 3_600_000);
    let all = schedule(fleet, "all").hourly(59).daily(3, 5).weekly(7, 4, 30).monthly(28, 5, 0).yearly(12, 28, 6, 0);
    all.at(at).every(LONG).put().await.unwrap();
    view(fleet, "all").await
}

/// Two instances, and the one that fires goes.
pub async fn z05_each_slot_is_one_job_whoever_fires(fleet: &Fleet) {
    let runs = Runs::default();
    let first = consumer(fleet, &runs).await;
    let second = consumer(fleet, &runs).await;
    schedule(fleet, "steady").every(SECOND).put().await.unwrap();
    runs.reach(2).await;
    first.drain().await;
    runs.reach(5).await;
    fleet.producer().schedule("steady").remove().await.unwrap();
    each_slot_once(&runs);
    second.drain().await;
}

/// The coordinator dies, with all that it was about to do.
pub async fn z05_each_slot_is_one_job_though_the_coordinator_dies(fleet: &Fleet) {
    let runs = Runs::default();
    let world = fleet.process();
    let doomed = fleet.consumer().await.world(world.clone()).on(TOPIC, runs.then(|_| async {}));
    let doomed = fleet.start(doomed).await;
    let heir = consumer(fleet, &runs).await;
    let missed = Missed::All { window_ms: 600_000 };
    schedule(fleet, "steady").every(SECOND).missed(missed).put().await.unwrap();
    runs.reach(3).await;
    world.tasks.kill();
    drop(doomed);
    runs.reach(60).await;
    fleet.producer().schedule("steady").remove().await.unwrap();
    fleet.quiet(Duration::from_secs(60)).await;
    each_slot_once(&runs);
    heir.drain().await;
}

pub async fn z06_definitions_outlive_every_process(fleet: &Fleet) {
    let runs = Runs::default();
    schedule(fleet, "steady").every(SECOND).put().await.unwrap();
    consumer(fleet, &runs).await.drain().await;
    let before = runs.count();
    let again = consumer(fleet, &runs).await;
    runs.reach(before + 2).await;
    each_slot_once(&runs);
    again.drain().await;
}

pub async fn z08_zd_07_what_passes_while_it_is_suspended_does_not_run(fleet: &Fleet) {
    let runs = Runs::default();
    let running = consumer(fleet, &runs).await;
    let steady = fleet.producer().schedule("steady");
    let made = schedule(fleet, "steady").every(SECOND).suspended("the beginning");
    assert_eq!(made.put().await.unwrap(), Defined::Created);
    assert!(!steady.suspend("ann: migration").await.unwrap(), "it is suspended already");
    fleet.quiet(Duration::from_secs(30)).await;
    assert_eq!((runs.count(), view(fleet, "steady").await.suspended.unwrap().by.as_str()), (0, "the beginning"));
    assert_eq!(steady.resume().await.unwrap(), Resumed::Resumed);
    assert_eq!(steady.resume().await.unwrap(), Resumed::NotSuspended);
    runs.reach(2).await;
    assert!(steady.suspend("ann: migration").await.unwrap());
    // What was sent before runs on.
    fleet.eventually("all have ended", async || fleet.unfinished().await.is_empty().then_some(())).await;
    let (count, shown) = (runs.count(), view(fleet, "steady").await);
    assert_eq!((shown.fired, shown.missed_count), (count as u64, 0));
    // Another definition does not resume it.
    let slower = schedule(fleet, "steady").every(2 * SECOND);
    assert_eq!(slower.put().await.unwrap(), Defined::Changed);
    fleet.quiet(Duration::from_secs(30)).await;
    assert_eq!(runs.count(), count);
    assert!(view(fleet, "steady").await.suspended.is_some());
    steady.resume().await.unwrap();
    runs.reach(count + 1).await;
    let missing = fleet.producer().schedule("missing");
    assert!(matches!(missing.suspend("ann").await, Err(ScheduleError::NotFound(name)) if name == "missing"));
    assert!(matches!(missing.resume().await, Err(ScheduleError::NotFound(_))));
    assert!(matches!(missing.run_now().await, Err(ScheduleError::NotFound(_))));
    running.drain().await;
}

pub async fn z09_schedules_are_found_by_topic_with_their_next_time(fleet: &Fleet) {
    for (name, topic) in [("one", "a/b"), ("two", "a/b/c"), ("three", "x/y")] {
        let job = fleet.producer().raw(topic, "{}").label("tenant", name);
        let schedule = fleet.producer().schedule(name).job(job);
        schedule.daily(3, 0).every(Duration::from_secs(60)).put().await.unwrap();
    }
    let found = async |pattern: &str| {
        let page = fleet.producer().schedules().topic(pattern).list().await.unwrap();
        page.schedules.into_iter().map(|schedule| schedule.name).collect::<Vec<_>>()
    };
    assert_eq!(found("a/**").await, ["one", "two"]);
    assert_eq!(found("a/b").await, ["one"]);
    assert_eq!(found("z/*").await, Vec::<String>::new());
    let page = fleet.producer().schedules().limit(2).list().await.unwrap();
    assert_eq!((page.schedules.len(), page.next.as_deref()), (2, Some("three")));
    let page = fleet.producer().schedules().from_cursor("three").list().await.unwrap();
    assert_eq!((page.schedules.len(), page.schedules[0].name.as_str(), page.next), (1, "two", None));
    let shown = view(fleet, "one").await;
    assert_eq!(shown.next.as_ref(), shown.upcoming.first().map(|run| &run.at));
    let next = shown.next.unwrap().parse::<Time>().unwrap().unix_ms();
    assert!(next <= fleet.unix_ms() + 61_000, "the earliest of its timings");
    assert!(fleet.producer().schedules().topic("a**").list().await.is_err());
}

/// A schedule whose jobs run until the case lets them go.
async fn slow(fleet: &Fleet, overlap: Overlap) -> (Running, Runs, Gauge, Arc<Semaphore>) {
    let (runs, gauge, gate) = (Runs::default(), Gauge::default(), Arc::new(Semaphore::new(0)));
    let (inside, open) = (gauge.clone(), gate.clone());
    let handler = runs.then(move |_: Ctx| {
        let (inside, open) = (inside.enter(), open.clone());
        async move {
            open.acquire().await.unwrap().forget();
            drop(inside);
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, handler)).await;
    schedule(fleet, "slow").every(SECOND).overlap(overlap).put().await.unwrap();
    (running, runs, gauge, gate)
}

/// Waits until the schedule looks so.
async fn looks(fleet: &Fleet, what: &str, fits: impl Fn(&ScheduleView) -> bool) -> ScheduleView {
    fleet.eventually(what, async || Some(view(fleet, "slow").await).filter(&fits)).await
}

pub async fn a_job_that_has_not_ended_lets_times_pass(fleet: &Fleet) {
    let (running, runs, gauge, gate) = slow(fleet, Overlap::Skip).await;
    let id = runs.reach(1).await[0].id;
    looks(fleet, "two pass", |shown| shown.skipped >= 2).await;
    match fleet.producer().schedule("slow").run_now().await {
        Err(ScheduleError::Running { running, .. }) => assert_eq!(running, id),
        other => panic!("it should refuse: {other:?}"),
    }
    assert_eq!(runs.count(), 1);
    gate.add_permits(1_000);
    runs.reach(3).await;
    fleet.producer().schedule("slow").remove().await.unwrap();
    assert_eq!(gauge.most(), 1);
    running.drain().await;
}

pub async fn one_job_waits_for_the_end_of_the_one_before(fleet: &Fleet) {
    let (running, runs, gauge, gate) = slow(fleet, Overlap::QueueOne).await;
    runs.reach(1).await;
    looks(fleet, "one waits, others pass", |shown| shown.waiting && shown.skipped >= 1).await;
    let refused = fleet.producer().schedule("slow").run_now().await;
    assert!(matches!(refused, Err(ScheduleError::Running { .. })), "one waits already: {refused:?}");
    assert_eq!(runs.count(), 1);
    gate.add_permits(1);
    let ran = runs.reach(2).await;
    let ids: BTreeSet<_> = ran.iter().map(|run| run.id).collect();
    assert_eq!((ids.len(), gauge.most()), (2, 1));
    fleet.producer().schedule("slow").remove().await.unwrap();
    gate.add_permits(1_000);
    running.drain().await;
}

pub async fn a_run_now_is_one_job_more(fleet: &Fleet) {
    let runs = Runs::default();
    let running = consumer(fleet, &runs).await;
    let rare = fleet.producer().schedule("rare");
    schedule(fleet, "rare").every(LONG).suspended("ann").put().await.unwrap();
    let RunNow::Sent(sent) = rare.run_now().await.unwrap() else { panic!("nothing runs") };
    assert!(fleet.end(&sent).await.is_success());
    let shown = view(fleet, "rare").await;
    assert_eq!((shown.fired, shown.last[0].job, shown.last[0].state), (1, sent.id, Some(State::Succeeded)));
    assert!(shown.last[0].slot.is_none() && shown.suspended.is_some());
    assert_eq!(runs.count(), 1);
    running.drain().await;
}

/// All at once, and nobody is forgotten or served twice.
pub async fn z05_fifteen_hundred_that_are_due_in_one_second_all_run_once(fleet: &Fleet) {
    const COUNT: usize = 1_500;
    let runs = Runs::default();
    let (first, second) = (consumer(fleet, &runs).await, consumer(fleet, &runs).await);
    let second_of = fleet.unix_ms() / 1_000 * 1_000 + 25_000;
    let puts = stream::iter(0..COUNT).map(|number| {
        let at = Time::from_unix_ms(second_of + number as u64 % 1_000);
        schedule(fleet, &format!("once-{number}")).at(at).put()
    });
    let made: Vec<_> = puts.buffer_unordered(50).collect().await;
    assert!(made.iter().all(|made| *made == Ok(Defined::Created)), "{made:?}");
    runs.reach(COUNT).await;
    fleet.eventually("all are gone", async || names(fleet).await.is_empty().then_some(())).await;
    fleet.quiet(Duration::from_secs(30)).await;
    let ids: BTreeSet<_> = runs.all().into_iter().map(|run| run.id).collect();
    assert_eq!((ids.len(), runs.count()), (COUNT, COUNT));
    assert!(ids.iter().all(|id| id.created_ms() / 1_000 * 1_000 == second_of));
    first.drain().await;
    second.drain().await;
}

/// Nobody is there for hours.
pub async fn times_that_nobody_was_there_for_follow_their_policy(fleet: &Fleet) {
    let hour = Duration::from_secs(3_600);
    for (name, missed) in
        [("skip", Missed::Skip), ("last", Missed::Last), ("all", Missed::All { window_ms: 3 * 3_600_000 })]
    {
        schedule(fleet, name).every(hour).missed(missed).put().await.unwrap();
    }
    fleet.pass(5 * hour + Duration::from_secs(120)).await;
    let runs = Runs::default();
    let running = consumer(fleet, &runs).await;
    runs.reach(4).await;
    fleet.quiet(Duration::from_secs(600)).await;
    let counts = async |name: &str| {
        let shown = view(fleet, name).await;
        (shown.fired, shown.missed_count)
    };
    assert_eq!(counts("skip").await, (0, 5));
    assert_eq!(counts("last").await, (1, 4));
    assert_eq!(counts("all").await, (3, 2));
    assert_eq!(runs.count(), 4);
    running.drain().await;
}
