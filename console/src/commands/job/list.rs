//! `longshore job list`.

use super::filter::Filter;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, moment, state_tone, wait_line};
use crate::session::Session;
use longshore_producer::Jobs;
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// At most so many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on where an earlier page ended (its `next`).
    #[arg(long, value_name = "C")]
    cursor: Option<String>,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let mut find = args.filter.apply_all(producer.jobs()).limit(args.limit);
    if let Some(cursor) = &args.cursor {
        find = find.from_cursor(cursor);
    }
    let listing = Listing(find.list().await?);
    session.out.answer(&listing)?;
    let Listing(Jobs { next, damaged, partial, .. }) = listing;
    for job in damaged {
        session.out.error(&format!("job {} cannot be read: {}", job.id, job.detail));
    }
    if let (true, Some(next)) = (partial, &next) {
        session.out.note(&format!(
            "only a part of the jobs was looked at: the same command with --cursor {next}, or with more of a filter"
        ));
    } else if let Some(next) = next {
        session.out.note(&format!("there are more: the same command with --cursor {next}, or with a higher --limit"));
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listing(Jobs);

impl Answer for Listing {
    fn text(&self, screen: Screen) -> String {
        if self.0.jobs.is_empty() && screen.terminal {
            return "no jobs".into();
        }
        let mut table = Table::new(&["JOB", "TOPIC", "STATE", "ATTEMPT", "CREATED", "INSTANCE", "TITLE", "MESSAGE"]);
        for job in &self.0.jobs {
            table.row([
                job.id.to_string().into(),
                job.topic.as_str().into(),
                Cell::new(job.state.as_str(), state_tone(job.state)),
                job.attempt.to_string().into(),
                moment(&job.created).into(),
                job.instance.as_deref().unwrap_or_default().into(),
                job.title.as_deref().unwrap_or_default().into(),
                Cell::new(&wait_line(job), Tone::Faint),
            ]);
        }
        table.show(screen)
    }
}
