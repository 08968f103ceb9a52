//! Brings unrouted messages to lanes that exist by now.
//!
//! Letters are taken one by one on a channel of their own and stay unsettled until their new copy is confirmed, so
//! that nothing is lost at any instant; at worst a message is there twice.

use super::errors::{asked, unreachable};
use super::publisher::Publisher;
use super::session::Session;
use super::topology::Topology;
use super::wire;
use crate::error::Fault;
use crate::world::World;
use futures_util::future::join_all;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use longshore_model::lane::Lane;
use longshore_model::names::BrokerNames;
use longshore_model::topic::Topic;
use std::collections::HashMap;
use std::time::Duration;

/// Bodies held at once, bytes.
const HELD_BYTES: usize = 16 * 1024 * 1024;

/// Moves at most `limit` letters; see [`crate::broker::Broker::reroute`].
pub(super) async fn reroute(
    topology: &Topology,
    publisher: &Publisher,
    session: &Session,
    world: &World,
    patience: Duration,
    limit: usize,
) -> Result<u64, Fault> {
    let unrouted = topology.names.unrouted();
    let channel = session.channel().await.map_err(|error| asked("open a channel", &error))?;
    let (letters, full) = take(&channel, &unrouted, world, patience, limit).await?;

    let mut exists: HashMap<Lane, bool> = HashMap::new();
    let (mut moves, mut rest) = (Vec::new(), Vec::new());
    for letter in letters {
        let Some(lane) = lane_of(&topology.names, &letter) else {
            rest.push(letter);
            continue;
        };
        let found = match exists.get(&lane) {
            Some(found) => *found,
            None => {
                let found = topology.depth(session, &topology.names.lane(&lane)).await?.is_some();
                *exists.entry(lane.clone()).or_insert(found)
            }
        };
        if found { moves.push((letter, topology.names.lane(&lane))) } else { rest.push(letter) }
    }

    let direct = topology.names.direct();
    let moved = move_all(&channel, publisher, moves, |key| (direct.clone(), key)).await;
    if full {
        // There may be more behind these, which a give-back would put in front again for ever: they go to the end.
        let rest = rest.into_iter().map(|letter| (letter, unrouted.clone())).collect();
        drop(move_all(&channel, publisher, rest, |exchange| (exchange, String::new())).await);
    } else {
        let options = BasicNackOptions { multiple: false, requeue: true };
        for letter in rest {
            // When the channel is gone they are back already.
            let _ = letter.acker.nack(options).await;
        }
    }
    let _ = world.clock.timeout(patience, channel.close(200, "done".into())).await;
    moved
}

/// Takes letters until there are none, or enough; says whether it stopped because there were enough.
async fn take(
    channel: &Channel,
    queue: &str,
    world: &World,
    patience: Duration,
    limit: usize,
) -> Result<(Vec<Delivery>, bool), Fault> {
    let (mut letters, mut bytes) = (Vec::new(), 0);
    while letters.len() < limit && bytes < HELD_BYTES {
        let get = channel.basic_get(wire::short(queue), BasicGetOptions::default());
        match world.clock.timeout(patience, get).await {
            Some(Ok(Some(letter))) => {
                bytes += letter.data.len();
                letters.push(letter.delivery);
            }
            Some(Ok(None)) => return Ok((letters, false)),
            Some(Err(error)) => return Err(asked(&format!("take from `{queue}`"), &error)),
            None => return Err(unreachable(format!("take from `{queue}`: no answer within {patience:?}"))),
        }
    }
    Ok((letters, true))
}

/// Publishes each letter to where `target` says, and acknowledges those whose copy is confirmed. The others go back
/// with the channel.
async fn move_all(
    channel: &Channel,
    publisher: &Publisher,
    letters: Vec<(Delivery, String)>,
    target: impl Fn(String) -> (String, String),
) -> Result<u64, Fault> {
    let answers = join_all(letters.into_iter().map(|(letter, to)| {
        let (exchange, key) = target(to);
        let key = if key.is_empty() { letter.routing_key.to_string() } else { key };
        async move {
            let properties = wire::again(letter.properties);
            publisher.publish_raw(&exchange, &key, &letter.data, properties).await?;
            letter.acker.ack(BasicAckOptions::default()).await.map_err(|error| asked("settle a letter", &error))
        }
    }))
    .await;
    let moved = answers.iter().filter(|answer| matches!(answer, Ok(true))).count() as u64;
    match answers.into_iter().find_map(Result::err) {
        Some(fault) if moved == 0 => Err(fault),
        Some(fault) => {
            tracing::warn!(%fault, channel = channel.id(), "some letters could not be moved");
            Ok(moved)
        }
        None => Ok(moved),
    }
}

/// The lane that a letter was meant for: by its routing key, which is a lane's name when it was sent to a lane.
pub(super) fn lane_of(names: &BrokerNames, letter: &Delivery) -> Option<Lane> {
    let key = letter.routing_key.as_str();
    let by_topic = || Topic::from_dotted(key).ok().map(Lane::from);
    if letter.exchange.as_str() == names.jobs() {
        return by_topic();
    }
    names.lane_of(key).or_else(by_topic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_model::names::Namespace;

    #[test]
    fn a_letter_finds_its_lane_by_its_key() {
        let names = BrokerNames::new(Namespace::default());
        let check = |exchange: String, key: &str, lane: Option<&str>| {
            let letter = Delivery::mock(1, exchange.as_str().into(), key.into(), false, Vec::new());
            assert_eq!(lane_of(&names, &letter).map(|lane| lane.to_string()).as_deref(), lane, "{exchange} {key}");
        };
        check(names.jobs(), "media.thumbnail", Some("media/thumbnail"));
        check(names.jobs(), "longshore.lane.a", Some("longshore/lane/a"));
        check(names.direct(), "longshore.lane.a.b", Some("a/b"));
        check(names.direct(), "longshore.high.a.b", Some("a/b (high)"));
        check(names.unrouted(), "longshore.lane.a", Some("a"));
        check(names.unrouted(), "media.thumbnail", Some("media/thumbnail"));
        check(names.jobs(), "not a topic", None);
        check(names.unrouted(), "", None);
    }
}
