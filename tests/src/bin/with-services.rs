//! `with-services COMMAND [ARGUMENT]...` runs a command while one private RabbitMQ and one private Redis are up, with
//! their addresses in the environment where `Shared::services` looks for them, and ends with the command's status.
//!
//! `deploy/test` runs all tests in it; for work on single tests, `with-services bash` saves their start.

use std::process::{Command, ExitCode};

use longshore_tests::services::{BROKER_URL, RabbitMq, Redis, STORE_URL};

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stderr, reason = "a program's usage and errors")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-services COMMAND [ARGUMENT]...");
        return ExitCode::from(2);
    };
    let (broker, store) = tokio::join!(RabbitMq::start(), Redis::start());
    // Blocking is right here: nothing else runs in this process, and the services are processes of their own.
    let status =
        Command::new(&program).args(arguments).env(BROKER_URL, broker.url()).env(STORE_URL, store.url()).status();
    match status {
        // A command that a signal ended has no code.
        Ok(status) => ExitCode::from(status.code().map_or(1, |code| u8::try_from(code).unwrap_or(1))),
        Err(error) => {
            eprintln!("with-services: cannot run {}: {error}", program.display());
            ExitCode::from(127)
        }
    }
}
