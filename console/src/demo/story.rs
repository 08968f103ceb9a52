//! What happens in the demo, from the first picture to the summary.

use super::fleet::{Fleet, Setup};
use super::samples;
use super::summary::{Pictures, Row, Summary};
use super::worker::{Ingest, Outage};
use crate::failure::Failure;
use crate::output::Progress;
use futures_util::{StreamExt, stream};
use longshore_model::span;
use longshore_producer::{Settings, World};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// Pictures under way at once, so that a large directory is not copied whole before the first is done.
const UNDER_WAY: usize = 32;
/// Longest time without any picture ending: more than a job may take with all its attempts on a slow machine.
const STALL: Duration = Duration::from_secs(20 * 60);

/// What a run of the demo is made of.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) settings: Settings,
    pub(crate) world: World,
    /// The pictures; `None`: the demo makes its own.
    pub(crate) pictures: Option<Vec<PathBuf>>,
    /// The output directory, made if need be.
    pub(crate) out: PathBuf,
}

/// The pictures in a directory, by the ends of their names; not those below it.
pub(crate) async fn pictures_in(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error| Failure::Usage(format!("cannot read the directory {}: {error}", dir.display()));
    let mut entries = tokio::fs::read_dir(dir).await.map_err(unreadable)?;
    let mut pictures = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
        let path = entry.path();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let is_picture = matches!(ending.as_deref(), Some("jpg" | "jpeg" | "png" | "webp"));
        if is_picture && tokio::fs::metadata(&path).await.is_ok_and(|meta| meta.is_file()) {
            pictures.push(path);
        }
    }
    if pictures.is_empty() {
        return Err(Failure::Usage(format!("no picture in {}: no file *.jpg, *.jpeg, *.png or *.webp", dir.display())));
    }
    pictures.sort();
    Ok(pictures)
}

impl Story {
    /// Runs the demo, and leaves outputs and `summary.json` in the output directory.
    pub(crate) async fn run(self, bar: &Progress) -> Result<Summary, Failure> {
        let scratch =
            TempDir::with_prefix("longshore-demo-").map_err(|error| local(&"a temporary directory", &error))?;
        let (pictures, kind) = match self.pictures {
            Some(pictures) => (pictures, Pictures::Given),
            None => (paint(scratch.path()).await?, Pictures::Samples),
        };
        tokio::fs::create_dir_all(&self.out).await.map_err(|error| local(&self.out.display(), &error))?;
        let outage = Arc::new(Outage::new(pictures.len() / 2 + 1));
        let files = scratch.path().join("files");
        // Pictures are too large for messages, and a store of files is nothing that the demo asks for.
        let own_files = self.settings.blobs.url.is_empty() || self.settings.blobs.url.reveal().starts_with("embedded:");
        let setup = Setup { settings: &self.settings, world: &self.world, files: own_files.then_some(files.as_path()) };
        let fleet = Fleet::start(&setup, &outage).await?;
        let begun = self.world.clock.boot();
        let told = tell(&fleet, &outage, pictures, &self.out, &self.world, bar).await;
        let took = self.world.clock.boot().saturating_sub(begun);
        fleet.stop().await;
        let (rows, stopped) = told?;
        let mut summary = Summary::new(rows, kind, stopped);
        (summary.took_ms, summary.out) = (span::ms(took), self.out);
        write(&summary).await?;
        Ok(summary)
    }
}

/// Sends the pictures, collects what comes of them, and stops a worker when the time has come.
async fn tell(
    fleet: &Fleet,
    outage: &Outage,
    pictures: Vec<PathBuf>,
    out: &Path,
    world: &World,
    bar: &Progress,
) -> Result<(Vec<Row>, Option<&'static str>), Failure> {
    bar.length(pictures.len() as u64, "pictures");
    let mut rows = Vec::with_capacity(pictures.len());
    let ended = stream::iter(pictures).map(|picture| ingest(fleet, picture, out)).buffer_unordered(UNDER_WAY);
    let mut ended = pin!(ended);
    let mut interrupt = pin!(tokio::signal::ctrl_c());
    let mut stopped = None;
    let mut stop = pin!(async {
        let worker = outage.struck().await;
        fleet.stop_worker(worker).await;
        worker
    });
    loop {
        let next = world.clock.timeout(STALL, ended.next());
        tokio::select! {
            biased;
            // Where the signal cannot be heard, it ends the process as ever.
            Ok(()) = &mut interrupt => {
                return Err(Failure::Interrupted("the demo was ended; what is in its output directory is whole".into()));
            }
            worker = &mut stop, if stopped.is_none() => {
                bar.say(&format!("{worker} was stopped"));
                stopped = Some(worker);
            }
            row = next => match row {
                Some(Some(row)) => {
                    rows.push(row);
                    bar.at(rows.len() as u64);
                }
                Some(None) => return Ok((rows, stopped)),
                None => {
                    return Err(Failure::TimedOut(format!("no picture was ready within {}", span::show(STALL))));
                }
            },
        }
    }
}

/// One picture, from the file to its renditions.
async fn ingest(fleet: &Fleet, picture: PathBuf, out: &Path) -> Row {
    let image = picture.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let job = fleet.producer.job(Ingest { asset: image.clone() }).title(image.as_str()).file(&picture);
    let sent = match job.send().await {
        Ok(sent) => sent,
        Err(error) => return Row::refused(image, &error),
    };
    let report = match sent.outcome().await {
        Ok(report) => report,
        Err(error) => return Row::lost(image, sent.id, &error),
    };
    let dir = out.join(&image);
    let mut row = Row::ended(image, &report.job, fleet.runs(&report.job));
    if row.reason.is_none() {
        match report.save_outputs(dir).await {
            Ok(_) => row.written = true,
            Err(error) => row.reason = Some(error.to_string()),
        }
    }
    row
}

async fn paint(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let dir = dir.join("samples");
    let painted = tokio::task::spawn_blocking(move || {
        std::fs::create_dir(&dir)?;
        samples::write_to(&dir)
    });
    let painted = painted.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    painted.map_err(|error| local(&"the sample pictures", &error))
}

async fn write(summary: &Summary) -> Result<(), Failure> {
    let path = summary.out.join("summary.json");
    let json = serde_json::to_vec_pretty(summary).map_err(|error| local(&path.display(), &error))?;
    tokio::fs::write(&path, json).await.map_err(|error| local(&path.display(), &error))
}

fn local(what: &dyn Display, error: &dyn Display) -> Failure {
    Failure::Failed(format!("cannot write {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pictures_are_told_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let refused = pictures_in(dir.path()).await.unwrap_err().to_string();
        assert!(refused.contains("*.webp"), "{refused}");
        for name in ["b.JPG", "a.png", "notes.txt", "c.webp", "png"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("folder.png")).unwrap();
        let found = pictures_in(dir.path()).await.unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.png", "b.JPG", "c.webp"]);
        assert!(pictures_in(&dir.path().join("nowhere")).await.is_err());
    }
}
