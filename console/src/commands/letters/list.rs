//! `longshore letters PLACE list`.

use super::pick::Filter;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone};
use crate::session::Session;
use longshore_producer::{LetterList, LetterView, Place};
use serde::Serialize;

/// Characters of a reason that a table shows.
const REASON: usize = 60;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// At most so many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

pub(super) async fn run(place: Place, args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.producer().await?;
    let list = args.filter.apply(producer.letters(place)).limit(args.limit).list().await?;
    session.out.answer(&Listing(&list))?;
    if list.more {
        session.out.note("there may be more; --limit shows more at once");
    }
    Ok(Exit::Done)
}

/// A listing, as people and programs see it.
#[derive(Serialize)]
#[serde(transparent)]
struct Listing<'l>(&'l LetterList);

impl Answer for Listing<'_> {
    fn text(&self, screen: Screen) -> String {
        match self.0.letters.is_empty() {
            true => "no letters".into(),
            false => table(&self.0.letters).show(screen),
        }
    }
}

/// Letters, one a row.
pub(super) fn table(letters: &[LetterView]) -> Table {
    let mut table = Table::new(&["N", "NAME", "JOB", "TOPIC", "ACCEPTED", "BYTES", "REASON"]);
    for letter in letters {
        let reason = letter.reason.as_deref().unwrap_or_default();
        let short: String = reason.chars().take(REASON).collect();
        let dots = if short.len() < reason.len() { "…" } else { "" };
        table.row([
            letter.number.to_string().into(),
            Cell::new(&letter.name, Tone::Strong),
            letter.id.as_deref().unwrap_or_default().into(),
            letter.topic.as_ref().map(ToString::to_string).unwrap_or_default().into(),
            letter.enqueued.map(|time| time.to_string()).unwrap_or_default().into(),
            letter.bytes.to_string().into(),
            Cell::new(&format!("{short}{dots}"), Tone::Bad),
        ]);
    }
    table
}
