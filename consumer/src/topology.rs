//! The topology as this instance sees it: who is there, who leads, and what changes.
//!
//! [`Topology::view`] answers at once with the view that was announced last; [`Topology::listen`] gives a stream of
//! events, each stream with the order `Init (Changing Changed | PropertiesChanged)*`. A listener that is slow hears
//! the newest view when it comes to it, and holds up nobody. [`Topology::lead`] runs something on one instance alone.
//!
//! No job depends on any of this: jobs are fenced by the store, whatever the topology looks like.

use crate::engine::{Engine, Phase};
use longshore_link::signal;
use longshore_model::topology::View;
use longshore_model::topology::events::{Announced, Hearing, StartDelay};
pub use longshore_model::topology::events::{TopologyEvent, TopologyView};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The topology as one live instance sees it. Clones see the same.
#[derive(Debug, Clone)]
pub struct Topology {
    engine: Arc<Engine>,
}

/// Whom [`Topology::lead`] asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// The leader of the instance's own cluster: of its live instances the one that joined first.
    Cluster,
    /// The coordinator: one instance of the whole fleet.
    Fleet,
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
            Arc::new(TopologyView::outdated(alone, Some(self.engine.owner.clone())))
        })
    }

    /// Whether this instance leads its cluster, as far as it can prove now.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.view().is_leader()
    }

    /// Whether this instance is the coordinator of the fleet, as far as it can prove now.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        self.view().is_coordinator()
    }

    /// A stream of events, from the newest view on.
    #[must_use]
    pub fn listen(&self) -> TopologyEvents {
        TopologyEvents {
            announced: self.engine.sight.announced.subscribe(),
            engine: Arc::clone(&self.engine),
            hearing: Hearing::default(),
            delay: None,
        }
    }

    /// As [`Self::listen`], but nothing is heard for a while; then the newest view, as the first one.
    ///
    /// # Errors
    /// A sentence, for a delay of zero.
    pub fn listen_after(&self, delay: Duration) -> Result<TopologyEvents, String> {
        let ms = longshore_model::span::ms;
        let delay = StartDelay::new(ms(delay), ms(self.engine.link.world.clock.boot()))?;
        Ok(TopologyEvents { delay: Some(delay), ..self.listen() })
    }

    /// Runs something while this instance leads, as often as it comes to lead, until the instance stops. What runs is
    /// dropped as soon as the view changes or the instance cannot prove that it is alive, which is before others can
    /// lead: two never run at once unless something blocks its thread. What it writes elsewhere should carry
    /// [`View::term`] all the same, where a write may be under way for long.
    pub async fn lead<F, Fut>(&self, of: Leadership, mut work: F)
    where
        F: FnMut(Arc<TopologyView>) -> Fut,
        Fut: Future<Output = ()>,
    {
        let leads = |view: &TopologyView| match of {
            Leadership::Cluster => view.is_leader(),
            Leadership::Fleet => view.is_coordinator(),
        };
        let mut events = self.listen();
        let mut next = events.next().await;
        while let Some(event) = next {
            next = match event {
                TopologyEvent::Init(view) | TopologyEvent::Changed { new: view, .. } if leads(&view) => {
                    // Properties may change meanwhile: it goes on.
                    let ended = async {
                        loop {
                            match events.next().await {
                                Some(TopologyEvent::PropertiesChanged { .. }) => {}
                                other => return other,
                            }
                        }
                    };
                    let mut ended = std::pin::pin!(ended);
                    let first = tokio::select! {
                        biased;
                        event = &mut ended => Some(event),
                        () = work(view) => None,
                    };
                    match first {
                        Some(event) => event,
                        None => ended.await,
                    }
                }
                _ => events.next().await,
            };
        }
    }
}

/// What one listener hears. Dropping it ends the listening.
#[derive(Debug)]
pub struct TopologyEvents {
    engine: Arc<Engine>,
    announced: signal::Receiver<Announced>,
    hearing: Hearing,
    delay: Option<StartDelay>,
}

impl TopologyEvents {
    /// Waits for the next event; `None` when the instance has stopped. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<TopologyEvent> {
        let clock = &self.engine.link.world.clock;
        if let Some(delay) = &self.delay {
            let left = delay.until().saturating_sub(longshore_model::span::ms(clock.boot()));
            if !self.engine.pause(Duration::from_millis(left)).await {
                return None;
            }
            self.delay = None;
        }
        loop {
            if self.engine.phase() == Phase::Stopped {
                return None;
            }
            let event = self.hearing.next(&self.announced.borrow_and_update());
            if event.is_some() {
                return event;
            }
            tokio::select! {
                biased;
                () = self.engine.until(Phase::Stopped) => return None,
                changed = self.announced.changed() => changed.ok()?,
            }
        }
    }
}
