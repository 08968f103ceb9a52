//! `longshore job import`: many jobs, one JSON object a line, in bounded memory.
//!
//! What is wrong with a line is told with its number and does not hold up the others. Where the store
//! or the answer is missing, the import stops, because going on would only fail more slowly; the report
//! says which lines were not sent.

use super::lines::{Line, Lines};
use super::spec::Spec;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::{Answer, Progress, Screen, Tone};
use crate::session::Session;
use longshore_model::limits;
use longshore_producer::{JobBuilder, JobId, Producer, SendError, Sent};
use serde::Serialize;
use std::path::PathBuf;
use std::pin::Pin;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, BufReader};

/// Jobs that are sent together, and how many bytes of lines that may be.
const PART: usize = 4 * limits::BATCH;
const PART_BYTES: usize = 2 * limits::BATCH_BYTES;
/// Longest line, bytes: a job that fits into an envelope fits into it.
const LINE_BYTES: usize = limits::ENVELOPE_BYTES;
/// Most problems in the JSON report; stderr gets all of them.
const PROBLEMS: usize = 1_000;

#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "A line: {\"topic\": \"media/thumbnail\", \"payload\": {…}}, and optionally \"id\", \"in\", \
                             \"at\", \"retries\", \"retry_delay\", \"timeout\", \"expires\", \"title\", \"labels\": {…}, \
                             \"inputs\": [\"file\", …], as for `job add`. Empty lines are skipped."
)]
pub(crate) struct Args {
    /// The file; - for stdin.
    file: PathBuf,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let bar = session.out.progress();
    let source = open(args, &bar).await?;
    let producer = session.producer().await?;
    let mut import = Import { producer, session, bar, report: Report::default() };
    let stopped = import.all(Lines::new(source, LINE_BYTES)).await;
    let Import { report, bar, .. } = import;
    drop(bar);
    session.out.answer(&report)?;
    stopped?;
    Ok(if report.problems() == 0 { Exit::Done } else { Exit::Failed })
}

async fn open(args: &Args, bar: &Progress) -> Result<Pin<Box<dyn AsyncBufRead>>, Failure> {
    if args.file.as_os_str() == "-" {
        bar.length(0, "bytes");
        return Ok(Box::pin(BufReader::new(tokio::io::stdin())));
    }
    let cannot = |error| Failure::Usage(format!("cannot read {}: {error}", args.file.display()));
    let file = File::open(&args.file).await.map_err(cannot)?;
    let size = file.metadata().await.map_err(cannot)?.len();
    bar.bytes(size);
    Ok(Box::pin(BufReader::with_capacity(64 * 1024, file)))
}

struct Import<'s> {
    producer: Producer,
    session: &'s mut Session,
    bar: Progress,
    report: Report,
}

impl Import<'_> {
    async fn all(&mut self, mut lines: Lines<Pin<Box<dyn AsyncBufRead>>>) -> Result<(), Failure> {
        let mut interrupt = Interrupt::listen().await;
        let (mut part, mut bytes) = (Vec::with_capacity(PART), 0);
        loop {
            let line = tokio::select! {
                biased;
                () = interrupt.heard() => {
                    let sent = part.first().map_or(self.report.lines, |(line, _)| line - 1);
                    return Err(Failure::Interrupted(format!("interrupted: lines after line {sent} were not sent")));
                }
                line = lines.next() => line,
            };
            match line {
                Ok(Some(line)) => {
                    bytes += line.bytes.as_ref().map_or(0, Vec::len);
                    self.read(&line, &mut part);
                    if part.len() >= PART || bytes >= PART_BYTES {
                        self.send(&mut part).await?;
                        self.bar.at(lines.read);
                        bytes = 0;
                    }
                }
                Ok(None) => {
                    self.send(&mut part).await?;
                    self.bar.at(lines.read);
                    self.report.complete = true;
                    return Ok(());
                }
                Err(error) => {
                    self.send(&mut part).await?;
                    let line = self.report.lines + 1;
                    return Err(Failure::Failed(format!("line {line} cannot be read: {error}; the rest was not sent")));
                }
            }
        }
    }

    fn read(&mut self, line: &Line, part: &mut Vec<(u64, JobBuilder)>) {
        self.report.lines = line.number;
        let spec = match &line.bytes {
            None => Err(format!("longer than {LINE_BYTES} bytes; send large input as a file, in `inputs`")),
            Some(bytes) if bytes.trim_ascii().is_empty() => return,
            Some(bytes) => Spec::read(bytes),
        };
        match spec {
            Ok(spec) => part.push((line.number, spec.build(&self.producer))),
            Err(error) => self.problem(Problem { line: line.number, kind: Kind::Refused, id: None, error }),
        }
    }

    /// Sends a part, which is empty afterwards.
    ///
    /// # Errors
    /// When it is no use going on.
    async fn send(&mut self, part: &mut Vec<(u64, JobBuilder)>) -> Result<(), Failure> {
        let (lines, jobs): (Vec<(u64, JobId)>, Vec<JobBuilder>) =
            part.drain(..).map(|(line, job)| ((line, job.job_id()), job)).unzip();
        let answers = self.producer.send_all(jobs).await;
        let mut away = None;
        for ((line, id), answer) in lines.into_iter().zip(answers) {
            away = self.note(line, id, answer).or(away);
        }
        self.bar.say(&self.report.sum());
        match away {
            None => Ok(()),
            Some(why) => Err(Failure::Failed(format!(
                "stopped: {why}; lines after line {} were not sent, nor those reported as unsent",
                self.report.lines
            ))),
        }
    }

    /// Notes one answer; with the reason, when others cannot do better.
    fn note(&mut self, line: u64, id: JobId, answer: Result<Sent, SendError>) -> Option<String> {
        let error = match answer {
            Ok(sent) => {
                let count = if sent.existed { &mut self.report.existed } else { &mut self.report.accepted };
                *count += 1;
                return None;
            }
            Err(error) => error,
        };
        let (kind, id, away) = match &error {
            SendError::Refused(_) => (Kind::Refused, None, None),
            SendError::Unreachable { fault, .. } | SendError::NotSpooled { fault, .. } => {
                (Kind::Unsent, None, Some(fault.to_string()))
            }
            SendError::Unknown { fault, .. } => (Kind::Unknown, Some(id), Some(fault.to_string())),
        };
        self.problem(Problem { line, kind, id, error: error.to_string() });
        away
    }

    fn problem(&mut self, problem: Problem) {
        let text = format!("line {}: {}", problem.line, problem.error);
        let out = &mut self.session.out;
        self.bar.aside(|| out.error(&text));
        let count = match problem.kind {
            Kind::Refused => &mut self.report.refused,
            Kind::Unsent => &mut self.report.unsent,
            Kind::Unknown => &mut self.report.unknown,
        };
        *count += 1;
        if self.report.listed.len() < PROBLEMS {
            self.report.listed.push(problem);
        }
    }
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Lines read.
    lines: u64,
    /// New jobs.
    accepted: u64,
    /// Jobs that had been sent before, with the same id.
    existed: u64,
    /// Lines that will be refused again until they change.
    refused: u64,
    /// Jobs that were surely not accepted; sending them again is right.
    unsent: u64,
    /// Jobs that may have been accepted; sending them again is safe with the id in the report.
    unknown: u64,
    /// Whether every line was read.
    complete: bool,
    /// The first thousand lines that were not accepted.
    #[serde(rename = "problems")]
    listed: Vec<Problem>,
}

#[derive(Debug, Serialize)]
struct Problem {
    line: u64,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<JobId>,
    error: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Refused,
    Unsent,
    Unknown,
}

impl Report {
    const fn problems(&self) -> u64 {
        self.refused + self.unsent + self.unknown
    }

    fn sum(&self) -> String {
        let counts = [
            (self.accepted, "accepted"),
            (self.existed, "sent before"),
            (self.refused, "refused"),
            (self.unsent, "not sent"),
            (self.unknown, "unknown"),
        ];
        let shown = counts.iter().enumerate().filter(|(index, (count, _))| *index == 0 || *count > 0);
        shown.map(|(_, (count, what))| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

impl Answer for Report {
    fn text(&self, screen: Screen) -> String {
        let tone = if self.complete && self.problems() == 0 { Tone::Good } else { Tone::Bad };
        format!("{} lines: {}", self.lines, screen.paint(tone, &self.sum()))
    }
}
