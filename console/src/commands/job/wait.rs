//! `longshore job wait`, and the end of `job add --wait`.

use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Detail, Progress};
use crate::session::Session;
use longshore_producer::{JobId, JobView, Producer, Report, Transfer};
use std::future::IntoFuture;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job.
    id: JobId,
    /// Wait no longer than this; the job goes on.
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    timeout: Option<Duration>,
    /// Write its output files into this directory.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    wait(session, &producer, args.id, args.timeout, args.output_dir.as_deref()).await
}

/// Waits for the end of a job and prints it; where the time was over, prints it as it is.
pub(super) async fn wait(
    session: &mut Session,
    producer: &Producer,
    id: JobId,
    timeout: Option<Duration>,
    output_dir: Option<&Path>,
) -> Result<Exit, Failure> {
    let report = match until_end(session, producer, id, timeout).await {
        Ok(report) => report,
        Err(failure @ Failure::TimedOut(_)) => {
            if let Ok(Some(job)) = producer.show(id).await {
                session.out.answer(&Detail(job))?;
            }
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    let saved = match output_dir {
        Some(dir) => {
            let bar = session.out.progress();
            report.save_outputs_with(dir, |transfer| draw_transfer(&bar, "fetching", &transfer)).await
        }
        None => Ok(Vec::new()),
    };
    let exit = if report.is_success() { Exit::Done } else { Exit::Failed };
    session.out.answer(&Detail(report.job))?;
    for path in saved? {
        session.out.note(&format!("wrote {}", path.display()));
    }
    Ok(exit)
}

/// Waits, with a bar where somebody looks. Ctrl-C ends the wait and leaves the job alone.
async fn until_end(
    session: &mut Session,
    producer: &Producer,
    id: JobId,
    timeout: Option<Duration>,
) -> Result<Report, Failure> {
    // Listened to before anybody is told.
    let mut interrupt = Interrupt::listen().await;
    session.out.note(&format!("waiting for job {id}; Ctrl-C leaves it alone"));
    let bar = session.out.progress();
    let outcome = producer.outcome(id);
    let outcome = match timeout {
        Some(timeout) => outcome.timeout(timeout),
        None => outcome,
    };
    let mut outcome = pin!(outcome.into_future());
    let mut follow = bar.is_shown().then(|| producer.follow(id));
    loop {
        let change = async {
            match &mut follow {
                Some(follow) => follow.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = &mut outcome => return Ok(ended?),
            () = interrupt.heard() => {
                return Err(Failure::Interrupted(format!(
                    "not waiting any more; job {id} goes on: `longshore job wait {id}` waits for it again, `longshore \
                     job stop {id}` stops it"
                )));
            }
            change = change => match change {
                Ok(Some(change)) => draw(&bar, &change.job),
                // The outcome has the last word.
                Ok(None) | Err(_) => follow = None,
            },
        }
    }
}

/// Shows how far a file is.
pub(super) fn draw_transfer(bar: &Progress, what: &str, transfer: &Transfer) {
    bar.bytes(transfer.size);
    bar.say(&format!("{what} {}", transfer.name));
    bar.at(transfer.done);
}

fn draw(bar: &Progress, job: &JobView) {
    let text = match (&job.progress, &job.waiting) {
        (Some(progress), _) => {
            bar.length(progress.steps, "steps");
            bar.at(progress.step);
            format!("{}: {}", job.state, progress.text.as_deref().unwrap_or_default())
        }
        (None, Some(waiting)) => format!("{}: {}", job.state, waiting.detail),
        (None, None) => job.state.to_string(),
    };
    bar.say(&text);
}
