//! The program `fire`: runs scenarios, lists them, judges what was kept.

use super::rows::{self, Row, Size, Standing};
use super::run::{self, Order};
use super::worker;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Kills, cuts, freezes and starves a Longshore of its own, and says whether it kept its promises.
#[derive(Debug, Parser)]
#[command(name = "fire", args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Rows, such as F7
    rows: Vec<String>,
    /// Every row that should pass
    #[arg(long)]
    all: bool,
    /// The short set; with names, their short form
    #[arg(long)]
    short: bool,
    /// The doses of the matrix: hours
    #[arg(long, conflicts_with = "short")]
    matrix: bool,
    /// Faults at random
    #[arg(long, conflicts_with_all = ["rows", "all", "short"])]
    soak: bool,
    /// Jobs of each run
    #[arg(long)]
    jobs: Option<usize>,
    /// Strikes of each run
    #[arg(long, visible_alias = "faults")]
    times: Option<usize>,
    /// No more strikes after so many minutes of a run
    #[arg(long)]
    minutes: Option<u64>,
    /// Everything random follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The program fire of another version, for rolling upgrades
    #[arg(long)]
    other: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Shows every row and whether it passes
    List,
    /// Judges the directory of a run again
    Check {
        /// The directory
        directory: PathBuf,
    },
    /// A consumer process of a run
    #[command(hide = true)]
    Worker(worker::Args),
}

/// Runs the program.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match &args.command {
        Some(Command::Worker(worker)) => worker::main(worker),
        Some(Command::List) => list(),
        Some(Command::Check { directory }) => check(directory),
        None => fire(args),
    }
}

fn say(text: &str) {
    // Nobody is left to tell if stdout is gone.
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn list() -> ExitCode {
    for row in rows::all() {
        let standing = match row.standing {
            Standing::Passes if row.short => "passes, in the short set".to_owned(),
            Standing::Passes => "passes".to_owned(),
            Standing::Unseen => "should pass; no run of it has come to its end yet".to_owned(),
            Standing::Waits(what) => format!("waits for {what}"),
            Standing::LeftOut(why) => format!("left out: {why}"),
        };
        say(&format!("{:<4} {}\n     {standing}", row.name, row.title));
    }
    ExitCode::SUCCESS
}

fn check(directory: &std::path::Path) -> ExitCode {
    match run::check(directory) {
        Ok(verdict) => {
            say(&format!("{}\n{} violations", verdict.summary, verdict.violations.len()));
            for violation in &verdict.violations {
                say(&format!("- {}: {}", violation.check, violation.what));
            }
            if verdict.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(2)
        }
    }
}

/// The rows that were asked for, or the name of one that is not there.
fn chosen(args: &Args) -> Result<Vec<Row>, String> {
    if args.soak {
        return Ok(rows::find("F36").into_iter().collect());
    }
    if !args.rows.is_empty() {
        let find = |name: &String| rows::find(name).ok_or_else(|| format!("there is no row {name}; see `fire list`"));
        return args.rows.iter().map(find).collect();
    }
    let expected = |row: &Row| matches!(row.standing, Standing::Passes | Standing::Unseen);
    let passes = |row: &Row| expected(row) && (args.all || row.short);
    Ok(rows::all().into_iter().filter(passes).collect())
}

fn fire(args: &Args) -> ExitCode {
    let rows = match chosen(args) {
        Ok(rows) if !rows.is_empty() => rows,
        Ok(_) => {
            say("name rows, or --all, --short or --soak");
            return ExitCode::from(2);
        }
        Err(error) => {
            say(&error);
            return ExitCode::from(2);
        }
    };
    let size = if args.short {
        Size::Short
    } else if args.matrix {
        Size::Matrix
    } else {
        Size::Usual
    };
    let limit = args.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let order = Order { size, seed: args.seed, jobs: args.jobs, times: args.times, limit };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("start a runtime");
    let mut failed = Vec::new();
    for row in rows {
        if let Standing::LeftOut(why) = row.standing {
            say(&format!("{}: left out: {why}", row.name));
            continue;
        }
        let with = match row.needs.with(args.other.as_deref()) {
            Ok(with) => with,
            Err(why) => {
                say(&format!("{}: left out here: {why}", row.name));
                continue;
            }
        };
        say(&format!("{}: {}", row.name, row.title));
        let outcome = runtime.block_on(run::row(&row, order, with));
        say(&outcome.to_string());
        match (outcome.passed(), row.standing) {
            (true, _) => say(&format!("{}: passed", row.name)),
            (false, Standing::Waits(what)) => say(&format!("{}: failed, and waits for {what}", row.name)),
            (false, _) => {
                say(&format!("{}: FAILED", row.name));
                failed.push(row.name);
            }
        }
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        say(&format!("failed: {}", failed.join(", ")));
        ExitCode::FAILURE
    }
}
