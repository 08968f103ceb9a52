//! The broker: it carries what is runnable now, and nothing else.
//!
//! [`Broker`] publishes with confirms and declares lanes; [`Consumption`] is one session of
//! consuming, which ends for good when its connection does. Copies in the broker are never
//! permission to run: only a claim in the store is.
//!
//! Two implementations: `amqp` (RabbitMQ 3.10 to 4.x) and `embedded`.

use crate::error::{Fault, Service};
use crate::letters::Reading;
use crate::store::{Accepted, NewJob, Outgoing};
use async_trait::async_trait;
use bytes::Bytes;
use longshore_model::envelope;
use longshore_model::envelope::Trace;
use longshore_model::event::{Class, Interest};
use longshore_model::id::{Fence, Generation};
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::names::{BrokerNames, Park, headers};
use longshore_model::topic::Topic;
use std::fmt::Debug;
use std::time::Duration;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// First publish of a job, which makes sure of its lane: by its topic, or straight into a lane beside the first one.
    Jobs(Lane),
    /// A later publish: straight into a lane.
    Lane(Lane),
    /// Into a lane after a rest.
    Parked(Park, Lane),
    /// To people: it cannot be read.
    Quarantine,
    /// To people: it must not run and must not vanish.
    Dead,
    /// To whoever listens, and to nobody if nobody does: an event about a topic.
    Event(Class, Topic),
    /// Into the journal, from which nothing is ever taken: a copy of what the store alone holds, and when it is to
    /// start, ms.
    Journal(Topic, u64),
}

impl Target {
    /// Where it rests on its way.
    #[must_use]
    pub const fn park(&self) -> Option<Park> {
        match self {
            Self::Parked(park, _) => Some(*park),
            _ => None,
        }
    }
}

/// Where a message was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Letters {
    /// Nowhere to go.
    Unrouted,
    /// Evicted by the broker, or an orphan.
    Dead,
    /// Unreadable.
    Quarantine,
}

impl Letters {
    /// Every place.
    pub const ALL: [Self; 3] = [Self::Unrouted, Self::Dead, Self::Quarantine];

    /// Its name, as the command line has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unrouted => "unrouted",
            Self::Dead => "dead",
            Self::Quarantine => "quarantine",
        }
    }

    /// The name of the queue.
    pub(crate) fn queue(self, names: &BrokerNames) -> String {
        match self {
            Self::Unrouted => names.unrouted(),
            Self::Dead => names.dead(),
            Self::Quarantine => names.quarantine(),
        }
    }
}

/// Where copies of jobs lie, to be read without taking them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Copies {
    /// In a lane.
    Lane(Lane),
    /// At rest, of any lane.
    Parked(Park),
    /// In the journal.
    Journal,
}

/// What differs from copy to copy of one job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Generation that the copy was published for; zero in foreign messages.
    pub generation: Generation,
    /// When the job was accepted, ms of the store's clock; `None` in foreign messages.
    pub enqueued: Option<u64>,
    /// Newest fence known when the copy was made.
    pub fence: Fence,
    /// Where the copy rested, if it was parked.
    pub parked: Option<Park>,
    /// Why it is among the dead or in quarantine.
    pub reason: Option<String>,
    /// Trace context.
    pub trace: Option<Trace>,
}

impl Message {
    /// The message of a job that the store accepted. Where it replaced another one's payload, it travels under that
    /// one's id.
    #[must_use]
    pub fn accepted(job: &NewJob, accepted: &Accepted, target: Target) -> Self {
        let renamed = if accepted.replaced { envelope::with_id(&job.envelope, accepted.id) } else { None };
        Self {
            target,
            message_id: accepted.id.to_string(),
            headers: Headers {
                generation: accepted.generation,
                enqueued: Some(accepted.created),
                ..Headers::default()
            },
            body: renamed.map_or_else(|| job.envelope.clone(), Into::into),
        }
    }
}

impl From<&Outgoing> for Headers {
    fn from(job: &Outgoing) -> Self {
        Self { generation: job.generation, enqueued: Some(job.created), fence: job.fence, ..Self::default() }
    }
}

impl Headers {
    /// Checks the numbers of a copy that anybody may have published: the store counts on from them.
    ///
    /// # Errors
    /// A sentence that names the header and the largest number allowed.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            (headers::GENERATION, self.generation.0),
            (headers::FENCE, self.fence.0),
            (headers::ENQUEUED, self.enqueued.unwrap_or(0)),
        ];
        match numbers.into_iter().find(|(_, number)| *number > limits::COUNTER) {
            Some((name, number)) => Err(format!(
                "header {name}: {number} is more than {}; leave it out of messages of your own",
                limits::COUNTER
            )),
            None => Ok(()),
        }
    }
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub target: Target,
    /// The job's id, or whatever id a foreign message had.
    pub message_id: String,
    /// What differs from copy to copy.
    pub headers: Headers,
    /// The envelope.
    pub body: Bytes,
}

/// The message of a job that the store handed out, straight into its lane.
impl From<Outgoing> for Message {
    fn from(job: Outgoing) -> Self {
        Self {
            headers: Headers::from(&job),
            target: Target::Lane(job.lane),
            message_id: job.id.to_string(),
            body: job.envelope,
        }
    }
}

/// A message that arrived.
#[derive(Debug)]
pub struct Delivery {
    /// The lane it came from.
    pub lane: Lane,
    /// Its place in this session.
    pub tag: Tag,
    /// Unique for this delivery: the nonce of its claim.
    pub nonce: String,
    /// As published; a foreign client may have set anything.
    pub message_id: Option<String>,
    /// As published.
    pub headers: Headers,
    /// As published.
    pub body: Bytes,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
}

/// The place of a delivery: good only in the session it came from. Settling one of another session does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The session.
    pub session: u64,
    /// The channel in it.
    pub channel: u32,
    /// The broker's number.
    pub number: u64,
}

/// What comes in.
#[derive(Debug)]
pub enum Intake {
    /// A message.
    Delivery(Delivery),
    /// One lane's consumer ended (its queue was deleted, or the broker cancelled it); the session lives.
    LaneLost {
        /// Which.
        lane: Lane,
        /// What the broker said.
        why: String,
    },
    /// The session ended: every delivery of it that was not settled is, or will be, delivered again.
    Ended {
        /// What was seen.
        why: String,
    },
}

/// The broker. See the module's head.
#[async_trait]
pub trait Broker: Send + Sync + Debug {
    /// Makes sure that the fixed objects and these lanes exist. Idempotent; remembered per connection.
    async fn declare(&self, lanes: &[Lane]) -> Result<(), Fault>;

    /// Publishes messages and waits for the broker's confirms, all at once, each with the configured deadline. One
    /// answer per message: `Ok` means that the broker is responsible for it now.
    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Fault>>;

    /// Opens a session of consuming. It has no lanes yet.
    async fn consume(&self) -> Result<Box<dyn Consumption>, Fault>;

    /// How many messages wait in a lane; `None` when it does not exist.
    async fn depth(&self, lane: &Lane) -> Result<Option<u64>, Fault>;

    /// Takes up to `limit` messages off the unrouted letters and publishes those whose lane exists to it. Answers how
    /// many were moved; the others stay.
    async fn reroute(&self, limit: usize) -> Result<u64, Fault>;

    /// Opens a reading of the letters of one place. Until it ends nobody else sees what it has shown.
    async fn read_letters(&self, place: Letters) -> Result<Box<dyn Reading>, Fault>;

    /// How many letters lie in a place that no reading holds right now.
    async fn count_letters(&self, place: Letters) -> Result<u64, Fault>;

    /// Opens a reading of copies, all of them: what is in a lane or at rest is held until the reading ends, so that no
    /// consumer gets it meanwhile, and nothing can be removed. `None`: there is no such queue.
    async fn read_copies(&self, place: &Copies) -> Result<Option<Box<dyn Reading>>, Fault>;

    /// How many copies lie in a place that nobody holds right now (in the journal: about); `None`: there is no such
    /// queue.
    async fn count_copies(&self, place: &Copies) -> Result<Option<u64>, Fault>;

    /// Deletes these lanes, with all that is in them. Deleting what is not there is fine.
    async fn remove(&self, lanes: &[Lane]) -> Result<(), Fault>;

    /// Deletes every queue and exchange of the namespace, with all that is in them; of lanes, these.
    /// Answers how many queues there were. Deleting what is not there is fine.
    async fn erase(&self, lanes: &[Lane]) -> Result<u64, Fault>;

    /// Listens to events from now on, until the answer is dropped.
    async fn listen(&self, interests: Vec<Interest>) -> Result<Box<dyn Listening>, Fault>;

    /// Whether the publishing connection is up, and why publishes would be refused.
    fn status(&self) -> BrokerStatus;
}

/// Hears events. Who does not take them in time misses the oldest or the newest, and holds up nobody.
#[async_trait]
pub trait Listening: Send + Debug {
    /// The body of the next event; `None` when the connection was lost: then somebody has to listen anew.
    async fn next(&mut self) -> Option<Bytes>;
}

/// What is known of the broker without asking it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerStatus {
    /// Whether the publishing connection is up.
    pub connected: bool,
    /// The broker refuses publishes for now (an alarm), and says why.
    pub blocked: Option<String>,
    /// For how long it has been so.
    pub since: Duration,
}

/// One session of consuming.
#[async_trait]
pub trait Consumption: Send + Debug {
    /// The next thing that comes in. After [`Intake::Ended`] only that.
    async fn next(&mut self) -> Intake;

    /// Starts to consume a lane; at most `prefetch` of its messages are unsettled at once. The lane is declared if
    /// need be.
    async fn add(&mut self, lane: &Lane, prefetch: u16) -> Result<(), Fault>;

    /// Stops to consume a lane. What had been delivered stays with the caller, to be settled.
    async fn remove(&mut self, lane: &Lane) -> Result<(), Fault>;

    /// Lanes with a registered consumer right now.
    fn lanes(&self) -> Vec<Lane>;

    /// Settles deliveries of this session; may be used from anywhere.
    fn settler(&self) -> std::sync::Arc<dyn Settler>;

    /// Closes the session: unsettled deliveries go back to their lanes.
    async fn close(&mut self);
}

/// Settles deliveries: never waits, coalesces by itself.
pub trait Settler: Send + Sync + Debug {
    /// The message is done with: its job has ended, or a confirmed copy of it is elsewhere.
    fn ack(&self, tag: Tag);

    /// The message goes back to its lane. To be used once per delivery and only after the lane's consumer was removed,
    /// or it comes back at once and burns the broker's delivery limit.
    fn give_back(&self, tag: Tag);

    /// Whether the session lives: if not, the broker still holds every unsettled message.
    fn is_live(&self) -> bool;
}

/// The broker of a process that connects to none: it reads and controls jobs through the store, and publishes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Absent;

impl Absent {
    fn fault() -> Fault {
        Fault::unreachable(Service::Broker, "this process has connected to the store only")
    }
}

#[async_trait]
impl Broker for Absent {
    async fn declare(&self, _lanes: &[Lane]) -> Result<(), Fault> {
        Err(Self::fault())
    }

    async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Fault>> {
        messages.iter().map(|_| Err(Self::fault())).collect()
    }

    async fn consume(&self) -> Result<Box<dyn Consumption>, Fault> {
        Err(Self::fault())
    }

    async fn depth(&self, _lane: &Lane) -> Result<Option<u64>, Fault> {
        Err(Self::fault())
    }

    async fn reroute(&self, _limit: usize) -> Result<u64, Fault> {
        Err(Self::fault())
    }

    async fn read_letters(&self, _place: Letters) -> Result<Box<dyn Reading>, Fault> {
        Err(Self::fault())
    }

    async fn count_letters(&self, _place: Letters) -> Result<u64, Fault> {
        Err(Self::fault())
    }

    async fn read_copies(&self, _place: &Copies) -> Result<Option<Box<dyn Reading>>, Fault> {
        Err(Self::fault())
    }

    async fn count_copies(&self, _place: &Copies) -> Result<Option<u64>, Fault> {
        Err(Self::fault())
    }

    async fn remove(&self, _lanes: &[Lane]) -> Result<(), Fault> {
        Err(Self::fault())
    }

    async fn erase(&self, _lanes: &[Lane]) -> Result<u64, Fault> {
        Err(Self::fault())
    }

    async fn listen(&self, _interests: Vec<Interest>) -> Result<Box<dyn Listening>, Fault> {
        Err(Self::fault())
    }

    fn status(&self) -> BrokerStatus {
        BrokerStatus::default()
    }
}
