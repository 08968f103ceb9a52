//! Readings of the embedded broker's letters, and of copies.

use super::super::Backend;
use super::exchange::Taken;
use super::pile::Kept;
use crate::broker::{Copies, Letters, Target};
use crate::error::{Fault, Service};
use crate::letters::{Letter, READING, Reading};
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;

/// One reading. Dropping it is closing it.
pub(super) struct EmbeddedReading {
    backend: Arc<Backend>,
    place: Letters,
    reading: u64,
    /// Place in the pile of each letter that was shown.
    shown: Vec<u64>,
}

impl fmt::Debug for EmbeddedReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedReading").field("place", &self.place).finish_non_exhaustive()
    }
}

impl EmbeddedReading {
    pub(super) fn start(backend: Arc<Backend>, place: Letters) -> Self {
        let reading = backend.exchange().open_reading();
        Self { backend, place, reading, shown: Vec::new() }
    }

    /// Other tasks get their turn before each step, as in a real call.
    async fn admit(&self) -> Result<(), Fault> {
        tokio::task::yield_now().await;
        if self.backend.exchange().is_reading(self.reading) {
            return Ok(());
        }
        Err(Fault::unreachable(Service::Broker, "the reading ended with the broker's connections"))
    }
}

fn letter(number: u64, kept: Kept) -> Letter {
    let Kept { message, evicted } = kept;
    let mut start = None;
    let lane = match message.target {
        Target::Jobs(lane) | Target::Lane(lane) | Target::Parked(_, lane) => Some(lane),
        Target::Journal(topic, at) => {
            start = Some(at);
            Some(topic.into())
        }
        Target::Quarantine | Target::Dead | Target::Event(..) => None,
    };
    let message_id = Some(message.message_id).filter(|id| !id.is_empty());
    let name = Letter::name(message_id.as_deref(), &message.headers, lane.as_ref(), &message.body);
    Letter { number, name, message_id, headers: message.headers, body: message.body, lane, start, evicted }
}

#[async_trait]
impl Reading for EmbeddedReading {
    async fn next(&mut self) -> Result<Option<Letter>, Fault> {
        self.admit().await?;
        let number = self.shown.len() as u64 + 1;
        if number > READING {
            return Ok(None);
        }
        let Some((place, kept)) = self.backend.exchange().pile(self.place).hand(self.reading) else { return Ok(None) };
        self.shown.push(place);
        Ok(Some(letter(number, kept)))
    }

    async fn remove(&mut self, number: u64) -> Result<(), Fault> {
        self.admit().await?;
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        if let Some(place) = index.and_then(|index| self.shown.get(index)) {
            self.backend.exchange().pile(self.place).remove(self.reading, *place);
        }
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), Fault> {
        self.admit().await
    }
}

impl Drop for EmbeddedReading {
    fn drop(&mut self) {
        self.backend.exchange().end_reading(self.reading);
    }
}

/// A reading of copies: it has taken all of them, and gives them back when it is dropped.
pub(super) struct EmbeddedCopies {
    backend: Arc<Backend>,
    taken: Option<Taken>,
    shown: usize,
}

impl fmt::Debug for EmbeddedCopies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedCopies").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl EmbeddedCopies {
    /// `None`: there is no such place.
    pub(super) fn start(backend: Arc<Backend>, place: &Copies) -> Option<Self> {
        let taken = Some(backend.exchange().take_copies(place)?);
        Some(Self { backend, taken, shown: 0 })
    }
}

#[async_trait]
impl Reading for EmbeddedCopies {
    async fn next(&mut self) -> Result<Option<Letter>, Fault> {
        tokio::task::yield_now().await;
        let lying = self.taken.as_ref().map(|taken| &taken.lying);
        let Some((_, message)) = lying.and_then(|lying| lying.get(self.shown)) else { return Ok(None) };
        self.shown += 1;
        Ok(Some(letter(self.shown as u64, Kept { message: message.clone(), evicted: None })))
    }

    async fn remove(&mut self, _number: u64) -> Result<(), Fault> {
        Err(Fault::refused(Service::Broker, "copies are read only: nothing can be removed"))
    }

    async fn close(self: Box<Self>) -> Result<(), Fault> {
        Ok(())
    }
}

impl Drop for EmbeddedCopies {
    fn drop(&mut self) {
        if let Some(taken) = self.taken.take() {
            self.backend.exchange().put_copies(taken);
        }
    }
}
