//! The short set of fire scenarios, on this machine alone: `cargo run --release -p longshore-tests --bin fire` runs the
//! rest and longer ones.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "test code; what was counted is part of the result")]

use longshore_tests::fire::rows::{self, Size};
use longshore_tests::fire::run::{self, Order};

async fn passes(name: &str) {
    let row = rows::find(name).unwrap();
    let order = Order { size: Size::Short, seed: 1, jobs: None, times: None, limit: None };
    let outcome = run::row(&row, order, row.needs.with(None).unwrap()).await;
    println!("{name}: {outcome}");
    assert!(outcome.passed(), "{name}: {outcome}");
}

macro_rules! rows {
    ($($test:ident: $name:literal;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                passes($name).await;
            }
        )+

        const TESTED: &[&str] = &[$($name),+];
    };
}

rows! {
    alone_fire_f01_consumers_are_killed: "F1";
    alone_fire_f02_consumers_are_asked_to_end: "F2";
    alone_fire_f04_a_consumer_stands_still: "F4";
    alone_fire_f05_the_broker_is_killed: "F5";
    alone_fire_f07_the_broker_closes_all_connections: "F7";
    alone_fire_f12_the_store_is_killed: "F12";
    alone_fire_f22_a_consumer_is_cut_off_the_broker: "F22";
    alone_fire_f24_replies_are_lost: "F24";
}

#[test]
fn every_row_of_the_short_set_is_a_test() {
    let short: Vec<&str> = rows::all().into_iter().filter(|row| row.short).map(|row| row.name).collect();
    assert_eq!(TESTED, short);
}
