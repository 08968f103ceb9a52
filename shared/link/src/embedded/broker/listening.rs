//! Listeners to events in this process: each has a bounded queue of its own.

use super::exchange::Exchange;
use crate::broker::Listening;
use async_trait::async_trait;
use bytes::Bytes;
use longshore_model::event::{Class, Interest};
use longshore_model::topic::Topic;
use tokio::sync::mpsc;

/// Events that wait for a listener.
const WAITING: usize = 10_000;

/// One listener, as the exchange knows it.
#[derive(Debug)]
pub(super) struct Listener {
    interests: Vec<Interest>,
    events: mpsc::Sender<Bytes>,
}

/// One listener, as it listens.
#[derive(Debug)]
pub(super) struct EmbeddedListening(mpsc::Receiver<Bytes>);

#[async_trait]
impl Listening for EmbeddedListening {
    async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

impl Exchange {
    /// A listener, until it is dropped or the broker's connections end.
    pub(super) fn listen(&mut self, interests: Vec<Interest>) -> EmbeddedListening {
        let (events, heard) = mpsc::channel(WAITING);
        self.listeners().push(Listener { interests, events });
        EmbeddedListening(heard)
    }

    /// Gives an event to those who want it; who cannot follow loses it.
    pub(super) fn spread(&mut self, class: Class, topic: &Topic, body: &Bytes) {
        let listeners = self.listeners();
        listeners.retain(|listener| !listener.events.is_closed());
        for listener in listeners {
            if listener.interests.iter().any(|interest| interest.takes(class, topic)) {
                let _ = listener.events.try_send(body.clone());
            }
        }
    }
}
