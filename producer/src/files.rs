//! Files of jobs, both ways: small ones travel inside the envelope, large ones through the blob store.
//!
//! Payload files are in their place before the job is accepted, so that no job ever waits for one.
//! Whatever comes back is checked against its size and digest before anybody sees it. Which files
//! belong to a job, and for how long, is not decided here.

use crate::errors::FileError;
use crate::outcome::Report;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use longshore_link::blobs::Blobs;
use longshore_model::envelope::{FileRef, check_file_name};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

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

    async fn read(&self) -> Result<Bytes, FileError> {
        match self {
            Self::Bytes { bytes, .. } => Ok(bytes.clone()),
            Self::Path { path, .. } => {
                tokio::fs::read(path).await.map(Bytes::from).map_err(|error| local(path, &error))
            }
        }
    }
}

fn local(path: &Path, detail: &dyn std::fmt::Display) -> FileError {
    FileError::Local { path: path.to_owned(), detail: detail.to_string() }
}

/// Puts files where they belong, in the order given: inside the envelope while `room` bytes last, else into `blobs`.
pub(crate) async fn place(
    inputs: &[Input],
    mut room: usize,
    blobs: &Blobs,
    max: u64,
) -> Result<Vec<FileRef>, FileError> {
    let mut files = Vec::with_capacity(inputs.len());
    for input in inputs {
        check_file_name(input.name()).map_err(FileError::Name)?;
        let size = input.size().await?;
        if size > max {
            return Err(FileError::TooLarge { name: input.name().to_owned(), bytes: size, max });
        }
        let file = if encoded_len(size) <= room as u64 {
            inline(input.name(), &input.read().await?)
        } else {
            to_blob(input, blobs).await?
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

fn inline(name: &str, bytes: &[u8]) -> FileRef {
    let content = STANDARD.encode(bytes);
    FileRef { name: name.to_owned(), size: bytes.len() as u64, sha256: digest(bytes), inline: Some(content) }
}

/// The content of a file, checked against its digest.
///
/// # Errors
/// [`FileError`] when it is not where it should be, or is something else.
pub async fn read(file: &FileRef, blobs: &Blobs) -> Result<Bytes, FileError> {
    let blob = |detail: String| FileError::Blob { name: file.name.clone(), detail };
    let bytes = match &file.inline {
        Some(text) => {
            let bytes = STANDARD.decode(text).map_err(|error| blob(format!("its inline content: {error}")))?;
            Bytes::from(bytes)
        }
        None => from_blob(file, blobs).await?,
    };
    if bytes.len() as u64 == file.size && digest(&bytes) == file.sha256 {
        return Ok(bytes);
    }
    Err(blob("its content does not match its digest; somebody changed or damaged it".into()))
}

/// Writes a file under its own name into a directory that exists.
///
/// # Errors
/// [`FileError`] as for [`read`], when its name could leave the directory, or when it cannot be written.
pub async fn save(file: &FileRef, blobs: &Blobs, dir: &Path) -> Result<PathBuf, FileError> {
    check_file_name(&file.name).map_err(FileError::Name)?;
    let path = dir.join(&file.name);
    let bytes = read(file, blobs).await?;
    tokio::fs::write(&path, bytes).await.map_err(|error| local(&path, &error))?;
    Ok(path)
}

impl Report {
    /// The content of one output file; `None` when there is none of this name.
    ///
    /// # Errors
    /// [`FileError`] when it is not where it should be, or is something else.
    pub async fn output(&self, name: &str) -> Result<Option<Bytes>, FileError> {
        match self.outputs().iter().find(|file| file.name == name) {
            Some(file) => read(file, &self.blobs).await.map(Some),
            None => Ok(None),
        }
    }

    /// Writes all output files into a directory, which is made if need be. Answers where they are.
    ///
    /// # Errors
    /// [`FileError`] for the first that fails; those before it are there.
    pub async fn save_outputs(&self, dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, FileError> {
        let dir = dir.as_ref();
        tokio::fs::create_dir_all(dir).await.map_err(|error| local(dir, &error))?;
        let mut paths = Vec::with_capacity(self.outputs().len());
        for file in self.outputs() {
            paths.push(save(file, &self.blobs, dir).await?);
        }
        Ok(paths)
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

async fn to_blob(input: &Input, _blobs: &Blobs) -> Result<FileRef, FileError> {
    let detail = "it does not fit into the envelope, and there is no blob store to put it into".to_owned();
    Err(FileError::Blob { name: input.name().to_owned(), detail })
}

async fn from_blob(file: &FileRef, _blobs: &Blobs) -> Result<Bytes, FileError> {
    let detail = "its content is not in the envelope, and there is no blob store to read it from".to_owned();
    Err(FileError::Blob { name: file.name.clone(), detail })
}
