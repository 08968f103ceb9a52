//! What a search is about: what its jobs ask for, what their handlers do, and what may go wrong.

use super::super::system::Ending;
use super::system::{Fault, Left};
use longshore_model::Priority;
use longshore_model::gate::{OnFailure, Over, WhenFull};
use longshore_model::unique::UniqueMode;

/// What a job asks for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask {
    /// Its order.
    pub order: Option<u8>,
    /// Its limits, first come first.
    pub limits: &'static [u8],
    /// On whose behalf it waits for a limit.
    pub turn: u8,
    /// How much it presses.
    pub priority: Priority,
    /// Its topic.
    pub topic: u8,
    /// Whether it has the unique key, and how.
    pub unique: Option<UniqueMode>,
    /// Whether it is accepted with a delay.
    pub late: bool,
}

/// How many may wait in the queue of all jobs.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    /// How many.
    pub max: u8,
    /// What becomes of one more.
    pub full: WhenFull,
}

/// A search.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// What its jobs ask for.
    pub asks: Vec<Ask>,
    /// What limits allow at once.
    pub max: u8,
    /// What becomes of a job that a limit does not let through.
    pub over: Over,
    /// How many may wait.
    pub length: Option<Length>,
    /// What a final failure does to an order.
    pub on_failure: OnFailure,
    /// What handlers may do.
    pub endings: Vec<Ending>,
    /// Failures that are allowed before the last one.
    pub retries: i32,
    /// The crash that gives a job up.
    pub max_crashes: u32,
    /// How often each may happen, in the order of [`Fault`].
    pub faults: Left,
}

impl Plan {
    /// Jobs that ask for this, one try each, nothing goes wrong.
    #[must_use]
    pub fn of(name: &'static str, about: &'static str, asks: Vec<Ask>) -> Self {
        Self {
            name,
            about,
            asks,
            max: 1,
            over: Over::Wait,
            length: None,
            on_failure: OnFailure::Continue,
            endings: vec![Ending::Succeeded],
            retries: 0,
            max_crashes: 3,
            faults: Left::default(),
        }
    }

    /// The same, with faults.
    #[must_use]
    pub fn with(mut self, faults: &[(Fault, u8)]) -> Self {
        for (fault, times) in faults {
            self.faults[*fault as usize] = *times;
        }
        self
    }

    /// The same, with handlers that fail once, and are called again later, or at once.
    #[must_use]
    pub fn failing(self) -> Self {
        Self { endings: vec![Ending::Succeeded, Ending::Failed, Ending::FailedNow], retries: 1, ..self }
    }
}

const ORDERED: Ask =
    Ask { order: Some(0), limits: &[], turn: 0, priority: Priority::Normal, topic: 0, unique: None, late: false };
const LIMITED: Ask = Ask { order: None, limits: &[0], ..ORDERED };

/// Jobs of one order.
#[must_use]
pub fn ordered(jobs: usize) -> Plan {
    Plan::of("order", "jobs of one order", vec![ORDERED; jobs])
}

/// Jobs of one limit.
#[must_use]
pub fn limited(jobs: usize) -> Plan {
    Plan::of("limit", "jobs of one limit", vec![LIMITED; jobs])
}

/// Two jobs that take two limits in opposite order.
#[must_use]
pub fn crossed() -> Plan {
    let (one, other) = (Ask { limits: &[0, 1], ..LIMITED }, Ask { limits: &[1, 0], ..LIMITED });
    Plan::of("crossed", "jobs that need the same two limits", vec![one, other, Ask { limits: &[1], ..LIMITED }])
}

/// Three jobs of one turn, and one of another.
#[must_use]
pub fn turns() -> Plan {
    let other = Ask { turn: 1, ..LIMITED };
    Plan::of("turns", "three jobs of one turn and one of another", vec![LIMITED, LIMITED, LIMITED, other])
}

/// Jobs of one order that also need a limit.
#[must_use]
pub fn mixed() -> Plan {
    let both = Ask { limits: &[0], ..ORDERED };
    Plan::of("mixed", "an order and a limit", vec![both, both, Ask { topic: 1, ..LIMITED }])
}

/// Jobs of one unique key.
#[must_use]
pub fn keyed(mode: UniqueMode, jobs: usize) -> Plan {
    let (order, late) = ((mode == UniqueMode::Latest).then_some(0), mode == UniqueMode::Debounce);
    let name = mode.as_str();
    Plan::of(name, "jobs of one unique key", vec![Ask { order, unique: Some(mode), late, ..Ask::default() }; jobs])
}

/// Jobs of a queue in which so many may wait.
#[must_use]
pub fn bounded(jobs: usize, max: u8, full: WhenFull) -> Plan {
    let about = "jobs of a queue with a longest length";
    Plan { length: Some(Length { max, full }), ..Plan::of("length", about, vec![Ask::default(); jobs]) }
}

const FATAL: [Ending; 2] = [Ending::Succeeded, Ending::Fatal];

/// Jobs of an order that halts.
#[must_use]
pub fn halting(jobs: usize) -> Plan {
    let about = "an order that halts after a final failure";
    Plan { on_failure: OnFailure::Halt, endings: FATAL.into(), ..Plan::of("halt", about, vec![ORDERED; jobs]) }
}

/// Jobs of an order that skips.
#[must_use]
pub fn skipping(jobs: usize) -> Plan {
    let about = "an order that skips after a final failure";
    Plan { on_failure: OnFailure::Skip, endings: FATAL.into(), ..Plan::of("skip", about, vec![ORDERED; jobs]) }
}

/// Jobs of one limit that press more and less.
#[must_use]
pub fn pressing(classes: &[Priority]) -> Plan {
    let asks = classes.iter().map(|priority| Ask { priority: *priority, ..LIMITED }).collect();
    Plan::of("press", "jobs of one limit, which press more and less", asks)
}

const CLASSES: [Priority; 4] = [Priority::Normal, Priority::Low, Priority::Normal, Priority::Urgent];

/// Jobs of one order that press more and less.
#[must_use]
pub fn pressing_in_order() -> Plan {
    let asks = vec![ORDERED, ORDERED, Ask { priority: Priority::Urgent, ..ORDERED }];
    Plan::of("press-order", "jobs of one order, which press more and less", asks)
}

/// A job that fails in several ways.
#[must_use]
pub fn tried() -> Plan {
    let endings = vec![Ending::Succeeded, Ending::FailedNow, Ending::FailedAs(1), Ending::FailedInTime];
    Plan { endings, retries: 2, ..Plan::of("tries", "a job with rules for its failures", vec![Ask::default()]) }
}

/// Searches that are small enough for every test run, together with those of the mutants.
#[must_use]
pub fn short() -> Vec<Plan> {
    use Fault::{Age, Control, Crash, Lease, Limit, Pause};
    let mut plans = vec![
        bounded(3, 1, WhenFull::Refuse).failing().with(&[(Crash, 1), (Control, 1)]),
        Plan { name: "length-drop", ..bounded(4, 2, WhenFull::DropOldest).failing().with(&[(Crash, 1)]) },
        Plan { max_crashes: 1, ..halting(3).with(&[(Crash, 1), (Control, 1), (Pause, 1)]) },
        Plan { max_crashes: 1, ..skipping(3).with(&[(Crash, 1), (Control, 1)]) },
        pressing(&CLASSES).with(&[(Age, 2), (Control, 1)]),
        pressing_in_order().with(&[(Age, 1)]),
        tried().with(&[(Crash, 1), (Control, 1)]),
        ordered(3).failing().with(&[(Crash, 1), (Control, 1)]),
        Plan { name: "order-lease", ..ordered(2).failing().with(&[(Lease, 1), (Pause, 1)]) },
        Plan { max: 2, ..limited(3).failing().with(&[(Crash, 1), (Control, 1), (Limit, 1)]) },
        Plan { name: "refuse", over: Over::Refuse, ..limited(3).failing() },
        Plan { name: "replace", over: Over::Replace, ..limited(3).with(&[(Crash, 1)]) },
        crossed().failing().with(&[(Crash, 1)]),
        turns(),
        mixed().with(&[(Crash, 1), (Pause, 1), (Limit, 1)]),
    ];
    plans.extend(UniqueMode::ALL.map(|mode| keyed(mode, 3).failing().with(&[(Crash, 1), (Control, 1)])));
    plans
}

/// What random walks go through beside a store: nothing in it needs time to pass.
#[must_use]
pub fn walks() -> Vec<Plan> {
    use Fault::{Age, Control, Limit, Pause};
    let calm = |plan: Plan| Plan {
        endings: vec![Ending::Succeeded, Ending::FailedNow, Ending::Fatal],
        retries: 1,
        ..plan.with(&[(Control, 2), (Pause, 2), (Limit, 2)])
    };
    let limited = limited(4);
    vec![
        calm(ordered(4)),
        calm(Plan { max: 2, ..limited.clone() }),
        calm(Plan { over: Over::Refuse, ..limited.clone() }),
        calm(Plan { over: Over::Replace, ..limited }),
        calm(crossed()),
        calm(turns()),
        calm(mixed()),
        calm(bounded(4, 1, WhenFull::Refuse)),
        calm(bounded(4, 2, WhenFull::DropOldest)),
        calm(halting(4)),
        calm(skipping(4)),
        calm(pressing(&CLASSES)).with(&[(Age, 2)]),
        calm(pressing_in_order()).with(&[(Age, 1)]),
        Plan { endings: vec![Ending::Succeeded, Ending::FailedNow, Ending::FailedAs(1)], ..tried() },
        calm(keyed(UniqueMode::UntilStarted, 4)),
        calm(keyed(UniqueMode::UntilFinished, 4)),
        calm(keyed(UniqueMode::Latest, 4)),
    ]
}

/// The searches of the long run.
#[must_use]
pub fn long() -> Vec<Plan> {
    use Fault::{Age, Control, Crash, Lease, Limit, Pause};
    let every = [(Crash, 1), (Lease, 1), (Control, 1), (Pause, 1), (Limit, 1)];
    let (ordered, limited, crossed, mixed) = (ordered(4).failing(), limited(4).failing(), crossed(), mixed().failing());
    let named = |mode, name| Plan { name, ..keyed(mode, 4).failing().with(&every) };
    vec![
        Plan { name: "order-4", max_crashes: 2, ..ordered.with(&every) },
        Plan { name: "limit-4", max: 2, max_crashes: 2, ..limited.with(&every) },
        Plan { name: "crossed-3", max_crashes: 2, ..crossed.failing().with(&every) },
        Plan { name: "turns-4", ..turns().failing().with(&every) },
        Plan { name: "length-4", ..bounded(4, 2, WhenFull::Refuse).failing().with(&every) },
        Plan { name: "length-drop-4", ..bounded(4, 2, WhenFull::DropOldest).failing().with(&every) },
        Plan { name: "halt-4", max_crashes: 2, ..halting(4).with(&every) },
        Plan { name: "skip-4", max_crashes: 2, ..skipping(4).with(&every) },
        Plan { name: "press-4", ..pressing(&CLASSES).failing().with(&every).with(&[(Age, 2)]) },
        Plan { name: "mixed-3", max_crashes: 2, ..mixed.with(&every) },
        named(UniqueMode::UntilStarted, "until_started-4"),
        named(UniqueMode::UntilFinished, "until_finished-4"),
        named(UniqueMode::Period, "period-4"),
        named(UniqueMode::Debounce, "debounce-4"),
        named(UniqueMode::Latest, "latest-4"),
    ]
}
