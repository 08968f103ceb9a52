//! Reads letters one by one over a connection of its own, and holds them until they are removed or the reading ends.
//!
//! The connection is not the publishing one, because a broker that blocks publishers reads no requests from that. A
//! letter that was not removed is unsettled at the end of its channel and goes back: quorum queues with a delivery limit
//! deliver what came back before all else, in the order in which it came back.

use super::errors::{asked, unreachable};
use super::letters::lane_of;
use super::session::Session;
use super::wire;
use crate::error::Fault;
use crate::letters::{Eviction, Letter, Reading};
use crate::world::World;
use async_trait::async_trait;
use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use longshore_model::names::BrokerNames;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One reading.
pub(super) struct AmqpReading {
    // What never changes.
    session: Arc<Session>,
    channel: Channel,
    queue: String,
    names: BrokerNames,
    /// Most that are shown.
    limit: u64,
    world: World,
    /// Deadline of one call.
    patience: Duration,

    // What is held.
    /// Numbers of the broker, which are good on this channel.
    held: BTreeMap<u64, u64>,
    shown: u64,
}

impl fmt::Debug for AmqpReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpReading").field("queue", &self.queue).field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl AmqpReading {
    /// Begins with a session that nobody else uses.
    pub(super) async fn start(
        session: Arc<Session>,
        names: BrokerNames,
        queue: String,
        limit: u64,
        world: World,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let late = || Err(unreachable(format!("open a channel: no answer within {patience:?}")));
        let open = async { session.channel().await.map_err(|error| asked("open a channel", &error)) };
        match world.clock.timeout(patience, open).await.unwrap_or_else(late) {
            Ok(channel) => {
                Ok(Self { session, channel, queue, names, limit, world, patience, held: BTreeMap::new(), shown: 0 })
            }
            Err(fault) => {
                session.end("its channel did not open");
                Err(fault)
            }
        }
    }

    fn letter(&self, found: BasicGetMessage) -> (Letter, u64) {
        let BasicGetMessage { delivery, .. } = found;
        let headers = wire::read(&delivery.properties);
        let message_id = delivery.properties.message_id().as_ref().map(ToString::to_string);
        // A copy that rested before it got here tells of that as well; only a lane evicts.
        let evicted = wire::death(&delivery.properties)
            .map(|(reason, queue)| Eviction { reason, queue })
            .filter(|eviction| self.queue == self.names.dead() && eviction.queue != self.queue);
        let left = evicted.as_ref().and_then(|eviction| self.names.lane_of(&eviction.queue));
        let lane = left.or_else(|| lane_of(&self.names, &delivery));
        let name = Letter::name(message_id.as_deref(), &headers, lane.as_ref(), &delivery.data);
        let (number, tag) = (self.shown, delivery.delivery_tag);
        (Letter { number, name, message_id, headers, body: delivery.data.into(), lane, start: None, evicted }, tag)
    }
}

#[async_trait]
impl Reading for AmqpReading {
    async fn next(&mut self) -> Result<Option<Letter>, Fault> {
        if self.shown >= self.limit {
            return Ok(None);
        }
        let get = self.channel.basic_get(wire::short(&self.queue), BasicGetOptions::default());
        let what = format!("read `{}`", self.queue);
        match self.world.clock.timeout(self.patience, get).await {
            Some(Ok(Some(found))) => {
                self.shown += 1;
                let (letter, tag) = self.letter(found);
                self.held.insert(self.shown, tag);
                Ok(Some(letter))
            }
            Some(Ok(None)) => Ok(None),
            Some(Err(error)) => Err(asked(&what, &error)),
            None => Err(unreachable(format!("{what}: no answer within {:?}", self.patience))),
        }
    }

    async fn remove(&mut self, number: u64) -> Result<(), Fault> {
        let Some(tag) = self.held.remove(&number) else { return Ok(()) };
        let ack = self.channel.basic_ack(tag, BasicAckOptions::default());
        match self.world.clock.timeout(self.patience, ack).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(asked("remove a letter", &error)),
            None => Err(unreachable(format!("remove a letter: not sent within {:?}", self.patience))),
        }
    }

    async fn close(self: Box<Self>) -> Result<(), Fault> {
        // The answer comes after everything that was sent on the channel before it.
        let close = self.channel.close(200, "read".into());
        let closed = match self.world.clock.timeout(self.patience, close).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(asked("end the reading", &error)),
            None => Err(unreachable(format!("end the reading: no answer within {:?}", self.patience))),
        };
        self.session.close("closed by this process").await;
        closed
    }
}

impl Drop for AmqpReading {
    fn drop(&mut self) {
        self.session.end("dropped by this process");
    }
}
