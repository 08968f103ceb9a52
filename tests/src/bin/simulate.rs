//! Runs simulated seeds: `simulate FIRST [COUNT]`. Prints one line a seed and stops at the first that breaks a promise.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use longshore_tests::simulation::{Plan, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(first)), Ok(count)) = (arguments.next(), arguments.next().unwrap_or(Ok(1))) else {
        eprintln!("usage: simulate FIRST [COUNT]: two numbers");
        return ExitCode::from(2);
    };
    let level = if count == 1 { tracing::Level::DEBUG } else { tracing::Level::ERROR };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    std::panic::set_hook(Box::new(|_| {}));
    for seed in first..first + count {
        match run(Plan::of(seed)) {
            Ok(summary) => println!("seed {seed}: {summary:?}"),
            Err(broken) => {
                println!("{broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
