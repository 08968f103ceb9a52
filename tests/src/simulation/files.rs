//! Payload files in a simulated run: what goes in, what comes out, and whether it is whole and the winner's.
//!
//! Every job of a run with files has two of them, a small one that travels with it and one that mostly does not, and each
//! of its attempts leaves two outputs that say whose they are, whatever becomes of it then. The place of the large ones is
//! away now and then (`super::nemesis`). At the end:
//!
//! - every handler that began found the files that were sent, and no others;
//! - a job that succeeded has the outputs of the attempt that won, whole and from where they are kept;
//! - a job that ended in any other way has none.
//!
//! The files of running attempts are on a real disk, whose work takes no virtual time.

use bytes::Bytes;
use futures_util::TryStreamExt;
use longshore_consumer::Ctx;
use longshore_link::Link;
use longshore_model::Record;
use longshore_model::envelope::FileRef;
use longshore_model::record::State;
use longshore_producer::JobBuilder;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the input that travels with its job, and of the output that does.
const SMALL: usize = 200;
/// Bytes of the output that does not.
const LARGE: usize = 40_000;

/// What the handlers of a run found that they should not have found.
#[derive(Debug, Clone, Default)]
pub struct Files {
    wrong: Arc<Mutex<Vec<String>>>,
    /// Senders and handlers do otherwise than the judge goes by.
    careless: bool,
}

/// Content that says what it is of, to its end.
fn content(of: &str, size: usize) -> Bytes {
    let line = format!("{of}\n");
    line.bytes().cycle().take(size).collect()
}

/// What a job of this number is sent with.
fn inputs(number: usize) -> [(&'static str, Bytes); 2] {
    let size = 2_000 + number * 2_003 % 120_000;
    [("small", content(&format!("small of {number}"), SMALL)), ("large", content(&format!("large of {number}"), size))]
}

/// What an attempt leaves.
fn outputs(job: &str, fence: u64) -> [(&'static str, Bytes); 2] {
    ["a", "b"].map(|name| (name, content(&format!("{name} of {job} {fence}"), if name == "a" { SMALL } else { LARGE })))
}

impl Files {
    /// Files of a run. `careless`: what is sent and left is not always what it should be.
    #[must_use]
    pub fn new(careless: bool) -> Self {
        Self { careless, ..Self::default() }
    }

    /// Gives the job of a number its files.
    pub fn give(&self, job: JobBuilder, number: usize) -> JobBuilder {
        let other = if self.careless && number % 5 == 1 { number + 1 } else { number };
        inputs(other).into_iter().fold(job, |job, (name, bytes)| job.file_bytes(name, bytes))
    }

    /// What a handler does before anything else: it looks at what it was given, and leaves what is to come back.
    pub fn handle(&self, ctx: &Ctx) {
        let id = ctx.id();
        match self.exchange(ctx) {
            Ok(None) => {}
            Ok(Some(what)) => self.note(format!("job {id}: {what}")),
            Err(error) => self.note(format!("job {id}: its files cannot be used: {error}")),
        }
    }

    fn exchange(&self, ctx: &Ctx) -> io::Result<Option<String>> {
        let number = ctx.payload_as::<BTreeMap<String, usize>>()?["number"];
        let mut found = BTreeMap::new();
        if let Some(input) = ctx.input_dir() {
            for entry in std::fs::read_dir(input)? {
                let entry = entry?;
                found.insert(entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path())?);
            }
        }
        let mut left = outputs(&ctx.id().to_string(), ctx.fence().0);
        match number % 5 {
            2 if self.careless => left[0].1 = content("somebody else's", SMALL),
            3 if self.careless => left[1].1.truncate(LARGE / 2),
            4 if self.careless => left[0].0 = "another",
            _ => {}
        }
        for (name, bytes) in left {
            std::fs::write(ctx.output_dir()?.join(name), bytes)?;
        }
        let right = found.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let mut sent = inputs(number);
        sent.sort_unstable();
        let as_sent = right.eq(sent.iter().map(|(name, bytes)| (*name, bytes.as_ref())));
        Ok((!as_sent).then(|| {
            let sizes: Vec<_> = found.iter().map(|(name, bytes)| (name, bytes.len())).collect();
            format!("attempt {} was given other files than were sent: {sizes:?}", ctx.attempt())
        }))
    }

    fn note(&self, what: String) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// What is wrong with the files of jobs that ended.
    pub async fn judge(&self, records: &[Record], link: &Link) -> Vec<String> {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for record in records {
            let found = link.store.load(vec![record.id]).await.unwrap_or_default();
            let Some(Some(snapshot)) = found.into_iter().next() else {
                wrong.push(format!("job {}: it cannot be read", record.id));
                continue;
            };
            if record.state != State::Succeeded {
                if !snapshot.outputs.is_empty() {
                    wrong.push(format!("job {}: it ended as {}, and has outputs", record.id, record.state.as_str()));
                }
                continue;
            }
            let names: Vec<&str> = snapshot.outputs.iter().map(|file| file.name.as_str()).collect();
            if names != ["a", "b"] {
                wrong.push(format!("job {}: its outputs are {names:?}", record.id));
            }
            let expected = BTreeMap::from(outputs(&record.id.to_string(), record.fence.0));
            for file in &snapshot.outputs {
                let Some(expected) = expected.get(file.name.as_str()) else { continue };
                match read(link, file).await {
                    Ok(bytes) if bytes == *expected => {}
                    Ok(bytes) if expected.starts_with(&bytes) => {
                        wrong.push(format!("job {}: output `{}` is not whole", record.id, file.name));
                    }
                    Ok(bytes) => {
                        let whose = String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().to_owned();
                        wrong.push(format!(
                            "job {}: output `{}` is not the winner's: {whose:?}, {record:?}",
                            record.id, file.name
                        ));
                    }
                    Err(fault) => wrong.push(format!("job {}: output `{}`: {fault}", record.id, file.name)),
                }
            }
        }
        wrong
    }
}

async fn read(link: &Link, file: &FileRef) -> Result<Vec<u8>, longshore_link::Fault> {
    let pieces: Vec<Bytes> = link.blobs.read(file).await?.try_collect().await?;
    Ok(pieces.concat())
}
