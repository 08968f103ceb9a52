//! `longshore letters PLACE …`: messages that wait for a person.

mod handle;
mod list;
mod pick;
mod show;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::{Subcommand, ValueEnum};
use longshore_producer::{LetterError, Place};

/// Look after messages that could not be delivered, read or trusted.
///
/// `unrouted` found no lane; a consumer moves them when there is one. `dead` were evicted by the broker, or nobody knows
/// whether their job ran. `quarantine` cannot be read.
///
/// Looking takes letters from the broker, holds them until the command ends, and gives them back in their order. While it
/// lasts, others do not see them. A command that is killed loses none, but may leave them in another order. At most the
/// oldest 10 000 are looked at.
///
/// LETTER is a number of the list, a name of the list (which stays the same when letters before it go), or the id of a job.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where they lie.
    #[arg(value_enum, value_name = "PLACE")]
    place: Where,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Where {
    Unrouted,
    Dead,
    Quarantine,
}

impl From<Where> for Place {
    fn from(place: Where) -> Self {
        match place {
            Where::Unrouted => Self::Unrouted,
            Where::Dead => Self::Dead,
            Where::Quarantine => Self::Quarantine,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List letters, oldest first. Changes nothing.
    List(list::Args),
    /// Print one letter, and save its body. Changes nothing.
    Show(show::Args),
    /// Put letters back to work, each under the id of its job.
    ///
    /// A letter goes only when the broker has confirmed the new message. Interrupted, it may be there twice, and the
    /// second copy is refused when it is claimed. A job that the store does not know is accepted first; one that has
    /// ended is not started again, and its letter stays: drop it, or see `longshore job retry`.
    Replay(handle::Replay),
    /// Remove letters for good. Jobs that the store knows stay as they are.
    Drop(handle::Drop),
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let place = args.place.into();
    match args.command {
        Command::List(args) => list::run(place, &args, session).await,
        Command::Show(args) => show::run(place, &args, session).await,
        Command::Replay(args) => handle::replay(place, &args, session).await,
        Command::Drop(args) => handle::discard(place, &args, session).await,
    }
}

impl From<LetterError> for Failure {
    fn from(error: LetterError) -> Self {
        match error {
            LetterError::Fault(fault) => fault.into(),
            LetterError::Pattern(_) | LetterError::NotOne(_) => Self::Usage(error.to_string()),
        }
    }
}

/// A count with its noun.
fn letters(count: usize) -> String {
    if count == 1 { "1 letter".into() } else { format!("{count} letters") }
}
