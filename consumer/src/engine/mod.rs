//! The engine: what happens between a delivery and its acknowledgement.
//!
//! One file per role, in the order in which a job meets them: [`lanes`] decides what is consumed,
//! [`intake`] holds the session and hands out slots (by [`turns`]), [`attempt`] claims, [`run`] runs, [`settle`] commits
//! and publishes what follows. Beside them [`beats`] keeps the instance and its leases alive on a
//! thread of its own, [`running`] is the table of attempts, [`held`] counts what waits for a slot,
//! [`policies`] knows the queues, [`matrix`] which topics others let this instance take, [`sight`] who else is there,
//! [`reporter`] writes what handlers report, [`taken_back`] holds what a dead instance left and this one runs itself,
//! [`adopt`] takes running attempts back into a store that lost them, [`isolation`] runs alone what must not run beside
//! others, [`telling`] tells those who listen, [`answering`] answers those who ask,
//! [`strangers`] knows who belongs to the fleet, and whether this instance does, [`sites`] which jobs are to run here
//! rather than elsewhere.
//!
//! The engine knows no socket: broker, store, time, randomness and tasks come from `longshore-link`,
//! so all of it runs in a simulation. Selects are `biased` and no order depends on a random hash.

pub(crate) mod adopt;
pub(crate) mod answering;
pub(crate) mod attempt;
pub(crate) mod beats;
pub(crate) mod files;
pub(crate) mod flow;
pub(crate) mod held;
pub(crate) mod intake;
pub(crate) mod isolation;
pub(crate) mod lanes;
pub(crate) mod matrix;
pub(crate) mod policies;
pub(crate) mod recommit;
pub(crate) mod reporter;
pub(crate) mod run;
pub(crate) mod running;
pub(crate) mod settle;
pub(crate) mod sight;
pub(crate) mod sites;
pub(crate) mod strangers;
pub(crate) mod taken_back;
pub(crate) mod telling;
mod terms;
mod turns;
mod weight;

use self::recommit::Committed;
use crate::metrics::Metrics;
use crate::registry::Registry;
use longshore_link::Link;
use longshore_link::broker::Message;
use longshore_link::recent::Recent;
use longshore_link::signal;
use longshore_link::store::Outgoing;
use longshore_model::id::Owner;
use longshore_model::lane::Lane;
use longshore_model::settings::LeaseSettings;
use longshore_model::topic::Topic;
use longshore_model::topology::Allowed;
use longshore_model::trust::Outside;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// How far the instance's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Takes work.
    Working,
    /// Takes nothing new; what runs may finish.
    Draining,
    /// What still runs is cancelled; nothing is started or retried any more.
    Stopped,
}

/// Whether the instance can prove that it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Its leases are renewed.
    Sure,
    /// Its beats go unanswered; others may take its jobs soon.
    Doubt,
    /// Another incarnation took its place.
    Superseded,
    /// The thread that beats has ended though the instance has not: nothing renews its leases any more.
    Lifeless,
}

/// What the parts of the engine share.
#[derive(Debug)]
pub(crate) struct Engine {
    // Immutable after construction.
    pub(crate) link: Link,
    pub(crate) owner: Owner,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) leader_preference: i32,
    pub(crate) lease: LeaseSettings,
    pub(crate) allowed: Allowed,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) endpoints: Vec<String>,
    pub(crate) work_dir: files::WorkDir,
    pub(crate) max_file_bytes: u64,
    /// Whether what waits for its time is written to the journal.
    pub(crate) journal: bool,
    pub(crate) slots: usize,
    /// Most bytes of deliveries that wait for a slot.
    pub(crate) held_bytes: u64,
    /// Kept log lines of an attempt.
    pub(crate) log_lines: usize,
    // Shared; each safe by itself.
    pub(crate) registry: Registry,
    pub(crate) running: running::Running,
    pub(crate) held: held::Held,
    pub(crate) policies: policies::Policies,
    pub(crate) matrix: matrix::Matrix,
    pub(crate) sight: sight::Sight,
    pub(crate) strangers: strangers::Strangers,
    pub(crate) answering: answering::Answering,
    pub(crate) properties: crate::properties::Properties,
    pub(crate) taken_back: taken_back::TakenBack,
    pub(crate) isolation: isolation::Isolation,
    pub(crate) metrics: Arc<Metrics>,
    // State that tasks follow.
    /// Slots that are taken: from before the claim until the handler is over.
    pub(crate) busy: signal::Sender<usize>,
    pub(crate) phase: signal::Sender<Phase>,
    pub(crate) trust: signal::Sender<Trust>,
    /// When the last beat began that was answered, by the boot clock: what ran then held its leases.
    pub(crate) proven: signal::Sender<Option<Duration>>,
    pub(crate) coordinator: signal::Sender<bool>,
    /// When the store was last found to have lost something, by the boot clock.
    pub(crate) lost: signal::Sender<Option<Duration>>,
    /// Lanes of sites that were known here not long ago and are not any more.
    pub(crate) gone: signal::Sender<BTreeSet<Lane>>,
    /// `None` until the known topics were read for the first time.
    pub(crate) wanted: signal::Sender<Option<BTreeSet<Lane>>>,
    pub(crate) consuming: signal::Sender<BTreeSet<Lane>>,
    /// Every lane of the fleet, when known topics were read last.
    pub(crate) known: signal::Sender<BTreeSet<Lane>>,
    // Nudges: losing one costs a beat.
    pub(crate) slot_freed: Notify,
    pub(crate) beat_now: Notify,
    pub(crate) topics_changed: Notify,
    pub(crate) rescue_now: Notify,
    pub(crate) promote_now: Notify,
    pub(crate) relay_now: Notify,
    pub(crate) adopt_now: Notify,
    pub(crate) recommit_now: Notify,
    /// What the store committed last.
    pub(crate) committed: Recent<Committed>,
}

impl Engine {
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.phase() == Phase::Stopped
    }

    /// Whether the instance takes a topic now: it belongs to the fleet, a handler is registered for the topic, and neither
    /// lists nor the matrix forbid it.
    pub(crate) fn takes(&self, topic: &Topic) -> bool {
        self.strangers.is_inside()
            && self.allowed.admits(topic)
            && self.matrix.admits(topic)
            && self.registry.choose(topic).is_some()
    }

    /// Waits until the instance is at least in this phase.
    pub(crate) async fn until(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // The sender lives as long as `self`.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }

    /// Sleeps, but not beyond the end of the instance. Answers whether it goes on.
    pub(crate) async fn pause(&self, span: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.until(Phase::Stopped) => false,
            () = self.link.world.clock.sleep(span) => true,
        }
    }

    /// Whether the instance can prove now that it is alive and has not stopped, whatever has been noticed so far.
    pub(crate) fn is_proven(&self) -> bool {
        let now = self.link.world.clock.boot();
        !self.is_stopped() && self.proven.borrow().is_some_and(|proven| self.is_fresh(proven, now))
    }

    /// Whether the instance can prove that it is alive, as its beats have noticed.
    pub(crate) fn is_sure(&self) -> bool {
        *self.trust.borrow() == Trust::Sure
    }

    /// Waits until the instance can prove that it is alive. Answers whether it ever will.
    pub(crate) async fn until_sure(&self) -> bool {
        let mut trust = self.trust.subscribe();
        tokio::select! {
            biased;
            () = self.until(Phase::Stopped) => false,
            sure = trust.wait_for(|trust| *trust != Trust::Doubt) => sure.is_ok_and(|trust| *trust == Trust::Sure),
        }
    }

    /// Whether what the store said at this time, by the boot clock, can still be relied on: the lease that began then is
    /// not in doubt yet.
    pub(crate) fn is_fresh(&self, said: Duration, now: Duration) -> bool {
        now.saturating_sub(said) <= self.lease.doubt
    }

    /// Waits until a beat that began later than now was answered, which tells the attempts that run whether they still may.
    pub(crate) async fn until_proven(&self) {
        let now = self.link.world.clock.boot();
        let mut proven = self.proven.subscribe();
        self.beat_now.notify_one();
        tokio::select! {
            biased;
            () = self.until(Phase::Stopped) => {}
            _ = proven.wait_for(|proven| proven.is_some_and(|proven| proven > now)) => {}
        }
    }

    pub(crate) fn lease_ms(&self) -> u64 {
        longshore_model::span::ms(self.lease.length)
    }

    /// How long a handler may go on after its lease came in doubt: two thirds of what is left of the lease then, so
    /// that it is over before anybody else may start the job.
    pub(crate) fn lost_grace(&self) -> Duration {
        self.lease.length.saturating_sub(self.lease.doubt) * 2 / 3
    }

    /// Free slots, for what comes from the lanes.
    pub(crate) fn free(&self) -> usize {
        let busy = *self.busy.borrow();
        if self.isolation.is_quiet() { 0 } else { self.slots.saturating_sub(busy) }
    }

    /// Waits until no attempt is under way, from its slot to its commit. Only while nothing new is taken.
    pub(crate) async fn idle(&self) {
        let mut busy = self.busy.subscribe();
        // An attempt gives its slot back after it was entered among the running ones: none is between the two.
        let _ = busy.wait_for(|busy| *busy == 0).await;
        self.running.idle().await;
    }

    /// Publishes jobs that the store handed out, and takes the confirmed ones out of the outbox. What fails stays in
    /// the outbox: the relay comes back to it.
    pub(crate) async fn publish_outgoing(&self, outgoing: Vec<Outgoing>) -> usize {
        if outgoing.is_empty() {
            return 0;
        }
        let generations: Vec<_> = outgoing.iter().map(|job| (job.id, job.generation)).collect();
        let lanes: BTreeSet<Lane> = outgoing.iter().map(|job| job.lane.clone()).collect();
        let lanes: Vec<Lane> = lanes.into_iter().collect();
        if let Err(fault) = self.link.broker.declare(&lanes).await {
            tracing::debug!(%fault, "lanes could not be declared; publishing all the same");
        }
        let messages = outgoing.into_iter().map(Message::from).collect();
        let answers = self.link.broker.publish(messages).await;
        let asked = generations.len();
        let mut confirmed = Vec::with_capacity(asked);
        let mut why = None;
        for (job, answer) in generations.into_iter().zip(answers) {
            match answer {
                Ok(()) => confirmed.push(job),
                Err(fault) => {
                    tracing::debug!(job = %job.0, %fault, "publish not confirmed");
                    why.get_or_insert(fault);
                }
            }
        }
        let count = confirmed.len();
        if let Some(fault) = why {
            // One line for all of them: while the broker is away this comes again with every round.
            let unconfirmed = asked - count;
            tracing::warn!(unconfirmed, asked, %fault, "publishes not confirmed; the outbox keeps their jobs");
        }
        if count > 0
            && let Err(fault) = self.link.store.published(confirmed).await
        {
            // A second copy will come, and be refused.
            tracing::debug!(%fault, "published jobs stay in the outbox");
        }
        self.metrics.published(count);
        count
    }
}

/// What is known of the parts of an instance, for health and for tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Lanes that should be consumed.
    pub wanted: BTreeSet<Lane>,
    /// Lanes that are consumed: the broker has a registered consumer for each.
    pub consuming: BTreeSet<Lane>,
    /// Whether beats are answered.
    pub alive: bool,
    /// Whether it takes no new work because it was asked to stop.
    pub draining: bool,
    /// Whether it was drained by the topic matrix: it takes nothing new until it is resumed.
    pub drained: bool,
    /// Jobs that run now.
    pub running: usize,
    /// Whether it is the coordinator.
    pub coordinator: bool,
    /// Why it does not belong to the fleet, and takes no work; `None`: it does, or has not looked yet.
    pub outside: Option<Outside>,
}
