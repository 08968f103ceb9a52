//! Prints what lapin and redis allow on this machine: a table for people, one line of JSON for programs.
//!
//! `cargo bench -p longshore-tests --bench baseline [-- ROUNDS]`, medians of five rounds by default. Takes the services
//! that the environment names or starts private ones.
#![allow(clippy::print_stdout, reason = "a program's output")]

use longshore_tests::baseline::{Error, Figures, Plan, measure};
use longshore_tests::services::Shared;

#[tokio::main]
async fn main() -> Result<(), Error> {
    // cargo adds `--bench` to the arguments.
    let rounds = std::env::args().skip(1).find(|argument| argument != "--bench").map_or(Ok(5), |text| text.parse())?;
    let services = Shared::services().await;
    let mut figures: Vec<Figures> = Vec::new();
    for _ in 0..rounds {
        figures.push(measure(&services.broker_url, &services.store_url, Plan::default(), |_| {}).await?);
    }
    let median = Figures::median(&figures).ok_or("at least one round is needed")?;
    println!("lapin and redis alone, median of {rounds} (smallest to largest)");
    for (row, (name, value)) in median.rows().iter().enumerate() {
        let mut all: Vec<f64> = figures.iter().map(|figures| figures.rows()[row].1).collect();
        all.sort_by(f64::total_cmp);
        println!("{name:<40} {value:>10.2}   ({:.2} to {:.2})", all[0], all[all.len() - 1]);
    }
    println!("{}", serde_json::to_string(&median)?);
    Ok(())
}
