//! For each kind of violation a doctored history, or a doctored end, that must be flagged as that and nothing else.

use super::super::files::{Left, OUTPUT};
use super::super::history::{Allowed, Event, Gate, How, Intent, Line};
use super::super::survey::{Final, Kept};
use super::{CHECKS, Story, Verdict, WIPE, judge};
use longshore_model::{Fence, JobId, State};
use std::collections::BTreeSet;

/// A run of one quick job (1) and one that fails once (2), as it should be.
#[derive(Clone)]
struct Tale {
    events: Vec<Event>,
    last: Final,
}

fn job(number: u8) -> JobId {
    JobId::new(u64::from(number), [number; 16], 0)
}

fn began(number: u8, fence: u64) -> Event {
    Event::Began { id: job(number), fence: Fence(fence), attempt: 1, who: "a#1".into() }
}

fn began_on(number: u8, fence: u64, who: &str) -> Event {
    Event::Began { id: job(number), fence: Fence(fence), attempt: 1, who: who.into() }
}

fn ended(number: u8, fence: u64, how: How) -> Event {
    Event::Ended { id: job(number), fence: Fence(fence), how }
}

fn seen(number: u8, state: State, at: u64) -> Event {
    Event::Seen { jobs: vec![(job(number), state, at)] }
}

fn kept(state: State, fence: u64, since: u64) -> Kept {
    let result = (state == State::Succeeded).then(|| fence.to_string());
    Kept {
        state,
        since,
        fence: Fence(fence),
        attempts: 1,
        failures: 0,
        crashes: 0,
        result,
        message: None,
        outputs: Vec::new(),
    }
}

impl Tale {
    fn new() -> Self {
        let intent = |number, fails| Intent { fails, ..Intent::plain(job(number), State::Succeeded) };
        let events = vec![
            Event::Run { scenario: "test".into(), seed: 1, allowed: Allowed::NOTHING },
            Event::Born { who: "a#1".into(), pid: 1 },
            Event::Sending { jobs: vec![intent(1, 0), intent(2, 1)] },
            Event::Accepted { ids: vec![job(1), job(2)] },
            began(1, 10),
            began(2, 11),
            ended(2, 11, How::Failed),
            ended(1, 10, How::Done),
            seen(1, State::Succeeded, 500),
            began(2, 20),
            ended(2, 20, How::Done),
            seen(2, State::Succeeded, 600),
            Event::Died { who: "a#1".into(), how: "ended".into() },
        ];
        let mut last = Final::default();
        last.jobs.insert(job(1), kept(State::Succeeded, 10, 500));
        last.jobs.insert(job(2), kept(State::Succeeded, 20, 600));
        last.by_state.insert(State::Succeeded, vec![job(1), job(2)]);
        last.counts.insert(State::Succeeded, 2);
        last.queues.insert("ns.lane.a".into(), 0);
        Self { events, last }
    }

    /// Puts events in before the death of the process.
    fn then(mut self, events: impl IntoIterator<Item = Event>) -> Self {
        let end = self.events.len() - 1;
        self.events.splice(end..end, events);
        self
    }

    fn without(mut self, what: impl Fn(&Event) -> bool) -> Self {
        let before = self.events.len();
        self.events.retain(|event| !what(event));
        assert!(self.events.len() < before, "nothing was taken out");
        self
    }

    fn end(mut self, change: impl FnOnce(&mut Final)) -> Self {
        change(&mut self.last);
        self
    }

    fn allowing(mut self, allowed: Allowed) -> Self {
        self.events[0] = Event::Run { scenario: "test".into(), seed: 1, allowed };
        self
    }

    fn verdict(&self) -> Verdict {
        let line = |(at, event): (usize, &Event)| Line { t: 1_000 + at as u64, event: event.clone() };
        judge(&Story::of(&self.events.iter().enumerate().map(line).collect::<Vec<_>>()), &self.last)
    }

    fn flagged(&self) -> BTreeSet<&'static str> {
        self.verdict().violations.into_iter().map(|violation| violation.check).collect()
    }

    #[track_caller]
    fn is_flagged(&self, checks: &[&str]) {
        let verdict = self.verdict();
        let flagged: BTreeSet<&str> = verdict.violations.iter().map(|violation| violation.check).collect();
        assert_eq!(flagged, checks.iter().copied().collect(), "{:#?}", verdict.violations);
    }
}

#[test]
fn a_good_run_passes_and_is_counted() {
    let verdict = Tale::new().verdict();
    assert_eq!(verdict.violations, []);
    let summary = verdict.summary;
    assert_eq!((summary.accepted, summary.starts, summary.extra_starts, summary.overlaps), (2, 3, 0, 0));
    assert_eq!(summary.ended.get(&State::Succeeded), Some(&2));
    assert!(summary.to_string().contains("2 jobs accepted"), "{summary}");
}

#[test]
fn an_empty_run_proves_nothing() {
    Tale { events: Vec::new(), last: Final::default() }.is_flagged(&["nothing happened"]);
}

#[test]
fn a_lost_job() {
    let gone = Tale::new().without(|event| *event == seen(2, State::Succeeded, 600)).end(|last| {
        last.jobs.remove(&job(2));
        last.by_state.insert(State::Succeeded, vec![job(1)]);
        last.counts.insert(State::Succeeded, 1);
    });
    gone.is_flagged(&["lost"]);
    gone.clone().allowing(Allowed { lost: 1, ..Allowed::NOTHING }).is_flagged(&[]);
    assert_eq!(gone.verdict().summary.lost, 1);
    // In the store and not ended is as bad.
    let stuck = Tale::new().without(|event| *event == seen(2, State::Succeeded, 600)).end(|last| {
        last.jobs.insert(job(2), kept(State::Queued, 20, 600));
        last.by_state.insert(State::Succeeded, vec![job(1)]);
        last.by_state.insert(State::Queued, vec![job(2)]);
        last.open.push(job(2));
        last.counts = [(State::Succeeded, 1), (State::Queued, 1)].into();
    });
    stuck.is_flagged(&["lost"]);
}

#[test]
fn a_job_that_ended_before_a_wipe_is_not_lost_by_it() {
    let wipe = || Event::Fault { kind: WIPE.into(), on: String::new() };
    let forget = |last: &mut Final| *last = Final::default();
    Tale::new().then([wipe()]).end(forget).is_flagged(&[]);
    // Forgotten by the store, it may run again.
    let again = [wipe(), began(1, 30), ended(1, 30, How::Done), seen(1, State::Succeeded, 900)];
    let allowed = Allowed { extra_starts: 1, ..Allowed::NOTHING };
    let anew = |last: &mut Final| {
        *last = Final::default();
        last.jobs.insert(job(1), kept(State::Succeeded, 30, 900));
        last.by_state.insert(State::Succeeded, vec![job(1)]);
        last.counts.insert(State::Succeeded, 1);
    };
    Tale::new().then(again).end(anew).allowing(allowed).is_flagged(&[]);
    // One that had not ended is lost.
    let open = Tale::new().without(|event| *event == seen(2, State::Succeeded, 600));
    open.then([wipe()]).end(forget).is_flagged(&["lost"]);
}

#[test]
fn an_unexpected_run() {
    Tale::new().then([began(9, 30), ended(9, 30, How::Done)]).is_flagged(&["unexpected"]);
    Tale::new().then([ended(1, 77, How::Done)]).is_flagged(&["unexpected"]);
}

#[test]
fn two_attempts_at_once() {
    // The second attempt of job 2 begins before its first one has ended.
    let mut tale = Tale::new();
    let end = tale.events.iter().position(|event| *event == ended(2, 11, How::Failed)).unwrap();
    let event = tale.events.remove(end);
    let tale = tale.then([event]);
    tale.is_flagged(&["overlap"]);
    tale.clone().allowing(Allowed { overlaps: 1, ..Allowed::NOTHING }).is_flagged(&[]);
    assert_eq!(tale.verdict().summary.overlaps, 1);
}

#[test]
fn the_death_of_a_process_ends_its_attempts() {
    let died = Event::Died { who: "a#1".into(), how: "killed".into() };
    let events = |dead: bool| {
        let first = [Event::Born { who: "b#1".into(), pid: 2 }, began_on(3, 40, "a#1")];
        let last = [began_on(3, 41, "b#1"), ended(3, 41, How::Done), seen(3, State::Succeeded, 700)];
        first.into_iter().chain(dead.then(|| died.clone())).chain(last)
    };
    let add = |last: &mut Final| {
        last.jobs.insert(job(3), kept(State::Succeeded, 41, 700));
        last.by_state.get_mut(&State::Succeeded).unwrap().push(job(3));
        last.counts.insert(State::Succeeded, 3);
    };
    let send = |tale: Tale| {
        let sent = Intent::plain(job(3), State::Succeeded);
        let mut tale = tale.allowing(Allowed { extra_starts: 1, ..Allowed::NOTHING });
        tale.events.insert(1, Event::Sending { jobs: vec![sent] });
        tale
    };
    send(Tale::new().then(events(true)).end(add)).is_flagged(&[]);
    send(Tale::new().then(events(false)).end(add)).is_flagged(&["overlap"]);
}

#[test]
fn a_fence_that_went_back() {
    let backwards = |event: &mut Event| match event {
        Event::Began { fence, .. } | Event::Ended { fence, .. } if *fence == Fence(20) => *fence = Fence(5),
        _ => {}
    };
    let mut tale = Tale::new();
    tale.events.iter_mut().for_each(backwards);
    let tale = tale.end(|last| {
        last.jobs.insert(job(2), kept(State::Succeeded, 5, 600));
    });
    tale.is_flagged(&["fence went back", "foreign commit"]);
}

#[test]
fn a_job_that_ends_twice() {
    Tale::new().then([seen(1, State::Succeeded, 900)]).is_flagged(&["double commit"]);
    Tale::new().then([seen(1, State::Error, 500)]).is_flagged(&["double commit"]);
    // Seen once, and something else in the end.
    let other = |last: &mut Final| last.jobs.get_mut(&job(1)).unwrap().since = 501;
    Tale::new().end(other).is_flagged(&["double commit"]);
}

#[test]
fn a_commit_that_no_attempt_made() {
    // The handler was cut off before it said that it was done.
    Tale::new().without(|event| *event == ended(2, 20, How::Done)).is_flagged(&["foreign commit"]);
    // A stale attempt's result under the current fence.
    let other = |last: &mut Final| last.jobs.get_mut(&job(1)).unwrap().result = Some("9".into());
    Tale::new().end(other).is_flagged(&["foreign commit"]);
    // A stale attempt's commit: a newer one had begun.
    let stale = |last: &mut Final| {
        last.jobs.insert(job(2), kept(State::Succeeded, 11, 600));
    };
    Tale::new().end(stale).is_flagged(&["foreign commit"]);
}

#[test]
fn a_run_after_the_end() {
    let allowed = Allowed { extra_starts: 1, ..Allowed::NOTHING };
    let again = Tale::new().then([began(1, 9), ended(1, 9, How::Done)]).allowing(allowed);
    again.is_flagged(&["fence went back", "run after terminal"]);
}

#[test]
fn an_innocent_dies() {
    let dead = |event: &mut Event| match event {
        Event::Seen { jobs } if jobs[0].0 == job(1) => jobs[0].1 = State::GivenUp,
        _ => {}
    };
    let mut tale = Tale::new();
    tale.events.iter_mut().for_each(dead);
    let tale = tale.end(|last| {
        last.jobs.insert(job(1), kept(State::GivenUp, 10, 500));
        last.by_state.insert(State::Succeeded, vec![job(2)]);
        last.by_state.insert(State::GivenUp, vec![job(1)]);
        last.counts = [(State::Succeeded, 1), (State::GivenUp, 1)].into();
    });
    tale.is_flagged(&["innocent dead"]);
}

#[test]
fn a_start_before_its_time() {
    let mut tale = Tale::new();
    let Event::Sending { jobs } = &mut tale.events[2] else { panic!("the sending") };
    jobs[0].after_ms = 60_000;
    tale.is_flagged(&["too early"]);
}

/// The usual run, whose two jobs run side by side, with a gate for both.
fn gated(gate: impl Fn(u32) -> Gate, keys: [u32; 2]) -> Tale {
    let mut tale = Tale::new();
    let Event::Sending { jobs } = &mut tale.events[2] else { panic!("the sending") };
    for (job, key) in jobs.iter_mut().zip(keys) {
        job.gate = Some(gate(key));
    }
    tale
}

#[test]
fn two_jobs_of_one_key_at_once() {
    gated(Gate::Order, [1, 2]).is_flagged(&[]);
    gated(Gate::Order, [1, 1]).is_flagged(&["order violated"]);
    gated(Gate::Unique, [1, 2]).is_flagged(&[]);
    gated(Gate::Unique, [1, 1]).is_flagged(&["unique violated"]);
    let limit = |max| move |key| Gate::Limit { key, max };
    gated(limit(1), [1, 2]).is_flagged(&[]);
    gated(limit(2), [1, 1]).is_flagged(&[]);
    gated(limit(1), [1, 1]).is_flagged(&["limit violated"]);
    // Who is frozen does not know that it was taken away from him; a store that lost everything forgot who passed.
    let frozen = gated(Gate::Order, [1, 1]);
    let at = frozen.events.iter().position(|event| *event == ended(2, 11, How::Failed)).unwrap();
    let (mut frozen, mut wiped) = (frozen.clone(), frozen);
    frozen.events.splice(at..at, [Event::Frozen { who: "a#1".into() }, Event::Thawed { who: "a#1".into() }]);
    frozen.is_flagged(&[]);
    let at = wiped.events.iter().position(|event| *event == began(2, 11)).unwrap();
    wiped.events.insert(at, Event::Fault { kind: WIPE.into(), on: String::new() });
    wiped.is_flagged(&[]);
}

#[test]
fn a_duplicate_that_is_another_job() {
    let merged = |gate| {
        let sent = Intent { gate, ..Intent::plain(job(3), State::Succeeded) };
        let mut tale = gated(Gate::Unique, [1, 2]);
        tale.events.splice(4..4, [Event::Sending { jobs: vec![sent] }, Event::Merged { id: job(3), into: job(1) }]);
        tale
    };
    merged(Some(Gate::Unique(1))).is_flagged(&[]);
    merged(Some(Gate::Unique(2))).is_flagged(&["unique violated"]);
    merged(None).is_flagged(&["unique violated"]);
}

/// The usual run, whose second job has files; it is won by attempt 20 after attempt 11 has failed.
fn filed(outputs: &[Left]) -> Tale {
    let mut tale = Tale::new();
    let Event::Sending { jobs } = &mut tale.events[2] else { panic!("the sending") };
    jobs[1].files = true;
    tale.end(|last| last.jobs.get_mut(&job(2)).unwrap().outputs = outputs.to_vec())
}

#[test]
fn outputs_that_are_not_those_of_the_winner() {
    let left = |name: &str, by, whole| Left { name: name.into(), by: Some(Fence(by)), whole };
    let own = left(OUTPUT, 20, true);
    filed(std::slice::from_ref(&own)).is_flagged(&[]);
    filed(&[]).is_flagged(&["foreign output"]);
    filed(&[left(OUTPUT, 20, false)]).is_flagged(&["foreign output"]);
    filed(&[left(OUTPUT, 11, true)]).is_flagged(&["foreign output"]);
    filed(&[left("another", 20, true)]).is_flagged(&["foreign output"]);
    filed(&[own.clone(), left("another", 11, true)]).is_flagged(&["foreign output"]);
    // A job that has no files leaves none.
    Tale::new().end(|last| last.jobs.get_mut(&job(1)).unwrap().outputs = vec![own]).is_flagged(&["foreign output"]);
}

/// Job 3 has this rule, fails so often, and is given up.
fn ruled(retries: u32, failures: u32) -> Tale {
    let fails = failures - 1;
    let sent = Intent { fails, rule: Some(retries), ..Intent::plain(job(3), State::GivenUp) };
    let attempts = (0..u64::from(failures)).flat_map(|n| [began(3, 40 + n), ended(3, 40 + n, How::Failed)]);
    let last_fence = 40 + u64::from(fails);
    let mut tale = Tale::new().then(attempts.chain([seen(3, State::GivenUp, 700)])).end(|last| {
        last.jobs.insert(job(3), kept(State::GivenUp, last_fence, 700));
        last.by_state.insert(State::GivenUp, vec![job(3)]);
        last.counts.insert(State::GivenUp, 1);
    });
    tale.events.insert(1, Event::Sending { jobs: vec![sent] });
    tale
}

#[test]
fn a_job_that_fails_otherwise_than_its_rule_says() {
    ruled(1, 2).is_flagged(&[]);
    ruled(1, 3).is_flagged(&["rule violated"]);
    ruled(1, 1).is_flagged(&["rule violated"]);
    // Its process was struck before the store heard of one of them.
    let crashed = ruled(1, 3).end(|last| last.jobs.get_mut(&job(3)).unwrap().crashes = 1);
    crashed.allowing(Allowed { crashes: 1, ..Allowed::NOTHING }).is_flagged(&[]);
}

#[test]
fn more_starts_than_the_fault_explains() {
    let mut tale = Tale::new();
    let Event::Sending { jobs } = &mut tale.events[2] else { panic!("the sending") };
    jobs[1].fails = 0;
    tale.is_flagged(&["extra starts"]);
    tale.allowing(Allowed { extra_starts: 1, ..Allowed::NOTHING }).is_flagged(&[]);
}

#[test]
fn a_crash_that_was_none() {
    let crashed = |last: &mut Final| last.jobs.get_mut(&job(1)).unwrap().crashes = 1;
    Tale::new().end(crashed).is_flagged(&["crashes counted"]);
    Tale::new().end(crashed).allowing(Allowed { crashes: 1, ..Allowed::NOTHING }).is_flagged(&[]);
}

#[test]
fn an_index_against_the_state() {
    let flag = |change: fn(&mut Final)| Tale::new().end(change).flagged();
    let against = BTreeSet::from(["index against state"]);
    assert_eq!(flag(|last| last.open.push(job(1))), against);
    assert_eq!(flag(|last| last.outbox.push(job(1))), against);
    let both = BTreeSet::from(["index against state", "counter against index"]);
    assert_eq!(flag(|last| drop(last.by_state.insert(State::Queued, vec![job(1)]))), both);
    assert_eq!(flag(|last| drop(last.by_state.insert(State::Succeeded, vec![job(1)]))), both);
    assert_eq!(flag(|last| last.by_state.get_mut(&State::Succeeded).unwrap().push(job(9))), both);
    assert_eq!(
        flag(|last| *last.counts.entry(State::Retrying).or_default() += 1),
        BTreeSet::from(["counter against index"])
    );
}

#[test]
fn leaks() {
    Tale::new().end(|last| last.drifts.push("queued jobs: 1 counted, 0 found".into())).is_flagged(&["ledger"]);
    Tale::new().end(|last| last.strays.push("{ns.0}:r:1".into())).is_flagged(&["stray key"]);
    Tale::new().end(|last| *last.queues.entry("ns.dead".into()).or_default() += 1).is_flagged(&["message left"]);
    Tale::new().end(|last| last.processes.push("process 7".into())).is_flagged(&["process left"]);
    let mut immortal = Tale::new().then([began(1, 10)]);
    immortal.events.pop();
    assert!(immortal.flagged().contains("process left"));
}

#[test]
fn what_the_scenario_found_and_what_nobody_could_read() {
    Tale::new().then([Event::Broken { what: "too slow".into() }]).is_flagged(&["promise of the scenario"]);
    Tale::new().end(|last| last.unreadable.push("no answer".into())).is_flagged(&["unreadable"]);
}

/// A check that none of the tests above can make speak would be blind.
#[test]
fn every_check_has_a_doctored_history() {
    let this = include_str!("tests.rs");
    for (name, _) in CHECKS {
        assert!(this.contains(&format!("\"{name}\"")), "no test for the check `{name}`");
    }
}
