//! Searches the protocol's states: `search [--plan NAME] [--states N] [--mutant NAME]`.
//!
//! Without arguments it searches every plan of the long run and prints one line for each; `--list` names the plans and
//! the mutants. `--states` is where each search stops, about 250 bytes of memory a state. With a mutant it searches that mutant's
//! trial, or the named plan, for what the mutant breaks, and prints the shortest way there.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use longshore_tests::search::{cases, explore::Found, mutant::Mutant, plan::Plan, property::Property, search};
use std::process::ExitCode;
use std::time::Instant;

/// States of each search, if not said otherwise.
const STATES: usize = 12_000_000;
const USAGE: &str = "usage: search [--plan NAME] [--states N] [--mutant NAME] [--list]";

fn main() -> ExitCode {
    let (mut plan, mut states, mut mutant) = (None, STATES, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let read = match (argument.as_str(), arguments.next()) {
            ("--list", None) => {
                list();
                return ExitCode::SUCCESS;
            }
            ("--plan", Some(name)) => {
                plan = plans().into_iter().find(|plan| plan.name == name);
                plan.is_some()
            }
            ("--states", Some(number)) => number.parse().map(|number| states = number).is_ok(),
            ("--mutant", Some(name)) => {
                mutant = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == name);
                mutant.is_some()
            }
            _ => false,
        };
        if !read {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let chosen = match (plan, mutant) {
        (Some(plan), _) => vec![plan],
        (None, Some(mutant)) => vec![mutant.trial().plan],
        (None, None) => cases::long(),
    };
    let mut right = true;
    for plan in &chosen {
        let begun = Instant::now();
        let only = mutant.map(|mutant| mutant.trial().breaks);
        let found = search(plan, mutant, only, states);
        print(plan, &found, begun.elapsed().as_secs_f64());
        right &= found.wrong.is_none();
    }
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plans() -> Vec<Plan> {
    cases::short().into_iter().chain(cases::long()).collect()
}

fn list() {
    for plan in plans() {
        println!("--plan {:20} {}", plan.name, plan.about);
    }
    for mutant in Mutant::ALL {
        println!("--mutant {mutant:?}: {}", mutant.trial().breaks);
    }
}

fn print(plan: &Plan, found: &Found<Property>, seconds: f64) {
    let extent = if found.complete { "all of them" } else { "not all of them" };
    println!(
        "{}: {} states ({extent}), {} transitions, {} steps deep, {seconds:.1} s",
        plan.name, found.states, found.transitions, found.depth
    );
    if let Some((property, way)) = &found.wrong {
        println!("  {property}:");
        for step in way {
            println!("    {step}");
        }
    }
}
