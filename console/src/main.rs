//! The program `longshore`: a runtime around [`longshore::run`], and its exit code.

use longshore::{Streams, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return longshore::cannot_start(&error).into(),
    };
    let exit = runtime.block_on(run(std::env::args_os(), Streams::standard()));
    // A read of a terminal that nobody types into must not hold the end up.
    runtime.shutdown_background();
    exit.into()
}
