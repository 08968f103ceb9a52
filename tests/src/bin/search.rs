//! Searches the protocol's states: `search [--plan NAME] [--states N] [--mutant NAME]`.
//!
//! Without arguments it searches every plan of the long run (of the protocol, of gates, of schedules) and prints one line
//! for each; `--list` names the plans and the mutants. `--states` is where each search stops, about 250 bytes of memory a
//! state. With a mutant it searches that mutant's trial, or the named plan, for what the mutant breaks, and prints the
//! shortest way there.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use longshore_tests::search::{cases, explore::Found, flow, mutant, search, slots};
use std::fmt::{Debug, Display};
use std::process::ExitCode;
use std::time::Instant;

/// States of each search, if not said otherwise.
const STATES: usize = 12_000_000;
const USAGE: &str = "usage: search [--plan NAME] [--states N] [--mutant NAME] [--list]";

/// What is to be searched.
#[derive(Debug, Default)]
struct Wanted {
    plan: Option<String>,
    mutant: Option<String>,
    states: Option<usize>,
}

fn main() -> ExitCode {
    let mut wanted = Wanted::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let read = match (argument.as_str(), arguments.next()) {
            ("--list", None) => {
                list();
                return ExitCode::SUCCESS;
            }
            ("--plan", Some(name)) => wanted.plan.replace(name).is_none(),
            ("--mutant", Some(name)) => wanted.mutant.replace(name).is_none(),
            ("--states", Some(number)) => number.parse().map(|number| wanted.states = Some(number)).is_ok(),
            _ => false,
        };
        if !read {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    match run(&wanted) {
        Some(right) if right => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => {
            eprintln!("there is no such plan or mutant: see --list");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was found; `None`: there was nothing to search.
fn run(wanted: &Wanted) -> Option<bool> {
    let states = wanted.states.unwrap_or(STATES);
    let (mut right, mut searched) = (true, false);
    let mut show = |name: &str, begun: Instant, (ok, line): (bool, String)| {
        println!("{name}: {line}, {:.1} s", begun.elapsed().as_secs_f64());
        (right, searched) = (right & ok, true);
    };
    let everything = wanted.plan.is_none() && wanted.mutant.is_none();
    let is = |name: &str| wanted.plan.as_deref().map_or(everything, |wanted| wanted == name);

    let named = named(&mutant::Mutant::ALL, wanted);
    let trial = named.map(|mutant| mutant.trial().plan).filter(|_| wanted.plan.is_none());
    let plans = if wanted.plan.is_some() { cases::short() } else { Vec::new() };
    let listed = plans.into_iter().chain(cases::long()).filter(|plan| is(plan.name));
    for plan in listed.chain(trial).filter(|_| wanted.mutant.is_none() || named.is_some()) {
        let only = named.map(|mutant| mutant.trial().breaks);
        show(plan.name, Instant::now(), told(&search(&plan, named, only, states)));
    }

    let named = self::named(&flow::mutant::Mutant::ALL, wanted);
    let trial = named.map(|mutant| mutant.trial().plan).filter(|_| wanted.plan.is_none());
    let plans = if wanted.plan.is_some() { flow::plan::short() } else { Vec::new() };
    let listed = plans.into_iter().chain(flow::plan::long()).filter(|plan| is(plan.name));
    for plan in listed.chain(trial).filter(|_| wanted.mutant.is_none() || named.is_some()) {
        let only = named.map(|mutant| mutant.trial().breaks);
        show(plan.name, Instant::now(), told(&flow::search(&plan, named, only, states)));
    }

    let named = self::named(&slots::Mutant::ALL, wanted);
    let trial = named.map(|mutant| mutant.trial().0).filter(|_| wanted.plan.is_none());
    let listed = slots::plans().into_iter().filter(|plan| is(plan.name));
    for plan in listed.chain(trial).filter(|_| wanted.mutant.is_none() || named.is_some()) {
        let only = named.map(|mutant| mutant.trial().1);
        show(plan.name, Instant::now(), told(&slots::search(&plan, named, only, states)));
    }
    searched.then_some(right)
}

fn named<M: Copy + Debug>(all: &[M], wanted: &Wanted) -> Option<M> {
    let name = wanted.mutant.as_deref()?;
    all.iter().copied().find(|mutant| format!("{mutant:?}") == name)
}

fn list() {
    let of_jobs = cases::short().into_iter().chain(cases::long()).map(|plan| (plan.name, plan.about));
    let of_gates = flow::plan::short().into_iter().chain(flow::plan::long()).map(|plan| (plan.name, plan.about));
    let of_slots = slots::plans().into_iter().map(|plan| (plan.name, "two coordinators and a schedule"));
    for (name, about) in of_jobs.chain(of_gates).chain(of_slots) {
        println!("--plan {name:20} {about}");
    }
    let mutant = |name: &dyn Debug, breaks: &dyn Display| println!("--mutant {name:?}: {breaks}");
    mutant::Mutant::ALL.iter().for_each(|it| mutant(it, &it.trial().breaks));
    flow::mutant::Mutant::ALL.iter().for_each(|it| mutant(it, &it.trial().breaks));
    slots::Mutant::ALL.iter().for_each(|it| mutant(it, &it.trial().1));
}

/// Whether nothing was found, and what is to be said of it.
fn told(found: &Found<impl Display>) -> (bool, String) {
    let extent = if found.complete { "all of them" } else { "not all of them" };
    let way = |(property, way): &(_, Vec<String>)| format!("\n  {property}:\n    {}\n ", way.join("\n    "));
    let wrong = found.wrong.as_ref().map(way).unwrap_or_default();
    let text = format!(
        "{} states ({extent}), {} transitions, {} steps deep{wrong}",
        found.states, found.transitions, found.depth
    );
    (found.wrong.is_none(), text)
}
