//! Reads the journal, a stream, from its begin to where it ended when the reading began.
//!
//! Nothing is ever taken from a stream, so that nothing is held and nothing goes back. Its end cannot be asked for
//! exactly: the reading writes a mark behind everything that is there, and ends when it comes by.

use super::errors::{asked, unreachable};
use super::letters::lane_of;
use super::publisher::Publisher;
use super::session::Session;
use super::wire;
use crate::error::Fault;
use crate::letters::{Letter, Reading};
use crate::world::World;
use async_trait::async_trait;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Consumer};
use longshore_model::names::BrokerNames;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Entries that are under way at once.
const PREFETCH: u16 = 500;

/// One reading.
pub(super) struct JournalReading {
    session: Arc<Session>,
    names: BrokerNames,
    world: World,
    /// Longest wait for one entry.
    patience: Duration,
    entries: Consumer,
    /// The message id of the mark.
    mark: String,
    shown: u64,
    over: bool,
}

impl fmt::Debug for JournalReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalReading").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl JournalReading {
    /// Begins with a session that nobody else uses.
    pub(super) async fn start(
        session: Arc<Session>,
        names: BrokerNames,
        publisher: &Publisher,
        world: World,
        patience: Duration,
    ) -> Result<Self, Fault> {
        let mark = format!("mark-{:016x}", world.random.next());
        let properties = BasicProperties::default().with_message_id(wire::short(&mark));
        publisher.publish_raw(&names.journal(), "", &[], wire::again(properties)).await?;
        let consume = async {
            let channel = session.channel().await?;
            channel.basic_qos(PREFETCH, BasicQosOptions { global: false }).await?;
            let mut arguments = FieldTable::default();
            arguments.insert(wire::short("x-stream-offset"), AMQPValue::LongString("first".as_bytes().into()));
            let queue = wire::short(&names.journal());
            channel.basic_consume(queue, wire::short(""), BasicConsumeOptions::default(), arguments).await
        };
        let late = || Err(unreachable(format!("read the journal: no answer within {patience:?}")));
        let begun = world.clock.timeout(patience, consume).await;
        let begun = begun.map_or_else(late, |begun| begun.map_err(|error| asked("read the journal", &error)));
        let entries = begun.inspect_err(|_| session.end("the journal could not be read"))?;
        Ok(Self { session, names, world, patience, entries, mark, shown: 0, over: false })
    }
}

#[async_trait]
impl Reading for JournalReading {
    async fn next(&mut self) -> Result<Option<Letter>, Fault> {
        if self.over {
            return Ok(None);
        }
        let found = match self.world.clock.timeout(self.patience, self.entries.next()).await {
            Some(Some(Ok(found))) => found,
            Some(Some(Err(error))) => return Err(asked("read the journal", &error)),
            Some(None) => return Err(unreachable("the broker ended the reading of the journal")),
            None => return Err(unreachable(format!("read the journal: nothing within {:?}", self.patience))),
        };
        // It makes room for the next; the entry stays.
        if let Err(error) = found.acker.ack(BasicAckOptions::default()).await {
            return Err(asked("read the journal", &error));
        }
        let message_id = found.properties.message_id().as_ref().map(ToString::to_string);
        if message_id.as_deref() == Some(self.mark.as_str()) {
            self.over = true;
            return Ok(None);
        }
        self.shown += 1;
        let headers = wire::read(&found.properties);
        let lane = lane_of(&self.names, &found);
        let name = Letter::name(message_id.as_deref(), &headers, lane.as_ref(), &found.data);
        let (number, start) = (self.shown, wire::start(&found.properties));
        Ok(Some(Letter { number, name, message_id, headers, body: found.data.into(), lane, start, evicted: None }))
    }

    async fn remove(&mut self, _number: u64) -> Result<(), Fault> {
        Err(super::errors::refused("nothing can be removed from the journal: it forgets by age and size"))
    }

    async fn close(self: Box<Self>) -> Result<(), Fault> {
        self.session.close("closed by this process").await;
        Ok(())
    }
}

impl Drop for JournalReading {
    fn drop(&mut self) {
        self.session.end("dropped by this process");
    }
}
