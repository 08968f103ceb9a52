//! `longshore schedule …`: jobs that are sent at times known before.

mod add;
mod control;
mod show;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Define a schedule, and print it; the same definition again changes nothing.
    Add(Box<add::Args>),
    /// List schedules with their next times, by name.
    List(show::ListArgs),
    /// Print a schedule, its next ten times, and what became of its last ten jobs.
    Show(show::Args),
    /// Let it fire nothing until it is resumed, also through restarts.
    Pause(control::PauseArgs),
    /// Let it fire again, from the next of its times on; what passed meanwhile is over.
    Resume(control::Args),
    /// Send one job more, now. Its overlap policy decides while the job before has not ended.
    Run(control::Args),
    /// Remove it; jobs that it sent go on.
    Remove(control::Args),
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    match command {
        Command::Add(args) => add::run(*args, session).await,
        Command::List(args) => show::list(args, session).await,
        Command::Show(args) => show::run(&args, session).await,
        Command::Pause(args) => control::pause(&args, session).await,
        Command::Resume(args) => control::resume(&args, session).await,
        Command::Run(args) => control::run_now(&args, session).await,
        Command::Remove(args) => control::remove(&args, session).await,
    }
}
