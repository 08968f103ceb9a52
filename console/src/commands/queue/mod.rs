//! `longshore queue`: the queues of the fleet, and pauses.

mod apply;
mod list;
mod pause;

use crate::commands::job::control;
use crate::commands::job::filter::Filter;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use longshore_producer::State;

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
    /// Remove its jobs that wait: the plan first, then with --yes for real.
    Purge {
        /// Its name.
        name: String,
        /// Also those that run: they are cancelled.
        #[arg(long)]
        running: bool,
        /// Also those that have ended.
        #[arg(long)]
        history: bool,
        /// Do it.
        #[arg(long)]
        yes: bool,
    },
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
        Command::Purge { name, running, history, yes } => {
            let meant = |state: &State| match state {
                State::Active => running,
                state if state.is_terminal() => history,
                _ => true,
            };
            let states = State::ALL.into_iter().filter(meant).collect();
            control::remove_found(Filter::of_queue(name, states), yes, session).await
        }
        Command::Resume { what } => pause::resume(&what, session).await,
    }
}
