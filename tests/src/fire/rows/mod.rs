//! The rows of the fault matrix as scenarios.
//!
//! A row says what strikes, how often, on what jobs, and what is legal because of it. Everything that is not named
//! legal must not happen: see the checks in [`checker`](super::checker).

mod broker;
mod consumers;
mod lines;
mod store;
mod whole;

use super::clock::WallClock;
use super::faults::Work;
use super::field::{Field, With};
use super::history::Allowed;
use super::load::Mix;
use crate::services::SmallDisk;
use std::path::Path;
use std::time::Duration;

/// How hard a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Minutes for the whole set: for every change.
    Short,
    /// What a person waits for.
    Usual,
    /// The dose of the matrix: an hour and more for some rows.
    Matrix,
}

impl Size {
    /// The value for this size.
    #[must_use]
    pub const fn of<T: Copy>(self, values: [T; 3]) -> T {
        values[self as usize]
    }
}

/// Whether a row can be expected to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It passes.
    Passes,
    /// It should pass, and no run of it has come to its end yet.
    Unseen,
    /// It can be run, and fails until this is built.
    Waits(&'static str),
    /// There is nothing to run, for this reason.
    LeftOut(&'static str),
}

/// What a row needs that not every machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// A file system of its own for the store, MiB.
    pub store_disk: Option<u32>,
    /// A store that syncs its file at every write.
    pub store_syncs: bool,
    /// A file system of its own for the broker, MiB.
    pub broker_disk: Option<u32>,
    /// Wall clocks that can be set.
    pub clocks: bool,
    /// The program of another version.
    pub other: bool,
}

impl Needs {
    /// Nothing but the two services.
    pub const NOTHING: Self =
        Self { store_disk: None, store_syncs: false, broker_disk: None, clocks: false, other: false };

    /// What is not there, or what the field is to be made with.
    ///
    /// # Errors
    /// With what is missing, in words.
    pub fn with(self, other: Option<&Path>) -> Result<With, &'static str> {
        if (self.store_disk.is_some() || self.broker_disk.is_some()) && !SmallDisk::is_possible() {
            return Err("it needs a small file system, and nobody may mount one here");
        }
        if self.clocks && !WallClock::is_possible() {
            return Err("it needs wall clocks that can be set, and there is no C compiler here to build them");
        }
        if self.other && other.is_none() {
            return Err("it needs the program fire of another version: --other PATH");
        }
        let other = other.filter(|_| self.other).map(Path::to_owned);
        let Self { store_disk, store_syncs, broker_disk, clocks, .. } = self;
        Ok(With { store_disk, store_syncs, broker_disk, clocks, other })
    }
}

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dose {
    /// How hard.
    pub size: Size,
    /// How often the fault strikes.
    pub times: usize,
    /// Consumer processes.
    pub workers: usize,
    /// Jobs that each of them runs at once.
    pub slots: usize,
}

/// A scenario.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// `F1` to `F36`.
    pub name: &'static str,
    /// What strikes.
    pub title: &'static str,
    /// Whether it passes.
    pub standing: Standing,
    /// Whether it is in the short set.
    pub short: bool,
    /// How often it strikes, by size.
    pub times: [usize; 3],
    /// Jobs, by size.
    pub jobs: [usize; 3],
    /// Seconds over which the jobs are sent, for each strike.
    pub pace: u64,
    /// What the jobs are.
    pub mix: fn() -> Mix,
    /// Consumer processes.
    pub workers: usize,
    /// Jobs that each of them runs at once.
    pub slots: usize,
    /// Length of a lease, s.
    pub lease: u64,
    /// Further settings of all consumers, TOML.
    pub settings: &'static str,
    /// Further settings of the broker.
    pub broker: &'static [&'static str],
    /// What is unusual about the services and the programs.
    pub needs: Needs,
    /// What is legal.
    pub allowed: fn(&Dose) -> Allowed,
    /// Strikes once; the number of the strike comes with it.
    pub strike: for<'a> fn(&'a mut Field, &'a Dose, usize) -> Work<'a>,
}

/// What most rows have in common.
const ROW: Row = Row {
    name: "",
    title: "",
    standing: Standing::Passes,
    short: false,
    times: [1, 5, 20],
    jobs: [800, 5_000, 20_000],
    pace: 6,
    mix: Mix::default,
    workers: 4,
    slots: 16,
    lease: 4,
    settings: "",
    broker: &[],
    needs: Needs::NOTHING,
    allowed: |_| Allowed::NOTHING,
    strike: |_, _, _| Box::pin(async {}),
};

/// Attempts that one consumer may run at once, for each strike.
fn of_one(dose: &Dose) -> usize {
    dose.slots * dose.times
}

/// Attempts that all consumers may run at once, for each strike.
fn of_all(dose: &Dose) -> usize {
    dose.slots * dose.times * dose.workers
}

/// Attempts that are started again, and nothing else.
fn again(extra_starts: usize) -> Allowed {
    Allowed { extra_starts, ..Allowed::NOTHING }
}

/// Attempts of processes that others may take for dead: started again, and counted as crashes.
fn taken_over(extra_starts: usize) -> Allowed {
    Allowed { extra_starts, crashes: extra_starts as u64, ..Allowed::NOTHING }
}

/// Every row, in order.
#[must_use]
pub fn all() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for part in [consumers::ROWS, broker::ROWS, store::ROWS, lines::ROWS, whole::ROWS] {
        rows.extend(part);
    }
    rows.sort_by_key(|row| row.name[1..].parse::<u32>().unwrap_or_default());
    rows
}

/// The row of that name.
#[must_use]
pub fn find(name: &str) -> Option<Row> {
    all().into_iter().find(|row| row.name.eq_ignore_ascii_case(name))
}

impl Row {
    /// The dose for a size.
    #[must_use]
    pub const fn dose(&self, size: Size) -> Dose {
        Dose { size, times: size.of(self.times), workers: self.workers, slots: self.slots }
    }

    /// Over how long the jobs are sent.
    #[must_use]
    pub const fn span(&self, dose: &Dose) -> Duration {
        Duration::from_secs(self.pace * dose.times as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_matrix_is_there_once() {
        let names: Vec<String> = all().iter().map(|row| row.name.to_owned()).collect();
        let wanted: Vec<String> = (1..=36).map(|number| format!("F{number}")).collect();
        assert_eq!(names, wanted);
    }

    #[test]
    fn the_short_set_holds_only_rows_that_pass() {
        let short: Vec<Row> = all().into_iter().filter(|row| row.short).collect();
        assert!(short.len() >= 5, "the short set says something");
        assert!(short.iter().all(|row| row.standing == Standing::Passes));
    }
}
