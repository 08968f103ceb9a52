//! The options by which a job waits for others: its order, its limits, its unique key. `job add` and `schedule add` share
//! them.

use crate::args;
use longshore_model::envelope::LimitUse;
use longshore_model::span;
use longshore_producer::{JobBuilder, Placement, Priority, Unique, UniqueMode};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Flow {
    /// Run it after the jobs of its queue that have the same key, one at a time.
    #[arg(long, value_name = "KEY")]
    pub(crate) order_key: Option<String>,
    /// The only job of its topic with this key: while another has it, that one is the answer.
    #[arg(long, value_name = "KEY")]
    unique_key: Option<String>,
    /// How long the key is taken: until_started, until_finished, period=DUR, debounce=DUR (the newest payload wins, DUR
    /// after it), latest (one runs, one waits with the newest payload).
    #[arg(long, value_name = "MODE", default_value = "until_finished", requires = "unique_key", value_parser = unique_mode)]
    unique: (UniqueMode, Duration),
    /// A named limit that it counts against, and the key of its share; may be given several times.
    #[arg(long = "limit", value_name = "NAME[=KEY]")]
    limits: Vec<String>,
    /// On whose behalf it waits for a limit: turns take turns.
    #[arg(long, value_name = "NAME")]
    pub(crate) turn: Option<String>,
    /// Whose turn it is first where jobs wait for a limit: urgent, normal or low [default: the queue's].
    #[arg(long, value_name = "P")]
    pub(crate) priority: Option<Priority>,
    /// Where it runs: any, local_first, prefer_creator, leader, label:NAME=VALUE, prefer_label:NAME=VALUE or
    /// target:INSTANCE [default: the queue's].
    #[arg(long, value_name = "WHERE")]
    pub(crate) placement: Option<Placement>,
}

impl Flow {
    pub(crate) fn unique(&self) -> Option<Unique> {
        let key = self.unique_key.clone()?;
        Some(Unique { key, mode: self.unique.0, ms: span::ms(self.unique.1) })
    }

    pub(crate) fn limits(&self) -> Vec<LimitUse> {
        self.limits.iter().map(|text| limit_use(text)).collect()
    }

    /// Writes them into a job.
    pub(crate) fn apply(self, mut job: JobBuilder) -> JobBuilder {
        for limit in self.limits() {
            job = job.limit_key(limit.name, limit.key);
        }
        if let Some(Unique { key, mode, ms }) = self.unique() {
            job = job.unique_mode(key, mode, Duration::from_millis(ms));
        }
        if let Some(key) = self.order_key {
            job = job.order_key(key);
        }
        if let Some(priority) = self.priority {
            job = job.priority(priority);
        }
        if let Some(placement) = self.placement {
            job = job.placement(placement);
        }
        match self.turn {
            Some(turn) => job.turn(turn),
            None => job,
        }
    }
}

/// `until_finished`, `debounce=5s`.
fn unique_mode(text: &str) -> Result<(UniqueMode, Duration), String> {
    let (mode, span) = text.split_once('=').map_or((text, None), |(mode, span)| (mode, Some(span)));
    let span = span.map(args::duration).transpose().map_err(|error| error.to_string())?;
    Ok((mode.parse()?, span.unwrap_or_default()))
}

/// `NAME` or `NAME=KEY`.
fn limit_use(text: &str) -> LimitUse {
    let (name, key) = text.split_once('=').unwrap_or((text, ""));
    LimitUse { name: name.to_owned(), key: key.to_owned() }
}
