//! The program `longshore` as people run it: a process, on RabbitMQ and Redis, with a consumer beside it.
//!
//! What each command prints in detail is tested in the program's own package, on the embedded backend.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore_consumer::{Consumer, Ctx, Outcome, Running, Settings};
use longshore_model::Secret;
use longshore_model::names::Namespace;
use longshore_tests::services::{Shared, namespace};
use longshore_tests::wait::{eventually, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(30);

/// The program on services of its own namespace.
struct Program {
    settings: Settings,
    dir: tempfile::TempDir,
    _shared: Shared,
}

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// The program, which is built with the whole workspace and lies beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("longshore");
    assert!(program.is_file(), "{} is missing: cargo build -p longshore (deploy/test does)", program.display());
    program
}

impl Program {
    async fn new(test: &str) -> Self {
        let shared = Shared::services().await;
        let dir = tempfile::tempdir().unwrap();
        let namespace = Namespace::new(&namespace(test)).unwrap();
        let mut settings = Settings { namespace, ..Settings::default() };
        settings.broker.url = Secret::new(shared.broker_url.as_str());
        settings.store.url = Secret::new(shared.store_url.as_str());
        settings.blobs.url = Secret::new(format!("file://{}/blobs", dir.path().display()));
        settings.instance.home = Some(dir.path().join("home"));
        Self { settings, dir, _shared: shared }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(args)
            .env_clear()
            .env("LONGSHORE_NAMESPACE", self.settings.namespace.as_str())
            .env("LONGSHORE_BROKER__URL", self.settings.broker.url.reveal())
            .env("LONGSHORE_STORE__URL", self.settings.store.url.reveal())
            .env("LONGSHORE_BLOBS__URL", self.settings.blobs.url.reveal())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let output = within(SOON, "the program ends", self.command(args).output()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a command that prints one JSON document and ends with this code.
    async fn json(&self, code: i32, args: &[&str]) -> Value {
        let Ran { code: ended, out, err } = self.run(&[args, &["--output", "json"]].concat()).await;
        assert_eq!(ended, Some(code), "{args:?}: {out} {err}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    }

    async fn consumer(&self) -> Running {
        let consumer = Consumer::new(self.settings.clone())
            .on("test/copy", async |ctx: Ctx| {
                ctx.log("copying").progress(1, 1, "done");
                let input = ctx.input_dir().unwrap().join("in.bin");
                std::fs::copy(input, ctx.output_dir().unwrap().join("out.bin")).unwrap();
                Outcome::result(json!({"copied": true}))
            })
            .on("test/many", async |_: Ctx| ())
            .on("test/bad", async |_: Ctx| Outcome::fail("cannot be done"));
        let running = Box::pin(consumer.start()).await.unwrap();
        within(SOON, "the consumer is ready", running.ready()).await;
        running
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

#[tokio::test]
async fn a_job_with_a_large_file_goes_out_and_its_output_comes_back() {
    let program = Program::new("cli-add").await;
    let consumer = program.consumer().await;
    // Too large to travel inline.
    let content: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(program.path("in.bin"), &content).unwrap();
    let job =
        program.json(0, &["job", "add", "test/copy", "--input", "in.bin", "--wait", "--output-dir", "made"]).await;
    assert_eq!((&job["state"], &job["result"]), (&json!("succeeded"), &json!({"copied": true})));
    assert_eq!(std::fs::read(Path::new(&program.path("made")).join("out.bin")).unwrap(), content);

    let id = job["id"].as_str().unwrap();
    let log = program.run(&["job", "log", id]).await;
    assert!(log.out.contains("copying"), "{}", log.out);
    let shown = program.json(0, &["job", "show", id]).await;
    assert_eq!(shown["attempts"][0]["outcome"], "succeeded");
    let view = program.json(0, &["topology"]).await;
    assert_eq!(view["instances"].as_array().unwrap().len(), 1);
    let failed = program.json(1, &["job", "add", "test/bad", "--wait"]).await;
    assert_eq!(failed["message"], "cannot be done");
    let missing = program.run(&["job", "show", "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00"]).await;
    assert_eq!(missing.code, Some(3), "{}", missing.err);
    consumer.drain().await;
}

#[tokio::test]
async fn thousands_are_imported_from_a_pipe_and_all_are_done() {
    let program = Program::new("cli-import").await;
    let consumer = program.consumer().await;
    let mut child = program.command(&["job", "import", "-", "--output", "json"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines: String = (0..2_000).map(|n| format!("{{\"topic\": \"test/many\", \"payload\": {n}}}\n")).collect();
    lines.push_str("{\"topic\": \"test/many\", \"colour\": 1}\n");
    stdin.write_all(lines.as_bytes()).await.unwrap();
    drop(stdin);
    let output = within(SOON, "the import ends", child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["accepted"], &report["refused"]), (&json!(2_000), &json!(1)));
    assert_eq!(report["problems"][0]["line"], 2_001);
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2001: unknown field `colour`"));

    let count = async |state: &str| {
        let listed = program.json(0, &["job", "list", "--state", state, "--limit", "0"]).await;
        listed["jobs"].as_array().unwrap().len()
    };
    eventually(SOON, "all have succeeded", async || (count("succeeded").await == 2_000).then_some(())).await;
    assert_eq!(count("queued,active,retrying").await, 0);
    consumer.drain().await;
}

#[tokio::test]
async fn ctrl_c_ends_the_wait_and_leaves_the_job_alone() {
    let program = Program::new("cli-interrupt").await;
    let mut child = program.command(&["job", "add", "nobody/there", "--wait"]).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines();
    let waiting = within(SOON, "the program waits", err.next_line()).await.unwrap().unwrap();
    assert!(waiting.contains("Ctrl-C leaves it alone"), "{waiting}");
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let status = within(SOON, "the program ends", child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(130));
    let said = within(SOON, "the program explains", err.next_line()).await.unwrap().unwrap();
    assert!(said.contains("goes on") && said.contains("longshore job wait"), "{said}");

    let listed = program.json(0, &["job", "list"]).await;
    let job = &listed["jobs"][0];
    assert_eq!((&job["topic"], &job["state"]), (&json!("nobody/there"), &json!("queued")));
    let id = job["id"].as_str().unwrap();
    assert!(said.contains(id), "{said}");
    let explained = program.json(0, &["job", "explain", id]).await;
    assert_eq!(explained["waiting"]["reason"], "no_capable_instance");
    let waited = program.run(&["job", "wait", id, "--timeout", "100ms"]).await;
    assert_eq!(waited.code, Some(4), "{}", waited.err);
    let plan = program.json(2, &["job", "stop", "--topic", "**"]).await;
    assert_eq!(plan["count"], 1);
    let stopped = program.json(0, &["job", "stop", "--topic", "**", "--yes"]).await;
    assert_eq!(stopped["results"], json!({"stopped": 1}));
}
