//! The ledger, from what the script of this name answers.

use super::reply::{Items, unexpected};
use crate::error::Fault;
use longshore_model::ledger::Ledger;
use longshore_model::record::State;
use longshore_model::topic::Topic;
use std::collections::BTreeMap;

/// The counter of jobs that came in.
pub(super) const ACCEPTED: &str = "accepted";
/// Counters of what left the history, by its last state.
const FORGOTTEN: &str = "forgotten_";

/// Names and whole numbers by turns; zeros are left out.
pub(super) fn numbers(items: Items) -> Result<BTreeMap<String, i64>, Fault> {
    let (mut items, mut numbers) = (items, BTreeMap::new());
    while !items.is_empty() {
        let (name, number) = (items.text()?, items.signed()?);
        if number != 0 {
            numbers.insert(name, number);
        }
    }
    Ok(numbers)
}

/// What a counter counts: its kind, the topic, and the queue. `None`: it is none of those that are known.
pub(super) fn counter(name: &str) -> Option<(&str, Topic, &str)> {
    let (kind, place) = name.split_once(' ')?;
    let (topic, queue) = place.split_once(' ')?;
    Some((kind, Topic::new(topic).ok()?, queue))
}

/// The state whose forgotten jobs a kind of counter counts.
pub(super) fn forgotten(kind: &str) -> Option<State> {
    kind.strip_prefix(FORGOTTEN)?.parse().ok()
}

fn size(number: i64) -> Result<u64, Fault> {
    u64::try_from(number).map_err(|_| unexpected("a negative size"))
}

/// Reads the answer. Counters of no known kind are left out.
pub(super) fn read(mut answer: Items) -> Result<Ledger, Fault> {
    let mut ledger = Ledger::default();
    for (name, count) in numbers(answer.items()?)? {
        let Some((kind, topic, _)) = counter(&name) else { continue };
        let account = ledger.topics.entry(topic).or_default();
        if kind == ACCEPTED {
            account.accepted += count;
        } else if let Some(state) = forgotten(kind) {
            *account.forgotten.entry(state).or_default() += count;
        } else if let Ok(state) = kind.parse::<State>() {
            *account.now.entry(state).or_default() += count;
        }
    }
    for account in ledger.topics.values_mut() {
        account.now.retain(|_, count| *count != 0);
    }
    for (state, count) in numbers(answer.items()?)? {
        if let Ok(state) = state.parse() {
            ledger.indexed.insert(state, size(count)?);
        }
    }
    for (topic, count) in numbers(answer.items()?)? {
        if let Ok(topic) = Topic::new(&topic) {
            ledger.topics.entry(topic).or_default().indexed = size(count)?;
        }
    }
    ledger.open = answer.number()?;
    ledger.outbox = answer.number()?;
    Ok(ledger)
}
