//! The searches: those that every test run makes, and the long one.

use super::plan::{Fault, Plan};
use super::system::Ending;

const EVERY_ENDING: [Ending; 4] = [Ending::Succeeded, Ending::Failed, Ending::FailedNow, Ending::Released];

/// Every fault but a wipe of the store.
const STEADY: [Fault; 12] = [
    Fault::Worker,
    Fault::Sender,
    Fault::Duty,
    Fault::Pause,
    Fault::Cut,
    Fault::Blip,
    Fault::Reply,
    Fault::Duplicate,
    Fault::Slow,
    Fault::Broker,
    Fault::Clock,
    Fault::Control,
];

/// A wipe of the store, and what may happen beside it. Not: a loss of the broker's copies, a clock that jumps back, and
/// a stop. What those cost together with a wipe is written in the manual.
const WIPED: [Fault; 10] = [
    Fault::Wipe,
    Fault::Worker,
    Fault::Sender,
    Fault::Duty,
    Fault::Pause,
    Fault::Cut,
    Fault::Blip,
    Fault::Reply,
    Fault::Duplicate,
    Fault::Slow,
];

/// Two jobs with one unique key.
#[must_use]
pub fn two_jobs() -> Plan {
    Plan { name: "two", about: "two jobs with a unique key", jobs: 2, retries: 0, messages: 2, ..Plan::plain() }
}

/// Two jobs beside each other in one instance, with so many crashes behind them, of which the first takes its process
/// down up to so many times more.
#[must_use]
pub fn beside(crashes: u8, times: u8) -> Plan {
    Plan {
        name: "beside",
        about: "two jobs beside each other; one takes its process down",
        jobs: 2,
        keyed: false,
        crashes,
        one_instance: true,
        endings: vec![Ending::Succeeded],
        purges: false,
        messages: 2,
        faults: vec![(Fault::Poison, times)],
        total: times,
        ..Plan::plain()
    }
}

/// Searches that are small enough for every test run, together with those of the mutants.
#[must_use]
pub fn short() -> Vec<Plan> {
    let plain = Plan { messages: 2, ..Plan::plain() };
    let put_off = vec![Ending::Succeeded, Ending::Snoozed];
    vec![
        Plan { name: "plain", ..plain.clone() },
        Plan { name: "full", about: "every ending, swaps, two at the duties; no fault", ..full() },
        Plan {
            name: "delayed",
            about: "starts later, and is put off",
            delayed: true,
            endings: put_off,
            releases: 1,
            ..plain.clone()
        },
        Plan { messages: 2, ..one_instance() },
        Plan { name: "any-fault", about: "any one fault but a wipe", ..plain.clone() }.with(1, &STEADY),
        Plan { name: "wipe-and-crash", about: "a wipe and a crash", ..plain.with(2, &[Fault::Wipe, Fault::Worker]) },
        Plan { name: "two", ..two_jobs() },
        beside(2, 2),
    ]
}

/// One job with everything that the protocol has.
fn full() -> Plan {
    Plan { duties: 2, endings: EVERY_ENDING.to_vec(), releases: 1, swaps: true, runs_here: true, ..Plan::plain() }
}

/// The searches of the long run. Each is as large as the bound of states allows.
#[must_use]
pub fn long() -> Vec<Plan> {
    use Fault::{Blip, Control, Duty, Pause, Poison, Reply, Sender, Wipe, Worker};
    vec![
        Plan { name: "steady-2", about: "two faults of every kind but a wipe", ..Plan::plain() }.with(2, &STEADY),
        Plan { name: "wiped-2", about: "a wipe and one more fault, or two others", ..Plan::plain() }.with(2, &WIPED),
        Plan { name: "wiped-3", about: "a wipe and two more faults", ..Plan::plain() }
            .with(3, &[Wipe, Worker, Blip, Pause, Duty]),
        Plan { name: "full-1", about: "every ending, swaps, two at the duties; one fault", ..full() }.with(1, &STEADY),
        Plan { name: "full-wiped-2", about: "the same with a wipe and one more fault", ..full() }
            .with(2, &[Wipe, Worker, Pause, Reply]),
        Plan { name: "one-instance-1", about: "two slots of one instance; one fault", ..one_instance() }
            .with(1, &STEADY),
        Plan { name: "two-1", about: "two jobs with a unique key; one fault", ..two_jobs() }
            .with(1, &[Worker, Sender, Pause, Blip, Reply, Control, Wipe]),
        Plan {
            name: "beside-1",
            about: "two jobs beside each other, one takes its process down; one more fault",
            faults: vec![(Poison, 4), (Blip, 1), (Sender, 1), (Duty, 1)],
            total: 5,
            ..beside(0, 4)
        },
    ]
}

fn one_instance() -> Plan {
    Plan { name: "one-instance", about: "two slots of one instance", one_instance: true, ..Plan::plain() }
}
