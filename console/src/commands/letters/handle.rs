//! `longshore letters PLACE replay|drop`: by name, or by filter with a plan first.
//!
//! A plan names its letters, and what follows it touches no others, whatever has arrived since.

use super::letters;
use super::list::table;
use super::pick::{self, Filter};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Tone, clean};
use crate::session::Session;
use bytes::Bytes;
use longshore_model::limits;
use longshore_producer::{Handled, LetterName, LetterView, Letterbox, Place, Replayed};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::io::AsyncReadExt;

/// Letters of a plan that are shown one by one.
const SHOWN: usize = 20;

/// Which letters, and whether for real.
#[derive(Debug, clap::Args)]
struct Choice {
    /// Which: number, name, or id of the job.
    #[arg(value_name = "LETTER", value_parser = pick::name, conflicts_with_all = ["all", "topic", "reason"])]
    letters: Vec<LetterName>,
    /// All letters of the place, or all that the filters leave.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
    /// With --all or a filter: at most so many, the oldest; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// Do it without asking. Otherwise a plan is shown, and on a terminal asked for.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    choice: Choice,
    /// Send this file's content instead of the letter's body: an envelope that was mended. For one letter.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Drop {
    #[command(flatten)]
    choice: Choice,
}

pub(super) async fn replay(place: Place, args: &Replay, session: &mut Session) -> Result<Exit, Failure> {
    let mended = match &args.body {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    // By name is clear enough, and harms nobody.
    let sure = args.choice.yes || !args.choice.letters.is_empty();
    let Some(chosen) = choose("replay", place, &args.choice, sure, session).await? else { return Ok(Exit::Done) };
    let Handled { letters, fault } = chosen.replay(mended).await?;
    let done = letters.into_iter().map(|(letter, replayed)| Done::replayed(letter, replayed)).collect();
    finish(&Outcome::new("replay", done), fault, session)
}

pub(super) async fn discard(place: Place, args: &Drop, session: &mut Session) -> Result<Exit, Failure> {
    let Some(chosen) = choose("drop", place, &args.choice, args.choice.yes, session).await? else {
        return Ok(Exit::Done);
    };
    let Handled { letters, fault } = chosen.discard().await?;
    let done = letters.into_iter().map(|(letter, ())| Done::new(letter, "dropped", None)).collect();
    finish(&Outcome::new("drop", done), fault, session)
}

/// The letters that are meant, by their lasting names; `None` when there are none, or somebody thought better of it.
async fn choose(
    action: &'static str,
    place: Place,
    choice: &Choice,
    sure: bool,
    session: &mut Session,
) -> Result<Option<Letterbox>, Failure> {
    if choice.letters.is_empty() && !choice.all && choice.filter.is_empty() {
        return Err(Failure::Usage(format!("{action} which letters? name them, give a filter, or --all")));
    }
    let producer = session.producer().await?;
    let meant = choice.filter.apply(producer.letters(place)).named(choice.letters.iter().cloned()).limit(choice.limit);
    let found = meant.list().await?.letters;
    if found.is_empty() && !choice.letters.is_empty() {
        return Err(Failure::NotFound("there are no such letters; they may have been moved by now".into()));
    }
    let chosen = producer.letters(place).named(found.iter().map(|letter| LetterName::Name(letter.name.clone())));
    let plan = Plan { action, count: found.len(), done: found.is_empty(), letters: found };
    if plan.letters.is_empty() {
        session.out.answer(&plan)?;
        return Ok(None);
    }
    if sure {
        return Ok(Some(chosen));
    }
    match session.out.ask(&plan.text(session.out.screen()), &format!("{action} {}?", letters(plan.count))).await {
        Some(true) => Ok(Some(chosen)),
        Some(false) => Ok(None),
        None => {
            session.out.answer(&plan)?;
            Err(Failure::Usage("nothing was done; the same command with --yes does it".into()))
        }
    }
}

/// Never more than an envelope may have.
async fn read(path: &Path) -> Result<Bytes, Failure> {
    let wrong = |error: std::io::Error| Failure::Usage(format!("cannot read {}: {error}", path.display()));
    let file = tokio::fs::File::open(path).await.map_err(wrong)?;
    let mut bytes = Vec::new();
    file.take(limits::ENVELOPE_BYTES as u64 + 1).read_to_end(&mut bytes).await.map_err(wrong)?;
    if bytes.len() > limits::ENVELOPE_BYTES {
        let most = limits::ENVELOPE_BYTES;
        return Err(Failure::Usage(format!("{} has more than {most} bytes, which no envelope may", path.display())));
    }
    Ok(bytes.into())
}

fn finish(outcome: &Outcome, fault: Option<longshore_producer::Fault>, session: &mut Session) -> Result<Exit, Failure> {
    session.out.answer(outcome)?;
    match fault {
        Some(fault) => Err(fault.into()),
        None if outcome.letters.iter().any(|done| !done.gone) => Ok(Exit::Failed),
        None => Ok(Exit::Done),
    }
}

/// What would be done.
#[derive(Debug, Serialize)]
struct Plan {
    action: &'static str,
    count: usize,
    /// Whether there is nothing left to do.
    done: bool,
    letters: Vec<LetterView>,
}

impl Answer for Plan {
    fn text(&self, screen: Screen) -> String {
        if self.count == 0 {
            return format!("no letter fits, so there is none to {}", self.action);
        }
        let shown = table(&self.letters[..self.count.min(SHOWN)]).show(screen);
        let rest = self.count.saturating_sub(SHOWN);
        let more = if rest > 0 { format!("\n… and {rest} more") } else { String::new() };
        format!("{} {}:\n{shown}{more}", self.action, screen.paint(Tone::Strong, &letters(self.count)))
    }
}

/// What was done.
#[derive(Debug, Serialize)]
struct Outcome {
    action: &'static str,
    count: usize,
    /// How many of each result.
    results: BTreeMap<&'static str, usize>,
    letters: Vec<Done>,
}

#[derive(Debug, Serialize)]
struct Done {
    name: String,
    id: Option<String>,
    /// `replayed` or `dropped`; or `ended`, `unreadable`, `refused`, `failed`, and the letter is where it was.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip)]
    gone: bool,
}

impl Outcome {
    fn new(action: &'static str, letters: Vec<Done>) -> Self {
        let mut results = BTreeMap::new();
        for done in &letters {
            *results.entry(done.result).or_default() += 1;
        }
        Self { action, count: letters.len(), results, letters }
    }
}

impl Done {
    fn new(letter: LetterView, result: &'static str, detail: Option<String>) -> Self {
        let gone = matches!(result, "replayed" | "dropped");
        Self { name: letter.name, id: letter.id, result, detail, gone }
    }

    fn replayed(letter: LetterView, replayed: Replayed) -> Self {
        let (result, id, detail) = match replayed {
            Replayed::Sent(id, state) => ("replayed", Some(id), Some(format!("the job is {state}"))),
            Replayed::Ended(id, state) => {
                let how = state.map_or_else(|| "and was forgotten".to_owned(), |state| format!("as {state}"));
                let advice = "drop the letter; `longshore job retry` runs a job of the history again";
                ("ended", Some(id), Some(format!("the job has ended {how}: {advice}")))
            }
            Replayed::Unreadable(why) => {
                let advice = "`show --save FILE`, mend the file, `replay --body FILE`";
                ("unreadable", None, Some(format!("{why}; {advice}")))
            }
            Replayed::Refused(id, why) => ("refused", Some(id), Some(why.to_string())),
            Replayed::Failed(id, fault) => ("failed", Some(id), Some(format!("{fault}; replaying it again is safe"))),
        };
        let done = Self::new(letter, result, detail);
        Self { id: id.map(|id| id.to_string()).or(done.id), ..done }
    }
}

impl Answer for Outcome {
    fn text(&self, screen: Screen) -> String {
        let mut lines: Vec<String> = self
            .letters
            .iter()
            .filter(|done| self.count <= SHOWN || !done.gone)
            .map(|done| line(done, screen))
            .collect();
        if self.count != 1 {
            let counts: Vec<String> = self.results.iter().map(|(result, count)| format!("{count} {result}")).collect();
            lines.push(format!("{}: {}", letters(self.count), counts.join(", ")));
        }
        lines.join("\n")
    }
}

fn line(done: &Done, screen: Screen) -> String {
    let tone = if done.gone { Tone::Good } else { Tone::Bad };
    let id = done.id.as_ref().map(|id| format!(", job {}", clean(id))).unwrap_or_default();
    let detail = done.detail.as_ref().map(|detail| format!(" ({})", clean(detail))).unwrap_or_default();
    format!("letter {}{id}: {}{detail}", done.name, screen.paint(tone, done.result))
}
