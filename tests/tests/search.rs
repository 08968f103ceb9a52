//! The protocol holds in every state that the short searches reach, and the search finds every known mistake.
//!
//! The long run is a command: `cargo run --release -p longshore-tests --bin search`.

use longshore_link::{Embedded, World};
use longshore_tests::search::{cases, explore::Found, flow, mutant::Mutant, search, slots};
use std::collections::BTreeSet;

/// What one search of a test run may cost: a few seconds in a debug build.
const STATES: usize = 5_000;
/// The same of gates and keys, whose states are smaller.
const FLOW_STATES: usize = 6_000;

fn told(found: &Found<impl std::fmt::Display>) -> String {
    match &found.wrong {
        Some((property, way)) => format!("{property}, by\n  {}", way.join("\n  ")),
        None => format!("nothing in {} states", found.states),
    }
}

#[test]
fn the_protocol_holds_in_the_short_searches() {
    for plan in cases::short() {
        let found = search(&plan, None, None, STATES);
        assert!(found.wrong.is_none(), "search `{}` found {}", plan.name, told(&found));
        assert!(found.transitions > 100 || found.complete, "`{}` is a search", plan.name);
    }
}

#[test]
fn every_mutant_is_found_by_what_it_breaks() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let trial = mutant.trial();
        let found = search(&trial.plan, Some(mutant), Some(trial.breaks), usize::MAX);
        if found.wrong.as_ref().map(|(property, _)| *property) != Some(trial.breaks) {
            missed.push(format!("{mutant:?} is to be found as `{}`, found: {}", trial.breaks, told(&found)));
        }
    }
    assert!(missed.is_empty(), "the search does not see:\n{}", missed.join("\n"));
}

#[test]
fn what_shows_a_mutant_is_right_without_it() {
    for mutant in Mutant::ALL {
        let trial = mutant.trial();
        let found = search(&trial.plan, None, None, STATES / 2);
        assert!(found.wrong.is_none(), "the trial of {mutant:?} without it: {}", told(&found));
    }
}

#[test]
fn a_search_that_is_cut_short_says_so_and_claims_no_loss() {
    let plan = Mutant::NoReconciler.trial().plan;
    let found = search(&plan, Some(Mutant::NoReconciler), None, 20);
    assert!(!found.complete && found.wrong.is_none(), "{}", told(&found));
}

#[test]
fn plans_and_mutants_can_be_told_apart_by_name() {
    let of_gates = flow::plan::short().into_iter().chain(flow::plan::long()).map(|plan| plan.name);
    let of_jobs = cases::short().into_iter().chain(cases::long()).map(|plan| plan.name);
    let plans: Vec<_> = of_jobs.chain(of_gates).chain(slots::plans().into_iter().map(|plan| plan.name)).collect();
    assert_eq!(plans.iter().collect::<BTreeSet<_>>().len(), plans.len(), "{plans:?}");
    let of_jobs = Mutant::ALL.iter().map(|mutant| format!("{mutant:?}"));
    let of_gates = flow::mutant::Mutant::ALL.iter().map(|mutant| format!("{mutant:?}"));
    let mutants: Vec<_> =
        of_jobs.chain(of_gates).chain(slots::Mutant::ALL.map(|mutant| format!("{mutant:?}"))).collect();
    let twice: Vec<_> =
        mutants.iter().filter(|name| mutants.iter().filter(|other| other == name).count() > 1).collect();
    assert_eq!(twice, ["KeyNotAsked", "KeyNotAsked"], "the same mistake, in two searches");
}

#[test]
fn gates_and_keys_hold_in_the_short_searches() {
    for plan in flow::plan::short() {
        let found = flow::search(&plan, None, None, FLOW_STATES);
        assert!(found.wrong.is_none(), "search `{}` found {}", plan.name, told(&found));
        assert!(found.transitions > 100, "`{}` is a search", plan.name);
    }
}

#[test]
fn every_mutant_of_gates_is_found_by_what_it_breaks() {
    let mut missed = Vec::new();
    for mutant in flow::mutant::Mutant::ALL {
        let trial = mutant.trial();
        let found = flow::search(&trial.plan, Some(mutant), Some(trial.breaks), usize::MAX);
        if found.wrong.is_none() {
            missed.push(format!("{mutant:?} is to be found as `{}`: {}", trial.breaks, told(&found)));
        }
        let right = flow::search(&trial.plan, None, None, usize::MAX);
        assert!(right.complete && right.wrong.is_none(), "the trial of {mutant:?} without it: {}", told(&right));
    }
    assert!(missed.is_empty(), "the search does not see:\n{}", missed.join("\n"));
}

#[test]
fn schedules_hold_in_their_searches() {
    for plan in slots::plans() {
        let found = slots::search(&plan, None, None, usize::MAX);
        assert!(found.wrong.is_none(), "search `{}` found {}", plan.name, told(&found));
        assert!(found.complete && found.states > 1_000, "`{}`: {} states", plan.name, found.states);
    }
}

#[test]
fn every_mutant_of_schedules_is_found_by_what_it_breaks() {
    for mutant in slots::Mutant::ALL {
        let (plan, breaks) = mutant.trial();
        let found = slots::search(&plan, Some(mutant), Some(breaks), usize::MAX);
        assert!(found.wrong.is_some(), "{mutant:?} is to be found as `{breaks}`: {}", told(&found));
        let right = slots::search(&plan, None, None, usize::MAX);
        assert!(right.wrong.is_none(), "the trial of {mutant:?} without it: {}", told(&right));
    }
}

#[tokio::test(start_paused = true)]
async fn the_searched_gates_are_those_of_the_store() {
    let mut steps = 0;
    for seed in 0..20 {
        for plan in flow::plan::walks() {
            let world = World::simulated(seed);
            let link = Embedded::new(&world).link(world);
            steps += Box::pin(flow::walk(&plan, &link)).await;
        }
    }
    assert!(steps > 2_000, "{steps} steps are no walk");
}
