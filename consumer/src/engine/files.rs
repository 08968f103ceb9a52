//! Payload and output files of an attempt: delivered before the handler starts, kept before its success is visible.
//!
//! What belongs to the file (it is not what its reference says, its name cannot be) fails the attempt. What belongs to
//! the place (it is away, it is another one than the fleet's, a disk is full) is waited for with its reason, and is
//! charged to nobody. Transfers show as the job's progress.

use super::attempt::Attempt;
use super::{Engine, reporter};
use crate::ctx::ReportSink;
use crate::outcome::Outcome;
use longshore_link::Fault;
use longshore_link::blobs::{self, Content, Reuse, Turn};
use longshore_model::envelope::{self, FileRef};
use longshore_model::id::{Fence, JobId};
use longshore_model::limits;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Outputs that travel with the record, bytes in all; the others go to the blob store.
const INLINE_OUTPUTS: u64 = 16 * 1024;

/// How long an attempt waits before it looks for its files again, when the blob store is away.
pub(super) const AWAY: Duration = Duration::from_secs(10);

/// How often outputs are offered to a blob store that is away before the handler has to run again.
const OFFERS: u32 = 30;

/// Bytes between two reports of a transfer.
const REPORT: u64 = 1024 * 1024;

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

/// Why files are not where they belong.
#[derive(Debug)]
pub(crate) enum NotMoved {
    /// The place, or a disk, does not do it for now.
    Away(String),
    /// The attempt ends with this.
    Ends(Outcome),
}

/// Where the input files of an attempt go.
pub(crate) fn input_dir(engine: &Engine, id: JobId, fence: Fence) -> PathBuf {
    engine.work_dir.path().join(format!("{id}-{}-in", fence.0))
}

/// Puts the payload files where the handler finds them.
pub(crate) async fn deliver(
    engine: &Engine,
    id: JobId,
    files: &[FileRef],
    dir: &Path,
    sink: &ReportSink,
) -> Result<(), NotMoved> {
    let blobs = &engine.link.blobs;
    tokio::fs::create_dir_all(dir).await.map_err(|error| local(dir, &error))?;
    let digests: Vec<String> =
        files.iter().filter(|file| file.inline.is_none()).map(|file| file.sha256.clone()).collect();
    if !digests.is_empty() {
        engine.link.check_files().await.map_err(|fault| NotMoved::Away(format!("payload files: {fault}")))?;
        // The sender said so as well, unless the store has lost that or the sender was somebody else's program.
        match engine.link.store.keep_files(id, &digests).await {
            Ok(true) => {}
            Ok(false) => return Err(NotMoved::Away("payload files: one of them is being deleted".into())),
            Err(fault) => tracing::debug!(job = %id, %fault, "the store was not told which files the job needs"),
        }
    }
    let transfer = Transfer::new(sink, "fetching payload files", files.iter().map(|file| file.size).sum());
    for file in files {
        let _turn: Option<Turn> = if file.inline.is_none() { Some(blobs.turn().await) } else { None };
        let fetched = blobs.fetch_metered(file, &dir.join(&file.name), &|bytes| transfer.at(bytes)).await;
        if let Err(fault) = fetched {
            return Err(not_fetched(engine, file, &fault).await);
        }
        transfer.next(file.size);
    }
    Ok(())
}

/// What it means for the attempt that a file could not be fetched.
async fn not_fetched(engine: &Engine, file: &FileRef, fault: &Fault) -> NotMoved {
    let why = format!("payload file `{}`: {fault}", file.name);
    if !fault.is_passing() {
        return NotMoved::Ends(Outcome::fail(why));
    }
    if let Err(away) = engine.link.check_files().await {
        return NotMoved::Away(format!("payload file `{}`: {away}", file.name));
    }
    let content = Content { sha256: file.sha256.clone(), size: file.size };
    match engine.link.blobs.exists(&content).await {
        // The place is the right one, answers, and does not have it.
        Ok(false) if file.inline.is_none() => NotMoved::Ends(Outcome::retry(why)),
        Ok(_) | Err(_) => NotMoved::Away(why),
    }
}

/// Keeps the files that the handler left, by name.
pub(crate) async fn collect(attempt: &Attempt, dir: &Path) -> Result<Vec<FileRef>, NotMoved> {
    let engine = &attempt.engine;
    let mut names = Vec::new();
    let mut entries = tokio::fs::read_dir(dir).await.map_err(|error| spoiled(dir, &error))?;
    while let Some(entry) = entries.next_entry().await.map_err(|error| spoiled(dir, &error))? {
        let meta = entry.metadata().await.map_err(|error| spoiled(dir, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !meta.is_file() {
            return Err(fails(format!("output `{name}` is not a plain file; leave files only")));
        }
        envelope::check_file_name(&name).map_err(fails)?;
        if meta.len() > engine.max_file_bytes {
            return Err(fails(format!(
                "output `{name}` has {} bytes, more than {}",
                meta.len(),
                engine.max_file_bytes
            )));
        }
        names.push((name, meta.len()));
    }
    names.sort();
    if names.len() > limits::FILES {
        return Err(fails(format!("{} output files are more than {}", names.len(), limits::FILES)));
    }
    let mut outputs = Vec::with_capacity(names.len());
    let (mut room, mut large) = (INLINE_OUTPUTS, Vec::new());
    for (name, size) in names {
        let path = dir.join(&name);
        if size <= room {
            let content = tokio::fs::read(&path).await.map_err(|error| spoiled(&path, &error))?;
            room = room.saturating_sub(size);
            outputs.push(blobs::inline(name, &content));
        } else {
            large.push((outputs.len(), path, size));
            outputs.push(Content::of(b"").named(name));
        }
    }
    if !large.is_empty() {
        let (sink, over) = (ReportSink::keeping(engine.log_lines), CancellationToken::new());
        let keeping = async {
            let kept = keep_all(attempt, &mut outputs, &large, &sink).await;
            over.cancel();
            kept
        };
        let reporting = reporter::run(engine, &attempt.origin, attempt.fence, &sink, &over);
        let (kept, ()) = futures_util::future::join(keeping, reporting).await;
        kept?;
    }
    Ok(outputs)
}

/// Puts large outputs into the blob store, and what they are called into their places.
async fn keep_all(
    attempt: &Attempt,
    outputs: &mut [FileRef],
    large: &[(usize, PathBuf, u64)],
    sink: &ReportSink,
) -> Result<(), NotMoved> {
    let transfer = Transfer::new(sink, "keeping output files", large.iter().map(|(_, _, size)| size).sum());
    for (index, path, size) in large {
        let output = &mut outputs[*index];
        let mut offers = 0;
        let content = loop {
            let fault = match keep(attempt, path, &transfer).await {
                Ok(content) => break content,
                Err(fault) => fault,
            };
            let why = format!("output `{}` could not be kept: {fault}", output.name);
            if !fault.is_passing() {
                return Err(fails(why));
            }
            offers += 1;
            let engine = &attempt.engine;
            if offers == OFFERS || engine.running.is_lost(&attempt.id, attempt.fence) {
                return Err(NotMoved::Away(why));
            }
            sink.warn(&why);
            if !engine.pause(engine.link.world.random.jitter(AWAY)).await {
                return Err(NotMoved::Away(why));
            }
        };
        *output = content.named(std::mem::take(&mut output.name));
        transfer.next(*size);
    }
    Ok(())
}

/// Puts one output into the blob store.
async fn keep(attempt: &Attempt, path: &Path, transfer: &Transfer<'_>) -> Result<Content, Fault> {
    let link = &attempt.engine.link;
    link.check_files().await?;
    let content = blobs::content_of(path).await?;
    // Said for the job, not for the attempt: what a stale attempt left goes when the job is forgotten.
    if !link.store.keep_files(attempt.id, std::slice::from_ref(&content.sha256)).await? {
        return Err(Fault::blocked(longshore_link::error::Service::Blobs, "the same content is being deleted"));
    }
    let _turn = link.blobs.turn().await;
    link.blobs.store_file(path, &content, Reuse::Kept, &|bytes| transfer.at(bytes)).await?;
    Ok(content)
}

fn local(path: &Path, error: &std::io::Error) -> NotMoved {
    NotMoved::Away(format!("{}: {error}", path.display()))
}

/// What the handler left cannot be read, or is gone: that is its attempt's failure, and no place to wait for.
fn spoiled(path: &Path, error: &std::io::Error) -> NotMoved {
    NotMoved::Ends(Outcome::retry(format!("{}: {error}", path.display())))
}

fn fails(why: String) -> NotMoved {
    NotMoved::Ends(Outcome::fail(why))
}

/// What people see of files on their way: the progress of the job, in bytes.
struct Transfer<'s> {
    sink: &'s ReportSink,
    what: &'static str,
    total: u64,
    /// Of files that are done.
    before: AtomicU64,
    reported: AtomicU64,
}

impl<'s> Transfer<'s> {
    fn new(sink: &'s ReportSink, what: &'static str, total: u64) -> Self {
        Self { sink, what, total, before: AtomicU64::new(0), reported: AtomicU64::new(0) }
    }

    /// So many bytes of the file that is under way are there. Nothing is said of what is small.
    fn at(&self, bytes: u64) {
        let done = (self.before.load(Ordering::Relaxed) + bytes).min(self.total);
        let due = self.reported.load(Ordering::Relaxed) + REPORT;
        if self.total >= REPORT && (done >= due || done == self.total) {
            self.reported.store(done, Ordering::Relaxed);
            let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
            let text = format!("{}: {:.1} of {:.1} MiB", self.what, mib(done), mib(self.total));
            self.sink.transfer(done, self.total, text);
        }
    }

    /// The file is done.
    fn next(&self, size: u64) {
        self.before.fetch_add(size, Ordering::Relaxed);
    }
}

/// Removes an attempt's directories.
pub(crate) async fn clean(input: Option<PathBuf>, output: Option<PathBuf>) {
    for dir in [input, output].into_iter().flatten() {
        if let Err(error) = tokio::fs::remove_dir_all(&dir).await {
            tracing::debug!(dir = %dir.display(), %error, "an attempt's directory could not be removed");
        }
    }
}
