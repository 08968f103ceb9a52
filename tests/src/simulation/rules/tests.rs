//! The judge of rules sees what it has to see, and nothing in what is right: histories in which one thing is wrong,
//! each beside one that is like it and right.

use super::judge::Judge;
use super::retries::Terms;
use super::{Priority, QUEUES, own_limits, read_queues};
use longshore_model::gate::{GateName, Gates, Pausable};
use longshore_model::record::{Admission, Reason, Record, Start, State, WaitsAt};
use longshore_model::{JobId, limits};
use std::collections::BTreeSet;

const NOW_MS: u64 = 1_800_000_000_000;

/// A history that is made step by step.
struct Told {
    judge: Judge,
    pauses: BTreeSet<Pausable>,
}

impl Told {
    /// One operation, after which these jobs are so.
    fn step(&mut self, jobs: &[Record]) {
        self.judge.step(jobs.to_vec(), &self.pauses);
    }

    fn halts(&mut self, queue: &str, on: bool) {
        let what = Pausable::Queue(queue.to_owned());
        self.pauses.retain(|pause| *pause != what);
        self.pauses.extend(on.then_some(what));
    }
}

/// What the judge says of a history.
fn said(tell: impl FnOnce(&mut Told)) -> Vec<String> {
    let policies = own_limits(&read_queues("a test", QUEUES).unwrap());
    let mut told = Told { judge: Judge::new(&policies), pauses: BTreeSet::new() };
    tell(&mut told);
    told.judge.end().0
}

#[track_caller]
fn is_right(tell: impl FnOnce(&mut Told)) {
    assert_eq!(said(tell), Vec::<String>::new());
}

#[track_caller]
fn is_wrong(what: &str, tell: impl FnOnce(&mut Told)) {
    let said = said(tell);
    assert!(said.iter().any(|line| line.contains(what)), "`{what}` is not in {said:#?}");
}

/// A job by its number, in a state.
fn job(number: u8, queue: &str, state: State) -> Record {
    let admission = Admission {
        id: JobId::new(NOW_MS, [number; 16], 0),
        topic: format!("sim/{queue}").parse().unwrap(),
        queue: queue.to_owned(),
        start: Start::Now,
        max_retries: 2,
        max_crashes: 3,
        site: None,
        expires: None,
        gates: Gates {
            order: matches!(queue, "halt" | "skip").then(|| GateName::order(queue, "")),
            limits: vec![GateName::limit(&format!("queue.{queue}"), "")],
            ..Gates::default()
        },
        unique: None,
    };
    Record { state, place: Some(u64::from(number)), ..Record::admit(&admission, NOW_MS) }
}

fn why(reason: Reason, job: Record) -> Record {
    Record { reason: Some(reason), ..job }
}

/// Those numbers, queued, each in a step of its own.
fn queued(told: &mut Told, queue: &str, numbers: std::ops::RangeInclusive<u8>) {
    for number in numbers {
        told.step(&[job(number, queue, State::Queued)]);
    }
}

fn displaced(number: u8, queue: &str) -> Record {
    why(Reason::Displaced, job(number, queue, State::Dropped))
}

#[test]
fn more_jobs_that_wait_than_may_are_seen_when_one_comes_in() {
    is_wrong("4 wait, which may be 3", |told| queued(told, "short", 1..=4));
    is_right(|told| {
        queued(told, "short", 1..=3);
        told.step(&[job(1, "short", State::Active)]);
        queued(told, "short", 4..=4);
        // What comes back is not turned away.
        told.step(&[job(1, "short", State::Retrying)]);
    });
    is_wrong("4 wait", |told| {
        queued(told, "short", 1..=2);
        told.step(&[job(3, "short", State::Scheduled), job(4, "short", State::Blocked)]);
    });
}

#[test]
fn a_refusal_without_need_is_seen_and_one_of_a_job_that_is_there() {
    let id = job(9, "short", State::Queued).id;
    is_wrong("was refused, as if 3 waited", |told| {
        queued(told, "short", 1..=2);
        told.judge.refused(id, "short", 3, 1);
    });
    is_wrong("was refused, as if 3 waited in queue fresh", |told| {
        queued(told, "fresh", 1..=3);
        told.judge.refused(id, "fresh", 3, 1);
    });
    let full = |told: &mut Told| {
        queued(told, "short", 1..=3);
        told.judge.refused(id, "short", 3, 3);
    };
    is_right(full);
    is_wrong("was refused, and is there", |told| {
        full(told);
        told.step(&[job(1, "short", State::Succeeded), job(9, "short", State::Queued)]);
    });
    is_wrong("was refused, as if", |told| {
        queued(told, "short", 1..=3);
        told.step(&[job(1, "short", State::Active)]);
        told.judge.refused(id, "short", 3, 4);
    });
}

#[test]
fn whoever_is_displaced_is_the_oldest_that_waits_where_another_comes_in() {
    let three = |told: &mut Told| queued(told, "fresh", 1..=3);
    let new = || job(4, "fresh", State::Queued);
    is_right(|told| {
        three(told);
        told.step(&[new(), displaced(1, "fresh")]);
    });
    is_wrong("is older", |told| {
        three(told);
        told.step(&[new(), displaced(2, "fresh")]);
    });
    is_wrong("1 were dropped for 0", |told| {
        three(told);
        told.step(&[displaced(1, "fresh")]);
    });
    is_wrong("2 were dropped for 1", |told| {
        three(told);
        told.step(&[new(), displaced(1, "fresh"), displaced(2, "fresh")]);
    });
    is_wrong("was displaced that may not be", |told| {
        three(told);
        told.step(&[job(1, "fresh", State::Active)]);
        queued(told, "fresh", 4..=4);
        told.step(&[job(5, "fresh", State::Queued), displaced(1, "fresh")]);
    });
    is_wrong("was displaced that may not be", |told| {
        queued(told, "short", 1..=3);
        told.step(&[job(4, "short", State::Queued), displaced(1, "short")]);
    });
}

/// A job of an order that runs, and one that waits behind it.
fn line(told: &mut Told, queue: &str) {
    told.step(&[job(1, queue, State::Active)]);
    told.step(&[behind(2, queue)]);
}

fn behind(number: u8, queue: &str) -> Record {
    let at = WaitsAt { gate: GateName::order(queue, ""), turn: String::new() };
    why(Reason::Order, Record { waits_at: Some(at), ..job(number, queue, State::Blocked) })
}

fn failed(number: u8, queue: &str) -> Record {
    why(Reason::Permanent, job(number, queue, State::Error))
}

#[test]
fn an_order_that_does_not_halt_or_does_not_stay_so_is_seen() {
    let halted = |told: &mut Told| {
        line(told, "halt");
        told.halts("halt", true);
        told.step(&[failed(1, "halt"), why(Reason::Paused, job(2, "halt", State::Blocked))]);
    };
    is_right(halted);
    is_wrong("did not halt", |told| {
        line(told, "halt");
        told.step(&[failed(1, "halt")]);
    });
    is_wrong("goes on", |told| {
        line(told, "halt");
        told.halts("halt", true);
        told.step(&[failed(1, "halt"), job(2, "halt", State::Queued)]);
    });
    is_wrong("goes on", |told| {
        halted(told);
        told.step(&[job(2, "halt", State::Queued)]);
    });
    is_wrong("nobody resumed it", |told| {
        halted(told);
        told.halts("halt", false);
        told.step(&[]);
    });
    is_right(|told| {
        halted(told);
        told.judge.failures.resume(&Pausable::Queue("halt".into()));
        told.step(&[]);
        told.halts("halt", false);
        told.step(&[]);
        told.step(&[job(2, "halt", State::Queued)]);
    });
    is_wrong("a pause that nobody ordered", |told| {
        told.step(&[why(Reason::Paused, job(1, "halt", State::Blocked))]);
    });
    is_right(|told| {
        line(told, "halt");
        told.step(&[why(Reason::StopRequested, job(1, "halt", State::Stopped)), job(2, "halt", State::Queued)]);
    });
}

#[test]
fn whoever_is_skipped_waited_behind_a_failure_and_all_who_did_are() {
    let skipped = |number| why(Reason::Skipped, job(number, "skip", State::Dropped));
    is_right(|told| {
        line(told, "skip");
        told.step(&[failed(1, "skip"), skipped(2)]);
        told.step(&[job(3, "skip", State::Queued)]);
    });
    is_right(|told| {
        line(told, "skip");
        told.step(&[failed(1, "skip")]);
        told.step(&[skipped(2)]);
    });
    is_wrong("was to be skipped", |told| {
        line(told, "skip");
        told.step(&[failed(1, "skip"), job(2, "skip", State::Queued)]);
    });
    is_wrong("was to be skipped", |told| {
        line(told, "skip");
        told.step(&[failed(1, "skip")]);
    });
    is_wrong("nobody before it had failed", |told| {
        line(told, "skip");
        told.step(&[job(1, "skip", State::Succeeded), skipped(2)]);
    });
    is_wrong("nobody before it had failed", |told| {
        line(told, "skip");
        told.step(&[failed(1, "skip"), skipped(2)]);
        told.step(&[behind(3, "skip")]);
        told.step(&[skipped(3)]);
    });
}

/// Waits at the queue's limit since then, us after the begin.
fn waits(number: u8, since: u64) -> Record {
    let at = WaitsAt { gate: GateName::limit("queue.press", ""), turn: String::new() };
    let waiting = why(Reason::Limit, job(number, "press", State::Blocked));
    Record { waits_at: Some(at), place: Some(since), ..waiting }
}

/// Two wait, the second `later` us after the first; `passes` of them passes.
fn pressing(classes: [Priority; 2], later: u64, passes: u8) -> impl FnOnce(&mut Told) {
    move |told| {
        for (number, priority) in (1..).zip(classes) {
            told.judge.priorities.asked(job(number, "press", State::Queued).id, priority);
        }
        told.step(&[waits(1, 1)]);
        told.step(&[waits(2, 1 + later)]);
        let place = if passes == 1 { 1 } else { 1 + later };
        told.step(&[Record { place: Some(place), ..job(passes, "press", State::Queued) }]);
    }
}

#[test]
fn whoever_passes_before_one_that_goes_before_it_is_seen() {
    use Priority::{Low, Normal, Urgent};
    let ageing = limits::AGEING_MS * 1_000;
    is_right(pressing([Normal, Normal], 5, 1));
    is_wrong("which goes before it", pressing([Normal, Normal], 5, 2));
    is_right(pressing([Normal, Urgent], ageing - 1, 2));
    is_wrong("which goes before it", pressing([Normal, Urgent], ageing - 1, 1));
    is_right(pressing([Normal, Urgent], ageing + 1, 1));
    is_wrong("which goes before it", pressing([Normal, Urgent], ageing + 1, 2));
    is_right(pressing([Low, Urgent], 2 * ageing - 1, 2));
    is_wrong("which goes before it", pressing([Low, Urgent], 2 * ageing + 1, 2));
    is_wrong("which goes before it", |told| {
        told.step(&[waits(1, 1)]);
        told.step(&[Record { place: None, ..job(2, "press", State::Queued) }]);
    });
    is_right(|told| {
        told.step(&[waits(1, 1)]);
        told.step(&[Record { place: None, ..job(2, "tries", State::Queued) }]);
    });
}

/// A job with one retry for `busy`, two for everything else and ten seconds, through attempts that begin at these
/// seconds and end as told.
fn tries(ends: &[(u64, &str, State, Option<Reason>)]) -> impl FnOnce(&mut Told) {
    move |told| {
        let terms = Terms { retries: 2, kinds: [("busy", 1)].into(), retry_for_ms: Some(10_000) };
        told.judge.retries.asked(job(1, "tries", State::Queued).id, terms);
        told.step(&[job(1, "tries", State::Queued)]);
        for (attempts, (second, said, state, reason)) in (1..).zip(ends) {
            let started = Some(NOW_MS + second * 1_000);
            let runs = Record { attempts, started, ..job(1, "tries", State::Active) };
            told.step(std::slice::from_ref(&runs));
            let due = (*state == State::Retrying).then_some(NOW_MS + second * 1_000 + 1_000);
            let message = Some((*said).to_owned());
            told.step(&[Record { state: *state, reason: *reason, message, due, ..runs }]);
        }
    }
}

#[test]
fn a_job_that_is_tried_too_often_or_too_seldom_or_too_late_is_seen() {
    use Reason::{Failed, KindRetriesExhausted, RetriesExhausted, RetryTimeOver};
    use State::{GivenUp, Queued, Retrying};
    let (again, at_once) = (|second, said| (second, said, Retrying, Some(Failed)), (1, "busy", Queued, Some(Failed)));
    let over = |second, said, reason| (second, said, GivenUp, Some(reason));
    is_right(tries(&[again(0, "busy"), over(1, "busy", KindRetriesExhausted)]));
    is_right(tries(&[again(0, "busy"), again(1, "x"), again(2, "y"), over(3, "z", RetriesExhausted)]));
    is_right(tries(&[again(0, "x"), again(8, "x"), over(10, "busy", RetryTimeOver)]));
    is_wrong("more often than it may be", tries(&[again(0, "busy"), again(1, "busy")]));
    is_wrong("more often than it may be", tries(&[again(0, "busy"), at_once]));
    is_wrong("more often than it may be", tries(&[again(0, "x"), again(1, "y"), again(2, "z")]));
    is_wrong("given up too early", tries(&[over(0, "busy", KindRetriesExhausted)]));
    is_wrong("given up too early", tries(&[again(0, "busy"), over(1, "x", RetriesExhausted)]));
    is_wrong("given up too early", tries(&[again(0, "x"), over(1, "x", KindRetriesExhausted)]));
    is_wrong("began after its time", tries(&[again(0, "x"), again(11, "x")]));
    is_wrong("waits beyond its time", tries(&[again(0, "x"), again(10, "x")]));
    is_right(|told| {
        tries(&[again(0, "x")])(told);
        told.step(&[why(RetryTimeOver, Record { attempts: 1, ..job(1, "tries", GivenUp) })]);
    });
    is_wrong("no time for retries", |told| {
        told.judge.retries.asked(job(1, "tries", Queued).id, Terms::default());
        told.step(&[job(1, "tries", Queued)]);
        told.step(&[why(RetryTimeOver, job(1, "tries", GivenUp))]);
    });
}
