//! Longshore's operator program as a library: the command line and what is behind it, thin over the producer.
//!
//! [`run`] is the whole program but for its process: arguments in, text out, an [`Exit`] at the end,
//! so that tests call it as a process would. Everything that a command does goes through
//! [`longshore_producer`]; nothing here knows a broker or a store.
//!
//! Reading order: `cli` (what can be typed), `session` (what a command is given), `commands` (one file
//! each), `output` (the only place that prints).

mod args;
mod asked;
#[doc(hidden)]
pub mod bench;
mod cli;
mod commands;
#[doc(hidden)]
pub mod demo;
mod exit;
mod failure;
mod interrupt;
mod logging;
mod output;
mod session;

pub use exit::Exit;
pub use output::Streams;

use clap::Parser;
use longshore_producer::Producer;
use output::Output;
use session::{Backend, Session};
use std::ffi::OsString;

/// Runs one command line, the first argument being the program's name.
pub async fn run(args: impl IntoIterator<Item = OsString>, streams: Streams) -> Exit {
    start(args, streams, Backend::Settings).await
}

/// As [`run`], on connections that exist instead of those that the settings name. For tests, and for programs that
/// hold the embedded backend themselves.
pub async fn run_with(args: impl IntoIterator<Item = OsString>, streams: Streams, producer: Producer) -> Exit {
    start(args, streams, Backend::Given(producer)).await
}

/// Says that there is no runtime.
#[must_use]
pub fn cannot_start(error: &std::io::Error) -> Exit {
    let message = format!("the system gives this process no threads or no sockets: {error}");
    output::complain(&mut Streams::standard(), &message);
    Exit::Failed
}

/// Whether a command line can be understood, and else what is said of it. For tests.
///
/// # Errors
/// What the program would print; help and version are printed in the same way.
#[doc(hidden)]
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<(), String> {
    cli::Cli::try_parse_from(args).map(drop).map_err(|error| error.to_string())
}

async fn start(args: impl IntoIterator<Item = OsString>, mut streams: Streams, backend: Backend) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match cli::Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return output::usage(&mut streams, &error),
    };
    let mut session = Session::new(cli.global, Output::new(streams, cli.look), backend, asked::of(&args));
    let ended = Box::pin(commands::run(cli.command, &mut session)).await;
    session.close(ended).await
}
