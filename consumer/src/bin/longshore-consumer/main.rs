//! The ready-made consumer. As the guard of a job's process it is started by itself; see `program::exec::guard`.

use std::process::ExitCode;

use longshore_consumer::program::exec::guard;

fn main() -> ExitCode {
    guard::dispatch(std::env::args_os().skip(1)).unwrap_or(ExitCode::FAILURE)
}
