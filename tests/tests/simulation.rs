//! Twenty seeds of the simulated system, as a smoke test. More: `cargo run -p longshore-tests --bin simulate -- 0 1000`.

use longshore_model::settings::OnDoubt;
use longshore_tests::simulation::{Losses, Plan, Without, run};

#[test]
fn twenty_seeds_keep_every_promise() {
    for seed in 0..20 {
        let summary = run(Plan::of(seed)).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(summary.accepted, Plan::of(seed).jobs, "seed {seed}");
        assert_eq!(summary.faults.values().sum::<usize>(), Plan::of(seed).faults, "seed {seed}");
    }
}

#[test]
fn a_job_that_takes_down_its_processes_is_given_up_after_three_and_nobody_else_is() {
    for seed in 0..10 {
        let plan = Plan { faults: 0, losses: Losses::None, poison: true, ..Plan::of(seed) };
        let summary = run(plan).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(summary.accepted, plan.jobs, "seed {seed}");
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

/// Whether a run with these losses breaks a promise when a rule is left out.
fn is_seen(losses: Losses, without: Without) -> bool {
    (0..20).any(|seed| {
        let plan = Plan { losses, without, ..Plan::of(seed) };
        run(plan).is_err_and(|broken| {
            broken.what.iter().any(|what| what.contains("never ended") || what.contains("is gone"))
        })
    })
}

#[test]
fn without_a_reconciler_a_lane_that_is_lost_is_a_loss_of_jobs() {
    assert!(is_seen(Losses::Lanes, Without::Reconciler), "no seed lost a job: the simulation or its judge is blind");
}

#[test]
fn without_parked_copies_a_wiped_store_is_a_loss_of_jobs() {
    assert!(is_seen(Losses::Store, Without::ParkedCopies), "no seed lost a job: the simulation or its judge is blind");
}
