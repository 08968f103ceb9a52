//! `longshore stats`: what the fleet did and what waits, or the conservation ledger, once or whenever it changes.

mod ledger;
mod numbers;

pub(crate) use ledger::Balance;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen};
use crate::session::Session;
use longshore_producer::{Fault, Overview, Producer, Selection, TopicPattern};
use serde::Serialize;
use std::time::Duration;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// What the fleet did and what waits: counters, times and rates, together, by queue and by topic.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One queue only.
    #[arg(long)]
    queue: Option<String>,
    /// Topics that match this pattern only.
    #[arg(long, value_name = "PATTERN")]
    topic: Option<TopicPattern>,
    /// Begin to count anew; what waits and runs stays.
    #[arg(long, conflicts_with_all = ["ledger", "watch"])]
    reset: bool,
    /// What was accepted since the store began, and what became of it: accepted = succeeded + failed + stopped +
    /// dropped + waiting + active. Exit code 1 when that is not so.
    #[arg(long, conflicts_with_all = ["queue", "topic"])]
    ledger: bool,
    /// Show it again whenever it changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

impl Args {
    fn selection(&self) -> Selection {
        Selection { queue: self.queue.clone(), topic: self.topic.clone() }
    }
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    if args.reset {
        let reset = producer.reset_statistics(&args.selection()).await?;
        session.out.note(&format!("counting begins anew for {reset} pairs of a queue and a topic"));
    }
    let mut last = Stats::read(args, &producer).await?;
    session.out.answer(&last)?;
    if !args.watch {
        return Ok(last.exit());
    }
    loop {
        producer.link().world.clock.sleep(LOOK).await;
        match Stats::read(args, &producer).await {
            Ok(now) => {
                let now = now.after(&last);
                if !now.shows_the_same(&last) {
                    session.out.answer(&now)?;
                }
                last = now;
            }
            Err(fault) if fault.is_passing() => session.out.note(&format!("{fault}; asking again")),
            Err(fault) => return Err(fault.into()),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Stats {
    Numbers(Box<Overview>),
    Ledger(Balance),
}

impl Stats {
    const fn exit(&self) -> Exit {
        match self {
            Self::Ledger(balance) if !balance.drifts.is_empty() => Exit::Failed,
            _ => Exit::Done,
        }
    }

    async fn read(args: &Args, producer: &Producer) -> Result<Self, Fault> {
        Ok(if args.ledger {
            Self::Ledger(Balance::new(&producer.ledger().await?))
        } else {
            Self::Numbers(Box::new(producer.statistics(&args.selection()).await?))
        })
    }

    /// With what came in since an earlier look.
    fn after(self, earlier: &Self) -> Self {
        match (self, earlier) {
            (Self::Numbers(now), Self::Numbers(earlier)) => Self::Numbers(Box::new(now.since(earlier))),
            (now, _) => now,
        }
    }

    fn shows_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Numbers(now), Self::Numbers(other)) => now.timeless() == other.timeless(),
            (Self::Ledger(now), Self::Ledger(other)) => now == other,
            _ => false,
        }
    }
}

impl Answer for Stats {
    fn text(&self, screen: Screen) -> String {
        match self {
            Self::Numbers(overview) => numbers::text(overview, screen),
            Self::Ledger(balance) => balance.text(screen),
        }
    }
}
