//! One session of consuming: lanes spread over channels, their deliveries merged into one stream.
//!
//! What is buffered here is bounded by the lanes' prefetch and by nothing else: the broker sends no more. A lane
//! that is removed still yields through [`Consumption::next`] what had been delivered before, so that the caller
//! can settle it; the broker would otherwise hold it for this session until its end.

use super::errors::{Said, refused, said, text, unknown, unreachable};
use super::publisher::Publisher;
use super::session::Session;
use super::settler::AmqpSettler;
use super::topology::Topology;
use super::wire;
use crate::broker::{Consumption, Delivery, Intake, Settler, Tag};
use crate::error::Fault;
use crate::world::World;
use async_trait::async_trait;
use futures_util::stream::SelectAll;
use futures_util::{Stream, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use longshore_model::lane::Lane;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Most lanes on one channel: what closes a channel (a delivery held too long) costs all of its lanes.
const LANES_PER_CHANNEL: usize = 64;
/// How often closing looks whether the last acknowledgements are written, and how many times.
const REST_LOOK: Duration = Duration::from_millis(5);
const REST_LOOKS: u32 = 200;

/// One session of consuming.
#[derive(Debug)]
pub(super) struct AmqpConsumption {
    // What never changes.
    session: Arc<Session>,
    topology: Arc<Topology>,
    publisher: Arc<Publisher>,
    settler: Arc<AmqpSettler>,
    world: World,
    /// Deadline of one call.
    patience: Duration,
    /// Begins every nonce of this session.
    nonce: String,

    // Changed by the one who holds it.
    lanes: HashMap<Lane, Registered>,
    pipes: Vec<Pipe>,
    streams: SelectAll<LaneStream>,
    /// Numbers channels and consumers, never twice.
    counter: u32,
}

/// A lane's consumer.
#[derive(Debug)]
struct Registered {
    consumer: u32,
    pipe: u32,
    prefetch: u16,
}

/// An open channel.
#[derive(Debug)]
struct Pipe {
    number: u32,
    channel: Channel,
}

impl AmqpConsumption {
    pub(super) fn new(
        session: Arc<Session>,
        topology: Arc<Topology>,
        publisher: Arc<Publisher>,
        world: World,
        patience: Duration,
    ) -> Self {
        let settler = AmqpSettler::new(Arc::clone(&session));
        let nonce = format!("{:016x}", world.random.next());
        Self {
            session,
            topology,
            publisher,
            settler,
            world,
            patience,
            nonce,
            lanes: HashMap::new(),
            pipes: Vec::new(),
            streams: SelectAll::new(),
            counter: 0,
        }
    }

    fn count(&mut self) -> u32 {
        self.counter += 1;
        self.counter
    }

    /// A call on the session with its deadline.
    async fn call<T>(&self, what: &str, call: impl Future<Output = lapin::Result<T>>) -> Result<T, Fault> {
        match self.world.clock.timeout(self.patience, call).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) if said(&error) == Said::Forbidden => {
                Err(refused(format!("{what}: {}; give the user the right to read it", text(&error))))
            }
            Some(Err(error)) if self.session.is_live() => Err(unknown(format!("{what}: {}", text(&error)))),
            Some(Err(_)) => Err(unreachable(format!("{what}: the session ended: {}", self.session.why()))),
            None => Err(unknown(format!("{what}: no answer within {:?}", self.patience))),
        }
    }

    /// A channel with room for one more lane.
    async fn pipe(&mut self) -> Result<(u32, Channel), Fault> {
        self.drop_dead_pipes();
        for pipe in &self.pipes {
            let taken = self.lanes.values().filter(|lane| lane.pipe == pipe.number).count();
            if taken < LANES_PER_CHANNEL {
                return Ok((pipe.number, pipe.channel.clone()));
            }
        }
        let channel = self.call("open a channel", self.session.channel()).await?;
        let number = self.count();
        self.settler.open(number, channel.clone(), &self.world);
        self.pipes.push(Pipe { number, channel: channel.clone() });
        Ok((number, channel))
    }

    fn drop_dead_pipes(&mut self) {
        let settler = &self.settler;
        self.pipes.retain(|pipe| {
            let live = pipe.channel.status().connected();
            if !live {
                settler.shut(pipe.number);
            }
            live
        });
    }

    async fn register(&mut self, lane: &Lane, prefetch: u16) -> Result<(), Fault> {
        self.topology.ensure(&self.session, &[lane]).await?;
        let (pipe, channel) = self.pipe().await?;
        let consumer = self.count();
        let (queue, tag) = (self.topology.names.lane(lane), consumer_tag(consumer));
        let consume = async {
            // It counts for the consumers that are registered after it, each for itself.
            channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
            let options = BasicConsumeOptions::default();
            channel.basic_consume(wire::short(&queue), wire::short(&tag), options, FieldTable::default()).await
        };
        let what = format!("consume `{queue}`");
        let stream = self.call(&what, consume).await.inspect_err(|_| {
            // It may be gone since it was declared.
            self.session.known.forget(lane);
        })?;
        self.lanes.insert(lane.clone(), Registered { consumer, pipe, prefetch });
        let beside = self.lanes.values().filter(|lane| lane.pipe == pipe);
        self.settler.allow(pipe, beside.map(|lane| lane.prefetch).fold(prefetch, u16::min));
        self.streams.push(LaneStream { lane: lane.clone(), consumer, pipe, stream: Some(stream) });
        Ok(())
    }

    /// What a lane's end means; `None` when it was asked for.
    fn lost(&mut self, lane: Lane, consumer: u32, why: String) -> Option<Intake> {
        if self.lanes.get(&lane).is_none_or(|registered| registered.consumer != consumer) {
            return None;
        }
        self.lanes.remove(&lane);
        self.drop_dead_pipes();
        // The queue may be gone: whoever needs the lane next declares it afresh.
        self.session.known.forget(&lane);
        if let Some(publishing) = self.publisher.session_now() {
            publishing.known.forget(&lane);
        }
        tracing::warn!(%lane, why, "lost a lane's consumer");
        Some(Intake::LaneLost { lane, why })
    }

    fn delivery(&self, lane: Lane, pipe: u32, delivery: lapin::message::Delivery) -> Delivery {
        let number = delivery.delivery_tag;
        Delivery {
            lane,
            tag: Tag { session: self.session.number, channel: pipe, number },
            nonce: format!("{}-{pipe}-{number}", self.nonce),
            message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
            headers: wire::read(&delivery.properties),
            body: delivery.data.into(),
            redelivered: delivery.redelivered,
        }
    }
}

fn consumer_tag(consumer: u32) -> String {
    format!("longshore-{consumer}")
}

#[async_trait]
impl Consumption for AmqpConsumption {
    async fn next(&mut self) -> Intake {
        loop {
            let seen = tokio::select! {
                biased;
                () = self.session.ended() => return Intake::Ended { why: self.session.why() },
                Some(seen) = self.streams.next(), if !self.streams.is_empty() => seen,
            };
            match seen.what {
                Ok(delivery) => return Intake::Delivery(self.delivery(seen.lane, seen.pipe, delivery)),
                // The connection's end is seen here before its event arrives.
                Err(why) if !self.session.is_live() => self.session.end(why),
                Err(why) => {
                    if let Some(lost) = self.lost(seen.lane, seen.consumer, why) {
                        return lost;
                    }
                }
            }
        }
    }

    async fn add(&mut self, lane: &Lane, prefetch: u16) -> Result<(), Fault> {
        // None would mean all that there is.
        let prefetch = prefetch.max(1);
        if !self.session.is_live() {
            return Err(unreachable(format!("the session ended: {}", self.session.why())));
        }
        match self.lanes.get(lane) {
            Some(registered) if registered.prefetch == prefetch => return Ok(()),
            Some(_) => self.remove(lane).await?,
            None => {}
        }
        self.register(lane, prefetch).await
    }

    async fn remove(&mut self, lane: &Lane) -> Result<(), Fault> {
        let Some(registered) = self.lanes.remove(lane) else { return Ok(()) };
        let Some(pipe) = self.pipes.iter().find(|pipe| pipe.number == registered.pipe) else { return Ok(()) };
        let channel = pipe.channel.clone();
        if !channel.status().connected() {
            return Ok(());
        }
        let tag = wire::short(&consumer_tag(registered.consumer));
        let cancel = channel.basic_cancel(tag, BasicCancelOptions::default());
        let done = self.call(&format!("stop consuming {lane}"), cancel).await;
        if done.is_err() && channel.status().connected() {
            // Still registered, for all we know.
            self.lanes.insert(lane.clone(), registered);
        }
        done
    }

    fn lanes(&self) -> Vec<Lane> {
        if self.session.is_live() { self.lanes.keys().cloned().collect() } else { Vec::new() }
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::clone(&self.settler) as Arc<dyn Settler>
    }

    async fn close(&mut self) {
        // First no more deliveries: what the broker has sent meanwhile would count as a return.
        let lanes: Vec<_> = self.lanes.keys().cloned().collect();
        for lane in lanes {
            if !self.session.is_live() || self.remove(&lane).await.is_err() {
                break;
            }
        }
        for _ in 0..REST_LOOKS {
            if !self.session.is_live() || self.settler.is_at_rest() {
                break;
            }
            self.world.clock.sleep(REST_LOOK).await;
        }
        self.lanes.clear();
        self.session.close("closed by this process").await;
    }
}

impl Drop for AmqpConsumption {
    fn drop(&mut self) {
        self.session.end("dropped by this process");
    }
}

/// What a lane's stream yields: a delivery, or the reason of its end.
struct Seen {
    lane: Lane,
    consumer: u32,
    pipe: u32,
    what: Result<lapin::message::Delivery, String>,
}

/// A consumer's deliveries, and after them exactly one end with its reason.
#[derive(Debug)]
struct LaneStream {
    lane: Lane,
    consumer: u32,
    pipe: u32,
    stream: Option<Consumer>,
}

impl Stream for LaneStream {
    type Item = Seen;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Seen>> {
        let this = &mut *self;
        let Some(stream) = &mut this.stream else { return Poll::Ready(None) };
        let Poll::Ready(next) = stream.poll_next_unpin(context) else { return Poll::Pending };
        let what = match next {
            Some(answer) => answer.map_err(|error| text(&error)),
            None => Err("the broker cancelled the consumer: its queue was deleted or has lost its leader".to_owned()),
        };
        if what.is_err() {
            this.stream = None;
        }
        Poll::Ready(Some(Seen { lane: this.lane.clone(), consumer: this.consumer, pipe: this.pipe, what }))
    }
}
