//! The yardstick: the least that a job system on lapin and redis must do for a job, done as fast as we know how.
//!
//! A job is a record in Redis (hash, index by state, lease) and a persistent message in a quorum queue. It is claimed
//! before it runs, finished after it, and acknowledged last; enqueues are confirmed. Left out is all that makes a
//! system of it: retries, outbox, queues with policies, limits, reconnection, stale views. A change that makes
//! Longshore slower than a fixed share of this is a regression; quote only ratios of figures from one run.
//!
//! What makes it fast: every stage takes whatever has arrived while its last call was under way (at most [`BATCH`])
//! into one call, with no timers, so an idle system adds no delay and a busy one batches by itself; acknowledgements
//! cover runs of deliveries.
//!
//! Each measurement has a lane of its own, which it deletes, and leaves its records: give it a Redis to throw away.

mod enqueue;
mod figures;
mod process;
mod record;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};

pub use self::figures::{Figures, Plan, measure};
pub use self::record::Records;
use crate::services::namespace;

/// Most jobs in one call to the store.
pub const BATCH: usize = 100;
/// Most published messages that wait for their confirm when enqueueing in bulk.
const WINDOW: usize = 1_000;
/// Deliveries that the broker may send ahead: three batches under way at once.
const PREFETCH: u16 = 300;

/// What went wrong, in the words of lapin or redis; a measurement that failed has no figures.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// One lane and its records, on a broker and a store.
#[derive(Debug)]
pub struct Baseline {
    broker_url: String,
    lane: String,
    records: Records,
    channel: Channel,
    // Closes when dropped, with the publisher's channel.
    _connection: Connection,
}

impl Baseline {
    /// Connects and declares an empty lane with a name of its own.
    ///
    /// # Errors
    /// When the broker or the store cannot be reached or refuses.
    pub async fn connect(broker_url: &str, store_url: &str) -> Result<Self, Error> {
        let lane = namespace("baseline");
        let connection = Connection::connect(broker_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(lane.as_str().into(), options, arguments).await?;
        let records = Records::connect(store_url, &lane).await?;
        Ok(Self { broker_url: broker_url.to_owned(), lane, records, channel, _connection: connection })
    }

    /// The records of this lane.
    #[must_use]
    pub fn records(&self) -> Records {
        self.records.clone()
    }

    /// Deletes the lane; the records stay.
    ///
    /// # Errors
    /// When the broker is gone.
    pub async fn close(self) -> Result<(), Error> {
        self.channel.queue_delete(self.lane.as_str().into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    /// Writes one message to the socket; the returned future is its confirm.
    async fn publish(&self, id: &str, payload: &[u8]) -> Result<PublisherConfirm, lapin::Error> {
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.into())
            .with_type("baseline".into())
            .with_content_type("application/json".into());
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        self.channel.basic_publish("".into(), self.lane.as_str().into(), options, payload, properties).await
    }
}

/// A confirm that says anything but "taken" is a failed measurement.
fn confirmed(confirmation: &lapin::Confirmation) -> Result<(), Error> {
    match confirmation {
        lapin::Confirmation::Ack(None) => Ok(()),
        other => Err(format!("a publish was not taken: {other:?}").into()),
    }
}
