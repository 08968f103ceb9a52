//! One run: the field is made, struck and cleared, and what it left behind is judged.

use super::checker::{self, Story, Summary, Verdict};
use super::faults::Work;
use super::field::{Field, Setup, With, final_file, history_file};
use super::history::{self, Event, History};
use super::rows::{Dose, Row, Size};
use super::survey::Final;
use futures_util::FutureExt;
use std::fmt;
use std::fs;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Work before the next strike.
const FIRST: Duration = Duration::from_millis(500);

/// How a run is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// How hard.
    pub size: Size,
    /// Everything random follows from it.
    pub seed: u64,
    /// Jobs, instead of what the row says.
    pub jobs: Option<usize>,
    /// Strikes, instead of what the row says.
    pub times: Option<usize>,
    /// No more strikes after so long.
    pub limit: Option<Duration>,
}

/// What a run came to, with what it takes to look at it or to repeat it.
#[derive(Debug)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// History, end, logs.
    pub directory: PathBuf,
    /// Repeats it.
    pub command: String,
}

impl Outcome {
    /// Whether nothing forbidden happened.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdict.violations.is_empty()
    }

    /// The counts.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.verdict.summary
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.verdict.summary)?;
        let violations = &self.verdict.violations;
        if violations.is_empty() {
            return Ok(());
        }
        write!(f, "\n  {} violations:", violations.len())?;
        for violation in violations.iter().take(20) {
            write!(f, "\n  - {}: {}", violation.check, violation.what)?;
        }
        write!(f, "\n  kept in {}\n  again: {}", self.directory.display(), self.command)
    }
}

/// Runs a row.
///
/// # Panics
/// When the history of the run cannot be read.
pub async fn row(row: &Row, order: Order, with: With) -> Outcome {
    let mut dose = row.dose(order.size);
    dose.times = order.times.unwrap_or(dose.times);
    let jobs = order.jobs.unwrap_or_else(|| order.size.of(row.jobs));
    let setup = Setup {
        scenario: row.name.to_owned(),
        seed: order.seed,
        jobs,
        mix: (row.mix)(),
        workers: row.workers,
        slots: row.slots,
        lease: Duration::from_secs(row.lease),
        settings: row.settings.to_owned(),
        broker: row.broker.iter().map(|line| (*line).to_owned()).collect(),
        with,
        allowed: (row.allowed)(&dose),
        directory: directory(row.name, order.seed),
    };
    let size = match order.size {
        Size::Short => " --short",
        Size::Usual => "",
        Size::Matrix => " --matrix",
    };
    let other = setup.with.other.as_ref().map(|path| format!(" --other {}", path.display())).unwrap_or_default();
    let command = format!(
        "cargo run --release -p longshore-tests --bin fire -- {}{size} --seed {} --jobs {jobs} --times {}{other}",
        row.name, order.seed, dose.times
    );
    // What is limited in time has work until then.
    let span = order.limit.unwrap_or_else(|| row.span(&dose));
    let (strike, limit) = (row.strike, order.limit.unwrap_or(Duration::MAX));
    Box::pin(run(setup, span, command, &dose, |field, dose| Box::pin(struck(field, dose, strike, limit)))).await
}

async fn struck(
    field: &mut Field,
    dose: &Dose,
    strike: for<'a> fn(&'a mut Field, &'a Dose, usize) -> Work<'a>,
    limit: Duration,
) {
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    for number in 0..dose.times {
        if begun.elapsed() > limit {
            field.measured(format!("time was up after {number} of {} strikes", dose.times));
            break;
        }
        // Some work first, so that there is something to strike.
        field.wait(FIRST).await;
        strike(field, dose, number).await;
        longest = longest.max(field.until_it_goes_on().await);
    }
    field.measured(format!("jobs ended again at most {:.1} s after a fault", longest.as_secs_f64()));
}

/// Runs anything.
async fn run(
    setup: Setup,
    span: Duration,
    command: String,
    dose: &Dose,
    body: impl for<'a> FnOnce(&'a mut Field, &'a Dose) -> Work<'a>,
) -> Outcome {
    let directory = setup.directory.clone();
    let lived = AssertUnwindSafe(async {
        let mut field = Box::pin(Field::start(setup)).await;
        field.send_over(span);
        body(&mut field, dose).await;
        field.finish().await
    });
    let (last, whole) = match lived.catch_unwind().await {
        Ok(last) => (last, true),
        Err(panic) => {
            let what = panic.downcast_ref::<String>().cloned();
            let what = what.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = what.unwrap_or_else(|| "a panic without a text".to_owned());
            let history = History::open(&history_file(&directory)).expect("open the history");
            history.note(Event::Broken { what: format!("the harness gave up: {what}") });
            (Final::default(), false)
        }
    };
    let lines = history::read(&history_file(&directory)).expect("read the history");
    let mut verdict = checker::judge(&Story::of(&lines), &last);
    if !whole {
        // Without an end nothing can be said of jobs, except that this is no pass.
        verdict.violations.retain(|violation| violation.check == checker::PROMISE);
    }
    let outcome = Outcome { verdict, directory, command };
    if outcome.passed() {
        // What passed is told by its counts.
        let _ = fs::remove_dir_all(&outcome.directory);
    }
    outcome
}

/// Judges a directory that was kept.
///
/// # Errors
/// When its files cannot be read.
pub fn check(directory: &Path) -> io::Result<Verdict> {
    let lines = history::read(&history_file(directory))?;
    let last: Final = serde_json::from_slice(&fs::read(final_file(directory))?)?;
    Ok(checker::judge(&Story::of(&lines), &last))
}

/// A directory that no other run has.
fn directory(name: &str, seed: u64) -> PathBuf {
    let unique = uuid::Uuid::now_v7().simple().to_string();
    std::env::temp_dir().join("longshore-fire").join(format!("{name}-{seed}-{}", &unique[..12]))
}
