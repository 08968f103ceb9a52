//! `longshore limit`: named limits, how they stand, and changing them while jobs wait.

use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean};
use crate::session::Session;
use clap::ValueEnum;
use longshore_model::limits::KEYS_SHOWN;
use longshore_model::span::show;
use longshore_producer::{LimitPolicy, LimitState, OnFailure, Over, Rate};
use serde::Serialize;
use std::time::Duration;

/// Named limits: how many jobs that ask for one run at once, or in a time.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Every limit, with the jobs that it let through and those that wait for it.
    List,
    /// Set a limit, or change it: what was let through already stays.
    Set(Set),
    /// Take a limit away: jobs that ask for it pass.
    Remove {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["max", "rate"]))]
pub(crate) struct Set {
    /// Its name.
    name: String,
    /// Jobs at once, for each key.
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// Jobs in a time, for each key, such as 10/1s or 500/1h.
    #[arg(long, value_name = "N/DUR", value_parser = args::rate)]
    rate: Option<Rate>,
    /// What becomes of a new job that cannot pass.
    #[arg(long, value_enum, default_value_t)]
    over: WhenOver,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum WhenOver {
    /// It waits.
    #[default]
    Wait,
    /// It is refused.
    Refuse,
    /// It waits, and those that wait already are dropped.
    Replace,
}

impl From<WhenOver> for Over {
    fn from(over: WhenOver) -> Self {
        match over {
            WhenOver::Wait => Self::Wait,
            WhenOver::Refuse => Self::Refuse,
            WhenOver::Replace => Self::Replace,
        }
    }
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    match command {
        Command::List => {}
        Command::Set(set) => {
            let policy = LimitPolicy { max: set.max, rate: set.rate, over: set.over.into(), ..LimitPolicy::default() };
            producer.set_limit(&set.name, &policy).await?;
        }
        Command::Remove { name } => {
            let known = producer.limits().await?.iter().any(|limit| limit.name == name);
            if !known {
                return Err(Failure::NotFound(format!("there is no limit `{name}`; `longshore limit list` shows all")));
            }
            producer.remove_limit(&name).await?;
        }
    }
    session.out.answer(&Limits::new(producer.limits().await?))?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Limits {
    limits: Vec<Limit>,
}

#[derive(Debug, Serialize)]
struct Limit {
    name: String,
    #[serde(flatten)]
    policy: LimitPolicy,
    /// How many keys are in use.
    keys: u64,
    /// The first of these.
    shown: Vec<Key>,
}

#[derive(Debug, Serialize)]
struct Key {
    key: String,
    passed: u64,
    waiting: u64,
}

impl Limits {
    fn new(limits: Vec<LimitState>) -> Self {
        let limit = |limit: LimitState| {
            let key =
                |key: longshore_producer::KeyState| Key { key: key.key, passed: key.passed, waiting: key.waiting };
            let shown = limit.shown.into_iter().map(key).collect();
            Limit { name: limit.name, policy: limit.policy, keys: limit.keys, shown }
        };
        Self { limits: limits.into_iter().map(limit).collect() }
    }
}

impl Limit {
    /// What it allows, for people.
    fn allows(&self) -> String {
        let max = self.policy.max.map(|max| format!("{max} at once"));
        let rate = self
            .policy
            .rate
            .map(|Rate { count, per_ms }| format!("{count} in {}", show(Duration::from_millis(per_ms))));
        let over = match self.policy.over {
            Over::Wait => None,
            Over::Refuse => Some("else refused".to_owned()),
            Over::Replace => Some("else replaces the waiting".to_owned()),
        };
        let length = self.policy.length.map(|length| format!("{} waiting", length.max));
        let failure = (self.policy.on_failure != OnFailure::Continue)
            .then(|| format!("{} after a failure", self.policy.on_failure.as_str()));
        max.into_iter().chain(rate).chain(over).chain(length).chain(failure).collect::<Vec<_>>().join(", ")
    }
}

impl Answer for Limits {
    fn text(&self, screen: Screen) -> String {
        if self.limits.is_empty() {
            return "no limit is set; `longshore limit set NAME --max N` sets one".to_owned();
        }
        let mut table = Table::new(&["LIMIT", "ALLOWS", "KEY", "PASSED", "WAITING"]);
        for limit in &self.limits {
            let (name, allows) = (clean(&limit.name).into_owned(), limit.allows());
            if limit.shown.is_empty() {
                table.row([name.into(), allows.into(), "".into(), "0".into(), "0".into()]);
                continue;
            }
            for (index, key) in limit.shown.iter().enumerate() {
                let first = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
                let waiting = key.waiting.to_string();
                let waiting = if key.waiting > 0 { Cell::new(&waiting, Tone::Waiting) } else { waiting.into() };
                let passed = key.passed.to_string();
                table.row([
                    first(&name).into(),
                    first(&allows).into(),
                    clean(&key.key).into_owned().into(),
                    passed.into(),
                    waiting,
                ]);
            }
        }
        let more = self.limits.iter().filter(|limit| limit.keys > limit.shown.len() as u64);
        let more = more.map(|limit| format!("\nof {} the first {KEYS_SHOWN} of {} keys", limit.name, limit.keys));
        format!("{}{}", table.show(screen), more.collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_time() {
        assert_eq!(args::rate("10/1s"), Ok(Rate { count: 10, per_ms: 1_000 }));
        for bad in ["10", "x/1s", "10/soon"] {
            assert!(args::rate(bad).is_err(), "{bad}");
        }
    }
}
