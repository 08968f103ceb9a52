//! `longshore queue`: the queues of the fleet, and pauses.

mod apply;
mod list;
mod pause;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;

/// The queues of the fleet: policies for the jobs of some topics.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Every queue: what it takes, its kind and limits, how many jobs wait and run, and whether it is paused.
    List,
    /// One queue with all that it says.
    Show {
        /// Its name.
        name: String,
    },
    /// Apply a file of [[queues]] for the whole fleet: checked whole, the difference first, then all of it or nothing.
    Apply(apply::Apply),
    /// What was applied, when and by whom, newest first.
    History,
    /// Every pause: by whom, why, until when, and how many jobs it holds.
    Pauses,
    /// Start no more of its jobs, anywhere, until it is resumed; what runs goes on.
    Pause(pause::Pause),
    /// Let its jobs run again.
    Resume {
        /// The name of a queue, or topic:TOPIC, or key:QUEUE:KEY, or all.
        what: String,
    },
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    match command {
        Command::List => list::list(session).await,
        Command::Show { name } => list::show(&name, session).await,
        Command::Apply(args) => apply::apply(args, session).await,
        Command::History => apply::history(session).await,
        Command::Pauses => pause::list(session).await,
        Command::Pause(args) => pause::pause(args, session).await,
        Command::Resume { what } => pause::resume(&what, session).await,
    }
}
