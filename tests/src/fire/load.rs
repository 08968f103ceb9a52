//! The jobs of a run: planned from the seed, sent over a span of time, repeated with the same ids until accepted.

use super::files;
use super::history::{Event, Gate, History, Intent};
use super::worker::{Act, RULED, Task};
use crate::wait::pause;
use longshore_link::world::Random;
use longshore_model::{JobId, Lane, State, Topic};
use longshore_producer::{LimitPolicy, Priority, Producer, RetryRule};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Jobs in one call.
const PART: usize = 25;
const AGAIN: Duration = Duration::from_millis(300);
/// Failures that a job may have: more than any of them fails on purpose.
const RETRIES: i32 = 20;
/// Keys of every kind of gate.
const KEYS: u64 = 4;
/// The limit that some jobs name.
pub const LIMIT: &str = "fire";
const MAX: u32 = 2;

/// What [`LIMIT`] lets through.
#[must_use]
pub fn policy() -> LimitPolicy {
    LimitPolicy { max: Some(MAX), ..LimitPolicy::default() }
}

/// One kind of job and how many in a thousand there are of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its topic.
    pub topic: &'static str,
    /// How many in a thousand.
    pub share: u64,
    /// Shortest and longest work, ms.
    pub ms: (u64, u64),
    /// Most attempts that fail.
    pub fails: u32,
    /// Longest delay before it may start, ms.
    pub after_ms: u64,
    /// What it does.
    pub act: Act,
    /// How it should end.
    pub end: State,
    /// What it has to pass; the key is drawn.
    pub gate: Option<Gate>,
    /// How often it is tried again after the failures of its kind, whose rule it brings along. It has no other
    /// retries, so that all depends on what is counted by kind.
    pub rule: Option<u32>,
    /// Whether it goes through the topic's high lane.
    pub urgent: bool,
    /// Whether it is sent with a file, and leaves one.
    pub files: bool,
}

impl Kind {
    /// Quick jobs that succeed, the rest of every mix.
    pub const QUICK: Self = Self {
        topic: "fire/quick",
        share: 1_000,
        ms: (0, 20),
        fails: 0,
        after_ms: 0,
        act: Act::Done,
        end: State::Succeeded,
        gate: None,
        rule: None,
        urgent: false,
        files: false,
    };

    /// So many in a thousand of this.
    #[must_use]
    pub const fn share(self, share: u64) -> Self {
        Self { share, ..self }
    }
}

/// What the jobs of a run are: the first kinds by their shares, the last one for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(pub Vec<Kind>);

impl Default for Mix {
    /// The usual mix: mostly quick, some of up to three quarters of a lease, some that fail once or twice, some later.
    /// None is so long that three faults in a row would strike it: its third crash would give it up, rightly.
    fn default() -> Self {
        let quick = Kind::QUICK;
        Self(vec![
            Kind { topic: "fire/middle", share: 360, ms: (30, 1_000), ..quick },
            Kind { topic: "fire/middle", share: 40, ms: (30, 1_000), urgent: true, ..quick },
            Kind { topic: "fire/slow", share: 60, ms: (1_000, 3_000), ..quick },
            Kind { topic: "fire/flaky", share: 50, fails: 2, ..quick },
            Kind { topic: "fire/ruled", share: 20, fails: 2, rule: Some(2), ..quick },
            Kind { topic: "fire/spent", share: 10, fails: 1, rule: Some(1), end: State::GivenUp, ..quick },
            Kind { topic: "fire/doomed", share: 10, act: Act::Fatal, end: State::Error, ..quick },
            Kind { topic: "fire/later", share: 50, after_ms: 8_000, ..quick },
            Kind { topic: "fire/files", share: 20, ms: (0, 500), files: true, ..quick },
            Kind { topic: "fire/ordered", share: 30, ms: (5, 100), gate: Some(Gate::Order(0)), ..quick },
            Kind { topic: "fire/unique", share: 30, ms: (5, 300), gate: Some(Gate::Unique(0)), ..quick },
            Kind {
                topic: "fire/limited",
                share: 30,
                ms: (5, 200),
                gate: Some(Gate::Limit { key: 0, max: MAX }),
                ..quick
            },
            quick,
        ])
    }
}

impl Mix {
    /// These kinds, and quick jobs for the rest.
    #[must_use]
    pub fn of(kinds: &[Kind]) -> Self {
        Self(kinds.iter().copied().chain([Kind::QUICK]).collect())
    }

    /// The usual mix with jobs that are longer than a lease, for faults that charge nobody.
    #[must_use]
    pub fn long() -> Self {
        let mut mix = Self::default();
        mix.0.insert(0, Kind { topic: "fire/long", share: 20, ms: (4_500, 8_000), ..Kind::QUICK });
        mix
    }

    /// The usual mix without jobs that come back after a while: no copy is parked, so that a run ends sooner.
    #[must_use]
    pub fn brisk() -> Self {
        let mut mix = Self::default();
        mix.0.retain(|kind| kind.fails == 0);
        mix
    }

    /// The usual mix without what is lost with the store: delays, retries, what waits at gates, and who needs which file.
    #[must_use]
    pub fn timeless() -> Self {
        let mut mix = Self::brisk();
        mix.0.retain(|kind| kind.after_ms == 0 && kind.gate.is_none() && !kind.files);
        mix
    }

    /// The same without files, which older versions of the consumer know nothing of.
    #[must_use]
    pub fn without_files(mut self) -> Self {
        self.0.retain(|kind| !kind.files);
        self
    }

    /// Every lane that its jobs go through, and the normal one of each topic.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        let topic = |kind: &Kind| Topic::new(kind.topic).expect("a legal topic");
        let normal = self.0.iter().map(|kind| Lane::from(topic(kind)));
        let high = self.0.iter().filter(|kind| kind.urgent).map(|kind| Lane::high(topic(kind)));
        normal.chain(high).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn pick(&self, random: &Random) -> Kind {
        let mut left = random.below(1_000);
        for kind in &self.0 {
            if left < kind.share {
                return *kind;
            }
            left -= kind.share;
        }
        Kind::QUICK
    }
}

/// A job that is to be sent.
#[derive(Debug, Clone, Copy)]
struct Planned {
    intent: Intent,
    topic: &'static str,
    urgent: bool,
    task: Task,
}

/// The jobs of a run and how far they are sent.
#[derive(Debug)]
pub struct Load {
    jobs: Arc<Vec<Planned>>,
    accepted: Arc<AtomicUsize>,
    /// Those that were answered with another job.
    merged: Arc<Mutex<BTreeSet<JobId>>>,
    hurry: Arc<AtomicBool>,
    task: JoinSet<()>,
}

impl Load {
    /// Plans jobs.
    #[must_use]
    pub fn plan(producer: &Producer, random: &Random, mix: &Mix, count: usize) -> Self {
        let between = |from: u64, to: u64| from + random.below(to - from + 1);
        let plan = |_| {
            let kind = mix.pick(random);
            let fails = if kind.fails == 0 { 0 } else { between(1, u64::from(kind.fails)) as u32 };
            let after_ms = if kind.after_ms == 0 { 0 } else { between(100, kind.after_ms) };
            let spent = kind.end == State::GivenUp;
            let fails = if spent { kind.fails } else { fails };
            // One that is to be given up fails as long as somebody lets it run.
            let told = if spent { u32::MAX } else { fails };
            let task = Task {
                ms: between(kind.ms.0, kind.ms.1),
                fails: told,
                ruled: kind.rule.is_some(),
                files: kind.files,
                act: kind.act,
            };
            let key = random.below(KEYS) as u32;
            let gate = kind.gate.map(|gate| match gate {
                Gate::Order(_) => Gate::Order(key),
                Gate::Unique(_) => Gate::Unique(key),
                Gate::Limit { max, .. } => Gate::Limit { key, max },
            });
            let intent = Intent {
                fails,
                after_ms,
                gate,
                rule: kind.rule,
                files: kind.files,
                ..Intent::plain(producer.new_id(), kind.end)
            };
            Planned { intent, topic: kind.topic, urgent: kind.urgent, task }
        };
        let jobs = Arc::new((0..count).map(plan).collect());
        let (accepted, merged, hurry) = (Arc::default(), Arc::default(), Arc::default());
        Self { jobs, accepted, merged, hurry, task: JoinSet::new() }
    }

    /// Every job's id, without those that were answered with another job so far.
    #[must_use]
    pub fn ids(&self) -> Vec<JobId> {
        let merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        self.jobs.iter().map(|job| job.intent.id).filter(|id| !merged.contains(id)).collect()
    }

    /// How many were answered with another job so far.
    #[must_use]
    pub fn merged(&self) -> usize {
        self.merged.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether all are accepted.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.accepted.load(Ordering::Relaxed) == self.jobs.len()
    }

    /// From now on nothing is held back.
    pub fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// Begins to send.
    pub fn send_over(&mut self, span: Duration, producer: &Producer, history: &History) {
        let (jobs, accepted, hurry) = (Arc::clone(&self.jobs), Arc::clone(&self.accepted), Arc::clone(&self.hurry));
        let (producer, history, merged) = (producer.clone(), history.clone(), Arc::clone(&self.merged));
        self.task.spawn(async move {
            let begun = Instant::now();
            let parts = jobs.len().div_ceil(PART).max(1) as u32;
            for (number, part) in jobs.chunks(PART).enumerate() {
                let due = span * number as u32 / parts;
                while !hurry.load(Ordering::Relaxed) && begun.elapsed() < due {
                    pause(due.saturating_sub(begun.elapsed()).min(AGAIN)).await;
                }
                let others = send(part, &producer, &history).await;
                merged.lock().unwrap_or_else(PoisonError::into_inner).extend(others);
                accepted.fetch_add(part.len(), Ordering::Relaxed);
            }
        });
    }
}

/// Sends until all are accepted. Answers which of them are no jobs, because another one has their unique key.
async fn send(part: &[Planned], producer: &Producer, history: &History) -> Vec<JobId> {
    let mut merged = Vec::new();
    history.note(Event::Sending { jobs: part.iter().map(|job| job.intent).collect() });
    let mut left: Vec<Planned> = part.to_vec();
    loop {
        let builders: Vec<_> = left.iter().map(|job| build(job, producer)).collect();
        let answers = producer.send_all(builders).await;
        let (mut accepted, mut again, mut why) = (Vec::new(), Vec::new(), String::new());
        for (job, answer) in left.into_iter().zip(answers) {
            match answer {
                Ok(sent) if sent.id == job.intent.id => accepted.push(sent.id),
                Ok(sent) => {
                    history.note(Event::Merged { id: job.intent.id, into: sent.id });
                    merged.push(job.intent.id);
                }
                Err(error) => {
                    why = error.to_string();
                    again.push(job);
                }
            }
        }
        if !accepted.is_empty() {
            history.note(Event::Accepted { ids: accepted });
        }
        if again.is_empty() {
            return merged;
        }
        history.note(Event::NotAccepted { count: again.len(), why });
        left = again;
        pause(AGAIN).await;
    }
}

fn build(job: &Planned, producer: &Producer) -> longshore_producer::JobBuilder {
    let payload = serde_json::to_string(&job.task).expect("a task is JSON");
    let builder = producer.raw(job.topic, &payload).id(job.intent.id).retries(RETRIES);
    let builder =
        if job.intent.files { builder.file_bytes(files::INPUT, files::input(job.intent.id)) } else { builder };
    let builder = if job.urgent { builder.priority(Priority::Urgent) } else { builder };
    let builder = match job.intent.gate {
        None => builder,
        Some(Gate::Order(key)) => builder.order_key(key.to_string()),
        Some(Gate::Unique(key)) => builder.unique(key.to_string()),
        Some(Gate::Limit { key, .. }) => builder.limit_key(LIMIT, key.to_string()),
    };
    let builder = match job.intent.rule {
        None => builder,
        Some(retries) => {
            let rule = RetryRule::new().retries(i32::try_from(retries).unwrap_or(RETRIES));
            builder.retries(0).retry_on(RULED, rule)
        }
    };
    if job.intent.after_ms > 0 { builder.after(Duration::from_millis(job.intent.after_ms)) } else { builder }
}
