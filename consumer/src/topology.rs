//! The topology as this instance sees it: who is there, who leads, and what changes.
//!
//! [`Topology::view`] answers at once with the view that was announced last; [`Topology::listen`] gives a stream of
//! events, each stream with the order `Init (Changing Changed | PropertiesChanged)*`. A listener that is slow hears
//! the newest view when it comes to it, and holds up nobody. [`Topology::lead`] runs something wherever the leader is.
//!
//! No job depends on any of this: jobs are fenced by the store, whatever the topology looks like.

use crate::engine::{Engine, Phase};
use longshore_link::signal;
use longshore_model::span::ms;
use longshore_model::topology::View;
use longshore_model::topology::events::{Announced, Hearing};
pub use longshore_model::topology::events::{NoDelay, TopologyEvent, TopologyView};
pub use longshore_model::trust::{Distrust, Ignored, Outside};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// The topology as one live instance sees it. Clones see the same.
#[derive(Debug, Clone)]
pub struct Topology {
    engine: Arc<Engine>,
}

/// Whom [`Topology::lead`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// The leader of the instance's own cluster: of its live instances the one that joined first, unless some are preferred
    /// (`instance.leader_preference`): then of these.
    Cluster,
    /// The coordinator: one instance of the whole fleet, by the same rule.
    Fleet,
}

impl Leadership {
    fn is_of(self, view: &TopologyView) -> bool {
        match self {
            Self::Cluster => view.is_leader(),
            Self::Fleet => view.is_coordinator(),
        }
    }
}

impl Topology {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::clone(engine) }
    }

    /// The view that was announced last; it says whether it is still current. Before the first one: the instance alone,
    /// and not current. Never waits.
    #[must_use]
    pub fn view(&self) -> Arc<TopologyView> {
        let view = self.engine.sight.announced.borrow().view.clone();
        view.unwrap_or_else(|| {
            let card = crate::engine::beats::card(&self.engine, 0, None);
            let alone = View { instances: vec![card], ..View::default() };
            Arc::new(TopologyView::outdated(alone, self.engine.owner.clone()))
        })
    }

    /// Whether this instance leads its cluster, as far as it can prove now.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leads(Leadership::Cluster)
    }

    /// Whether this instance is the coordinator of the fleet, as far as it can prove now.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        self.leads(Leadership::Fleet)
    }

    /// Looked at where it is announced: a view that was taken from there may be replaced by a like one meanwhile.
    fn leads(&self, of: Leadership) -> bool {
        self.engine.sight.announced.borrow().view.as_ref().is_some_and(|view| of.is_of(view))
    }

    /// Live instances that are not signed with the fleet's keys, where this one has keys (`trust.keys`). Where signatures
    /// are required they are in no view.
    #[must_use]
    pub fn strangers(&self) -> Vec<Ignored> {
        self.engine.strangers.ignored()
    }

    /// A stream of events, from the newest view on.
    #[must_use]
    pub fn listen(&self) -> TopologyEvents {
        self.hear(Hearing::default())
    }

    /// As [`Self::listen`], but nothing is heard for a while; then the newest view, as the first one.
    ///
    /// # Errors
    /// [`NoDelay`] for a delay of less than a millisecond.
    pub fn listen_after(&self, delay: Duration) -> Result<TopologyEvents, NoDelay> {
        let now = self.engine.link.world.clock.boot();
        Ok(self.hear(Hearing::after(ms(delay), ms(now))?))
    }

    fn hear(&self, hearing: Hearing) -> TopologyEvents {
        let announced = self.engine.sight.announced.subscribe();
        TopologyEvents { engine: Arc::clone(&self.engine), announced, hearing }
    }

    /// Runs something while this instance leads, as often as it comes to lead, until the instance stops. What ended by
    /// itself is not run again before the next view.
    ///
    /// What runs is dropped when the view changes, even if the same instance leads in the next one, and when the
    /// instance cannot prove that it is alive; it does not begin another step after that. A step that is under way then
    /// goes on to its end: it may block its thread, or the whole process may be suspended in it, while another instance
    /// begins to lead. What it writes elsewhere should therefore carry [`View::number`], so that the smaller one can be
    /// refused there: a later leader's view has a greater number, unless the store lost everything in between and numbers
    /// anew.
    ///
    /// Changed properties interrupt nothing. The view that the work began with is not current any more after them; ask
    /// [`Self::is_leader`] or [`Self::is_coordinator`] instead.
    pub async fn lead<F, Fut>(&self, of: Leadership, mut work: F)
    where
        F: FnMut(Arc<TopologyView>) -> Fut,
        Fut: Future<Output = ()>,
    {
        let mut events = self.listen();
        let mut next = events.next().await;
        while let Some(event) = next {
            let (TopologyEvent::Init(view)
            | TopologyEvent::Changed { new: view, .. }
            | TopologyEvent::PropertiesChanged { new: view, .. }) = event
            else {
                next = events.next().await;
                continue;
            };
            next = if of.is_of(&view) {
                self.lead_in(view, of, &mut work, &mut events).await
            } else {
                events.next().await
            };
        }
    }

    /// Runs the work in one view. Answers the event that comes after it.
    async fn lead_in<F, Fut>(
        &self,
        view: Arc<TopologyView>,
        of: Leadership,
        work: &mut F,
        events: &mut TopologyEvents,
    ) -> Option<TopologyEvent>
    where
        F: FnMut(Arc<TopologyView>) -> Fut,
        Fut: Future<Output = ()>,
    {
        let done =
            {
                let mut ended = pin!(events.next_view());
                let mut work = pin!(work(view));
                // The event that says so may be late; the view is not.
                let leading = poll_fn(|context| {
                    if self.leads(of) { work.as_mut().poll(context).map(|()| true) } else { Poll::Ready(false) }
                });
                tokio::select! {
                    biased;
                    event = &mut ended => return event,
                    done = leading => done,
                }
            };
        // What was interrupted begins again with whatever comes next.
        if done { events.next_view().await } else { events.next().await }
    }
}

/// What one listener hears. Dropping it ends the listening.
#[derive(Debug)]
pub struct TopologyEvents {
    engine: Arc<Engine>,
    announced: signal::Receiver<Announced>,
    hearing: Hearing,
}

impl TopologyEvents {
    /// Waits for the next event; `None` when the instance has stopped. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<TopologyEvent> {
        let clock = &self.engine.link.world.clock;
        loop {
            if self.engine.is_stopped() {
                return None;
            }
            let now = ms(clock.boot());
            let event = self.hearing.next(&self.announced.borrow_and_update(), now);
            if event.is_some() {
                return event;
            }
            let silence = self.hearing.silence(now);
            tokio::select! {
                biased;
                () = self.engine.until(Phase::Stopped) => return None,
                changed = self.announced.changed() => changed.ok()?,
                () = clock.sleep(Duration::from_millis(silence)), if silence > 0 => {}
            }
        }
    }

    /// Waits for the next event that is not about properties.
    async fn next_view(&mut self) -> Option<TopologyEvent> {
        loop {
            match self.next().await {
                Some(TopologyEvent::PropertiesChanged { .. }) => {}
                event => return event,
            }
        }
    }
}
