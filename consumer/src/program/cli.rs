//! The program from its arguments to its exit code.
//!
//! Settings are checked as a whole before anything is connected. Exit codes: 0 ended in order, 1 could not start or go
//! on, 2 wrong arguments or settings (each problem on a line of its own on stderr).

use super::handlers::{self, Tools};
use super::{health, logging};
use crate::{Consumer, RunError};
use clap::Parser;
use longshore_link::World;
use longshore_model::queue::Queues;
use longshore_model::settings::Loaded;
use longshore_producer::settings;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Wrong arguments or settings; the same that clap answers.
const EXIT_USAGE: u8 = 2;

/// How long tasks that ignore the end may hold it up.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Runs jobs as programs or HTTP requests, as the `[[handlers]]` of its settings say.
#[derive(Debug, Parser)]
#[command(name = "longshore-consumer", version)]
pub struct Args {
    /// Settings file; default $LONGSHORE_CONFIG, else longshore.toml in the working directory if there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, over file and environment, such as instance.concurrency=4; can be repeated
    // Parted later: clap repeats what it cannot read, and it may be an address with a password.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Only say whether the settings are right
    #[arg(long)]
    check: bool,
}

fn key_value(text: &str) -> Result<(String, String), Vec<String>> {
    let (key, value) = text.split_once('=').ok_or_else(|| vec!["--set: write it as KEY=VALUE".to_owned()])?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Runs the program until it is told to stop.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let prepared = match prepare(args) {
        Ok(prepared) => prepared,
        Err(problems) => {
            say(&problems.join("\n"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if args.check {
        say("the settings are right");
        return ExitCode::SUCCESS;
    }
    logging::start(prepared.filter, prepared.loaded.settings.log.format);
    let ended = run(prepared.loaded, prepared.handlers);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!("{error}");
            } else {
                say(&error.to_string());
            }
            ExitCode::FAILURE
        }
    }
}

/// Settings that were found to be right.
struct Prepared {
    loaded: Loaded,
    handlers: Vec<handlers::Prepared>,
    filter: logging::Filter,
}

/// Everything that can be known to be wrong without connecting, all at once.
fn prepare(args: &Args) -> Result<Prepared, Vec<String>> {
    let set = args.set.iter().map(|text| key_value(text)).collect::<Result<Vec<_>, _>>()?;
    let loaded = settings::load(args.config.as_deref(), &set).map_err(|error| vec![error.to_string()])?;
    let mut problems = Vec::new();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if let Err(bad) = Queues::new(loaded.queues.clone(), cores) {
        problems.extend(bad.0);
    }
    let handlers = handlers::prepare(&loaded.handlers).map_err(|bad| problems.extend(bad));
    let filter = logging::filter(&loaded.settings.log.level).map_err(|bad| problems.push(bad));
    match (handlers, filter) {
        (Ok(handlers), Ok(filter)) if problems.is_empty() => Ok(Prepared { loaded, handlers, filter }),
        _ => Err(problems),
    }
}

/// Why the program ended badly.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Health(#[from] health::CannotListen),
    #[error("the program's threads cannot be started: {0}")]
    Runtime(#[from] std::io::Error),
    #[error(transparent)]
    Handlers(#[from] handlers::CannotRun),
}

fn run(loaded: Loaded, handlers: Vec<handlers::Prepared>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(loaded, handlers));
    runtime.shutdown_timeout(LAST_TASKS);
    ended
}

async fn serve(loaded: Loaded, handlers: Vec<handlers::Prepared>) -> Result<(), Failed> {
    let world = World::system();
    let listener = health::bind(&loaded).await?;
    let tools = Tools::new(settings::environment(), world.clock.clone())?;
    if handlers.is_empty() {
        tracing::warn!("the settings have no [[handlers]]: this instance runs no jobs, only the duties of the fleet");
    }
    let consumer = Consumer::from_loaded(loaded).world(world);
    let consumer = handlers.into_iter().fold(consumer, |consumer, handler| handler.register(consumer, &tools));
    let live = Arc::new(OnceLock::new());
    let running = consumer.run_with(|running| {
        // Empty until here.
        let _ = live.set(Arc::clone(running));
    });
    tokio::select! {
        biased;
        ended = running => ended?,
        never = health::serve(listener, Arc::clone(&live)) => match never {},
    }
    Ok(())
}

/// For what comes before the log, or where there is none.
fn say(text: &str) {
    // Nobody is left to tell if stderr is gone.
    let _ = writeln!(std::io::stderr(), "longshore-consumer: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}
