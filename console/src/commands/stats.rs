//! `longshore stats`: how many jobs are in each state, or the conservation ledger, once or whenever it changes.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, state_tone};
use crate::session::Session;
use longshore_model::ledger::{ADVICE, Drift, Ledger, Sums};
use longshore_producer::{Fault, Producer, State, Topic};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// How many jobs are in each state, by topic.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What was accepted since the store began, and what became of it: accepted = succeeded + failed + stopped +
    /// dropped + waiting + active. Exit code 1 when that is not so.
    #[arg(long)]
    ledger: bool,
    /// Show it again whenever it changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let mut last = Stats::read(args, &producer).await?;
    session.out.answer(&last)?;
    if !args.watch {
        return Ok(last.exit());
    }
    loop {
        producer.link().world.clock.sleep(LOOK).await;
        match Stats::read(args, &producer).await {
            Ok(now) if now == last => {}
            Ok(now) => {
                session.out.answer(&now)?;
                last = now;
            }
            Err(fault) if fault.is_passing() => session.out.note(&format!("{fault}; asking again")),
            Err(fault) => return Err(fault.into()),
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Stats {
    Counts(Counts),
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
            Self::Counts(Counts { topics: producer.counts().await? })
        })
    }
}

impl Answer for Stats {
    fn text(&self, screen: Screen) -> String {
        match self {
            Self::Counts(counts) => counts.text(screen),
            Self::Ledger(balance) => balance.text(screen),
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Counts {
    topics: BTreeMap<Topic, BTreeMap<State, u64>>,
}

impl Counts {
    fn text(&self, screen: Screen) -> String {
        if self.topics.values().all(BTreeMap::is_empty) {
            return "no jobs".into();
        }
        let mut table = Table::new(&["TOPIC", "STATE", "JOBS"]);
        for (topic, states) in &self.topics {
            for (state, count) in states {
                let state = Cell::new(state.as_str(), state_tone(*state));
                table.row([topic.as_str().into(), state, count.to_string().into()]);
            }
        }
        table.show(screen)
    }
}

/// The ledger in the terms of the equation.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Balance {
    total: Sums,
    topics: BTreeMap<Topic, Sums>,
    pub(crate) drifts: Vec<Drift>,
}

impl Balance {
    pub(crate) fn new(ledger: &Ledger) -> Self {
        let topics = ledger.topics.iter().map(|(topic, account)| (topic.clone(), account.sums()));
        Self { total: ledger.total(), topics: topics.collect(), drifts: ledger.drifts() }
    }

    fn text(&self, screen: Screen) -> String {
        let head = &["TOPIC", "ACCEPTED", "SUCCEEDED", "FAILED", "STOPPED", "DROPPED", "WAITING", "ACTIVE", "DRIFT"];
        let mut table = Table::new(head);
        for (topic, sums) in &self.topics {
            table.row(row(topic.as_str().into(), sums));
        }
        table.row(row(Cell::new("(all)", Tone::Strong), &self.total));
        let table = table.show(screen);
        if self.drifts.is_empty() {
            return format!(
                "{table}\n{}",
                screen.paint(Tone::Good, "in balance: every accepted job has ended, waits or runs")
            );
        }
        let drifts: Vec<String> = self.drifts.iter().map(|drift| format!("  {drift}")).collect();
        let bad = screen.paint(Tone::Bad, "NOT in balance:");
        format!("{table}\n{bad}\n{}\n{ADVICE}", drifts.join("\n"))
    }
}

fn row(first: Cell, sums: &Sums) -> [Cell; 9] {
    let number = |count: i64| Cell::from(count.to_string());
    let tone = if sums.drift == 0 { Tone::Good } else { Tone::Bad };
    [
        first,
        number(sums.accepted),
        number(sums.succeeded),
        number(sums.failed),
        number(sums.stopped),
        number(sums.dropped),
        number(sums.waiting),
        number(sums.active),
        Cell::new(&sums.drift.to_string(), tone),
    ]
}
