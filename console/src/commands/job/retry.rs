//! `longshore job retry`: by id or by filter, at a rate, or one job with another payload.

use super::control::{self, Action};
use crate::args::{self, Payload};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Detail;
use crate::session::Session;
use longshore_producer::{Edit, Rate};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Again {
    #[command(flatten)]
    control: control::Args,
    /// No more than so many in a time, evenly spread, such as 50/s or 1000/1h.
    #[arg(long, value_name = "N/DUR", value_parser = args::rate)]
    rate: Option<Rate>,
    /// With one id: another payload; JSON, @FILE, or - for stdin. Prints the new job.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true, conflicts_with = "rate", help_heading = "Changes")]
    payload: Option<Payload>,
    /// With one id: so many failures allowed before the last one.
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "rate", help_heading = "Changes")]
    retries: Option<i32>,
    /// With one id: another time between a failure and the next attempt.
    #[arg(long, value_name = "DUR", value_parser = args::duration, conflicts_with = "rate", help_heading = "Changes")]
    retry_delay: Option<Duration>,
    /// With one id: another longest run of one attempt.
    #[arg(long, value_name = "DUR", value_parser = args::duration, conflicts_with = "rate", help_heading = "Changes")]
    timeout: Option<Duration>,
    /// With one id: another time in which it may be tried again.
    #[arg(long, value_name = "DUR", value_parser = args::duration, conflicts_with = "rate", help_heading = "Changes")]
    retry_for: Option<Duration>,
}

pub(crate) async fn run(args: Again, session: &mut Session) -> Result<Exit, Failure> {
    let Again { control, rate, payload, retries, retry_delay, timeout, retry_for } = args;
    let times = [retry_delay, timeout, retry_for];
    if payload.is_none() && retries.is_none() && times.iter().all(Option::is_none) {
        return control::run_at(Action::Retry, &control, rate, session).await;
    }
    let Some(id) = control.only_id() else {
        return Err(Failure::Usage("a change is for one job; give one id, and no filter".into()));
    };
    let mut edit = Edit::new();
    if let Some(payload) = payload {
        edit = edit.payload(payload.read().await?);
    }
    edit = retries.into_iter().fold(edit, Edit::retries);
    edit = retry_delay.into_iter().fold(edit, Edit::retry_delay);
    edit = timeout.into_iter().fold(edit, Edit::timeout);
    edit = retry_for.into_iter().fold(edit, Edit::retry_for);
    let producer = session.producer().await?;
    let sent = producer.retry_changed(id, edit).await?;
    let job = producer.show(sent.id).await?.ok_or_else(|| Failure::no_job(sent.id))?;
    session.out.answer(&Detail(job))?;
    Ok(Exit::Done)
}
