//! What tests and benches on real services are made of.
//!
//! - [`services`]: private RabbitMQ and Redis instances that a test may stop, kill, freeze and restart, and the
//!   shared pair that `deploy/test` starts for all tests that only need *some* broker and store.
//! - [`fleet`]: consumer processes, to be killed, frozen and started again.
//! - [`proxy`]: a TCP proxy that cuts, swallows, delays and throttles at the test's command.
//! - [`cases`]: what running systems must do, written once, run on every backend.
//! - [`bad`]: bad input of every kind, made from a seed.
//! - [`fuzzing`]: what must hold for any bytes, for the targets in `fuzz/` and for the tests.
//! - [`search`]: every interleaving of one job and two, in a model around the real state machine.
//! - [`simulation`]: the whole system under one seed, in virtual time.
//! - [`fire`]: real processes on private services, faults, a history, and a checker that reads it.
//! - [`wait`]: waiting for a condition with a deadline; the only place here that sleeps.
//! - [`baseline`]: the least that a job system on lapin and redis must do, measured, as the yardstick of the benches.
//!
//! Everything but [`baseline`] panics when it cannot do what it was asked: in a test that is the wanted outcome, and
//! a missing program fails the run instead of skipping it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "support code of tests: a failed set-up is a failed test")]

pub mod bad;
pub mod baseline;
pub mod cases;
pub mod fire;
pub mod fleet;
pub mod fuzzing;
pub mod proxy;
pub mod search;
pub mod services;
pub mod simulation;
pub mod wait;

/// The program in the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;

/// The program in the page on flow compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/flow.md")]
#[derive(Debug)]
pub struct FlowPage;

/// The program in the page on files compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/files.md")]
#[derive(Debug)]
pub struct FilesPage;
/// The programs in the page on topology compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../docs/topology.md")]
#[derive(Debug)]
pub struct TopologyPage;

/// The program in the page on results compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/results.md")]
#[derive(Debug)]
pub struct ResultsPage;

/// The program in the page on events compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/events.md")]
#[derive(Debug)]
pub struct EventsPage;

/// The program in the page on schedules compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../docs/schedules.md")]
#[derive(Debug)]
pub struct SchedulesPage;
