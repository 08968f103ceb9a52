//! Hearing events (N01, N02), and telling the other processes something (N03).
//!
//! A listener registers what it wants to hear for half a minute and says so again every ten seconds, as long as it is
//! there: only what somebody listens to is told at all.

use crate::connect::Producer;
use crate::errors::EventError;
use longshore_link::Link;
use longshore_link::broker::Listening;
use longshore_link::error::Fault;
use longshore_model::event::{Class, Event, Interest, Kind};
use longshore_model::limits;
use longshore_model::topic::{Topic, TopicPattern};
use serde::Serialize;
use serde_json::value::RawValue;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long an interest holds without being renewed.
const INTEREST: Duration = Duration::from_secs(30);
/// Time between two renewals.
const RENEWAL: Duration = Duration::from_secs(10);
/// Longest rest between two attempts to listen again.
const REST: Duration = Duration::from_millis(1_500);

/// What to listen to; see [`Producer::events`].
#[derive(Debug, Clone)]
pub struct Listen {
    producer: Producer,
    topics: TopicPattern,
    classes: Vec<Class>,
    here: bool,
}

/// Something that was heard.
#[derive(Debug, Clone)]
pub enum Heard {
    /// An event.
    Event(Box<Event>),
    /// The connection was lost and is back: what happened in between was not heard.
    Missed,
}

/// A listener. It hears until it is dropped.
#[derive(Debug)]
pub struct Events {
    link: Link,
    interests: Vec<Interest>,
    source: Source,
    /// Ends the renewals.
    _listening: Option<DropGuard>,
}

#[derive(Debug)]
enum Source {
    Broker(Box<dyn Listening>),
    Here(mpsc::Receiver<Event>),
}

impl Producer {
    /// Listens to what happens to jobs whose topic matches: [`Kind::Added`], [`Kind::Started`], [`Kind::Finished`],
    /// [`Kind::Failed`], [`Kind::Cancelled`] and [`Kind::Removed`], whoever in the fleet brings it about. [`Listen::open`]
    /// begins.
    ///
    /// Events are told once, in the order of each teller, and without a promise: those that happen before every process has
    /// heard that somebody listens (some milliseconds), while a connection is down, or faster than they are taken, are lost.
    /// Whoever has to know asks the store ([`Producer::outcome`], [`Producer::follow`]).
    #[must_use]
    pub fn events(&self, topics: TopicPattern) -> Listen {
        Listen { producer: self.clone(), topics, classes: vec![Class::Job], here: false }
    }

    /// Tells the other processes of the namespace that listen ([`Listen::of_applications`]) something, under a topic of
    /// one's own choice. `origin` of the event is this process, whatever the payload says; it does not hear itself.
    ///
    /// # Errors
    /// [`EventError`]: what cannot be told, or a broker that did not take it.
    pub async fn announce(&self, topic: &Topic, payload: &impl Serialize) -> Result<(), EventError> {
        let payload = serde_json::to_string(payload).map_err(|error| EventError::NotJson(error.to_string()))?;
        self.announce_raw(topic, payload).await
    }

    /// As [`Self::announce`], with JSON that exists already.
    ///
    /// # Errors
    /// As [`Self::announce`].
    pub async fn announce_raw(&self, topic: &Topic, payload: impl Into<String>) -> Result<(), EventError> {
        let payload = RawValue::from_string(payload.into()).map_err(|error| EventError::NotJson(error.to_string()))?;
        let (bytes, limit) = (payload.get().len(), limits::INLINE_BYTES);
        if bytes > limit {
            return Err(EventError::TooLarge { bytes, limit });
        }
        let link = &self.inner.link;
        let event = Event { payload: Some(payload), ..link.event(Kind::Application, topic.clone()) };
        let told = link.world.clock.timeout(self.inner.options.deadline, link.announce(&event)).await;
        told.unwrap_or_else(|| Err(Fault::unknown(longshore_link::error::Service::Broker, "no confirm in time")))?;
        Ok(())
    }
}

impl Listen {
    /// Progress of running jobs as well ([`Kind::Progress`]): at most ten a second of each job.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        self.classes.push(Class::Progress);
        self
    }

    /// What applications tell each other as well ([`Kind::Application`], [`Producer::announce`]), except this process.
    #[must_use]
    pub fn with_applications(mut self) -> Self {
        self.classes.push(Class::Application);
        self
    }

    /// What applications tell each other, and nothing else.
    #[must_use]
    pub fn of_applications(mut self) -> Self {
        self.classes = vec![Class::Application];
        self
    }

    /// Only what this process tells itself: it sends the job, or its instance runs it (N02). Nothing goes through the
    /// broker for that.
    #[must_use]
    pub const fn local(mut self) -> Self {
        self.here = true;
        self
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// [`Fault`] when the broker or the store gives no answer, or there are too many interests.
    pub async fn open(self) -> Result<Events, Fault> {
        let link = self.producer.inner.link.clone();
        let interest = |class: &Class| Interest { class: *class, topics: self.topics.clone() };
        let interests: Vec<Interest> = self.classes.iter().map(interest).collect();
        if self.here {
            let source = Source::Here(link.listen_here(interests.clone()));
            return Ok(Events { link, interests, source, _listening: None });
        }
        // First the queue, then the word: nothing that is told because of it is missed.
        let source = Source::Broker(link.broker.listen(interests.clone()).await?);
        let ms = longshore_model::span::ms(INTEREST);
        link.store.listen(&interests, ms).await?;
        let over = CancellationToken::new();
        drop(link.world.tasks.spawn(renew(link.clone(), interests.clone(), over.clone())));
        Ok(Events { link, interests, source, _listening: Some(over.drop_guard()) })
    }
}

/// Says again and again that somebody listens.
async fn renew(link: Link, interests: Vec<Interest>, over: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = link.world.clock.sleep(RENEWAL) => {}
        }
        if let Err(fault) = link.store.listen(&interests, longshore_model::span::ms(INTEREST)).await {
            tracing::debug!(%fault, "the interest in events was not renewed; trying again");
        }
    }
}

impl Events {
    /// The next one; waits for it. It never ends by itself.
    pub async fn next(&mut self) -> Heard {
        loop {
            match &mut self.source {
                Source::Here(events) => match events.recv().await {
                    Some(event) => return Heard::Event(Box::new(event)),
                    // The link keeps the other end; without it nothing is ever told.
                    None => std::future::pending().await,
                },
                Source::Broker(listening) => match listening.next().await {
                    Some(body) => {
                        if let Some(event) = self.read(&body) {
                            return Heard::Event(Box::new(event));
                        }
                    }
                    None => {
                        self.listen_again().await;
                        return Heard::Missed;
                    }
                },
            }
        }
    }

    /// An event that can be read and is not this process's own word to others.
    fn read(&self, body: &[u8]) -> Option<Event> {
        match serde_json::from_slice::<Event>(body) {
            Ok(event) if event.event == Kind::Application && event.origin == self.link.origin() => None,
            Ok(event) => Some(event),
            Err(error) => {
                tracing::debug!(%error, "an event cannot be read");
                None
            }
        }
    }

    async fn listen_again(&mut self) {
        loop {
            match self.link.broker.listen(self.interests.clone()).await {
                Ok(listening) => {
                    self.source = Source::Broker(listening);
                    return;
                }
                Err(fault) => tracing::debug!(%fault, "events cannot be listened to; trying again"),
            }
            self.link.world.clock.sleep(self.link.world.random.jitter(REST)).await;
        }
    }
}
