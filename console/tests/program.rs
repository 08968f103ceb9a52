//! The program as a process: streams, exit codes, and what it says when nothing is there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn longshore(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    // Settings come from the arguments alone.
    command.args(args).env_clear().current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    longshore(args).output().unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn help_and_version_are_answers_and_mistakes_are_not() {
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for part in ["job", "topology", "config", "--output", "Exit codes"] {
        assert!(out(&help).contains(part), "`{part}` is not in {}", out(&help));
    }
    assert!(run(&["--version"]).status.success());
    let wrong = run(&["job", "ad"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty() && err(&wrong).contains("'add'"), "{wrong:?}");
    assert_eq!(run(&[]).status.code(), Some(2));
}

#[test]
fn without_a_terminal_there_is_neither_colour_nor_bar_unless_asked() {
    assert!(!out(&run(&["config"])).contains('\u{1b}'));
    assert!(!err(&run(&["job", "\u{1b}[2J"])).contains('\u{1b}'));
}

#[test]
fn an_unreachable_service_is_one_clear_line() {
    // A port that nobody listens on: bound, and given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (broker, store) = (format!("amqp://u:hidden@127.0.0.1:{port}"), format!("redis://:hidden@127.0.0.1:{port}"));
    let ran = run(&["job", "list", "--broker", &broker, "--store", &store, "--output", "json"]);
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(ran.stdout.is_empty() && err(&ran).lines().count() == 1, "{ran:?}");
    assert!(err(&ran).starts_with("longshore: ") && !err(&ran).contains("hidden"), "{ran:?}");
}

#[test]
fn the_embedded_backend_is_refused_where_nothing_would_survive() {
    let ran = run(&["job", "add", "a", "--broker", "embedded:", "--store", "embedded:"]);
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
    assert!(err(&ran).contains("one process") && err(&ran).contains("--broker"), "{ran:?}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = longshore(&["config"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), err(&ended)), (Some(0), ""));
}

#[test]
fn settings_come_from_the_environment_too() {
    let ran = longshore(&["config", "--output", "json"]).env("LONGSHORE_NAMESPACE", "mine").output().unwrap();
    let config: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let row = &config["settings"][0];
    assert_eq!((&row["value"], &row["origin"]), (&Value::from("mine"), &Value::from("LONGSHORE_NAMESPACE")));
}
