//! `longshore job show`.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Detail;
use crate::session::Session;
use longshore_producer::JobId;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job.
    id: JobId,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let job = producer.show(args.id).await?.ok_or_else(|| Failure::no_job(args.id))?;
    session.out.answer(&Detail(job))?;
    Ok(Exit::Done)
}
