//! `longshore job explain`: why a job is where it is, and what would have to change.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean, crash_line, moment, state_tone};
use crate::session::Session;
use longshore_model::Lane;
use longshore_model::snapshot::{AttemptView, Waiting};
use longshore_producer::{JobId, JobView, Reason, State, Topic, View};
use serde::Serialize;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The job.
    id: JobId,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let job = producer.show(args.id).await?.ok_or_else(|| Failure::no_job(args.id))?;
    let view = producer.topology().await?;
    session.out.answer(&Explained::new(job, &view))?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Explained {
    id: JobId,
    topic: Topic,
    state: State,
    reason: Option<Reason>,
    waiting: Option<Waiting>,
    /// Why, and what would have to change, in a sentence.
    detail: String,
    /// The live instances that take it.
    takers: Vec<Taker>,
    /// The attempts whose processes went away.
    dossier: Vec<AttemptView>,
}

#[derive(Debug, Serialize)]
struct Taker {
    instance: String,
    name: String,
    slots: u32,
    running: u32,
}

impl Explained {
    fn new(job: JobView, view: &View) -> Self {
        let lane = Lane { topic: job.topic.clone(), site: job.site.clone(), high: false };
        let takers = view.capable(&job.topic).filter(|card| view.is_for(&lane, card)).map(|card| Taker {
            instance: card.owner.instance.to_string(),
            name: card.name.clone(),
            slots: card.slots,
            running: card.running,
        });
        Self { takers: takers.collect(), detail: detail(&job), ..Self::bare(job) }
    }

    fn bare(job: JobView) -> Self {
        let JobView { id, topic, state, reason, waiting, mut attempts, .. } = job;
        attempts.retain(|attempt| attempt.crash.is_some());
        Self { id, topic, state, reason, waiting, detail: String::new(), takers: Vec::new(), dossier: attempts }
    }
}

fn detail(job: &JobView) -> String {
    let JobView { id, state, .. } = job;
    let who = job.instance.as_deref().unwrap_or("an instance");
    let at = |time: &Option<String>| time.as_deref().map(moment).unwrap_or_default();
    let said = job.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
    if let Some(waiting) = &job.waiting {
        return waiting.detail.clone();
    }
    match state {
        State::Active => {
            format!("it does not wait: {who} runs its attempt {} since {}", job.attempt, at(&job.started))
        }
        State::Succeeded => format!("it does not wait: it succeeded at {} on {who}", at(&job.finished)),
        State::Scheduled | State::Blocked | State::Queued | State::Retrying => {
            format!("it waits as {state}, and nothing more is known")
        }
        State::Error | State::GivenUp | State::Stopped | State::Dropped => {
            let reason = job.reason.map(|reason| format!(" ({})", words(reason))).unwrap_or_default();
            format!(
                "it has ended as {state}{reason} at {} after {} of at most {}{said}; `longshore job retry {id}` sends it \
                 again",
                at(&job.finished),
                attempts(job.attempt),
                if job.max_retries < 0 { "any number".into() } else { (job.max_retries + 1).to_string() },
            )
        }
    }
}

fn attempts(count: u32) -> String {
    if count == 1 { "1 attempt".into() } else { format!("{count} attempts") }
}

fn words(reason: Reason) -> String {
    reason.as_str().replace('_', " ")
}

impl Answer for Explained {
    fn text(&self, screen: Screen) -> String {
        let state = screen.paint(state_tone(self.state), self.state.as_str());
        let mut text = format!("job {} ({}) is {state}\n{}", self.id, self.topic, clean(&self.detail));
        for attempt in &self.dossier {
            let crash = attempt.crash.as_ref().map(crash_line).unwrap_or_default();
            let (number, instance, started) = (attempt.number, &attempt.instance, moment(&attempt.started));
            text.push('\n');
            text.push_str(&clean(&format!("attempt {number} on {instance} {started}: {crash}")));
        }
        if self.takers.is_empty() {
            return text;
        }
        let mut table = Table::new(&["TAKEN BY", "INSTANCE", "BUSY"]);
        for Taker { instance, name, slots, running } in &self.takers {
            let tone = if running >= slots { Tone::Waiting } else { Tone::Good };
            let busy = Cell::new(&format!("{running}/{slots}"), tone);
            table.row([name.as_str().into(), instance.as_str().into(), busy]);
        }
        text.push_str("\n\n");
        text.push_str(&table.show(screen));
        text
    }
}
