//! Twenty seeds of the simulated system, as a smoke test. More: `cargo run -p longshore-tests --bin simulate -- 0 1000`.

use longshore_model::settings::OnDoubt;
use longshore_tests::simulation::{Plan, run};

#[test]
fn twenty_seeds_keep_every_promise() {
    for seed in 0..20 {
        let summary = run(Plan::of(seed)).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(summary.accepted, Plan::of(seed).jobs, "seed {seed}");
        assert_eq!(summary.faults.values().sum::<usize>(), Plan::of(seed).faults, "seed {seed}");
    }
}

#[test]
fn a_seed_repeats_itself() {
    let once = run(Plan::of(3)).unwrap_or_else(|broken| panic!("{broken}"));
    let twice = run(Plan::of(3)).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(once, twice);
}

#[test]
fn the_judge_sees_two_runs_at_once_where_they_are_allowed() {
    let overlaps = (0..20).any(|seed| {
        let plan = Plan { on_doubt: OnDoubt::Continue, ..Plan::of(seed) };
        run(plan).is_err_and(|broken| broken.what.iter().any(|what| what.contains("two runs at once")))
    });
    assert!(overlaps, "no seed showed an overlap: the simulation or its judge is blind");
}
