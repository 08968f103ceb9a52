//! Known mistakes with gates and keys. The search has to find each one.

use super::plan::{self, Plan};
use super::property::Property;
use super::system::Fault;
use longshore_model::Priority as Class;
use longshore_model::gate::{Over, WhenFull};
use longshore_model::unique::UniqueMode;

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// Whoever comes takes the order.
    OrderNotAsked,
    /// A job that failed and waits for its next attempt lets the next one of its order pass.
    OrderFreedByFailure,
    /// A lease that ends frees the order.
    OrderFreedByRescue,
    /// A job that is given up after a crash keeps its order.
    OrderKeptByTheDead,
    /// Nobody looks at the line of an order whose holder was removed.
    OrderNotWokenByRemoval,
    /// The last who came is let through first.
    LastInFirstOut,
    /// A limit is compared with `>` where `>=` is meant.
    LimitHasRoomForOneMore,
    /// A job whose lease ended is counted for ever.
    LimitKeptByTheDead,
    /// A job that waits for its next attempt is still counted.
    LimitKeptByFailure,
    /// A job that a pause took back is still counted.
    LimitKeptByPause,
    /// A stop makes room in a limit, and nobody looks at its line.
    LimitNotWokenByStop,
    /// A limit is taken before the next one is asked.
    LimitsOneAfterTheOther,
    /// What was queued before a limit was set is not counted when it starts.
    LimitNotAskedByClaims,
    /// What runs when a limit is set is not counted.
    RunningNotCounted,
    /// A result that comes too late frees the limit of the attempt that runs.
    StaleFinishFrees,
    /// The turn that was let through stays the first.
    TurnsNotTaken,
    /// Where the newest replaces those that wait, they stay.
    ReplaceNobody,
    /// What was queued before the pause starts all the same.
    PauseNotAskedByClaims,
    /// Nobody looks at the line of a pause that ended.
    PauseEndsUnseen,
    /// A queue takes whatever comes.
    LengthNotAsked,
    /// What runs counts in the length of its queue.
    RunningWaits,
    /// What waits for its next attempt does not count in the length of its queue.
    RetriesDoNotWait,
    /// The newest is dropped from a full queue.
    NewestDisplaced,
    /// A final failure does not halt its order.
    NothingHalts,
    /// A job that is given up after a crash has not failed.
    CrashIsNoFailure,
    /// What people stop has failed.
    StopIsFailure,
    /// Nobody behind a final failure is dropped.
    NobodySkipped,
    /// The next one behind a final failure is dropped, and no more.
    OneSkipped,
    /// A job that is tried again has failed for good.
    EveryFailureIsFinal,
    /// Whoever came first is let through first.
    PriorityNotAsked,
    /// Whoever presses more is let through first, however long others wait.
    NobodyAges,
    /// Whoever presses more goes first in an order, too.
    OrdersPress,
    /// A failure is told without its kind and its time for retries.
    TermsNotSent,
    /// A job that is taken back from a dead instance begins to count its failures by kind anew.
    KindForgottenByRescue,
    /// The time for retries is looked at when an attempt fails, and not when one is claimed.
    TimeNotAskedByClaims,
    /// The unique key is not asked.
    KeyNotAsked,
    /// A key until the start is kept until the end.
    KeyKeptByStart,
    /// A key until the end is free at the start.
    KeyFreedByStart,
    /// A job that is removed keeps its key.
    KeyKeptByRemoval,
    /// A key for a period is free when its job has ended.
    PeriodEndsWithItsJob,
    /// A second job is answered with the first one, whose payload stays.
    OldestPayloadStays,
    /// A second job replaces the payload, and the time goes on.
    TimeStays,
}

/// The fewest that show who goes first.
const CLASSES: [Class; 3] = [Class::Normal, Class::Normal, Class::Urgent];

/// What shows a mutant.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The search.
    pub plan: Plan,
    /// What it breaks.
    pub breaks: Property,
}

impl Mutant {
    /// Every one.
    pub const ALL: [Self; 42] = [
        Self::OrderNotAsked,
        Self::OrderFreedByFailure,
        Self::OrderFreedByRescue,
        Self::OrderKeptByTheDead,
        Self::OrderNotWokenByRemoval,
        Self::LastInFirstOut,
        Self::LimitHasRoomForOneMore,
        Self::LimitKeptByTheDead,
        Self::LimitKeptByFailure,
        Self::LimitKeptByPause,
        Self::LimitNotWokenByStop,
        Self::LimitsOneAfterTheOther,
        Self::LimitNotAskedByClaims,
        Self::RunningNotCounted,
        Self::StaleFinishFrees,
        Self::TurnsNotTaken,
        Self::ReplaceNobody,
        Self::PauseNotAskedByClaims,
        Self::PauseEndsUnseen,
        Self::LengthNotAsked,
        Self::RunningWaits,
        Self::RetriesDoNotWait,
        Self::NewestDisplaced,
        Self::NothingHalts,
        Self::CrashIsNoFailure,
        Self::StopIsFailure,
        Self::NobodySkipped,
        Self::OneSkipped,
        Self::EveryFailureIsFinal,
        Self::PriorityNotAsked,
        Self::NobodyAges,
        Self::OrdersPress,
        Self::TermsNotSent,
        Self::KindForgottenByRescue,
        Self::TimeNotAskedByClaims,
        Self::KeyNotAsked,
        Self::KeyKeptByStart,
        Self::KeyFreedByStart,
        Self::KeyKeptByRemoval,
        Self::PeriodEndsWithItsJob,
        Self::OldestPayloadStays,
        Self::TimeStays,
    ];

    /// The smallest plan that shows it, and what it breaks there.
    #[must_use]
    pub fn trial(self) -> Trial {
        use Fault::{Age, Control, Crash, Lease, Limit, Pause};
        use Property::{
            Halted, Held, Idle, KeyFreed, Length, Newest, NoLoss, Oldest, Order, Paused, Priority, Replaced, Retries,
            RetryTime, Skipped, Turns, Unique,
        };
        use WhenFull::{DropOldest, Refuse};
        let (ordered, limited) = (plan::ordered(2), plan::limited(2));
        let given_up = |plan: Plan| Plan { max_crashes: 1, ..plan.with(&[(Crash, 1)]) };
        let key = |mode| plan::keyed(mode, 2);
        let (plan, breaks) = match self {
            Self::OrderNotAsked => (ordered, Order),
            Self::OrderFreedByFailure => (ordered.failing(), Order),
            Self::OrderFreedByRescue => (ordered.with(&[(Crash, 1)]), Order),
            Self::OrderKeptByTheDead => (given_up(ordered), NoLoss),
            Self::OrderNotWokenByRemoval => (ordered.with(&[(Control, 1)]), Idle),
            Self::LastInFirstOut => (plan::ordered(3), Order),
            Self::LimitHasRoomForOneMore => (limited, Property::Limit),
            Self::LimitKeptByTheDead => (given_up(limited), NoLoss),
            Self::LimitKeptByFailure => (limited.failing(), Held),
            Self::LimitKeptByPause => (limited.with(&[(Pause, 1)]), Held),
            Self::LimitNotWokenByStop => (limited.with(&[(Control, 1)]), Idle),
            Self::LimitsOneAfterTheOther => (plan::crossed(), Held),
            Self::RunningNotCounted => (plan::limited(2).with(&[(Limit, 2)]), Property::Limit),
            Self::LimitNotAskedByClaims => (limited.with(&[(Limit, 2)]), Property::Limit),
            Self::StaleFinishFrees => (limited.with(&[(Lease, 1)]), Property::Limit),
            Self::TurnsNotTaken => (plan::turns(), Turns),
            Self::ReplaceNobody => (Plan { over: Over::Replace, ..plan::limited(3) }, Replaced),
            Self::PauseNotAskedByClaims => (ordered.with(&[(Pause, 1)]), Paused),
            Self::PauseEndsUnseen => (limited.with(&[(Pause, 1)]), Idle),
            Self::LengthNotAsked | Self::RunningWaits => (plan::bounded(2, 1, Refuse), Length),
            Self::RetriesDoNotWait => (plan::bounded(2, 1, Refuse).failing(), Length),
            Self::NewestDisplaced => (plan::bounded(3, 2, DropOldest), Oldest),
            Self::NothingHalts => (plan::halting(2), Halted),
            Self::CrashIsNoFailure => (given_up(plan::halting(2)), Halted),
            Self::StopIsFailure => (plan::halting(2).with(&[(Control, 1)]), Halted),
            Self::NobodySkipped => (plan::skipping(2), Skipped),
            Self::OneSkipped => (plan::skipping(3), Skipped),
            Self::EveryFailureIsFinal => (plan::skipping(2).failing(), Skipped),
            Self::PriorityNotAsked | Self::NobodyAges => (plan::pressing(&CLASSES).with(&[(Age, 1)]), Priority),
            Self::OrdersPress => (plan::pressing_in_order(), Order),
            Self::TermsNotSent => (plan::tried(), Retries),
            Self::KindForgottenByRescue => (plan::tried().with(&[(Crash, 1)]), Retries),
            Self::TimeNotAskedByClaims => (plan::tried(), RetryTime),
            Self::KeyNotAsked => (key(UniqueMode::Latest), Unique),
            Self::KeyFreedByStart => (key(UniqueMode::UntilFinished), Unique),
            Self::KeyKeptByRemoval => (key(UniqueMode::UntilFinished).with(&[(Control, 1)]), KeyFreed),
            Self::PeriodEndsWithItsJob => (key(UniqueMode::Period), Unique),
            Self::KeyKeptByStart | Self::OldestPayloadStays => (key(UniqueMode::Latest), Newest),
            Self::TimeStays => (key(UniqueMode::Debounce), Newest),
        };
        Trial { plan, breaks }
    }
}
