//! Files read piece by piece with bounded memory, and what their content is called.

use super::Content;
use crate::error::{Fault, Service};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// Bytes that are read from a file at once.
const CHUNK: usize = 256 * 1024;

/// A file, read piece by piece with bounded memory.
pub(super) struct Pieces<'p> {
    path: &'p Path,
    file: File,
    buffer: Vec<u8>,
    pub(super) sum: Sum,
}

impl<'p> Pieces<'p> {
    pub(super) async fn open(path: &'p Path) -> Result<Self, Fault> {
        let file = File::open(path).await.map_err(|error| unreadable(path, &error.to_string()))?;
        Ok(Self { path, file, buffer: vec![0; CHUNK], sum: Sum::default() })
    }

    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, Fault> {
        let read = self.file.read(&mut self.buffer).await;
        let count = read.map_err(|error| unreadable(self.path, &error.to_string()))?;
        let piece = &self.buffer[..count];
        self.sum.add(piece);
        Ok((count > 0).then_some(piece))
    }
}

/// Digest and size of what went by.
#[derive(Default)]
pub(super) struct Sum {
    digest: Sha256,
    pub(super) size: u64,
}

impl Sum {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    pub(super) fn content(self) -> Content {
        let mut sha256 = String::with_capacity(64);
        for byte in self.digest.finalize() {
            // Writing to a text cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Content { sha256, size: self.size }
    }
}

pub(super) fn unreadable(path: &Path, why: &str) -> Fault {
    Fault::refused(Service::Disk, format!("file {} cannot be read: {why}", path.display()))
}

/// It passes, for what it means for a job: another instance, or this one later, has room.
pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::blocked(Service::Disk, format!("file {} cannot be written: {error}", path.display()))
}
