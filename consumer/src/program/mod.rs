//! The ready-made consumer: what only the program `longshore-consumer` needs.
//!
//! In reading order: [`cli`] is the program from its arguments to its exit code, [`handlers`] makes handlers of the
//! settings' `[[handlers]]`, [`health`] answers probes and scrapes, [`logging`] writes to stderr. Below them [`exec`]
//! and [`http`] know jobs only as a payload and a few facts, and answer with an outcome of their own.

pub mod cli;
pub mod exec;
pub mod handlers;
pub mod health;
pub mod http;
pub mod logging;
pub mod reply;
