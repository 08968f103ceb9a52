//! The statistics as a table: one row for everything, for each queue and for each topic.

use crate::output::{Cell, Screen, Table, Tone};
use longshore_model::span::show;
use longshore_producer::{Overview, Percentiles, Summary};
use std::time::Duration;

const HEAD: &[&str] = &[
    "OF",
    "QUEUED",
    "UNASSIGNED",
    "ACTIVE",
    "OLDEST",
    "FINISHED",
    "FAILED",
    "CANCELLED",
    "WAITED",
    "RAN",
    "IN/MIN",
    "OUT/MIN",
];

pub(super) fn text(overview: &Overview, screen: Screen) -> String {
    if overview.topics.is_empty() {
        return "no jobs".into();
    }
    let mut table = Table::new(HEAD);
    table.row(row(Cell::new("(all)", Tone::Strong), &overview.all));
    for (queue, summary) in &overview.queues {
        table.row(row(format!("queue {queue}").into(), summary));
    }
    for (topic, summary) in &overview.topics {
        table.row(row(topic.as_str().into(), summary));
    }
    let legend = "WAITED in the lane and RAN: half of them and 99 of 100 took no longer, within an eighth";
    format!("{}\n{}", table.show(screen), screen.paint(Tone::Faint, legend))
}

fn row(first: Cell, of: &Summary) -> [Cell; 12] {
    let number = |count: u64| Cell::from(count.to_string());
    let notable = |count: u64, tone: Tone| if count > 0 { Cell::new(&count.to_string(), tone) } else { number(0) };
    let span = |ms: u64| show(Duration::from_millis(ms));
    let times = |of: &Percentiles, any: bool| {
        Cell::from(if any { format!("{} / {}", span(of.p50), span(of.p99)) } else { "-".to_owned() })
    };
    let oldest = of.oldest_waiting_since.map_or_else(|| "-".to_owned(), |_| span(of.oldest_waiting_age));
    [
        first,
        number(of.queued),
        notable(of.unassigned, Tone::Waiting),
        notable(of.active, Tone::Busy),
        oldest.into(),
        number(of.finished),
        notable(of.failed, Tone::Waiting),
        notable(of.cancelled, Tone::Bad),
        times(&of.waiting, of.started > 0),
        times(&of.processing, of.finished > 0),
        of.accepted_per_minute.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}")).into(),
        format!("{:.1}", of.processed_per_minute).into(),
    ]
}
