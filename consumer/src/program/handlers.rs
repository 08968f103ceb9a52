//! `[[handlers]]` as handlers: a job becomes a process or an HTTP request, and what came of it an [`Outcome`].
//!
//! | Ended | Outcome |
//! |---|---|
//! | exit status 0; answer 2xx | done, with the output as its result |
//! | exit status 65; other 4xx and 3xx | fail |
//! | any other exit status or signal; 5xx, no answer | retry |
//! | 429, 503 with `Retry-After` | snooze |
//! | asked to stop | cancelled: why it was asked decides |
//!
//! Each failure has a kind (`exit-75`, `signal-9`, `http-503`, or what the program says), and a rule for that kind goes
//! before this table: a permanent failure of a kind that has retries is tried again.

use super::exec::child::{self, ExecSpec, Launcher};
use super::exec::protocol::{ExecLine, ExecOutcome};
use super::http::{Caller, Endpoint, HttpJob, HttpOutcome, NoClient};
use crate::{Cancelled, Consumer, Ctx, HandlerOptions, Outcome};
use bytes::Bytes;
use longshore_link::world::Clock;
use longshore_model::settings::{HandlerConfig, Run};
use serde_json::Value;
use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Time between SIGTERM and SIGKILL, unless the handler says otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// What the engine waits beyond a handler's grace: the end is enforced by the handler itself, which then still tells
/// how it went.
const MARGIN: Duration = Duration::from_secs(7);

/// Longest HTTP exchange where neither job nor handler sets a timeout: an endpoint that never answers must not hold a
/// slot for ever.
const EXCHANGE: Duration = Duration::from_secs(300);

/// What all handlers share.
#[derive(Debug, Clone)]
pub struct Tools {
    launcher: Arc<Launcher>,
    caller: Caller,
    clock: Clock,
}

impl Tools {
    /// `environment` is what processes inherit, but for the consumer's own variables.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(environment: impl IntoIterator<Item = (OsString, OsString)>, clock: Clock) -> Result<Self, CannotRun> {
        Ok(Self::with(Launcher::new(environment)?, Caller::new()?, clock))
    }

    /// Of parts that exist.
    #[must_use]
    pub fn with(launcher: Launcher, caller: Caller, clock: Clock) -> Self {
        Self { launcher: Arc::new(launcher), caller, clock }
    }
}

/// What handlers need cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// For exec handlers.
    #[error("the program cannot tell where it is, and so cannot guard the processes of jobs: {0}")]
    Guard(#[from] io::Error),
    /// For HTTP handlers.
    #[error(transparent)]
    Http(#[from] NoClient),
}

/// One handler whose settings are right.
#[derive(Debug)]
pub struct Prepared {
    config: HandlerConfig,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Exec { program: String, args: Vec<String> },
    Http(Endpoint),
}

/// Checks all handlers.
///
/// # Errors
/// Everything that is wrong with them.
pub fn prepare(configs: &[HandlerConfig]) -> Result<Vec<Prepared>, Vec<String>> {
    let (mut prepared, mut problems) = (Vec::new(), Vec::new());
    for (index, config) in configs.iter().enumerate() {
        let work = match &config.run {
            Run::Exec(command) => match command.split_first() {
                Some((program, args)) => Ok(Work::Exec { program: program.clone(), args: args.to_vec() }),
                None => Err("exec: the program is missing".to_owned()),
            },
            Run::Http(url) => Endpoint::new(url.reveal()).map(Work::Http).map_err(|error| error.to_string()),
        };
        match work {
            Ok(work) => prepared.push(Prepared { config: config.clone(), work }),
            Err(why) => problems.push(format!("handlers[{}] ({}): {why}", index + 1, config.topic)),
        }
    }
    if problems.is_empty() { Ok(prepared) } else { Err(problems) }
}

impl Prepared {
    /// Adds the handler to a consumer.
    #[must_use]
    pub fn register(self, consumer: Consumer, tools: &Tools) -> Consumer {
        let Self { config, work } = self;
        let grace = config.grace.unwrap_or(GRACE);
        let options = HandlerOptions {
            concurrency: config.concurrency,
            timeout: config.timeout,
            soft_timeout: config.soft_timeout,
            stall_timeout: config.stall_timeout,
            grace: Some(grace + MARGIN),
            retry_delay: None,
            retry_for: config.retry_for,
            retry_on: config.retry_on,
        };
        let pattern = config.topic.to_string();
        match work {
            Work::Exec { program, args } => {
                let args = args.into_iter().map(OsString::from).collect();
                let env = config.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
                let exec = Arc::new(Exec { program: program.into(), args, env, grace });
                let tools = tools.clone();
                consumer.on_with(&pattern, options, move |ctx| {
                    let (exec, tools) = (Arc::clone(&exec), tools.clone());
                    async move { exec.run(&tools, &ctx).await }
                })
            }
            Work::Http(endpoint) => {
                let http = Arc::new(Http { endpoint });
                let tools = tools.clone();
                consumer.on_with(&pattern, options, move |ctx| {
                    let (http, tools) = (Arc::clone(&http), tools.clone());
                    async move { http.run(&tools, &ctx).await }
                })
            }
        }
    }
}

/// Lets work see the attempt's cancellation, and waits for its end all the same: it knows how to stop.
async fn with_cancel<F: Future>(ctx: &Ctx, cancel: &CancellationToken, work: F) -> F::Output {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        ended = &mut work => ended,
        _ = ctx.until_cancelled() => {
            cancel.cancel();
            work.await
        }
    }
}

/// Lets work see that it had better come to an end, while it runs.
async fn with_hint<F: Future>(ctx: &Ctx, hint: &CancellationToken, work: F) -> F::Output {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        ended = &mut work => ended,
        () = ctx.until_should_finish() => {
            hint.cancel();
            work.await
        }
    }
}

/// A failure that says itself that trying again is pointless, unless a rule for its kind knows better.
fn permanent(ctx: &Ctx, error: String, kind: Option<String>) -> Outcome {
    let rule = kind.as_deref().and_then(|kind| ctx.job().retry_rules.get(kind));
    match rule.and_then(|rule| rule.retries) {
        Some(retries) if retries != 0 => retry(error, kind),
        _ => Outcome::fail(error),
    }
}

fn retry(error: String, kind: Option<String>) -> Outcome {
    let outcome = Outcome::retry(error);
    match kind {
        Some(kind) => outcome.kind(kind),
        None => outcome,
    }
}

/// What an interrupted run means is decided by whoever interrupted it.
fn interrupted(ctx: &Ctx) -> Outcome {
    Outcome::Cancelled(ctx.cancelled().unwrap_or(Cancelled::Shutdown))
}

fn done(result: Value) -> Outcome {
    if result.is_null() { Outcome::done() } else { Outcome::result(result) }
}

fn payload(ctx: &Ctx) -> Bytes {
    Bytes::copy_from_slice(ctx.payload().as_bytes())
}

struct Exec {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    grace: Duration,
}

impl Exec {
    async fn run(&self, tools: &Tools, ctx: &Ctx) -> Outcome {
        let directories = match Directories::make(ctx) {
            Ok(directories) => directories,
            Err(error) => return Outcome::retry(format!("the job's directories cannot be made: {error}")),
        };
        let mut env = self.env.clone();
        if let Some(trace) = ctx.trace() {
            env.push(("TRACEPARENT".into(), trace.traceparent.clone().into()));
            env.extend(trace.tracestate.iter().map(|state| ("TRACESTATE".into(), state.into())));
        }
        let spec = ExecSpec {
            program: self.program.clone(),
            args: self.args.clone(),
            env,
            cwd: None,
            grace: self.grace,
            job: ctx.id(),
            topic: ctx.topic().clone(),
            attempt: ctx.attempt().into(),
            timeout: ctx.job().timeout,
            soft_timeout: ctx.job().soft_timeout,
            retry: ctx.retry().into(),
            input_dir: directories.input.clone(),
            output_dir: directories.output.clone(),
        };
        let (hint, cancel) = (CancellationToken::new(), CancellationToken::new());
        let mut said = None;
        let run = child::run(&tools.launcher, &spec, payload(ctx), &hint, &cancel, |line| match line {
            ExecLine::Kind(kind) => said = Some(kind),
            line => report(ctx, line),
        });
        let ended = with_cancel(ctx, &cancel, with_hint(ctx, &hint, run)).await;
        match ended {
            ExecOutcome::Succeeded(result) => done(result),
            ExecOutcome::Permanent(error, kind) => permanent(ctx, error, said.or(kind)),
            ExecOutcome::Retry(error, kind) => retry(error, said.or(kind)),
            ExecOutcome::Interrupted(how) => {
                ctx.log_at("warn", how);
                interrupted(ctx)
            }
        }
    }
}

/// Where a program finds its input and leaves its output: both are always there.
struct Directories {
    input: PathBuf,
    output: PathBuf,
    /// The input directory of a job without files; removed with this value.
    _empty: Option<TempDir>,
}

impl Directories {
    fn make(ctx: &Ctx) -> io::Result<Self> {
        let output = ctx.output_dir()?.to_owned();
        if let Some(input) = ctx.input_dir() {
            return Ok(Self { input: input.to_owned(), output, _empty: None });
        }
        let empty = tempfile::Builder::new().prefix("no-input-").tempdir_in(output.parent().unwrap_or(&output))?;
        Ok(Self { input: empty.path().to_owned(), output, _empty: Some(empty) })
    }
}

/// Tells one line of a program's stderr as what it means.
fn report(ctx: &Ctx, line: ExecLine) {
    match line {
        ExecLine::Progress { step, steps, text } => {
            ctx.progress(step, steps, text);
        }
        ExecLine::Set { name, value } => {
            if let Err(bad) = ctx.set(&name, value) {
                ctx.log_at("warn", bad.to_string());
            }
        }
        ExecLine::Beat | ExecLine::Kind(_) => ctx.beat(),
        ExecLine::Log(text) => {
            ctx.log(text);
        }
    }
}

struct Http {
    endpoint: Endpoint,
}

impl Http {
    async fn run(&self, tools: &Tools, ctx: &Ctx) -> Outcome {
        let job = HttpJob {
            id: ctx.id(),
            topic: ctx.topic().clone(),
            attempt: ctx.attempt().into(),
            retry: ctx.retry().into(),
            timeout: ctx.job().timeout,
            soft_timeout: ctx.job().soft_timeout,
            trace_parent: ctx.trace().map(|trace| trace.traceparent.clone()),
        };
        // Where somebody asked for a timeout, the engine ends the attempt at that time, and says that it was the timeout.
        let timeout = ctx.job().timeout.map_or(EXCHANGE, |asked| asked + MARGIN);
        let cancel = CancellationToken::new();
        let now = || UNIX_EPOCH + Duration::from_millis(tools.clock.unix_ms());
        let call = tools.caller.call(&self.endpoint, &job, payload(ctx), timeout, &cancel, || ctx.beat(), now);
        match with_cancel(ctx, &cancel, call).await {
            HttpOutcome::Succeeded(result) => done(result),
            HttpOutcome::Snooze(after) => Outcome::snooze(after, format!("{} asked to be called later", self.endpoint)),
            HttpOutcome::Permanent(error, kind) => permanent(ctx, error, kind),
            HttpOutcome::Retry(error, kind) => retry(error, kind),
            HttpOutcome::Interrupted => interrupted(ctx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_model::Secret;
    use longshore_model::settings::Settings;

    #[test]
    fn every_wrong_endpoint_is_told_without_its_secrets() {
        let text = "[[handlers]]\ntopic = \"a\"\nexec = [\"true\"]\n";
        let mut configs = Settings::read(Some(("f", text)), [], &[]).unwrap().handlers;
        assert_eq!(prepare(&configs).unwrap().len(), 1);
        for url in ["ftp://me:secret@host/", "secret@host"] {
            configs.push(HandlerConfig { run: Run::Http(Secret::new(url)), ..configs[0].clone() });
        }
        let problems = prepare(&configs).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("handlers[2] (a): "), "{problems:?}");
        assert!(!problems.concat().contains("secret"), "{problems:?}");
    }
}
