//! `longshore schedule add`: defines one.

use super::show;
use crate::args::{self, Label, Payload};
use crate::commands::job::Patience;
use crate::commands::job::flow::Flow;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use longshore_producer::{Defined, JobBuilder, Missed, Overlap, ScheduleHandle, Time, Topic};
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("when").args(["cron", "every", "at"]).required(true).multiple(true)))]
pub(crate) struct Args {
    /// Its name: letters, digits and -_./:
    name: String,
    /// What kind of job it sends, such as report/build.
    topic: Topic,
    /// Minute, hour, day of the month, month and day of the week, with seconds before them if there are six; may be
    /// given several times.
    #[arg(long, value_name = "EXPR")]
    cron: Vec<String>,
    /// Every so often, such as 30s, 10m or 1d; may be given several times.
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    every: Vec<Duration>,
    /// Once, such as 2026-11-21T10:00:00Z; may be given several times.
    #[arg(long, value_name = "TIME", value_parser = args::time)]
    at: Vec<Time>,
    /// The zone whose clock cron goes by, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// JSON, @FILE, or - for stdin.
    #[arg(long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    payload: Payload,
    /// While the job before has not ended: `allow` another, `skip` the time, or `queue_one`.
    #[arg(long, value_name = "POLICY", default_value_t)]
    overlap: Overlap,
    /// Of times that nobody was there for: `skip` all, run the `last`, or `all:6h`, those of six hours.
    #[arg(long, value_name = "POLICY", default_value_t)]
    missed: Missed,
    /// Put each time off by up to so much, always the same for the same time.
    #[arg(long, value_name = "DUR", value_parser = args::duration, default_value = "0s")]
    jitter: Duration,
    /// It fires nothing before it is resumed.
    #[arg(long)]
    paused: bool,
    /// Failures allowed before the last one; -1 without end [default: the queue's].
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    retries: Option<i32>,
    /// Longest run of one attempt [default: the handler's, else the queue's].
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    patience: Patience,
    /// Drop a job when it was not started after so much time.
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    expires: Option<Duration>,
    #[command(flatten)]
    flow: Flow,
    /// A title for people.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// A label of its jobs; may be given several times.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<Label>,
}

pub(super) async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let payload = args.payload.read().await?;
    let producer = session.reader().await?;
    let mut job = producer.raw(args.topic.as_str(), &payload);
    job = set(job, args.retries, JobBuilder::retries);
    job = args.patience.set(set(job, args.timeout, JobBuilder::timeout));
    job = set(job, args.expires, JobBuilder::expires_in);
    job = set(job, args.title, JobBuilder::title);
    job = args.flow.apply(job);
    for label in args.labels {
        job = job.label(label.name, label.value);
    }
    let mut schedule = producer.schedule(&args.name).job(job).zone(args.zone);
    schedule = schedule.overlap(args.overlap).missed(args.missed).jitter(args.jitter);
    schedule = args.cron.into_iter().fold(schedule, ScheduleHandle::cron);
    schedule = args.every.into_iter().fold(schedule, ScheduleHandle::every);
    schedule = args.at.into_iter().fold(schedule, ScheduleHandle::at);
    if args.paused {
        schedule = schedule.suspended(super::control::NOBODY);
    }
    match schedule.put().await? {
        Defined::Created => {}
        Defined::Changed => session.out.note("it had another definition before"),
        Defined::Unchanged => session.out.note("it is defined so already; nothing changed"),
    }
    show::answer(&producer.schedule(&args.name), &args.name, session).await
}

fn set<T>(job: JobBuilder, value: Option<T>, with: impl FnOnce(JobBuilder, T) -> JobBuilder) -> JobBuilder {
    match value {
        Some(value) => with(job, value),
        None => job,
    }
}
