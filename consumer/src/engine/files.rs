//! Payload and output files of an attempt: delivered before the handler starts, kept before its success is visible.

use super::Engine;
use crate::outcome::Outcome;
use longshore_link::blobs;
use longshore_model::envelope::{self, FileRef};
use longshore_model::id::{Fence, JobId};
use longshore_model::limits;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Outputs that travel with the record, bytes in all; the others go to the blob store.
const INLINE_OUTPUTS: u64 = 16 * 1024;

/// How long an attempt waits before it looks for its files again, when the blob store is away.
const AWAY: Duration = Duration::from_secs(10);

/// Where the files of running attempts are.
#[derive(Debug)]
pub(crate) enum WorkDir {
    /// In the instance's home; made when it is needed.
    AtHome(PathBuf),
    /// Of an instance without a home; removed with this value.
    Scratch(TempDir),
}

impl WorkDir {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::AtHome(path) => path,
            Self::Scratch(dir) => dir.path(),
        }
    }
}

/// Where the input files of an attempt go.
pub(crate) fn input_dir(engine: &Engine, id: JobId, fence: Fence) -> PathBuf {
    engine.work_dir.path().join(format!("{id}-{}-in", fence.0))
}

/// Puts the payload files where the handler finds them. What fails becomes the attempt's outcome: a store that is away
/// or a file that is not there yet is waited for; a wrong file is an error.
pub(crate) async fn deliver(engine: &Engine, files: &[FileRef], dir: &Path) -> Result<(), Outcome> {
    let local = |error: std::io::Error| Outcome::retry(format!("{}: {error}", dir.display()));
    tokio::fs::create_dir_all(dir).await.map_err(local)?;
    for file in files {
        engine.link.blobs.fetch_to(file, &dir.join(&file.name)).await.map_err(|fault| {
            if fault.is_passing() {
                Outcome::snooze(AWAY, format!("payload file `{}`: {fault}", file.name))
            } else {
                Outcome::fail(format!("payload file `{}`: {fault}", file.name))
            }
        })?;
    }
    Ok(())
}

/// Keeps the files that the handler left, by name.
pub(crate) async fn collect(engine: &Engine, dir: &Path) -> Result<Vec<FileRef>, Outcome> {
    let local = |error: std::io::Error| Outcome::retry(format!("{}: {error}", dir.display()));
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(dir).await.map_err(local)?;
    while let Some(entry) = entries.next_entry().await.map_err(local)? {
        let meta = entry.metadata().await.map_err(local)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !meta.is_file() {
            return Err(Outcome::fail(format!("output `{name}` is not a plain file; leave files only")));
        }
        envelope::check_file_name(&name).map_err(Outcome::fail)?;
        if meta.len() > engine.max_file_bytes {
            let why = format!("output `{name}` has {} bytes, more than {}", meta.len(), engine.max_file_bytes);
            return Err(Outcome::fail(why));
        }
        names.push((name, meta.len()));
    }
    names.sort();
    if names.len() > limits::FILES {
        return Err(Outcome::fail(format!("{} output files are more than {}", names.len(), limits::FILES)));
    }
    let mut outputs = Vec::with_capacity(names.len());
    let mut room = INLINE_OUTPUTS;
    for (name, size) in names {
        let path = dir.join(&name);
        if size <= room {
            let content = tokio::fs::read(&path).await.map_err(local)?;
            room = room.saturating_sub(size);
            outputs.push(blobs::inline(name, &content));
            continue;
        }
        let kept = engine.link.blobs.put_file(&path).await.map_err(|fault| {
            let why = format!("output `{name}` could not be kept: {fault}");
            if fault.is_passing() { Outcome::retry(why) } else { Outcome::fail(why) }
        })?;
        outputs.push(kept.named(name));
    }
    Ok(outputs)
}

/// Removes an attempt's directories.
pub(crate) async fn clean(input: Option<PathBuf>, output: Option<PathBuf>) {
    for dir in [input, output].into_iter().flatten() {
        if let Err(error) = tokio::fs::remove_dir_all(&dir).await {
            tracing::debug!(dir = %dir.display(), %error, "an attempt's directory could not be removed");
        }
    }
}
