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
    /// Of an earlier attempt, by its number: the end of what it wrote.
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    attempt: Option<u32>,
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
    let log = match args.attempt {
        None => job.log,
        Some(number) => {
            let found = job.attempts.into_iter().find(|attempt| attempt.number == number);
            let no =
                || Failure::NotFound(format!("nothing is kept of attempt {number} of job {}; see job show", args.id));
            found.ok_or_else(no)?.log
        }
    };
    let log = log.into_iter().map(Line).collect();
    session.out.answer(&Log { id: job.id, state: job.state, attempt: args.attempt.unwrap_or(job.attempt), log })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Log {
    id: JobId,
    state: State,
    attempt: u32,
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
        let LogView { at, level, text, truncated } = &self.0;
        let tone = match level.as_str() {
            "error" => Tone::Bad,
            "warn" => Tone::Waiting,
            _ => Tone::Plain,
        };
        let (at, level) = (screen.paint(Tone::Faint, &clean(&moment(at))), screen.paint(tone, &clean(level)));
        let more = if *truncated { " …(older lines were let go)" } else { "" };
        format!("{at} {level:<5} {}{more}", clean(text))
    }
}
