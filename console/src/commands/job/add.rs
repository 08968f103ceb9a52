//! `longshore job add`: one job.

use super::flow::Flow;
use super::patience::Patience;
use super::spec::{InputFile, Spec};
use super::wait::{self, draw_transfer as draw};
use crate::args::{self, Label, Payload};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Detail;
use crate::session::Session;
use longshore_producer::{JobId, Time, Topic};
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What kind of job it is, such as media/thumbnail.
    topic: Topic,
    /// JSON, @FILE, or - for stdin.
    #[arg(long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    payload: Payload,
    /// Run it after so much time, such as 30s, 5m or 1h30m.
    #[arg(long = "in", value_name = "DUR", value_parser = args::duration, conflicts_with = "at")]
    after: Option<Duration>,
    /// Run it at this time, such as 2026-11-21T10:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = args::time)]
    at: Option<Time>,
    /// Failures allowed before the last one; -1 without end [default: the queue's].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retries: Option<i32>,
    /// Time between a failure and the next attempt [default: the queue's].
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    retry_delay: Option<Duration>,
    /// Longest run of one attempt [default: the handler's, else the queue's].
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    patience: Patience,
    /// Drop it when it was not started after so much time.
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    flow: Flow,
    /// A title for people.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// An id of your own (a UUID, best version 7): sending it twice makes one job.
    #[arg(long)]
    id: Option<JobId>,
    /// A payload file, and the name under which the handler finds it where that is another one; may be given several
    /// times. `--file` means the same.
    #[arg(long = "input", visible_alias = "file", value_name = "[NAME=]FILE")]
    inputs: Vec<InputFile>,
    /// A label to find it by; may be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<Label>,
    /// A field of the payload that it is found by without a look at each job, such as asset.name; may be given several
    /// times.
    #[arg(long, value_name = "FIELD")]
    index: Vec<String>,
    /// Wait for its end; exit code 0 only when it succeeded.
    #[arg(long)]
    wait: bool,
    /// Wait no longer than this; the job goes on.
    #[arg(long, value_name = "DUR", value_parser = args::duration, requires = "wait")]
    timeout_wait: Option<Duration>,
    /// Write its output files into this directory.
    #[arg(long, value_name = "DIR", requires = "wait")]
    output_dir: Option<PathBuf>,
}

pub(crate) async fn run(mut args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let payload = args.payload.read().await?;
    let (waits, timeout, output_dir) = (args.wait, args.timeout_wait, args.output_dir.take());
    let spec = args.into_spec(payload)?;
    let producer = session.producer().await?;
    let sent = match session.out.progress() {
        bar if bar.is_shown() => {
            spec.build(&producer).on_transfer(move |transfer| draw(&bar, "sending", &transfer)).send().await?
        }
        _ => spec.build(&producer).send().await?,
    };
    let id = sent.id;
    if sent.existed {
        session.out.note(&format!("job {id} had been sent before; nothing was added"));
    }
    if waits {
        return wait::wait(session, &producer, id, timeout, output_dir.as_deref()).await;
    }
    let accepted = |why: String| Failure::Failed(format!("job {id} was accepted, and cannot be shown: {why}"));
    match producer.show(id).await {
        Ok(Some(job)) => session.out.answer(&Detail(job)).map(|()| Exit::Done),
        Ok(None) => Err(accepted("it has ended and is gone already".into())),
        Err(error) => Err(accepted(error.to_string())),
    }
}

impl Args {
    fn into_spec(self, payload: String) -> Result<Spec, Failure> {
        let payload = RawValue::from_string(payload)
            .map_err(|error| Failure::Usage(format!("the payload is not JSON: {error}")))?;
        Ok(Spec {
            topic: self.topic.to_string(),
            payload: Some(payload),
            id: self.id,
            after: self.after,
            at: self.at,
            retries: self.retries,
            retry_delay: self.retry_delay,
            timeout: self.timeout,
            soft_timeout: self.patience.soft_timeout,
            stall_timeout: self.patience.stall_timeout,
            retry_for: self.patience.retry_for,
            retry_on: self.patience.retry_on,
            expires: self.expires,
            title: self.title,
            labels: self.labels.into_iter().map(|label| (label.name, label.value)).collect(),
            unique: self.flow.unique(),
            limits: self.flow.limits(),
            order_key: self.flow.order_key,
            turn: self.flow.turn,
            index: self.index,
            priority: self.flow.priority,
            placement: self.flow.placement,
            inputs: self.inputs,
        })
    }
}
