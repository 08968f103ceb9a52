//! `longshore queue apply|history`: changing the queues of the fleet, and what was changed.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Table, Tone, clean, clean_lines, moment};
use crate::session::Session;
use longshore_model::limits::QUEUES_BYTES;
use longshore_model::span::rfc3339;
use longshore_producer::{QueueChange, QueueSet, QueuesError};
use serde::Serialize;
use std::path::PathBuf;
use tokio::io::AsyncReadExt;

#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// A file with [[queues]], and nothing else.
    file: PathBuf,
    /// Apply it; without this, only the difference is shown.
    #[arg(long)]
    yes: bool,
    /// Who asks, for the history.
    #[arg(long, value_name = "NAME", default_value = "the command line")]
    by: String,
}

pub(super) async fn apply(args: Apply, session: &mut Session) -> Result<Exit, Failure> {
    let name = args.file.display().to_string();
    let text = read(&args.file, &name).await?;
    let producer = session.reader().await?;
    let change = producer.apply_queues(&name, &text, &args.by, !args.yes).await.map_err(|error| match error {
        QueuesError::Problems(problems) => Failure::Usage(problems),
        QueuesError::Changed(_) => Failure::Failed(error.to_string()),
        QueuesError::Fault(fault) => fault.into(),
    })?;
    let pending = !args.yes && !change.is_empty();
    session.out.answer(&Applied(change))?;
    if pending {
        session.out.note("nothing was changed; --yes applies it");
        return Ok(Exit::Usage);
    }
    Ok(Exit::Done)
}

/// Never reads more than what is allowed.
async fn read(path: &std::path::Path, name: &str) -> Result<String, Failure> {
    let file = tokio::fs::File::open(path).await;
    let file = file.map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    let mut text = String::new();
    let most = QUEUES_BYTES as u64 + 1;
    let read = file.take(most).read_to_string(&mut text).await;
    read.map_err(|error| Failure::Usage(format!("cannot read {name}: {error}")))?;
    if text.len() > QUEUES_BYTES {
        return Err(Failure::Usage(format!("{name} has more than {QUEUES_BYTES} bytes")));
    }
    Ok(text)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Applied(QueueChange);

impl Answer for Applied {
    fn text(&self, screen: Screen) -> String {
        let QueueChange { version, applied, added, removed, changed } = &self.0;
        let lines = |sign: &str, tone, text: &str| -> String {
            text.trim_end().lines().map(|line| screen.paint(tone, &format!("{sign} {line}")) + "\n").collect()
        };
        let mut out = String::new();
        for text in removed.values() {
            out += &(lines("-", Tone::Bad, text) + "\n");
        }
        for (before, after) in changed.values() {
            let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
            for line in &old {
                let sign = if new.contains(line) { (" ", Tone::Plain) } else { ("-", Tone::Bad) };
                out += &lines(sign.0, sign.1, line);
            }
            for line in new.iter().filter(|line| !old.contains(line)) {
                out += &lines("+", Tone::Good, line);
            }
            out.push('\n');
        }
        for text in added.values() {
            out += &(lines("+", Tone::Good, text) + "\n");
        }
        let end = match (self.0.is_empty(), applied) {
            (true, _) => format!("no difference; version {version} is there"),
            (false, true) => format!("applied as version {version}"),
            (false, false) => format!("version {version} is there"),
        };
        format!("{}{end}", clean_lines(&out))
    }
}

pub(super) async fn history(session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let now = producer.queue_set().await?;
    let past = producer.past_queues().await?;
    session.out.answer(&History { versions: now.into_iter().chain(past).map(Version::from).collect() })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct History {
    versions: Vec<Version>,
}

#[derive(Debug, Serialize)]
struct Version {
    version: u64,
    by: String,
    at: String,
    /// The queues, TOML.
    text: String,
}

impl From<QueueSet> for Version {
    fn from(set: QueueSet) -> Self {
        Self { version: set.version, by: set.by, at: rfc3339(set.at), text: set.text }
    }
}

impl Answer for History {
    fn text(&self, screen: Screen) -> String {
        if self.versions.is_empty() {
            return "no queues were applied; every program goes by its own settings".to_owned();
        }
        let mut table = Table::new(&["VERSION", "AT", "BY", "QUEUES"]);
        for version in &self.versions {
            let queues = version.text.matches("[[queues]]").count().to_string();
            let by = clean(&version.by).into_owned();
            table.row([version.version.to_string().into(), moment(&version.at).into(), by.into(), queues.into()]);
        }
        table.show(screen)
    }
}
