//! The real program as a process: arguments, settings, health endpoints, signals.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

/// Settings for a program that needs no service.
const EMBEDDED: &str = r#"
broker.url = "embedded:"
store.url = "embedded:"
log.format = "json"
"#;

fn command(directory: &Path, settings: &str) -> Command {
    fs::write(directory.join("longshore.toml"), settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore-consumer"));
    command.current_dir(directory).env_clear().env("LONGSHORE_HOME", directory.join("home")).kill_on_drop(true);
    command
}

async fn run(settings: &str, args: &[&str]) -> (Output, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = timeout(DEADLINE, command(directory.path(), settings).args(args).output()).await.unwrap().unwrap();
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    (output, errors)
}

/// A running program and its log, as JSON lines.
struct Program {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    _directory: TempDir,
}

impl Program {
    fn start(settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = command(directory.path(), settings).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log, _directory: directory }
    }

    /// The next line of the log that has `text`.
    async fn logged(&mut self, text: &str) -> serde_json::Value {
        let found = timeout(DEADLINE, async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                if line.contains(text) {
                    return serde_json::from_str(&line).expect("the log is JSON");
                }
            }
            panic!("the log ended without {text}");
        });
        found.await.unwrap_or_else(|_| panic!("no line with {text}"))
    }

    async fn address(&mut self) -> String {
        self.logged("/readyz").await["address"].as_str().unwrap().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    async fn exit_code(&mut self) -> Option<i32> {
        timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap().code()
    }
}

async fn get(address: &str, path: &str) -> (u16, String) {
    // Every client of a build that can encrypt asks for one.
    longshore_link::tls::choose_provider();
    let answer = reqwest::get(format!("http://{address}{path}")).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Asks until the answer has this status.
async fn until(address: &str, path: &str, status: u16) -> String {
    let asked = timeout(DEADLINE, async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let (found, body) = get(address, path).await;
            if found == status {
                return body;
            }
        }
    });
    asked.await.unwrap_or_else(|_| panic!("{path} did not answer {status}"))
}

#[tokio::test]
async fn every_problem_of_the_settings_is_told_at_once() {
    let text = r#"
lease.beat = "soon"
instance.concurency = 3
[[handlers]]
topic = "a"
[[queues]]
name = ""
topics = ["b"]
"#;
    let (output, errors) = run(text, &["--set", "send.deadline=never"]).await;
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for part in ["lease.beat", "instance.concurency", "handlers[1]", "queues[1]", "send.deadline"] {
        assert!(errors.contains(part), "{part} is missing: {errors}");
    }
}

#[tokio::test]
async fn settings_are_checked_without_connecting() {
    let secret = "broker.url = \"amqp://me:secret@nowhere.invalid/\"\n";
    let (output, errors) = run(secret, &["--check"]).await;
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let (output, errors) = run("log.level = \"info,[\"", &["--check"]).await;
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let (output, errors) = run(secret, &["--config", "other.toml"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(errors.contains("other.toml") && !errors.contains("secret"), "{errors}");
}

#[tokio::test]
async fn it_tells_its_version() {
    let (output, _) = run("", &["--version"]).await;
    let text = format!("longshore-consumer {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((output.status.code(), String::from_utf8(output.stdout).unwrap()), (Some(0), text));
}

#[tokio::test]
async fn m02_m04_a_consumer_is_ready_when_its_lanes_are_consumed_and_ends_in_order_when_asked() {
    let handlers = "[[handlers]]\ntopic = \"media/thumbnail\"\nexec = [\"true\"]\n";
    let mut program = Program::start(&format!("{EMBEDDED}health.listen = \"127.0.0.1:0\"\n{handlers}"));
    let address = program.address().await;
    assert_eq!(until(&address, "/readyz", 200).await, "ready\n");
    assert_eq!(get(&address, "/livez").await.0, 200);
    let (status, metrics) = get(&address, "/metrics").await;
    assert_eq!(status, 200);
    for line in ["longshore_alive 1", "longshore_lanes_consuming 1", "longshore_slots 16"] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing: {metrics}");
    }
    program.signal(Signal::TERM);
    program.logged("asked to stop").await;
    assert_eq!(program.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_taken_address_is_an_error_only_when_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let (output, errors) = run(&format!("{EMBEDDED}health.listen = \"{address}\"\n"), &[]).await;
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains(&format!("health.listen = {address}")), "{errors}");

    // Whoever holds the default address, this test or another program: a second consumer must start all the same.
    let _default = TcpListener::bind("127.0.0.1:9464").await;
    let mut program = Program::start(EMBEDDED);
    program.logged("no health endpoints").await;
    program.logged("consumer started").await;
    program.signal(Signal::INT);
    assert_eq!(program.exit_code().await, Some(0));
}
