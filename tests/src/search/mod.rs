//! Every interleaving of one job, or of two with a unique key, under a bounded number of faults.
//!
//! ```text
//!  sender ── duties (relay, rescuer, promoter, reconciler, janitor) ── two slots of one or two instances
//!      └────────────── broker: messages, parked copies ──────┴────── store: record, outbox, lease, tombstone ┘
//! ```
//!
//! The record changes through the product's transition function only ([`record`], [`store`]); everything around it is
//! modelled here, by the final rules of the protocol. [`explore`] visits every state once, [`property`] judges it, and
//! a [`mutant::Mutant`] is a known mistake that must be found. What is searched is a [`plan::Plan`]; [`cases`] lists
//! those that tests and the long run use.
//!
//! Two siblings search what does not need all of that: [`flow`], several jobs with orders, limits, unique keys and pauses;
//! [`slots`], two coordinators and a schedule.
//!
//! Abstractions. Time passes as it likes: what is due may happen, or not yet; a lease may end as soon as its holder
//! does not beat. Amnesty and back-off therefore do not appear, and the ages that the loss rule compares are young. A
//! slot has one delivery at a time, and an instance that offers to run a suspect alone does so by keeping its other slot
//! idle; one that cannot offer it parks the delivery. What lies in the broker is bounded, and publishers wait when there is no room.
//! The undertaker and the order of messages are not modelled. "Lost" means that no fault-free continuation
//! ends the job, so a continuation that is possible and never chosen would not be noticed: that is what the simulation
//! and the fire are for.
//!
//! To add
//! - an event or a field of the record: `record.rs` stops compiling until it is said whether the state machine reads
//!   it; a call of the store that uses it goes into [`store`], and who calls it into its actor ([`sender`], [`duty`],
//!   [`worker`]);
//! - a gate (order, limit, pause, unique mode): in [`flow`], which searches jobs that share gates;
//! - a fault: a [`plan::Fault`], and one `if next.spend(…)` where it strikes;
//! - a mutant: a variant, one `if self.has(…)` where the rule is, and its row in [`mutant::Mutant::trial`].

pub mod cases;
pub mod explore;
pub mod flow;
pub mod mutant;
pub mod plan;
pub mod property;
pub mod slots;
pub mod system;

mod duty;
mod gates;
pub mod record;
mod sender;
mod store;
mod worker;

pub use plan::Plan;

use explore::{Found, Next, Space, explore};
use mutant::Mutant;
use plan::Fault;
use property::Property;
use record::Records;
use std::fmt;
use system::{Duty, Happened, Job, Seen, Sender, System, Worker};

/// The system that is searched.
#[derive(Debug)]
pub struct Model {
    plan: Plan,
    mutant: Option<Mutant>,
    only: Option<Property>,
    records: Records,
}

/// What a transition is called in a trace.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    what: &'static str,
    /// A slot, or a job.
    who: u8,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.what, self.who)
    }
}

type Steps = Vec<Next<System, Label>>;

/// Searches a plan, with a mistake if one is named, for everything that is promised or for one property only.
/// Stops at the first thing that is wrong, or when about `states` states are known.
#[must_use]
pub fn search(plan: &Plan, mutant: Option<Mutant>, only: Option<Property>, states: usize) -> Found<Property> {
    assert!(plan.messages + 4 <= system::MESSAGES, "what is held goes back, and needs room");
    explore(&Model { plan: plan.clone(), mutant, only, records: Records::new(plan.retries, plan.max_crashes) }, states)
}

impl Model {
    fn step(&self, into: &mut Steps, what: &'static str, who: u8, state: System) {
        self.push(into, false, Label { what, who }, state);
    }

    fn fault(&self, into: &mut Steps, what: &'static str, who: u8, state: System) {
        self.push(into, true, Label { what, who }, state);
    }

    fn push(&self, into: &mut Steps, fault: bool, label: Label, mut state: System) {
        state.duties.sort_unstable();
        self.judge(&mut state);
        into.push(Next { label, fault, state });
    }

    /// A call: the service does it and answers; or it does it and the answer is lost, so that the caller is where it
    /// was. A request that is lost changes nothing and needs no step.
    fn call<A>(
        &self,
        system: &System,
        into: &mut Steps,
        (what, who): (&'static str, u8),
        done: impl Fn(&mut System) -> A,
        answered: impl Fn(&mut System, A),
    ) {
        let mut lost = *system;
        let answer = done(&mut lost);
        let mut next = lost;
        answered(&mut next, answer);
        self.step(into, what, who, next);
        if lost != *system && lost.spend(Fault::Reply) {
            self.fault(into, what, who, lost);
        }
    }
}

impl Space for Model {
    type State = System;
    type Label = Label;
    type Wrong = Property;

    fn initial(&self) -> System {
        let job = |sender| Job {
            record: None,
            tombstone: false,
            clock: 0,
            messages: Default::default(),
            sender,
            fallen: None,
            seen: Seen::default(),
        };
        let second = if self.plan.jobs > 1 { Sender::Enqueue } else { Sender::Absent };
        System {
            jobs: [job(Sender::Enqueue), job(second)],
            workers: [Worker::idle(0); 2],
            duties: [Duty::Idle; 2],
            key: None,
            releases: self.plan.releases,
            left: self.plan.left(),
            happened: Happened::default(),
            broken: None,
        }
    }

    fn next(&self, state: &System, into: &mut Steps) {
        self.send(state, into);
        self.duties(state, into);
        self.work(state, into);
        self.broker(state, into);
        self.disturb_store(state, into);
    }

    fn wrong(&self, state: &System) -> Option<Property> {
        state.broken
    }

    fn owes(&self, state: &System) -> bool {
        state.jobs.iter().any(|job| job.seen.promised && !job.seen.ended)
    }

    fn loss(&self) -> Option<Property> {
        self.only.is_none_or(|only| only == Property::NoLoss).then_some(Property::NoLoss)
    }
}
