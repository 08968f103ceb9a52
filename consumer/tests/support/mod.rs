//! What the tests of exec handlers share: shell scripts as handlers, and waiting for processes to end.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bytes::Bytes;
use longshore_consumer::program::exec::{
    child::{ExecSpec, Launcher, run},
    protocol::{ExecLine, ExecOutcome},
};
use longshore_model::{JobId, Topic};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

/// No condition that a test waits for takes longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// How often a condition is looked at that no signal announces.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A launcher with the real program's guard mode, in an environment that holds one secret of the consumer.
pub(crate) fn launcher() -> Launcher {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let environment =
        [("PATH", path), ("INHERITED", "yes".into()), ("LONGSHORE_BROKER__URL", "amqp://user:secret@broker".into())];
    Launcher::with_guard(
        env!("CARGO_BIN_EXE_longshore-consumer").into(),
        environment.map(|(name, value)| (OsString::from(name), value)),
    )
}

/// A handler that is a shell script; it finds `dir` as its working and its output directory.
pub(crate) fn script(dir: &Path, script: &str) -> ExecSpec {
    ExecSpec {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("CONFIGURED".into(), "too".into())],
        cwd: Some(dir.to_owned()),
        grace: Duration::from_secs(10),
        job: JobId::new(1_700_000_000_000, [7; 16], 0),
        topic: Topic::new("media/thumbnail").unwrap(),
        attempt: 3,
        retry: 2,
        timeout: None,
        soft_timeout: None,
        input_dir: "/input".into(),
        output_dir: dir.to_owned(),
    }
}

/// What a script wrote to stderr, and how it ended.
pub(crate) struct Ran {
    pub(crate) outcome: ExecOutcome,
    pub(crate) lines: Vec<ExecLine>,
}

/// Runs a script that nobody stops.
pub(crate) async fn run_script(text: &str, payload: impl Into<Bytes>) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    run_spec(&script(dir.path(), text), payload, &CancellationToken::new()).await
}

/// Runs a script that may be stopped.
pub(crate) async fn run_spec(spec: &ExecSpec, payload: impl Into<Bytes>, cancel: &CancellationToken) -> Ran {
    let mut lines = Vec::new();
    let outcome = run_watched(spec, payload, cancel, |line| lines.push(line)).await;
    Ran { outcome, lines }
}

/// Runs a script and looks at its lines as they come.
pub(crate) async fn run_watched(
    spec: &ExecSpec,
    payload: impl Into<Bytes>,
    cancel: &CancellationToken,
    on_line: impl FnMut(ExecLine),
) -> ExecOutcome {
    let launcher = launcher();
    let hint = CancellationToken::new();
    let running = run(&launcher, spec, payload.into(), &hint, cancel, on_line);
    tokio::time::timeout(DEADLINE, running).await.expect("the run did not end in time")
}

/// Starts a family: the script itself, a child, a grandchild in a session of its own, and one that also cleared its
/// environment and was orphaned. Each writes its number to a file; `family` reads them when all are there.
pub(crate) const FAMILY: &str = r#"
    echo $LONGSHORE_GUARD > guard.tmp; mv guard.tmp guard.pid
    born='echo $$ > $0.tmp; mv $0.tmp $0.pid; exec sleep 1000'
    sh -c "$born" child &
    setsid sh -c "$born" grandchild &
    setsid sh -c "env -i PATH=\"$PATH\" setsid sh -c '$born' orphan &" &
    echo $$ > main.tmp; mv main.tmp main.pid
    wait; sleep 1000
"#;

/// Waits for the whole family of [`FAMILY`] and gives their process numbers.
pub(crate) async fn family(dir: &Path) -> Family {
    let read = |name: &str| {
        let text = fs::read_to_string(dir.join(format!("{name}.pid"))).ok()?;
        text.trim().parse::<i32>().ok()
    };
    let names = ["guard", "main", "child", "grandchild", "orphan"];
    wait_for("the family to be complete", DEADLINE, || names.iter().all(|name| read(name).is_some())).await;
    Family(names.iter().map(|name| ((*name).to_owned(), read(name).unwrap())).collect())
}

pub(crate) struct Family(pub(crate) Vec<(String, i32)>);

impl Family {
    pub(crate) fn pid(&self, name: &str) -> i32 {
        self.0.iter().find(|(member, _)| member == name).map(|(_, pid)| *pid).unwrap()
    }

    pub(crate) fn living(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, pid)| is_alive(*pid)).map(|(name, _)| name.as_str()).collect()
    }

    /// Fails unless nobody is alive `within` this time.
    pub(crate) async fn assert_dies(&self, within: Duration) {
        let (start, mut looks) = (Instant::now(), tokio::time::interval(LOOK_AGAIN));
        while start.elapsed() < within && !self.living().is_empty() {
            looks.tick().await;
        }
        assert_eq!(self.living(), Vec::<&str>::new(), "still alive after {within:?}");
    }
}

/// Whether a process runs; one that ended and only waits to be reaped does not.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

pub(crate) fn kill(pid: i32) {
    signal(pid, Signal::KILL);
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub(crate) async fn dies_within(pid: i32, within: Duration) -> bool {
    let (start, mut looks) = (Instant::now(), tokio::time::interval(LOOK_AGAIN));
    while is_alive(pid) && start.elapsed() < within {
        looks.tick().await;
    }
    !is_alive(pid)
}

/// Polls a condition that no signal announces, because another process brings it about.
pub(crate) async fn wait_for(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let (start, mut looks) = (Instant::now(), tokio::time::interval(LOOK_AGAIN));
    while !condition() {
        assert!(start.elapsed() < within, "waited {within:?} for {what}");
        looks.tick().await;
    }
}

/// As [`wait_for`], for a condition that has to be asked for.
pub(crate) async fn wait_until(mut condition: impl AsyncFnMut() -> bool) {
    let asking = async {
        let mut looks = tokio::time::interval(LOOK_AGAIN);
        while !condition().await {
            looks.tick().await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("the condition comes true");
}

/// The open descriptors of this process.
pub(crate) fn descriptors() -> Vec<PathBuf> {
    let mut open: Vec<PathBuf> =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).collect();
    open.sort();
    open
}
