//! Statistics on Redis: reading what the scripts count (`lua/counting.lua`), and beginning anew.

use super::connection::Repeat;
use super::ledger::{self, ACCEPTED};
use super::reply::{self, Items};
use super::server::Server;
use crate::error::Fault;
use longshore_model::limits;
use longshore_model::names::shard_keys;
use longshore_model::record::State;
use longshore_model::statistics::{Activity, Part, Selection, Statistics};
use longshore_model::topic::Topic;
use std::collections::BTreeMap;

/// Topic and queue, space between, as the scripts write it.
fn place_of(topic: &Topic, queue: &str) -> String {
    format!("{topic} {queue}")
}

pub(super) async fn read(server: &Server) -> Result<Statistics, Fault> {
    let script = &server.scripts.statistics;
    let mut answer = Items::of(server.run(script, &server.call(script), Repeat::Safe).await?)?;
    let now = answer.number()?;
    let mut parts: BTreeMap<(Topic, String), Part> = BTreeMap::new();
    for (name, count) in ledger::numbers(answer.items()?)? {
        let Some((kind, topic, queue)) = ledger::counter(&name) else { continue };
        let part = parts.entry((topic.clone(), queue.to_owned())).or_insert_with(|| Part {
            queue: queue.to_owned(),
            topic,
            accepted: 0,
            now: BTreeMap::new(),
            oldest: None,
            activity: Activity::default(),
        });
        // A counter below zero says that something else wrote to the store; the ledger tells.
        let count = u64::try_from(count).unwrap_or(0);
        match kind.parse::<State>() {
            Ok(state) if count > 0 => {
                part.now.insert(state, count);
            }
            _ if kind == ACCEPTED => part.accepted = count,
            _ => {}
        }
    }
    let counted = answer.items()?.texts()?;
    let oldest = Some(answer.number()?).filter(|since| *since > 0);
    let waits = ledger::numbers(answer.items()?)?;
    let schedules = answer.number()?;
    let mut activities = activities(server, &counted).await?;
    for ((topic, queue), part) in &mut parts {
        let place = place_of(topic, queue);
        part.oldest = waits.get(&place).and_then(|since| u64::try_from(*since).ok());
        part.activity = activities.remove(&place).unwrap_or_default();
    }
    Ok(Statistics { now, parts: parts.into_values().collect(), oldest, schedules })
}

/// What happened in each of these places.
async fn activities(server: &Server, places: &[String]) -> Result<BTreeMap<String, Activity>, Fault> {
    let mut activities = BTreeMap::new();
    for part in places.chunks(limits::BATCH) {
        let mut cmd = redis::cmd("MGET");
        for place in part {
            cmd.arg(server.key(&format!("{}{place}", shard_keys::STATISTICS)));
        }
        let value = server.connection.command(&cmd).await?;
        let texts: Vec<Option<Vec<u8>>> =
            redis::from_redis_value(value).map_err(|_| reply::unexpected("the statistics"))?;
        let read = part.iter().zip(texts).filter_map(|(place, text)| Some((place.clone(), Activity::read(&text?))));
        activities.extend(read);
    }
    Ok(activities)
}

pub(super) async fn reset(server: &Server, selection: &Selection) -> Result<u64, Fault> {
    let mut cmd = redis::cmd("SMEMBERS");
    cmd.arg(server.key(shard_keys::COUNTED));
    let counted: Vec<String> = redis::from_redis_value(server.connection.command(&cmd).await?)
        .map_err(|_| reply::unexpected("the places that have statistics"))?;
    let selected = |place: &String| {
        let Some((topic, queue)) = place.split_once(' ') else { return false };
        Topic::new(topic).is_ok_and(|topic| selection.takes(queue, &topic))
    };
    let places: Vec<String> = counted.into_iter().filter(selected).collect();
    let (script, mut reset) = (&server.scripts.reset_statistics, 0);
    for part in places.chunks(limits::BATCH) {
        let mut cmd = server.call(script);
        cmd.arg(part.len());
        for place in part {
            cmd.arg(place);
        }
        let value = server.run(script, &cmd, Repeat::Safe).await?;
        reset += redis::from_redis_value::<u64>(value).map_err(|_| reply::unexpected("reset_statistics"))?;
    }
    Ok(reset)
}
