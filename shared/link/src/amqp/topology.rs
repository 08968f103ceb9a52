//! Declares exchanges, queues and bindings, and remembers per connection what exists.
//!
//! Everything is durable, and everything is quorum queues. The fast way sends all declarations at once on a
//! throw-away channel, because a refusal closes the channel it came on; only when that happens is each object
//! declared by itself, to name the one that is refused and to accept what exists already and may only not be
//! declared by this user.

use super::errors::{Said, asked, refused, said, text, unknown, unreachable};
use super::session::Session;
use super::wire::short;
use crate::error::Fault;
use crate::world::World;
use futures_util::future::try_join_all;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::names::{BrokerNames, Park};
use longshore_model::settings::{BrokerSettings, JournalSettings};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

/// Returns of one message before the broker moves it to the dead. High, because the broker charges every message
/// that a dying consumer merely held; crashes are counted in the store. Explicit, because brokers from 4.0 on
/// have a default of 20.
const DELIVERY_LIMIT: i32 = 100_000;
/// The same for letters, which have nowhere else to go: beyond it the broker would delete them.
const LETTER_DELIVERY_LIMIT: i32 = 1_000_000_000;
/// Smallest and largest segment of the journal.
const SEGMENT_BYTES: (i64, i64) = (1024 * 1024, 64 * 1024 * 1024);
/// Lanes of sites are made sure of again after so long: they are removed when nobody has used them for twice that time.
const SITE_SEEN: Duration = Duration::from_millis(limits::SITE_KEPT_MS / 2);
/// Lanes that are declared at once. A new quorum queue takes about 10 ms.
const CHUNK: usize = 64;

/// What exists, as far as one session has seen. Forgotten with it: another broker may answer the next one.
#[derive(Debug, Default)]
pub(super) struct Known {
    seen: RwLock<Seen>,
    /// Held while declaring, so that a burst of first publishes declares once.
    declaring: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Seen {
    fixed: bool,
    journal: bool,
    /// And when they were seen last, by the boot clock.
    lanes: HashMap<Lane, Duration>,
}

impl Known {
    /// The lane may be gone.
    pub(super) fn forget(&self, lane: &Lane) {
        self.seen.write().unwrap_or_else(PoisonError::into_inner).lanes.remove(lane);
    }

    /// Everything may be gone.
    pub(super) fn forget_all(&self) {
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = Seen::default();
    }

    /// Whether the fixed objects are known, and the lanes that are not.
    fn missing<'t>(&self, lanes: &[&'t Lane], now: Duration) -> (bool, Vec<&'t Lane>) {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = |lane: &Lane, at: &Duration| lane.site.is_none() || now.saturating_sub(*at) < SITE_SEEN;
        let is_seen = |lane: &Lane| seen.lanes.get(lane).is_some_and(|at| fresh(lane, at));
        let mut missing: Vec<_> = lanes.iter().copied().filter(|lane| !is_seen(lane)).collect();
        missing.sort_unstable();
        missing.dedup();
        (seen.fixed, missing)
    }

    fn has_journal(&self) -> bool {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).journal
    }

    fn learn_journal(&self) {
        self.seen.write().unwrap_or_else(PoisonError::into_inner).journal = true;
    }

    fn learn(&self, fixed: bool, lanes: &[&Lane], now: Duration) {
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.fixed |= fixed;
        seen.lanes.extend(lanes.iter().map(|lane| ((*lane).clone(), now)));
    }
}

/// One thing to declare.
#[derive(Debug, Clone)]
enum Object {
    Exchange {
        name: String,
        kind: ExchangeKind,
        alternate: Option<String>,
    },
    /// `lenient`: one that exists with other arguments is as good.
    Queue {
        name: String,
        arguments: FieldTable,
        lenient: bool,
    },
    Binding {
        queue: String,
        exchange: String,
        key: String,
    },
}

/// Declares what [`BrokerNames`] names.
#[derive(Debug)]
pub(super) struct Topology {
    pub(super) names: BrokerNames,
    journal: JournalSettings,
    quarantine_bytes: u64,
    world: World,
    /// Longest wait for one chunk of declarations.
    patience: Duration,
}

impl Topology {
    pub(super) fn new(names: BrokerNames, settings: &BrokerSettings, world: World) -> Self {
        let BrokerSettings { ref journal, quarantine_bytes, connect_timeout: patience, .. } = *settings;
        Self { names, journal: journal.clone(), quarantine_bytes, world, patience }
    }

    fn now(&self) -> Duration {
        self.world.clock.boot()
    }

    /// Makes sure that the fixed objects and these lanes exist.
    ///
    /// # Errors
    /// [`Fault::Refused`] names an object that is different, or missing and may not be declared.
    pub(super) async fn ensure(&self, session: &Session, lanes: &[&Lane]) -> Result<(), Fault> {
        if let (true, missing) = session.known.missing(lanes, self.now())
            && missing.is_empty()
        {
            return Ok(());
        }
        let _one = session.known.declaring.lock().await;
        let (fixed, missing) = session.known.missing(lanes, self.now());
        if !fixed {
            self.declare(session, self.fixed()).await?;
            session.known.learn(true, &[], self.now());
        }
        for chunk in missing.chunks(CHUNK) {
            let objects = chunk.iter().flat_map(|lane| self.lane(lane)).collect();
            // Somebody may have removed the exchanges meanwhile: after a failure everything is declared afresh.
            self.declare(session, objects).await.inspect_err(|_| session.known.forget_all())?;
            session.known.learn(false, chunk, self.now());
        }
        Ok(())
    }

    /// As [`Self::ensure`], for a publisher: a lane that it may not declare, or that is different, is no reason not to
    /// publish, because a message without a lane is kept among the unrouted. It is not tried again in this session.
    pub(super) async fn ensure_leniently(&self, session: &Session, lanes: &[&Lane]) -> Result<(), Fault> {
        match self.ensure(session, lanes).await {
            Err(Fault::Refused { detail, .. }) => {
                tracing::warn!(detail, "a lane could not be declared; publishing all the same");
                session.known.learn(true, lanes, self.now());
                Ok(())
            }
            // Declaring changes nothing that a repeat would double: the publish after it has not happened.
            Err(Fault::Unknown { detail, .. }) => Err(unreachable(detail)),
            done => done,
        }
    }

    /// Makes sure that the journal exists.
    ///
    /// # Errors
    /// [`Fault::Refused`] where it is different, or the broker has no streams.
    pub(super) async fn ensure_journal(&self, session: &Session) -> Result<(), Fault> {
        if session.known.has_journal() {
            return Ok(());
        }
        let _one = session.known.declaring.lock().await;
        let bytes = i64::try_from(self.journal.bytes).unwrap_or(i64::MAX);
        // Only whole segments are ever removed.
        let segment = (bytes / 8).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
        let arguments = arguments(&[
            ("x-queue-type", long("stream")),
            ("x-max-length-bytes", AMQPValue::LongLongInt(bytes)),
            ("x-max-age", long(&format!("{}s", self.journal.age.as_secs()))),
            ("x-stream-max-segment-size-bytes", AMQPValue::LongLongInt(segment)),
        ]);
        let name = self.names.journal();
        let objects = vec![
            Object::Exchange { name: name.clone(), kind: ExchangeKind::Fanout, alternate: None },
            Object::Queue { name: name.clone(), arguments, lenient: false },
            Object::Binding { queue: name.clone(), exchange: name, key: String::new() },
        ];
        self.declare(session, objects).await?;
        session.known.learn_journal();
        Ok(())
    }

    /// How many messages wait in a queue; `None` when there is no such queue.
    ///
    /// # Errors
    /// When the broker cannot be asked.
    pub(super) async fn depth(&self, session: &Session, queue: &str) -> Result<Option<u64>, Fault> {
        let what = format!("ask for queue `{queue}`");
        let ask = async {
            let channel = session.channel().await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(short(queue), options, FieldTable::default()).await
        };
        match self.world.clock.timeout(self.patience, ask).await {
            Some(Ok(queue)) => Ok(Some(u64::from(queue.message_count()))),
            Some(Err(error)) if said(&error) == Said::Missing => Ok(None),
            Some(Err(error)) => Err(asked(&what, &error)),
            None => Err(unreachable(format!("{what}: no answer within {:?}", self.patience))),
        }
    }

    /// Deletes these lanes.
    pub(super) async fn remove(&self, session: &Session, lanes: &[Lane]) -> Result<(), Fault> {
        for lane in lanes {
            session.known.forget(lane);
            self.delete_queue(session, &self.names.lane(lane)).await?;
        }
        Ok(())
    }

    /// Deletes a queue. Answers whether there was one.
    async fn delete_queue(&self, session: &Session, queue: &str) -> Result<bool, Fault> {
        if self.depth(session, queue).await?.is_none() {
            return Ok(false);
        }
        let delete = async {
            let channel = session.channel().await?;
            channel.queue_delete(short(queue), QueueDeleteOptions::default()).await
        };
        self.deleted(queue, self.world.clock.timeout(self.patience, delete).await.map(|done| done.map(drop)))?;
        Ok(true)
    }

    /// Deletes every object of the namespace, and these lanes. Answers how many queues there were.
    pub(super) async fn erase(&self, session: &Session, lanes: &[Lane]) -> Result<u64, Fault> {
        let names = &self.names;
        let mut both = vec![names.unrouted(), names.dead(), names.quarantine(), names.journal()];
        both.extend(Park::ALL.iter().map(|park| names.park(*park)));
        let mut queues: Vec<String> = lanes.iter().map(|lane| names.lane(lane)).collect();
        queues.extend(both.iter().cloned());
        let exchanges: Vec<String> = [names.jobs(), names.direct(), names.events()].into_iter().chain(both).collect();
        session.known.forget_all();
        let mut erased = 0;
        for queue in &queues {
            erased += u64::from(self.delete_queue(session, queue).await?);
        }
        for exchange in &exchanges {
            let delete = async {
                let channel = session.channel().await?;
                channel.exchange_delete(short(exchange), ExchangeDeleteOptions::default()).await
            };
            self.deleted(exchange, self.world.clock.timeout(self.patience, delete).await)?;
        }
        Ok(erased)
    }

    fn deleted(&self, name: &str, done: Option<lapin::Result<()>>) -> Result<(), Fault> {
        match done {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(asked(&format!("delete `{name}`"), &error)),
            None => Err(unreachable(format!("delete `{name}`: no answer within {:?}", self.patience))),
        }
    }

    /// All objects at once, and one by one where that is refused.
    async fn declare(&self, session: &Session, objects: Vec<Object>) -> Result<(), Fault> {
        let late = || unknown(format!("declaring exchanges and queues took longer than {:?}", self.patience));
        let at_once = async {
            let channel = session.channel().await?;
            try_join_all(objects.iter().map(|object| object.declare(&channel))).await
        };
        match self.world.clock.timeout(self.patience, at_once).await {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) if matches!(said(&error), Said::Forbidden | Said::Different | Said::Missing) => {
                for object in &objects {
                    let one = object.declare_or_find(session);
                    self.world.clock.timeout(self.patience, one).await.ok_or_else(late)??;
                }
                Ok(())
            }
            Some(Err(error)) => Err(unknown(format!("declaring exchanges and queues: {}", text(&error)))),
            None => Err(late()),
        }
    }

    /// The objects that every namespace has.
    fn fixed(&self) -> Vec<Object> {
        let names = &self.names;
        let mut objects = Vec::new();
        let letters = || arguments(&[("x-delivery-limit", AMQPValue::LongInt(LETTER_DELIVERY_LIMIT))]);
        for name in [names.unrouted(), names.dead()] {
            objects.extend(fanout(&name, letters()));
        }
        // Anybody who may publish can fill it. What does not fit is refused rather than the oldest dropped: a letter may be
        // all that there is of a job.
        let mut bounded = letters();
        let bytes = i64::try_from(self.quarantine_bytes).unwrap_or(i64::MAX);
        bounded.insert(short("x-max-length-bytes"), AMQPValue::LongLongInt(bytes));
        bounded.insert(short("x-overflow"), long("reject-publish"));
        objects.extend(fanout(&names.quarantine(), bounded).map(Object::lenient));
        // What finds no lane is kept for people and for a later lane, instead of being dropped with a confirm.
        let alternate = Some(names.unrouted());
        for (name, kind) in [(names.jobs(), ExchangeKind::Topic), (names.direct(), ExchangeKind::Direct)] {
            objects.push(Object::Exchange { name, kind, alternate: alternate.clone() });
        }
        // Without an alternate: an event that nobody wants is done with.
        objects.push(Object::Exchange { name: names.events(), kind: ExchangeKind::Topic, alternate: None });
        for park in Park::ALL {
            // No dead-letter routing key: the publisher's key, a lane's name, must survive the rest.
            let mut arguments = dead_letters(&names.direct());
            let ms = i64::try_from(park.ms()).unwrap_or(i64::MAX);
            arguments.insert(short("x-message-ttl"), AMQPValue::LongLongInt(ms));
            objects.extend(fanout(&names.park(park), arguments));
        }
        objects
    }

    /// A lane and its bindings: by its topic, which all of its lanes have in common, the first one, and by its name.
    fn lane(&self, lane: &Lane) -> Vec<Object> {
        let queue = self.names.lane(lane);
        // No length limit: a full lane would stall every parked copy behind it. Fullness is refused at enqueue.
        let mut arguments = dead_letters(&self.names.dead());
        arguments.insert(short("x-delivery-limit"), AMQPValue::LongInt(DELIVERY_LIMIT));
        let bind = |exchange: String, key: String| Object::Binding { queue: queue.clone(), exchange, key };
        let mut objects = vec![
            Object::Queue { name: queue.clone(), arguments, lenient: false },
            bind(self.names.direct(), queue.clone()),
        ];
        if lane.is_first() {
            objects.push(bind(self.names.jobs(), lane.topic.dotted()));
        }
        objects
    }
}

/// A fanout exchange and its quorum queue of the same name.
fn fanout(name: &str, mut arguments: FieldTable) -> [Object; 3] {
    let name = name.to_owned();
    arguments.insert(short("x-queue-type"), long("quorum"));
    [
        Object::Exchange { name: name.clone(), kind: ExchangeKind::Fanout, alternate: None },
        Object::Queue { name: name.clone(), arguments, lenient: false },
        Object::Binding { queue: name.clone(), exchange: name, key: String::new() },
    ]
}

/// A quorum queue whose evicted messages reach `exchange` for sure; that needs the overflow rule as well.
fn dead_letters(exchange: &str) -> FieldTable {
    arguments(&[
        ("x-queue-type", long("quorum")),
        ("x-dead-letter-exchange", long(exchange)),
        ("x-dead-letter-strategy", long("at-least-once")),
        ("x-overflow", long("reject-publish")),
    ])
}

fn arguments(pairs: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(short(name), value.clone());
    }
    table
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.as_bytes().into())
}

impl Object {
    /// It may exist with other arguments.
    fn lenient(self) -> Self {
        match self {
            Self::Queue { name, arguments, .. } => Self::Queue { name, arguments, lenient: true },
            other => other,
        }
    }

    async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        match self {
            Self::Exchange { name, kind, alternate } => {
                let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
                let mut table = FieldTable::default();
                if let Some(alternate) = alternate {
                    table.insert(short("alternate-exchange"), long(alternate));
                }
                channel.exchange_declare(short(name), kind.clone(), options, table).await
            }
            Self::Queue { name, arguments, .. } => {
                let options = QueueDeclareOptions::durable();
                channel.queue_declare(short(name), options, arguments.clone()).await.map(drop)
            }
            Self::Binding { queue, exchange, key } => {
                let options = QueueBindOptions::default();
                channel.queue_bind(short(queue), short(exchange), short(key), options, FieldTable::default()).await
            }
        }
    }

    /// Whether it exists, without changing anything. A binding cannot be asked for: it counts as existing, because
    /// whoever was allowed to declare its queue was to bind it.
    async fn find(&self, channel: &Channel) -> lapin::Result<()> {
        match self {
            Self::Exchange { name, kind, .. } => {
                let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
                channel.exchange_declare(short(name), kind.clone(), options, FieldTable::default()).await
            }
            Self::Queue { name, .. } => {
                let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(short(name), options, FieldTable::default()).await.map(drop)
            }
            Self::Binding { .. } => Ok(()),
        }
    }

    async fn declare_or_find(&self, session: &Session) -> Result<(), Fault> {
        let failed = |error: lapin::Error| unknown(format!("declare {self}: {}", text(&error)));
        let channel = session.channel().await.map_err(failed)?;
        let Err(error) = self.declare(&channel).await else { return Ok(()) };
        match said(&error) {
            Said::Forbidden => {}
            Said::Different if matches!(self, Self::Queue { lenient: true, .. }) => {
                tracing::warn!(
                    "{self} keeps the limits that it was made with: to change them drop its letters, delete it and start \
                     any instance"
                );
                return Ok(());
            }
            Said::Different => {
                return Err(refused(format!(
                    "{self} exists and is different ({}): use another namespace, or remove it once it is empty and \
                     let it be declared again",
                    text(&error)
                )));
            }
            _ => return Err(failed(error)),
        }
        let channel = session.channel().await.map_err(failed)?;
        match self.find(&channel).await {
            Ok(()) => Ok(()),
            Err(missing) if said(&missing) == Said::Missing => Err(refused(format!(
                "{self} does not exist and may not be declared ({}): give the user configure, write and read on it, \
                 or declare it as a user who has them",
                text(&error)
            ))),
            Err(error) => Err(asked(&format!("look for {self}"), &error)),
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exchange { name, .. } => write!(f, "exchange `{name}`"),
            Self::Queue { name, .. } => write!(f, "queue `{name}`"),
            Self::Binding { queue, exchange, .. } => write!(f, "binding of `{queue}` to `{exchange}`"),
        }
    }
}
