//! What a worker does with one picture: a job handler like any application's.

use super::images::{ImageProblem, Metadata, metadata, renditions};
use longshore_consumer::{Ctx, Job, JobError, Outcome, State};
use longshore_model::envelope::check_file_name;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// A picture to be ingested. The picture itself is the job's payload file, under the asset's name.
#[derive(Debug, Clone, Serialize, Deserialize, Job)]
#[job(topic = "demo/ingest", retries = 2, timeout = "5m")]
pub(super) struct Ingest {
    /// File name of the picture.
    pub(super) asset: String,
}

/// What came of a picture; its renditions are the job's output files.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ingested {
    pub(super) metadata: Metadata,
    pub(super) renditions: Vec<Made>,
}

/// A rendition that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// File name.
    pub(crate) file: String,
    /// Pixels.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    /// Size of the file.
    pub(crate) bytes: u64,
}

/// What the handlers of one worker share.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) name: &'static str,
    pub(super) outage: Arc<Outage>,
}

/// The turning point of the story: the worker that begins a certain picture is stopped in the middle of it.
#[derive(Debug)]
pub(super) struct Outage {
    /// Number of that picture, from 1, in the order in which the workers begin.
    at: usize,
    begun: AtomicUsize,
    struck: watch::Sender<Option<&'static str>>,
}

impl Outage {
    pub(super) fn new(at: usize) -> Self {
        Self { at, begun: AtomicUsize::new(0), struck: watch::Sender::new(None) }
    }

    /// Counts a picture that a worker begins. Answers whether this is the one.
    fn strikes(&self, worker: &'static str) -> bool {
        let strikes = self.begun.fetch_add(1, Ordering::Relaxed) + 1 == self.at;
        if strikes {
            self.struck.send_replace(Some(worker));
        }
        strikes
    }

    /// Waits for the turning point; answers which worker it is.
    pub(super) async fn struck(&self) -> &'static str {
        let mut struck = self.struck.subscribe();
        loop {
            if let Some(worker) = *struck.borrow_and_update() {
                return worker;
            }
            if struck.changed().await.is_err() {
                // Not while `self` is there to be borrowed.
                return std::future::pending().await;
            }
        }
    }
}

/// Makes the renditions of a picture. They are left as files, what is known of them is the result.
pub(super) async fn ingest(
    Ingest { asset }: Ingest,
    ctx: Ctx,
    State(worker): State<Worker>,
) -> Result<Outcome, Box<dyn Error + Send + Sync>> {
    check_file_name(&asset).map_err(JobError::permanent)?;
    let inputs = ctx.input_dir().ok_or_else(|| JobError::permanent("the job came without its picture"))?;
    let picture = tokio::fs::read(inputs.join(&asset)).await?;
    ctx.progress(1, 3, "making renditions");
    if worker.outage.strikes(worker.name) {
        // In the middle of its work; the order to stop is on its way.
        return Err(ctx.until_cancelled().await.into());
    }
    let work = tokio::task::spawn_blocking(move || Ok((metadata(&picture)?, renditions(&picture, &asset)?)));
    let worked = tokio::select! {
        biased;
        worked = work => worked?,
        cancelled = ctx.until_cancelled() => return Err(cancelled.into()),
    };
    let (metadata, renditions) = worked.map_err(|problem| match problem {
        ImageProblem::Unwritable { .. } => problem.into(),
        // Another attempt would find the same picture.
        _ => Box::<dyn Error + Send + Sync>::from(JobError::permanent(problem)),
    })?;
    ctx.progress(2, 3, "writing renditions");
    let outputs = ctx.output_dir()?;
    let mut made = Vec::with_capacity(renditions.len());
    for rendition in renditions {
        tokio::fs::write(outputs.join(&rendition.name), &rendition.bytes).await?;
        let (width, height, bytes) = (rendition.width, rendition.height, rendition.bytes.len() as u64);
        made.push(Made { file: rendition.name, width, height, bytes });
    }
    ctx.progress(3, 3, "done");
    Ok(Outcome::result(Ingested { metadata, renditions: made }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_outage_strikes_once_and_says_whom() {
        let outage = Outage::new(2);
        assert!(!outage.strikes("one"));
        assert!(outage.strikes("two"));
        assert!(!outage.strikes("one"));
        assert_eq!(outage.struck().await, "two");
    }
}
