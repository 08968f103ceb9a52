//! Hears events: a connection of its own, with a queue that goes with it.
//!
//! The queue belongs to the connection (exclusive), is not written to disk and forgets its oldest when nobody takes them:
//! a listener that cannot follow loses events and holds up nobody.

use super::errors::{asked, unreachable};
use super::session::Session;
use super::wire::short;
use crate::broker::Listening;
use crate::error::Fault;
use crate::world::World;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use longshore_model::event::Interest;
use longshore_model::names::BrokerNames;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Events that wait in the queue of a listener.
const WAITING: i32 = 10_000;

/// One listener.
pub(super) struct AmqpListening {
    session: Arc<Session>,
    events: Consumer,
}

impl fmt::Debug for AmqpListening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpListening").field("session", &self.session).finish_non_exhaustive()
    }
}

impl AmqpListening {
    /// Begins with a session that nobody else uses.
    pub(super) async fn start(
        session: Arc<Session>,
        names: &BrokerNames,
        interests: &[Interest],
        world: &World,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let listen = async {
            let channel = session.channel().await?;
            let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
            let mut arguments = FieldTable::default();
            arguments.insert(short("x-max-length"), AMQPValue::LongInt(WAITING));
            // Whatever the virtual host has as its default: the others cannot belong to a connection.
            arguments.insert(short("x-queue-type"), AMQPValue::LongString("classic".as_bytes().into()));
            let queue = channel.queue_declare(short(&names.listener(world.random.next())), options, arguments).await?;
            let queue = queue.name().clone();
            for interest in interests {
                let (exchange, key) = (names.events(), names.events_of(interest));
                let options = QueueBindOptions::default();
                channel
                    .queue_bind(queue.clone(), short(&exchange), short(&key), options, FieldTable::default())
                    .await?;
            }
            let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
            channel.basic_consume(queue, short(""), options, FieldTable::default()).await
        };
        let late = || Err(unreachable(format!("listen to events: no answer within {patience:?}")));
        let begun = world.clock.timeout(patience, listen).await;
        let begun = begun.map_or_else(late, |begun| begun.map_err(|error| asked("listen to events", &error)));
        let events = begun.inspect_err(|_| session.end("events could not be listened to"))?;
        Ok(Self { session, events })
    }
}

#[async_trait]
impl Listening for AmqpListening {
    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            heard = self.events.next() => heard?.ok().map(|heard| heard.data.into()),
            () = self.session.ended() => None,
        }
    }
}

impl Drop for AmqpListening {
    fn drop(&mut self) {
        self.session.end("the listener is gone");
    }
}
