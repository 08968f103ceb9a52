//! Every event in every state. A row is an event, a column a state; a cell is the answer, and `>state` where the job
//! went. The five terminal states answer alike and share a column.

use super::*;

/// A job in a state, with fence 7, generation 3, one attempt by `i1` under nonce `n1`, and one failure of three.
fn in_state(state: State) -> Record {
    let mut record = admitted(3);
    record.state = state;
    record.generation = Generation(3);
    record.fence = Fence(7);
    record.attempts = 1;
    record.failures = 1;
    record.owner = Some(owner("i1"));
    record.nonce = "n1".into();
    record.lease = (state == State::Active).then_some(NOW + LEASE);
    record.started = Some(NOW - 5_000);
    record.due = state.waits_for_time().then_some(NOW + 1_000);
    record.outbox = (state == State::Queued).then_some(NOW + 2_000);
    record.waits_at = (state == State::Blocked).then(line);
    record.finished = state.is_terminal().then_some(NOW - 1);
    record
}

fn cell(before: &Record, after: &Record, answer: &Answer) -> String {
    let word = match answer {
        Answer::Run { .. } => "run",
        Answer::Busy { .. } => "busy",
        Answer::Waiting { .. } => "wait",
        Answer::Elsewhere { .. } => "else",
        Answer::Outdated { .. } => "old",
        Answer::Behind { .. } => "behind",
        Answer::Ended { .. } => "ended",
        Answer::Renewed { .. } => "renewed",
        Answer::Moved { state } => {
            assert_eq!(*state, after.state, "the answer tells the state that the job is in");
            if before.state == after.state { "moved" } else { "" }
        }
        Answer::Already { .. } => "already",
        Answer::Stale { .. } => "stale",
        Answer::Asked => "asked",
        Answer::Purge => "purge",
        Answer::Nothing => ".",
    };
    if matches!(word, "busy" | "wait" | "else" | "old" | "already" | "stale" | "behind" | "purge" | ".") {
        assert_eq!(before, after, "a refused event changes nothing");
    }
    if before.state == after.state { word.to_owned() } else { format!("{word}>{}", after.state) }
}

/// Applies an event at `NOW` plus so many ms to a job in every state, each changed in the same way before.
fn check(row: &str, at_ms: u64, change: impl Fn(&mut Record), event: &Event, expected: &str) {
    let mut cells = Vec::new();
    for state in State::ALL {
        let mut before = in_state(state);
        change(&mut before);
        let mut after = before.clone();
        let (answer, past) = transition(&mut after, NOW_US + at_ms * 1_000, event);
        let ended_badly = state == State::Active && !matches!(after.state, State::Active | State::Succeeded);
        assert_eq!(past.is_some(), ended_badly, "{row}, {state}: an attempt that ended otherwise is remembered");
        cells.push(cell(&before, &after, &answer));
    }
    let terminal = cells.split_off(5);
    assert!(terminal.iter().all(|cell| *cell == terminal[0]), "{row}: {terminal:?}");
    cells.push(terminal[0].clone());
    assert_eq!(cells, expected.split_whitespace().collect::<Vec<_>>(), "{row}");
}

#[test]
#[rustfmt::skip] // a table
fn s01_every_event_in_every_state() {
    let as_it_is = |_: &mut Record| ();
    let expired = |record: &mut Record| record.expires = Some(NOW);
    let over_time = |record: &mut Record| record.retry_until = Some(NOW - 1);
    let claim = |nonce: &str, generation| Event::Claim {
        owner: owner("i1"),
        nonce: nonce.into(),
        generation: Generation(generation),
        floor: Fence(0),
        lease_ms: LEASE,
        alone: false,
    };
    let gone = Event::LeaseGone { alone: false };
    let suspect = |record: &mut Record| record.crashes = limits::SUSPECT_CRASHES;
    let published = |generation| Event::Published { generation: Generation(generation) };
    let renew = |fence| Event::Renew { fence: Fence(fence), lease_ms: LEASE };
    let stop = Event::Stop { by: "me".into() };
    let adopt = |fence| Event::Adopt {
        owner: owner("i1"),
        nonce: "n7".into(),
        fence: Fence(fence),
        generation: Generation(3),
        attempt: 2,
        failures: 1,
        crashes: 0,
        lease_ms: LEASE,
    };
    let complete = |fence, nonce: &str, mark: &str| Event::Complete {
        fence: Fence(fence),
        nonce: nonce.into(),
        mark: mark.into(),
        verdict: failed(500),
    };
    let block = Event::Block { reason: Reason::Order, at: line() };
    let skip = Event::Skip { why: "another one failed".into() };
    let newer = Event::Supersede { delay_ms: Some(500) };
    let republish = Event::Republish { patience_ms: 45_000 };
    let sent = |record: &mut Record| (record.outbox, record.published) = (None, Some(NOW));
    let again = |record: &mut Record| (record.outbox, record.published, record.republished) = (None, Some(NOW), 1);
    //                                                       scheduled blocked  queued        active   retrying terminal
    check("published",        0, as_it_is, &published(3),      ".        .        moved         .        .        .");
    check("published before", 0, as_it_is, &published(2),      ".        .        .             .        .        .");
    check("claim",            0, as_it_is, &claim("n2", 3),    "wait     wait     run>active    busy     wait     ended");
    check("newer copy",       0, as_it_is, &claim("n2", 9),    "wait     wait     run>active    busy     wait     ended");
    check("foreign copy",     0, as_it_is, &claim("n2", 0),    "wait     wait     run>active    busy     wait     ended");
    check("older copy",       0, as_it_is, &claim("n2", 2),    "old      old      old           old      old      ended");
    check("same delivery",    0, as_it_is, &claim("n1", 3),    "wait     wait     run>active    run      wait     ended");
    check("suspect",          0, suspect,  &claim("n2", 3),    "wait     wait     else          busy     wait     ended");
    check("same suspect",     0, suspect,  &claim("n1", 3),    "wait     wait     else          run      wait     ended");
    check("too late",         0, expired,  &claim("n2", 3),    "wait     wait     ended>dropped busy     wait     ended");
    check("retries over",     0, over_time, &claim("n2", 3),   "wait     wait     ended>given_up busy    wait     ended");
    check("renew",            0, as_it_is, &renew(7),          "stale    stale    stale         renewed  stale    stale");
    check("renew stale",      0, as_it_is, &renew(6),          "stale    stale    stale         stale    stale    stale");
    check("renew newer",      0, as_it_is, &renew(8),          "behind   behind   behind        behind   behind   stale");
    check("adopt",            0, as_it_is, &adopt(8),          "run>active run>active run>active run     run>active ended");
    check("adopt current",    0, as_it_is, &adopt(7),          "stale    stale    stale         run      stale    ended");
    check("adopt stale",      0, as_it_is, &adopt(6),          "stale    stale    stale         stale    stale    ended");
    check("complete",         0, as_it_is, &complete(7, "n1", "c"), "stale stale stale >retrying stale stale");
    check("complete again",   0, as_it_is, &complete(7, "n", "n1"), "already already already . already already");
    check("complete unknown", 0, as_it_is, &complete(7, "n2", "c"), "stale stale stale . stale stale");
    check("complete stale",   0, as_it_is, &complete(6, "n1", "c"), "stale stale stale stale stale stale");
    check("complete newer",   0, as_it_is, &complete(8, "n1", "c"), "behind behind behind behind behind stale");
    check("lease gone",   LEASE, as_it_is, &gone,              ".        .        .             >queued  .        .");
    check("lease alive",  9_999, as_it_is, &gone,              ".        .        .             .        .        .");
    check("due",          1_000, as_it_is, &Event::Promote,    ">queued  .        .             .        >queued  .");
    check("not due",        999, as_it_is, &Event::Promote,    ".        .        .             .        .        .");
    check("stop",             0, as_it_is, &stop,              ">stopped >stopped >stopped      asked    >stopped ended");
    check("remove",           0, as_it_is, &Event::Remove,     ">dropped >dropped >dropped      >dropped >dropped purge");
    check("expire",           0, expired,  &Event::Expire,     ">dropped >dropped >dropped      .        .        .");
    check("block",            0, as_it_is, &block,             ".        moved    >blocked      .        .        .");
    check("release",          0, as_it_is, &Event::Release,    ".        >queued  .             .        .        .");
    check("replace",          0, as_it_is, &Event::Replace,    ".        >dropped .             .        .        .");
    check("displace",         0, as_it_is, &Event::Displace,   ">dropped >dropped >dropped      .        >dropped .");
    check("skip",             0, as_it_is, &skip,              ".        >dropped .             .        .        .");
    check("supersede",        0, as_it_is, &newer,             "moved    moved    moved         .        .        .");
    check("lost copy",       45_000, sent, &republish,         ".        .        moved         .        .        .");
    check("copy under way",  44_999, sent, &republish,         ".        .        .             .        .        .");
    check("lost again",      60_000, again, &republish,        ".        .        moved         .        .        .");
    check("resting",         59_999, again, &republish,        ".        .        .             .        .        .");
    check("in the outbox",   99_999, as_it_is, &republish,     ".        .        .             .        .        .");
    check("no expiry",        0, as_it_is, &Event::Expire,     ".        .        .             .        .        .");
}

#[test]
fn s01_every_verdict_in_every_state() {
    let verdicts = [
        (succeeded(), "succeeded"),
        (failed(0), "queued"),
        (failed(500), "retrying"),
        (fatal(Reason::Permanent), "error"),
        (fatal(Reason::Panicked), "error"),
        (fatal(Reason::UnreadablePayload), "error"),
        (fatal(Reason::BadResult), "error"),
        (released(0, Reason::Interrupted), "queued"),
        (released(500, Reason::Snoozed), "scheduled"),
    ];
    for (verdict, state) in verdicts {
        let row = format!("{verdict:?}");
        let current = finish_event(Fence(7), verdict.clone());
        check(&row, 0, |_| (), &current, &format!("already already already >{state} already already"));
        // A stop that was asked for decides everything but a success (J13, S03).
        let asked = |record: &mut Record| record.cancel = Some("me".into());
        let state = if state == "succeeded" { state } else { "stopped" };
        check(&row, 0, asked, &current, &format!("already already already >{state} already already"));
        let stale = finish_event(Fence(6), verdict);
        check(&row, 0, |_| (), &stale, "stale stale stale stale stale stale");
    }
}

#[test]
fn the_last_failure_and_the_last_crash_give_up() {
    let finished = |state: &str| format!("already already already >{state} already already");
    let last = |record: &mut Record| record.failures = record.max_retries.unsigned_abs();
    for delay in [0, 500] {
        check("last failure", 0, last, &finish_event(Fence(7), failed(delay)), &finished("given_up"));
    }
    let endless = |record: &mut Record| (record.failures, record.max_retries) = (1_000_000, -1);
    check("endless", 0, endless, &finish_event(Fence(7), failed(500)), &finished("retrying"));
    let last = |record: &mut Record| record.crashes = record.max_crashes - 1;
    check("last crash alone", LEASE, last, &Event::LeaseGone { alone: true }, ". . . >given_up . .");
    check("last crash in company", LEASE, last, &Event::LeaseGone { alone: false }, ". . . >queued . .");
    let shared = |record: &mut Record| record.crashes = limits::SHARED_CRASHES - 1;
    check("last shared crash", LEASE, shared, &Event::LeaseGone { alone: false }, ". . . >given_up . .");
    let asked = |record: &mut Record| record.cancel = Some("me".into());
    check("stopping", LEASE, asked, &Event::LeaseGone { alone: true }, ". . . >stopped . .");
}
