//! Schedules: exchanged by one, with a job for each slot whoever fires (rows 35 and 36).

use super::bench::{Bench, LONG, normal, succeeded, topic};
use crate::error::NotAccepted;
use crate::schedules::{Changed, Expect, Kept, ScheduleChange};
use crate::store::Nudge;
use longshore_model::envelope::Envelope;
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::queue::Queues;
use longshore_model::record::State;
use longshore_model::schedule::change::{self, Next, Plan};
use longshore_model::schedule::{Missed, Overlap, Schedule, Spec, Template, Timing, UTC};
use serde_json::value::RawValue;

/// A definition that fires so rarely that one slot is due while a case runs.
fn spec(name: &str) -> Spec {
    let envelope = Envelope {
        labels: [("tenant".to_owned(), "a".to_owned())].into(),
        retries: Some(2),
        ..Envelope::new(JobId::nil(), topic("sched/one"), RawValue::from_string("{\"n\":1}".into()).unwrap())
    };
    Spec {
        name: name.into(),
        job: Template { envelope, expires_in_ms: None },
        timings: vec![Timing::Every { ms: LONG }],
        zone: UTC.into(),
        overlap: Overlap::Allow,
        missed: Missed::Last,
        jitter_ms: 0,
    }
}

fn queues() -> Queues {
    Queues::default()
}

/// A schedule that was made so many milliseconds ago.
async fn made(bench: &Bench, spec: Spec, ago: u64) -> Schedule {
    let now = bench.a.store.ping().await.unwrap() - ago;
    change::put(None, spec, None, bench.a.world.job_id(None), now).unwrap().unwrap()
}

fn absent(schedule: Schedule) -> ScheduleChange {
    let name = schedule.spec.name.clone();
    ScheduleChange { name, expect: Expect::Absent, open: None, next: Some(Box::new(schedule)), jobs: Vec::new() }
}

async fn exchange(bench: &Bench, change: ScheduleChange) -> Changed {
    bench.b.store.change_schedules(vec![change]).await.unwrap().remove(0)
}

fn once(spec: &Spec) -> bool {
    matches!(spec.timings[..], [Timing::At { .. }])
}

/// Keeps a schedule of which one slot is due, or will be in a moment where it comes once.
async fn one_is_due(bench: &Bench, spec: Spec) -> Schedule {
    let ago = if once(&spec) { 1_500 } else { LONG + 500 };
    let schedule = made(bench, spec, ago).await;
    assert_eq!(exchange(bench, absent(schedule.clone())).await, Changed::Done(vec![]));
    schedule
}

async fn read(bench: &Bench, name: &str) -> Option<Kept> {
    bench.a.store.schedule(name).await.unwrap().kept.pop()
}

async fn due(bench: &Bench) -> (u64, Vec<Kept>) {
    let due = bench.a.store.due_schedules(10).await.unwrap();
    (due.now, due.kept)
}

fn fire(kept: &Kept, now: u64) -> (Plan, ScheduleChange) {
    let plan = kept.schedule.fire(now, kept.open);
    let change = kept.fire(&plan, &queues(), now).unwrap();
    (plan, change)
}

fn text(schedule: &Schedule) -> String {
    serde_json::to_string(schedule).unwrap()
}

pub async fn a_schedule_is_kept_as_it_was_written_until_it_is_removed(bench: &Bench) {
    assert!(read(bench, "nightly").await.is_none());
    let schedule = made(bench, spec("nightly"), 0).await;
    assert_eq!(exchange(bench, absent(schedule.clone())).await, Changed::Done(vec![]));
    let kept = read(bench, "nightly").await.unwrap();
    assert_eq!((text(&kept.schedule), kept.open), (text(&schedule), false));
    assert_eq!(exchange(bench, absent(schedule.clone())).await, Changed::Differs, "it is there");
    let gone = kept.change(Next::Gone);
    assert_eq!(exchange(bench, gone.clone()).await, Changed::Done(vec![]));
    assert_eq!(exchange(bench, gone).await, Changed::Differs, "it is gone");
    assert!(read(bench, "nightly").await.is_none());
    assert!(bench.a.store.find_schedules(None, 10).await.unwrap().kept.is_empty());
    assert!(due(bench).await.1.is_empty());
}

pub async fn z08_only_the_one_that_read_it_last_may_change_it(bench: &Bench) {
    let schedule = made(bench, spec("one"), 0).await;
    exchange(bench, absent(schedule.clone())).await;
    let (mine, other) = (read(bench, "one").await.unwrap(), read(bench, "one").await.unwrap());
    let suspended = Next::Kept(Box::new(schedule.suspend("ann", 5).unwrap()));
    assert_eq!(exchange(bench, mine.change(suspended)).await, Changed::Done(vec![]));
    assert_eq!(exchange(bench, other.change(Next::Gone)).await, Changed::Differs);
    let now = read(bench, "one").await.unwrap();
    assert!(now.schedule.suspended.is_some() && now.revision > mine.revision);
    // Removed and made anew it is another one.
    let anything = ScheduleChange { expect: Expect::Anything, ..now.change(Next::Gone) };
    assert_eq!(exchange(bench, anything).await, Changed::Done(vec![]));
    exchange(bench, absent(schedule)).await;
    assert!(read(bench, "one").await.unwrap().revision > now.revision);
    assert_eq!(exchange(bench, now.change(Next::Gone)).await, Changed::Differs);
}

pub async fn z05_two_that_fire_a_slot_send_one_job(bench: &Bench) {
    let schedule = one_is_due(bench, spec("twice")).await;
    let ((now, first), (_, second)) = (due(bench).await, due(bench).await);
    let (plan, change) = fire(&first[0], now);
    assert_eq!(plan.fire.len(), 1);
    let Changed::Done(answers) = exchange(bench, change).await else { panic!("the first should fire") };
    let accepted = answers[0].as_ref().unwrap();
    assert_eq!((accepted.state, accepted.existed), (State::Queued, false));
    let (same, late) = fire(&second[0], now);
    assert_eq!(same.fire, plan.fire, "whoever fires, the job is the same");
    assert_eq!(exchange(bench, late).await, Changed::Differs);
    let id = schedule.job_id(schedule.next.unwrap());
    assert_eq!(plan.fire[0].job, id);
    let job = bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    let envelope = Envelope::decode(&job.envelope).unwrap();
    assert_eq!((envelope.id, envelope.schedule.unwrap().slot_ms), (id, schedule.next));
    let labelled = super::bench::everything();
    let labels = [("schedule".to_owned(), "twice".to_owned()), ("tenant".to_owned(), "a".to_owned())].into();
    assert_eq!(bench.find(crate::store::Query { labels, ..labelled }).await, [id]);
    assert!(bench.record(id).await.outbox.is_some(), "the relay publishes it where the one that fired died");
    let kept = read(bench, "twice").await.unwrap();
    assert_eq!((kept.schedule.fired, kept.open, kept.schedule.last()), (1, true, Some(id)));
}

pub async fn a_slot_is_one_job_though_the_store_forgot_that_it_was_fired(bench: &Bench) {
    let schedule = one_is_due(bench, spec("forgotten")).await;
    let (now, kept) = due(bench).await;
    exchange(bench, fire(&kept[0], now).1).await;
    let forget = async || {
        let kept = read(bench, "forgotten").await.unwrap();
        exchange(bench, kept.change(Next::Kept(Box::new(schedule.clone())))).await;
        read(bench, "forgotten").await.unwrap()
    };
    let Changed::Done(again) = exchange(bench, fire(&forget().await, now).1).await else { panic!("it should fire") };
    assert!(again[0].as_ref().unwrap().existed);
    let id = schedule.job_id(schedule.next.unwrap());
    bench.remove(id).await;
    bench.remove(id).await;
    let answer = exchange(bench, fire(&forget().await, now).1).await;
    assert_eq!(answer, Changed::Done(vec![Err(NotAccepted::Ended(id))]), "what was purged does not run again");
    assert!(bench.maybe(id).await.is_none());
}

pub async fn what_is_due_comes_earliest_first_and_bounded(bench: &Bench) {
    for (name, ago) in [("c", 1_000), ("a", 3_000), ("b", 2_000)] {
        let schedule = made(bench, spec(name), LONG + ago).await;
        exchange(bench, absent(schedule)).await;
    }
    let far = made(bench, spec("far"), 0).await;
    let suspended = made(bench, spec("still"), LONG + 5_000).await.suspend("ann", 1).unwrap();
    let next = far.due;
    for schedule in [far, suspended] {
        exchange(bench, absent(schedule)).await;
    }
    let names = |kept: &[Kept]| kept.iter().map(|kept| kept.schedule.spec.name.clone()).collect::<Vec<_>>();
    let first = bench.a.store.due_schedules(2).await.unwrap();
    assert_eq!((names(&first.kept), first.more), (vec!["a".to_owned(), "b".to_owned()], true));
    let all = bench.a.store.due_schedules(3).await.unwrap();
    assert_eq!((names(&all.kept), all.more, all.next), (vec!["a".into(), "b".into(), "c".into()], false, next));
    assert!(all.now >= all.kept[2].schedule.due.unwrap());
}

pub async fn overlap_is_judged_when_it_is_written(bench: &Bench) {
    one_is_due(bench, Spec { overlap: Overlap::Skip, ..spec("slow") }).await;
    let (now, kept) = due(bench).await;
    assert!(!kept[0].open);
    let (plan, first) = fire(&kept[0], now);
    assert!(matches!(exchange(bench, first).await, Changed::Done(_)));
    let id = plan.fire[0].job;
    let reading = read(bench, "slow").await.unwrap();
    assert!(reading.open);
    let (skips, skip) = fire(&reading, now + LONG);
    assert!(skips.fire.is_empty());
    // The job ends between the reading and the writing.
    let fence = bench.run(id).await;
    bench.finish(id, fence, succeeded()).await;
    assert_eq!(exchange(bench, skip).await, Changed::Differs);
    let again = read(bench, "slow").await.unwrap();
    assert!(!again.open);
    let (fires, change) = fire(&again, now + LONG);
    assert_eq!(fires.fire.len(), 1);
    assert!(matches!(exchange(bench, change).await, Changed::Done(_)));
}

pub async fn a_refused_job_leaves_the_schedule_as_it_was(bench: &Bench) {
    let schedule = one_is_due(bench, spec("refused")).await;
    let topics = (0..limits::TOPICS).map(|number| normal(&format!("full/{number}"))).collect();
    bench.a.store.know(topics).await.unwrap();
    let (now, kept) = due(bench).await;
    let (plan, change) = fire(&kept[0], now);
    let refused = NotAccepted::TooManyTopics("sched/one".into());
    assert_eq!(exchange(bench, change).await, Changed::Refused(refused.clone()));
    let same = read(bench, "refused").await.unwrap();
    assert_eq!((text(&same.schedule), same.revision), (text(&schedule), kept[0].revision));
    let over = same.change(same.schedule.refused(&plan, &refused.to_string()));
    assert_eq!(exchange(bench, over).await, Changed::Done(vec![]));
    let after = read(bench, "refused").await.unwrap().schedule;
    assert_eq!((after.refused, after.after), (1, schedule.next.unwrap()));
}

pub async fn z01_a_time_that_comes_once_goes_with_its_job(bench: &Bench) {
    let now = bench.a.store.ping().await.unwrap();
    let once = Spec { timings: vec![Timing::At { ms: now + 1_000 }], ..spec("once") };
    let schedule = one_is_due(bench, once).await;
    bench.sleep(1_020).await;
    let (now, kept) = due(bench).await;
    let (plan, change) = fire(&kept[0], now);
    assert_eq!(plan.fire[0].slot, schedule.next);
    assert!(matches!(exchange(bench, change).await, Changed::Done(_)));
    assert!(read(bench, "once").await.is_none());
    assert_eq!(bench.state(plan.fire[0].job).await, State::Queued);
}

pub async fn schedules_are_listed_by_name_in_pages(bench: &Bench) {
    for name in ["b", "a", "C", "a/1", "a-1"] {
        let schedule = made(bench, spec(name), 0).await;
        exchange(bench, absent(schedule)).await;
    }
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = bench.b.store.find_schedules(after.as_deref(), 2).await.unwrap();
        assert!(page.kept.len() <= 2 && page.now > 0);
        names.extend(page.kept.into_iter().map(|kept| kept.schedule.spec.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(names, ["C", "a", "a-1", "a/1", "b"]);
}

pub async fn there_are_only_so_many_schedules(bench: &Bench) {
    let schedule = made(bench, spec("n"), 0).await;
    let named = |name: String| absent(Schedule { spec: Spec { name, ..schedule.spec.clone() }, ..schedule.clone() });
    let all = (0..limits::SCHEDULES).map(|number| named(format!("n{number}"))).collect();
    let answers = bench.a.store.change_schedules(all).await.unwrap();
    assert_eq!(answers.len(), limits::SCHEDULES);
    assert!(answers.iter().all(|answer| *answer == Changed::Done(vec![])));
    assert_eq!(exchange(bench, named("one-more".into())).await, Changed::Full);
    let one = read(bench, "n7").await.unwrap();
    assert_eq!(exchange(bench, one.change(Next::Kept(Box::new(one.schedule.clone())))).await, Changed::Done(vec![]));
    exchange(bench, read(bench, "n7").await.unwrap().change(Next::Gone)).await;
    assert_eq!(exchange(bench, named("one-more".into())).await, Changed::Done(vec![]));
}

pub async fn an_earlier_schedule_is_nudged(bench: &Bench) {
    exchange(bench, absent(made(bench, spec("far"), 0).await)).await;
    let mut nudges = bench.b.store.nudges();
    exchange(bench, absent(made(bench, spec("near"), LONG / 2).await)).await;
    super::nudge::until(bench, &mut nudges, Nudge::Schedules).await;
}
