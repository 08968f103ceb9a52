//! What holds for every job, whatever happens to it in whatever order.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Something that happens, relative to the record of that moment.
#[derive(Debug, Clone)]
enum Step {
    /// A claim by one of a few instances, with a copy that is so many generations old.
    Claim { who: u8, delivery: u8, age: u64, alone: bool },
    /// A publish that was confirmed for a generation so old.
    Published { age: u64 },
    /// With a fence that is so much older than the current one.
    Renew { age: u64 },
    /// The same.
    Finish { age: u64, verdict: Verdict },
    /// The last call once more, as if its answer had been lost.
    Again,
    /// An event that refers to nothing.
    Other(Event),
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let delay = || prop_oneof![Just(0_u64), 1_u64..20_000];
    prop_oneof![
        6 => delay().prop_map(failed),
        3 => (delay(), prop::option::of("[ab]"), prop::option::of(-1..3_i32), prop::option::of(1..30_000_u64)).prop_map(
            |(delay_ms, kind, retries, retry_for_ms)| {
                let terms = FailureTerms { kind, retries, retry_for_ms };
                Verdict::Failed { delay_ms, error: "no".into(), terms }
            }
        ),
        3 => delay().prop_map(|delay| released(delay, Reason::Snoozed)),
        1 => Just(succeeded()),
        1 => Just(fatal(Reason::Permanent)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let age = || prop_oneof![4 => Just(0_u64), 1 => 1_u64..3];
    prop_oneof![
        8 => (0..3_u8, 0..3_u8, age(), any::<bool>())
            .prop_map(|(who, delivery, age, alone)| Step::Claim { who, delivery, age, alone }),
        2 => age().prop_map(|age| Step::Published { age }),
        2 => age().prop_map(|age| Step::Renew { age }),
        6 => (age(), verdict()).prop_map(|(age, verdict)| Step::Finish { age, verdict }),
        2 => Just(Step::Again),
        4 => any::<bool>().prop_map(|alone| Step::Other(Event::LeaseGone { alone })),
        2 => Just(Step::Other(Event::Republish { patience_ms: 5_000 })),
        6 => Just(Step::Other(Event::Promote)),
        3 => Just(Step::Other(Event::Block { reason: Reason::Order, at: line() })),
        4 => Just(Step::Other(Event::Release)),
        1 => Just(Step::Other(Event::Replace)),
        1 => Just(Step::Other(Event::Displace)),
        1 => Just(Step::Other(Event::Skip { why: "another one failed".into() })),
        1 => Just(Step::Other(Event::Supersede { delay_ms: Some(700) })),
        1 => Just(Step::Other(Event::Stop { by: "ann".into() })),
        1 => Just(Step::Other(Event::Remove)),
        1 => Just(Step::Other(Event::Expire)),
    ]
}

fn event(step: &Step, record: &Record, last: &Event) -> Event {
    let generation = |age: u64| Generation(record.generation.0.saturating_sub(age));
    let fence = |age: u64| Fence(record.fence.0.saturating_sub(age));
    match step {
        Step::Claim { who, delivery, age, alone } => {
            let (owner, nonce) = (owner(&format!("i{who}")), format!("d{delivery}"));
            Event::Claim { owner, nonce, generation: generation(*age), floor: Fence(0), lease_ms: LEASE, alone: *alone }
        }
        Step::Published { age } => Event::Published { generation: generation(*age) },
        Step::Renew { age } => Event::Renew { fence: fence(*age), lease_ms: LEASE },
        Step::Finish { age, verdict } => finish_event(fence(*age), verdict.clone()),
        Step::Again => last.clone(),
        Step::Other(event) => event.clone(),
    }
}

/// The fields that belong to a state are set in it and in no other, and no budget is overdrawn.
fn check_shape(record: &Record) {
    let Record { state, lease, due, finished, outbox, failures, crashes, .. } = record;
    assert_eq!(lease.is_some(), *state == State::Active, "lease in {state}");
    assert_eq!(due.is_some(), state.waits_for_time(), "due in {state}");
    assert_eq!(finished.is_some(), state.is_terminal(), "finished in {state}");
    assert!(outbox.is_none() || *state == State::Queued, "outbox in {state}");
    assert_eq!(record.waits_at.is_some(), *state == State::Blocked, "a place to wait at in {state}");
    assert!(record.published.is_none() || *state == State::Queued, "published in {state}");
    assert!(record.republished == 0 || *state == State::Queued, "republished in {state}");
    assert!(*crashes <= crate::limits::SHARED_CRASHES, "{crashes} crashes");
    if let Some(most) = crate::retry::executions(record.max_retries) {
        assert!(u64::from(*failures) <= most, "S02: {failures} failures");
    }
}

fn check_step(before: &Record, after: &Record, event: &Event, answer: &Answer, past: Option<&PastAttempt>) {
    if before.state.is_terminal() {
        assert_eq!(before, after, "S01: no way leads out of a terminal state");
    }
    let claimed = before.state != State::Active && after.state == State::Active;
    assert_eq!(after.attempts, before.attempts + u32::from(claimed), "an attempt is a claim");
    let left_active = before.state == State::Active && after.state != State::Active;
    if claimed || (left_active && matches!(event, Event::LeaseGone { .. } | Event::Remove)) {
        assert!(after.fence > before.fence, "the fence grows when an attempt begins or is taken away");
    } else {
        assert_eq!(after.fence, before.fence, "and at no other time");
    }
    let superseded = matches!(event, Event::Supersede { .. }) && before.state == State::Queued;
    let entered = superseded || before.state != State::Queued && after.state == State::Queued;
    assert_eq!(after.generation.0, before.generation.0 + u64::from(entered), "a generation is an entry into queued");
    let again = matches!((event, answer), (Event::Republish { .. }, Answer::Moved { .. }));
    if !superseded {
        assert_eq!(entered || again, before.outbox.is_none() && after.outbox.is_some(), "and into the outbox");
    }
    assert_eq!(past.is_some(), left_active && after.state != State::Succeeded, "the attempt is remembered");
    let charged = after.all_failures() - before.all_failures() + after.crashes - before.crashes;
    assert!(!(claimed && before.is_over_time(after.since)), "no attempt begins after the time for retries");
    assert!(charged <= u32::from(left_active), "an attempt is charged once, and only when it ends");
    let accepted = matches!(answer, Answer::Run { .. } | Answer::Renewed { .. } | Answer::Asked | Answer::Moved { .. });
    if !accepted && before.state == after.state {
        assert_eq!(before, after, "a refused event changes nothing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s01_s02_whatever_happens_the_rules_hold(
        retries in -1..4_i32,
        expires in proptest::option::of(0_u64..200_000),
        steps in proptest::collection::vec((step(), 0_u64..8_000), 1..80),
    ) {
        let mut record = admitted(retries);
        record.expires = expires.map(|ms| NOW + ms);
        let (mut now_us, mut last) = (NOW_US, Event::Promote);
        let mut finished = BTreeSet::new();
        check_shape(&record);
        for (step, wait_ms) in steps {
            now_us += wait_ms * 1_000;
            let event = event(&step, &record, &last);
            let before = record.clone();
            let (answer, past) = transition(&mut record, now_us, &event);
            check_shape(&record);
            check_step(&before, &record, &event, &answer, past.as_ref());
            if let (Event::Finish { fence, .. }, Answer::Moved { .. }) = (&event, &answer) {
                prop_assert!(finished.insert(*fence), "fence {:?} ended twice", fence);
            }
            // Whatever is repeated at once, because its answer was lost, is not done twice. (Removing twice removes
            // the job from history as well, which is another thing.)
            // A payload that is replaced twice makes a copy twice.
            let settled = record.clone();
            if !matches!(event, Event::Supersede { .. }) {
                transition(&mut record, now_us, &event);
            }
            prop_assert_eq!(&settled, &record);
            last = event;
        }
    }
}
