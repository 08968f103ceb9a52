//! Orders, limits and pauses in a simulated run: what is asked for, and whether it was kept.
//!
//! A run with gates gives its jobs order keys and a limit of [`MAX`] for each of two keys, and pauses a topic for a while.
//! Whatever goes wrong meanwhile: jobs of one key never run beside each other, and in the order in which they were
//! accepted; of one key of the limit never more than [`MAX`] run at once.

use super::history::{History, Span};
use longshore_link::world::Random;
use longshore_model::Record;
use longshore_model::gate::{GateName, LimitPolicy, Pausable};
use longshore_producer::{JobBuilder, Producer};
use std::collections::BTreeMap;

/// Jobs that run at once for one key of the limit.
pub const MAX: u32 = 2;

const LIMIT: &str = "sim";
const PAUSED: &str = "sim/quick";

/// Sets the limit.
pub async fn begin(producer: &Producer) {
    let policy = LimitPolicy { max: Some(MAX), ..LimitPolicy::default() };
    repeat(producer, async || producer.set_limit(LIMIT, &policy).await.is_ok()).await;
}

/// What happens beside the job of this number.
pub async fn beside(producer: &Producer, number: usize) {
    let what = Pausable::Topic(PAUSED.into());
    match number {
        15 => repeat(producer, async || producer.pause(&what, "the simulation", "", None).await.is_ok()).await,
        25 => repeat(producer, async || producer.resume(&what).await.is_ok()).await,
        _ => {}
    }
}

pub(super) async fn repeat(producer: &Producer, call: impl AsyncFn() -> bool) {
    while !call().await {
        producer.link().world.clock.sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// What a job asks for.
pub fn ask(job: JobBuilder, random: &Random) -> JobBuilder {
    match random.below(5) {
        0 | 1 => job.order_key(random.below(3).to_string()),
        2 | 3 => job.limit_key(LIMIT, random.below(2).to_string()).turn(random.below(2).to_string()),
        _ => job,
    }
}

/// What was not kept.
#[must_use]
pub fn judge(records: &[Record], history: &History) -> Vec<String> {
    let mut wrong = orders(records, history);
    wrong.extend(limits(records, history, |gate| (gate.of() == LIMIT).then_some(MAX)));
    wrong
}

/// What was not kept of orders.
pub(super) fn orders(records: &[Record], history: &History) -> Vec<String> {
    let mut orders: BTreeMap<&GateName, Vec<&Record>> = BTreeMap::new();
    for record in records {
        if let Some(order) = &record.gates.order {
            orders.entry(order).or_default().push(record);
        }
    }
    let mut wrong = Vec::new();
    for (order, mut jobs) in orders {
        jobs.sort_by_key(|record| record.created);
        wrong.extend(out_of_order(order, &jobs, history));
    }
    wrong
}

/// What was not kept of limits that let so many through at once.
pub(super) fn limits(records: &[Record], history: &History, max: impl Fn(&GateName) -> Option<u32>) -> Vec<String> {
    let mut limits: BTreeMap<&GateName, Vec<&Record>> = BTreeMap::new();
    for record in records {
        for limit in &record.gates.limits {
            limits.entry(limit).or_default().push(record);
        }
    }
    let mut wrong = Vec::new();
    for (limit, jobs) in limits {
        let Some(max) = max(limit) else { continue };
        let runs: Vec<Span> = jobs.iter().flat_map(|record| history.spans(&record.id)).collect();
        let most = most_at_once(runs.into_iter().filter(|run| !run.excused));
        if most > max as usize {
            wrong.push(format!("{limit}: {most} ran at once"));
        }
    }
    wrong
}

/// Jobs that were to run at once when they were accepted, in that order: each begins when those before it have ended.
fn out_of_order(order: &GateName, jobs: &[&Record], history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    let runs: Vec<Span> = jobs.iter().flat_map(|record| history.spans(&record.id)).filter(|run| !run.excused).collect();
    if most_at_once(runs.into_iter()) > 1 {
        wrong.push(format!("{order}: two jobs ran at once"));
    }
    for pair in jobs.windows(2) {
        let begun = history.spans(&pair[1].id).into_iter().filter(|run| !run.excused).map(|run| run.begun_ms).min();
        if let (Some(begun), Some(finished)) = (begun, pair[0].finished)
            && begun < finished
            && pair[0].created < pair[1].created
        {
            wrong.push(format!("{order}: {} began before {} had ended", pair[1].id, pair[0].id));
        }
    }
    wrong
}

fn most_at_once(runs: impl Iterator<Item = Span>) -> usize {
    // Ends before begins of the same moment.
    let mut edges: Vec<_> = runs.flat_map(|run| [(run.begun, 1_i32), (run.ended, -1)]).collect();
    edges.sort_unstable();
    let (mut now, mut most) = (0, 0);
    for (_, edge) in edges {
        now += edge;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn runs_that_touch_are_not_at_once() {
        let run = |begun, ended| Span {
            begun: Duration::from_secs(begun),
            begun_ms: begun * 1_000,
            ended: Duration::from_secs(ended),
            excused: false,
        };
        assert_eq!(most_at_once([run(0, 5), run(5, 9)].into_iter()), 1);
        assert_eq!(most_at_once([run(0, 5), run(4, 9), run(1, 2)].into_iter()), 2);
        assert_eq!(most_at_once(std::iter::empty()), 0);
    }
}
