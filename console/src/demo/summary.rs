//! What came of the demo: one row per picture, and what is true of the whole.

use super::images::Metadata;
use super::samples;
use super::worker::{Ingested, Made};
use longshore_producer::{JobId, JobView, State, Time};
use serde::Serialize;
use std::path::PathBuf;

/// The whole run; also the content of `summary.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Pictures sent.
    pub(crate) pictures: usize,
    /// Pictures whose renditions are in the output directory.
    pub(crate) succeeded: usize,
    /// The others; each has its reason.
    pub(crate) failed: usize,
    /// Pictures without an end. There should be none, whatever was stopped.
    pub(crate) lost: usize,
    /// Pictures that were begun on one worker and ended on another.
    pub(crate) moved: usize,
    /// The worker that was stopped half way.
    pub(crate) stopped: Option<&'static str>,
    /// Whether all pictures succeeded, but for a broken one that the demo itself made.
    pub(crate) as_expected: bool,
    /// From the first send to the last file, milliseconds.
    pub(crate) took_ms: u64,
    /// The output directory.
    pub(crate) out: PathBuf,
    /// One for each picture, in the order of names.
    pub(crate) images: Vec<Row>,
}

/// One picture.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Row {
    /// File name.
    pub(crate) image: String,
    /// Its job, when it was accepted.
    pub(crate) id: Option<JobId>,
    /// Where its job ended; absent when it was refused or its end was not seen.
    pub(crate) state: Option<State>,
    /// Whether its renditions are in the output directory.
    pub(crate) written: bool,
    /// The worker that ended it.
    pub(crate) worker: Option<String>,
    /// Attempts started.
    pub(crate) attempts: u32,
    /// Each attempt, oldest first.
    pub(crate) runs: Vec<Run>,
    /// What was made of it.
    pub(crate) renditions: Vec<Made>,
    /// What is known of it.
    pub(crate) metadata: Option<Metadata>,
    /// The last attempt, milliseconds.
    pub(crate) took_ms: Option<u64>,
    /// Why there are no renditions.
    pub(crate) reason: Option<String>,
}

/// One attempt.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    /// Who ran it.
    pub(crate) worker: String,
    /// How it ended.
    pub(crate) outcome: String,
}

impl Row {
    /// A picture that was not accepted.
    pub(super) fn refused(image: String, why: &dyn std::fmt::Display) -> Self {
        Self { image, reason: Some(why.to_string()), ..Self::default() }
    }

    /// A picture that was accepted and whose end was not seen.
    pub(super) fn lost(image: String, id: JobId, why: &dyn std::fmt::Display) -> Self {
        Self { id: Some(id), ..Self::refused(image, why) }
    }

    /// A picture whose job has ended; its files are still to be written.
    pub(super) fn ended(image: String, job: &JobView, runs: Vec<(String, String)>) -> Self {
        let runs: Vec<Run> = runs.into_iter().map(|(worker, outcome)| Run { worker, outcome }).collect();
        let ms = |time: &Option<String>| Some(time.as_deref()?.parse::<Time>().ok()?.unix_ms());
        let took_ms =
            ms(&job.finished).zip(ms(&job.started)).map(|(finished, started)| finished.saturating_sub(started));
        let mut row = Self {
            image,
            id: Some(job.id),
            state: Some(job.state),
            worker: runs.last().map(|run| run.worker.clone()),
            attempts: job.attempt,
            runs,
            took_ms,
            ..Self::default()
        };
        if job.state != State::Succeeded {
            let reason = || job.reason.map_or_else(|| job.state.to_string(), |reason| reason.to_string());
            row.reason = Some(job.message.clone().unwrap_or_else(reason));
            return row;
        }
        match job.result.as_ref().map(|result| serde_json::from_str::<Ingested>(result.get())) {
            Some(Ok(Ingested { metadata, renditions })) => {
                (row.metadata, row.renditions) = (Some(metadata), renditions);
            }
            Some(Err(error)) => row.reason = Some(format!("its result is something else: {error}")),
            None => row.reason = Some("it left no result".into()),
        }
        row
    }

    /// The worker it was begun on, when another one ended it.
    pub(crate) fn moved_from(&self) -> Option<&str> {
        let last = self.worker.as_deref()?;
        self.runs.iter().map(|run| run.worker.as_str()).find(|worker| *worker != last)
    }

    fn is_lost(&self) -> bool {
        self.id.is_some() && self.state.is_none()
    }
}

/// Whether failures are part of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pictures {
    /// Somebody's: all should succeed.
    Given,
    /// The demo's own, one of which is broken.
    Samples,
}

impl Pictures {
    /// Whether a picture ended as it should.
    fn expects(self, row: &Row) -> bool {
        match self {
            Self::Samples if row.image == samples::BROKEN => row.state == Some(State::Error),
            Self::Samples | Self::Given => row.written,
        }
    }
}

impl Summary {
    pub(super) fn new(mut images: Vec<Row>, kind: Pictures, stopped: Option<&'static str>) -> Self {
        images.sort_by(|a, b| a.image.cmp(&b.image));
        let count = |what: fn(&Row) -> bool| images.iter().filter(|row| what(row)).count();
        Self {
            pictures: images.len(),
            succeeded: count(|row| row.written),
            failed: count(|row| !row.written && !row.is_lost()),
            lost: count(Row::is_lost),
            moved: count(|row| row.moved_from().is_some()),
            stopped,
            as_expected: images.iter().all(|row| kind.expects(row)),
            took_ms: 0,
            out: PathBuf::new(),
            images,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, state: Option<State>, written: bool, workers: &[&str]) -> Row {
        let run = |worker: &&str| Run { worker: (*worker).to_owned(), outcome: String::new() };
        Row {
            image: image.into(),
            id: Some("019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00".parse().unwrap()),
            state,
            written,
            worker: workers.last().map(|worker| (*worker).to_owned()),
            runs: workers.iter().map(run).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn what_is_expected_depends_on_whose_pictures_they_are() {
        let rows = || {
            vec![
                row(samples::BROKEN, Some(State::Error), false, &["a"]),
                row("fine.png", Some(State::Succeeded), true, &["a", "b"]),
            ]
        };
        let summary = Summary::new(rows(), Pictures::Samples, Some("a"));
        assert!(summary.as_expected);
        assert_eq!((summary.succeeded, summary.failed, summary.lost, summary.moved), (1, 1, 0, 1));
        assert_eq!(summary.images[0].image, "fine.png");
        assert!(!Summary::new(rows(), Pictures::Given, None).as_expected);
    }

    #[test]
    fn a_picture_without_an_end_is_lost_and_never_expected() {
        for kind in [Pictures::Given, Pictures::Samples] {
            let summary = Summary::new(vec![row(samples::BROKEN, None, false, &[])], kind, None);
            assert!(!summary.as_expected);
            assert_eq!((summary.failed, summary.lost), (0, 1));
        }
    }

    #[test]
    fn a_second_run_on_the_same_worker_is_no_move() {
        assert_eq!(row("x", None, false, &["a", "a"]).moved_from(), None);
        assert_eq!(row("x", None, false, &["a", "b"]).moved_from(), Some("a"));
    }
}
