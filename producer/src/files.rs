//! Files of jobs: on their way in, small ones inside the envelope and large ones into the blob store; on
//! their way out, into a directory or as a stream.
//!
//! Payload files are in their place before the job is accepted, so that no job ever waits for one. The store is told
//! first which blobs the job will need, so that none of them is deleted meanwhile. What comes back is checked against
//! its digest by the blob store. No file is ever whole in memory unless its sender gave it so.

use crate::connect::Producer;
use crate::errors::FileError;
use crate::outcome::Report;
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use longshore_link::Link;
use longshore_link::blobs::{Content, Reuse, content_of, inline};
use longshore_link::error::{Fault, Service};
use longshore_model::JobId;
use longshore_model::envelope::{FileRef, check_file_name};
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempPath;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio_util::io::StreamReader;

/// Time between two questions whether a file can be kept.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A file that is on its way, as [`crate::JobBuilder::on_transfer`] and [`Report::save_outputs_with`] tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its name.
    pub name: String,
    /// Bytes that are there. Content that the place had already is there at once.
    pub done: u64,
    /// Its size in bytes.
    pub size: u64,
}

/// A file's content as it comes, checked at its end: what is not what its digest says ends with an error of the kind
/// [`std::io::ErrorKind::InvalidData`].
pub type FileReader = Pin<Box<dyn AsyncRead + Send>>;

/// Who is told of transfers.
#[derive(Clone, Default)]
pub(crate) struct Watcher(Option<Arc<dyn Fn(Transfer) + Send + Sync>>);

impl Watcher {
    pub(crate) fn new(told: impl Fn(Transfer) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    fn tell(&self, name: &str, done: u64, size: u64) {
        if let Some(told) = &self.0 {
            told(Transfer { name: name.to_owned(), done, size });
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "told" } else { "not told" })
    }
}

/// A stream that is read once, by the first clone of its job that is sent.
#[derive(Clone)]
pub(crate) struct Source(Arc<Mutex<Option<FileReader>>>);

impl Source {
    pub(crate) fn new(reader: impl AsyncRead + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(Box::pin(reader)))))
    }

    fn take(&self) -> Option<FileReader> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stream")
    }
}

/// A payload file as its sender named it.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Read when the job is sent.
    Path { name: String, path: PathBuf },
    /// At hand.
    Bytes { name: String, bytes: Bytes },
    /// Read when the job is sent, once.
    Stream { name: String, source: Source },
}

/// A payload file that can be read twice.
enum Ready<'i> {
    Path(&'i Path),
    /// What came from a stream, in a file that goes with this value.
    Spooled(TempPath),
    Bytes(&'i Bytes),
}

impl Input {
    fn name(&self) -> &str {
        match self {
            Self::Path { name, .. } | Self::Bytes { name, .. } | Self::Stream { name, .. } => name,
        }
    }

    /// Makes it readable, and tells its size in bytes. A stream is read to its end, or to `max`.
    async fn ready(&self, max: u64) -> Result<(Ready<'_>, u64), FileError> {
        match self {
            Self::Bytes { bytes, .. } => Ok((Ready::Bytes(bytes), bytes.len() as u64)),
            Self::Path { path, .. } => {
                let found = tokio::fs::metadata(path).await.map_err(|error| local(path, &error))?;
                if !found.is_file() {
                    return Err(local(path, &"it is not a regular file"));
                }
                Ok((Ready::Path(path), found.len()))
            }
            Self::Stream { name, source } => {
                let whole = || local(Path::new(name), &"its stream was read before; a stream can be sent once");
                let (path, size) = spool(source.take().ok_or_else(whole)?, name, max).await?;
                Ok((Ready::Spooled(path), size))
            }
        }
    }
}

/// Writes a stream into a file of this machine: its digest must be known before it is uploaded. Reads one byte more than
/// it may have.
async fn spool(source: FileReader, name: &str, max: u64) -> Result<(TempPath, u64), FileError> {
    let failed = |error: std::io::Error| local(Path::new(name), &error);
    let (file, path) = tempfile::NamedTempFile::with_prefix("longshore-").map_err(failed)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let size = tokio::io::copy(&mut source.take(max.saturating_add(1)), &mut file).await.map_err(failed)?;
    tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(failed)?;
    Ok((path, size))
}

impl Ready<'_> {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path),
            Self::Spooled(path) => Some(path),
            Self::Bytes(_) => None,
        }
    }

    /// It has `size` bytes and is to have no more.
    async fn to_inline(&self, name: &str, size: u64) -> Result<FileRef, FileError> {
        let path = match self {
            Self::Bytes(bytes) => return Ok(inline(name, bytes)),
            Self::Path(path) => path,
            Self::Spooled(path) => &**path,
        };
        let file = tokio::fs::File::open(path).await.map_err(|error| local(path, &error))?;
        let mut bytes = Vec::new();
        file.take(size + 1).read_to_end(&mut bytes).await.map_err(|error| local(path, &error))?;
        if bytes.len() as u64 != size {
            return Err(local(path, &"it changes while it is read"));
        }
        Ok(inline(name, &bytes))
    }

    async fn to_blob(&self, name: &str, bounds: &Bounds<'_>) -> Result<FileRef, FileError> {
        let blobs = &bounds.link.blobs;
        let content = match self {
            Self::Bytes(bytes) => Ok(Content::of(bytes)),
            Self::Path(path) => content_of(path).await,
            Self::Spooled(path) => content_of(path).await,
        };
        let content = content.map_err(|fault| blob(name, fault))?;
        let reuse = bounds.keep(name, &content).await?;
        let meter = |done| bounds.watcher.tell(name, done, content.size);
        let stored = match (self, self.path()) {
            (Self::Bytes(bytes), _) => blobs.store_bytes((*bytes).clone(), &content, reuse, &meter).await,
            (_, Some(path)) => blobs.store_file(path, &content, reuse, &meter).await,
            (_, None) => Ok(()),
        };
        stored.map_err(|fault| blob(name, fault))?;
        Ok(content.named(name))
    }
}

fn local(path: &Path, detail: &dyn fmt::Display) -> FileError {
    FileError::Local { path: path.to_owned(), detail: detail.to_string() }
}

fn blob(name: &str, fault: Fault) -> FileError {
    FileError::Blob { name: name.to_owned(), fault }
}

/// What storing files may take, and for whom it is done.
pub(crate) struct Bounds<'l> {
    pub(crate) link: &'l Link,
    /// The job that needs them.
    pub(crate) job: JobId,
    /// Largest file, bytes.
    pub(crate) max: u64,
    /// Time for each file, and a second more for each MiB of it.
    pub(crate) time: Duration,
    pub(crate) watcher: &'l Watcher,
}

impl Bounds<'_> {
    /// Runs one step for one file in the time that so many bytes may take.
    async fn run<A>(
        &self,
        name: &str,
        size: u64,
        step: impl Future<Output = Result<A, FileError>>,
    ) -> Result<A, FileError> {
        let time = self.time.saturating_add(Duration::from_secs(size / (1024 * 1024)));
        self.link.world.clock.timeout(time, step).await.unwrap_or_else(|| {
            let detail = format!("it was not stored within {}; nothing was sent", longshore_model::span::show(time));
            Err(blob(name, Fault::unreachable(Service::Blobs, detail)))
        })
    }

    /// Has content kept for the job. A store that is away cannot do that: then the content is written anew, so that it
    /// is too young to be deleted.
    async fn keep(&self, name: &str, content: &Content) -> Result<Reuse, FileError> {
        loop {
            match self.link.store.keep_files(self.job, std::slice::from_ref(&content.sha256)).await {
                Ok(true) => return Ok(Reuse::Kept),
                // The same content is being deleted just now; the caller's time bounds this.
                Ok(false) => self.link.world.clock.sleep(self.link.world.random.jitter(ASK_AGAIN)).await,
                Err(fault) if fault.is_passing() => return Ok(Reuse::Never),
                Err(fault) => return Err(blob(name, fault)),
            }
        }
    }
}

/// Puts files where they belong, in the order given: inside the envelope while `room` bytes last, else into the blob
/// store.
pub(crate) async fn place(inputs: &[Input], mut room: usize, bounds: &Bounds<'_>) -> Result<Vec<FileRef>, FileError> {
    let mut files = Vec::with_capacity(inputs.len());
    let mut checked = false;
    for input in inputs {
        let name = input.name();
        check_file_name(name).map_err(FileError::Name)?;
        // A stream comes as fast as its sender has it.
        let (ready, size) = match input {
            Input::Stream { .. } => input.ready(bounds.max).await?,
            Input::Path { .. } | Input::Bytes { .. } => bounds.run(name, 0, input.ready(bounds.max)).await?,
        };
        if size > bounds.max {
            return Err(FileError::TooLarge { name: name.to_owned(), bytes: size, max: bounds.max });
        }
        let file = if encoded_len(size) <= room as u64 {
            bounds.run(name, size, ready.to_inline(name, size)).await?
        } else {
            if !checked {
                let check = async { bounds.link.check_files().await.map_err(|fault| blob(name, fault)) };
                bounds.run(name, 0, check).await?;
                checked = true;
            }
            let _turn = bounds.link.blobs.turn().await;
            bounds.run(name, size, ready.to_blob(name, bounds)).await?
        };
        room = room.saturating_sub(file.inline.as_ref().map_or(0, String::len));
        files.push(file);
    }
    Ok(files)
}

/// Says for a job that was made from another one which blobs it needs. What the store does not hear now, the consumer
/// says when it delivers them.
pub(crate) async fn keep_for(link: &Link, job: JobId, files: &[FileRef]) {
    let digests: Vec<String> =
        files.iter().filter(|file| file.inline.is_none()).map(|file| file.sha256.clone()).collect();
    if !digests.is_empty()
        && let Err(fault) = link.store.keep_files(job, &digests).await
    {
        tracing::debug!(%job, %fault, "the store was not told which files the job needs");
    }
}

/// Length of so many bytes in base64.
const fn encoded_len(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4
}

/// Writes files under their own names into a directory, which is made if need be.
async fn save(
    files: &[FileRef],
    link: &Link,
    dir: &Path,
    told: &(dyn Fn(Transfer) + Send + Sync),
) -> Result<Vec<PathBuf>, FileError> {
    tokio::fs::create_dir_all(dir).await.map_err(|error| local(dir, &error))?;
    let mut paths = Vec::with_capacity(files.len());
    for file in files {
        check_file_name(&file.name).map_err(FileError::Name)?;
        let path = dir.join(&file.name);
        let _turn = link.blobs.turn().await;
        let meter = |done| told(Transfer { name: file.name.clone(), done, size: file.size });
        if let Err(fault) = link.blobs.fetch_metered(file, &path, &meter).await {
            return Err(blob(&file.name, explained(link, fault).await));
        }
        paths.push(path);
    }
    Ok(paths)
}

/// A fault that another place explains is that one.
async fn explained(link: &Link, fault: Fault) -> Fault {
    if fault.is_passing() { link.check_files().await.err().unwrap_or(fault) } else { fault }
}

async fn read(file: &FileRef, link: &Link) -> Result<FileReader, FileError> {
    match link.blobs.read(file).await {
        Ok(pieces) => {
            let kind = |fault: &Fault| {
                if fault.is_passing() { std::io::ErrorKind::Other } else { std::io::ErrorKind::InvalidData }
            };
            Ok(Box::pin(StreamReader::new(pieces.map_err(move |fault| std::io::Error::new(kind(&fault), fault)))))
        }
        Err(fault) => Err(blob(&file.name, explained(link, fault).await)),
    }
}

impl Report {
    /// Writes all output files into a directory, which is made if need be. Answers where they are; files of the same
    /// name are replaced.
    ///
    /// # Errors
    /// [`FileError`] for the first that fails; those before it are there, itself it is not.
    pub async fn save_outputs(&self, dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, FileError> {
        self.save_outputs_with(dir, |_| ()).await
    }

    /// As [`Self::save_outputs`], and tells how far each file is.
    ///
    /// # Errors
    /// As [`Self::save_outputs`].
    pub async fn save_outputs_with(
        &self,
        dir: impl AsRef<Path>,
        told: impl Fn(Transfer) + Send + Sync,
    ) -> Result<Vec<PathBuf>, FileError> {
        save(self.outputs(), &self.link, dir.as_ref(), &told).await
    }

    /// Reads one of the output files as it comes, without a file of its own.
    ///
    /// # Errors
    /// [`FileError`] when it cannot be begun.
    pub async fn read_output(&self, file: &FileRef) -> Result<FileReader, FileError> {
        read(file, &self.link).await
    }
}

impl Producer {
    /// Writes files of a job (`inputs` or `outputs` of a [`crate::JobView`]) into a directory, as
    /// [`Report::save_outputs`].
    ///
    /// # Errors
    /// As [`Report::save_outputs`].
    pub async fn save_files(&self, files: &[FileRef], dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, FileError> {
        save(files, &self.inner.link, dir.as_ref(), &|_| ()).await
    }

    /// Reads a file of a job as it comes, as [`Report::read_output`].
    ///
    /// # Errors
    /// As [`Report::read_output`].
    pub async fn read_file(&self, file: &FileRef) -> Result<FileReader, FileError> {
        read(file, &self.inner.link).await
    }

    /// Makes the place of payload files that this process sees the one that the fleet uses, after files were moved to a
    /// place without the old one's id. Answers its id.
    ///
    /// # Errors
    /// When the place or the store does not answer, and without a place.
    pub async fn adopt_files(&self) -> Result<String, Fault> {
        let place = self.inner.link.adopt_files().await?;
        self.record("files adopt", &place.id, &[]).await;
        Ok(place.id)
    }
}
