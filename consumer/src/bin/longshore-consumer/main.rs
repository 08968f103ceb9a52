//! The ready-made consumer. As the guard of a job's process it is started by itself; see `program::exec::guard`.

use clap::Parser;
use longshore_consumer::program::cli;
use longshore_consumer::program::exec::guard;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything that starts a thread.
    if let Some(code) = guard::dispatch(std::env::args_os().skip(1)) {
        return code;
    }
    cli::main(&cli::Args::parse())
}
