//! Every interleaving of a few jobs that share gates and a queue: an order, limits, a unique key, a pause, a longest
//! length, what a final failure does, priority, and rules for retries.
//!
//! ```text
//!  senders ── store: records, orders, limits, lines, pauses, keys ── two slots that claim, run and finish
//!                └── promotion, rescue, what wakes gates                └── die, or lose their lease and run on
//! ```
//!
//! The sibling of the protocol's search: there one job has all of its copies and calls, here several jobs have one
//! step for each call, and the broker delivers whatever is queued. Records change through the product's transition
//! function ([`super::record`]); who may pass is decided in [`gates`] and [`rules`] by the rules of the stores, step
//! by step as `embedded/gates.rs` and `embedded/rules.rs` do, and a test walks through both and compares them.
//! [`property`] judges every state, and each [`mutant::Mutant`] is a mistake that must be found.
//!
//! Abstractions. Time passes as it likes: what is due may happen or not yet, so a rate, which only shuts for a time, is
//! not modelled; nor are the bound of releases in one call and the wipe of the store, which loses gates by design.
//!
//! To add a gate: a [`system::Gate`] or a field of [`system::Flow`], its rule in [`gates`], a [`property::Property`],
//! and a mutant for each rule with the smallest plan that shows it.

pub mod mutant;
pub mod plan;
pub mod property;
pub mod system;

mod gates;
mod rules;
mod steps;
mod unique;
mod walk;

pub use walk::walk;

use self::mutant::Mutant;
use self::plan::Plan;
use self::property::Property;
use self::system::{Flow, Job, Limit};
use super::Label;
use super::explore::{Found, Next, Space, explore};
use super::record::Records;

/// The system that is searched.
#[derive(Debug)]
pub struct Model {
    pub(super) plan: Plan,
    mutant: Option<Mutant>,
    only: Option<Property>,
    records: Records,
}

type Steps = Vec<Next<Flow, Label>>;

/// Searches a plan, with a mistake if one is named, for everything that is promised or for one property only.
/// Stops at the first thing that is wrong, or when about `states` states are known.
#[must_use]
pub fn search(plan: &Plan, mutant: Option<Mutant>, only: Option<Property>, states: usize) -> Found<Property> {
    explore(&Model::new(plan, mutant, only), states)
}

impl Model {
    /// A plan with a mistake, or none.
    #[must_use]
    pub fn new(plan: &Plan, mutant: Option<Mutant>, only: Option<Property>) -> Self {
        Self { plan: plan.clone(), mutant, only, records: Records::new(plan.retries, plan.max_crashes) }
    }

    pub(super) fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn push(&self, into: &mut Steps, fault: bool, (what, who): (&'static str, u8), mut state: Flow) {
        state.tidy();
        self.judge(&mut state);
        into.push(Next { label: Label { what, who }, fault, state });
    }
}

impl Space for Model {
    type State = Flow;
    type Label = Label;
    type Wrong = Property;

    fn initial(&self) -> Flow {
        let mut flow = Flow {
            jobs: [Job::default(); system::JOBS],
            orders: [None; 2],
            limits: [Limit { max: self.plan.max, ceiling: self.plan.max, ..Limit::default() }; 2],
            paused: [false; 3],
            halted: false,
            key: None,
            period: false,
            slots: [None; 2],
            due: 0,
            accepted: 0,
            left: self.plan.faults,
            broken: None,
        };
        for (job, _) in flow.jobs.iter_mut().zip(&self.plan.asks) {
            job.to_send = true;
        }
        flow
    }

    fn next(&self, state: &Flow, into: &mut Steps) {
        self.senders(state, into);
        self.slots(state, into);
        self.duties(state, into);
        self.people(state, into);
        self.faults(state, into);
    }

    fn wrong(&self, state: &Flow) -> Option<Property> {
        state.broken
    }

    fn owes(&self, state: &Flow) -> bool {
        state.jobs.iter().any(Job::is_open)
    }

    fn loss(&self) -> Option<Property> {
        self.only.is_none_or(|only| only == Property::NoLoss).then_some(Property::NoLoss)
    }
}
