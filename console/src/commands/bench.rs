//! `longshore bench`: how fast jobs are sent and run here.

use crate::bench::{BenchError, Figures, Plan, measure};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Table};
use crate::session::Session;
use longshore_producer::{Topic, World};
use serde::Serialize;

/// Send and run jobs that do nothing, and measure how fast.
///
/// Producer and consumer are in this process; broker and store are those of the settings, else embedded. Use a
/// namespace of its own on services that others use. The jobs are removed at the end.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Jobs that are enqueued in bulk and run at concurrency 100; other measurements take fewer.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    /// Topic of the jobs. Nobody else may take it.
    #[arg(long, value_name = "TOPIC", default_value = "bench/noop")]
    topic: Topic,
    /// Jobs per second while latency is measured.
    #[arg(long, value_name = "R", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
}

/// Seconds that the latency measurement takes, unless that were more than all jobs.
const TIMED_SECONDS: usize = 10;

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let world = World::system();
    let settings = session.settings_or_embedded("bench", &world)?;
    let jobs = args.jobs as usize;
    let timed = jobs.min(args.rate as usize * TIMED_SECONDS);
    let plan = Plan { jobs, timed, rate: args.rate, topic: args.topic };
    let bar = session.out.progress();
    bar.length(0, "steps");
    let mut steps = 0;
    let measured = Box::pin(measure(&settings, &world, &plan, |what| {
        bar.say(what);
        bar.at(steps);
        steps += 1;
    }));
    let measured = tokio::select! {
        biased;
        Ok(()) = tokio::signal::ctrl_c() => {
            let left = "ended; its jobs are left, and run by the next bench of this topic";
            return Err(Failure::Interrupted(left.into()));
        }
        measured = measured => measured,
    };
    drop(bar);
    let figures = measured?;
    session.out.answer(&Measured { broker: settings.broker.url.shown(), jobs, rate: args.rate, figures })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Measured {
    broker: String,
    jobs: usize,
    rate: u32,
    #[serde(flatten)]
    figures: Figures,
}

impl Answer for Measured {
    fn text(&self, screen: Screen) -> String {
        let mut table = Table::new(&["MEASURED", "FIGURE"]);
        for (name, value) in self.figures.rows() {
            let digits = if value < 100.0 { 2 } else { 0 };
            table.row([name.into(), format!("{value:.digits$}").into()]);
        }
        format!("{} jobs on {}, latency at {} per second\n{}", self.jobs, self.broker, self.rate, table.show(screen))
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Fault(fault) => fault.into(),
            BenchError::Taken(..) | BenchError::Refused(_) => Self::Usage(error.to_string()),
            BenchError::Stalled { .. } | BenchError::Wait(_) => Self::TimedOut(error.to_string()),
            _ => Self::Failed(error.to_string()),
        }
    }
}
