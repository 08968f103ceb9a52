//! Limits and pauses on Redis: setting them, and reading how they stand. What they do to jobs is in `lua/gates.lua`.

use super::args;
use super::connection::Repeat;
use super::reply::{self, Items};
use super::server::Server;
use crate::error::{Fault, too_many};
use crate::store::{KeyState, LimitState, PauseOrder, PauseState, QueueSet};
use longshore_model::gate::{GateName, LimitPolicy, Pausable, QUEUE_LIMIT};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::names::shard_keys;
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) async fn set_limit(server: &Server, name: &str, policy: Option<&LimitPolicy>) -> Result<(), Fault> {
    let script = &server.scripts.limit;
    let text = policy.map(args::json).transpose()?;
    let mut cmd = server.call(script);
    cmd.arg(name).arg(text.unwrap_or_default());
    match Items::of(server.run(script, &cmd, Repeat::Safe).await?)?.text()?.as_str() {
        "ok" => Ok(()),
        _ => Err(too_many("limits", limits::LIMITS)),
    }
}

pub(super) async fn limits(server: &Server) -> Result<Vec<LimitState>, Fault> {
    let script = &server.scripts.limits;
    let cmd = server.call(script);
    let answers = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    let mut all = answers.each(|mut limit| {
        let (name, policy) = (limit.text()?, limit.text()?);
        let policy = serde_json::from_str(&policy).map_err(|_| reply::unexpected("a limit cannot be read"))?;
        let keys = limit.number()?;
        let key = |mut key: Items| Ok(KeyState { key: key.text()?, passed: key.number()?, waiting: key.number()? });
        Ok(LimitState { name, policy, keys, shown: limit.items()?.each(key)? })
    })?;
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

pub(super) async fn head(server: &Server, order: &GateName) -> Result<Option<JobId>, Fault> {
    let mut cmd = redis::cmd("ZRANGE");
    cmd.arg(server.key(&format!("{}{order}", shard_keys::HOLDERS))).arg(0).arg(0);
    let ids: Vec<String> =
        redis::from_redis_value(server.connection.command(&cmd).await?).map_err(|_| reply::unexpected("an order"))?;
    ids.first().map(|id| id.parse().map_err(|_| reply::unexpected("the holder of an order"))).transpose()
}

pub(super) async fn set_pause(server: &Server, what: &Pausable, order: Option<&PauseOrder>) -> Result<bool, Fault> {
    let script = &server.scripts.pause;
    let mut cmd = server.call(script);
    cmd.arg(what.to_string()).arg(u8::from(order.is_some()));
    if let Some(PauseOrder { by, why, until }) = order {
        cmd.arg(by).arg(why).arg(until.unwrap_or(0));
    }
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    match answer.text()?.as_str() {
        "ok" => answer.flag(),
        _ => Err(too_many("pauses", limits::PAUSES)),
    }
}

/// A pause as it is kept.
#[derive(Deserialize)]
struct Kept {
    #[serde(flatten)]
    order: PauseOrder,
    since: u64,
}

pub(super) async fn pauses(server: &Server) -> Result<Vec<PauseState>, Fault> {
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(server.key(shard_keys::PAUSES));
    let kept: BTreeMap<String, String> =
        redis::from_redis_value(server.connection.command(&cmd).await?).map_err(|_| reply::unexpected("the pauses"))?;
    let mut pauses = Vec::with_capacity(kept.len());
    for (what, text) in kept {
        let (Ok(what), Ok(pause)) = (what.parse::<Pausable>(), serde_json::from_str::<Kept>(&text)) else {
            tracing::error!(what, "the store holds a pause that cannot be read");
            continue;
        };
        let mut cmd = redis::cmd("ZCARD");
        cmd.arg(server.key(&format!("{}{}\n", shard_keys::WAITERS, GateName::pause(&what))));
        let waiting = redis::from_redis_value(server.connection.command(&cmd).await?)
            .map_err(|_| reply::unexpected("the waiting jobs of a pause"))?;
        pauses.push(PauseState { what, order: pause.order, since: pause.since, waiting });
    }
    pauses.sort_by(|a, b| a.what.cmp(&b.what));
    Ok(pauses)
}

pub(super) fn queue_set(text: &str) -> Result<QueueSet, Fault> {
    serde_json::from_str(text).map_err(|_| reply::unexpected("the queues cannot be read"))
}

pub(super) async fn past_queues(server: &Server) -> Result<Vec<QueueSet>, Fault> {
    let mut cmd = redis::cmd("LRANGE");
    cmd.arg(server.key(shard_keys::PAST_QUEUES)).arg(0).arg(-1);
    let texts: Vec<String> = redis::from_redis_value(server.connection.command(&cmd).await?)
        .map_err(|_| reply::unexpected("the queues before these"))?;
    texts.iter().map(|text| queue_set(text)).collect()
}

pub(super) async fn set_queues(
    server: &Server,
    after: u64,
    by: &str,
    text: &str,
    limits: &[(String, LimitPolicy)],
) -> Result<QueueSet, Fault> {
    let script = &server.scripts.queues;
    let mut cmd = server.call(script);
    cmd.arg(after).arg(by).arg(text).arg(QUEUE_LIMIT).arg(limits.len());
    for (name, policy) in limits {
        cmd.arg(name).arg(args::json(policy)?);
    }
    // Not repeated by itself: a repetition could not be told from somebody else's change.
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Never).await?)?;
    Ok(QueueSet { version: answer.number()?, by: answer.text()?, at: answer.number()?, text: answer.text()? })
}
