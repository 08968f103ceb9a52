//! The audit record on Redis.

use super::args;
use super::connection::Repeat;
use super::reply;
use super::server::Server;
use crate::error::Fault;
use longshore_model::audit::{Deed, Entry};
use longshore_model::names::shard_keys;

pub(super) async fn record(server: &Server, deed: &Deed) -> Result<(), Fault> {
    let script = &server.scripts.audit;
    let text = args::json(deed)?;
    let mut cmd = server.call(script);
    cmd.arg(text).arg(&deed.run).arg(&deed.action).arg(&deed.of).arg(2 * deed.counts.len());
    for (name, count) in &deed.counts {
        cmd.arg(name).arg(*count);
    }
    // A repetition would count twice.
    server.run(script, &cmd, Repeat::Never).await.map(drop)
}

pub(super) async fn read(server: &Server, limit: usize) -> Result<Vec<Entry>, Fault> {
    let Some(last) = limit.checked_sub(1) else { return Ok(Vec::new()) };
    let mut cmd = redis::cmd("LRANGE");
    cmd.arg(server.key(shard_keys::AUDIT)).arg(0).arg(last);
    let texts: Vec<String> = redis::from_redis_value(server.connection.command(&cmd).await?)
        .map_err(|_| reply::unexpected("the audit record"))?;
    let read = |text: &String| {
        let entry = serde_json::from_str(text);
        entry.map_err(|error| tracing::error!(%error, "the store holds an audit entry that cannot be read")).ok()
    };
    Ok(texts.iter().filter_map(read).collect())
}
