//! Intake: one session of consuming after the other, and the hand-out of slots.
//!
//! Holds deliveries that nobody has claimed yet: per lane, bounded by the lanes' prefetch, none longer
//! than [`HOLD`]. Lanes take turns ([`super::turns`]). A delivery leaves only with a free slot, as an attempt. Giving
//! back is always: remove the lane's consumer first, then give back once; a lane that was given back
//! rests until there is a slot again.

use super::attempt::{self, Taken};
use super::flow::Flow;
use super::turns::Turns;
use super::{Engine, Phase, Trust};
use crate::registry::Registration;
use longshore_link::broker::{Consumption, Delivery, Intake, Settler};
use longshore_model::lane::Lane;
use longshore_model::topic::Topic;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// No delivery waits here for a slot longer than this while other instances may have one.
const HOLD: Duration = Duration::from_secs(30);
/// A lane whose consumer was lost is tried again after this.
const LANE_RETRY: Duration = Duration::from_secs(1);
/// Time between two looks at how long deliveries wait.
const LAG_LOOK: Duration = Duration::from_secs(1);
/// Without a sign of life from the store for so long, deliveries go to others.
const DOUBT_LIMIT: Duration = Duration::from_secs(30);

/// One of the instance's slots, and one of the handler's where it has its own; free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    engine: Arc<Engine>,
    handler: Option<OwnedSemaphorePermit>,
    /// The queue under which it is counted, where that has a limit on this instance.
    queue: Option<String>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Before anybody is told: who looks on another thread must find both free.
        drop(self.handler.take());
        if let Some(queue) = self.queue.take() {
            self.engine.policies.leave(&queue);
        }
        self.engine.busy.send_if_modified(|busy| {
            *busy -= 1;
            true
        });
        self.engine.slot_freed.notify_one();
    }
}

impl Slot {
    /// Takes a slot, if one is free and the instance is not quiet, or it is for the one that it is quiet for.
    pub(crate) fn take(engine: &Arc<Engine>, registration: &Registration, topic: &Topic, alone: bool) -> Option<Self> {
        let handler = match &registration.slots {
            Some(slots) => Some(Arc::clone(slots).try_acquire_owned().ok()?),
            None => None,
        };
        let queue = engine.policies.enter(topic)?;
        let taken = engine.busy.send_if_modified(|busy| {
            let free = *busy < engine.slots && (alone || !engine.isolation.is_quiet());
            *busy += usize::from(free);
            free
        });
        if taken {
            return Some(Self { engine: Arc::clone(engine), handler, queue });
        }
        if let Some(queue) = queue {
            engine.policies.leave(&queue);
        }
        None
    }
}

/// Consumes until the instance is stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let random = engine.link.world.random.clone();
    while engine.phase() == Phase::Working && engine.until_sure().await {
        match engine.link.broker.consume().await {
            Ok(consumption) => {
                let why = Session::new(Arc::clone(&engine), consumption).run().await;
                engine.isolation.clear();
                engine.held.clear();
                engine.consuming.send_replace(BTreeSet::new());
                if engine.phase() == Phase::Working {
                    tracing::warn!(why, "the consuming session ended; opening another");
                }
            }
            Err(fault) => {
                tracing::warn!(%fault, "no consuming session; trying again");
                if !engine.pause(random.jitter(Duration::from_millis(1_500))).await {
                    return;
                }
            }
        }
    }
}

pub(super) struct Held {
    pub(super) delivery: Delivery,
    since: Duration,
}

pub(super) struct Session {
    pub(super) engine: Arc<Engine>,
    pub(super) consumption: Box<dyn Consumption>,
    settler: Arc<dyn Settler>,
    /// Unclaimed deliveries by lane.
    pub(super) held: BTreeMap<Lane, VecDeque<Held>>,
    /// Lanes with a consumer. A delivery of any other is a late one and goes straight back.
    pub(super) registered: BTreeSet<Lane>,
    /// Lanes of which deliveries wait.
    turns: Turns,
    /// Lanes that were given back and wait for a free slot.
    pub(super) resting: BTreeSet<Lane>,
    /// Lanes whose messages are large: how many of each may be here at once.
    pub(super) narrow: BTreeMap<Lane, u16>,
    /// What begins of each lane.
    pub(super) flows: BTreeMap<Lane, Flow>,
    /// Lanes whose jobs have just turned out to be quick.
    pub(super) quick: Vec<Lane>,
    /// Whether a lane failed and must be tried again.
    pub(super) retry_lanes: bool,
    /// When it was last looked at what time alone changes.
    looked: Duration,
    /// Since when the instance is in doubt.
    doubt: Option<Duration>,
    /// When it was told last how long deliveries wait.
    told_lag: Duration,
}

#[expect(clippy::large_enum_variant, reason = "one lives at a time, on the stack of the loop")]
enum Woken {
    Came(Intake),
    Lanes,
    Slot,
    Trust,
    Phase,
    Time,
}

impl Session {
    fn new(engine: Arc<Engine>, consumption: Box<dyn Consumption>) -> Self {
        let settler = consumption.settler();
        Self {
            engine,
            consumption,
            settler,
            held: BTreeMap::new(),
            registered: BTreeSet::new(),
            turns: Turns::default(),
            resting: BTreeSet::new(),
            narrow: BTreeMap::new(),
            flows: BTreeMap::new(),
            quick: Vec::new(),
            retry_lanes: false,
            looked: Duration::ZERO,
            doubt: None,
            told_lag: Duration::ZERO,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.engine.link.world.clock.boot()
    }

    /// Runs until the session is over; answers why.
    async fn run(mut self) -> String {
        let engine = Arc::clone(&self.engine);
        let mut wanted = engine.wanted.subscribe();
        let mut trust = engine.trust.subscribe();
        let mut phase = engine.phase.subscribe();
        self.adjust_lanes().await;
        self.looked = self.now();
        loop {
            // Here, as deliveries that keep coming would keep a timer from its turn.
            let tick = (self.looked + self.next_tick()).saturating_sub(self.now());
            if tick.is_zero()
                && let Some(why) = self.look().await
            {
                return why;
            }
            self.hand_out();
            self.quicken().await;
            self.tell_lag();
            let woken = tokio::select! {
                biased;
                _ = phase.changed() => Woken::Phase,
                _ = trust.changed() => Woken::Trust,
                _ = wanted.changed() => Woken::Lanes,
                () = engine.slot_freed.notified() => Woken::Slot,
                intake = self.consumption.next() => Woken::Came(intake),
                () = engine.link.world.clock.sleep(tick) => Woken::Time,
            };
            match woken {
                Woken::Came(Intake::Delivery(delivery)) => {
                    self.hold(delivery);
                    if self.is_too_heavy() {
                        self.hand_out();
                        self.lighten().await;
                    }
                }
                Woken::Came(Intake::LaneLost { lane, why }) => {
                    tracing::warn!(%lane, why, "the lane's consumer was lost; it will be registered again");
                    // Its unsettled deliveries are void: they come again.
                    self.take_all(&lane);
                    self.registered.remove(&lane);
                    self.retry_lanes = true;
                    self.show_lanes();
                }
                Woken::Came(Intake::Ended { why }) => return why,
                Woken::Lanes => self.adjust_lanes().await,
                Woken::Slot => {
                    // Handlers that end together free their slots together: theirs go in one claim.
                    tokio::task::yield_now().await;
                    self.wake_resting().await;
                }
                Woken::Trust => {
                    let trust = *trust.borrow_and_update();
                    self.doubt = (trust != Trust::Sure).then(|| self.now());
                    if matches!(trust, Trust::Superseded | Trust::Lifeless) {
                        self.give_all_back().await;
                        self.consumption.close().await;
                        return "the instance is not part of the fleet any more".into();
                    }
                }
                Woken::Phase => {
                    let phase = *phase.borrow_and_update();
                    // While draining the session stays open: what runs is still to be acknowledged.
                    self.give_all_back().await;
                    if phase == Phase::Stopped {
                        self.consumption.close().await;
                        return "drained".into();
                    }
                }
                Woken::Time => {}
            }
        }
    }

    /// Sees to what time alone changes. Answers why the session has to end, if it has to.
    async fn look(&mut self) -> Option<String> {
        self.looked = self.now();
        if self.retry_lanes {
            self.adjust_lanes().await;
        }
        self.give_back_overdue().await;
        self.widen().await;
        self.slow_down().await;
        if self.doubt.is_some_and(|since| self.now().saturating_sub(since) > DOUBT_LIMIT) {
            self.give_all_back().await;
            self.consumption.close().await;
            return Some("the store gave no sign of life; deliveries went back".into());
        }
        None
    }

    /// Tells how long deliveries wait, now and then: looking at every lane for each delivery would be too much.
    fn tell_lag(&mut self) {
        let now = self.now();
        if now.saturating_sub(self.told_lag) >= LAG_LOOK {
            self.told_lag = now;
            let oldest = self.held.values().filter_map(VecDeque::front).map(|held| held.since).min();
            self.engine.held.note_oldest(oldest);
        }
    }

    fn next_tick(&self) -> Duration {
        if self.retry_lanes { LANE_RETRY } else { Duration::from_secs(2) }
    }

    fn hold(&mut self, delivery: Delivery) {
        if !self.registered.contains(&delivery.lane) {
            self.settler.give_back(delivery.tag);
            return;
        }
        let since = self.now();
        let lane = delivery.lane.clone();
        if !self.held.contains_key(&lane) {
            self.turns.push(lane.clone());
        }
        self.engine.held.add(&delivery);
        self.held.entry(lane).or_default().push_back(Held { delivery, since });
    }

    /// Starts attempts while there are deliveries and slots.
    fn hand_out(&mut self) {
        if self.engine.phase() != Phase::Working || !self.engine.is_sure() {
            return;
        }
        self.hand_out_taken_back();
        let mut all = Vec::new();
        while self.engine.free() > 0
            && let Some(taken) = self.turns.order().into_iter().find_map(|high| self.take(high))
        {
            all.push(taken);
        }
        if !all.is_empty() {
            let (engine, settler) = (Arc::clone(&self.engine), Arc::clone(&self.settler));
            let tasks = engine.link.world.tasks.clone();
            drop(tasks.spawn(attempt::run_all(engine, settler, all)));
        }
    }

    /// The next delivery of a high or of a normal lane, if there is one that gets a slot.
    fn take(&mut self, high: bool) -> Option<Taken> {
        for _ in 0..self.turns.len(high) {
            let lane = self.turns.pop(high)?;
            let Some(queue) = self.held.get_mut(&lane) else { continue };
            if !self.engine.may_start(&lane) {
                // `wanted` is about to say so, and the lane will be given back.
                self.turns.push(lane);
                continue;
            }
            let Some(registration) = self.engine.registry.choose(&lane.topic) else {
                // The handler went away; `wanted` is about to say so, and the lane will be given back.
                self.turns.push(lane);
                continue;
            };
            let Some(slot) = Slot::take(&self.engine, &registration, &lane.topic, false) else {
                self.turns.push(lane);
                continue;
            };
            let Some(held) = queue.pop_front() else {
                self.held.remove(&lane);
                continue;
            };
            self.engine.held.take(&held.delivery);
            let empty = queue.is_empty();
            self.count(&lane);
            self.turns.count(high);
            if empty {
                self.held.remove(&lane);
            } else {
                self.turns.push(lane);
            }
            return Some(Taken { delivery: held.delivery, registration, slot, alone: false });
        }
        None
    }

    /// Starts what a dead instance left behind.
    fn hand_out_taken_back(&self) {
        while self.engine.free() > 0
            && let Some(delivery) = self.engine.taken_back.pop()
        {
            let topic = &delivery.lane.topic;
            if !self.engine.takes(topic) || !self.engine.may_start(&delivery.lane) {
                // Its copy is in the lane, for whoever takes that.
                continue;
            }
            let Some(registration) = self.engine.registry.choose(topic) else { continue };
            let Some(slot) = Slot::take(&self.engine, &registration, topic, false) else {
                return self.engine.taken_back.put_back(delivery);
            };
            let engine = Arc::clone(&self.engine);
            let tasks = engine.link.world.tasks.clone();
            drop(tasks.spawn(attempt::run_again(engine, delivery, registration, slot)));
        }
    }

    async fn adjust_lanes(&mut self) {
        self.retry_lanes = false;
        let wanted = self.engine.wanted.borrow().clone().unwrap_or_default();
        let unwanted: Vec<Lane> = self.registered.difference(&wanted).cloned().collect();
        for lane in unwanted {
            self.give_lane_back(&lane).await;
        }
        self.resting.retain(|lane| wanted.contains(lane));
        let lanes = wanted.len();
        for lane in wanted {
            if self.registered.contains(&lane) || self.resting.contains(&lane) {
                continue;
            }
            match self.consumption.add(&lane, self.prefetch(&lane, lanes)).await {
                Ok(()) => {
                    self.registered.insert(lane);
                }
                Err(fault) => {
                    tracing::warn!(%lane, %fault, "the lane cannot be consumed yet; trying again");
                    self.retry_lanes = true;
                }
            }
        }
        self.show_lanes();
    }

    fn show_lanes(&self) {
        self.engine.consuming.send_replace(self.registered.clone());
    }

    pub(super) async fn give_lane_back(&mut self, lane: &Lane) {
        if let Err(fault) = self.consumption.remove(lane).await {
            // The session is ending, and all its deliveries with it.
            tracing::debug!(%lane, %fault, "the lane's consumer could not be removed");
        }
        self.registered.remove(lane);
        for delivery in self.take_all(lane) {
            self.settler.give_back(delivery.tag);
        }
    }

    /// Everything of a lane that waits here, which waits here no more.
    fn take_all(&mut self, lane: &Lane) -> Vec<Delivery> {
        self.turns.remove(lane);
        let waiting = self.held.remove(lane).unwrap_or_default().into_iter().map(|held| held.delivery);
        let all: Vec<_> = waiting.chain(self.engine.isolation.take(lane)).collect();
        all.iter().for_each(|delivery| self.engine.held.take(delivery));
        all
    }

    async fn give_all_back(&mut self) {
        for lane in self.registered.clone() {
            self.give_lane_back(&lane).await;
        }
        self.show_lanes();
    }

    async fn give_back_overdue(&mut self) {
        let now = self.now();
        let overdue: Vec<Lane> = self
            .held
            .iter()
            .filter(|(_, queue)| queue.front().is_some_and(|held| now.saturating_sub(held.since) > HOLD))
            .map(|(lane, _)| lane.clone())
            .collect();
        for lane in overdue {
            self.give_lane_back(&lane).await;
            self.resting.insert(lane);
        }
    }

    /// A slot is free: lanes that rested may deliver again.
    async fn wake_resting(&mut self) {
        if !self.resting.is_empty() && self.engine.free() > 0 {
            self.resting.clear();
            self.adjust_lanes().await;
        }
    }
}
