//! Collector: deletes files that no job needs: uploads whose job never came, and those of forgotten jobs.
//!
//! The store knows which job needs which blob, also before the job is accepted. What nobody needs and is older than the
//! grace is doomed in the store, so that nobody can begin to need it, deleted, and spared again. Nothing is deleted at a
//! place that is not the fleet's, and nothing for as long as the grace after the store may have lost what it knew.

use super::rest;
use crate::engine::{Engine, Phase};
use futures_util::TryStreamExt as _;
use longshore_link::Fault;
use longshore_link::store::{Loss, LossKind};
use longshore_model::limits;
use longshore_model::span::ms;
use std::sync::Arc;
use std::time::Duration;

/// Time between two rounds of the coordinator: it reads the list of all files.
const PACE: Duration = Duration::from_secs(600);
/// Longest deletion of one file: much shorter than it is doomed.
const DELETION: Duration = Duration::from_secs(10);
/// Files that are doomed in one call: all of them are deleted within that time.
const DOOMED: usize = 5;

/// Collects until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>, grace: Duration) {
    if !engine.link.blobs.is_somewhere() {
        return;
    }
    // A short grace is that of a test or of a demonstration.
    let pace = PACE.min(grace / 2);
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = rest(&engine, pace) => {}
        }
        match round(&engine, grace).await {
            Ok(0) => {}
            Ok(deleted) => tracing::info!(deleted, "files that no job needed were deleted"),
            Err(fault) => tracing::debug!(%fault, "files that no job needs could not be looked for; trying again"),
        }
    }
}

/// One round. Answers how many files went.
async fn round(engine: &Engine, grace: Duration) -> Result<u64, Fault> {
    let (link, grace_ms) = (&engine.link, ms(grace));
    link.check_files().await?;
    let Some(place) = link.store.file_place(None, false).await? else { return Ok(0) };
    let old = place.now.saturating_sub(grace_ms);
    // What the store knew may be missing: jobs that come back from the broker say again what they need.
    let recent = |loss: &Loss| loss.kind != LossKind::Restarted && loss.before.is_some() && loss.to > old;
    if place.since > old || link.store.losses().await?.iter().any(recent) {
        return Ok(0);
    }
    while link.store.release_files(grace_ms, limits::BATCH).await? >= limits::BATCH as u64 {}
    let mut deleted = link.blobs.delete_unfinished(old).await?;
    let mut stored = link.blobs.list().await?;
    let mut candidates = Vec::with_capacity(DOOMED);
    while let Some(blob) = stored.try_next().await? {
        if blob.written > old {
            continue;
        }
        candidates.push(blob.sha256);
        if candidates.len() == DOOMED {
            deleted += delete(engine, &std::mem::take(&mut candidates)).await?;
        }
    }
    Ok(deleted + delete(engine, &candidates).await?)
}

/// Deletes those of some blobs that no job needs.
async fn delete(engine: &Engine, candidates: &[String]) -> Result<u64, Fault> {
    if candidates.is_empty() || engine.is_stopped() {
        return Ok(0);
    }
    let link = &engine.link;
    let doomed = link.store.doom_files(candidates, false).await?;
    let (mut deleted, mut all) = (0, true);
    for sha256 in &doomed {
        match link.world.clock.timeout(DELETION, link.blobs.delete(sha256)).await {
            Some(Ok(())) => deleted += 1,
            // It may still happen: the doom has to run out by itself.
            Some(Err(_)) | None => all = false,
        }
    }
    if all && !doomed.is_empty() {
        link.store.doom_files(&doomed, true).await?;
    }
    Ok(deleted)
}
