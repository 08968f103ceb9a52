//! Options about time and retries that jobs and the jobs of schedules have in common.

use crate::args;
use longshore_producer::JobBuilder;
use std::time::Duration;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Patience {
    /// After so long an attempt is told that it had better come to an end [default: the handler's, else the queue's].
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    pub(crate) soft_timeout: Option<Duration>,
    /// Cancel an attempt that gives no sign of life for so long [default: the handler's, else the queue's].
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    pub(crate) stall_timeout: Option<Duration>,
    /// Begin no attempt later than this after the start of the first that failed [default: the handler's, else the
    /// queue's].
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    pub(crate) retry_for: Option<Duration>,
    /// How often, and after how long, a failure of this kind is tried again, such as timeout=2 or
    /// http-503=100,30s,x2,10m; may be given several times.
    #[arg(long = "retry-on", value_name = "KIND=N[,DUR[,xN,DUR]]")]
    pub(crate) retry_on: Vec<String>,
}

impl Patience {
    /// Sets what was given.
    pub(crate) fn set(self, mut job: JobBuilder) -> JobBuilder {
        job = self.soft_timeout.into_iter().fold(job, JobBuilder::soft_timeout);
        job = self.stall_timeout.into_iter().fold(job, JobBuilder::stall_timeout);
        job = self.retry_for.into_iter().fold(job, JobBuilder::retry_for);
        if self.retry_on.is_empty() { job } else { job.retry_rules(&self.retry_on) }
    }
}
