//! The numbers of the seeds' cases (ST-01 to ST-06), sums over queues and topics, and what is read of what a store keeps.

use super::*;

const MINUTE: u64 = 60_000;

fn part(activity: Activity, now: &[(State, u64)]) -> Part {
    Part {
        queue: "main".into(),
        topic: Topic::new("a/b").unwrap(),
        accepted: 0,
        now: now.iter().copied().collect(),
        oldest: None,
        activity,
    }
}

fn summary(activity: Activity, now: &[(State, u64)]) -> Summary {
    Summary::of(10 * MINUTE, [part(activity, now)].iter(), |_| true)
}

#[test]
fn st_01_it_begins_with_nothing() {
    let new = summary(Activity::new(7_000), &[]);
    assert_eq!((new.since, new.last_activated, new.last_finished), (Some(7_000), -1, -1));
    assert_eq!([new.queued, new.active, new.jobs, new.finished, new.failed, new.cancelled, new.processed], [0; 7]);
    assert_eq!((new.average_waiting, new.average_processing), (0, 0));
    assert_eq!((new.waiting, new.processing), (Percentiles::default(), Percentiles::default()));
}

#[test]
fn st_02_st_06_averages_are_those_of_starts_and_successes() {
    let mut activity = Activity::new(1);
    activity.started(10, 500);
    activity.started(20, 700);
    activity.finished(30, 300);
    activity.finished(40, 500);
    let two = summary(activity.clone(), &[(State::Succeeded, 2)]);
    assert_eq!((two.queued, two.active, two.jobs), (0, 0, 0));
    assert_eq!((two.finished, two.processed), (2, 2));
    assert_eq!((two.average_processing, two.average_waiting), (400, 600));
    assert_eq!((two.last_activated, two.last_finished), (20, 40));

    let mut other = Activity::new(1);
    for (waited, ran) in [(100, 200), (300, 800)] {
        other.started(50, waited);
        other.finished(60, ran);
    }
    let other = summary(other, &[]);
    assert_eq!((other.average_waiting, other.average_processing), (200, 500));
}

#[test]
fn st_03_st_04_what_failed_or_was_cancelled_is_processed_and_not_finished() {
    let ended = |end: fn(&mut Activity, u64)| {
        let mut activity = Activity::new(1);
        for waited in [500, 700] {
            activity.started(10, waited);
            end(&mut activity, 20);
        }
        summary(activity, &[])
    };
    let failed = ended(Activity::failed);
    assert_eq!((failed.failed, failed.processed, failed.finished), (2, 2, 0));
    assert_eq!((failed.average_processing, failed.last_finished), (0, -1));
    let cancelled = ended(Activity::cancelled);
    assert_eq!((cancelled.cancelled, cancelled.processed, cancelled.last_finished), (2, 2, -1));
}

#[test]
fn jobs_that_nobody_takes_are_counted_apart() {
    let parts = [part(Activity::default(), &[(State::Queued, 2), (State::Active, 1), (State::Retrying, 1)])];
    let taken = Summary::of(1, parts.iter(), |_| true);
    assert_eq!((taken.queued, taken.unassigned, taken.active, taken.jobs), (3, 0, 1, 4));
    let alone = Summary::of(1, parts.iter(), |_| false);
    assert_eq!((alone.queued, alone.unassigned, alone.active, alone.jobs), (0, 3, 1, 1));
}

#[test]
fn percentiles_are_within_an_eighth() {
    for time in [1, 3, 7, 8, 9, 100, 999, 60_000, 3_600_001, 1_000_000_007] {
        let mut activity = Activity::new(1);
        activity.started(1, time);
        let found = summary(activity, &[]).waiting;
        assert!(found.p50.abs_diff(time) * 8 <= time, "{time}: {found:?}");
        assert_eq!((found.p50, found.p90), (found.p99, found.p99));
    }
    let mut activity = Activity::new(1);
    for time in 1..=100 {
        activity.started(1, time * 1_000);
    }
    let found = summary(activity, &[]).waiting;
    for (found, expected) in [(found.p50, 50_000_u64), (found.p90, 90_000), (found.p99, 99_000)] {
        assert!(found.abs_diff(expected) * 8 <= expected, "{found} for {expected}");
    }
    assert_eq!(Spans::bucket(u64::MAX), BUCKETS - 1);
}

#[test]
fn a_rate_is_that_of_the_last_minutes() {
    let mut activity = Activity::new(0);
    for minute in 0..40 {
        for _ in 0..minute {
            activity.failed(minute * MINUTE);
        }
    }
    // Minutes 34 to 39, of which the last one is half over.
    let expected = f64::from(34 + 35 + 36 + 37 + 38 + 39) / 5.5;
    assert!((activity.per_minute(39 * MINUTE + MINUTE / 2) - expected).abs() < 1e-9);
    assert!(activity.per_minute(60 * MINUTE).abs() < 1e-9);
    let mut young = Activity::new(60 * MINUTE);
    young.failed(60 * MINUTE + 1);
    assert!((young.per_minute(60 * MINUTE + 30_000) - 2.0).abs() < 1e-9, "since it began");
}

#[test]
fn what_a_store_keeps_is_read_from_its_places() {
    let mut bytes = vec![0_u8; SLOTS * 8];
    let mut put = |slot: u64, value: u64| {
        let at = usize::try_from(slot).unwrap() * 8;
        bytes[at..at + 8].copy_from_slice(&value.to_be_bytes());
    };
    let minute = 29_000_000_u64;
    let now = minute * MINUTE;
    put(slots::CALLS, 3);
    put(slots::SINCE, 5);
    put(slots::LAST_STARTED, now);
    put(slots::LAST_FINISHED, now);
    put(slots::WAITED, 500);
    put(slots::RAN, 300);
    put(slots::FAILED, 1);
    put(slots::PROCESSED + minute % slots::MINUTES, minute * slots::MINUTE_UNIT + 2);
    put(slots::WAITING + Spans::bucket(500) as u64, 1);
    put(slots::RUNNING + Spans::bucket(300) as u64, 1);
    let mut expected = Activity::new(5);
    expected.started(now, 500);
    expected.failed(now);
    expected.finished(now, 300);
    assert_eq!(Activity::read(&bytes), expected);
    assert_eq!(Activity::read(&[]), Activity::default());
}

#[test]
fn the_oldest_is_the_first_of_all() {
    let mut parts = [part(Activity::default(), &[]), part(Activity::default(), &[])];
    parts[0].oldest = Some(700);
    let statistics = Statistics { now: 1_000, parts: parts.to_vec(), oldest: Some(600), schedules: 0 };
    let overview = statistics.overview(&Selection::default(), &View::default());
    assert_eq!((overview.all.oldest_waiting_since, overview.all.oldest_waiting_age), (Some(600), 400));
    assert_eq!(overview.queues["main"].oldest_waiting_age, 300);
    let selection = Selection { queue: Some("other".into()), topic: None };
    let nothing = Summary::of(1_000, std::iter::empty(), |_| true);
    assert_eq!(statistics.overview(&selection, &View::default()).all, nothing);
    let mut later = statistics.clone();
    (later.now, later.parts[1].accepted) = (31_000, 5);
    let (earlier, later) = (overview, later.overview(&Selection::default(), &View::default()));
    assert_eq!(earlier.timeless(), statistics.overview(&Selection::default(), &View::default()).timeless());
    assert_ne!(later.timeless(), earlier.timeless());
    assert_eq!(later.since(&earlier).all.accepted_per_minute, Some(10.0));
}
