//! A thousand seeds of the simulated system. More: `cargo run -p longshore-tests --bin simulate -- 0 10000`.

use longshore_model::settings::OnDoubt;
use longshore_tests::simulation::nemesis::{KINDS, OF_FILES, kinds_of};
use longshore_tests::simulation::rules::HAPPENINGS;
use longshore_tests::simulation::{Losses, Plan, Without, run};
use std::collections::BTreeSet;

/// Seeds of one test; there are several so that they run beside each other.
const SEEDS: u64 = 125;

/// How many of them are run: all, or as many as there is time for on a slow machine.
#[allow(clippy::disallowed_methods, reason = "how many there is time for is said by whoever runs it")]
fn seeds() -> u64 {
    let asked = std::env::var("LONGSHORE_TEST_SEEDS").ok();
    asked.map_or(SEEDS, |asked| {
        let number: u64 = asked.parse().unwrap_or_else(|_| panic!("LONGSHORE_TEST_SEEDS={asked}: it is no number"));
        number.min(SEEDS)
    })
}

/// Runs the seeds of one part, of which every promise must be kept, in which every kind of fault must strike and
/// every rule must have had something to say.
fn part(number: u64) {
    let (first, seeds) = (number * SEEDS, seeds());
    let mut kinds: BTreeSet<&str> = BTreeSet::new();
    let mut happened: BTreeSet<&str> = BTreeSet::new();
    for seed in first..first + seeds {
        let summary = run(Plan::of(seed)).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(summary.accepted + summary.refused, Plan::of(seed).jobs, "seed {seed}");
        kinds.extend(summary.faults.keys());
        happened.extend(summary.rules.keys());
    }
    if seeds < SEEDS {
        // Too few to show each of them.
        return;
    }
    let all = [Losses::None, Losses::Lanes, Losses::Store].into_iter().flat_map(kinds_of).chain(&KINDS);
    let never: Vec<&&str> = all.filter(|kind| !kinds.contains(*kind)).collect();
    assert!(never.is_empty(), "never struck: {never:?}");
    let never: Vec<&&str> = HAPPENINGS.iter().filter(|happening| !happened.contains(*happening)).collect();
    assert!(never.is_empty(), "rules had nothing to say of: {never:?}");
}

macro_rules! parts {
    ($($test:ident: $number:literal;)+) => {
        $(
            #[test]
            fn $test() {
                part($number);
            }
        )+
    };
}

parts! {
    seeds_0_to_124_keep_every_promise: 0;
    seeds_125_to_249_keep_every_promise: 1;
    seeds_250_to_374_keep_every_promise: 2;
    seeds_375_to_499_keep_every_promise: 3;
    seeds_500_to_624_keep_every_promise: 4;
    seeds_625_to_749_keep_every_promise: 5;
    seeds_750_to_874_keep_every_promise: 6;
    seeds_875_to_999_keep_every_promise: 7;
}

#[test]
fn a_job_that_takes_down_its_processes_is_given_up_after_three_and_nobody_else_is() {
    for seed in 0..10 {
        let plan = Plan { faults: 0, losses: Losses::None, poison: true, ..Plan::of(seed) };
        let summary = run(plan).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(summary.accepted + summary.refused, plan.jobs, "seed {seed}");
    }
}

#[test]
fn a_seed_repeats_itself() {
    for seed in [7, 3] {
        let once = run(Plan::of(seed)).unwrap_or_else(|broken| panic!("{broken}"));
        let twice = run(Plan::of(seed)).unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(once, twice);
    }
}

#[test]
fn the_judge_sees_two_runs_at_once_where_they_are_allowed() {
    let overlaps = (0..200).any(|seed| {
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

#[test]
fn the_judge_sees_more_jobs_at_once_than_a_limit_allows() {
    let exceeded = (0..20).any(|seed| {
        let plan = Plan { without: Without::Limit, gates: true, losses: Losses::None, ..Plan::of(seed) };
        run(plan).is_err_and(|broken| broken.what.iter().any(|what| what.contains("ran at once")))
    });
    assert!(exceeded, "no seed exceeded a limit that nobody set: the simulation or its judge is blind");
}

#[test]
fn the_judge_sees_each_rule_that_nobody_said() {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let signs = [
        "wait, which may be",
        "did not halt",
        "was to be skipped",
        "was let through before",
        "is tried more often",
        "began after its time",
    ];
    for seed in 0..20 {
        let plan = Plan { without: Without::Rules, rules: true, losses: Losses::None, gates: false, ..Plan::of(seed) };
        let wrong = run(plan).err().map(|broken| broken.what).unwrap_or_default();
        seen.extend(signs.iter().filter(|sign| wrong.iter().any(|what| what.contains(*sign))));
    }
    let unseen: Vec<&&str> = signs.iter().filter(|sign| !seen.contains(*sign)).collect();
    assert!(unseen.is_empty(), "no seed showed these: the simulation or its judge is blind: {unseen:?}");
}

/// The first of some seeds' runs with files in which each of these was said.
fn said_of_files(without: Without, on_doubt: OnDoubt, signs: &[&str]) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for seed in 0..40 {
        let plan = Plan { without, on_doubt, losses: Losses::None, ..Plan::with_files(seed) };
        let wrong = run(plan).err().map(|broken| broken.what).unwrap_or_default();
        seen.extend(signs.iter().filter(|sign| wrong.iter().any(|what| what.contains(*sign))));
        if seen.len() == signs.len() {
            return;
        }
    }
    let unseen: Vec<&&str> = signs.iter().filter(|sign| !seen.contains(*sign)).collect();
    panic!("no seed showed these: the simulation or its judge is blind: {unseen:?}");
}

/// What goes in and comes out is whole and the winner's, whatever strikes.
#[test]
fn jobs_with_files_keep_every_promise() {
    let mut away = 0;
    for seed in 0..30 {
        let summary = run(Plan::with_files(seed)).unwrap_or_else(|broken| panic!("{broken}"));
        away += summary.faults.get(OF_FILES).copied().unwrap_or(0);
    }
    assert!(away > 0, "their place was never away");
}

#[test]
fn the_judge_sees_files_that_are_not_what_they_should_be() {
    let signs = ["other files than were sent", "is not the winner's", "is not whole", "its outputs are"];
    said_of_files(Without::Files, OnDoubt::Cancel, &signs);
}

#[test]
fn without_fences_the_outputs_of_a_stale_attempt_appear() {
    said_of_files(Without::Fences, OnDoubt::Continue, &["is not the winner's"]);
}
