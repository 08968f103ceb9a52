//! One connection's life, from its handshake to its end for good, and what is known while it lasts.
//!
//! A session ends once: when the broker or the network ends the connection, when nothing was heard for two
//! heartbeats (the client library's watch), or when one of us gives it up. Whoever comes next is another
//! session with another number, so that nothing of the old one can be taken for the new one's.

use super::dial::Dialed;
use super::errors::text;
use super::topology::Known;
use crate::world::World;
use futures_util::{Stream, StreamExt};
use lapin::{Channel, Connection, Event};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the connection's state is looked at beside listening to its events.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait for the broker's answer to an orderly close.
const FAREWELL: Duration = Duration::from_secs(1);

/// Numbers sessions within this process, so that a tag of one is never good in another.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// One connection's life.
pub(super) struct Session {
    // What never changes.
    pub(super) number: u64,
    connection: Connection,
    socket: super::dial::Socket,
    world: World,
    /// When it was made, by the clock that leases are judged by.
    pub(super) since: Duration,

    // What is learned while it lasts.
    /// Objects that exist, as far as this session has seen.
    pub(super) known: Known,
    /// The broker's reason for not reading from this connection, and since when.
    blocked: Mutex<Option<(String, Duration)>>,

    // Its end.
    ended: CancellationToken,
    why: OnceLock<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("number", &self.number).field("ended", &self.why).finish_non_exhaustive()
    }
}

impl Session {
    /// Begins with an open connection, and starts the task that watches it.
    pub(super) fn start(dialed: Dialed, world: &World) -> Arc<Self> {
        // The library shares its events among listeners instead of giving each all of them: there is only this one.
        let events = dialed.connection.events_listener();
        let session = Arc::new(Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            connection: dialed.connection,
            socket: dialed.socket,
            world: world.clone(),
            since: world.clock.boot(),
            known: Known::default(),
            blocked: Mutex::default(),
            ended: CancellationToken::new(),
            why: OnceLock::new(),
        });
        drop(world.tasks.spawn(watch(Arc::clone(&session), events)));
        session
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> lapin::Result<Channel> {
        self.connection.create_channel().await
    }

    /// Ends the session; the first reason stays.
    pub(super) fn end(&self, why: impl Into<String>) {
        let _ = self.why.set(why.into());
        self.ended.cancel();
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Why it ended.
    pub(super) fn why(&self) -> String {
        self.why.get().cloned().unwrap_or_else(|| "the connection is gone".to_owned())
    }

    /// Whether it goes on. The connection itself is asked as well: events come a little later.
    pub(super) fn is_live(&self) -> bool {
        !self.ended.is_cancelled() && self.connection.status().connected()
    }

    /// Why the broker does not read from this connection for now, and since when.
    pub(super) fn blocked(&self) -> Option<(String, Duration)> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_blocked(&self, reason: Option<String>) {
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) if blocked.is_none() => {
                tracing::warn!(session = self.number, reason, "the broker refuses publishes");
                *blocked = Some((reason, self.world.clock.boot()));
            }
            None if blocked.take().is_some() => {
                tracing::info!(session = self.number, "the broker takes publishes again");
            }
            _ => {}
        }
    }

    /// Closes the connection: in good order if it answers, and for good in any case.
    pub(super) async fn close(&self, why: &str) {
        self.end(why);
        if self.connection.status().connected() {
            let close = self.connection.close(200, "bye".into());
            // Whether it answered does not matter: the socket is shut next.
            let _ = self.world.clock.timeout(FAREWELL, close).await;
        }
        self.socket.shut();
    }
}

/// Listens to the connection until its end.
async fn watch(session: Arc<Session>, events: impl Stream<Item = Event>) {
    let mut events = std::pin::pin!(events);
    loop {
        tokio::select! {
            () = session.ended() => break,
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => session.set_blocked(Some(reason)),
                Some(Event::ConnectionUnblocked) => session.set_blocked(None),
                // A channel's error comes this way too; the connection lives on then.
                Some(Event::Error(error)) if !session.connection.status().connected() => session.end(text(&error)),
                Some(_) => {}
                None => session.end("the client library ended the connection"),
            },
            () = session.world.clock.sleep(LOOK) => {
                let status = session.connection.status();
                if !status.connected() {
                    session.end("the connection is not open any more");
                } else if status.blocked() {
                    // A notice that came before we listened.
                    session.set_blocked(Some("the broker gave no reason that was seen".to_owned()));
                }
            }
        }
    }
    let why = session.why();
    tracing::debug!(session = session.number, why, "session ended");
    session.close(&why).await;
}
