//! Fire: real consumer processes on private services, faults of many kinds, and a checker that has not seen any of it.
//!
//! A [`field`] is RabbitMQ, Redis, consumer processes behind proxies of their own, and a producer that sends the jobs of
//! a [`load`]. [`faults`] strike it. All that happens goes into one [`history`] file, to which the processes append as
//! well ([`worker`]), a [`watch`] asks the store all the time which jobs have ended, and at the end a [`survey`]
//! describes what is left. The [`checker`] reads the two files and nothing else.
//!
//! [`rows`] are the named scenarios: the rows F1 to F36 of the fault matrix. [`soak`] draws faults at random. [`cli`] is
//! the program `fire`.
//!
//! To add a fault: a function and a line in `faults.rs`. A scenario: a row in `rows/`. A check: a function and a line
//! in `checker/mod.rs`, and a doctored history in its tests.

pub mod checker;
pub mod cli;
pub mod clock;
pub mod faults;
pub mod field;
pub mod files;
pub mod history;
pub mod load;
pub mod rows;
pub mod run;
pub mod soak;
pub mod survey;
pub mod watch;
pub mod worker;
