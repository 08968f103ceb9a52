//! Publishes with confirms over a connection of its own, which a supervisor keeps up.
//!
//! Every message gets one of three answers: the broker has it (its confirm came), it surely has not (nothing
//! left, or it was refused), or nobody knows (it left and no confirm came in time, or the connection was lost).
//! A publish never waits without end: not for a connection, not for a broker that reads nothing, not for a
//! confirm. Consuming does not happen here: a broker that blocks publishers reads nothing from this connection.
//!
//! Publishes are not `mandatory`. A returned message carries no number, so in a pipeline it cannot be told which
//! publish it answers (the client library guesses, and was measured to guess wrong); instead both exchanges have
//! an alternate exchange that keeps what finds no lane.

use super::dial::{Backoff, Dialed, Dialer};
use super::errors::{Said, refused, said, text, unknown, unreachable};
use super::session::Session;
use super::topology::Topology;
use super::wire::{properties, short};
use crate::broker::{BrokerStatus, Message, Target};
use crate::error::{Fault, Service};
use crate::world::World;
use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, ErrorKind};
use longshore_model::lane::Lane;
use longshore_model::names::BrokerNames;
use longshore_model::settings::BrokerSettings;
use std::collections::HashSet;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long after a loss publishes wait for the next connection; later ones are told at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// The publishing side. Dropping it closes its connection.
pub(super) struct Publisher {
    // What never changes.
    topology: Arc<Topology>,
    world: World,
    timeout: Duration,
    /// Publishes that may wait for their confirm.
    window: Semaphore,
    _supervised: DropGuard,

    // Written by the supervisor.
    state: watch::Receiver<State>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("status", &self.status()).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone)]
enum State {
    Up(Arc<Outlet>),
    Down { why: String, since: Duration },
}

impl Publisher {
    /// Takes over an open connection and keeps one open from then on.
    pub(super) fn start(
        dialed: Dialed,
        dialer: Arc<Dialer>,
        topology: Arc<Topology>,
        settings: &BrokerSettings,
        world: World,
    ) -> Self {
        let stop = CancellationToken::new();
        let first = Outlet::new(Session::start(dialed, &world));
        let (sender, state) = watch::channel(State::Up(first));
        drop(world.tasks.spawn(supervise(dialer, sender, stop.clone(), world.clone())));
        Self {
            topology,
            world,
            timeout: settings.publish_timeout,
            window: Semaphore::new(settings.publish_window.clamp(1, Semaphore::MAX_PERMITS)),
            _supervised: stop.drop_guard(),
            state,
        }
    }

    /// Publishes messages, all at once, in their order; one answer each.
    pub(super) async fn publish(&self, messages: Vec<Message>) -> Vec<Result<(), Fault>> {
        let count = messages.len();
        let lanes: HashSet<_> = messages.iter().filter_map(|message| first_of(&message.target)).collect();
        let lanes: Vec<_> = lanes.into_iter().collect();
        let prepared = async {
            let outlet = self.outlet().await?;
            self.topology.ensure_leniently(&outlet.session, &lanes).await?;
            if messages.iter().any(|message| matches!(message.target, Target::Journal(..))) {
                self.topology.ensure_journal(&outlet.session).await?;
            }
            Ok(outlet)
        };
        let began = self.world.clock.boot();
        let late = || Err(unreachable(format!("no channel and no lanes within {:?}", self.timeout)));
        let outlet = match self.world.clock.timeout(self.timeout, prepared).await.unwrap_or_else(late) {
            Ok(outlet) => outlet,
            Err(fault) => return vec![Err(fault); count],
        };
        let rest = self.timeout.saturating_sub(self.world.clock.boot().saturating_sub(began));
        let all = join_all(messages.into_iter().map(async |message| {
            let properties = properties(&message)?;
            let (exchange, key) = address(&self.topology.names, &message.target);
            self.one(&outlet, &exchange, &key, &message.body, properties, rest).await
        }));
        // The runtime would let a task rest after so many steps, and those put off would be overtaken by the others.
        tokio::task::unconstrained(all).await
    }

    /// Publishes one message as it is, with the configured deadline.
    pub(super) async fn publish_raw(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> Result<(), Fault> {
        let outlet = self.outlet().await?;
        self.one(&outlet, exchange, key, body, properties, self.timeout).await
    }

    /// The live session, waited for if the connection was lost a moment ago.
    pub(super) async fn session(&self) -> Result<Arc<Session>, Fault> {
        Ok(Arc::clone(&self.outlet().await?.session))
    }

    /// The session if there is one right now.
    pub(super) fn session_now(&self) -> Option<Arc<Session>> {
        match &*self.state.borrow() {
            State::Up(outlet) => Some(Arc::clone(&outlet.session)),
            State::Down { .. } => None,
        }
    }

    /// What is known without asking.
    pub(super) fn status(&self) -> BrokerStatus {
        let now = self.world.clock.boot();
        match &*self.state.borrow() {
            State::Up(outlet) if outlet.session.is_live() => {
                let blocked = outlet.session.blocked();
                let since = blocked.as_ref().map_or(outlet.session.since, |(_, since)| *since);
                let blocked = blocked.map(|(reason, _)| reason);
                BrokerStatus { connected: true, blocked, since: now.saturating_sub(since) }
            }
            State::Up(_) => BrokerStatus::default(),
            State::Down { since, .. } => {
                BrokerStatus { connected: false, blocked: None, since: now.saturating_sub(*since) }
            }
        }
    }

    /// The live outlet; a fault at once when there has been none for a while, or the broker takes no publishes.
    async fn outlet(&self) -> Result<Arc<Outlet>, Fault> {
        let mut state = self.state.clone();
        loop {
            let now = state.borrow_and_update().clone();
            let wait = match now {
                State::Up(outlet) if outlet.session.is_live() => {
                    outlet.check_blocked()?;
                    return Ok(outlet);
                }
                // The supervisor has not noticed yet.
                State::Up(_) => PATIENCE,
                State::Down { why, since } => {
                    let down = self.world.clock.boot().saturating_sub(since);
                    let rest = PATIENCE.min(self.timeout).saturating_sub(down);
                    if rest.is_zero() {
                        return Err(unreachable(format!("no connection for {} s: {why}", down.as_secs())));
                    }
                    rest
                }
            };
            match self.world.clock.timeout(wait, state.changed()).await {
                Some(Ok(())) => {}
                Some(Err(_)) => return Err(unreachable("this process is shutting down")),
                None => match &*state.borrow() {
                    State::Down { why, .. } => return Err(unreachable(format!("no connection: {why}"))),
                    State::Up(_) => return Err(unreachable("the connection is being replaced")),
                },
            }
        }
    }

    /// One publish with its deadline.
    async fn one(
        &self,
        outlet: &Outlet,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
        deadline: Duration,
    ) -> Result<(), Fault> {
        let sent = AtomicBool::new(false);
        let began = self.world.clock.boot();
        let publish = async {
            let Ok(_place) = self.window.acquire().await else {
                return Err(unreachable("this process is shutting down"));
            };
            // It may have become so while waiting for a place.
            outlet.check_blocked()?;
            let line = outlet.line().await?;
            sent.store(true, Ordering::Relaxed);
            let answer = line.publish(exchange, key, body, properties).await;
            outlet.heard.store(micros(self.world.clock.boot()), Ordering::Relaxed);
            if let Err(Fault::Refused { .. }) = answer {
                // An exchange that is gone is declared again before the next publish.
                outlet.session.known.forget_all();
            }
            answer
        };
        match self.world.clock.timeout(deadline, publish).await {
            Some(answer) => answer,
            None if sent.load(Ordering::Relaxed) => {
                // A broker that has confirmed nothing at all since then is frozen or cut off: sooner given up here
                // than by two heartbeats. One that said why it does not read is left alone.
                let silent = outlet.heard.load(Ordering::Relaxed) < micros(began);
                if silent && outlet.session.blocked().is_none() {
                    outlet.session.end(format!("the broker confirmed nothing for {deadline:?}"));
                }
                Err(unknown(format!("no confirm within {deadline:?}")))
            }
            None => Err(unreachable(format!("no place in the window of unconfirmed publishes within {deadline:?}"))),
        }
    }
}

/// Keeps a connection open until told to stop.
async fn supervise(dialer: Arc<Dialer>, state: watch::Sender<State>, stop: CancellationToken, world: World) {
    /// A connection that lasted so long proves that the broker is well again.
    const PROOF: Duration = Duration::from_secs(10);
    let mut backoff = Backoff::new();
    loop {
        let State::Up(outlet) = state.borrow().clone() else { return };
        tokio::select! {
            () = outlet.session.ended() => {}
            () = stop.cancelled() => {
                outlet.session.end("this process closed it");
                return;
            }
        }
        let since = world.clock.boot();
        tracing::warn!(why = outlet.session.why(), "lost the publishing connection");
        state.send_replace(State::Down { why: outlet.session.why(), since });
        if since.saturating_sub(outlet.session.since) >= PROOF {
            backoff = Backoff::new();
        }
        loop {
            tokio::select! {
                () = backoff.wait(&world) => {}
                () = stop.cancelled() => return,
            }
            let dialed = tokio::select! {
                dialed = dialer.dial() => dialed,
                () = stop.cancelled() => return,
            };
            match dialed {
                Ok(dialed) => {
                    tracing::info!("the publishing connection is back");
                    state.send_replace(State::Up(Outlet::new(Session::start(dialed, &world))));
                    break;
                }
                Err(fault) => state.send_replace(State::Down { why: fault.to_string(), since }),
            };
        }
    }
}

/// A session with the channel that its publishes go through.
#[derive(Debug)]
struct Outlet {
    session: Arc<Session>,
    line: Mutex<Option<Arc<Line>>>,
    /// Held while a channel is opened, so that one is.
    opening: tokio::sync::Mutex<()>,
    /// When the broker last answered a publish, microseconds of the boot clock.
    heard: AtomicU64,
}

impl Outlet {
    fn new(session: Arc<Session>) -> Arc<Self> {
        let opening = tokio::sync::Mutex::default();
        Arc::new(Self { session, line: Mutex::default(), opening, heard: AtomicU64::new(0) })
    }

    fn check_blocked(&self) -> Result<(), Fault> {
        match self.session.blocked() {
            Some((reason, _)) => Err(Fault::blocked(Service::Broker, reason)),
            None => Ok(()),
        }
    }

    fn open_line(&self) -> Option<Arc<Line>> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.as_ref().filter(|line| line.channel.status().connected()).cloned()
    }

    /// The channel; a new one when the broker closed the last.
    async fn line(&self) -> Result<Arc<Line>, Fault> {
        if let Some(line) = self.open_line() {
            return Ok(line);
        }
        let _one = self.opening.lock().await;
        if let Some(line) = self.open_line() {
            return Ok(line);
        }
        let open = async {
            let channel = self.session.channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        let channel =
            open.await.map_err(|error: lapin::Error| unreachable(format!("open a channel: {}", text(&error))))?;
        let line = Arc::new(Line { channel, entry: Mutex::default(), proven: Mutex::default() });
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&line));
        Ok(line)
    }
}

/// A channel with confirms.
#[derive(Debug)]
struct Line {
    channel: Channel,
    /// Held while a message gets its number and its place in the line: see [`OneByOne`].
    entry: Mutex<()>,
    /// Exchanges on which this channel has had a confirm.
    proven: Mutex<HashSet<String>>,
}

impl Line {
    async fn publish(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) -> Result<(), Fault> {
        let (to, options) = (short(exchange), BasicPublishOptions::default());
        let publish = async { self.channel.basic_publish(to, short(key), options, body, properties).await?.await };
        match (OneByOne { entry: &self.entry, entered: false, future: Box::pin(publish) }).await {
            Ok(Confirmation::Ack(_)) => {
                let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
                if !proven.contains(exchange) {
                    proven.insert(exchange.to_owned());
                }
                Ok(())
            }
            Ok(Confirmation::Nack(_)) => Err(Fault::blocked(
                Service::Broker,
                format!("`{exchange}` did not take a message for `{key}`: the queue is full, or has no majority"),
            )),
            Ok(Confirmation::NotRequested) => Err(unknown("the channel has no confirms")),
            Err(error) => Err(self.fault(exchange, &error)),
        }
    }

    /// What a failed publish means. The channel is gone, and with it the fate of whatever was in flight on it.
    fn fault(&self, exchange: &str, error: &lapin::Error) -> Fault {
        // The library's check before it does anything.
        if let ErrorKind::InvalidChannelState(_, "basic.publish") = error.kind() {
            return unreachable(text(error));
        }
        let (why, proven) = (text(error), self.proven.lock().unwrap_or_else(PoisonError::into_inner));
        // The broker does not say which message it refused. Only where none to this exchange was ever taken on this
        // channel is it sure that this one was not; otherwise the next channel will tell.
        let ours = !proven.contains(exchange) && why.contains(&format!("'{exchange}'"));
        match said(error) {
            Said::Forbidden if ours => refused(format!("{why}; give the user the right to write to `{exchange}`")),
            Said::Missing if ours => refused(format!("{why}; let a user who may declare `{exchange}` do so")),
            _ => unknown(format!("the channel was lost before the confirm: {why}")),
        }
    }
}

/// Runs the first step of a publish alone. In that step the library numbers the message and queues its frames, in
/// two moves: two tasks between them could swap places, and would get each other's confirms.
struct OneByOne<'l, F> {
    entry: &'l Mutex<()>,
    entered: bool,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for OneByOne<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.entered {
            return self.future.as_mut().poll(context);
        }
        self.entered = true;
        let _alone = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        self.future.as_mut().poll(context)
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// The lane that a publish must make sure of: that of a first publish. Later ones go to lanes that somebody
/// declared before, and are kept among the unrouted where somebody has removed one since.
const fn first_of(target: &Target) -> Option<&Lane> {
    match target {
        Target::Jobs(lane) => Some(lane),
        Target::Lane(_)
        | Target::Parked(..)
        | Target::Quarantine
        | Target::Dead
        | Target::Journal(..)
        | Target::Event(..) => None,
    }
}

/// Exchange and routing key of a target.
fn address(names: &BrokerNames, target: &Target) -> (String, String) {
    match target {
        // A topic's key leads to its first lane alone.
        Target::Jobs(lane) if lane.is_first() => (names.jobs(), lane.topic.dotted()),
        Target::Jobs(lane) | Target::Lane(lane) => (names.direct(), names.lane(lane)),
        Target::Parked(park, lane) => (names.park(*park), names.lane(lane)),
        Target::Quarantine => (names.quarantine(), String::new()),
        Target::Dead => (names.dead(), String::new()),
        Target::Journal(topic, _) => (names.journal(), topic.dotted()),
        Target::Event(class, topic) => (names.events(), BrokerNames::event(*class, topic)),
    }
}
