//! Scrubbing: one bounded step, and what all steps have mended so far.

use super::connection::Repeat;
use super::reply::{Items, unexpected};
use super::server::Server;
use crate::error::Fault;
use crate::scrub::{Mended, Scrubbed, Scrubbing};
use longshore_model::names::shard_keys;
use std::collections::BTreeMap;

pub(super) async fn step(server: &Server, limit: usize) -> Result<Scrubbed, Fault> {
    let script = &server.scripts.scrub;
    let mut cmd = server.call(script);
    cmd.arg(limit);
    // Repeated, it goes on: what the lost answer would have told is in the sums all the same.
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    let (looked, round) = (answer.number()?, answer.flag()?);
    let (indexes, entries) = (answer.number()?, answer.number()?);
    let mended = Mended { indexes, entries, keys: answer.number()?, holders: answer.number()? };
    Ok(Scrubbed { looked, round, mended })
}

pub(super) async fn so_far(server: &Server) -> Result<Scrubbing, Fault> {
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(server.key(shard_keys::SCRUB));
    let value = server.connection.command(&cmd).await?;
    let kept: BTreeMap<String, String> = redis::from_redis_value(value).map_err(|_| unexpected("HGETALL"))?;
    let number = |name: &str| kept.get(name).and_then(|text| text.parse().ok());
    let count = |name: &str| number(name).unwrap_or_default();
    let [indexes, entries, keys, holders] = ["indexes", "entries", "keys", "holders"].map(count);
    let mended = Mended { indexes, entries, keys, holders };
    Ok(Scrubbing { rounds: count("rounds"), last_round: number("round"), mended, last_mended: number("mended") })
}
