//! Runs simulated seeds: `simulate [files] FIRST [COUNT [STEP]]`, with `files` those whose jobs have payload files. One seed tells its story; of many, those that break a promise are
//! told, and at the end what struck how often, and how often rules had something to say.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use longshore_tests::simulation::{Plan, run};
use std::collections::BTreeMap;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let plan = if words.next_if(|word| word == "files").is_some() { Plan::with_files } else { Plan::of };
    let mut arguments = words.map(|text| text.parse::<u64>());
    let (Some(Ok(first)), Ok(count), Ok(step)) =
        (arguments.next(), arguments.next().unwrap_or(Ok(1)), arguments.next().unwrap_or(Ok(1)))
    else {
        eprintln!("usage: simulate [files] FIRST [COUNT [STEP]]: numbers");
        return ExitCode::from(2);
    };
    if count == 1 {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    }
    std::panic::set_hook(Box::new(|_| {}));
    let (mut faults, mut rules) = (BTreeMap::<&str, usize>::new(), BTreeMap::<&str, usize>::new());
    let (mut started, mut broken) = (0, 0_u64);
    for seed in (0..count).map(|number| first + number * step) {
        match run(plan(seed)) {
            Ok(summary) if count == 1 => println!("seed {seed}: {summary:?}"),
            Ok(summary) => {
                started += summary.started;
                for (kind, times) in summary.faults {
                    *faults.entry(kind).or_default() += times;
                }
                for (happening, times) in summary.rules {
                    *rules.entry(happening).or_default() += times;
                }
            }
            Err(found) => {
                println!("{found}");
                broken += 1;
            }
        }
    }
    let struck: usize = faults.values().sum();
    println!(
        "{count} seeds, {started} runs of handlers, {struck} faults: {faults:?}; rules: {rules:?}; {broken} seeds broke a promise"
    );
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
