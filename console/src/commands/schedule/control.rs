//! `longshore schedule pause|resume|run|remove`.

use super::show;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen};
use crate::session::Session;
use longshore_producer::{JobId, Resumed, RunNow, ScheduleError};
use serde::Serialize;

/// Who does what the command line does, where nobody says.
pub(super) const NOBODY: &str = "the command line";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name.
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// Its name.
    name: String,
    /// Who does it, and why.
    #[arg(long, value_name = "TEXT", default_value = NOBODY)]
    by: String,
}

pub(super) async fn pause(args: &PauseArgs, session: &mut Session) -> Result<Exit, Failure> {
    let schedule = session.reader().await?.schedule(&args.name);
    if !schedule.suspend(&args.by).await? {
        session.out.note("it is paused already; nothing changed");
    }
    show::answer(&schedule, &args.name, session).await
}

pub(super) async fn resume(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let schedule = session.reader().await?.schedule(&args.name);
    match schedule.resume().await? {
        Resumed::Resumed => {}
        Resumed::NotSuspended => session.out.note("it was not paused; nothing changed"),
        Resumed::Gone => {
            let done = Done { schedule: args.name.clone(), removed: true, job: None, waits: false };
            return session.out.answer(&done).map(|()| Exit::Done);
        }
    }
    show::answer(&schedule, &args.name, session).await
}

pub(super) async fn run_now(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let (job, waits) = match session.producer().await?.schedule(&args.name).run_now().await? {
        RunNow::Sent(sent) => (sent.id, false),
        RunNow::Waits { job } => (job, true),
    };
    let done = Done { schedule: args.name.clone(), removed: false, job: Some(job), waits };
    session.out.answer(&done).map(|()| Exit::Done)
}

pub(super) async fn remove(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    if !session.reader().await?.schedule(&args.name).remove().await? {
        return Err(ScheduleError::NotFound(args.name.clone()).into());
    }
    let done = Done { schedule: args.name.clone(), removed: true, job: None, waits: false };
    session.out.answer(&done).map(|()| Exit::Done)
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    schedule: String,
    /// It is gone.
    removed: bool,
    /// The job that it sends now.
    job: Option<JobId>,
    /// That job is sent when the one before has ended.
    waits: bool,
}

impl Answer for Done {
    fn text(&self, _: Screen) -> String {
        match (self.job, self.waits) {
            (Some(job), false) => format!("job {job} is sent"),
            (Some(job), true) => format!("job {job} goes when the one before has ended"),
            (None, _) => format!("schedule {} is gone", self.schedule),
        }
    }
}
