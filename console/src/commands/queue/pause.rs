//! `longshore queue pauses|pause|resume`: pausing and resuming a queue, a topic, an order key or everything, for the whole
//! fleet.

use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Table, clean, moment};
use crate::session::Session;
use longshore_model::span::rfc3339;
use longshore_producer::{Pausable, PauseState, Producer, Time};
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Pause {
    /// The name of a queue, or topic:TOPIC, or key:QUEUE:KEY, or all (queue:all is the queue of that name).
    what: String,
    /// Who asks, for those who wonder.
    #[arg(long, value_name = "NAME", default_value = "the command line")]
    by: String,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// Resume by itself after so much time.
    #[arg(long = "for", value_name = "DUR", value_parser = args::duration, conflicts_with = "until")]
    span: Option<Duration>,
    /// Resume by itself at this time.
    #[arg(long, value_name = "TIME", value_parser = args::time)]
    until: Option<Time>,
}

pub(super) async fn list(session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    show(&producer, session).await
}

pub(super) async fn pause(args: Pause, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let what = read(&args.what)?;
    let until = match args.span {
        Some(span) => Some(Time::from_unix_ms(now(&producer).await? + longshore_model::span::ms(span))),
        None => args.until,
    };
    producer.pause(&what, &args.by, &args.why, until).await?;
    show(&producer, session).await
}

pub(super) async fn resume(what: &str, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let what = read(what)?;
    if !producer.resume(&what).await? {
        return Err(Failure::NotFound(format!("{what} is not paused; `longshore queue pauses` shows what is")));
    }
    show(&producer, session).await
}

async fn show(producer: &Producer, session: &mut Session) -> Result<Exit, Failure> {
    session.out.answer(&Pauses::new(producer.pauses().await?))?;
    Ok(Exit::Done)
}

/// The store's clock, which ends pauses.
async fn now(producer: &Producer) -> Result<u64, Failure> {
    Ok(producer.link().store.ping().await?)
}

/// The name of a queue, or what else can be paused.
fn read(text: &str) -> Result<Pausable, Failure> {
    if text.contains(':') || text == "all" {
        return text.parse().map_err(Failure::Usage);
    }
    format!("queue:{text}").parse().map_err(Failure::Usage)
}

#[derive(Debug, Serialize)]
struct Pauses {
    pauses: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct Shown {
    what: String,
    by: String,
    why: String,
    since: String,
    until: Option<String>,
    waiting: u64,
}

impl Pauses {
    fn new(pauses: Vec<PauseState>) -> Self {
        let shown = |pause: PauseState| Shown {
            what: pause.what.to_string(),
            by: pause.order.by,
            why: pause.order.why,
            since: rfc3339(pause.since),
            until: pause.order.until.map(rfc3339),
            waiting: pause.waiting,
        };
        Self { pauses: pauses.into_iter().map(shown).collect() }
    }
}

impl Answer for Pauses {
    fn text(&self, screen: Screen) -> String {
        if self.pauses.is_empty() {
            return "nothing is paused".to_owned();
        }
        let mut table = Table::new(&["PAUSED", "BY", "WHY", "SINCE", "UNTIL", "WAITING"]);
        for pause in &self.pauses {
            table.row([
                clean(&pause.what).into_owned().into(),
                clean(&pause.by).into_owned().into(),
                clean(&pause.why).into_owned().into(),
                moment(&pause.since).into(),
                pause.until.as_deref().map_or_else(|| "resumed".to_owned(), moment).into(),
                pause.waiting.to_string().into(),
            ]);
        }
        table.show(screen)
    }
}
