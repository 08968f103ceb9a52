//! Timings, clock changes, policies and problems, each at its borders; and that slots do not depend on who asks when.

use super::change::{self, Next, Now, Plan};
use super::*;
use crate::envelope::Envelope;
use crate::limits;
use crate::span::{parse_rfc3339, rfc3339};
use proptest::prelude::*;
use serde_json::value::RawValue;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn ms(text: &str) -> u64 {
    parse_rfc3339(text).unwrap()
}

fn cron(expression: &str) -> Timing {
    Timing::Cron { expression: expression.into() }
}

fn template() -> Template {
    let envelope = Envelope::new(
        JobId::nil(),
        crate::Topic::new("report/build").unwrap(),
        RawValue::from_string("{}".into()).unwrap(),
    );
    Template { envelope, expires_in_ms: None }
}

fn spec(timings: Vec<Timing>) -> Spec {
    Spec {
        name: "nightly".into(),
        job: template(),
        timings,
        zone: UTC.into(),
        overlap: Overlap::Allow,
        missed: Missed::Last,
        jitter_ms: 0,
    }
}

const NOW: u64 = 1_800_000_000_000;

fn put(spec: Spec) -> Schedule {
    change::put(None, spec, None, JobId::new(NOW, [3; 16], 1), NOW).unwrap().unwrap()
}

fn kept(next: Next) -> Schedule {
    match next {
        Next::Kept(schedule) => *schedule,
        Next::Gone => panic!("it is gone"),
    }
}

fn fields(spec: &Spec) -> Vec<String> {
    spec.problems(NOW, &[]).into_iter().map(|problem| problem.field).collect()
}

fn times(zone: &str, timings: &[Timing], from: &str, most: usize) -> Vec<String> {
    let times = Times::new(timings, zone, ms(from)).unwrap();
    times.upcoming(ms(from), most).into_iter().map(|ms| rfc3339(ms).replace(".000Z", "Z")).collect()
}

#[test]
fn z02_calendar_timings_mean_what_they_say() {
    let from = "2026-11-21T10:20:30Z";
    let first = |timing| times(UTC, &[timing], from, 1).remove(0);
    assert_eq!(first(Timing::Hourly { minute: 5 }), "2026-11-21T11:05:00Z");
    assert_eq!(first(Timing::Daily { hour: 10, minute: 5 }), "2026-11-22T10:05:00Z");
    // A Saturday; Sunday is 1.
    assert_eq!(first(Timing::Weekly { day: 1, hour: 0, minute: 0 }), "2026-11-22T00:00:00Z");
    assert_eq!(first(Timing::Weekly { day: 7, hour: 11, minute: 0 }), "2026-11-21T11:00:00Z");
    assert_eq!(first(Timing::Monthly { day: 28, hour: 3, minute: 1 }), "2026-11-28T03:01:00Z");
    assert_eq!(first(Timing::Yearly { month: 2, day: 3, hour: 4, minute: 5 }), "2027-02-03T04:05:00Z");
    assert_eq!(first(Timing::Every { ms: 90_000 }), "2026-11-21T10:22:00Z");
    assert_eq!(first(cron("*/20 * * * * *")), "2026-11-21T10:20:40Z");
    assert_eq!(first(cron("0 9 * * MON-FRI")), "2026-11-23T09:00:00Z");
}

#[test]
fn z04_several_timings_are_one_union() {
    let both = [Timing::Hourly { minute: 0 }, cron("*/30 * * * *")];
    let expected = ["2026-11-21T10:30:00Z", "2026-11-21T11:00:00Z", "2026-11-21T11:30:00Z"];
    assert_eq!(times(UTC, &both, "2026-11-21T10:00:00Z", 3), expected, "what coincides is one slot");
}

/// Berlin: on 2026-03-29 the clock leaps from 02:00 to 03:00 (01:00Z), on 2026-10-25 it goes back from 03:00 to 02:00
/// (01:00Z).
#[test]
fn z03_a_time_that_the_clock_leaves_out_fires_once_right_after() {
    let daily = [Timing::Daily { hour: 2, minute: 30 }];
    let expected = ["2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"];
    assert_eq!(times("Europe/Berlin", &daily, "2026-03-27T12:00:00Z", 3), expected);
    let twice = [cron("0 15,45 2 * * *")];
    let expected = ["2026-03-28T01:45:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:15:00Z"];
    assert_eq!(times("Europe/Berlin", &twice, "2026-03-28T01:15:00Z", 3), expected, "both are that moment");
    // New York leaps on 2026-03-08 from 02:00 to 03:00 (07:00Z).
    let expected = ["2026-03-07T07:30:00Z", "2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"];
    assert_eq!(times("America/New_York", &daily, "2026-03-06T12:00:00Z", 3), expected);
    // At the very begin and the very end of what is left out.
    let expected = ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"];
    assert_eq!(times("Europe/Berlin", &[cron("0 2 * * *")], "2026-03-28T12:00:00Z", 2), expected);
    let expected = ["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"];
    assert_eq!(times("Europe/Berlin", &[cron("0 3 * * *")], "2026-03-28T12:00:00Z", 2), expected);
}

#[test]
fn z03_a_time_that_the_clock_shows_twice_fires_once() {
    let daily = [Timing::Daily { hour: 2, minute: 30 }];
    let expected = ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"];
    assert_eq!(times("Europe/Berlin", &daily, "2026-10-23T12:00:00Z", 3), expected);
    let list = [cron("0,30 2,3 * * *")];
    let expected = ["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z", "2026-10-25T02:30:00Z"];
    assert_eq!(times("Europe/Berlin", &list, "2026-10-24T12:00:00Z", 4), expected);
    // Asked in the second hour of the two, nothing of the first comes again.
    let expected = ["2026-10-26T01:30:00Z"];
    assert_eq!(times("Europe/Berlin", &daily, "2026-10-25T01:10:00Z", 1), expected);
    // New York goes back on 2026-11-01 from 02:00 to 01:00 (06:00Z).
    let daily = [Timing::Daily { hour: 1, minute: 30 }];
    let expected = ["2026-10-31T05:30:00Z", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"];
    assert_eq!(times("America/New_York", &daily, "2026-10-30T12:00:00Z", 3), expected);
}

#[test]
fn z03_hourly_and_every_go_by_the_time_that_passes() {
    let spring = ["2026-03-29T00:05:00Z", "2026-03-29T01:05:00Z", "2026-03-29T02:05:00Z"];
    let autumn = ["2026-10-25T00:05:00Z", "2026-10-25T01:05:00Z", "2026-10-25T02:05:00Z"];
    for timing in [Timing::Hourly { minute: 5 }, cron("5 * * * *"), cron("0 5 */1 * * *")] {
        assert_eq!(
            times("Europe/Berlin", std::slice::from_ref(&timing), "2026-03-28T23:30:00Z", 3),
            spring,
            "{timing}"
        );
        assert_eq!(
            times("Europe/Berlin", std::slice::from_ref(&timing), "2026-10-24T23:30:00Z", 3),
            autumn,
            "{timing}"
        );
    }
    let half = times("America/New_York", &[cron("*/30 * * * *")], "2026-11-01T05:00:00Z", 4);
    let expected = ["2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z"];
    assert_eq!(half, expected);
    let every = times("Europe/Berlin", &[Timing::Every { ms: HOUR }], "2026-10-25T00:10:00Z", 3);
    assert_eq!(every, ["2026-10-25T01:10:00Z", "2026-10-25T02:10:00Z", "2026-10-25T03:10:00Z"]);
}

#[test]
fn zd_06_what_is_out_of_range_is_refused() {
    let refused = |timing: Timing| {
        let problems = spec(vec![timing.clone()]).problems(NOW, &[]);
        assert!(!problems.is_empty(), "{timing:?}");
        problems[0].clone()
    };
    let field = |timing| refused(timing).field;
    assert_eq!(field(Timing::Hourly { minute: 60 }), "timings[0].minute");
    assert_eq!(field(Timing::Daily { hour: 24, minute: 0 }), "timings[0].hour");
    assert_eq!(field(Timing::Weekly { day: 0, hour: 0, minute: 0 }), "timings[0].day");
    assert_eq!(field(Timing::Weekly { day: 8, hour: 0, minute: 0 }), "timings[0].day");
    assert_eq!(field(Timing::Monthly { day: 29, hour: 0, minute: 0 }), "timings[0].day");
    assert_eq!(field(Timing::Yearly { month: 13, day: 1, hour: 0, minute: 0 }), "timings[0].month");
    assert_eq!(field(Timing::Every { ms: 999 }), "timings[0].every");
    for bad in ["", "x", "* * * *", "60 * * * *", "0 24 * * *", "0 0 29 13 *", "0 0 30 2 *", "* * * * * * 2026", "@now"]
    {
        let problem = refused(cron(bad));
        assert_eq!(problem.field, "timings[0].cron", "{bad}");
        assert!(problem.why.len() > 20, "{problem}");
    }
    assert!(fields(&spec(vec![cron("@daily"), cron("0 3 L * *"), cron("0 0 29 2 *")])).is_empty());
    let many = vec![Timing::Every { ms: 60_000 }; limits::SCHEDULE_TIMINGS + 1];
    assert_eq!(fields(&spec(many)), ["timings"]);
    assert_eq!(fields(&spec(vec![])), ["timings"]);
}

#[test]
fn zd_05_a_time_must_lie_two_seconds_ahead() {
    let at = |ms| fields(&spec(vec![Timing::At { ms }]));
    assert_eq!(at(NOW + 1_000), ["timings[0].at"]);
    assert_eq!(at(NOW + 1_999), ["timings[0].at"]);
    assert!(at(NOW + 2_000).is_empty());
    assert_eq!(at(NOW + limits::DELAY_MS + 1), ["timings[0].at"]);
    let due = Timing::At { ms: NOW + 100 };
    assert!(spec(vec![due.clone()]).problems(NOW, &[due]).is_empty(), "one that it has already may be due");
}

#[test]
fn z10_all_problems_are_reported_at_once() {
    let mut bad = spec(vec![Timing::Daily { hour: 24, minute: 60 }, cron("nonsense")]);
    bad.name = "two words".into();
    bad.zone = "Europe/Nowhere".into();
    bad.jitter_ms = limits::SCHEDULE_JITTER_MS + 1;
    bad.job.envelope.labels.insert(LABEL.into(), "mine".into());
    bad.job.expires_in_ms = Some(0);
    let expected = [
        "name",
        "job.labels",
        "job.expires_in",
        "timings[0].hour",
        "timings[0].minute",
        "timings[1].cron",
        "zone",
        "jitter",
    ];
    assert_eq!(fields(&bad), expected);
    assert!(change::put(None, bad, None, JobId::nil(), NOW).is_err());
    let window = |timing, window_ms| fields(&Spec { missed: Missed::All { window_ms }, ..spec(vec![timing]) });
    assert_eq!(window(Timing::Every { ms: 1_000 }, HOUR), ["missed"], "3 600 are too many");
    assert!(window(Timing::Every { ms: 1_000 }, 900_000).is_empty());
    assert_eq!(window(cron("0 0 * * *"), 8 * DAY), ["missed"]);
}

#[test]
fn z07_the_same_definition_changes_nothing() {
    let old = put(spec(vec![Timing::Hourly { minute: 5 }]));
    let fresh = JobId::new(NOW, [4; 16], 1);
    let mut again = old.spec.clone();
    again.job.envelope.payload = RawValue::from_string("{ }".into()).unwrap();
    assert!(change::put(Some(&old), again.clone(), None, fresh, NOW + DAY).unwrap().is_none());
    again.job.envelope.payload = RawValue::from_string("{\"a\":1}".into()).unwrap();
    let other = change::put(Some(&old), again, None, fresh, NOW + DAY).unwrap().unwrap();
    assert_eq!((other.version, other.incarnation, other.after), (2, old.incarnation, NOW), "its times go on");
    let other =
        change::put(Some(&old), spec(vec![Timing::Hourly { minute: 6 }]), None, fresh, NOW + DAY).unwrap().unwrap();
    assert_eq!((other.version, other.after, other.created), (2, NOW + DAY, NOW));
}

#[test]
fn z01_a_time_that_comes_once_is_taken_out_and_then_the_schedule() {
    let once = put(spec(vec![Timing::At { ms: NOW + 5_000 }]));
    let early = once.fire(NOW + 4_999, false);
    assert!(early.fire.is_empty() && matches!(early.next, Next::Kept(_)));
    let plan = once.fire(NOW + 5_000, false);
    assert_eq!(plan.fire.len(), 1);
    assert_eq!(plan.fire[0].job, once.job_id(NOW + 5_000));
    assert!(matches!(plan.next, Next::Gone));
    let both = put(spec(vec![Timing::At { ms: NOW + 5_000 }, Timing::Every { ms: HOUR }]));
    let after = kept(both.fire(NOW + 5_000, false).next);
    assert_eq!((after.spec.timings, after.next), (vec![Timing::Every { ms: HOUR }], Some(NOW + HOUR)));
}

#[test]
fn each_slot_is_fired_once_and_the_next_is_known() {
    let every = put(spec(vec![Timing::Every { ms: MINUTE }]));
    assert_eq!((every.next, every.due), (Some(NOW + MINUTE), Some(NOW + MINUTE)));
    let plan = every.fire(NOW + 2 * MINUTE, false);
    let slots: Vec<_> = plan.fire.iter().map(|fired| fired.slot.unwrap()).collect();
    assert_eq!(slots, [NOW + MINUTE, NOW + 2 * MINUTE], "one is a minute late, which is not missed yet");
    let after = kept(plan.next);
    assert_eq!((after.fired, after.next), (2, Some(NOW + 3 * MINUTE)));
    assert_eq!(after.last(), Some(every.job_id(NOW + 2 * MINUTE)));
    assert!(after.fire(NOW + 2 * MINUTE, false).fire.is_empty());
}

fn missed(missed: Missed, hours: u64) -> (Vec<u64>, Schedule) {
    let every = put(Spec { missed, ..spec(vec![Timing::Every { ms: HOUR }]) });
    let plan = every.fire(NOW + hours * HOUR + 2 * MINUTE, false);
    let slots = plan.fire.iter().map(|fired| (fired.slot.unwrap() - NOW) / HOUR).collect();
    (slots, kept(plan.next))
}

#[test]
fn missed_slots_follow_the_policy() {
    let (slots, after) = missed(Missed::Skip, 5);
    assert_eq!((slots, after.missed, after.next), (vec![], 5, Some(NOW + 6 * HOUR)));
    let (slots, after) = missed(Missed::Last, 5);
    assert_eq!((slots, after.missed), (vec![5], 4));
    let (slots, after) = missed(Missed::All { window_ms: 3 * HOUR }, 5);
    assert_eq!((slots, after.missed), (vec![3, 4, 5], 2), "the second lies two minutes beyond the window");
    // What is due now is the last one.
    let every = put(spec(vec![Timing::Every { ms: HOUR }]));
    let plan = every.fire(NOW + 5 * HOUR, false);
    assert_eq!(plan.fire.iter().map(|fired| fired.slot.unwrap()).collect::<Vec<_>>(), [NOW + 5 * HOUR]);
}

#[test]
fn a_long_absence_is_bounded() {
    for policy in [Missed::Skip, Missed::Last] {
        let every = put(Spec { missed: policy, ..spec(vec![Timing::Every { ms: 1_000 }]) });
        let mut schedule = every;
        let (mut rounds, mut jobs) = (0, 0);
        loop {
            let plan = schedule.fire(NOW + 300 * DAY, false);
            jobs += plan.fire.len();
            rounds += 1;
            schedule = kept(plan.next);
            if !plan.more {
                break;
            }
        }
        assert!(rounds <= 2, "{rounds}");
        assert_eq!(jobs, 61, "those of the last minute, to its very begin");
        assert_eq!(schedule.next, Some(NOW + 300 * DAY + 1_000));
    }
    let window = Missed::All { window_ms: 900_000 };
    let mut schedule = put(Spec { missed: window, ..spec(vec![Timing::Every { ms: 1_000 }]) });
    let mut jobs = 0;
    loop {
        let plan = schedule.fire(NOW + 300 * DAY, false);
        assert!(plan.fire.len() <= limits::SCHEDULE_JOBS);
        jobs += plan.fire.len();
        schedule = kept(plan.next);
        if !plan.more {
            break;
        }
    }
    assert_eq!(jobs, 901);
}

#[test]
fn overlap_follows_the_policy() {
    const THIRD: u64 = MINUTE / 3;
    let at = NOW + MINUTE;
    let with = |overlap| put(Spec { overlap, ..spec(vec![Timing::Every { ms: THIRD }]) });
    assert_eq!(with(Overlap::Allow).fire(at, true).fire.len(), 3);
    let plan = with(Overlap::Skip).fire(at, true);
    assert_eq!((plan.fire.len(), kept(plan.next).skipped), (0, 3));
    let plan = with(Overlap::Skip).fire(at, false);
    assert_eq!((plan.fire.len(), kept(plan.next).skipped), (1, 2), "the first is what the others overlap with");
    let plan = with(Overlap::QueueOne).fire(at, true);
    let waits = kept(plan.next);
    assert_eq!((plan.fire.len(), waits.skipped), (0, 2));
    assert_eq!(waits.waiting.unwrap().slot, Some(NOW + THIRD));
    assert_eq!(waits.due, Some(at + limits::SCHEDULE_WAIT_MS));
    let plan = waits.fire(at + 1_000, false);
    assert_eq!(plan.fire[0].slot, Some(NOW + THIRD), "it goes when the one before has ended");
    let after = kept(plan.next);
    assert_eq!((after.waiting, after.due), (None, Some(NOW + 4 * THIRD)));
}

#[test]
fn zd_07_what_passes_while_it_is_suspended_is_over() {
    let every = put(spec(vec![Timing::Every { ms: MINUTE }]));
    let still = every.suspend("ann: migration", NOW + 1).unwrap();
    assert!(still.suspend("bob", NOW + 2).is_none());
    assert_eq!((still.due, still.suspended.as_ref().unwrap().by.as_str()), (None, "ann: migration"));
    assert!(still.fire(NOW + 10 * MINUTE, false).fire.is_empty());
    let again = kept(still.resume(NOW + 10 * MINUTE + 5).unwrap());
    assert_eq!((again.fired, again.missed, again.due), (0, 0, Some(NOW + 11 * MINUTE)));
    assert!(again.resume(NOW).is_none());
    let once = put(spec(vec![Timing::At { ms: NOW + MINUTE }])).suspend("ann", NOW).unwrap();
    assert!(matches!(once.resume(NOW + 2 * MINUTE), Some(Next::Gone)));
    let made = change::put(None, spec(vec![Timing::Every { ms: MINUTE }]), Some("ann".into()), JobId::nil(), NOW);
    let made = made.unwrap().unwrap();
    assert!(made.suspended.is_some() && made.due.is_none());
}

#[test]
fn a_run_now_follows_the_overlap_policy() {
    let id = JobId::new(NOW, [9; 16], 1);
    let with = |overlap| put(Spec { overlap, ..spec(vec![Timing::Every { ms: MINUTE }]) });
    let run = |schedule: &Schedule| match schedule.run_now(id, NOW + 1, false) {
        Now::Fire(plan) => kept(plan.next),
        other => panic!("{other:?}"),
    };
    let ran = run(&with(Overlap::Skip));
    assert_eq!((ran.last(), ran.fired, ran.next), (Some(id), 1, Some(NOW + MINUTE)), "its times do not change");
    assert!(matches!(ran.run_now(id, NOW + 2, true), Now::Done), "the same call again");
    let other = JobId::new(NOW, [8; 16], 1);
    assert!(matches!(ran.run_now(other, NOW + 2, true), Now::Refused { running } if running == id));
    let ran = run(&with(Overlap::QueueOne));
    let Now::Wait(waits) = ran.run_now(other, NOW + 2, true) else { panic!("it should wait") };
    assert_eq!(waits.waiting, Some(Waiting { job: other, slot: None }));
    assert!(matches!(waits.run_now(JobId::nil(), NOW + 3, true), Now::Refused { .. }));
    assert!(matches!(run(&with(Overlap::Allow)).run_now(other, NOW + 2, true), Now::Fire(_)));
    let suspended = with(Overlap::Allow).suspend("ann", NOW).unwrap();
    assert_eq!(run(&suspended).due, None, "it stays suspended");
}

#[test]
fn a_refused_slot_is_over_and_says_why() {
    let every = put(spec(vec![Timing::Every { ms: MINUTE }]));
    let plan = every.fire(NOW + MINUTE, false);
    let after = kept(every.refused(&plan, "too many topics"));
    assert_eq!((after.refused, after.fired, after.last()), (1, 0, None));
    assert_eq!((after.problem.as_deref(), after.next), (Some("too many topics"), Some(NOW + 2 * MINUTE)));
    let once = put(spec(vec![Timing::At { ms: NOW + MINUTE }]));
    let plan = once.fire(NOW + MINUTE, false);
    let after = kept(once.refused(&plan, "no"));
    assert_eq!((after.due, after.problem.as_deref()), (None, Some("no")), "it stays to be seen");
}

#[test]
fn what_is_kept_reads_as_it_was_written() {
    let mut spec =
        spec(vec![Timing::At { ms: NOW + HOUR }, cron("0 3 * * *"), Timing::Weekly { day: 3, hour: 19, minute: 12 }]);
    spec.missed = Missed::All { window_ms: HOUR };
    let schedule = put(spec);
    let text = serde_json::to_string(&schedule).unwrap();
    let again: Schedule = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text);
    for missed in [Missed::Skip, Missed::Last, Missed::All { window_ms: 90_000 }] {
        assert_eq!(missed.to_string().parse::<Missed>().unwrap(), missed);
    }
    assert!("all".parse::<Missed>().is_err() && "queue".parse::<Overlap>().is_err());
}

#[test]
fn two_names_with_one_hash_are_two_schedules() {
    // ZD-09: ids come from the incarnation, not from the definition.
    let (one, two) = (JobId::new(NOW, [1; 16], 1), JobId::new(NOW, [2; 16], 1));
    assert_ne!(one.slot(NOW), two.slot(NOW));
    assert_ne!(one.slot(NOW), one.slot(NOW + 1));
    assert_eq!((one.slot(NOW), one.slot(NOW).created_ms()), (one.slot(NOW), NOW));
}

fn timing() -> impl Strategy<Value = Timing> {
    let field = |most: u8| 0..=most;
    prop_oneof![
        (1_000..DAY).prop_map(|ms| Timing::Every { ms }),
        field(59).prop_map(|minute| Timing::Hourly { minute }),
        (field(23), field(59)).prop_map(|(hour, minute)| Timing::Daily { hour, minute }),
        (1..=7_u8, field(23), field(59)).prop_map(|(day, hour, minute)| Timing::Weekly { day, hour, minute }),
        (1..=28_u8, field(23), field(59)).prop_map(|(day, hour, minute)| Timing::Monthly { day, hour, minute }),
        (field(59), field(59), 0..4_usize).prop_map(|(second, minute, kind)| cron(&match kind {
            0 => format!("{second} {minute} * * * *"),
            1 => format!("{second} {minute} 0-4 * * *"),
            2 => format!("{second} */7 1,2,3 * * *"),
            _ => format!("{minute} 2 * * *"),
        })),
    ]
}

proptest! {
    /// Whenever it is asked, between two slots or at one, the answer is the same, and slots strictly grow.
    #[test]
    fn slots_grow_and_do_not_depend_on_when_they_are_asked_for(
        timings in prop::collection::vec(timing(), 1..4),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
        // Around the clock changes of 2026 and far from them.
        from in prop::sample::select(vec!["2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z", "2026-10-31T12:00:00Z", "2026-06-01T00:00:00Z", "2026-04-04T06:00:00Z"]),
        offset in 0..2 * DAY,
    ) {
        let from = ms(from) + offset;
        let times = Times::new(&timings, zone, from).unwrap();
        let slots = times.upcoming(from, 40);
        prop_assert_eq!(slots.len(), 40);
        prop_assert!(slots[0] > from);
        for pair in slots.windows(2) {
            prop_assert!(pair[0] < pair[1], "{:?}", pair);
            prop_assert_eq!(times.next(pair[0]), Some(pair[1]));
            prop_assert_eq!(times.next(pair[1] - 1), Some(pair[1]), "nothing lies between");
            prop_assert_eq!(times.next(u64::midpoint(pair[0], pair[1] - 1)), Some(pair[1]));
        }
    }

    /// However the rounds fall, under `all` and `allow` each slot of the window is fired once.
    #[test]
    fn whoever_looks_whenever_fires_each_slot_once(
        every in 1_000..10 * MINUTE,
        jitter_ms in 0..20 * MINUTE,
        looks in prop::collection::vec(1..20 * MINUTE, 1..30),
    ) {
        let mut schedule = put(Spec {
            jitter_ms,
            missed: Missed::All { window_ms: limits::SCHEDULE_WINDOW_MS },
            ..spec(vec![Timing::Every { ms: every.max(605_000) }])
        });
        let (mut now, mut fired): (u64, Vec<Fired>) = (NOW, Vec::new());
        for look in looks {
            now += look;
            loop {
                let Plan { next, fire, more } = schedule.fire(now, true);
                schedule = kept(next);
                fired.extend(fire);
                if !more {
                    break;
                }
            }
        }
        let slots: Vec<u64> = fired.iter().filter_map(|fired| fired.slot).collect();
        let all = schedule.spec.times(NOW).unwrap().upcoming(NOW, slots.len());
        prop_assert_eq!(&slots, &all);
        prop_assert_eq!((schedule.fired, schedule.missed), (slots.len() as u64, 0));
        let next = schedule.next.unwrap();
        prop_assert!(next + schedule.spec.jitter(next) > now, "nothing due is left");
        prop_assert!(fired.iter().all(|fired| fired.slot.is_some_and(|slot| fired.at >= slot + schedule.spec.jitter(slot))));
    }
}

#[test]
fn a_view_shows_the_next_ten_and_the_last_ten() {
    let every = put(Spec { zone: "Europe/Berlin".into(), ..spec(vec![Timing::Daily { hour: 3, minute: 0 }]) });
    let mut schedule = every;
    for round in 1..=12 {
        schedule = kept(schedule.fire(NOW + round * DAY, false).next);
    }
    let newest = schedule.last().unwrap();
    let states = [(newest, crate::State::Succeeded)].into();
    let view = ScheduleView::build(&schedule, &states, NOW + 12 * DAY);
    assert_eq!((view.upcoming.len(), view.last.len(), view.fired), (10, 10, 12));
    assert_eq!((view.last[0].job, view.last[0].state), (newest, Some(crate::State::Succeeded)));
    assert_eq!(view.last[1].state, None);
    assert!(view.upcoming[0].local.ends_with("[Europe/Berlin]"), "{:?}", view.upcoming[0]);
    assert!(view.upcoming.iter().all(|run| run.local.contains("T03:00:00")), "{:?}", view.upcoming);
    assert_eq!(view.timings[0].text, "daily at 03:00");
    let text = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::to_string(&serde_json::from_str::<ScheduleView>(&text).unwrap()).unwrap(), text);
}
