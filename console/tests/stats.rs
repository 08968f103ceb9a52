//! `stats`: counts and the ledger.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use serde_json::json;
use support::Program;

#[tokio::test]
async fn counts_and_ledger_say_what_there_is() {
    let program = Program::new("stats").await;
    assert_eq!(program.run(&["stats"]).await.out, "no jobs\n");
    let id = program.add(&["a/b"]).await;
    program.add(&["a/b", "--in", "1h"]).await;
    program.add(&["c"]).await;
    let stats = program.json(Exit::Done, &["stats"]).await;
    assert_eq!(stats, json!({"topics": {"a/b": {"queued": 1, "scheduled": 1}, "c": {"queued": 1}}}));
    program.run(&["job", "stop", &id]).await;
    program.run(&["job", "remove", &id]).await;
    let ledger = program.json(Exit::Done, &["stats", "--ledger"]).await;
    let sums = |accepted: u32, stopped: u32, waiting: u32| {
        json!({
            "accepted": accepted, "succeeded": 0, "failed": 0, "stopped": stopped, "dropped": 0,
            "waiting": waiting, "active": 0, "drift": 0,
        })
    };
    assert_eq!(ledger["total"], sums(3, 1, 2));
    assert_eq!(ledger["topics"]["a/b"], sums(2, 1, 1));
    assert_eq!(ledger["drifts"], json!([]));
    let text = program.run(&["stats", "--ledger"]).await.out;
    assert!(text.contains("a/b\t2\t0\t0\t1\t0\t1\t0\t0\n") && text.contains("in balance"), "{text}");
}
