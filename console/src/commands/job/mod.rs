//! `longshore job …`.

mod add;
mod complete;
pub(crate) mod control;
mod explain;
pub(crate) mod filter;
pub(crate) mod flow;
mod import;
mod lines;
mod list;
mod log;
mod patience;
mod retry;
mod show;
mod spec;
mod wait;

pub(crate) use patience::Patience;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a job, and print it.
    Add(Box<add::Args>),
    /// Send many jobs: one JSON object a line.
    Import(import::Args),
    /// Find jobs: those that have not ended oldest first, then those that have, newest first.
    List(list::Args),
    /// Print all that is known of a job.
    Show(show::Args),
    /// Tell why a job is where it is, and what would have to change.
    Explain(explain::Args),
    /// Print the log of a job.
    Log(log::Args),
    /// Wait for the end of a job; exit code 0 only when it succeeded.
    Wait(wait::Args),
    /// Stop jobs: those that wait at once, those that run through their handler.
    Stop(control::Args),
    /// End an attempt that its handler gave away, by its token.
    Complete(complete::Args),
    /// Send jobs that have ended again, each as a new job.
    Retry(Box<retry::Again>),
    /// Remove jobs: what has not ended is dropped, what has ended leaves the history.
    Remove(control::Args),
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    match command {
        Command::Add(args) => add::run(*args, session).await,
        Command::Import(args) => import::run(&args, session).await,
        Command::List(args) => list::run(&args, session).await,
        Command::Show(args) => show::run(&args, session).await,
        Command::Explain(args) => explain::run(&args, session).await,
        Command::Log(args) => log::run(&args, session).await,
        Command::Wait(args) => wait::run(&args, session).await,
        Command::Stop(args) => control::run(control::Action::Stop, &args, session).await,
        Command::Complete(args) => complete::run(args, session).await,
        Command::Retry(args) => retry::run(*args, session).await,
        Command::Remove(args) => control::run(control::Action::Remove, &args, session).await,
    }
}
