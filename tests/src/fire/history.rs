//! The history of a run: one file of JSON lines that the harness and all its processes append to.
//!
//! Every line is one write to a file opened for appending, so the order of lines is an order in time that all processes
//! agree on, whatever their clocks say: what an attempt wrote before it did anything comes before what another process
//! wrote after it saw that. The checker judges by this order; the times are for people.

use longshore_link::World;
use longshore_link::world::Clock;
use longshore_model::{Fence, JobId, State};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case")]
pub enum Event {
    /// The run begins; what it may do comes with it.
    Run {
        /// Name of the scenario.
        scenario: String,
        /// Everything random follows from it.
        seed: u64,
        /// What the checker lets pass.
        allowed: Allowed,
    },
    /// Jobs are about to be sent for the first time.
    Sending {
        /// The jobs.
        jobs: Vec<Intent>,
    },
    /// Sends were answered with Ok.
    Accepted {
        /// The jobs.
        ids: Vec<JobId>,
    },
    /// A send was answered with another job, which has its unique key; it is none itself.
    Merged {
        /// The job that was sent.
        id: JobId,
        /// The job that was there.
        into: JobId,
    },
    /// Sends were not answered with Ok: refused, unreachable or unknown. They are repeated with the same ids.
    NotAccepted {
        /// How many.
        count: usize,
        /// What one of them was told.
        why: String,
    },
    /// A process started.
    Born {
        /// Its name and how often it was started: `a#2`.
        who: String,
        /// Its process id.
        pid: u32,
    },
    /// A process is gone.
    Died {
        /// Who.
        who: String,
        /// How: `killed`, `ended`, or what its exit status says.
        how: String,
    },
    /// A process or a service does not run until it is thawed.
    Frozen {
        /// Who.
        who: String,
    },
    /// It goes on.
    Thawed {
        /// Who.
        who: String,
    },
    /// A fault begins.
    Fault {
        /// Its kind.
        kind: String,
        /// Whom it hits; empty: all.
        on: String,
    },
    /// The faults so far are over.
    Healed,
    /// A handler begins.
    Began {
        /// The job.
        id: JobId,
        /// The attempt.
        fence: Fence,
        /// Its number.
        attempt: u32,
        /// The process.
        who: String,
    },
    /// A handler ends.
    Ended {
        /// The job.
        id: JobId,
        /// The attempt.
        fence: Fence,
        /// How.
        how: How,
    },
    /// The store says that jobs have ended.
    Seen {
        /// The job, its state, and when it entered it, ms of the store's clock.
        jobs: Vec<(JobId, State, u64)>,
    },
    /// The store is about to lose jobs that no copy in the broker stands for: they waited for their time.
    Forgotten {
        /// The jobs.
        ids: Vec<JobId>,
    },
    /// A promise that only the scenario can check was broken.
    Broken {
        /// Which.
        what: String,
    },
    /// Something worth knowing that was measured.
    Measured {
        /// What.
        what: String,
    },
}

/// What a job is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The job.
    pub id: JobId,
    /// How it should end.
    pub end: State,
    /// How many of its attempts fail on purpose.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fails: u32,
    /// How long it is not to start after it was sent, ms.
    #[serde(default, skip_serializing_if = "is_zero_ms")]
    pub after_ms: u64,
    /// What it has to pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
    /// How often it is tried again after failures of the kind for which it has a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<u32>,
    /// Whether it is sent with a file, and its attempts leave one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub files: bool,
}

impl Intent {
    /// A job that is to end so, and asks for nothing.
    #[must_use]
    pub const fn plain(id: JobId, end: State) -> Self {
        Self { id, end, fails: 0, after_ms: 0, gate: None, rule: None, files: false }
    }
}

/// What a job has to pass, beside its time; each has keys that are told apart by a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// An order key.
    Order(u32),
    /// A unique key, until its job has ended.
    Unique(u32),
    /// A limit.
    Limit {
        /// The key.
        key: u32,
        /// How many jobs it lets through at once, for each key.
        max: u32,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero_ms(n: &u64) -> bool {
    *n == 0
}

/// How a handler ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// It says that it is done.
    Done,
    /// It failed on purpose and wants to be called again.
    Failed,
    /// It failed for good, on purpose.
    Fatal,
    /// It was cancelled, or dropped.
    Cancelled,
}

/// What the checker lets pass, because the fault makes it legal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Allowed {
    /// Pairs of attempts of one job that ran at once.
    pub overlaps: usize,
    /// Attempts beside those that the jobs' own failures make necessary.
    pub extra_starts: usize,
    /// Attempts that the store counts as crashes.
    pub crashes: u64,
    /// Jobs that the store may not know any more, because it was wiped before it could be told of them.
    pub lost: usize,
}

impl Allowed {
    /// Nothing at all.
    pub const NOTHING: Self = Self { overlaps: 0, extra_starts: 0, crashes: 0, lost: 0 };
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, ms since 1970 by the writer's clock.
    pub t: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// The file, open for appending. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct History {
    file: Arc<File>,
    clock: Clock,
}

impl History {
    /// Opens the file, and makes it if it is not there.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(file), clock: World::system().clock })
    }

    /// Appends one line, in one write.
    ///
    /// # Panics
    /// When it cannot be written: a run without its history says nothing.
    pub fn note(&self, event: Event) {
        let line = Line { t: self.clock.unix_ms(), event };
        let mut text = serde_json::to_vec(&line).expect("a line is JSON");
        text.push(b'\n');
        (&*self.file).write_all(&text).expect("append to the history");
    }
}

/// Reads a history. A last line that was cut off (the machine stopped) is left out.
///
/// # Errors
/// When the file cannot be read, or a line within it is no line of a history.
pub fn read(path: &Path) -> io::Result<Vec<Line>> {
    let texts: Vec<String> = BufReader::new(File::open(path)?).lines().collect::<io::Result<_>>()?;
    let last = texts.len();
    let mut lines = Vec::with_capacity(last);
    for (index, text) in texts.iter().enumerate() {
        match serde_json::from_str(text) {
            Ok(line) => lines.push(line),
            Err(_) if index + 1 == last => {}
            Err(error) => {
                let error = format!("{}:{}: {error}", path.display(), index + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_order_and_a_torn_end_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        let history = History::open(&path).unwrap();
        let id = JobId::new(1, [7; 16], 0);
        let events = [
            Event::Run { scenario: "F1".into(), seed: 3, allowed: Allowed { overlaps: 2, ..Allowed::NOTHING } },
            Event::Sending { jobs: vec![Intent { fails: 1, ..Intent::plain(id, State::Succeeded) }] },
            Event::Began { id, fence: Fence(5), attempt: 1, who: "a#1".into() },
            Event::Ended { id, fence: Fence(5), how: How::Done },
            Event::Healed,
        ];
        for event in &events {
            history.clone().note(event.clone());
        }
        (&*history.file).write_all(b"{\"t\":1,\"e\":\"hea").unwrap();
        let read: Vec<Event> = read(&path).unwrap().into_iter().map(|line| line.event).collect();
        assert_eq!(read, events);
    }

    #[test]
    fn a_damaged_line_within_is_told_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("history.jsonl");
        std::fs::write(&path, "{\"t\":1,\"e\":\"healed\"}\nnonsense\n{\"t\":1,\"e\":\"healed\"}\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("history.jsonl:2"), "{error}");
    }
}
