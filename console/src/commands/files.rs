//! `longshore files`: the place of payload files.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen};
use crate::session::Session;
use serde::Serialize;

/// Look after the place of payload files.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Use the place that this program sees (`blobs.url`) from now on, for the whole fleet: after files were moved to a
    /// place that does not have the id of the old one.
    ///
    /// Jobs that wait with "blob store not shared" go on within a minute.
    Adopt,
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    let Command::Adopt = command;
    let place = session.reader().await?.adopt_files().await?;
    session.out.answer(&Adopted { place })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Adopted {
    /// The id of the place.
    place: String,
}

impl Answer for Adopted {
    fn text(&self, _: Screen) -> String {
        format!("the fleet uses place {} for payload files from now on", self.place)
    }
}
