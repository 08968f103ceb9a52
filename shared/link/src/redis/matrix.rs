//! The topic matrix on Redis: reading rows and exchanging them. Nothing here understands what a row says.

use super::args;
use super::connection::Repeat;
use super::reply::{self, Items};
use super::server::Server;
use crate::error::{Fault, too_many};
use crate::store::RowChange;
use longshore_model::id::InstanceId;
use longshore_model::limits;
use longshore_model::names::meta_keys;
use longshore_model::topology::matrix::{KeptRow, Row};
use std::collections::BTreeMap;

/// A row as it is kept: its revision, a space, and JSON.
fn kept(text: &str) -> Result<KeptRow, Fault> {
    let parts = text.split_once(' ');
    let read = parts.and_then(|(revision, row)| read(revision.parse().ok()?, row));
    read.ok_or_else(|| reply::unexpected("a row of the matrix"))
}

fn read(revision: u64, row: &str) -> Option<KeptRow> {
    Some(KeptRow { revision, row: serde_json::from_str(row).ok()? })
}

pub(super) async fn all(server: &Server) -> Result<BTreeMap<InstanceId, KeptRow>, Fault> {
    let mut cmd = redis::cmd("HGETALL");
    cmd.arg(server.fleet_key(meta_keys::MATRIX));
    let texts: BTreeMap<String, String> =
        redis::from_redis_value(server.connection.command(&cmd).await?).map_err(|_| reply::unexpected("the matrix"))?;
    let mut rows = BTreeMap::new();
    for (instance, text) in texts {
        match kept(&text) {
            Ok(row) => drop(rows.insert(InstanceId(instance), row)),
            Err(fault) => tracing::error!(instance, %fault, "the store holds a row of the matrix that cannot be read"),
        }
    }
    Ok(rows)
}

pub(super) async fn one(server: &Server, instance: &InstanceId) -> Result<Option<KeptRow>, Fault> {
    let mut cmd = redis::cmd("HGET");
    cmd.arg(server.fleet_key(meta_keys::MATRIX)).arg(&instance.0);
    let text: Option<String> = redis::from_redis_value(server.connection.command(&cmd).await?)
        .map_err(|_| reply::unexpected("a row of the matrix"))?;
    text.as_deref().map(kept).transpose()
}

pub(super) async fn set(server: &Server, instance: &InstanceId, after: u64, row: &Row) -> Result<RowChange, Fault> {
    let text = args::json(row)?;
    let script = &server.scripts.matrix;
    let mut cmd = server.fleet_call(script);
    cmd.arg(&instance.0).arg(after).arg(text);
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    let done = answer.number()?;
    if done == 2 {
        return Err(too_many("rows of the matrix", limits::ROWS));
    }
    let (revision, text) = (answer.number()?, answer.text()?);
    let now = if revision == 0 { None } else { Some(read(revision, &text)) };
    let now = now.map(|row| row.ok_or_else(|| reply::unexpected("a row of the matrix"))).transpose()?;
    Ok(if done == 1 { RowChange::Done(now.unwrap_or_default()) } else { RowChange::Differs(now) })
}
