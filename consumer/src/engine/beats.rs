//! Beats: the instance proves that it is alive, on a thread and a connection of its own.
//!
//! Each beat refreshes the instance's card and renews the leases of all running attempts in one call.
//! What the answers say is turned into cancellations and nudges. Judged by the boot clock, which runs
//! on while the machine sleeps: when no beat was answered for `lease.doubt`, the instance stops
//! trusting itself before anybody else may take its jobs.

use super::sight::Glimpse;
use super::{Engine, Phase, Trust};
use crate::ctx::Cancelled;
use longshore_link::store::{Beat, Beaten, Heart, Known, LossKind, Renew, Renewed};
use longshore_model::settings::OnDoubt;
use longshore_model::span::ms;
use longshore_model::topology::Card;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Beats until the instance has stopped, then leaves the fleet. `first` is told about the first beat.
pub(crate) async fn run(engine: Arc<Engine>, first: oneshot::Sender<()>) {
    let clock = engine.link.world.clock.clone();
    let _watched = Watched(Arc::clone(&engine));
    let mut state = Beating {
        heart: None,
        lanes: None,
        questions: None,
        view: None,
        synced: None,
        started: 0,
        skew_ms: None,
        known: None,
        first: Some(first),
    };
    loop {
        let begun = clock.boot();
        state.beat(&engine, begun).await;
        if state.judge(&engine, clock.boot()) == Trust::Superseded {
            return;
        }
        let wait = engine.lease.beat.saturating_sub(clock.boot().saturating_sub(begun)).max(Duration::from_millis(10));
        let wait = if *engine.trust.borrow() == Trust::Doubt { wait.min(Duration::from_millis(250)) } else { wait };
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => break,
            () = engine.beat_now.notified() => {}
            () = clock.sleep(wait) => {}
        }
    }
    if let Some(mut heart) = state.heart
        && let Some(Err(fault)) = clock.timeout(engine.lease.beat, heart.leave(&engine.owner)).await
    {
        tracing::warn!(%fault, "the instance could not say that it leaves; it will be missed after its lease");
    }
}

/// Tells the engine when beating ends, also by a panic: an instance that goes on without beats would run jobs that others
/// take over.
struct Watched(Arc<Engine>);

impl Drop for Watched {
    fn drop(&mut self) {
        let Self(engine) = self;
        if !engine.is_stopped() && *engine.trust.borrow() != Trust::Superseded {
            tracing::error!("the instance's beats have ended; stopping");
            engine.trust.send_replace(Trust::Lifeless);
            engine.running.cancel_all(&Cancelled::LeaseLost("the instance's beats have ended".into()));
        }
    }
}

struct Beating {
    heart: Option<Box<dyn Heart>>,
    /// Versions of the known topics and of the matrix.
    lanes: Option<(u64, u64)>,
    /// The last question to instances.
    questions: Option<u64>,
    view: Option<u64>,
    /// The last view that was told to be reached by every member.
    synced: Option<u64>,
    started: u64,
    /// By how much this machine's clock was ahead of the store's at the last beat, ms.
    skew_ms: Option<i64>,
    /// What the store was at the last beat.
    known: Option<Known>,
    first: Option<oneshot::Sender<()>>,
}

impl Beating {
    async fn beat(&mut self, engine: &Engine, begun: Duration) {
        // No answer within one beat counts as none.
        match engine.link.world.clock.timeout(engine.lease.beat, self.try_beat(engine)).await {
            Some(Ok((beaten, renewed))) => {
                self.started = if self.started == 0 { beaten.now } else { self.started };
                if let Some(first) = self.first.take() {
                    let _ = first.send(());
                }
                self.heard(engine, &beaten, renewed);
                // Last: whoever waits for it goes by what it said.
                engine.proven.send_replace(Some(begun));
            }
            Some(Err(fault)) => {
                tracing::warn!(%fault, "beat not answered");
                self.heart = None;
            }
            None => {
                tracing::warn!("beat not answered in time");
                self.heart = None;
            }
        }
    }

    async fn try_beat(&mut self, engine: &Engine) -> Result<(Beaten, Renewed), longshore_link::Fault> {
        let heart = match &mut self.heart {
            Some(heart) => heart,
            None => self.heart.insert(engine.link.store.heart().await?),
        };
        let lease_ms = engine.lease_ms();
        let renew = Renew {
            owner: engine.owner.clone(),
            lease_ms,
            beat_ms: ms(engine.lease.beat),
            running: engine.running.fences(),
            known: self.known,
        };
        let renewed = heart.renew(&renew).await?;
        let clock = &engine.link.world.clock;
        let asked = clock.unix_ms();
        let card = card(engine, self.started, self.skew_ms);
        let card = Card { signature: engine.link.trust.sign(&card, renewed.now), ..card };
        let beaten = heart.beat(&Beat { card, reached: engine.sight.reached(), lease_ms }).await?;
        // The store read its clock somewhere in between.
        let middle = asked + clock.unix_ms().saturating_sub(asked) / 2;
        let skew = i128::from(middle) - i128::from(beaten.now);
        self.skew_ms = i64::try_from(skew).ok();
        Ok((beaten, renewed))
    }

    fn heard(&mut self, engine: &Engine, beaten: &Beaten, renewed: Renewed) {
        for (id, fence) in renewed.lost {
            let why = "the job was taken away".to_owned();
            engine.running.cancel(&id, Some(fence), Cancelled::LeaseLost(why));
        }
        for (id, fence) in &renewed.behind {
            engine.running.mark_behind(id, *fence);
        }
        if !renewed.behind.is_empty() {
            engine.adopt_now.notify_one();
        }
        self.compare(engine, renewed.known, renewed.loss);
        for (id, by) in renewed.stop {
            engine.running.cancel(&id, None, Cancelled::Stopped(by));
        }
        if renewed.expired > 0 {
            engine.rescue_now.notify_one();
        }
        engine.metrics.beat(beaten.now);
        let Beaten { view, profiles, synced, .. } = *beaten;
        engine.sight.glimpsed(Glimpse { epoch: renewed.known.epoch, view, profiles, synced });
        let lanes = (beaten.topics, beaten.matrix);
        if self.lanes.replace(lanes) != Some(lanes) {
            engine.topics_changed.notify_one();
        }
        if self.questions.replace(beaten.questions) != Some(beaten.questions) {
            engine.answering.look.notify_one();
        }
        if self.view.replace(beaten.view) != Some(beaten.view) {
            tracing::info!(
                view = beaten.view,
                term = beaten.term,
                coordinator = beaten.coordinator,
                "the fleet's view changed"
            );
        }
        if beaten.synced && self.synced.replace(beaten.view) != Some(beaten.view) {
            tracing::debug!(view = beaten.view, "every member has reached the view");
        }
        engine.strangers.appoint(engine, beaten.coordinator);
        if beaten.superseded {
            tracing::error!(instance = %engine.owner.instance, "another process took this instance's place; stopping");
            engine.trust.send_replace(Trust::Superseded);
            engine.running.cancel_all(&Cancelled::LeaseLost("another process took this instance's place".into()));
        }
    }

    /// Tells what the store may have lost since the last beat.
    fn compare(&mut self, engine: &Engine, now: Known, loss: LossKind) {
        let Some(before) = self.known.replace(now) else { return };
        if before.epoch == now.epoch {
            return;
        }
        engine.recommit_now.notify_one();
        engine.lost.send_replace(Some(engine.link.world.clock.boot()));
        let missing = before.scheduled.saturating_sub(now.scheduled);
        engine.metrics.store_lost(loss, missing);
        if loss == LossKind::Restarted && missing == 0 {
            tracing::warn!("the store restarted; what it accepted in the seconds before may be missing");
            return;
        }
        tracing::error!(
            loss = loss.as_str(),
            scheduled_before = before.scheduled,
            scheduled = now.scheduled,
            retrying_before = before.retrying,
            queued_before = before.queued,
            active_before = before.active,
            "the store has lost what it held: queued, running and retrying jobs come back from the broker, scheduled ones \
             do not"
        );
        // Topics are gone too: the lanes that this instance consumes make them known again.
        engine.topics_changed.notify_one();
    }

    /// Compares what is proven with what is needed.
    fn judge(&self, engine: &Engine, now: Duration) -> Trust {
        let before = *engine.trust.borrow();
        if before == Trust::Superseded {
            return before;
        }
        let doubt = !engine.proven.borrow().is_some_and(|proven| engine.is_fresh(proven, now));
        let trust = if doubt { Trust::Doubt } else { Trust::Sure };
        if trust != before {
            if doubt {
                tracing::error!("no beat was answered for {:?}; no new work is started", engine.lease.doubt);
                if engine.lease.on_doubt == OnDoubt::Cancel {
                    let why = "the store did not answer in time".to_owned();
                    engine.running.cancel_all(&Cancelled::LeaseLost(why));
                }
            } else {
                tracing::info!("beats are answered again");
            }
            engine.trust.send_replace(trust);
        }
        trust
    }
}

/// What the instance says of itself now.
pub(crate) fn card(engine: &Engine, started: u64, skew_ms: Option<i64>) -> Card {
    Card {
        name: engine.name.clone(),
        cluster: engine.cluster.clone(),
        leader_preference: engine.leader_preference,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        capabilities: engine.registry.capabilities(),
        allowed: engine.allowed.clone(),
        row: engine.matrix.row(),
        slots: u32::try_from(engine.slots).unwrap_or(u32::MAX),
        running: u32::try_from(engine.running.len()).unwrap_or(u32::MAX),
        held: engine.held.counts(),
        held_at: engine.held.counts_at(),
        draining: engine.phase() != Phase::Working,
        outside: engine.strangers.is_outside(),
        lag_ms: ms(engine.held.lag(engine.link.world.clock.boot())),
        skew_ms,
        labels: engine.labels.clone(),
        endpoints: engine.endpoints.clone(),
        properties: engine.properties.merged(),
        ..Card::bare(engine.owner.clone())
    }
}
