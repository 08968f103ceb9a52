//! `stats`: the numbers, and the ledger.
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
    assert_eq!(stats["topics"]["a/b"]["states"], json!({"queued": 1, "scheduled": 1}));
    assert_eq!(stats["topics"]["c"]["states"], json!({"queued": 1}));
    let all = &stats["all"];
    assert_eq!((&all["unassigned"], &all["jobs"], &all["accepted"]), (&json!(3), &json!(0), &json!(3)));
    assert_eq!((&all["last_finished"], &all["accepted_per_minute"]), (&json!(-1), &json!(null)));
    assert!(all["oldest_waiting_age"].is_u64() && all["oldest_waiting_since"].is_u64(), "{all}");
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

#[tokio::test]
async fn numbers_are_selected_and_reset() {
    let program = Program::new("stats-numbers").await;
    let id = program.add(&["a/b"]).await;
    program.add(&["c"]).await;
    program.run(&["job", "stop", &id]).await;
    let stats = program.json(Exit::Done, &["stats", "--topic", "a/**"]).await;
    assert_eq!(stats["topics"].as_object().unwrap().len(), 1);
    assert_eq!((&stats["all"]["cancelled"], &stats["all"]["processed"]), (&json!(1), &json!(1)));
    assert_eq!(stats["queues"]["main"]["states"], json!({"stopped": 1}));
    let other = program.json(Exit::Done, &["stats", "--queue", "other"]).await;
    assert_eq!(other["topics"], json!({}));
    let text = program.run(&["stats"]).await.out;
    assert!(text.contains("(all)\t0\t1\t0\t") && text.contains("queue main\t"), "{text}");
    let reset = program.json(Exit::Done, &["stats", "--topic", "a/b", "--reset"]).await;
    assert_eq!((&reset["all"]["cancelled"], &reset["all"]["accepted"]), (&json!(0), &json!(1)));
    assert_eq!(program.run(&["stats", "--ledger", "--queue", "main"]).await.exit, Exit::Usage);
}
