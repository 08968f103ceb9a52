//! Payload files on Redis: the place that was agreed on, and which job needs which blob.

use super::connection::Repeat;
use super::reply::{self, Items};
use super::server::Server;
use crate::error::{Fault, too_many};
use crate::store::FilePlace;
use longshore_model::id::JobId;
use longshore_model::limits;

pub(super) async fn place(server: &Server, id: Option<&str>, replace: bool) -> Result<Option<FilePlace>, Fault> {
    let script = &server.scripts.file_place;
    let mut cmd = server.call(script);
    cmd.arg(id.unwrap_or_default()).arg(u8::from(replace));
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    if answer.is_empty() {
        return Ok(None);
    }
    Ok(Some(FilePlace { id: answer.text()?, since: answer.number()?, now: answer.number()? }))
}

pub(super) async fn keep(server: &Server, job: JobId, digests: &[String]) -> Result<bool, Fault> {
    let script = &server.scripts.keep_files;
    let mut cmd = server.call(script);
    cmd.arg(job.to_string()).arg(digests.len()).arg(digests);
    match Items::of(server.run(script, &cmd, Repeat::Safe).await?)?.text()?.as_str() {
        "ok" => Ok(true),
        "busy" => Ok(false),
        _ => Err(too_many("files of one job", limits::FILES_OF_JOB)),
    }
}

pub(super) async fn release(server: &Server, grace_ms: u64, limit: usize) -> Result<u64, Fault> {
    let script = &server.scripts.release_files;
    let mut cmd = server.call(script);
    cmd.arg(grace_ms).arg(limit.min(limits::BATCH));
    let looked_at = server.run(script, &cmd, Repeat::Safe).await?;
    redis::from_redis_value(looked_at).map_err(|_| reply::unexpected("release_files"))
}

pub(super) async fn doom(server: &Server, digests: &[String], over: bool) -> Result<Vec<String>, Fault> {
    let script = &server.scripts.doom_files;
    let mut cmd = server.call(script);
    cmd.arg(u8::from(over)).arg(digests.len()).arg(digests);
    Items::of(server.run(script, &cmd, Repeat::Safe).await?)?.texts()
}
