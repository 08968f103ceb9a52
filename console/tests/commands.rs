//! The commands, on the embedded backend, called as the program calls them: arguments in, text and exit code out.
//!
//! Text is checked loosely, JSON strictly: scripts depend on it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use longshore_consumer::{Consumer, Ctx, Outcome, Running};
use longshore_producer::{Settings, State};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use support::Program;

const UNKNOWN: &str = "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00";

impl Program {
    /// A live instance with the handlers of these tests.
    async fn consumer(&self) -> Running {
        let consumer = Consumer::new(Settings::default())
            .link(self.producer.link().clone())
            .on("test/ok", async |ctx: Ctx| {
                ctx.log("first").log_at("warn", "second \u{1b}[2J");
                ctx.set("seen", 7).unwrap();
                std::fs::write(ctx.output_dir().unwrap().join("out.txt"), "made").unwrap();
                Outcome::result(json!({"echo": ctx.payload_as::<Value>().unwrap()}))
            })
            .on("test/bad", async |_: Ctx| Outcome::fail("cannot be done"))
            .on("test/long", async |ctx: Ctx| Err::<(), _>(ctx.until_cancelled().await));
        let running = Box::pin(consumer.start()).await.unwrap();
        running.ready().await;
        running
    }
}

fn field<'v>(value: &'v Value, path: &str) -> &'v Value {
    value.pointer(path).unwrap_or_else(|| panic!("no {path} in {value}"))
}

#[tokio::test]
async fn add_prints_the_job_with_every_option() {
    let program = Program::new("add").await;
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("in.txt");
    std::fs::write(&input, "hello").unwrap();
    let args = [
        "job",
        "add",
        "media/thumbnail",
        "--payload",
        r#"{"n": 1.50}"#,
        "--in",
        "1h",
        "--retries",
        "-1",
        "--retry-delay",
        "3s",
        "--timeout",
        "1m",
        "--expires",
        "1d",
        "--title",
        "T",
        "--id",
        UNKNOWN,
        "--label",
        "a=1",
        "--label",
        "b=x=y",
        "--input",
        input.to_str().unwrap(),
    ];
    let job = program.json(Exit::Done, &args).await;
    for (path, expected) in [
        ("/id", json!(UNKNOWN)),
        ("/topic", json!("media/thumbnail")),
        ("/queue", json!("main")),
        ("/state", json!("scheduled")),
        ("/waiting/reason", json!("time")),
        ("/title", json!("T")),
        ("/labels", json!({"a": "1", "b": "x=y"})),
        ("/payload", json!({"n": 1.5})),
        ("/max_retries", json!(-1)),
        ("/inputs/0/name", json!("in.txt")),
        ("/inputs/0/size", json!(5)),
    ] {
        assert_eq!(field(&job, path), &expected, "{path}");
    }
    assert!(job["due"].is_string() && job["expires"].is_string(), "{job}");
    let again = program.run(&args).await;
    assert_eq!(again.exit, Exit::Done);
    assert!(again.err.contains("sent before"), "{again:?}");
    assert!(again.out.contains("media/thumbnail") && again.out.contains("a=1 b=x=y"), "{again:?}");
}

#[tokio::test]
async fn add_without_a_payload_sends_null_and_reads_files() {
    let program = Program::new("add-payload").await;
    assert_eq!(program.json(Exit::Done, &["job", "add", "a"]).await["payload"], Value::Null);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.json");
    std::fs::write(&path, "[1,\n 2]\n").unwrap();
    let at = format!("@{}", path.display());
    assert_eq!(program.json(Exit::Done, &["job", "add", "a", "--payload", &at]).await["payload"], json!([1, 2]));
    assert_eq!(program.json(Exit::Done, &["job", "add", "a", "--payload", "-5"]).await["payload"], json!(-5));
}

#[tokio::test]
async fn what_is_wrong_with_the_command_line_is_told_and_nothing_is_sent() {
    let program = Program::new("usage").await;
    let check = async |args: &[&str], part: &str| {
        let ran = program.run(args).await;
        assert_eq!(ran.exit, Exit::Usage, "{args:?}: {ran:?}");
        assert!(ran.out.is_empty() && ran.err.contains(part), "{args:?}: `{part}` is not in {ran:?}");
    };
    check(&["job", "add", "a.b"], "a.b").await;
    check(&["job", "add", "a", "--payload", "{x"], "not JSON").await;
    check(&["job", "add", "a", "--in", "5"], "not a length of time").await;
    check(&["job", "add", "a", "--at", "tomorrow"], "not a time").await;
    check(&["job", "add", "a", "--in", "1s", "--at", "2026-11-21T10:00:00Z"], "cannot be used with").await;
    check(&["job", "add", "a", "--label", "x"], "NAME=VALUE").await;
    check(&["job", "add", "a", "--retries", "-2"], "retries").await;
    check(&["job", "add", "a", "--output-dir", "x"], "--wait").await;
    check(&["job", "show", "17"], "not a job id").await;
    check(&["job", "list", "--state", "lost"], "not a state").await;
    check(&["job", "list", "--topic", "a/*/b"], "a/*/b").await;
    check(&["job", "stop"], "which jobs?").await;
    check(&["job", "stop", UNKNOWN, "--topic", "a"], "both").await;
    check(&["jobs"], "'job'").await;
    assert_eq!(program.json(Exit::Done, &["job", "list"]).await, json!({"jobs": [], "next": null}));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let program = Program::new("not-found").await;
    for command in ["show", "explain", "log", "wait", "stop", "retry", "remove"] {
        let ran = program.run(&["job", command, UNKNOWN]).await;
        assert_eq!(ran.exit, Exit::NotFound, "{command}: {ran:?}");
        let errors = ran.err.lines().filter(|line| line.starts_with("longshore: "));
        assert_eq!(errors.count(), 1, "{command}: {ran:?}");
    }
    let ran = program.run(&["job", "log", "-f", UNKNOWN]).await;
    assert_eq!(ran.exit, Exit::NotFound, "{ran:?}");
}

#[tokio::test]
async fn waiting_brings_result_files_and_the_exit_code() {
    let program = Program::new("wait").await;
    let consumer = program.consumer().await;
    let dir = tempfile::tempdir().unwrap();
    let outputs = dir.path().join("new");
    let args = ["job", "add", "test/ok", "--payload", "[1]", "--wait", "--output-dir", outputs.to_str().unwrap()];
    let job = program.json(Exit::Done, &args).await;
    assert_eq!(job["state"], "succeeded");
    assert_eq!(job["result"], json!({"echo": [1]}));
    assert_eq!(job["properties"], json!({"seen": 7}));
    assert_eq!(field(&job, "/outputs/0/name"), "out.txt");
    assert_eq!(field(&job, "/attempts/0/outcome"), "succeeded");
    assert_eq!(std::fs::read_to_string(outputs.join("out.txt")).unwrap(), "made");
    let shown = program.run(&["job", "show", job["id"].as_str().unwrap()]).await;
    assert!(shown.out.contains(r#"{"echo":[1]}"#) && shown.out.contains("out.txt (4 bytes)"), "{shown:?}");
    assert!(shown.out.contains("second \\u{1b}[2J") && !shown.out.contains('\u{1b}'), "{shown:?}");

    let failed = program.json(Exit::Failed, &["job", "add", "test/bad", "--wait"]).await;
    assert_eq!((&failed["state"], &failed["message"]), (&json!("error"), &json!("cannot be done")));
    let again = program.json(Exit::Failed, &["job", "wait", failed["id"].as_str().unwrap()]).await;
    assert_eq!(again["id"], failed["id"]);
    consumer.drain().await;
}

#[tokio::test]
async fn waiting_ends_in_time_and_the_job_goes_on() {
    let program = Program::new("timeout").await;
    let ran = program.run(&["job", "add", "nobody/there", "--wait", "--timeout-wait", "50ms"]).await;
    assert_eq!(ran.exit, Exit::TimedOut, "{ran:?}");
    assert!(ran.out.contains("no live instance takes nobody/there"), "{ran:?}");
    assert!(ran.err.contains("it goes on") && ran.err.contains("longshore job wait"), "{ran:?}");
    let id = program.add(&["nobody/there"]).await;
    let job = program.json(Exit::TimedOut, &["job", "wait", &id, "--timeout", "50ms"]).await;
    assert_eq!(job["state"], "queued");
}

#[tokio::test]
async fn jh_09_explain_tells_why_a_job_waits_and_who_could_take_it() {
    let program = Program::new("explain").await;
    let id = program.add(&["test/long"]).await;
    let explained = program.json(Exit::Done, &["job", "explain", &id]).await;
    assert_eq!(field(&explained, "/waiting/reason"), "no_capable_instance");
    assert_eq!(explained["takers"], json!([]));
    assert!(explained["detail"].as_str().unwrap().contains("start a consumer"), "{explained}");

    let consumer = program.consumer().await;
    active(&program, &id).await;
    let explained = program.json(Exit::Done, &["job", "explain", &id]).await;
    assert_eq!(explained["waiting"], Value::Null);
    assert!(explained["detail"].as_str().unwrap().contains("attempt 1"), "{explained}");
    assert_eq!(field(&explained, "/takers/0/slots"), 16);
    program.run(&["job", "stop", &id]).await;
    program.run(&["job", "wait", &id]).await;
    let text = program.run(&["job", "explain", &id]).await.out;
    assert!(text.contains("ended as stopped") && text.contains("longshore job retry"), "{text}");
    consumer.drain().await;
}

/// Waits until a job runs.
async fn active(program: &Program, id: &str) {
    let mut changes = program.producer.follow(id.parse().unwrap());
    let active = async { while changes.next().await.unwrap().unwrap().job.state != State::Active {} };
    tokio::time::timeout(Duration::from_secs(10), active).await.expect("the job does not run");
}

#[tokio::test]
async fn the_log_comes_once_or_line_by_line() {
    let program = Program::new("log").await;
    let consumer = program.consumer().await;
    let id = program.add(&["test/ok"]).await;
    let followed = program.run(&["job", "log", "-f", &id, "--output", "json"]).await;
    assert_eq!(followed.exit, Exit::Done);
    let lines: Vec<Value> = followed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["first", "second \u{1b}[2J"]);
    let log = program.json(Exit::Done, &["job", "log", &id]).await;
    assert_eq!((&log["id"], &log["state"], &log["log"]), (&json!(id), &json!("succeeded"), &json!(lines)));
    let text = program.run(&["job", "log", &id]).await.out;
    assert!(text.contains("warn  second \\u{1b}[2J") && !text.contains('\u{1b}'), "{text:?}");
    consumer.drain().await;
}

#[tokio::test]
async fn jobs_are_listed_by_filter_and_page_by_page() {
    let program = Program::new("list").await;
    for (topic, label) in [("a/x", "k=1"), ("a/y", "k=2"), ("b", "k=1"), ("a/x", "k=1")] {
        program.add(&[topic, "--label", label]).await;
    }
    program.add(&["a/z", "--in", "1h"]).await;
    let count = async |args: &[&str]| {
        let listed = program.json(Exit::Done, &[&["job", "list"], args].concat()).await;
        listed["jobs"].as_array().unwrap().len()
    };
    assert_eq!(count(&[]).await, 5);
    assert_eq!(count(&["--topic", "a/*"]).await, 4);
    assert_eq!(count(&["--label", "k=1", "--topic", "a/**"]).await, 2);
    assert_eq!(count(&["--state", "scheduled"]).await, 1);
    assert_eq!(count(&["--state", "scheduled,queued", "--since", "1h"]).await, 5);
    assert_eq!(count(&["--queue", "other"]).await, 0);

    let first = program.json(Exit::Done, &["job", "list", "--limit", "3"]).await;
    let next = first["next"].as_str().unwrap();
    let rest = program.json(Exit::Done, &["job", "list", "--limit", "3", "--cursor", next]).await;
    assert_eq!((first["jobs"].as_array().unwrap().len(), rest["jobs"].as_array().unwrap().len()), (3, 2));
    assert_eq!(rest["next"], Value::Null);

    let text = program.run(&["job", "list", "--limit", "3"]).await;
    assert_eq!(text.out.lines().count(), 4, "{text:?}");
    assert!(text.out.starts_with("JOB\tTOPIC\tSTATE\t"), "{text:?}");
    assert!(text.err.contains("--cursor"), "{text:?}");
}

#[tokio::test]
async fn jobs_are_stopped_retried_and_removed_by_id() {
    let program = Program::new("control").await;
    let id = program.add(&["a", "--title", "again"]).await;
    let retry = program.json(Exit::Failed, &["job", "retry", &id]).await;
    assert_eq!(field(&retry, "/jobs/0/result"), "not_ended");
    let stop = program.json(Exit::Done, &["job", "stop", &id]).await;
    assert_eq!(
        stop,
        json!({"action": "stop", "count": 1, "results": {"stopped": 1},
        "jobs": [{"id": id, "result": "stopped"}]})
    );
    let stop = program.json(Exit::Done, &["job", "stop", &id]).await;
    assert_eq!(field(&stop, "/jobs/0/result"), "ended");
    let retry = program.json(Exit::Done, &["job", "retry", &id]).await;
    assert_eq!(field(&retry, "/jobs/0/result"), "retried");
    let new = field(&retry, "/jobs/0/retried_as").as_str().unwrap().to_owned();
    assert_eq!(program.json(Exit::Done, &["job", "show", &new]).await["title"], "again");
    let removed = program.json(Exit::NotFound, &["job", "remove", &id, &new, UNKNOWN]).await;
    assert_eq!(removed["results"], json!({"dropped": 1, "not_found": 1, "purged": 1}));
}

#[tokio::test]
async fn a_filter_makes_a_plan_first_and_yes_does_it() {
    let program = Program::new("filter").await;
    for _ in 0..3 {
        program.add(&["a/x"]).await;
    }
    program.add(&["a/x", "--in", "1h"]).await;
    program.add(&["b"]).await;
    let args = ["job", "stop", "--topic", "a/*"];
    let plan = program.json(Exit::Usage, &args).await;
    assert_eq!(plan, json!({"action": "stop", "count": 4, "states": {"scheduled": 1, "queued": 3}, "done": false}));
    let text = program.run(&args).await;
    assert!(text.out.contains("stop 4 jobs: 1 scheduled, 3 queued") && text.err.contains("--yes"), "{text:?}");
    assert_eq!(program.json(Exit::Usage, &["job", "stop", "--topic", "a/*", "--limit", "2"]).await["count"], 2);

    let done = program.json(Exit::Done, &["job", "stop", "--topic", "a/*", "--yes"]).await;
    assert_eq!((&done["count"], &done["results"]), (&json!(4), &json!({"stopped": 4})));
    // Stopping means what has not ended, retrying what did not succeed.
    assert_eq!(program.json(Exit::Done, &args).await["count"], 0);
    assert_eq!(program.json(Exit::Usage, &["job", "retry", "--topic", "a/*"]).await["count"], 4);
    let removed = program.run(&["job", "remove", "--topic", "**", "--yes"]).await;
    assert_eq!(removed.exit, Exit::Done);
    assert!(removed.out.contains("5 jobs: 1 dropped, 4 purged"), "{removed:?}");
}

#[tokio::test]
async fn import_sends_good_lines_and_names_bad_ones() {
    let program = Program::new("import").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jobs.ndjson");
    let long = format!(r#"{{"topic": "a", "payload": "{}"}}"#, "x".repeat(70_000));
    let lines = [
        r#"{"topic": "a/x", "payload": {"n": 1}, "labels": {"k": "v"}, "in": "1h"}"#,
        r#"{"topic": "a/x", "retires": 3}"#,
        "",
        "not json",
        r#"{"topic": "a.x"}"#,
        &long,
        r#"{"topic": "b"}"#,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let path = file.to_str().unwrap();
    let report = program.json(Exit::Failed, &["job", "import", path]).await;
    let bad: Vec<u64> = report["problems"].as_array().unwrap().iter().map(|p| p["line"].as_u64().unwrap()).collect();
    assert_eq!(bad, [2, 4, 5, 6], "{report}");
    assert_eq!(field(&report, "/problems/0/kind"), "refused");
    for (name, count) in [("lines", 7), ("accepted", 2), ("existed", 0), ("refused", 4), ("unsent", 0), ("unknown", 0)]
    {
        assert_eq!(report[name], count, "{name}");
    }
    assert_eq!(report["complete"], true);
    let listed = program.json(Exit::Done, &["job", "list"]).await;
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 2);

    let ran = program.run(&["job", "import", path]).await;
    assert_eq!(ran.exit, Exit::Failed);
    let told: Vec<&str> = ran.err.lines().collect();
    assert_eq!(told.len(), 4, "{ran:?}");
    assert!(told[0].contains("line 2: unknown field `retires`"), "{ran:?}");
    assert!(told[3].contains("line 6") && told[3].contains("send large input as a file"), "{ran:?}");
    assert!(ran.out.contains("7 lines: 2 accepted, 4 refused"), "{ran:?}");
    assert_eq!(program.run(&["job", "import", "nowhere.ndjson"]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn an_import_with_ids_may_be_repeated() {
    let program = Program::new("import-again").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jobs.ndjson");
    let lines: Vec<String> =
        (0..2_000).map(|n| format!(r#"{{"topic": "a", "id": "019a2f6e-5d3c-7a10-9c44-0d6f{n:08x}"}}"#)).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let import = async || program.json(Exit::Done, &["job", "import", file.to_str().unwrap()]).await;
    assert_eq!(import().await["accepted"], 2_000);
    let again = import().await;
    assert_eq!((&again["accepted"], &again["existed"]), (&json!(0), &json!(2_000)));
}

#[tokio::test]
async fn topology_shows_who_is_there() {
    let program = Program::new("topology").await;
    assert_eq!(program.json(Exit::Done, &["topology"]).await["instances"], json!([]));
    assert!(program.run(&["topology"]).await.out.contains("start a consumer"));
    let consumer = program.consumer().await;
    let view = program.json(Exit::Done, &["topology"]).await;
    let instance = field(&view, "/instances/0");
    assert_eq!((&instance["coordinator"], &instance["draining"]), (&json!(true), &json!(false)));
    assert_eq!((&instance["slots"], &instance["running"]), (&json!(16), &json!(0)));
    assert_eq!(instance["instance"], consumer.owner().instance.to_string());
    let patterns: Vec<&Value> = instance["capabilities"].as_array().unwrap().iter().map(|c| &c["pattern"]).collect();
    assert!(patterns.contains(&&json!("test/ok")), "{view}");
    let text = program.run(&["topology"]).await.out;
    assert!(text.contains("coordinator") && text.contains("test/long"), "{text}");
    consumer.drain().await;
}

#[tokio::test]
async fn config_shows_every_value_with_its_origin_and_no_secret() {
    let program = Program::new("config").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("l.toml");
    std::fs::write(&file, "[lease]\nbeat = \"1s\"\n").unwrap();
    let path = file.to_str().unwrap();
    let args = ["config", "--config", path, "--broker", "amqp://u:hidden@host/x", "--namespace", "mine"];
    let config = program.json(Exit::Done, &args).await;
    let of = |key: &str| {
        let rows = config["settings"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("no {key}"))
    };
    assert_eq!((&of("namespace")["value"], &of("namespace")["origin"]), (&json!("mine"), &json!("flag for namespace")));
    assert_eq!(of("lease.beat")["origin"], format!("{path}:2"));
    assert_eq!((&of("lease.length")["origin"], &of("lease.length")["default"]), (&json!("default"), &json!(true)));
    assert_eq!(of("broker.url")["value"], "amqp://***@host/x");
    assert!(!config.to_string().contains("hidden"));
    let text = program.run(&args).await.out;
    assert!(text.contains("broker.url\tamqp://***@host/x") && !text.contains("hidden"), "{text}");
    malformed(&program, dir.path()).await;
}

/// All that is wrong at once, in the file and in the flags.
async fn malformed(program: &Program, dir: &Path) {
    let file = dir.join("bad.toml");
    std::fs::write(&file, "nonsense = 1\n[lease]\nbeat = \"soon\"\n").unwrap();
    let ran = program.run(&["config", "--config", file.to_str().unwrap(), "--store", "http://x"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    for part in ["3 problems", "nonsense", "lease.beat", "store.url"] {
        assert!(ran.err.contains(part), "`{part}` is not in {ran:?}");
    }
}

#[tokio::test]
async fn j10_jobs_are_listed_and_removed_by_what_their_payload_says() {
    let program = Program::new("where").await;
    for size in ["5", "50", "500"] {
        program.add(&["media/x", "--payload", &format!("{{\"size\":{size}}}")]).await;
    }
    let large = program.json(Exit::Done, &["job", "list", "--where", "size>=50", "--where", "size<500"]).await;
    let jobs = large["jobs"].as_array().unwrap();
    assert_eq!((jobs.len(), &jobs[0]["payload"]["size"]), (1, &serde_json::json!(50)));
    let plan = program.json(Exit::Usage, &["job", "remove", "--where", "size<100"]).await;
    assert_eq!(plan["count"], 2);
    let bad = program.run(&["job", "list", "--where", "size"]).await;
    assert!(bad.exit == Exit::Usage && bad.err.contains("PATH=VALUE"), "{bad:?}");
}

#[tokio::test]
async fn j14_a_job_is_sent_again_with_another_payload_or_many_at_a_rate() {
    let program = Program::new("again").await;
    let running = program.consumer().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = program.add(&["test/bad", "--payload", "1"]).await;
        assert_eq!(program.run(&["job", "wait", &id]).await.exit, Exit::Failed);
        ids.push(id);
    }
    running.drain().await;
    let args = ["job", "retry", &ids[0], "--payload", "{\"n\": 2}", "--retries", "4", "--timeout", "1m"];
    let again = program.json(Exit::Done, &args).await;
    assert_eq!(
        (&again["payload"], &again["max_retries"], &again["retry_of"]),
        (&json!({"n": 2}), &json!(4), &json!(ids[0]))
    );
    let refused = program.run(&args).await;
    assert!(refused.exit == Exit::Failed && refused.err.contains("has not ended"), "{refused:?}");
    for bad in [
        &["job", "retry", &ids[1], &ids[2], "--payload", "1"][..],
        &["job", "retry", "--topic", "**", "--payload", "1"],
        &["job", "retry", &ids[1], "--payload", "{"],
        &["job", "retry", &ids[1], "--rate", "0/s"],
        &["job", "retry", &ids[1], "--rate", "many"],
    ] {
        assert_eq!(program.run(bad).await.exit, Exit::Usage, "{bad:?}");
    }
    let filter = ["job", "retry", "--state", "error", "--topic", "test/bad", "--rate", "20/s"];
    let plan = program.json(Exit::Usage, &filter).await;
    assert_eq!((&plan["count"], &plan["takes_ms"]), (&json!(3), &json!(100)));
    let done = program.json(Exit::Done, &[&filter[..], &["--yes"]].concat()).await;
    assert_eq!((&done["results"]["retried"], &done["results"]["existed"]), (&json!(2), &json!(1)));
}
