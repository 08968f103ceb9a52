//! Nudges: a subscription on a connection of its own, kept alive by pings and made anew when it breaks.
//!
//! A nudge is a hint. Whenever some may have been lost, listeners get [`Nudge::Missed`] and read the
//! state instead.

use super::connection::Address;
use crate::error::Fault;
use crate::store::Nudge;
use crate::world::World;
use longshore_model::topology::asking::QuestionId;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

/// Time between two pings: how long a dead connection can go unnoticed, beside the deadline of the ping itself.
const PING: Duration = Duration::from_secs(2);
/// Longest rest between two attempts to subscribe again.
const REST: Duration = Duration::from_millis(1_000);

/// What is listened to, and who hears of it.
pub(super) struct Listener {
    pub(super) address: Address,
    pub(super) fleet: String,
    pub(super) outcomes: String,
    pub(super) heard: broadcast::Sender<Nudge>,
    pub(super) interest_changes: Arc<AtomicU64>,
    pub(super) world: World,
    pub(super) over: CancellationToken,
}

/// A subscription that works.
struct Subscription {
    connection: MultiplexedConnection,
    pushes: mpsc::UnboundedReceiver<PushInfo>,
}

impl Listener {
    /// Subscribes, then starts the task that listens until the store is dropped.
    pub(super) async fn start(self) -> Result<(), Fault> {
        let first = self.subscribe().await?;
        let tasks = self.world.tasks.clone();
        drop(tasks.spawn(async move {
            let over = self.over.clone();
            tokio::select! {
                () = over.cancelled() => {}
                () = self.listen(first) => {}
            }
        }));
        Ok(())
    }

    async fn subscribe(&self) -> Result<Subscription, Fault> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let mut connection = self.address.open(Some(sender)).await?;
        let subscribed = connection.subscribe(&[&self.fleet, &self.outcomes]).await;
        subscribed.map_err(|error| super::fault::of_call(&error).fault)?;
        Ok(Subscription { connection, pushes })
    }

    async fn listen(&self, mut subscription: Subscription) {
        loop {
            self.hear(subscription).await;
            tracing::warn!("the store's nudges are interrupted; waiting is slower until they are back");
            let mut rest = Duration::from_millis(100);
            subscription = loop {
                match self.subscribe().await {
                    Ok(subscription) => break subscription,
                    Err(fault) => tracing::debug!(%fault, "the store's nudges are not back yet"),
                }
                self.world.clock.sleep(self.world.random.jitter(rest)).await;
                rest = (rest * 2).min(REST);
            };
            self.tell(Nudge::Missed);
        }
    }

    /// Passes nudges on until the connection breaks.
    async fn hear(&self, subscription: Subscription) {
        let Subscription { mut connection, mut pushes } = subscription;
        loop {
            match self.world.clock.timeout(PING, pushes.recv()).await {
                Some(Some(push)) if push.kind == PushKind::Disconnection => return,
                Some(Some(push)) => {
                    if let Some(nudge) = self.read(&push) {
                        self.tell(nudge);
                    }
                }
                Some(None) => return,
                // Nothing for a while: is anybody there?
                None => {
                    let pong: redis::RedisResult<Value> = redis::cmd("PING").query_async(&mut connection).await;
                    if pong.is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn read(&self, push: &PushInfo) -> Option<Nudge> {
        if push.kind != PushKind::Message {
            return None;
        }
        let text = |index: usize| match push.data.get(index) {
            Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).ok(),
            Some(Value::SimpleString(text)) => Some(text.as_str()),
            _ => None,
        };
        parse(text(0)? == self.outcomes, text(1)?)
    }

    fn tell(&self, nudge: Nudge) {
        if matches!(nudge, Nudge::Interests | Nudge::Missed) {
            self.interest_changes.fetch_add(1, Ordering::Relaxed);
        }
        // Fails when nobody listens, which is nobody's loss.
        let _ = self.heard.send(nudge);
    }
}

fn parse(outcome: bool, text: &str) -> Option<Nudge> {
    if outcome {
        if let Some(id) = text.strip_prefix('?') {
            return Some(Nudge::Answered(QuestionId(id.to_owned())));
        }
        return match text.strip_prefix('~') {
            Some(id) => id.parse().ok().map(Nudge::Changed),
            None => text.parse().ok().map(Nudge::Ended),
        };
    }
    match text {
        "topics" => Some(Nudge::Topics),
        "due" => Some(Nudge::Due),
        "relay" => Some(Nudge::Relay),
        "queues" => Some(Nudge::Queues),
        "schedules" => Some(Nudge::Schedules),
        "view" => Some(Nudge::View),
        "interests" => Some(Nudge::Interests),
        "matrix" => Some(Nudge::Matrix),
        "seal" => Some(Nudge::Seal),
        "questions" => Some(Nudge::Questions),
        _ => text.strip_prefix("stop ")?.parse().ok().map(Nudge::Stop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nudges_read_as_they_are_written() {
        let id = "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00";
        assert_eq!(parse(false, "topics"), Some(Nudge::Topics));
        assert_eq!(parse(false, "due"), Some(Nudge::Due));
        assert_eq!(parse(false, "relay"), Some(Nudge::Relay));
        assert_eq!(parse(false, "schedules"), Some(Nudge::Schedules));
        assert_eq!(parse(false, "view"), Some(Nudge::View));
        assert_eq!(parse(false, "interests"), Some(Nudge::Interests));
        assert_eq!(parse(false, "matrix"), Some(Nudge::Matrix));
        assert_eq!(parse(false, "seal"), Some(Nudge::Seal));
        assert_eq!(parse(false, "questions"), Some(Nudge::Questions));
        assert_eq!(parse(true, &format!("?{id}")), Some(Nudge::Answered(QuestionId(id.to_owned()))));
        assert_eq!(parse(false, &format!("stop {id}")), Some(Nudge::Stop(id.parse().unwrap())));
        assert_eq!(parse(true, id), Some(Nudge::Ended(id.parse().unwrap())));
        assert_eq!(parse(true, &format!("~{id}")), Some(Nudge::Changed(id.parse().unwrap())));
        assert_eq!(parse(false, "of a newer version"), None);
        assert_eq!(parse(true, "nonsense"), None);
    }
}
