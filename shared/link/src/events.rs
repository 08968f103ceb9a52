//! Telling events (N01) without anybody having to wait for it, and at no cost while nobody listens.
//!
//! Who listens is in the store, with an end ([`crate::store::Store::interests`]); a process reads it when it was nudged,
//! and looks at a number in between. What is told goes into a bounded queue, from which one task publishes in order; what
//! does not fit is dropped and counted. An event of which only the job is known is completed from the store there.

use crate::broker::{Broker, Headers, Message, Target};
use crate::connect::Link;
use crate::error::{Fault, Service};
use crate::store::{Accepted, NewJob, Store, Untold};
use crate::world::World;
use bytes::Bytes;
use longshore_model::envelope::Envelope;
use longshore_model::event::{Class, Event, Interest, Kind};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::snapshot::Snapshot;
use longshore_model::span::rfc3339;
use longshore_model::topic::Topic;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Events that may wait to be published.
const QUEUE: usize = 1_024;
/// Events that are published at once.
const BATCH: usize = 100;
/// Rest after the interests could not be read.
const REST: Duration = Duration::from_secs(1);

/// What one process knows of those who listen, and its queue of events.
#[derive(Debug)]
pub struct Events {
    /// Where its tasks run: they live as long as the connections.
    world: World,
    state: Mutex<State>,
    /// Up to which change of the interests they were read.
    read: AtomicU64,
    reading: AtomicBool,
    /// Whether anybody may listen at all.
    heard: AtomicBool,
    dropped: AtomicU64,
    origin: OnceLock<String>,
}

#[derive(Debug, Default)]
struct State {
    /// Who listens through the broker, and until when, by the boot clock.
    remote: Vec<(Interest, Duration)>,
    /// Who listens in this process.
    local: Vec<Local>,
    queue: Option<mpsc::Sender<Told>>,
}

#[derive(Debug, Clone)]
struct Local {
    interests: Vec<Interest>,
    events: mpsc::Sender<Event>,
}

/// Something to tell.
#[derive(Debug)]
enum Told {
    Event(Box<Event>),
    /// The job is to be read first.
    Of(Kind, JobId, u64),
}

impl Events {
    /// Nobody is known to listen, and nothing is to be told.
    pub(crate) fn new(world: &World) -> Arc<Self> {
        Arc::new(Self {
            world: world.clone(),
            state: Mutex::default(),
            read: AtomicU64::new(0),
            reading: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            origin: OnceLock::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name under which this process tells: that of its instance, where it is one.
    pub fn set_origin(&self, name: &str) {
        let _ = self.origin.set(name.to_owned());
    }

    /// Events that were dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Link {
    /// The name under which this process tells events.
    pub fn origin(&self) -> &str {
        self.events.origin.get_or_init(|| format!("process-{:016x}", self.world.random.next()))
    }

    /// Whether anybody may want to hear of this. Reads two numbers while nobody does.
    #[must_use]
    pub fn is_heard(&self, class: Class) -> bool {
        let (events, change) = (&self.events, self.store.interest_changes());
        if events.read.load(Ordering::Relaxed) != change {
            self.read_interests(change);
        }
        if !events.heard.load(Ordering::Relaxed) {
            return false;
        }
        let now = self.world.clock.boot();
        let mut state = events.state();
        state.remote.retain(|(_, until)| *until > now);
        state.local.retain(|local| !local.events.is_closed());
        if state.remote.is_empty() && state.local.is_empty() {
            events.heard.store(false, Ordering::Relaxed);
        }
        let wanted = |interest: &Interest| interest.class == class;
        state.remote.iter().any(|(interest, _)| wanted(interest))
            || state.local.iter().any(|local| local.interests.iter().any(wanted))
    }

    /// An event of this process, now.
    #[must_use]
    pub fn event(&self, kind: Kind, topic: Topic) -> Event {
        Event::new(kind, topic, self.origin().to_owned(), rfc3339(self.world.clock.unix_ms()))
    }

    /// Tells an event, later and without any promise.
    pub fn tell(&self, event: Event) {
        self.put(Told::Event(Box::new(event)));
    }

    /// Tells what happened to a job of which only the id is at hand.
    pub fn tell_of(&self, kind: Kind, id: JobId) {
        self.put(Told::Of(kind, id, self.world.clock.unix_ms()));
    }

    /// Tells what happened to a job without a process that told it then.
    pub fn tell_untold(&self, untold: Untold) {
        self.put(Told::Of(untold.kind, untold.id, untold.at));
    }

    fn put(&self, told: Told) {
        let events = &self.events;
        let mut state = events.state();
        let queue = state.queue.get_or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(QUEUE);
            let teller = Teller {
                events: Arc::downgrade(events),
                store: Arc::clone(&self.store),
                broker: Arc::clone(&self.broker),
                world: events.world.clone(),
                origin: self.origin().to_owned(),
            };
            drop(events.world.tasks.spawn(teller.run(waiting)));
            queue
        });
        if queue.try_send(told).is_err() && events.dropped.fetch_add(1, Ordering::Relaxed).is_multiple_of(QUEUE as u64)
        {
            tracing::warn!("more events happen than the broker takes: some are not told");
        }
    }

    /// Tells that a job was accepted.
    pub fn tell_added(&self, job: &NewJob, accepted: &Accepted) {
        let Ok(envelope) = Envelope::decode(&job.envelope) else { return };
        self.tell(Event {
            id: Some(accepted.id),
            queue: Some(job.admission.queue.clone()),
            title: envelope.title,
            labels: envelope.labels,
            payload: Some(envelope.payload),
            state: Some(accepted.state),
            ..self.event(Kind::Added, job.admission.topic.clone())
        });
    }

    /// Reads who listens, beside whatever goes on.
    fn read_interests(&self, change: u64) {
        let events = &self.events;
        if events.reading.swap(true, Ordering::Relaxed) {
            return;
        }
        let (events, store, world) = (Arc::clone(events), Arc::clone(&self.store), events.world.clone());
        let tasks = world.tasks.clone();
        drop(tasks.spawn(async move {
            match store.interests().await {
                Ok(found) => {
                    let now = world.clock.boot();
                    let mut state = events.state();
                    state.remote =
                        found.into_iter().map(|(interest, ms)| (interest, now + Duration::from_millis(ms))).collect();
                    if !state.remote.is_empty() {
                        events.heard.store(true, Ordering::Relaxed);
                    }
                    events.read.store(change, Ordering::Relaxed);
                }
                Err(fault) => {
                    tracing::debug!(%fault, "who listens to events could not be read; trying again");
                    world.clock.sleep(REST).await;
                }
            }
            events.reading.store(false, Ordering::Relaxed);
        }));
    }

    /// Hears the events that this process tells, without the broker. What is not taken in time is lost.
    #[must_use]
    pub fn listen_here(&self, interests: Vec<Interest>) -> mpsc::Receiver<Event> {
        let (events, heard) = mpsc::channel(QUEUE);
        self.events.state().local.push(Local { interests, events });
        self.events.heard.store(true, Ordering::Relaxed);
        heard
    }

    /// Publishes an event that an application tells the others, and waits for the broker.
    ///
    /// # Errors
    /// As [`Broker::publish`].
    pub async fn announce(&self, event: &Event) -> Result<(), Fault> {
        let lost = || Fault::unknown(Service::Broker, "no answer to a publish");
        self.broker.publish(vec![message(event)]).await.pop().unwrap_or_else(|| Err(lost()))
    }
}

fn message(event: &Event) -> Message {
    Message {
        target: Target::Event(event.event.class(), event.topic.clone()),
        message_id: String::new(),
        headers: Headers::default(),
        body: serde_json::to_vec(event).map(Bytes::from).unwrap_or_default(),
    }
}

/// Publishes what is told.
struct Teller {
    /// Its queue ends with the process's last handle on it.
    events: std::sync::Weak<Events>,
    store: Arc<dyn Store>,
    broker: Arc<dyn Broker>,
    world: World,
    origin: String,
}

impl Teller {
    async fn run(self, mut waiting: mpsc::Receiver<Told>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            let events = self.complete(std::mem::take(&mut batch)).await;
            let Some(known) = self.events.upgrade() else { return };
            let (remote, local) = {
                let state = known.state();
                (state.remote.clone(), state.local.clone())
            };
            drop(known);
            let now = self.world.clock.boot();
            let wanted = |event: &Event| {
                remote.iter().any(|(interest, until)| *until > now && interest.takes(event.event.class(), &event.topic))
            };
            let messages: Vec<Message> = events.iter().filter(|event| wanted(event)).map(message).collect();
            for event in events {
                for listener in &local {
                    if listener.interests.iter().any(|interest| interest.takes(event.event.class(), &event.topic)) {
                        // Full: whoever does not take it in time misses it.
                        let _ = listener.events.try_send(event.clone());
                    }
                }
            }
            if messages.is_empty() {
                continue;
            }
            let answers = self.broker.publish(messages).await;
            if let Some(Err(fault)) = answers.into_iter().find(Result::is_err) {
                tracing::debug!(%fault, "events were not told");
            }
        }
    }

    /// The events, in order; those whose job is gone are left out.
    async fn complete(&self, batch: Vec<Told>) -> Vec<Event> {
        let ids: Vec<JobId> =
            batch.iter().filter_map(|told| if let Told::Of(_, id, _) = told { Some(*id) } else { None }).collect();
        let mut snapshots = Vec::new().into_iter();
        if !ids.is_empty() {
            match self.store.load(ids).await {
                Ok(found) => snapshots = found.into_iter(),
                Err(fault) => tracing::debug!(%fault, "jobs could not be read; their events are not told"),
            }
        }
        let mut events = Vec::with_capacity(batch.len());
        for told in batch {
            match told {
                Told::Event(event) => events.push(*event),
                Told::Of(kind, _, at) => events
                    .extend(snapshots.next().flatten().and_then(|snapshot| event_of(kind, snapshot, &self.origin, at))),
            }
        }
        events
    }
}

/// What an event says of a job that was read.
#[must_use]
pub fn event_of(kind: Kind, snapshot: Snapshot, origin: &str, at: u64) -> Option<Event> {
    let Snapshot { record, envelope, .. } = snapshot;
    let envelope = Envelope::decode(&envelope).ok()?;
    let ran = record.started.zip(record.finished).map(|(started, finished)| finished.saturating_sub(started));
    Some(Event {
        id: Some(record.id),
        queue: Some(record.queue),
        title: envelope.title,
        labels: envelope.labels,
        payload: Some(envelope.payload),
        state: Some(record.state),
        attempt: Some(record.attempts).filter(|attempts| *attempts > 0),
        ms: ran.filter(|_| kind != Kind::Added),
        message: record.message.map(|message| limits::cut(&message, limits::MESSAGE_BYTES)),
        ..Event::new(kind, record.topic, origin.to_owned(), rfc3339(at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Embedded;

    fn interests(text: &str) -> Vec<Interest> {
        vec![text.parse().unwrap()]
    }

    fn about(link: &Link, topic: &str) -> Event {
        link.event(Kind::Added, Topic::new(topic).unwrap())
    }

    /// Looks until the interests that were read are those that there are.
    async fn heard(link: &Link, class: Class) -> bool {
        let _ = link.is_heard(class);
        link.world.clock.sleep(Duration::from_millis(1)).await;
        link.is_heard(class)
    }

    #[tokio::test(start_paused = true)]
    async fn n01_who_does_not_listen_any_more_is_told_nothing() {
        let world = World::simulated(1);
        let embedded = Embedded::new(&world);
        let (teller, listener) = (embedded.link(world.process()), embedded.link(world.process()));
        assert!(!heard(&teller, Class::Job).await, "nobody listens");
        listener.store.listen(&interests("job a/**"), 1_000).await.unwrap();
        assert!(heard(&teller, Class::Job).await);
        assert!(!heard(&teller, Class::Progress).await, "nobody listens to that");
        world.clock.sleep(Duration::from_secs(2)).await;
        assert!(!heard(&teller, Class::Job).await, "it was not renewed");
    }

    #[tokio::test(start_paused = true)]
    async fn n01_what_is_more_than_can_wait_is_dropped_and_counted_and_nobody_waits() {
        let world = World::simulated(1);
        let link = Embedded::new(&world).link(world.process());
        let mut here = link.listen_here(interests("job **"));
        for n in 0..2 * QUEUE {
            link.tell(about(&link, &format!("a/{n}")));
        }
        assert_eq!(link.events.dropped(), QUEUE as u64);
        for n in 0..QUEUE {
            assert_eq!(here.recv().await.unwrap().topic.as_str(), format!("a/{n}"), "in order");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn n01_a_broker_that_is_away_costs_events_and_nothing_else() {
        let world = World::simulated(1);
        let embedded = Embedded::new(&world);
        let link = embedded.link(world.process());
        let mut listening = link.broker.listen(interests("job **")).await.unwrap();
        link.store.listen(&interests("job **"), 600_000).await.unwrap();
        assert!(heard(&link, Class::Job).await);
        embedded.set_broker_away(Some("away"));
        link.tell(about(&link, "lost"));
        assert!(listening.next().await.is_none(), "the connection is gone");
        world.clock.sleep(Duration::from_secs(10)).await;
        embedded.set_broker_away(None);
        let mut listening = link.broker.listen(interests("job **")).await.unwrap();
        link.tell(about(&link, "told"));
        let event: Event = serde_json::from_slice(&listening.next().await.unwrap()).unwrap();
        assert_eq!(event.topic.as_str(), "told");
    }
}
