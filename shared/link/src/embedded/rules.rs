//! What a queue says of its jobs beside how many run: how many may wait, and what a final failure does to an order.
//!
//! Step by step what `redis/lua/gates.lua` does in `count_in`, `crowded` and `after_failure`.

use super::core::Core;
use super::gates::Gates;
use crate::store::PauseOrder;
use longshore_model::gate::{GateName, Gates as Asked, Length, OnFailure, Pausable, WhenFull};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::record::{Record, State};
use longshore_model::transition::Event;
use std::collections::{BTreeMap, BTreeSet};

/// The jobs of a queue whose length has a bound.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Those that count while they wait.
    counted: BTreeMap<(GateName, JobId), u64>,
    /// Those that wait, in the order in which they were accepted.
    waiting: BTreeSet<(GateName, u64, JobId)>,
}

const fn waits(state: State) -> bool {
    !state.is_terminal() && !matches!(state, State::Active)
}

impl Lengths {
    fn waiting(&self, gate: &GateName) -> impl Iterator<Item = JobId> {
        let of = |entry: &&(GateName, u64, JobId)| entry.0 == *gate;
        self.waiting.iter().filter(of).map(|(_, _, id)| *id)
    }
}

impl Gates {
    fn length(&self, asked: &Asked, queue: &str) -> Option<(GateName, Length)> {
        let gate = asked.of_queue(queue)?;
        Some((gate.clone(), self.policy(gate)?.length?))
    }

    /// A new job counts in the length of its queue, where that has a bound.
    pub(super) fn count_in(&mut self, record: &Record, now_us: u64) {
        if let Some((gate, _)) = self.length(&record.gates, &record.queue) {
            let place = self.next_place(now_us);
            self.lengths.counted.insert((gate.clone(), record.id), place);
            self.lengths.waiting.insert((gate, place, record.id));
        }
    }

    /// A job changed its state.
    pub(super) fn count(&mut self, record: &Record) {
        let Some(gate) = record.gates.of_queue(&record.queue) else { return };
        let counted = (gate.clone(), record.id);
        let Some(place) = self.lengths.counted.get(&counted) else { return };
        let entry = (gate.clone(), *place, record.id);
        if waits(record.state) {
            self.lengths.waiting.insert(entry);
        } else {
            self.lengths.waiting.remove(&entry);
        }
        if record.state.is_terminal() {
            self.lengths.counted.remove(&counted);
        }
    }

    /// The holder of an order failed for good: what its queue says of that.
    pub(super) fn after_failure(&mut self, record: &Record, order: &GateName, now_us: u64) {
        let policy = record.gates.of_queue(&record.queue).and_then(|gate| self.policy(gate));
        match policy.map(|policy| policy.on_failure) {
            None | Some(OnFailure::Continue) => {}
            Some(OnFailure::Skip) => self.skip(order, record.id, now_us),
            Some(OnFailure::Halt) => {
                let (queue, key) = (order.of().to_owned(), order.key().to_owned());
                let whole = key.is_empty() || self.pauses.len() >= limits::PAUSES;
                let what = if whole { Pausable::Queue(queue) } else { Pausable::Key { queue, key } };
                let stays = self.pauses.get(&what).is_some_and(|(before, _)| before.until.is_none());
                if !stays {
                    let why = format!("job {} ended as {}; see why, then resume", record.id, record.state);
                    let order = PauseOrder { by: "longshore".to_owned(), why, until: None };
                    self.pauses.insert(what, (order, now_us / 1_000));
                }
            }
        }
    }
}

impl Core {
    /// How many jobs may wait in the queue of a new job, where as many do and none makes room.
    pub(super) fn crowded(&mut self, asked: &Asked, queue: &str) -> Option<u32> {
        let (gate, length) = self.gates.length(asked, queue)?;
        let max = usize::try_from(length.max).unwrap_or(usize::MAX);
        let waiting = self.gates.lengths.waiting(&gate).count();
        // More are over where the bound was lowered; some go with each new one.
        let over = (waiting + 1).saturating_sub(max).min(limits::RELEASES);
        if over > 0 && length.full == WhenFull::Refuse {
            return Some(length.max);
        }
        let oldest: Vec<JobId> = self.gates.lengths.waiting(&gate).take(over).collect();
        for id in oldest {
            let _ = self.move_on(&id, &Event::Displace);
        }
        None
    }
}
