//! `longshore job stop|retry|remove`: by id, or by filter with a plan first.

use super::filter::Filter;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Progress, Screen, Tone, clean};
use crate::session::Session;
use longshore_model::span::show;
use longshore_producer::{JobId, Producer, Rate, Removed, RetryError, Sent, State, Stopped};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Jobs of one call: many enough to be quick, few enough to show progress.
const PART: usize = 1_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The jobs. Without ids, those that a filter finds: first a plan, then with --yes for real.
    #[arg(value_name = "ID")]
    ids: Vec<JobId>,
    #[command(flatten)]
    filter: Filter,
    /// With a filter: at most so many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: usize,
    /// With a filter: do it.
    #[arg(long)]
    yes: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Stop,
    Retry,
    Remove,
}

pub(crate) async fn run(action: Action, args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    run_at(action, args, None, session).await
}

/// As [`run`]; retries at a rate.
pub(crate) async fn run_at(
    action: Action,
    args: &Args,
    rate: Option<Rate>,
    session: &mut Session,
) -> Result<Exit, Failure> {
    match (args.ids.is_empty(), args.filter.is_empty()) {
        (true, true) => Err(Failure::Usage(format!(
            "{} which jobs? give ids, or a filter such as --topic 'media/**' (--topic '**' for all)",
            action.word()
        ))),
        (false, false) => Err(Failure::Usage("both ids and a filter; use one of them".into())),
        (false, true) => by_id(action, &args.ids, rate, session).await,
        (true, false) => by_filter(action, args, rate, session).await,
    }
}

/// Removes what a filter finds: the plan first, then with `yes` for real.
pub(crate) async fn remove_found(filter: Filter, yes: bool, session: &mut Session) -> Result<Exit, Failure> {
    let args = Args { ids: Vec::new(), filter, limit: 0, yes };
    by_filter(Action::Remove, &args, None, session).await
}

/// Purges of the history what a filter finds, or of that only what ended longer ago: as [`remove_found`].
pub(crate) async fn purge_history(
    filter: Filter,
    older_than: Option<Duration>,
    yes: bool,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let (mut ids, mut states) = (Vec::new(), BTreeMap::new());
    for state in State::ALL.into_iter().filter(|state| state.is_terminal() && filter.names(*state, true)) {
        let mut found = filter.apply(producer.jobs().state(state)).limit(0).ids().await?;
        if let Some(age) = older_than {
            found = producer.ended_before(found, age).await?;
        }
        if !found.is_empty() {
            states.insert(state, found.len());
        }
        ids.extend(found);
    }
    carry_out(Action::Remove, &producer, &ids, states, None, yes, session).await
}

/// A retry publishes; the others need the store alone.
async fn connect(action: Action, session: &mut Session) -> Result<Producer, Failure> {
    match action {
        Action::Retry => session.producer().await,
        Action::Stop | Action::Remove => session.reader().await,
    }
}

async fn by_id(action: Action, ids: &[JobId], rate: Option<Rate>, session: &mut Session) -> Result<Exit, Failure> {
    let producer = connect(action, session).await?;
    let mut outcome = Outcome::new(action, Listing::All);
    let ended = outcome.act(&producer, ids, rate, &session.out.progress()).await;
    session.out.answer(&outcome)?;
    ended?;
    let missing = outcome.results.contains_key("not_found");
    match outcome.failed() {
        true => Ok(Exit::Failed),
        false if missing => Err(Failure::NotFound(
            "some of the jobs do not exist: the ids are wrong, or they ended and \
                                                   were removed or purged"
                .into(),
        )),
        false => Ok(Exit::Done),
    }
}

async fn by_filter(action: Action, args: &Args, rate: Option<Rate>, session: &mut Session) -> Result<Exit, Failure> {
    let producer = connect(action, session).await?;
    let (mut ids, mut states) = (Vec::new(), BTreeMap::new());
    // State by state, so that the plan can tell how many are where.
    for state in State::ALL.into_iter().filter(|state| args.filter.names(*state, action.by_default(*state))) {
        let left = match args.limit {
            0 => 0,
            limit if ids.len() >= limit => break,
            limit => limit - ids.len(),
        };
        let found = args.filter.apply(producer.jobs().state(state)).limit(left).ids().await?;
        if !found.is_empty() {
            states.insert(state, found.len());
        }
        ids.extend(found);
    }
    carry_out(action, &producer, &ids, states, rate, args.yes, session).await
}

/// Shows the plan, and with `yes` does it.
async fn carry_out(
    action: Action,
    producer: &Producer,
    ids: &[JobId],
    states: BTreeMap<State, usize>,
    rate: Option<Rate>,
    yes: bool,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let takes_ms = rate.map(|rate| ids.len().saturating_sub(1) as u64 * rate.per_ms / u64::from(rate.count));
    let plan = Plan { action, count: ids.len(), states, takes_ms, done: false };
    if ids.is_empty() {
        session.out.answer(&Plan { done: true, ..plan })?;
        return Ok(Exit::Done);
    }
    if !yes {
        session.out.answer(&plan)?;
        return Err(Failure::Usage("nothing was done; the same command with --yes does it".into()));
    }
    session.out.note(&plan.text(session.out.screen()));
    let mut outcome = Outcome::new(action, Listing::Failures);
    let ended = outcome.act(producer, ids, rate, &session.out.progress()).await;
    session.out.answer(&outcome)?;
    ended?;
    Ok(if outcome.failed() { Exit::Failed } else { Exit::Done })
}

impl Args {
    /// The one job that is meant, if it is one, by its id.
    pub(crate) fn only_id(&self) -> Option<JobId> {
        match self.ids.as_slice() {
            [id] if self.filter.is_empty() => Some(*id),
            _ => None,
        }
    }
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Retry => "retry",
            Self::Remove => "remove",
        }
    }

    /// Whether jobs in this state are meant where the filter names none.
    fn by_default(self, state: State) -> bool {
        match self {
            Self::Stop => !state.is_terminal(),
            Self::Retry => state.is_terminal() && state != State::Succeeded,
            Self::Remove => true,
        }
    }
}

/// What would be done.
#[derive(Debug, Serialize)]
struct Plan {
    action: Action,
    count: usize,
    states: BTreeMap<State, usize>,
    /// How long it takes at least, where a rate was given, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    takes_ms: Option<u64>,
    /// Whether there is nothing left to do.
    done: bool,
}

impl Answer for Plan {
    fn text(&self, screen: Screen) -> String {
        if self.count == 0 {
            return format!("no job fits, so there is none to {}", self.action.word());
        }
        let states: Vec<String> = self.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let count = screen.paint(Tone::Strong, &jobs(self.count));
        let takes = self.takes_ms.map(|ms| format!(", in {} at least", show(Duration::from_millis(ms))));
        format!("{} {count}: {}{}", self.action.word(), states.join(", "), takes.unwrap_or_default())
    }
}

/// What was done.
#[derive(Debug, Serialize)]
struct Outcome {
    action: Action,
    count: usize,
    /// How many of each result.
    results: BTreeMap<&'static str, usize>,
    jobs: Vec<Done>,
    #[serde(skip)]
    listing: Listing,
}

/// Which jobs people want to see one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    All,
    Failures,
}

#[derive(Debug, Serialize)]
struct Done {
    id: JobId,
    /// `stopped`, `asked`, `ended`; `dropped`, `purged`; `retried`, `existed`; or `not_found`, `not_ended`, `failed`.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retried_as: Option<JobId>,
}

impl Outcome {
    const fn new(action: Action, listing: Listing) -> Self {
        Self { action, count: 0, results: BTreeMap::new(), jobs: Vec::new(), listing }
    }

    /// Does it, part by part. Where the store goes away, what was done so far is known.
    async fn act(
        &mut self,
        producer: &Producer,
        ids: &[JobId],
        rate: Option<Rate>,
        bar: &Progress,
    ) -> Result<(), Failure> {
        bar.length(ids.len() as u64, "jobs");
        if let Some(rate) = rate {
            let each = |id, answer| {
                self.note(Done::retried(id, answer));
                bar.at(self.count as u64);
            };
            producer.retry_paced(ids.iter().copied(), rate, each).await;
            return Ok(());
        }
        for part in ids.chunks(PART) {
            let part_ids = part.iter().copied();
            let done: Vec<Done> = match self.action {
                Action::Stop => {
                    let answers = producer.stop(part_ids, "the command line").await?;
                    part.iter().zip(answers).map(|(id, answer)| Done::stopped(*id, answer)).collect()
                }
                Action::Remove => {
                    let answers = producer.remove(part_ids).await?;
                    part.iter().zip(answers).map(|(id, answer)| Done::removed(*id, answer)).collect()
                }
                Action::Retry => {
                    let answers = producer.retry(part_ids).await;
                    part.iter().zip(answers).map(|(id, answer)| Done::retried(*id, answer)).collect()
                }
            };
            for done in done {
                self.note(done);
            }
            bar.at(self.count as u64);
        }
        Ok(())
    }

    fn note(&mut self, done: Done) {
        *self.results.entry(done.result).or_default() += 1;
        self.jobs.push(done);
        self.count = self.jobs.len();
    }

    fn failed(&self) -> bool {
        self.jobs.iter().any(Done::is_failure)
    }
}

impl Done {
    const fn new(id: JobId, result: &'static str) -> Self {
        Self { id, result, detail: None, retried_as: None }
    }

    fn with(self, detail: &dyn std::fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    fn stopped(id: JobId, answer: Stopped) -> Self {
        match answer {
            Stopped::Now => Self::new(id, "stopped"),
            Stopped::Asked => Self::new(id, "asked").with(&"it runs, and its handler was asked to end"),
            Stopped::Ended(state) => Self::new(id, "ended").with(&format!("it had ended before as {state}")),
            Stopped::NotFound => Self::new(id, "not_found"),
            Stopped::Damaged(detail) => Self::new(id, "failed").with(&detail),
        }
    }

    fn removed(id: JobId, answer: Removed) -> Self {
        match answer {
            Removed::Dropped => Self::new(id, "dropped"),
            Removed::Purged => Self::new(id, "purged"),
            Removed::NotFound => Self::new(id, "not_found"),
            Removed::Damaged(detail) => Self::new(id, "failed").with(&detail),
        }
    }

    fn retried(id: JobId, answer: Result<Sent, RetryError>) -> Self {
        match answer {
            Ok(sent) => {
                let done = if sent.existed {
                    Self::new(id, "existed").with(&"an earlier retry has not ended")
                } else {
                    Self::new(id, "retried")
                };
                Self { retried_as: Some(sent.id), ..done }
            }
            Err(RetryError::NotFound(_)) => Self::new(id, "not_found"),
            Err(error @ RetryError::NotEnded { .. }) => Self::new(id, "not_ended").with(&error),
            Err(error) => Self::new(id, "failed").with(&error),
        }
    }

    fn is_failure(&self) -> bool {
        matches!(self.result, "failed" | "not_ended")
    }
}

impl Answer for Outcome {
    fn text(&self, screen: Screen) -> String {
        let shown = |done: &&Done| self.listing == Listing::All || done.is_failure();
        let mut lines: Vec<String> = self.jobs.iter().filter(shown).map(|done| line(done, screen)).collect();
        if self.listing == Listing::Failures || self.count > 1 {
            let counts: Vec<String> = self.results.iter().map(|(result, n)| format!("{n} {}", words(result))).collect();
            lines.push(format!("{}: {}", jobs(self.count), counts.join(", ")));
        }
        lines.join("\n")
    }
}

fn line(done: &Done, screen: Screen) -> String {
    let tone = match done.result {
        "failed" | "not_ended" | "not_found" => Tone::Bad,
        _ => Tone::Good,
    };
    let result = screen.paint(tone, &words(done.result));
    let retried = done.retried_as.map(|id| format!(" as {id}")).unwrap_or_default();
    let detail = done.detail.as_ref().map(|detail| format!(" ({})", clean(detail))).unwrap_or_default();
    format!("job {}: {result}{retried}{detail}", done.id)
}

fn words(result: &str) -> String {
    result.replace('_', " ")
}

fn jobs(count: usize) -> String {
    if count == 1 { "1 job".into() } else { format!("{count} jobs") }
}
