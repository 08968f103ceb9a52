//! Payload files of a run's jobs: what a job is sent with, what an attempt leaves, and what is found of it at the end.

use futures_util::TryStreamExt;
use longshore_consumer::Ctx;
use longshore_link::Fault;
use longshore_link::blobs::Blobs;
use longshore_model::envelope::FileRef;
use longshore_model::{Fence, JobId};
use serde::{Deserialize, Serialize};
use std::io;

/// The file that a job is sent with.
pub const INPUT: &str = "input";
/// The file that an attempt leaves.
pub const OUTPUT: &str = "output";
/// Too large to travel with the job.
const INPUT_BYTES: usize = 70_000;
/// Too large to be kept with the record.
const OUTPUT_BYTES: usize = 20_000;

/// An output of a job that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Its name.
    pub name: String,
    /// The attempt that it says to be of.
    pub by: Option<Fence>,
    /// Whether all of it is there, and right.
    pub whole: bool,
}

fn filled(line: &str, size: usize) -> Vec<u8> {
    line.bytes().chain([b'\n']).cycle().take(size).collect()
}

/// What a job is sent with. There are sixteen of them, so that many jobs need the same.
#[must_use]
pub fn input(id: JobId) -> Vec<u8> {
    filled(&format!("input {}", id.to_string().chars().last().unwrap_or_default()), INPUT_BYTES)
}

/// What an attempt leaves.
#[must_use]
pub fn output(id: JobId, fence: Fence) -> Vec<u8> {
    filled(&format!("{id} {}", fence.0), OUTPUT_BYTES)
}

/// What a handler does with its files: looks at what it was given, and leaves what is to come back. Answers whether it was
/// given what was sent.
///
/// # Errors
/// When a file cannot be read or written.
pub fn exchange(ctx: &Ctx) -> io::Result<bool> {
    std::fs::write(ctx.output_dir()?.join(OUTPUT), output(ctx.id(), ctx.fence()))?;
    let given = ctx.input_dir().map(|dir| std::fs::read(dir.join(INPUT))).transpose()?;
    Ok(given == Some(input(ctx.id())))
}

/// Reads an output of a job, and says what it is.
///
/// # Errors
/// When it cannot be read.
pub async fn found(blobs: &Blobs, id: JobId, file: &FileRef) -> Result<Left, Fault> {
    let pieces: Vec<_> = blobs.read(file).await?.try_collect().await?;
    let bytes = pieces.concat();
    let text = String::from_utf8_lossy(&bytes);
    let said = text.lines().next().and_then(|line| line.strip_prefix(&format!("{id} ")));
    let by = said.and_then(|fence| fence.parse().ok()).map(Fence);
    let whole = by.is_some_and(|fence| bytes == output(id, fence));
    Ok(Left { name: file.name.clone(), by, whole })
}
