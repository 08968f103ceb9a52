//! Random operations on a store, each compared with the model's transition function.
//!
//! [`steps`] makes short sequences for proptest; [`check`] runs one on a store. Before each step the
//! store's clock is read, and after it again: whatever the store did, it did in between, so the model
//! is asked for both moments and every time and fence must lie between its two answers; everything
//! else must be equal. Spans are either over before the next step begins or longer than any
//! sequence, so that no guard depends on the moment.

mod agree;
mod model;

use self::model::{Model, TOPICS};
use crate::connect::Link;
use crate::store::{Query, Store};
use longshore_model::record::State;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

/// How many jobs, and how many consumers, a sequence is about.
const JOBS: usize = 3;
const OWNERS: usize = 2;

/// A span that is over before the next step.
const SHORT: u64 = 1;
/// A span that is not over when the sequence is.
const LONG: u64 = 3_600_000;

/// One operation. Jobs and owners are numbers, taken modulo how many there are.
#[derive(Debug, Clone)]
pub enum Step {
    /// Accept: delayed or not, with an expiry or without, with so many retries.
    Enqueue {
        job: usize,
        delay: Span,
        expires: Span,
        retries: i32,
    },
    /// Claim a delivery, of a copy of the current generation, of the one before or of none, to run it alone or not.
    Claim {
        job: usize,
        owner: usize,
        delivery: u8,
        copy: Copied,
        lease: Span,
        alone: bool,
    },
    /// As a claim, with the envelope.
    Rebuild {
        job: usize,
        owner: usize,
        delivery: u8,
        lease: Span,
    },
    /// Offer an attempt that the store may have lost: with the fence that it knows, or with a newer one.
    Adopt {
        job: usize,
        owner: usize,
        ahead: bool,
        lease: Span,
    },
    /// Renew every active job of an owner, or one with a stale fence.
    Renew {
        owner: usize,
        stale: bool,
        lease: Span,
    },
    /// End an attempt, the current one or one before.
    Finish {
        job: usize,
        stale: bool,
        verdict: End,
    },
    /// End an attempt by its token: the right one, one of another delivery, or one before.
    Complete {
        job: usize,
        stale: bool,
        delivery: u8,
        mark: u8,
        verdict: End,
    },
    /// Confirm the publish of the current generation, or of one before.
    Published {
        job: usize,
        stale: bool,
    },
    /// The duties.
    Rescue,
    Promote,
    Outbox,
    /// The broker lost the copies of one topic, some or all.
    Republish {
        topic: usize,
        copies: Option<u64>,
    },
    Purge,
    /// Another incarnation of an owner's instance proves its death.
    Bury {
        owner: usize,
    },
    Stop {
        job: usize,
    },
    Remove {
        job: usize,
    },
}

/// A span of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// None.
    None,
    /// Over before the next step.
    Short,
    /// Longer than the sequence.
    Long,
}

impl Span {
    const fn ms(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Short => Some(SHORT),
            Self::Long => Some(LONG),
        }
    }
}

/// Which generation a copy carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// None: a foreign client's.
    Nothing,
    /// The record's.
    Current,
    /// One before the record's.
    Old,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Succeeded,
    Failed(Span),
    /// With a kind, and perhaps with retries of that kind and a time for retries.
    Ruled {
        delay: Span,
        kind: u8,
        retries: Option<i32>,
        time: Span,
    },
    Fatal,
    Released(Span),
}

/// Sequences of up to `most` steps.
pub fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..=most)
}

fn step() -> impl Strategy<Value = Step> {
    let job = || 0..JOBS;
    let owner = || 0..OWNERS;
    let maybe = || prop_oneof![3 => Just(Span::None), 1 => Just(Span::Short), 1 => Just(Span::Long)];
    let lease = || prop_oneof![1 => Just(Span::Short), 2 => Just(Span::Long)];
    let copy = prop_oneof![2 => Just(Copied::Nothing), 3 => Just(Copied::Current), 1 => Just(Copied::Old)];
    let end = prop_oneof![
        2 => Just(End::Succeeded),
        3 => maybe().prop_map(End::Failed),
        2 => (maybe(), 0..2_u8, prop::option::of(0..3_i32), maybe())
            .prop_map(|(delay, kind, retries, time)| End::Ruled { delay, kind, retries, time }),
        1 => Just(End::Fatal),
        2 => maybe().prop_map(End::Released),
    ];
    let told = prop_oneof![Just(End::Succeeded), maybe().prop_map(End::Failed), Just(End::Fatal)];
    let stale = || prop::bool::weighted(0.2);
    prop_oneof![
        6 => (job(), maybe(), maybe(), -1..3_i32)
            .prop_map(|(job, delay, expires, retries)| Step::Enqueue { job, delay, expires, retries }),
        8 => (job(), owner(), 0..3_u8, copy, lease(), prop::bool::weighted(0.7)).prop_map(
            |(job, owner, delivery, copy, lease, alone)| Step::Claim { job, owner, delivery, copy, lease, alone }
        ),
        1 => (job(), owner(), 0..3_u8, lease())
            .prop_map(|(job, owner, delivery, lease)| Step::Rebuild { job, owner, delivery, lease }),
        2 => (owner(), stale(), lease()).prop_map(|(owner, stale, lease)| Step::Renew { owner, stale, lease }),
        2 => (job(), owner(), any::<bool>(), lease())
            .prop_map(|(job, owner, ahead, lease)| Step::Adopt { job, owner, ahead, lease }),
        6 => (job(), stale(), end).prop_map(|(job, stale, verdict)| Step::Finish { job, stale, verdict }),
        3 => (job(), stale(), 0..3_u8, 0..2_u8, told)
            .prop_map(|(job, stale, delivery, mark, verdict)| Step::Complete { job, stale, delivery, mark, verdict }),
        2 => (job(), stale()).prop_map(|(job, stale)| Step::Published { job, stale }),
        4 => Just(Step::Rescue),
        3 => Just(Step::Promote),
        1 => Just(Step::Outbox),
        3 => (0..TOPICS.len(), prop::option::of(0..2_u64))
            .prop_map(|(topic, copies)| Step::Republish { topic, copies }),
        1 => Just(Step::Purge),
        1 => owner().prop_map(|owner| Step::Bury { owner }),
        2 => job().prop_map(|job| Step::Stop { job }),
        2 => job().prop_map(|job| Step::Remove { job }),
    ]
}

/// Runs a sequence on a store in a namespace that nobody else uses.
///
/// # Errors
/// The first step after which store and model disagree, in words.
pub async fn check(link: &Link, steps: &[Step]) -> Result<(), String> {
    let mut model = Model::new(&link.world);
    for (number, step) in steps.iter().enumerate() {
        let at = |why: String| format!("step {number} {step:?}: {why}");
        model.step(link, step).await.map_err(at)?;
        // Short spans are over when the next step begins.
        link.world.clock.sleep(Duration::from_millis(SHORT + 2)).await;
        indexes(link.store.as_ref(), &model).await.map_err(at)?;
    }
    Ok(())
}

/// I2: every job is in the index of its state and in no other, and the counters agree with the records.
async fn indexes(store: &dyn Store, model: &Model) -> Result<(), String> {
    let fault = |fault: crate::Fault| fault.to_string();
    let ledger = store.ledger().await.map_err(fault)?;
    if let Some(drift) = ledger.drifts().first() {
        return Err(format!("the ledger drifts: {drift}"));
    }
    let accepted = i64::try_from(model.accepted()).unwrap_or(i64::MAX);
    if ledger.total().accepted != accepted {
        return Err(format!("{} jobs are counted as accepted, and {accepted} were", ledger.total().accepted));
    }
    let lanes = store.lanes().await.map_err(fault)?;
    if lanes != model.lanes() {
        return Err(format!("lanes {lanes:?}, expected {:?}", model.lanes()));
    }
    let queued_at = store.queued_at().await.map_err(fault)?;
    if queued_at != model.queued_at() {
        return Err(format!("queued at sites: {queued_at:?}, expected {:?}", model.queued_at()));
    }
    let counts = store.counts().await.map_err(fault)?;
    for state in State::ALL {
        let expected: BTreeSet<_> = model.in_state(state).collect();
        let page = store.find(Query { states: vec![state], limit: 100, ..Query::default() }).await.map_err(fault)?;
        let listed: BTreeSet<_> = page.jobs.iter().copied().collect();
        if listed != expected || page.jobs.len() != listed.len() {
            return Err(format!("listed as {state}: {:?}, expected {expected:?}", page.jobs));
        }
        for topic in TOPICS {
            let counted = counts.iter().filter(|(known, _)| known.as_str() == topic);
            let counted: u64 = counted.filter_map(|(_, states)| states.get(&state)).sum();
            let expected = model.records().filter(|record| record.state == state && record.topic.as_str() == topic);
            if counted != u64::try_from(expected.count()).unwrap_or(u64::MAX) {
                return Err(format!("{counted} jobs of {topic} are counted as {state}"));
            }
        }
    }
    Ok(())
}
