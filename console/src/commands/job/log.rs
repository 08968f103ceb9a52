//! `longshore job log`: what its handler wrote, once or until the job ends.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Tone, clean, moment};
use crate::session::Session;
use longshore_model::snapshot::LogView;
use longshore_producer::{JobId, State};
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job.
    id: JobId,
    /// Print new lines until the job ends.
    #[arg(short, long)]
    follow: bool,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    if args.follow {
        let mut changes = producer.follow(args.id);
        while let Some(change) = changes.next().await? {
            for line in change.new_log {
                session.out.answer(&Line(line))?;
            }
        }
        return Ok(Exit::Done);
    }
    let job = producer.show(args.id).await?.ok_or_else(|| Failure::no_job(args.id))?;
    session.out.answer(&Log { id: job.id, state: job.state, log: job.log.into_iter().map(Line).collect() })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Log {
    id: JobId,
    state: State,
    log: Vec<Line>,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(LogView);

impl Answer for Log {
    fn text(&self, screen: Screen) -> String {
        let lines: Vec<String> = self.log.iter().map(|line| line.text(screen)).collect();
        lines.join("\n")
    }
}

impl Answer for Line {
    fn text(&self, screen: Screen) -> String {
        let LogView { at, level, text } = &self.0;
        let tone = match level.as_str() {
            "error" => Tone::Bad,
            "warn" => Tone::Waiting,
            _ => Tone::Plain,
        };
        let (at, level) = (screen.paint(Tone::Faint, &clean(&moment(at))), screen.paint(tone, &clean(level)));
        format!("{at} {level:<5} {}", clean(text))
    }
}
