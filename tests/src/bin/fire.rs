//! Runs the scenarios of the fault matrix: `fire F7`, `fire --short`, `fire --soak --jobs 100000 --faults 200`,
//! `fire list`. Started by itself as `fire worker`, it is a consumer process of a run.

use clap::Parser;
use longshore_consumer::program::exec::guard;
use longshore_tests::fire::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything that starts a thread.
    if let Some(code) = guard::dispatch(std::env::args_os().skip(1)) {
        return code;
    }
    cli::main(&cli::Args::parse())
}
