//! Files of jobs: on their way in, small ones inside the envelope and large ones into the blob store; on
//! their way out, into a directory.
//!
//! Payload files are in their place before the job is accepted, so that no job ever waits for one.
//! What comes back is checked against its digest by the blob store. How long files are kept is not
//! decided here.

use crate::connect::Producer;
use crate::errors::FileError;
use crate::outcome::Report;
use bytes::Bytes;
use longshore_link::Link;
use longshore_link::blobs::{Blobs, inline};
use longshore_link::error::{Fault, Service};
use longshore_model::envelope::{FileRef, check_file_name};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A payload file as its sender named it.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Read when the job is sent.
    Path { name: String, path: PathBuf },
    /// At hand.
    Bytes { name: String, bytes: Bytes },
}

impl Input {
    fn name(&self) -> &str {
        match self {
            Self::Path { name, .. } | Self::Bytes { name, .. } => name,
        }
    }

    /// Its size in bytes, before it is read.
    async fn size(&self) -> Result<u64, FileError> {
        match self {
            Self::Bytes { bytes, .. } => Ok(bytes.len() as u64),
            Self::Path { path, .. } => {
                let found = tokio::fs::metadata(path).await.map_err(|error| local(path, &error))?;
                if found.is_file() { Ok(found.len()) } else { Err(local(path, &"it is not a regular file")) }
            }
        }
    }

    async fn to_inline(&self) -> Result<FileRef, FileError> {
        match self {
            Self::Bytes { name, bytes } => Ok(inline(name, bytes)),
            Self::Path { name, path } => {
                let bytes = tokio::fs::read(path).await.map_err(|error| local(path, &error))?;
                Ok(inline(name, &bytes))
            }
        }
    }

    async fn to_blob(&self, blobs: &Blobs) -> Result<FileRef, FileError> {
        let content = match self {
            Self::Bytes { bytes, .. } => blobs.put_bytes(bytes.clone()).await,
            Self::Path { path, .. } => blobs.put_file(path).await,
        };
        content.map(|content| content.named(self.name())).map_err(|fault| blob(self.name(), fault))
    }
}

fn local(path: &Path, detail: &dyn std::fmt::Display) -> FileError {
    FileError::Local { path: path.to_owned(), detail: detail.to_string() }
}

fn blob(name: &str, fault: Fault) -> FileError {
    FileError::Blob { name: name.to_owned(), fault }
}

/// What storing files may take.
pub(crate) struct Bounds<'l> {
    pub(crate) link: &'l Link,
    /// Largest file, bytes.
    pub(crate) max: u64,
    /// Time for each file, and a second more for each MiB of it.
    pub(crate) time: Duration,
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
}

/// Puts files where they belong, in the order given: inside the envelope while `room` bytes last, else into the blob
/// store.
pub(crate) async fn place(inputs: &[Input], mut room: usize, bounds: &Bounds<'_>) -> Result<Vec<FileRef>, FileError> {
    let mut files = Vec::with_capacity(inputs.len());
    for input in inputs {
        let name = input.name();
        check_file_name(name).map_err(FileError::Name)?;
        let size = bounds.run(name, 0, input.size()).await?;
        if size > bounds.max {
            return Err(FileError::TooLarge { name: name.to_owned(), bytes: size, max: bounds.max });
        }
        let file = if encoded_len(size) <= room as u64 {
            bounds.run(name, size, input.to_inline()).await?
        } else {
            bounds.run(name, size, input.to_blob(&bounds.link.blobs)).await?
        };
        room = room.saturating_sub(file.inline.as_ref().map_or(0, String::len));
        files.push(file);
    }
    Ok(files)
}

/// Length of so many bytes in base64.
const fn encoded_len(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4
}

/// Writes files under their own names into a directory, which is made if need be.
async fn save(files: &[FileRef], blobs: &Blobs, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    tokio::fs::create_dir_all(dir).await.map_err(|error| local(dir, &error))?;
    let mut paths = Vec::with_capacity(files.len());
    for file in files {
        check_file_name(&file.name).map_err(FileError::Name)?;
        let path = dir.join(&file.name);
        blobs.fetch_to(file, &path).await.map_err(|fault| blob(&file.name, fault))?;
        paths.push(path);
    }
    Ok(paths)
}

impl Report {
    /// Writes all output files into a directory, which is made if need be. Answers where they are; files of the same
    /// name are replaced.
    ///
    /// # Errors
    /// [`FileError`] for the first that fails; those before it are there, itself it is not.
    pub async fn save_outputs(&self, dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, FileError> {
        save(self.outputs(), &self.blobs, dir.as_ref()).await
    }
}

impl Producer {
    /// Writes files of a job (`inputs` or `outputs` of a [`crate::JobView`]) into a directory, as
    /// [`Report::save_outputs`].
    ///
    /// # Errors
    /// As [`Report::save_outputs`].
    pub async fn save_files(&self, files: &[FileRef], dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, FileError> {
        save(files, &self.inner.link.blobs, dir.as_ref()).await
    }
}
