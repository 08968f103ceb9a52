//! `longshore job complete`: ends an attempt that its handler gave away, by its token.

use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen};
use crate::session::Session;
use longshore_producer::{Completion, JobId, State, Token};
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The token of the attempt, as its handler got it.
    token: Token,
    /// It succeeded, with this result; without --result and --error: with none.
    #[arg(long, value_name = "JSON", conflicts_with = "error")]
    result: Option<String>,
    /// It failed: what went wrong.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// With --error: trying again is useless.
    #[arg(long, requires = "error")]
    permanent: bool,
    /// With --error: try again after this long, whatever the job, its handler and its queue say.
    #[arg(long, value_name = "DUR", value_parser = args::duration, requires = "error", conflicts_with = "permanent")]
    retry_in: Option<Duration>,
    /// With --error: the kind of error, by which rules say how often and after how long it is tried again.
    #[arg(long, value_name = "KIND", value_parser = args::error_kind, requires = "error", conflicts_with = "permanent")]
    kind: Option<String>,
    /// A sentence for people, kept with a success.
    #[arg(long, value_name = "TEXT", conflicts_with = "error")]
    message: Option<String>,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let Args { token, result, error, permanent, retry_in, kind, message } = args;
    let completion = match (error, result) {
        (Some(error), _) if permanent => Completion::fail(error),
        (Some(error), _) => {
            retry_in.map_or_else(|| Completion::retry(&error), |after| Completion::retry_in(after, &error))
        }
        (None, Some(json)) => Completion::raw_result(json)?,
        (None, None) => Completion::done(),
    };
    let completion = kind.into_iter().fold(completion, Completion::kind);
    let completion = message.into_iter().fold(completion, Completion::message);
    let state = session.reader().await?.complete(&token, completion).await?;
    session.out.answer(&Completed { id: token.id, attempt: token.attempt, state })?;
    Ok(Exit::Done)
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Completed {
    id: JobId,
    attempt: u32,
    /// The job's state now.
    state: State,
}

impl Answer for Completed {
    fn text(&self, _: Screen) -> String {
        format!("attempt {} of job {} is over; the job is {}", self.attempt, self.id, self.state)
    }
}
