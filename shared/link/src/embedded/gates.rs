//! Gates of the embedded store: orders, limits and pauses, which a job has to pass before it is queued.
//!
//! Step by step what `redis/lua/gates.lua` does, whose head says how it works; the two are compared by random
//! sequences. Decides only who may pass: states change through the model's transition function.

mod scrub;

pub(super) use self::scrub::Held;

use super::core::Core;
use super::rules::Lengths;
use crate::store::{KeyState, LimitState, Nudge, Outgoing, PauseOrder, PauseState, QueueSet};
use longshore_model::gate::{GateKind, GateName, LimitPolicy, Over, Pausable, QUEUE_LIMIT, Rate};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::record::{Reason, Record, State, WaitsAt};
use longshore_model::transition::Event;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One gate. Of a rate, `tat` is when its bucket is full again, us.
#[derive(Debug, Default)]
struct Gate {
    holders: BTreeSet<(u64, JobId)>,
    unclaimed: BTreeSet<JobId>,
    turns: BTreeSet<(u64, String)>,
    waiters: BTreeMap<String, BTreeSet<(u64, JobId)>>,
    tat: u64,
}

/// All gates, and what was said about them.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: BTreeMap<GateName, Gate>,
    policies: BTreeMap<String, LimitPolicy>,
    pub(super) lengths: Lengths,
    pub(super) pauses: BTreeMap<Pausable, (PauseOrder, u64)>,
    /// When gates may be open, ms.
    wake: BTreeSet<(u64, GateName)>,
    /// Gates to be looked at before the operation ends, first come first.
    waking: VecDeque<GateName>,
    place: u64,
    released: bool,
    /// Those that were let through, where the operation answers with them.
    handed: Option<Vec<Outgoing>>,
    /// The queues of the fleet, the newest first, and what was there before.
    queues: Vec<QueueSet>,
}

/// What does not let a job pass.
struct Refusal {
    gate: GateName,
    reason: Reason,
    /// When it may, ms.
    at: Option<u64>,
}

impl Gate {
    fn holds(&self, id: &JobId) -> bool {
        self.holders.iter().any(|(_, holder)| holder == id)
    }

    fn hold(&mut self, id: JobId, now: u64) {
        self.holders.retain(|(_, holder)| *holder != id);
        self.holders.insert((now, id));
    }

    fn release(&mut self, id: &JobId) -> bool {
        let before = self.holders.len();
        self.holders.retain(|(_, holder)| holder != id);
        self.holders.len() < before
    }

    fn is_full(&self, max: u32) -> bool {
        self.holders.len() as u64 >= u64::from(max)
    }

    fn waiting(&self) -> u64 {
        self.waiters.values().map(|line| line.len() as u64).sum()
    }

    fn unwait(&mut self, turn: &str, id: &JobId) {
        let Some(line) = self.waiters.get_mut(turn) else { return };
        line.retain(|(_, waiter)| waiter != id);
        if line.is_empty() {
            self.waiters.remove(turn);
            self.turns.retain(|(_, other)| other != turn);
        }
    }
}

/// From when on a bucket has a token, us, and how long one lasts.
fn token_at(tat: u64, rate: Rate) -> (u64, u64) {
    let interval = (rate.per_ms * 1_000 / u64::from(rate.count)).max(1);
    (tat.saturating_sub(interval * u64::from(rate.count - 1)), interval)
}

impl Gates {
    pub(super) fn next_place(&mut self, now_us: u64) -> u64 {
        self.place = (self.place + 1).max(now_us);
        self.place
    }

    fn wake(&mut self, gate: &GateName) {
        if !self.waking.contains(gate) {
            self.waking.push_back(gate.clone());
        }
    }

    fn later(&mut self, gate: &GateName, at: Option<u64>) {
        let Some(at) = at else { return };
        let known = self.wake.iter().find(|(_, other)| other == gate).cloned();
        match known {
            Some((before, _)) if before <= at => {}
            known => {
                known.map(|known| self.wake.remove(&known));
                self.wake.insert((at, gate.clone()));
            }
        }
    }

    /// When the next gate is to be looked at, ms.
    pub(super) fn next_wake(&self) -> Option<u64> {
        self.wake.first().map(|(at, _)| *at)
    }

    /// Wakes the gates whose time has come.
    pub(super) fn wake_due(&mut self, now: u64) {
        let due: Vec<_> = self.wake.iter().take_while(|(at, _)| *at <= now).take(limits::RELEASES).cloned().collect();
        for entry in due {
            self.wake.remove(&entry);
            self.wake(&entry.1);
        }
    }

    fn pause_of(&self, record: &Record, now: u64) -> Option<(GateName, Option<u64>)> {
        let key = record.gates.order.as_ref();
        let key = key.map(|order| Pausable::Key { queue: order.of().to_owned(), key: order.key().to_owned() });
        let names = [Pausable::All, Pausable::Queue(record.queue.clone()), Pausable::Topic(record.topic.to_string())];
        names.into_iter().chain(key).find_map(|what| {
            let (order, _) = self.pauses.get(&what)?;
            order.until.is_none_or(|until| until > now).then(|| (GateName::pause(&what), order.until))
        })
    }

    pub(super) fn policy(&self, gate: &GateName) -> Option<LimitPolicy> {
        self.policies.get(gate.of()).cloned()
    }

    fn closed(
        &mut self,
        id: &JobId,
        gate: &GateName,
        policy: &LimitPolicy,
        from: Option<&GateName>,
        now_us: u64,
    ) -> Option<Option<u64>> {
        let state = self.gates.entry(gate.clone()).or_default();
        let held = policy.max.is_some() && state.holds(id);
        if let Some(max) = policy.max
            && !held
            && state.is_full(max)
        {
            return Some(Some(now_us / 1_000 + limits::GRANT_MS));
        }
        if let Some(rate) = policy.rate {
            if state.unclaimed.len() as u64 >= u64::from(rate.count) {
                return Some(None);
            }
            let (at, _) = token_at(state.tat, rate);
            if at > now_us {
                return Some(Some(at.div_ceil(1_000)));
            }
        }
        if !held && from != Some(gate) && !state.turns.is_empty() {
            self.wake(gate);
            return Some(None);
        }
        None
    }

    fn refusal(&mut self, record: &Record, from: Option<&GateName>, now_us: u64) -> Option<Refusal> {
        if let Some(order) = &record.gates.order {
            let state = self.gates.entry(order.clone()).or_default();
            let holder = state.holders.first().map(|(_, id)| *id);
            if holder != Some(record.id) {
                let refused = Refusal { gate: order.clone(), reason: Reason::Order, at: None };
                if holder.is_some() {
                    return Some(refused);
                }
                if from != Some(order) && !state.turns.is_empty() {
                    self.wake(order);
                    return Some(refused);
                }
                state.hold(record.id, now_us / 1_000);
            }
        }
        if let Some((gate, at)) = self.pause_of(record, now_us / 1_000) {
            return Some(Refusal { gate, reason: Reason::Paused, at });
        }
        for gate in &record.gates.limits {
            if let Some(policy) = self.policy(gate)
                && let Some(at) = self.closed(&record.id, gate, &policy, from, now_us)
            {
                return Some(Refusal { gate: gate.clone(), reason: Reason::Limit, at });
            }
        }
        None
    }

    fn take(&mut self, record: &Record, running: bool, now_us: u64) {
        for gate in &record.gates.limits {
            let limits = |policy: &LimitPolicy| policy.max.is_some() || policy.rate.is_some();
            let Some(policy) = self.policy(gate).filter(limits) else { continue };
            let state = self.gates.entry(gate.clone()).or_default();
            if policy.max.is_some() {
                state.hold(record.id, now_us / 1_000);
            }
            if let Some(rate) = policy.rate.filter(|_| !running) {
                let (_, interval) = token_at(state.tat, rate);
                state.tat = state.tat.max(now_us) + interval;
                state.unclaimed.insert(record.id);
            }
        }
    }

    /// A job changed its state: what it left may let others pass.
    pub(super) fn left(&mut self, before: &Record, after: &Record, now_us: u64) {
        let id = after.id;
        let mut woken = Vec::new();
        if let Some(WaitsAt { gate, turn }) = before.waits_at.as_ref().filter(|_| after.state != State::Blocked)
            && let Some(state) = self.gates.get_mut(gate)
        {
            state.unwait(turn, &id);
            woken.extend(after.state.is_terminal().then(|| gate.clone()));
        }
        if let Some(order) = after.gates.order.as_ref().filter(|_| after.state.is_terminal())
            && self.gates.get_mut(order).is_some_and(|state| state.release(&id))
        {
            if matches!(after.state, State::Error | State::GivenUp) {
                self.after_failure(after, order, now_us);
            }
            woken.push(order.clone());
        }
        self.count(after);
        for gate in &after.gates.limits {
            let Some(state) = self.gates.get_mut(gate) else { continue };
            let mut left = before.state == State::Queued && state.unclaimed.remove(&id);
            if before.state.holds_limits() && !after.state.holds_limits() {
                left |= state.release(&id);
            }
            if left {
                woken.push(gate.clone());
            }
        }
        woken.iter().for_each(|gate| self.wake(gate));
        if after.state == State::Active && before.state != State::Queued {
            if let Some(order) = &after.gates.order {
                self.gates.entry(order.clone()).or_default().hold(id, now_us / 1_000);
            }
            self.take(after, true, now_us);
        }
    }

    /// Has those dropped that wait in an order now, behind a job that failed for good.
    pub(super) fn skip(&mut self, order: &GateName, failed: JobId, now_us: u64) {
        let upto = self.next_place(now_us);
        let state = self.gates.entry(order.clone()).or_default();
        state.turns.insert((0, format!("skip:{upto}:{failed}")));
    }

    fn wait_at(&mut self, at: &WaitsAt, place: u64, id: JobId, now_us: u64) {
        let number = self.next_place(now_us);
        let state = self.gates.entry(at.gate.clone()).or_default();
        state.waiters.entry(at.turn.clone()).or_default().insert((place, id));
        if !state.turns.iter().any(|(_, turn)| *turn == at.turn) {
            state.turns.insert((number, at.turn.clone()));
        }
    }

    /// The turn that was let through longest ago, and who is first in it; and, where that one is to be skipped, because
    /// of whom.
    fn first(&mut self, gate: &GateName) -> Option<(String, JobId, Option<String>)> {
        let state = self.gates.get_mut(gate)?;
        let skip = state.turns.first().filter(|_| gate.kind() == GateKind::Order).cloned();
        if let Some((upto, failed)) = skip.as_ref().and_then(|(_, turn)| turn.strip_prefix("skip:")?.split_once(':')) {
            let upto: u64 = upto.parse().unwrap_or_default();
            match state.waiters.get("").and_then(BTreeSet::first) {
                Some((place, id)) if *place <= upto => return Some((String::new(), *id, Some(failed.to_owned()))),
                _ => state.turns.pop_first(),
            };
        }
        let (_, turn) = state.turns.first()?;
        let (_, id) = state.waiters.get(turn)?.first()?;
        Some((turn.clone(), *id, None))
    }

    fn rotate(&mut self, gate: &GateName, turn: &str, now_us: u64) {
        let number = self.next_place(now_us);
        let Some(state) = self.gates.get_mut(gate) else { return };
        if state.waiters.contains_key(turn) {
            state.turns.retain(|(_, other)| other != turn);
            state.turns.insert((number, turn.to_owned()));
        }
    }

    /// Whether nobody passes behind the one that was let through just now; says when to look at a limit again that others
    /// wait at.
    fn is_shut(&mut self, gate: &GateName, now: u64) -> bool {
        let Some(state) = self.gates.get(gate).filter(|state| !state.turns.is_empty()) else { return false };
        if gate.kind() == GateKind::Order {
            return true;
        }
        let Some(max) = self.policy(gate).and_then(|policy| policy.max) else { return false };
        let fresh = state.holders.first().is_some_and(|(at, _)| at + limits::GRANT_MS > now);
        let shut = fresh && state.is_full(max);
        if shut {
            self.later(gate, Some(now + limits::GRANT_MS));
        }
        shut
    }

    fn is_idle(&self, gate: &GateName) -> bool {
        self.gates
            .get(gate)
            .is_none_or(|state| state.holders.is_empty() && state.unclaimed.is_empty() && state.turns.is_empty())
    }

    /// Whoever calls this looks again afterwards.
    pub(super) fn set_limit(&mut self, name: &str, policy: Option<&LimitPolicy>) -> bool {
        match policy {
            None => {
                self.policies.remove(name);
            }
            Some(_) if !self.policies.contains_key(name) && self.policies.len() >= limits::LIMITS => return false,
            Some(policy) => {
                self.policies.insert(name.to_owned(), policy.clone());
            }
        }
        true
    }

    /// Whether a limit counts who is there at once.
    pub(super) fn counts(&self, name: &str) -> bool {
        self.policies.get(name).is_some_and(|policy| policy.max.is_some())
    }

    /// Counts a job that runs already at a limit.
    pub(super) fn count_running(&mut self, gate: &GateName, id: JobId, now: u64) {
        let state = self.gates.entry(gate.clone()).or_default();
        if !state.holds(&id) {
            state.hold(id, now);
        }
    }

    /// What a limit allows has changed: who waits is looked at by the next promotion.
    pub(super) fn look_again(&mut self, name: &str, now: u64) {
        for gate in self.of_limit(name) {
            self.later(&gate, Some(now));
        }
    }

    /// The gates of a limit that somebody holds or waits at.
    fn of_limit(&self, name: &str) -> Vec<GateName> {
        let mine = |gate: &&GateName| gate.kind() == GateKind::Limit && gate.of() == name && !self.is_idle(gate);
        self.gates.keys().filter(mine).cloned().collect()
    }

    pub(super) fn limits(&self) -> Vec<LimitState> {
        let state = |(name, policy): (&String, &LimitPolicy)| {
            let gates = self.of_limit(name);
            let shown = gates.iter().take(limits::KEYS_SHOWN).filter_map(|gate| {
                let state = self.gates.get(gate)?;
                let passed = state.holders.len().max(state.unclaimed.len()) as u64;
                Some(KeyState { key: gate.key().to_owned(), passed, waiting: state.waiting() })
            });
            LimitState { name: name.clone(), policy: policy.clone(), keys: gates.len() as u64, shown: shown.collect() }
        };
        self.policies.iter().map(state).collect()
    }

    /// The job that has an order.
    pub(super) fn head(&self, order: &GateName) -> Option<JobId> {
        self.gates.get(order)?.holders.first().map(|(_, id)| *id)
    }

    /// The queues of the fleet.
    pub(super) fn queues(&self) -> Option<QueueSet> {
        self.queues.first().cloned()
    }

    /// What was there before, newest first.
    pub(super) fn past_queues(&self) -> Vec<QueueSet> {
        self.queues.iter().skip(1).cloned().collect()
    }

    /// Answers what is there now, and whether it was applied: then whoever calls this looks again at these limits.
    pub(super) fn set_queues(&mut self, set: QueueSet, policies: &[(String, LimitPolicy)]) -> (QueueSet, bool) {
        let now = self.queues.first().map_or(0, |set| set.version);
        if now + 1 != set.version {
            let none = QueueSet { version: 0, by: String::new(), at: 0, text: String::new() };
            return (self.queues().unwrap_or(none), false);
        }
        let kept = |name: &str| policies.iter().any(|(other, _)| other == name);
        let gone: Vec<String> =
            self.policies.keys().filter(|name| name.starts_with(QUEUE_LIMIT) && !kept(name)).cloned().collect();
        for name in gone {
            self.set_limit(&name, None);
            self.look_again(&name, set.at);
        }
        for (name, policy) in policies {
            self.policies.insert(name.clone(), policy.clone());
        }
        self.queues.insert(0, set.clone());
        self.queues.truncate(limits::PAST_QUEUES + 1);
        (set, true)
    }

    /// Answers whether it was paused before; `None`: there are too many pauses.
    pub(super) fn set_pause(&mut self, what: &Pausable, order: Option<&PauseOrder>, now: u64) -> Option<bool> {
        let (gate, before) = (GateName::pause(what), self.pauses.contains_key(what));
        match order {
            None => {
                self.pauses.remove(what);
                self.later(&gate, Some(now));
            }
            Some(_) if !before && self.pauses.len() >= limits::PAUSES => return None,
            Some(order) => {
                self.pauses.insert(what.clone(), (order.clone(), now));
                self.later(&gate, order.until);
            }
        }
        Some(before)
    }

    /// Pauses everything after a loss, unless it is paused already.
    pub(super) fn hold_all(&mut self, why: String, now: u64) {
        let order = PauseOrder { by: "longshore".to_owned(), why, until: None };
        self.pauses.entry(Pausable::All).or_insert((order, now));
    }

    pub(super) fn pauses(&self) -> Vec<PauseState> {
        let state = |(what, (order, since)): (&Pausable, &(PauseOrder, u64))| PauseState {
            what: what.clone(),
            order: order.clone(),
            since: *since,
            waiting: self.gates.get(&GateName::pause(what)).map_or(0, Gate::waiting),
        };
        self.pauses.iter().map(state).collect()
    }
}

impl Core {
    /// A job was made queued: lets it pass, or makes it wait. `new`: it is being accepted.
    pub(super) fn enter(&mut self, id: &JobId, new: bool) {
        let Some(record) = self.gated(id) else { return };
        let Some(refusal) = self.gates.refusal(&record, None, self.now_us) else {
            return self.gates.take(&record, false, self.now_us);
        };
        let replaces = self.gates.policy(&refusal.gate).is_some_and(|policy| policy.over == Over::Replace);
        if new && refusal.reason == Reason::Limit && replaces {
            self.replace(&refusal.gate);
        }
        self.wait_at(&record, refusal);
    }

    fn record(&self, id: &JobId) -> Option<Record> {
        self.table.get(id).map(|entry| entry.record.clone())
    }

    /// The record of a job that a gate may have to do with. Most have none.
    fn gated(&self, id: &JobId) -> Option<Record> {
        let record = &self.table.get(id)?.record;
        (!record.gates.is_empty() || !self.gates.pauses.is_empty()).then(|| record.clone())
    }

    fn wait_at(&mut self, record: &Record, refusal: Refusal) {
        let Refusal { gate, reason, at: till } = refusal;
        let place = record.place.unwrap_or_else(|| self.gates.next_place(self.now_us));
        let turn = if gate.kind() == GateKind::Limit { record.gates.turn.clone() } else { String::new() };
        let at = WaitsAt { gate: gate.clone(), turn };
        // An order stays in its order.
        let ordered = at.gate.kind() == GateKind::Order;
        let stands = if ordered { place } else { record.gates.priority.standing(place) };
        self.gates.wait_at(&at, stands, record.id, self.now_us);
        self.table.adjust(&record.id, |record| record.place = Some(place));
        self.gates.later(&gate, till);
        let _ = self.move_on(&record.id, &Event::Block { reason, at });
    }

    fn replace(&mut self, gate: &GateName) {
        let Some(state) = self.gates.gates.get(gate) else { return };
        let turns: Vec<String> = state.turns.iter().take(limits::RELEASES).map(|(_, turn)| turn.clone()).collect();
        let line = |turn: &String| state.waiters.get(turn).into_iter().flatten().take(limits::RELEASES);
        let waiting: Vec<JobId> = turns.iter().flat_map(line).map(|(_, id)| *id).collect();
        for id in waiting {
            let _ = self.move_on(&id, &Event::Replace);
        }
    }

    /// A queued job that is about to be claimed: whether a pause, or a limit that was set after it had passed, takes it
    /// back. Otherwise it is counted where it was not yet.
    pub(super) fn stop_short(&mut self, id: &JobId) -> bool {
        let Some(record) = self.gated(id) else { return false };
        let now = self.now();
        if let Some((gate, at)) = self.gates.pause_of(&record, now) {
            self.wait_at(&record, Refusal { gate, reason: Reason::Paused, at });
            return true;
        }
        for gate in &record.gates.limits {
            let Some(max) = self.gates.policy(gate).and_then(|policy| policy.max) else { continue };
            let state = self.gates.gates.entry(gate.clone()).or_default();
            if state.holds(id) {
                continue;
            }
            if state.is_full(max) {
                let at = Some(now + limits::GRANT_MS);
                self.wait_at(&record, Refusal { gate: gate.clone(), reason: Reason::Limit, at });
                return true;
            }
            state.hold(*id, now);
        }
        false
    }

    /// The limit that refuses a new job, if one does.
    pub(super) fn full(&mut self, id: &JobId, gates: &[GateName]) -> Option<String> {
        gates.iter().find_map(|gate| {
            let policy = self.gates.policy(gate).filter(|policy| policy.over == Over::Refuse)?;
            self.gates.closed(id, gate, &policy, None, self.now_us).map(|_| gate.of().to_owned())
        })
    }

    /// Looks at every gate that was woken. Answers those that were let through, for the caller to publish, as far as there
    /// is room in an answer; the relay leaves them alone for a while.
    pub(super) fn hand_over(&mut self) -> Vec<Outgoing> {
        self.gates.handed = Some(Vec::new());
        self.open();
        self.gates.handed.take().unwrap_or_default()
    }

    /// Looks at every gate that was woken.
    pub(super) fn open(&mut self) {
        let mut left = limits::RELEASES;
        while let Some(gate) = self.gates.waking.pop_front() {
            left = self.pass(&gate, left);
        }
        if std::mem::take(&mut self.gates.released) {
            self.tell(Nudge::Relay);
        }
    }

    fn pass(&mut self, gate: &GateName, mut left: usize) -> usize {
        loop {
            let Some((turn, id, failed)) = self.gates.first(gate) else {
                // Its bucket is remembered until it is full.
                if self.gates.is_idle(gate) && self.gates.gates.get(gate).is_some_and(|state| state.tat <= self.now_us)
                {
                    self.gates.gates.remove(gate);
                }
                return left;
            };
            if left == 0 {
                let now = self.now();
                self.gates.later(gate, Some(now));
                return 0;
            }
            left -= 1;
            let Some(record) = self.record(&id) else { return left };
            if let Some(failed) = failed {
                let why = format!("job {failed} before it in its order failed for good");
                let _ = self.move_on(&id, &Event::Skip { why });
                continue;
            }
            if record.is_expired(self.now()) {
                let _ = self.move_on(&id, &Event::Expire);
                continue;
            }
            match self.gates.refusal(&record, Some(gate), self.now_us) {
                Some(refusal) if refusal.gate == *gate => {
                    if refusal.reason != Reason::Limit || !self.take_back(gate, &record) {
                        self.gates.later(gate, refusal.at);
                        return left + 1;
                    }
                }
                Some(refusal) => {
                    if let Some(state) = self.gates.gates.get_mut(gate) {
                        state.unwait(&turn, &id);
                    }
                    self.wait_at(&record, refusal);
                }
                None => {
                    self.gates.take(&record, false, self.now_us);
                    let _ = self.move_on(&id, &Event::Release);
                    self.gates.rotate(gate, &turn, self.now_us);
                    self.hand(&id);
                    if self.gates.is_shut(gate, self.now()) {
                        return left;
                    }
                }
            }
        }
    }

    /// Gives a job that was let through to the caller, or to the relay.
    fn hand(&mut self, id: &JobId) {
        let room = self
            .gates
            .handed
            .as_ref()
            .is_some_and(|handed| handed.iter().map(|job| job.envelope.len()).sum::<usize>() < limits::BATCH_BYTES);
        let Some(job) = room.then(|| self.outgoing(id)).flatten() else {
            self.gates.released = true;
            return;
        };
        let till = self.now() + limits::OUTBOX_GRACE_MS;
        self.table.adjust(id, |record| record.outbox = Some(till));
        self.gates.handed.get_or_insert_default().push(job);
    }

    /// Takes a limit back from a job that it let through long ago and that no instance takes, for one of another topic.
    fn take_back(&mut self, gate: &GateName, waiter: &Record) -> bool {
        let Some(state) = self.gates.gates.get(gate) else { return false };
        let old: Vec<JobId> = state
            .holders
            .iter()
            .take(limits::RELEASES)
            .take_while(|(at, _)| at + limits::GRANT_MS <= self.now())
            .map(|(_, id)| *id)
            .collect();
        for id in old {
            let Some(mut holder) = self.record(&id) else { continue };
            if holder.state == State::Queued && holder.topic != waiter.topic {
                holder.place = None;
                self.wait_at(&holder, Refusal { gate: gate.clone(), reason: Reason::Limit, at: None });
                return true;
            }
        }
        false
    }
}
