//! Stories of single jobs, as the conformance cases tell them.

use super::*;

/// One job and a clock.
struct Story {
    record: Record,
    now_ms: u64,
    past: Vec<PastAttempt>,
}

impl Story {
    fn new(max_retries: i32) -> Self {
        Self { record: admitted(max_retries), now_ms: NOW, past: Vec::new() }
    }

    fn apply(&mut self, event: &Event) -> Answer {
        let (answer, past) = transition(&mut self.record, self.now_ms * 1_000, event);
        self.past.extend(past);
        answer
    }

    fn claim(&mut self, name: &str, nonce: &str) -> Answer {
        let event = claim_event(&self.record, name, nonce);
        self.apply(&event)
    }

    /// Claims it and answers the fence and the failures that the handler sees.
    fn start(&mut self) -> (Fence, u32) {
        let nonce = format!("delivery {}", self.record.attempts);
        match self.claim("i1", &nonce) {
            Answer::Run { fence, failures, .. } => (fence, failures),
            other => panic!("not run but {other:?}"),
        }
    }

    fn finish(&mut self, fence: Fence, verdict: Verdict) -> Answer {
        self.apply(&finish_event(fence, verdict))
    }

    /// Lets the time pass until the job is due, and promotes it.
    fn wait(&mut self) {
        self.now_ms = self.record.due.unwrap();
        assert_eq!(self.apply(&Event::Promote), Answer::Moved { state: State::Queued });
    }

    /// Lets the lease pass, and tells.
    fn crash(&mut self, alone: bool) -> Answer {
        self.now_ms = self.record.lease.unwrap();
        self.apply(&Event::LeaseGone { alone })
    }

    fn outcomes(&self) -> Vec<&str> {
        self.past.iter().map(|past| past.outcome.as_str()).collect()
    }
}

#[test]
fn jh_05_s02_a_job_that_always_fails_runs_once_more_than_its_retries() {
    for retries in [0, 1, 2, 10] {
        let mut story = Story::new(retries);
        for run in 0..=retries {
            let (fence, failures) = story.start();
            assert_eq!(failures, run.unsigned_abs(), "the handler sees 0, 1, 2, …");
            story.finish(fence, failed(2_000));
            if run < retries {
                assert_eq!(story.record.state, State::Retrying);
                story.wait();
            }
        }
        assert_eq!((story.record.state, story.record.reason), (State::GivenUp, Some(Reason::RetriesExhausted)));
        assert_eq!(i64::from(story.record.attempts), i64::from(retries) + 1);
        assert_eq!(story.past.len(), usize::try_from(retries).unwrap() + 1);
    }
}

#[test]
fn s02_without_a_limit_it_never_gives_up() {
    let mut story = Story::new(-1);
    for _ in 0..1_000 {
        let (fence, _) = story.start();
        assert_eq!(story.finish(fence, failed(0)), Answer::Moved { state: State::Queued });
    }
    assert_eq!(story.record.failures, 1_000);
}

#[test]
fn s02_a_kind_with_retries_of_its_own_is_counted_by_itself() {
    let mut story = Story::new(1);
    let ruled = |kind: &str, retries| Verdict::Failed {
        delay_ms: 0,
        error: "no".into(),
        terms: FailureTerms { kind: Some(kind.into()), retries, retry_for_ms: None },
    };
    for round in 1..=3 {
        let (fence, failures) = story.start();
        assert_eq!(failures, 0, "it costs the job nothing");
        assert_eq!(story.finish(fence, ruled("busy", Some(3))), Answer::Moved { state: State::Queued });
        assert_eq!((story.record.kinds.of("busy"), story.record.all_failures()), (round, round));
    }
    // A kind without a rule is a failure as any other, and is told in the history.
    let (fence, _) = story.start();
    story.finish(fence, ruled("odd", None));
    assert_eq!((story.record.failures, story.past[3].kind.as_deref()), (1, Some("odd")));
    let (fence, _) = story.start();
    assert_eq!(story.finish(fence, ruled("busy", Some(3))), Answer::Moved { state: State::GivenUp });
    assert_eq!(story.record.reason, Some(Reason::KindRetriesExhausted));
    let mut never = Story::new(-1);
    let (fence, _) = never.start();
    assert_eq!(never.finish(fence, ruled("broken", Some(0))), Answer::Moved { state: State::GivenUp });
}

#[test]
fn s02_no_attempt_begins_when_the_time_for_retries_is_over() {
    let within = |delay_ms| Verdict::Failed {
        delay_ms,
        error: "no".into(),
        terms: FailureTerms { retry_for_ms: Some(10_000), ..FailureTerms::default() },
    };
    // What would begin too late is given up at once.
    let mut story = Story::new(-1);
    let (fence, _) = story.start();
    story.now_ms += 4_000;
    assert_eq!(story.finish(fence, within(6_000)), Answer::Moved { state: State::Retrying });
    assert_eq!(story.record.retry_until, Some(NOW + 10_000), "it counts from the start of the first that failed");
    story.wait();
    let (fence, _) = story.start();
    assert_eq!(story.finish(fence, within(1)), Answer::Moved { state: State::GivenUp });
    assert_eq!(story.record.reason, Some(Reason::RetryTimeOver));
    // What waited too long for an instance is given up when one comes, and keeps what went wrong.
    let mut story = Story::new(-1);
    let (fence, _) = story.start();
    story.finish(fence, within(0));
    story.now_ms += 10_001;
    assert_eq!(story.claim("i2", "late"), Answer::Ended { state: State::GivenUp });
    assert_eq!((story.record.reason, story.record.message.as_deref()), (Some(Reason::RetryTimeOver), Some("no")));
    // Time before the first failure costs nothing.
    let mut story = Story::new(-1);
    let (fence, _) = story.start();
    story.finish(fence, released(50_000, Reason::Snoozed));
    story.wait();
    let (fence, _) = story.start();
    assert_eq!(story.finish(fence, within(9_000)), Answer::Moved { state: State::Retrying });
}

#[test]
fn jh_11_s03_a_panic_is_an_error_after_one_execution() {
    let mut story = Story::new(5);
    let (fence, _) = story.start();
    assert_eq!(story.finish(fence, fatal(Reason::Panicked)), Answer::Moved { state: State::Error });
    let Record { attempts, failures, reason, message, .. } = &story.record;
    assert_eq!((*attempts, *failures, *reason), (1, 0, Some(Reason::Panicked)), "retries are not used");
    assert_eq!(message.as_deref(), Some("never"));
    assert_eq!(story.outcomes(), ["error"]);
}

#[test]
fn jh_15_the_delay_of_a_failure_is_kept_to_the_millisecond() {
    let mut story = Story::new(2);
    let (fence, _) = story.start();
    story.now_ms += 40;
    story.finish(fence, failed(100));
    assert_eq!(story.record.due, Some(NOW + 140));
    story.now_ms = NOW + 139;
    assert_eq!(story.apply(&Event::Promote), Answer::Nothing);
    assert_eq!(story.claim("i1", "early"), Answer::Waiting { state: State::Retrying, left_ms: Some(1) });
    story.wait();
    assert_eq!(story.record.reason, Some(Reason::Failed));
}

#[test]
fn j12_removing_an_unfinished_job_drops_it_and_its_runner_can_change_nothing() {
    let mut story = Story::new(5);
    let (fence, _) = story.start();
    assert_eq!(story.apply(&Event::Remove), Answer::Moved { state: State::Dropped });
    assert_eq!(story.record.reason, Some(Reason::Removed));
    assert_eq!(story.finish(fence, succeeded()), Answer::Stale { state: State::Dropped });
    assert_eq!(story.apply(&Event::Renew { fence, lease_ms: LEASE }), Answer::Stale { state: State::Dropped });
    assert_eq!(story.outcomes(), ["removed"]);
    assert_eq!(story.apply(&Event::Remove), Answer::Purge, "removing it from history");
}

#[test]
fn j13_s03_a_running_job_that_is_stopped_hears_it_and_its_outcome_decides() {
    for (verdict, state) in [
        (succeeded(), State::Succeeded),
        (failed(500), State::Stopped),
        (fatal(Reason::Panicked), State::Stopped),
        (released(0, Reason::Interrupted), State::Stopped),
    ] {
        let mut story = Story::new(5);
        let (fence, _) = story.start();
        assert_eq!(story.apply(&Event::Stop { by: "ann".into() }), Answer::Asked);
        assert_eq!(story.apply(&Event::Stop { by: "ben".into() }), Answer::Asked);
        let heard = story.apply(&Event::Renew { fence, lease_ms: LEASE });
        assert_eq!(heard, Answer::Renewed { cancel: Some("ann".into()) }, "the first who asked");
        assert_eq!(story.finish(fence, verdict), Answer::Moved { state });
    }
}

#[test]
fn j13_a_waiting_job_is_stopped_at_once() {
    let mut story = Story::new(5);
    assert_eq!(story.apply(&Event::Stop { by: "ann".into() }), Answer::Moved { state: State::Stopped });
    assert_eq!(story.claim("i1", "n"), Answer::Ended { state: State::Stopped });
}

#[test]
fn a_process_killer_is_given_up_and_its_retries_are_not_used() {
    let mut story = Story::new(10);
    for crash in 1..=3 {
        let (fence, failures) = story.start();
        assert_eq!(failures, 0);
        story.crash(crash == 3);
        assert_eq!(story.record.crashes, crash);
        let state = story.record.state;
        assert_eq!(story.finish(fence, succeeded()), Answer::Stale { state });
    }
    assert_eq!((story.record.state, story.record.reason), (State::GivenUp, Some(Reason::Poison)));
    assert_eq!(story.outcomes(), ["crashed"; 3]);
    let alone: Vec<bool> = story.past.iter().filter_map(|past| past.crash.as_ref()).map(|crash| crash.alone).collect();
    assert_eq!(alone, [false, false, true]);
}

#[test]
fn who_was_never_alone_is_given_up_much_later() {
    let mut story = Story::new(10);
    for _ in 1..limits::SHARED_CRASHES {
        story.start();
        assert_eq!(story.crash(false), Answer::Moved { state: State::Queued });
    }
    story.start();
    assert_eq!(story.crash(false), Answer::Moved { state: State::GivenUp });
    assert_eq!(story.record.reason, Some(Reason::CrashesExhausted));
}

#[test]
fn two_processes_that_go_away_prove_nothing() {
    let mut story = Story::new(10);
    for _ in 0..2 {
        story.start();
        assert_eq!(story.crash(true), Answer::Moved { state: State::Queued });
    }
}

#[test]
fn a_suspect_runs_where_nothing_else_runs() {
    let mut story = Story::new(10);
    for crashes in 0..4 {
        let record = &story.record;
        let offered = claim_event(record, "i1", &format!("delivery {crashes}"));
        let mut refused = offered.clone();
        if let Event::Claim { alone, .. } = &mut refused {
            *alone = false;
        }
        if crashes < limits::SUSPECT_CRASHES {
            assert!(matches!(story.apply(&refused), Answer::Run { .. }));
        } else {
            let before = story.record.clone();
            assert_eq!(story.apply(&refused), Answer::Elsewhere { crashes });
            assert_eq!(story.record, before, "a refused claim changes nothing");
            assert!(matches!(story.apply(&offered), Answer::Run { .. }));
            assert!(matches!(story.apply(&refused), Answer::Run { .. }), "the same delivery is answered the same");
        }
        story.crash(false);
    }
}

#[test]
fn after_its_first_crash_a_job_goes_back_at_once_and_later_ones_wait() {
    let mut story = Story::new(10);
    for wait in [limits::OUTBOX_GRACE_MS, 1_000, 5_000, 30_000, 30_000] {
        story.start();
        assert_eq!(story.crash(false), Answer::Moved { state: State::Queued });
        assert_eq!(story.record.outbox, Some(story.now_ms + wait));
    }
}

#[test]
fn interrupted_is_not_failed() {
    let mut story = Story::new(0);
    for _ in 0..20 {
        let (fence, _) = story.start();
        story.finish(fence, released(0, Reason::Interrupted));
    }
    let Record { state, attempts, failures, crashes, .. } = story.record;
    assert_eq!((state, attempts, failures, crashes), (State::Queued, 20, 0, 0));
}

#[test]
fn a_claim_whose_answer_was_lost_is_answered_again_and_runs_once() {
    let mut story = Story::new(5);
    let event = claim_event(&story.record, "i1", "delivery-1");
    let first = story.apply(&event);
    assert_eq!(story.apply(&event), first);
    assert_eq!(story.record.attempts, 1);
    let busy = story.claim("i1", "delivery-2");
    assert_eq!(busy, Answer::Busy { lease_left_ms: LEASE }, "another delivery to the same instance is a duplicate");
}

#[test]
fn fences_grow_over_a_wiped_store() {
    let mut story = Story::new(5);
    let floor = Fence(NOW_US + 5_000_000);
    let (owner, nonce) = (owner("i2"), "n".to_owned());
    let event = Event::Claim { owner, nonce, generation: Generation(9), floor, lease_ms: LEASE, alone: false };
    assert!(matches!(story.apply(&event), Answer::Run { fence, .. } if fence == Fence(floor.0 + 1)));
    assert_eq!(story.record.generation, Generation(9), "what the copy carries is the newest that is known");
}
