//! The broker on RabbitMQ, 3.10 to 4.x.
//!
//! [`Amqp`] owns one connection for publishing, kept up by a supervisor, and opens another one for each session
//! of consuming: a broker that blocks publishers does not read the acknowledgements on their connection either.
//! The client library's own recovery is off, because it hides losses. What is promised is in [`crate::broker`];
//! how it is kept:
//!
//! - `dial` opens connections, `session` is one connection's life, `topology` declares;
//! - `publisher` confirms, `consumption` merges lanes, `settler` coalesces acknowledgements;
//! - `letters` reroutes, `reading` and `journal` show letters and copies, `listening` hears events, `wire` is properties and headers, `errors` is what the broker says.

mod consumption;
mod dial;
mod errors;
mod journal;
mod letters;
mod listening;
mod publisher;
mod reading;
mod session;
mod settler;
mod topology;
mod wire;

use crate::broker::{Broker, BrokerStatus, Consumption, Copies, Letters, Listening, Message};
use crate::error::Fault;
use crate::letters::{READING, Reading};
use crate::world::World;
use async_trait::async_trait;
use consumption::AmqpConsumption;
use dial::Dialer;
use journal::JournalReading;
use listening::AmqpListening;
use longshore_model::event::Interest;
use longshore_model::lane::Lane;
use longshore_model::names::{BrokerNames, Namespace};
use longshore_model::settings::BrokerSettings;
use publisher::Publisher;
use reading::AmqpReading;
use session::Session;
use std::sync::Arc;
use std::time::Duration;
use topology::Topology;

/// RabbitMQ. The publishing connection closes when the broker and all its sessions of consuming are dropped.
#[derive(Debug)]
pub struct Amqp {
    dialer: Arc<Dialer>,
    topology: Arc<Topology>,
    publisher: Arc<Publisher>,
    world: World,
    /// Deadline of calls that are not publishes.
    patience: Duration,
}

impl Amqp {
    /// Connects to the broker, trying for at most the connect timeout. `role` is what this process is, for people who
    /// look at the broker's connections: `producer`, `consumer`, `console`.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] when no connection came about in time, [`Fault::Refused`] when the address cannot be
    /// used, or the broker refuses the user or the virtual host.
    pub async fn connect(
        settings: &BrokerSettings,
        namespace: Namespace,
        world: World,
        role: &str,
    ) -> Result<Arc<dyn Broker>, Fault> {
        let patience = settings.connect_timeout;
        let dialer = Arc::new(Dialer::new(settings, world.clone(), role)?);
        let dialed = dialer.dial_patiently().await?;
        let topology = Arc::new(Topology::new(BrokerNames::new(namespace), settings, world.clone()));
        let publisher = Publisher::start(dialed, Arc::clone(&dialer), Arc::clone(&topology), settings, world.clone());
        Ok(Arc::new(Self { dialer, topology, publisher: Arc::new(publisher), world, patience }))
    }
}

impl Amqp {
    /// The name of the queue of a place.
    fn queue(&self, place: &Copies) -> String {
        match place {
            Copies::Lane(lane) => self.topology.names.lane(lane),
            Copies::Parked(park) => self.topology.names.park(*park),
            Copies::Journal => self.topology.names.journal(),
        }
    }
}

#[async_trait]
impl Broker for Amqp {
    async fn declare(&self, lanes: &[Lane]) -> Result<(), Fault> {
        let session = self.publisher.session().await?;
        let lanes: Vec<_> = lanes.iter().collect();
        self.topology.ensure(&session, &lanes).await
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Fault>> {
        self.publisher.publish(messages).await
    }

    async fn consume(&self) -> Result<Box<dyn Consumption>, Fault> {
        let session = Session::start(self.dialer.dial_patiently().await?, &self.world);
        let (topology, publisher) = (Arc::clone(&self.topology), Arc::clone(&self.publisher));
        Ok(Box::new(AmqpConsumption::new(session, topology, publisher, self.world.clone(), self.patience)))
    }

    async fn depth(&self, lane: &Lane) -> Result<Option<u64>, Fault> {
        let session = self.publisher.session().await?;
        self.topology.depth(&session, &self.topology.names.lane(lane)).await
    }

    async fn reroute(&self, limit: usize) -> Result<u64, Fault> {
        let session = self.publisher.session().await?;
        self.topology.ensure(&session, &[]).await?;
        letters::reroute(&self.topology, &self.publisher, &session, &self.world, self.patience, limit).await
    }

    async fn read_letters(&self, place: Letters) -> Result<Box<dyn Reading>, Fault> {
        let session = Session::start(self.dialer.dial_patiently().await?, &self.world);
        if let Err(fault) = self.topology.ensure(&session, &[]).await {
            session.end("the letters' queues could not be made sure of");
            return Err(fault);
        }
        let (names, queue) = (self.topology.names.clone(), place.queue(&self.topology.names));
        Ok(Box::new(AmqpReading::start(session, names, queue, READING, self.world.clone(), self.patience).await?))
    }

    async fn count_letters(&self, place: Letters) -> Result<u64, Fault> {
        let session = self.publisher.session().await?;
        Ok(self.topology.depth(&session, &place.queue(&self.topology.names)).await?.unwrap_or(0))
    }

    async fn read_copies(&self, place: &Copies) -> Result<Option<Box<dyn Reading>>, Fault> {
        if self.count_copies(place).await?.is_none() {
            return Ok(None);
        }
        let session = Session::start(self.dialer.dial_patiently().await?, &self.world);
        let (names, queue) = (self.topology.names.clone(), self.queue(place));
        let (world, patience) = (self.world.clone(), self.patience);
        Ok(Some(if *place == Copies::Journal {
            Box::new(JournalReading::start(session, names, &self.publisher, world, patience).await?)
        } else {
            Box::new(AmqpReading::start(session, names, queue, u64::MAX, world, patience).await?)
        }))
    }

    async fn count_copies(&self, place: &Copies) -> Result<Option<u64>, Fault> {
        let session = self.publisher.session().await?;
        self.topology.depth(&session, &self.queue(place)).await
    }

    async fn remove(&self, lanes: &[Lane]) -> Result<(), Fault> {
        let session = self.publisher.session().await?;
        self.topology.remove(&session, lanes).await
    }

    async fn erase(&self, lanes: &[Lane]) -> Result<u64, Fault> {
        let session = self.publisher.session().await?;
        self.topology.erase(&session, lanes).await
    }

    async fn listen(&self, interests: Vec<Interest>) -> Result<Box<dyn Listening>, Fault> {
        let session = Session::start(self.dialer.dial_patiently().await?, &self.world);
        if let Err(fault) = self.topology.ensure(&session, &[]).await {
            session.end("the exchange of events could not be made sure of");
            return Err(fault);
        }
        let names = &self.topology.names;
        Ok(Box::new(AmqpListening::start(session, names, &interests, &self.world, self.patience).await?))
    }

    fn status(&self) -> BrokerStatus {
        self.publisher.status()
    }
}
