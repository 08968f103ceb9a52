//! `longshore letters PLACE show LETTER`.

use super::pick;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Tone, clean, clean_lines};
use crate::session::Session;
use longshore_producer::{LetterName, LetterView, Place};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Which: its number, its name, or the id of its job (then the oldest).
    #[arg(value_name = "LETTER", value_parser = pick::name)]
    letter: LetterName,
    /// Write the body as it is into a new file, to be mended: `replay LETTER --body FILE` takes it back.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

pub(super) async fn run(place: Place, args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.producer().await?;
    let found = producer.letters(place).named([args.letter.clone()]).whole().limit(1).list().await?;
    let Some(letter) = found.letters.into_iter().next() else {
        return Err(Failure::NotFound(format!("there is no letter {}; it may have been moved by now", args.letter)));
    };
    if let Some(path) = &args.save {
        save(path, &letter.body).await?;
        session.out.note(&format!("saved {} bytes as {}", letter.bytes, path.display()));
    }
    session.out.answer(&Shown(&letter))?;
    Ok(Exit::Done)
}

/// Never over a file that is there.
async fn save(path: &PathBuf, body: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("cannot write {}: {error}", path.display()));
    let mut file = tokio::fs::File::create_new(path).await.map_err(failed)?;
    tokio::io::AsyncWriteExt::write_all(&mut file, body).await.map_err(failed)?;
    file.sync_all().await.map_err(failed)
}

#[derive(Serialize)]
#[serde(transparent)]
struct Shown<'l>(&'l LetterView);

impl Answer for Shown<'_> {
    fn text(&self, screen: Screen) -> String {
        let letter = self.0;
        let mut lines = Vec::new();
        let mut line = |name: &str, text: Option<String>| {
            if let Some(text) = text {
                lines.push(format!("{} {}", screen.paint(Tone::Faint, &format!("{name:<9}")), clean(&text)));
            }
        };
        line("letter", Some(format!("{} ({})", letter.name, letter.number)));
        line("job", letter.id.clone());
        line("topic", letter.topic.as_ref().map(ToString::to_string));
        line("reason", letter.reason.clone());
        line("evicted", letter.evicted_from.as_ref().map(|queue| format!("by the broker, from {queue}")));
        line("accepted", letter.enqueued.map(|time| time.to_string()));
        line("body", Some(format!("{} bytes", letter.bytes)));
        // Whatever is in it is shown and not obeyed.
        lines.push(clean_lines(&String::from_utf8_lossy(&letter.body)).into_owned());
        lines.join("\n")
    }
}
