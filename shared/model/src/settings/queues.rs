//! `[[queues]]`: the queues in the settings file.

use super::table::{Field, Reader};
use crate::kind::RetryRules;
use crate::queue::{ANY_MACHINE, Keep, Kept, Parallelism, QueueConfig};
use crate::retry::Backoff;

/// The fields of `[[queues]]` and what they mean.
pub const QUEUE_FIELDS: &[Field] = &[
    (
        "name",
        "its name; `{0}` stands for what the wildcard took, which makes one queue for each; `main` is the queue of all other topics",
    ),
    ("topics", "topics and patterns whose jobs it governs, such as [\"media/**\"]"),
    (
        "kind",
        "how it runs its jobs: \"unordered\" (default), \"ordered\", \"round_robin\" (topics by turns), \"hold\" (store them), \"drop\"",
    ),
    ("max_in_fleet", "jobs that the whole fleet runs at once; default any number"),
    ("max_length", "jobs of it that may wait; default any number"),
    ("when_full", "what becomes of one more: \"refuse\" (default) or \"drop_oldest\""),
    (
        "on_failure",
        "when a job has failed for good, its order goes on (\"continue\", default), drops those that wait behind it (\"skip\"), or stops until it is resumed (\"halt\")",
    ),
    (
        "limits",
        "named limits that its jobs count against, each \"NAME\", or \"NAME=label:L\", \"NAME=payload:/P\", \"NAME=topic\" for the share of a key",
    ),
    ("turn", "on whose behalf a job waits for limits, \"label:L\", \"payload:/P\" or \"topic\": turns take turns"),
    ("priority", "whose turn it is first where its jobs wait for a limit: \"urgent\", \"normal\" (default) or \"low\""),
    (
        "placement",
        "where its jobs run: \"any\" (default), \"local_first\", \"prefer_creator\", \"leader\", \"label:NAME=VALUE\", \"prefer_label:NAME=VALUE\" or \"target:INSTANCE\"",
    ),
    ("max_parallel", "jobs that one instance runs at once; below 1 a share of the cores, -1 all cores; default 15"),
    ("retries", "failures allowed before the last one; -1 without end; default 10"),
    ("retry_delay", "delay between a failure and the next attempt; default 2s"),
    (
        "backoff",
        "\"fixed\" (default), or { factor = 2, max = \"10m\" }: the delay grows with every failure, with jitter",
    ),
    ("timeout", "longest run of one attempt; default no limit"),
    ("soft_timeout", "after so long an attempt is told that it had better come to an end; default never"),
    ("stall_timeout", "an attempt that gives no sign of life for so long is cancelled; default no limit"),
    ("retry_for", "no attempt begins later than this after the start of the first that failed; default no limit"),
    (
        "retry_on",
        "rules by kind of error, each \"KIND=RETRIES[,DELAY[,xFACTOR,MAX]]\", such as [\"timeout=2\", \"http-503=100,30s,x2,10m\"]",
    ),
    (
        "keep",
        "{ succeeded = \"1d\", failed = { age = \"7d\", count = 1000 } }: how long ended jobs are kept, and how many; default the retention settings",
    ),
    (
        "index",
        "fields of its jobs' payloads that are found by an index, such as [\"asset\", \"size.width\"]; default none",
    ),
    ("ranking", "among queues that take a topic the highest wins, then the first in the file; default 0"),
];

const BACKOFF_FIELDS: &[Field] =
    &[("factor", "growth from one failure to the next, 2 to 100"), ("max", "the longest delay")];
const KEEP_FIELDS: &[Field] = &[
    ("succeeded", "jobs that succeeded"),
    ("failed", "jobs that ended otherwise"),
    ("error", "jobs that failed for good at once"),
    ("given_up", "jobs whose retries were used up"),
    ("stopped", "jobs that somebody stopped"),
    ("dropped", "jobs that were removed, replaced, or not started in time"),
];
const KEPT_FIELDS: &[Field] = &[("age", "how long, from the end on"), ("count", "the newest so many")];

/// Reads one queue; every problem is noted. What could not be read has its default.
pub(super) fn read(reader: &mut Reader<'_, '_>) -> QueueConfig {
    reader.only(QUEUE_FIELDS);
    let mut queue = QueueConfig::new(reader.text("name").unwrap_or_default(), reader.patterns("topics"));
    if let Some(number) = reader.number("max_parallel") {
        match Parallelism::parse(&number) {
            Ok(parallel) => queue.max_parallel = parallel,
            Err(error) => reader.wrong("max_parallel", error.to_string()),
        }
    }
    if let Some(retries) = reader.whole("retries", i64::from(i32::MIN)..=i64::from(i32::MAX)) {
        queue.retries = i32::try_from(retries).unwrap_or_default();
    }
    if let Some(ranking) = reader.whole("ranking", i64::from(i32::MIN)..=i64::from(i32::MAX)) {
        queue.ranking = i32::try_from(ranking).unwrap_or_default();
    }
    if let Some(kind) = reader.text("kind") {
        match kind.parse() {
            Ok(kind) => queue.kind = kind,
            Err(why) => reader.wrong("kind", why),
        }
    }
    let max = reader.whole("max_in_fleet", 1..=i64::from(u32::MAX));
    queue.max_in_fleet = max.and_then(|max| u32::try_from(max).ok());
    let max = reader.whole("max_length", 1..=i64::from(u32::MAX));
    queue.max_length = max.and_then(|max| u32::try_from(max).ok());
    if let Some(full) = reader.text("when_full") {
        match full.parse() {
            Ok(full) => queue.when_full = full,
            Err(why) => reader.wrong("when_full", why),
        }
    }
    if let Some(then) = reader.text("on_failure") {
        match then.parse() {
            Ok(then) => queue.on_failure = then,
            Err(why) => reader.wrong("on_failure", why),
        }
    }
    for text in reader.texts("limits") {
        match text.parse() {
            Ok(limit) => queue.limits.push(limit),
            Err(why) => reader.wrong("limits", why),
        }
    }
    if let Some(turn) = reader.text("turn") {
        match turn.parse() {
            Ok(turn) => queue.turn = Some(turn),
            Err(why) => reader.wrong("turn", why),
        }
    }
    queue.index = reader.texts("index");
    if let Some(placement) = reader.text("placement") {
        match placement.parse() {
            Ok(placement) => queue.placement = placement,
            Err(why) => reader.wrong("placement", why),
        }
    }
    if let Some(priority) = reader.text("priority") {
        match priority.parse() {
            Ok(priority) => queue.priority = priority,
            Err(why) => reader.wrong("priority", why),
        }
    }
    queue.retry_delay = reader.span("retry_delay").unwrap_or(queue.retry_delay);
    queue.timeout = reader.span("timeout");
    queue.soft_timeout = reader.span("soft_timeout");
    queue.stall_timeout = reader.span("stall_timeout");
    queue.retry_for = reader.span("retry_for");
    queue.retry_on = retry_on(reader);
    queue.backoff = backoff(reader).unwrap_or_default();
    queue.keep = keep(reader).unwrap_or_default();
    for problem in queue.problems(ANY_MACHINE) {
        // A field that could not be read has its default, about which there is nothing to say.
        if !reader.noted(problem.field) {
            reader.wrong(problem.field, problem.why);
        }
    }
    queue
}

/// Rules by kind of error; what is wrong with them is noted.
pub(super) fn retry_on(reader: &mut Reader<'_, '_>) -> RetryRules {
    let texts = reader.texts("retry_on");
    RetryRules::parse(texts.iter().map(String::as_str)).unwrap_or_else(|why| {
        reader.wrong("retry_on", why);
        RetryRules::new()
    })
}

fn backoff(reader: &mut Reader<'_, '_>) -> Option<Backoff> {
    let exponential = reader.nested("backoff", |reader| {
        reader.only(BACKOFF_FIELDS);
        let factor = reader.whole("factor", 2..=100);
        let max = reader.span("max");
        for field in ["factor", "max"] {
            if !reader.has(field) {
                reader.wrong(field, "it is missing; write backoff = { factor = 2, max = \"10m\" }");
            }
        }
        Some(Backoff::Exponential { factor: u32::try_from(factor?).ok()?, max: max? })
    });
    if let Some(exponential) = exponential {
        return exponential;
    }
    if reader.has("backoff") && reader.text("backoff")? != "fixed" {
        reader.wrong("backoff", "write \"fixed\" or { factor = 2, max = \"10m\" }");
    }
    None
}

/// A length of time, or that and a number.
fn kept(reader: &mut Reader<'_, '_>, field: &str) -> Kept {
    let table = reader.nested(field, |reader| {
        reader.only(KEPT_FIELDS);
        let count = reader.whole("count", 0..=i64::from(u32::MAX)).and_then(|count| u64::try_from(count).ok());
        Kept { age: reader.span("age"), count }
    });
    table.unwrap_or_else(|| Kept { age: reader.span(field), count: None })
}

fn keep(reader: &mut Reader<'_, '_>) -> Option<Keep> {
    let keep = reader.nested("keep", |reader| {
        reader.only(KEEP_FIELDS);
        Keep {
            succeeded: kept(reader, "succeeded"),
            failed: kept(reader, "failed"),
            error: kept(reader, "error"),
            given_up: kept(reader, "given_up"),
            stopped: kept(reader, "stopped"),
            dropped: kept(reader, "dropped"),
        }
    });
    if keep.is_none() && reader.has("keep") {
        reader.wrong("keep", "write { succeeded = \"1d\", failed = \"7d\" }");
    }
    keep
}
