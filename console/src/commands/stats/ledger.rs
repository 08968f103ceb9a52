//! The ledger in the terms of the equation, for people.

use crate::output::{Cell, Screen, Table, Tone};
use longshore_model::ledger::{ADVICE, Drift, Ledger, Sums};
use longshore_producer::Topic;
use serde::Serialize;
use std::collections::BTreeMap;

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

    pub(super) fn text(&self, screen: Screen) -> String {
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
