//! Who listens to events, and what is kept for them until somebody tells it, on Redis.

use super::connection::Repeat;
use super::reply::Items;
use super::server::Server;
use crate::error::{Fault, too_many};
use crate::store::Untold;
use longshore_model::event::{Interest, Kind};
use longshore_model::limits;

pub(super) async fn set(server: &Server, interests: &[Interest], ms: u64) -> Result<(), Fault> {
    let script = &server.scripts.interest;
    let mut cmd = server.call(script);
    cmd.arg(ms).arg(interests.len());
    for interest in interests {
        cmd.arg(interest.to_string());
    }
    match Items::of(server.run(script, &cmd, Repeat::Safe).await?)?.text()?.as_str() {
        "ok" => Ok(()),
        _ => Err(too_many("interests in events", limits::INTERESTS)),
    }
}

pub(super) async fn read(server: &Server) -> Result<Vec<(Interest, u64)>, Fault> {
    let script = &server.scripts.interests;
    let mut answers = Items::of(server.run(script, &server.call(script), Repeat::Safe).await?)?;
    let mut found = Vec::new();
    while !answers.is_empty() {
        let (interest, left) = (answers.text()?, answers.number()?);
        match interest.parse() {
            Ok(interest) => found.push((interest, left)),
            // Of a newer version.
            Err(why) => tracing::debug!(why, "an interest cannot be read"),
        }
    }
    found.sort_by_key(|(interest, _): &(Interest, u64)| interest.to_string());
    Ok(found)
}

pub(super) async fn untold(server: &Server, limit: usize) -> Result<Vec<Untold>, Fault> {
    let script = &server.scripts.untold;
    let mut cmd = server.call(script);
    cmd.arg(limit);
    // Once more would answer others: these are gone.
    let mut answers = Items::of(server.run(script, &cmd, Repeat::Never).await?)?;
    let mut found = Vec::new();
    while !answers.is_empty() {
        let (kind, id, at) = (answers.text()?, answers.text()?, answers.number()?);
        match (Kind::ALL.into_iter().find(|known| known.as_str() == kind), id.parse()) {
            (Some(kind), Ok(id)) => found.push(Untold { kind, id, at }),
            // Of a newer version.
            _ => tracing::debug!(kind, id, "what happened to a job cannot be read"),
        }
    }
    Ok(found)
}
