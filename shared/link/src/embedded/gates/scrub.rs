//! What scrubbing asks of gates: who holds a place at them and should not, and who waits and is in no line.

use super::Gates;
use longshore_model::gate::{GateKind, GateName};
use longshore_model::id::JobId;
use longshore_model::record::{Record, State, WaitsAt};

/// A place at a gate that somebody has.
pub(in crate::embedded) enum Held {
    /// It let the job through.
    Passed(JobId),
    /// The job waits there under this turn.
    Waits(String, JobId),
}

/// Whether a job may have a place among those that a gate let through.
fn may_hold(gate: &GateName, record: &Record) -> bool {
    match gate.kind() {
        GateKind::Order => record.gates.order.as_ref() == Some(gate) && !record.state.is_terminal(),
        GateKind::Limit => record.gates.limits.contains(gate) && record.state.holds_limits(),
        GateKind::Pause => false,
    }
}

impl Held {
    /// Whether the record of its job says the same.
    pub(in crate::embedded) fn agrees(&self, gate: &GateName, record: Option<&Record>) -> bool {
        let Some(record) = record else { return false };
        match self {
            Self::Passed(_) => may_hold(gate, record),
            Self::Waits(turn, _) => record.waits_at.as_ref().is_some_and(|at| at.gate == *gate && at.turn == *turn),
        }
    }

    pub(in crate::embedded) const fn job(&self) -> &JobId {
        match self {
            Self::Passed(id) | Self::Waits(_, id) => id,
        }
    }
}

impl Gates {
    /// The gate after this one, and who has a place at it.
    pub(in crate::embedded) fn after(&self, gate: Option<&GateName>) -> Option<(GateName, Vec<Held>)> {
        let (name, state) = self.gates.iter().find(|(name, _)| gate.is_none_or(|gate| *name > gate))?;
        let passed = state.holders.iter().map(|(_, id)| id).chain(&state.unclaimed).map(|id| Held::Passed(*id));
        let lines = state.waiters.iter();
        let waits = lines.flat_map(|(turn, line)| line.iter().map(move |(_, id)| Held::Waits(turn.clone(), *id)));
        Some((name.clone(), passed.chain(waits).collect()))
    }

    /// Gives a job a place that it should not have.
    #[cfg(test)]
    pub(in crate::embedded) fn hold_for_tests(&mut self, gate: &GateName, id: JobId) {
        self.gates.entry(gate.clone()).or_default().hold(id, 1);
    }

    /// Takes a place away, which may let others pass.
    pub(in crate::embedded) fn take_away(&mut self, gate: &GateName, held: &Held) {
        let Some(state) = self.gates.get_mut(gate) else { return };
        match held {
            Held::Passed(id) => {
                state.unclaimed.remove(id);
                state.release(id);
            }
            Held::Waits(turn, id) => state.unwait(turn, id),
        }
        self.wake(gate);
    }

    /// Sees to it that a blocked job is in its line. Answers whether it was not.
    pub(in crate::embedded) fn keep_waiting(&mut self, record: &Record, now_us: u64) -> bool {
        let Some(at) = record.waits_at.as_ref().filter(|_| record.state == State::Blocked) else { return false };
        let WaitsAt { gate, turn } = at;
        let line = self.gates.get(gate).and_then(|state| state.waiters.get(turn));
        if line.is_some_and(|line| line.iter().any(|(_, id)| *id == record.id)) {
            return false;
        }
        self.wait_at(at, record.place.unwrap_or(now_us), record.id, now_us);
        self.wake(gate);
        true
    }
}
