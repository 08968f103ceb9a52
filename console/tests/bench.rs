//! The load generator as a process, on the embedded backend: it measures, says so, and refuses what would not be fair.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn bench(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longshore"));
    command.arg("bench").args(args).env_clear().current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command.output().unwrap()
}

#[test]
fn every_figure_is_measured() {
    let ran = bench(&["--jobs", "200", "--rate", "1000", "--output", "json"]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let figures: Value = serde_json::from_slice(&ran.stdout).unwrap();
    for name in ["enqueue_one_by_one", "enqueue_bulk", "process_1", "process_100", "latency_p50_ms", "latency_p99_ms"] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name} of {figures}");
    }
    assert!(figures["latency_p50_ms"].as_f64() <= figures["latency_p99_ms"].as_f64(), "{figures}");
    assert_eq!((&figures["jobs"], &figures["rate"]), (&200.into(), &1000.into()));
}

#[test]
fn what_cannot_be_measured_is_a_mistake() {
    for args in [["--jobs", "0"], ["--rate", "0"], ["--topic", "not a topic"]] {
        assert_eq!(bench(&args).status.code(), Some(2), "{args:?}");
    }
}
