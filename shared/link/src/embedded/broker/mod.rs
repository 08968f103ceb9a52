//! [`Broker`] in this process: what producer and consumer see of the exchange.
//!
//! Starts no task: parked messages return when anybody looks, and whoever waits for a delivery wakes
//! up when the next one is due.

pub(super) mod exchange;
mod listening;
mod pile;
mod reading;

use self::exchange::{Exchange, Settled};
use self::reading::{EmbeddedCopies, EmbeddedReading};
use super::Backend;
use super::weather::Answers;
use crate::broker::{
    Broker, BrokerStatus, Consumption, Copies, Intake, Letters, Listening, Message, Settler, Tag, Target,
};
use crate::error::{Fault, Service};
use crate::letters::Reading;
use crate::world::Clock;
use async_trait::async_trait;
use longshore_model::event::Interest;
use longshore_model::lane::Lane;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// One process's connection to the broker.
#[derive(Debug)]
pub(super) struct EmbeddedBroker {
    backend: Arc<Backend>,
    /// Lanes that this process made sure of: one that is deleted afterwards is missed, as on a real connection.
    /// With the broker that they were in: one that lost everything is another.
    declared: Mutex<(u64, BTreeSet<Lane>)>,
}

impl EmbeddedBroker {
    pub(super) const fn new(backend: Arc<Backend>) -> Self {
        Self { backend, declared: Mutex::new((0, BTreeSet::new())) }
    }

    /// Makes sure of the lanes that this process did not ask for yet.
    fn ensure<'t>(&self, exchange: &mut Exchange, lanes: impl Iterator<Item = &'t Lane>) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        if declared.0 != exchange.wipes() {
            *declared = (exchange.wipes(), BTreeSet::new());
        }
        for lane in lanes {
            // Lanes of sites come and go.
            if lane.site.is_some() || declared.1.insert(lane.clone()) {
                exchange.declare(lane);
            }
        }
    }

    /// Other tasks get their turn before and after, as in the store.
    async fn admit(&self) -> Result<Answers, Fault> {
        tokio::task::yield_now().await;
        self.backend.broker_weather.admit()
    }
}

fn blocked(why: &str) -> Fault {
    Fault::blocked(Service::Broker, why)
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn declare(&self, lanes: &[Lane]) -> Result<(), Fault> {
        let answers = self.admit().await?;
        let mut exchange = self.backend.exchange();
        self.ensure(&mut exchange, lanes.iter());
        self.backend.broker_weather.answer(answers, ())
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Fault>> {
        let answers = match self.admit().await {
            Ok(answers) => answers,
            Err(fault) => return messages.iter().map(|_| Err(fault.clone())).collect(),
        };
        let now_us = self.backend.broker_us();
        let mut results = Vec::with_capacity(messages.len());
        {
            let mut exchange = self.backend.exchange();
            for message in messages {
                if let Some((why, _)) = exchange.blocked() {
                    results.push(Err(blocked(why)));
                } else if let Some(why) = exchange.refuses(&message) {
                    results.push(Err(blocked(why)));
                } else {
                    // Later publishes find the lane of the first, or go to the unrouted if it was deleted since.
                    if let Target::Jobs(lane) = &message.target {
                        self.ensure(&mut exchange, std::iter::once(lane));
                    }
                    exchange.publish(message, now_us);
                    results.push(self.backend.broker_weather.answer(answers, ()));
                }
            }
        }
        tokio::task::yield_now().await;
        results
    }

    async fn consume(&self) -> Result<Box<dyn Consumption>, Fault> {
        let answers = self.admit().await?;
        let (session, wake) = self.backend.exchange().open();
        let consumption = Session { backend: self.backend.clone(), session, wake };
        self.backend.broker_weather.answer(answers, Box::new(consumption) as Box<dyn Consumption>)
    }

    async fn depth(&self, lane: &Lane) -> Result<Option<u64>, Fault> {
        let answers = self.admit().await?;
        let depth = self.backend.exchange().depth(lane);
        self.backend.broker_weather.answer(answers, depth)
    }

    async fn reroute(&self, limit: usize) -> Result<u64, Fault> {
        let answers = self.admit().await?;
        let moved = self.backend.exchange().reroute(limit);
        self.backend.broker_weather.answer(answers, moved)
    }

    async fn read_letters(&self, place: Letters) -> Result<Box<dyn Reading>, Fault> {
        let answers = self.admit().await?;
        let reading: Box<dyn Reading> = Box::new(EmbeddedReading::start(self.backend.clone(), place));
        self.backend.broker_weather.answer(answers, reading)
    }

    async fn count_letters(&self, place: Letters) -> Result<u64, Fault> {
        let answers = self.admit().await?;
        let count = self.backend.exchange().pile(place).len() as u64;
        self.backend.broker_weather.answer(answers, count)
    }

    async fn read_copies(&self, place: &Copies) -> Result<Option<Box<dyn Reading>>, Fault> {
        let answers = self.admit().await?;
        let reading = EmbeddedCopies::start(self.backend.clone(), place);
        let reading = reading.map(|reading| Box::new(reading) as Box<dyn Reading>);
        self.backend.broker_weather.answer(answers, reading)
    }

    async fn count_copies(&self, place: &Copies) -> Result<Option<u64>, Fault> {
        let answers = self.admit().await?;
        let count = self.backend.exchange().count_copies(place);
        self.backend.broker_weather.answer(answers, count)
    }

    async fn remove(&self, lanes: &[Lane]) -> Result<(), Fault> {
        let answers = self.admit().await?;
        let mut exchange = self.backend.exchange();
        lanes.iter().for_each(|lane| exchange.delete(lane));
        drop(exchange);
        self.backend.broker_weather.answer(answers, ())
    }

    async fn erase(&self, _lanes: &[Lane]) -> Result<u64, Fault> {
        let answers = self.admit().await?;
        let lanes = self.backend.exchange().wipe();
        self.backend.broker_weather.answer(answers, lanes)
    }

    async fn listen(&self, interests: Vec<Interest>) -> Result<Box<dyn Listening>, Fault> {
        let answers = self.admit().await?;
        let listening: Box<dyn Listening> = Box::new(self.backend.exchange().listen(interests));
        self.backend.broker_weather.answer(answers, listening)
    }

    fn status(&self) -> BrokerStatus {
        let connected = !self.backend.broker_weather.is_away();
        let now = self.backend.clock.boot();
        match self.backend.exchange().blocked() {
            Some((why, since)) => {
                BrokerStatus { connected, blocked: Some(why.clone()), since: now.saturating_sub(*since) }
            }
            None => BrokerStatus { connected, blocked: None, since: Duration::ZERO },
        }
    }
}

/// One session of consuming. Dropping it is closing it.
struct Session {
    backend: Arc<Backend>,
    session: u64,
    wake: Arc<Notify>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Session {
    fn clock(&self) -> &Clock {
        &self.backend.clock
    }
}

#[async_trait]
impl Consumption for Session {
    async fn next(&mut self) -> Intake {
        loop {
            // Bound to a name of its own, so that the lock is gone before the wait.
            let wait = {
                let mut exchange = self.backend.exchange();
                if let Some(intake) = exchange.take(self.session) {
                    return intake;
                }
                exchange.next_parked().map(|due| due.saturating_sub(self.backend.broker_us()))
            };
            match wait {
                Some(micros) => {
                    let span = Duration::from_micros(micros).max(Duration::from_millis(1));
                    let _ = self.clock().timeout(span, self.wake.notified()).await;
                }
                None => self.wake.notified().await,
            }
        }
    }

    async fn add(&mut self, lane: &Lane, prefetch: u16) -> Result<(), Fault> {
        tokio::task::yield_now().await;
        let added = self.backend.exchange().consume(self.session, lane, prefetch);
        added.map_err(|why| Fault::unreachable(Service::Broker, why))
    }

    async fn remove(&mut self, lane: &Lane) -> Result<(), Fault> {
        tokio::task::yield_now().await;
        self.backend.exchange().cancel(self.session, lane);
        Ok(())
    }

    fn lanes(&self) -> Vec<Lane> {
        self.backend.exchange().consumed(self.session)
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(EmbeddedSettler { backend: self.backend.clone(), session: self.session })
    }

    async fn close(&mut self) {
        tokio::task::yield_now().await;
        self.backend.exchange().end(self.session, "the session was closed");
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.backend.exchange().forget(self.session);
    }
}

/// Settles deliveries of one session.
#[derive(Debug)]
struct EmbeddedSettler {
    backend: Arc<Backend>,
    session: u64,
}

impl EmbeddedSettler {
    fn settle(&self, tag: Tag, settled: Settled) {
        if tag.session == self.session {
            self.backend.exchange().settle(tag, settled);
        }
    }
}

impl Settler for EmbeddedSettler {
    fn ack(&self, tag: Tag) {
        self.settle(tag, Settled::Done);
    }

    fn give_back(&self, tag: Tag) {
        self.settle(tag, Settled::GivenBack);
    }

    fn is_live(&self) -> bool {
        self.backend.exchange().is_live(self.session)
    }
}
