//! Known mistakes, most of them made by well-known systems. The search has to find each one: if it does not, it is
//! the search that is wrong.

use super::cases;
use super::plan::{Fault, Plan};
use super::property::Property;
use super::system::Ending;

/// One mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// A result counts if the job is active, whoever offers it.
    CommitWithoutFence,
    /// A delivery may start a job that somebody else runs.
    ClaimTakesOver,
    /// A due job is taken out of the store, and put back as runnable in a second step.
    PopThenPush,
    /// The broker drops what was delivered to a process that dies, and nobody takes jobs back.
    BrokerDropsOnCrash,
    /// Purged jobs leave no tombstone, and unknown ids are rebuilt.
    NoTombstone,
    /// The sender publishes before it tells the store, which therefore has no outbox; consumers drop what nobody knows.
    PublishFirst,
    /// A confirm removes the outbox entry whatever generation it is for.
    MarkAnyGeneration,
    /// Nobody compares the store with the broker.
    NoReconciler,
    /// A message is acknowledged when its job is claimed, and nobody takes jobs back.
    EarlyAck,
    /// Jobs are accepted without an outbox entry. The reconciler heals it, so nothing accepted is lost: the outbox
    /// rule itself has to show it.
    EnqueueWithoutOutbox,
    /// A retry is stored without a copy in the broker.
    RetryWithoutCopy,
    /// A refused commit acknowledges.
    AckOnStale,
    /// A delivery that was held long is acknowledged without a copy in its place.
    SwapWithoutCopy,
    /// A message of a job that runs elsewhere is acknowledged.
    AckOnBusy,
    /// A message of a job that waits in the store is acknowledged, even if it may be the only one.
    AckOnWaiting,
    /// A message older than the record is acknowledged before the newer one is confirmed.
    AckOnOutdated,
    /// A message is acknowledged when the handler has ended, before the commit.
    AckBeforeCommit,
    /// A job that runs again at once is acknowledged before it is published again.
    AckBeforePublish,
    /// Attempts are taken back without a look at their lease.
    RescueWithoutLeaseCheck,
    /// Taking an attempt back leaves its fence as it is.
    FenceKeptAtRescue,
    /// A fence is the store's clock, and nothing else.
    FenceFromClock,
    /// Copies do not carry the fence.
    CopyWithoutFence,
    /// A job enters `queued` without a new generation.
    GenerationKept,
    /// A due job becomes runnable without an outbox entry.
    PromoteWithoutOutbox,
    /// The outbox entry goes before the publish is confirmed.
    MarkBeforeConfirm,
    /// A claim whose answer was lost is not recognised.
    ClaimNotRepeatable,
    /// A claim is recognised by its instance, whatever delivery it is for.
    ClaimWithoutNonce,
    /// An instance that cannot reach the store lets its handlers run on.
    NoSelfFence,
    /// The unique key is not asked.
    KeyNotAsked,
    /// The unique key is asked before the id.
    KeyAskedFirst,
    /// A job that is given up after a crash keeps its unique key.
    KeyKept,
    /// A job whose processes went away runs beside others all the same.
    SuspectAnywhere,
    /// An instance starts others beside a suspect.
    CompanyForSuspects,
    /// Whoever ran in a process that went away is blamed.
    BlameAnybody,
    /// Nobody remembers who ran in a process once they were taken back.
    CompanyForgotten,
}

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
    pub const ALL: [Self; 35] = [
        Self::CommitWithoutFence,
        Self::ClaimTakesOver,
        Self::PopThenPush,
        Self::BrokerDropsOnCrash,
        Self::NoTombstone,
        Self::PublishFirst,
        Self::MarkAnyGeneration,
        Self::NoReconciler,
        Self::EarlyAck,
        Self::EnqueueWithoutOutbox,
        Self::RetryWithoutCopy,
        Self::AckOnStale,
        Self::SwapWithoutCopy,
        Self::AckOnBusy,
        Self::AckOnWaiting,
        Self::AckOnOutdated,
        Self::AckBeforeCommit,
        Self::AckBeforePublish,
        Self::RescueWithoutLeaseCheck,
        Self::FenceKeptAtRescue,
        Self::FenceFromClock,
        Self::CopyWithoutFence,
        Self::GenerationKept,
        Self::PromoteWithoutOutbox,
        Self::MarkBeforeConfirm,
        Self::ClaimNotRepeatable,
        Self::ClaimWithoutNonce,
        Self::NoSelfFence,
        Self::KeyNotAsked,
        Self::KeyAskedFirst,
        Self::KeyKept,
        Self::SuspectAnywhere,
        Self::CompanyForSuspects,
        Self::BlameAnybody,
        Self::CompanyForgotten,
    ];

    /// The smallest plan that shows it, and what it breaks there.
    #[must_use]
    pub fn trial(self) -> Trial {
        use Fault::{Blip, Broker, Clock, Duplicate, Duty, Pause, Reply, Sender, Wipe, Worker};
        use Property::{
            AckRule, Blame, Fenced, FencesGrow, Innocent, KeyFreed, Kills, NoLoss, NoOverlap, NoRunAfterEnd, Outbox,
            Unique,
        };
        let plain = Plan::plain();
        let two = cases::two_jobs();
        // A loss is known when everything after it is known: these are as small as they can be.
        let bare = Plan { endings: vec![Ending::Succeeded], purges: false, messages: 2, ..Plan::plain() };
        let failing = Plan { endings: vec![Ending::Failed], ..bare.clone() };
        let (plan, breaks) = match self {
            Self::CommitWithoutFence | Self::FenceKeptAtRescue => (plain.with(1, &[Pause]), Fenced),
            Self::ClaimTakesOver => (plain.with(1, &[Duplicate]), NoOverlap),
            Self::PopThenPush => (Plan { slots: 1, ..failing.with(1, &[Duty]) }, NoLoss),
            Self::BrokerDropsOnCrash | Self::EarlyAck => (bare.with(1, &[Worker]), NoLoss),
            Self::NoTombstone => (plain.with(1, &[Duplicate]), NoRunAfterEnd),
            Self::PublishFirst => (bare, NoLoss),
            Self::MarkAnyGeneration | Self::GenerationKept | Self::PromoteWithoutOutbox => (plain, Outbox),
            Self::NoReconciler => (bare.with(1, &[Broker]), NoLoss),
            Self::EnqueueWithoutOutbox | Self::MarkBeforeConfirm => (plain.with(1, &[Sender]), Outbox),
            Self::RetryWithoutCopy => (failing.with(1, &[Wipe]), NoLoss),
            Self::AckOnStale => (bare.with(1, &[Pause]), AckRule),
            Self::SwapWithoutCopy => (Plan { swaps: true, ..bare.with(2, &[Worker, Wipe]) }, NoLoss),
            Self::AckOnBusy => (bare.with(1, &[Blip]), AckRule),
            Self::AckOnWaiting => (Plan { slots: 1, ..failing.with(1, &[Wipe]) }, NoLoss),
            Self::AckOnOutdated => (bare.with(1, &[Worker]), AckRule),
            Self::AckBeforeCommit => (plain, AckRule),
            Self::AckBeforePublish => (Plan { endings: vec![Ending::FailedNow], ..plain }, AckRule),
            Self::RescueWithoutLeaseCheck => (plain, NoOverlap),
            Self::FenceFromClock => (plain.with(1, &[Clock]), FencesGrow),
            Self::CopyWithoutFence => (Plan { slots: 1, ..plain.with(2, &[Clock, Wipe]) }, FencesGrow),
            Self::ClaimNotRepeatable => (plain.with(1, &[Reply]), Blame),
            Self::ClaimWithoutNonce => (Plan { one_instance: true, ..plain.with(1, &[Duplicate]) }, NoOverlap),
            Self::NoSelfFence => (plain.with(1, &[Fault::Cut]), NoOverlap),
            Self::KeyNotAsked => (two, Unique),
            Self::KeyAskedFirst => (two.with(1, &[Reply]), Unique),
            Self::KeyKept => (Plan { max_crashes: 1, ..two.with(1, &[Worker]) }, KeyFreed),
            Self::SuspectAnywhere | Self::CompanyForSuspects => (cases::beside(2, 2), Kills),
            Self::BlameAnybody | Self::CompanyForgotten => (Plan { max_crashes: 1, ..cases::beside(0, 1) }, Innocent),
        };
        Trial { plan, breaks }
    }
}
