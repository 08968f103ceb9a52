//! `longshore queue list|show`: what queues there are, what they allow, and what waits in them.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean};
use crate::session::Session;
use longshore_model::explain::head;
use longshore_model::gate::GateName;
use longshore_model::queue::{ANY_MACHINE, QueueKind, write};
use longshore_producer::{Pausable, PauseOrder, Producer, QueueConfig, Queues, State};
use serde::Serialize;
use std::collections::BTreeMap;

pub(super) async fn list(session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let listing = Listing::read(&producer).await?;
    session.out.answer(&listing)?;
    Ok(Exit::Done)
}

pub(super) async fn show(name: &str, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let listing = Listing::read(&producer).await?;
    let queue = listing.queues.into_iter().find(|queue| queue.name == name);
    let queue = queue
        .ok_or_else(|| Failure::NotFound(format!("there is no queue `{name}`; `longshore queue list` shows all")))?;
    let mut queue = queue;
    if queue.kind == QueueKind::Ordered.as_str() {
        let now = producer.link().store.ping().await?;
        let record = producer.head(&GateName::order(name, "")).await?;
        queue.head = record.map(|record| head(&record, now));
    }
    session.out.answer(&Shown(queue))?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Listing {
    /// The version that was applied; 0: none, and every program goes by its own settings.
    version: u64,
    queues: Vec<Queue>,
}

#[derive(Debug, Serialize)]
struct Queue {
    name: String,
    topics: Vec<String>,
    kind: String,
    max_parallel: String,
    max_in_fleet: Option<u32>,
    max_length: Option<u32>,
    limits: Vec<String>,
    /// Who paused it, if anybody did.
    paused_by: Option<String>,
    /// Why.
    paused_why: Option<String>,
    /// Of an ordered queue: which job holds up the others, and until when. Only where one queue is shown.
    head: Option<String>,
    /// Jobs of the topics that the queue takes now, by state.
    jobs: BTreeMap<State, u64>,
    /// As it was applied, TOML.
    text: String,
}

impl Listing {
    async fn read(producer: &Producer) -> Result<Self, Failure> {
        let set = producer.queue_set().await?;
        let text = set.as_ref().map_or("", |set| &set.text);
        let queues = Queues::applied(text, ANY_MACHINE).map_err(Failure::Failed)?;
        let mut jobs: BTreeMap<String, BTreeMap<State, u64>> = BTreeMap::new();
        let mut filled: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (topic, states) in producer.link().store.counts().await? {
            let resolved = queues.resolve(&topic);
            filled.entry(resolved.config.name.clone()).or_default().push(resolved.name.clone());
            let sum = jobs.entry(resolved.name).or_default();
            for (state, count) in states.into_iter().filter(|(state, _)| !state.is_terminal()) {
                *sum.entry(state).or_default() += count;
            }
        }
        let pauses = producer.pauses().await?;
        let paused = |name: &str| {
            let what = Pausable::Queue(name.to_owned());
            pauses.iter().find(|pause| pause.what == what).map(|pause| pause.order.clone())
        };
        let mut listed = Vec::new();
        for config in queues.iter() {
            // A name with `{0}` is one queue for each remainder that there is.
            let mut names = filled.get(&config.name).cloned().unwrap_or_else(|| vec![config.name.clone()]);
            names.sort();
            names.dedup();
            for name in names {
                let jobs = jobs.get(&name).cloned().unwrap_or_default();
                listed.push(Queue::new(config, &name, paused(&name), jobs));
            }
        }
        Ok(Self { version: set.map_or(0, |set| set.version), queues: listed })
    }
}

impl Queue {
    fn new(config: &QueueConfig, name: &str, paused: Option<PauseOrder>, jobs: BTreeMap<State, u64>) -> Self {
        Self {
            name: name.to_owned(),
            topics: config.topics.iter().map(ToString::to_string).collect(),
            kind: config.kind.to_string(),
            max_parallel: config.max_parallel.to_string(),
            max_in_fleet: config.max_in_fleet,
            max_length: config.max_length,
            limits: config.limits.iter().map(ToString::to_string).collect(),
            paused_by: paused.as_ref().map(|order| order.by.clone()),
            paused_why: paused.map(|order| order.why),
            head: None,
            jobs,
            text: write(std::slice::from_ref(config)),
        }
    }

    fn sum(&self, of: impl Fn(State) -> bool) -> u64 {
        self.jobs.iter().filter(|(state, _)| of(**state)).map(|(_, count)| count).sum()
    }
}

impl Answer for Listing {
    fn text(&self, screen: Screen) -> String {
        let mut table = Table::new(&["QUEUE", "KIND", "WAITING", "RUNNING", "IN FLEET", "PAUSED BY", "TOPICS"]);
        for queue in &self.queues {
            let waiting = queue.sum(|state| state != State::Active).to_string();
            let paused = queue.paused_by.as_deref().map(|by| clean(by).into_owned()).unwrap_or_default();
            let topics = if queue.topics.is_empty() { "all others".to_owned() } else { queue.topics.join(" ") };
            table.row([
                clean(&queue.name).into_owned().into(),
                queue.kind.as_str().into(),
                waiting.into(),
                queue.sum(|state| state == State::Active).to_string().into(),
                queue.max_in_fleet.map_or_else(|| "any".to_owned(), |max| max.to_string()).into(),
                Cell::new(&paused, Tone::Waiting),
                topics.into(),
            ]);
        }
        let version = match self.version {
            0 => "no queues were applied; every program goes by its own settings".to_owned(),
            version => format!("version {version}"),
        };
        format!("{version}\n{}", table.show(screen))
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(Queue);

impl Answer for Shown {
    fn text(&self, screen: Screen) -> String {
        let Queue { name, text, paused_by, paused_why, head: first, jobs, .. } = &self.0;
        let jobs: Vec<String> = jobs.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let jobs = if jobs.is_empty() { "no jobs wait or run".to_owned() } else { jobs.join(", ") };
        let why = paused_why.as_deref().map(|why| format!(": {}", clean(why))).unwrap_or_default();
        let paused = paused_by.as_deref().map(|by| format!("; paused by {}{why}", clean(by))).unwrap_or_default();
        let first = first.as_deref().map(|first| format!("; {first}")).unwrap_or_default();
        let head = screen.paint(Tone::Good, &clean(name));
        format!("{head}: {jobs}{first}{paused}\n\n{}", text.trim_end())
    }
}
