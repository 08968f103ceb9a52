//! `longshore history`: jobs that have ended, and letting go of them before their retention does.

use crate::args;
use crate::commands::job::control;
use crate::commands::job::filter::Filter;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use longshore_producer::State;
use std::time::Duration;

/// Jobs that have ended.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Purge some of it now: the plan first, then with --yes for real. What is kept without that is said by
    /// `keep` of queues and by the settings under retention.
    Purge(Purge),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Purge {
    /// That ended longer ago than this, such as 7d.
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    older_than: Option<Duration>,
    #[command(flatten)]
    filter: Filter,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    let Command::Purge(args) = command;
    let running = State::ALL.into_iter().find(|state| !state.is_terminal() && args.filter.names(*state, false));
    if let Some(state) = running {
        let why = format!("{state} is not a way to end; `longshore queue purge` removes what waits");
        return Err(Failure::Usage(why));
    }
    if args.older_than.is_none() && args.filter.is_empty() {
        let why =
            "purge what of the history? say --older-than 7d, or a filter such as --queue media (--topic '**' for all)";
        return Err(Failure::Usage(why.into()));
    }
    control::purge_history(args.filter, args.older_than, args.yes, session).await
}
