//! `longshore events`: what happens, as it happens; and `longshore events send`, which tells applications something.

use crate::args::Payload;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Answer, Screen, Tone, clean};
use crate::session::Session;
use longshore_model::span::show;
use longshore_producer::{Event, EventKind, Heard, Topic, TopicPattern};
use serde::Serialize;
use std::time::Duration;

/// Follow what happens to jobs, and what applications tell each other, until Ctrl-C. Events are told without a promise:
/// what became of a job tells `longshore job show`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Of topics that match this pattern only.
    #[arg(long, value_name = "PATTERN", default_value = "**")]
    topic: TopicPattern,
    /// Only these kinds: added, started, finished, failed, cancelled, removed, progress, application.
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kind: Vec<EventKind>,
    /// End after so many.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Tell all applications that listen something.
    Send {
        /// What it is about.
        topic: Topic,
        /// JSON, @FILE, or - for standard input.
        #[arg(long, default_value = "null")]
        payload: Payload,
    },
}

fn kind(text: &str) -> Result<EventKind, String> {
    EventKind::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("`{text}` is not a kind of event: use one of {}", names.join(", "))
    })
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.producer().await?;
    if let Some(Command::Send { topic, payload }) = args.command {
        let payload = payload.read().await?;
        producer.announce_raw(&topic, payload).await.map_err(|error| Failure::Failed(error.to_string()))?;
        session.out.note(&format!("told whoever listens to {topic}"));
        return Ok(Exit::Done);
    }
    let wanted = |kind: EventKind| args.kind.is_empty() || args.kind.contains(&kind);
    let mut listen = producer.events(args.topic.clone());
    if wanted(EventKind::Progress) {
        listen = listen.with_progress();
    }
    if wanted(EventKind::Application) {
        listen = listen.with_applications();
    }
    let mut interrupt = Interrupt::listen().await;
    let mut events = listen.open().await?;
    session.out.note("listening; Ctrl-C ends it");
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let heard = tokio::select! {
            biased;
            () = interrupt.heard() => return Ok(Exit::Done),
            heard = events.next() => heard,
        };
        match heard {
            Heard::Event(event) if wanted(event.event) => {
                session.out.answer(&Line(*event))?;
                left -= 1;
            }
            Heard::Event(_) => {}
            Heard::Missed => session.out.note("the connection was lost and is back: some events were not heard"),
        }
    }
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(Event);

impl Answer for Line {
    fn text(&self, screen: Screen) -> String {
        let event = &self.0;
        let tone = match event.event {
            EventKind::Finished => Tone::Good,
            EventKind::Cancelled | EventKind::Removed => Tone::Bad,
            EventKind::Failed => Tone::Waiting,
            EventKind::Started | EventKind::Progress => Tone::Busy,
            EventKind::Added | EventKind::Application => Tone::Plain,
        };
        let mut words = vec![event.topic.to_string()];
        words.extend(event.id.map(|id| id.to_string()));
        words.extend(event.ms.map(|ms| show(Duration::from_millis(ms))));
        if let Some(progress) = &event.progress {
            words.push(format!("{}/{}", progress.step, progress.steps));
            words.extend(progress.text.clone());
        }
        words.extend(event.message.clone());
        if event.event == EventKind::Application {
            words.extend(event.payload.as_ref().map(|payload| payload.get().to_owned()));
            words.push(format!("from {}", event.origin));
        }
        let kind = screen.paint(tone, &format!("{:<11}", event.event));
        format!("{} {kind} {}", clean(&event.at), clean(&words.join(" ")))
    }
}
