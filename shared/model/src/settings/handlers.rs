//! `[[handlers]]`: what the consumer program runs for which topic.

use super::queues::retry_on;
use super::table::{Field, Reader};
use super::urls;
use crate::kind::RetryRules;
use crate::secret::Secret;
use crate::topic::TopicPattern;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The fields of `[[handlers]]` and what they mean.
pub const HANDLER_FIELDS: &[Field] = &[
    ("topic", "topic or pattern that it takes"),
    (
        "exec",
        "program and arguments, such as [\"convert\", \"-\"]: payload on standard input, result on standard output",
    ),
    ("http", "URL to which the payload is posted; the body of a 2xx answer is the result"),
    ("concurrency", "jobs that it runs at once; default the instance's"),
    ("timeout", "longest run of one attempt, unless the job says otherwise; default the queue's"),
    ("soft_timeout", "after so long a run is told that it had better come to an end; default the queue's"),
    ("stall_timeout", "a run that gives no sign of life for so long is ended; default the queue's"),
    ("retry_for", "no run begins later than this after the start of the first that failed; default the queue's"),
    (
        "retry_on",
        "rules by kind of error, each \"KIND=RETRIES[,DELAY[,xFACTOR,MAX]]\", such as [\"exit-75=100,30s\", \"http-404=3\"]",
    ),
    ("grace", "time between asking a run to stop and ending it; default 10s"),
    ("env", "{ NAME = \"value\" }: environment of the program, besides the job's own variables"),
];

/// One handler of the consumer program. `Debug` shows the names of its variables, not their values.
#[derive(Clone, PartialEq)]
pub struct HandlerConfig {
    /// What it takes.
    pub topic: TopicPattern,
    /// What it runs.
    pub run: Run,
    /// Jobs that it runs at once; `None`: the instance's.
    pub concurrency: Option<usize>,
    /// Longest run of one attempt; `None`: the queue's.
    pub timeout: Option<Duration>,
    /// After so long a run is told that it had better come to an end; `None`: the queue's.
    pub soft_timeout: Option<Duration>,
    /// A run that gives no sign of life for so long is ended; `None`: the queue's.
    pub stall_timeout: Option<Duration>,
    /// No run begins later than this after the start of the first that failed; `None`: the queue's.
    pub retry_for: Option<Duration>,
    /// Rules by kind of error.
    pub retry_on: RetryRules,
    /// Time between asking a run to stop and ending it; `None`: 10 s.
    pub grace: Option<Duration>,
    /// Environment of the program.
    pub env: BTreeMap<String, String>,
}

/// What a handler runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Run {
    /// A program and its arguments; at least the program is there.
    Exec(Vec<String>),
    /// An endpoint.
    Http(Secret),
}

impl fmt::Debug for HandlerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, run, concurrency, timeout, soft_timeout, stall_timeout, retry_for, retry_on, grace, env } =
            self;
        f.debug_struct("HandlerConfig")
            .field("topic", topic)
            .field("run", run)
            .field("concurrency", concurrency)
            .field("timeout", timeout)
            .field("soft_timeout", soft_timeout)
            .field("stall_timeout", stall_timeout)
            .field("retry_for", retry_for)
            .field("retry_on", retry_on)
            .field("grace", grace)
            .field("env", &env.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Reads one handler; every problem is noted. `None` when it lacks what makes it one.
pub(super) fn read(reader: &mut Reader<'_, '_>) -> Option<HandlerConfig> {
    reader.only(HANDLER_FIELDS);
    let topic = reader.pattern("topic");
    if !reader.has("topic") {
        reader.wrong("topic", "it is missing; say which topic or pattern the handler takes, such as \"media/*\"");
    }
    let run = run(reader);
    let [timeout, soft_timeout, stall_timeout] = ["timeout", "soft_timeout", "stall_timeout"].map(|field| {
        let span = reader.span(field);
        if span.is_some_and(|span| span.is_zero()) {
            reader.wrong(field, "0 would never let a job run; leave it out for no limit");
        }
        span
    });
    if soft_timeout.zip(timeout).is_some_and(|(soft, hard)| soft >= hard) {
        reader.wrong("soft_timeout", "it is not shorter than timeout, and would never come");
    }
    let retry_for = reader.span("retry_for");
    let retry_on = retry_on(reader);
    let concurrency = reader.whole("concurrency", 1..=100_000);
    let grace = reader.span("grace");
    let env = reader.map("env");
    for name in env.keys() {
        if name.is_empty() || name.contains(['=', '\0']) {
            reader.wrong("env", format!("`{}` is not a name of a variable", name.escape_debug()));
        } else if name.starts_with("LONGSHORE_") {
            reader.wrong("env", format!("`{name}` starts with LONGSHORE_, which is for the job's own variables"));
        }
    }
    if !env.is_empty() && matches!(run, Some(Run::Http(_))) {
        reader.wrong("env", "an HTTP handler has no environment; leave it out");
    }
    Some(HandlerConfig {
        topic: topic?,
        run: run?,
        concurrency: concurrency.and_then(|number| usize::try_from(number).ok()),
        timeout,
        soft_timeout,
        stall_timeout,
        retry_for,
        retry_on,
        grace,
        env,
    })
}

fn run(reader: &mut Reader<'_, '_>) -> Option<Run> {
    match (reader.has("exec"), reader.has("http")) {
        (true, true) => reader.wrong("http", "the handler has `exec` as well; keep one of them"),
        (false, false) => reader.wrong("exec", "the handler runs nothing; give it `exec` or `http`"),
        (true, false) => {
            let command = reader.texts("exec");
            if command.first().is_some_and(|program| !program.is_empty()) {
                return Some(Run::Exec(command));
            }
            reader.wrong("exec", "the program is missing; write [\"program\", \"argument\"]");
        }
        (false, true) => {
            let url = reader.text("http")?;
            match urls::check(&url, &["http", "https"]) {
                Ok(()) => return Some(Run::Http(Secret::new(url))),
                Err(why) => reader.wrong("http", why),
            }
        }
    }
    None
}
