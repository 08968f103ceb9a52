//! What queues and jobs say beside their gates, in a simulated run: what is asked for, and whether it was kept.
//!
//! A run with rules applies [`QUEUES`], sends its jobs over them, and has somebody resume what halts. The [`judge`]
//! looks at the store after each of its operations, whoever asked for it, and whatever goes wrong meanwhile:
//!
//! - where a job comes in, no more wait in its queue than may; the one too many is refused and never there, or the
//!   oldest is dropped, and says so ([`length`]);
//! - an order that halts starts nothing between a final failure and the moment in which somebody resumes it, one that
//!   skips drops whoever waited behind the failure and nobody else ([`failure`]);
//! - nobody passes a limit before one who presses more and did not come too much later ([`priority`]);
//! - nobody fails more often than the rule for the kind of the failure says, or begins after the time for retries
//!   ([`retries`]).
//!
//! Orders and limits are judged as those of other runs are ([`super::gates`]).

mod failure;
mod judge;
mod length;
mod priority;
mod retries;
#[cfg(test)]
mod tests;

use super::gates;
use super::history::History;
use judge::Judge;
use longshore_consumer::{Ctx, HandlerOptions, Outcome};
use longshore_link::Embedded;
use longshore_link::world::Random;
use longshore_model::gate::LimitPolicy;
use longshore_model::kind::RetryRule;
use longshore_model::queue::own_limits;
use longshore_model::settings::read_queues;
use longshore_model::{JobId, Priority, Record};
use longshore_producer::{JobBuilder, NotAccepted, Producer, Refusal, SendError};
use retries::Terms;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The queues. A line of one of [`RULES`] is a rule.
const QUEUES: &str = r#"
[[queues]]
name = "short"
topics = ["sim/short"]
max_in_fleet = 1
max_length = 3

[[queues]]
name = "fresh"
topics = ["sim/fresh"]
max_in_fleet = 1
max_length = 3
when_full = "drop_oldest"

[[queues]]
name = "halt"
topics = ["sim/halt"]
kind = "ordered"
on_failure = "halt"

[[queues]]
name = "keys"
topics = ["sim/keys"]
on_failure = "halt"

[[queues]]
name = "skip"
topics = ["sim/skip"]
kind = "ordered"
on_failure = "skip"

[[queues]]
name = "press"
topics = ["sim/press"]
max_in_fleet = 1
"#;
const RULES: [&str; 3] = ["max_length", "when_full", "on_failure"];
/// The topics of such a run. The last one is of no queue.
pub const TOPICS: [&str; 7] = ["sim/short", "sim/fresh", "sim/halt", "sim/keys", "sim/skip", "sim/press", "sim/tries"];
/// What happens in such runs if rules have anything to say.
pub const HAPPENINGS: [&str; 10] = [
    "a job refused",
    "a job displaced",
    "an order halted",
    "an order resumed",
    "a job skipped",
    "an older job passed",
    "a job that aged before one that presses",
    "retries of a kind used up",
    "retries used up",
    "a time for retries over",
];
/// Retries of those that do not say it by kind.
const RETRIES: u32 = 2;
/// A kind whose rule the job brings along.
const BUSY: &str = "busy";
/// A kind whose rule the handler has, and how many retries it allows.
const LAME: (&str, u32) = ("lame", 1);
/// After so many jobs somebody looks at what halts.
const LOOKS: usize = 10;

/// A run's rules.
#[derive(Debug, Clone)]
pub struct Rules {
    judge: Arc<Mutex<Judge>>,
    policies: Vec<(String, LimitPolicy)>,
    /// Nobody is told of the rules but the judge.
    silent: bool,
}

impl Rules {
    /// Rules whose judge looks at a store from now on. `silent`: neither queues nor jobs say them.
    #[must_use]
    pub fn new(store: &Embedded, silent: bool) -> Self {
        let policies = own_limits(&read_queues("the simulation", QUEUES).expect("queues that can be read"));
        let judge = Arc::new(Mutex::new(Judge::new(&policies)));
        let looks = Arc::clone(&judge);
        store.watch(move |sight| lock(&looks).look(sight));
        Self { judge, policies, silent }
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        lock(&self.judge)
    }

    /// Applies the queues.
    pub async fn begin(&self, producer: &Producer) {
        let said = |line: &&str| !self.silent || !RULES.iter().any(|rule| line.starts_with(rule));
        let text: Vec<&str> = QUEUES.lines().filter(said).collect();
        let text = text.join("\n");
        gates::repeat(producer, async || producer.apply_queues("queues", &text, "the simulation", false).await.is_ok())
            .await;
    }

    /// What happens beside the job of this number.
    pub async fn beside(&self, producer: &Producer, number: usize) {
        if number.is_multiple_of(LOOKS) {
            self.resume(producer).await;
        }
    }

    /// Somebody looks at what halts, and resumes it.
    pub async fn resume(&self, producer: &Producer) {
        // Without an answer: next time.
        for pause in producer.pauses().await.unwrap_or_default() {
            self.judge().failures.resume(&pause.what);
            let _ = producer.resume(&pause.what).await;
        }
    }

    /// A job, and what it asks for, which follows from its seed.
    fn ask(&self, producer: &Producer, id: JobId, number: usize, seed: u64) -> JobBuilder {
        let asks = Random::seeded(seed);
        let topic = TOPICS[usize::try_from(asks.below(TOPICS.len() as u64)).unwrap_or(0)];
        let delay = Duration::from_secs(asks.below(10));
        let job = producer.raw(topic, &format!("{{\"number\":{number}}}")).id(id);
        let mut job = job.retries(i32::try_from(RETRIES).unwrap_or(0)).retry_delay(delay);
        let mut terms = Terms { retries: RETRIES, kinds: [LAME].into(), retry_for_ms: None };
        match topic {
            "sim/keys" => job = job.order_key(asks.below(2).to_string()),
            "sim/press" => {
                let priority = Priority::ALL[usize::try_from(asks.below(3)).unwrap_or(0)];
                self.judge().priorities.asked(id, priority);
                if !self.silent {
                    job = job.priority(priority);
                }
                // Some come when others have waited for long.
                if asks.below(3) == 0 {
                    job = job.after(Duration::from_secs(60 + asks.below(60)));
                }
            }
            "sim/tries" => {
                let busy = u32::try_from(asks.below(4)).unwrap_or(0);
                terms.kinds.insert(BUSY, busy);
                terms.retry_for_ms = (asks.below(2) == 0).then(|| 5_000 + asks.below(30_000));
                if !self.silent {
                    let rule = RetryRule::new().retries(i32::try_from(busy).unwrap_or(0));
                    job = job.retry_on(BUSY, rule.delay(Duration::from_secs(asks.below(4))));
                }
                if let Some(ms) = terms.retry_for_ms.filter(|_| !self.silent) {
                    job = job.retry_for(Duration::from_millis(ms));
                }
            }
            _ => {}
        }
        self.judge().retries.asked(id, terms);
        job
    }

    /// Sends a job once. `None`: it is to be sent again under its id; else whether it was accepted.
    pub async fn send(&self, producer: &Producer, id: JobId, number: usize, seed: u64) -> Option<bool> {
        let since = self.judge().number();
        match self.ask(producer, id, number, seed).send().await {
            Ok(_) => Some(true),
            Err(SendError::Refused(Refusal::NotAccepted(NotAccepted::QueueFull { queue, max }))) => {
                self.judge().refused(id, &queue, max, since);
                Some(false)
            }
            Err(_) => None,
        }
    }

    /// What was not kept, and how often rules had something to say.
    #[must_use]
    pub fn judged(&self, records: &[Record], history: &History) -> (Vec<String>, BTreeMap<&'static str, usize>) {
        let (mut wrong, counts) = self.judge().end();
        wrong.extend(gates::orders(records, history));
        wrong.extend(gates::limits(records, history, |gate| {
            self.policies.iter().find(|(name, _)| name == gate.of()).and_then(|(_, policy)| policy.max)
        }));
        (wrong, counts)
    }

    /// What handlers of such a run are registered with.
    #[must_use]
    pub fn options(&self) -> HandlerOptions {
        let mut options = HandlerOptions::default();
        if !self.silent {
            let lame = RetryRule::new().retries(i32::try_from(LAME.1).unwrap_or(0)).delay(Duration::from_secs(2));
            options.retry_on.set(LAME.0, lame);
        }
        options
    }
}

fn lock(judge: &Mutex<Judge>) -> MutexGuard<'_, Judge> {
    judge.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A handler with the moods that rules have something to say of. What it says of a failure is its kind.
pub async fn handler(ctx: &Ctx, random: &Random) -> Outcome {
    let span = match ctx.topic().as_str() {
        "sim/short" | "sim/fresh" => random.below(10_000),
        "sim/press" => random.below(30_000),
        "sim/tries" => random.below(1_000),
        _ => random.below(4_000),
    };
    ctx.progress(0, 1, "");
    if let Err(cancelled) = ctx.sleep(Duration::from_millis(span)).await {
        return Outcome::Cancelled(cancelled);
    }
    let tries = ctx.topic().as_str() == "sim/tries";
    match random.below(40) {
        0..4 => Outcome::retry("bad luck"),
        4..10 if !tries => Outcome::fail("hopeless"),
        4..16 if tries => Outcome::retry(BUSY).kind(BUSY),
        16..24 if tries => Outcome::retry(LAME.0).kind(LAME.0),
        24..32 if tries => Outcome::retry("bad luck").kind("unruly"),
        10 => Outcome::snooze(Duration::from_secs(random.below(20)), "not now"),
        #[expect(clippy::panic, reason = "a handler that panics is part of the story")]
        11 => panic!("a seeded panic"),
        _ => Outcome::result(ctx.attempt()),
    }
}
