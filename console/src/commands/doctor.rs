//! `longshore doctor`: what is wrong and what to do about it; and rebuilding one service from the other.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone};
use crate::session::Session;
use clap::ValueEnum;
use longshore_producer::{
    BrokerRebuild, Finding, FoundCopies, Producer, RebuildError, Severity, StoreRebuild, Time, Topic,
};
use serde::Serialize;

/// Examine broker and store: connections, queues, ledger, losses, letters, instances, each with what to do about it.
/// Exit code 1 when something is wrong.
///
/// With --rebuild-from, put one service together again from the other: first a plan, which changes nothing (while it is
/// made, consumers do not get the messages that are looked at); with --yes it is done. Both may be repeated.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `broker`: a store that lost what it held, from the copies in lanes and at rest, and from the journal.
    /// `store`: a broker that lost what it held: lanes are declared, queued jobs are published again.
    #[arg(long, value_enum, value_name = "SERVICE")]
    rebuild_from: Option<Service>,
    /// Do it.
    #[arg(long, requires = "rebuild_from")]
    yes: bool,
    /// From the broker: look into the lane of this topic as well. Those of topics that the store or a live instance
    /// names are found without it; `rabbitmqctl list_queues name` shows all lanes.
    #[arg(long, value_name = "TOPIC", requires = "rebuild_from")]
    topic: Vec<Topic>,
    /// From the broker: when the store was last well (RFC 3339, no later than the loss). Jobs in the journal that were
    /// due before are left to what the broker holds. Default: the last beat before the loss, where an instance lived
    /// through it.
    #[arg(long, value_name = "TIME", requires = "rebuild_from")]
    lost_at: Option<Time>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Service {
    Broker,
    Store,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    match args.rebuild_from {
        None => examine(session).await,
        Some(Service::Broker) => {
            let producer = session.producer().await?;
            rebuild_store(args, &producer, session).await
        }
        Some(Service::Store) => {
            let producer = session.producer().await?;
            rebuild_broker(&args, &producer, session).await
        }
    }
}

/// A broker that is away must not hide what the store says.
async fn examine(session: &mut Session) -> Result<Exit, Failure> {
    let (producer, away) = match session.producer().await {
        Ok(producer) => (producer, None),
        Err(Failure::Usage(text)) => return Err(Failure::Usage(text)),
        Err(away) => (session.reader().await?, Some(away.to_string())),
    };
    let mut findings = producer.examine().await;
    if let (Some(why), Some(broker)) = (away, findings.iter_mut().find(|finding| finding.about == "broker")) {
        broker.detail = why;
    }
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
    session.out.answer(&Health { worst, findings })?;
    Ok(if worst == Severity::Fail { Exit::Failed } else { Exit::Done })
}

#[derive(Debug, Serialize)]
struct Health {
    worst: Severity,
    findings: Vec<Finding>,
}

impl Answer for Health {
    fn text(&self, screen: Screen) -> String {
        let mut lines = Vec::new();
        for Finding { about, severity, detail, advice } in &self.findings {
            let (word, tone) = match severity {
                Severity::Ok => ("ok  ", Tone::Good),
                Severity::Warn => ("warn", Tone::Waiting),
                Severity::Fail => ("FAIL", Tone::Bad),
            };
            lines.push(format!("{} {about}: {}", screen.paint(tone, word), crate::output::clean(detail)));
            if let Some(advice) = advice {
                lines.push(format!("     {}", screen.paint(Tone::Faint, advice)));
            }
        }
        lines.join("\n")
    }
}

async fn rebuild_store(args: Args, producer: &Producer, session: &mut Session) -> Result<Exit, Failure> {
    let mut rebuild = producer.rebuild_store();
    for topic in args.topic {
        rebuild = rebuild.topic(topic);
    }
    if let Some(time) = args.lost_at {
        rebuild = rebuild.lost_at(time);
    }
    let done = if args.yes { rebuild.run().await } else { rebuild.plan().await };
    match done {
        Ok(found) => {
            session.out.answer(&FromBroker { planned: !args.yes, found })?;
            Ok(Exit::Done)
        }
        Err(RebuildError::Fault(fault)) => Err(fault.into()),
        Err(error @ RebuildError::WhenWasItLost(_)) => Err(Failure::Usage(error.to_string())),
    }
}

#[derive(Debug, Serialize)]
struct FromBroker {
    /// Nothing was changed.
    planned: bool,
    #[serde(flatten)]
    found: StoreRebuild,
}

impl Answer for FromBroker {
    fn text(&self, screen: Screen) -> String {
        let head = &["PLACE", "COPIES", "MADE", "KNOWN", "ENDED", "DUE BEFORE", "ORPHANS", "UNREADABLE"];
        let mut table = Table::new(head);
        for place in &self.found.places {
            table.row(row(place));
        }
        let made = self.found.made();
        let mut text = table.show(screen);
        text.push('\n');
        text.push_str(&if self.planned {
            format!("{made} jobs would be made again; --yes does it")
        } else {
            format!("{made} jobs were made again")
        });
        if let Some(lost_at) = self.found.lost_at_text() {
            text.push_str(&format!("\nthe store was last well at {lost_at}"));
        }
        if self.found.undecided > 0 {
            text.push('\n');
            text.push_str(&RebuildError::WhenWasItLost(self.found.undecided).to_string());
        }
        text
    }
}

fn row(place: &FoundCopies) -> [Cell; 8] {
    let made: Vec<String> = place.made.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let number = |count: u64| Cell::from(count.to_string());
    [
        place.place.as_str().into(),
        number(place.copies),
        if made.is_empty() { "0".into() } else { Cell::new(&made.join(", "), Tone::Good) },
        number(place.known),
        number(place.ended),
        number(place.due_before),
        number(place.orphans),
        number(place.unreadable),
    ]
}

async fn rebuild_broker(args: &Args, producer: &Producer, session: &mut Session) -> Result<Exit, Failure> {
    let found = if args.yes { producer.rebuild_broker().await? } else { producer.compare_lanes().await? };
    session.out.answer(&FromStore { planned: !args.yes, missing: found.missing(), found })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct FromStore {
    /// Nothing was changed.
    planned: bool,
    /// Queued jobs that had no copy.
    missing: u64,
    #[serde(flatten)]
    found: BrokerRebuild,
}

impl Answer for FromStore {
    fn text(&self, screen: Screen) -> String {
        let mut table = Table::new(&["TOPIC", "QUEUED", "IN LANE", "HELD", "WITHOUT COPY"]);
        for lane in &self.found.lanes {
            let (normal, urgent) = (lane.lane, lane.high);
            let urgent = urgent.map(|count| format!(" and {count} urgent")).unwrap_or_default();
            let in_lane = normal.map(|count| Cell::from(format!("{count}{urgent}")));
            let in_lane = in_lane.unwrap_or_else(|| Cell::new("no lane", Tone::Bad));
            table.row([
                lane.site
                    .as_ref()
                    .map_or_else(|| lane.topic.to_string(), |site| format!("{} ({site})", lane.topic))
                    .into(),
                lane.queued.to_string().into(),
                in_lane,
                lane.held.to_string().into(),
                lane.without_copy().to_string().into(),
            ]);
        }
        let BrokerRebuild { parked, outbox, published, .. } = &self.found;
        let table = table.show(screen);
        let last = if self.planned {
            format!(
                "{} queued jobs without a copy; --yes declares lanes and publishes the queued jobs of their topics",
                self.missing
            )
        } else {
            format!("{published} jobs were published")
        };
        format!("{table}\n{parked} copies rest, {outbox} jobs were in the outbox\n{last}")
    }
}
