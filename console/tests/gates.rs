//! Limits, pauses, orders and unique keys on the command line.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use serde_json::{Value, json};
use support::Program;

#[tokio::test]
async fn a_limit_is_set_shown_changed_and_removed() {
    let program = Program::new("limit").await;
    assert_eq!(program.json(Exit::Done, &["limit", "list"]).await, json!({"limits": []}));
    let set = program.json(Exit::Done, &["limit", "set", "mail", "--max", "1", "--rate", "10/1s"]).await;
    let expected = json!({"name": "mail", "max": 1, "rate": {"count": 10, "per_ms": 1000}, "keys": 0, "shown": []});
    assert_eq!(set, json!({"limits": [expected]}));
    program.add(&["a", "--limit", "mail=ann", "--turn", "t"]).await;
    let waits = program.add(&["a", "--limit", "mail=ann"]).await;
    let job = program.json(Exit::Done, &["job", "show", &waits]).await;
    assert_eq!((&job["state"], &job["reason"]), (&json!("blocked"), &json!("limit")));
    assert_eq!(job["waiting"]["reason"], "limit");
    let list = program.json(Exit::Done, &["limit", "list"]).await;
    assert_eq!(list["limits"][0]["shown"], json!([{"key": "ann", "passed": 1, "waiting": 1}]));
    let text = program.run(&["limit", "list"]).await;
    assert!(text.out.contains("1 at once, 10 in 1s") && text.out.contains("ann"), "{text:?}");
    program.json(Exit::Done, &["limit", "set", "mail", "--max", "1", "--over", "refuse"]).await;
    let refused = program.run(&["job", "add", "a", "--limit", "mail=ann"]).await;
    assert!(refused.exit == Exit::Failed && refused.err.contains("limit `mail`"), "{refused:?}");
    assert_eq!(program.json(Exit::Done, &["limit", "remove", "mail"]).await, json!({"limits": []}));
    assert_eq!(program.run(&["limit", "remove", "mail"]).await.exit, Exit::NotFound);
    for bad in
        [&["limit", "set", "x"][..], &["limit", "set", "x", "--rate", "10"], &["limit", "set", "x", "--max", "-1"]]
    {
        assert_eq!(program.run(bad).await.exit, Exit::Usage, "{bad:?}");
    }
    let bad = program.run(&["limit", "set", "a b", "--max", "0"]).await;
    assert!(bad.err.contains("max: 0") && bad.err.contains("limit `a b`"), "every problem is named: {bad:?}");
}

#[tokio::test]
async fn q14_a_pause_says_who_and_why_and_holds_jobs_until_it_is_over() {
    let program = Program::new("pause").await;
    let args = ["queue", "pause", "main", "--why", "a migration", "--by", "ann"];
    let pauses = program.json(Exit::Done, &args).await;
    let pause = &pauses["pauses"][0];
    assert_eq!(
        (&pause["what"], &pause["by"], &pause["why"]),
        (&json!("queue:main"), &json!("ann"), &json!("a migration"))
    );
    assert_eq!((&pause["until"], &pause["waiting"]), (&Value::Null, &json!(0)));
    let id = program.add(&["a"]).await;
    let job = program.json(Exit::Done, &["job", "show", &id]).await;
    assert_eq!(job["waiting"]["reason"], "paused");
    let text = program.run(&["queue", "pauses"]).await;
    assert!(text.out.contains("queue:main") && text.out.contains("a migration"), "{text:?}");
    assert_eq!(program.json(Exit::Done, &["queue", "resume", "main"]).await, json!({"pauses": []}));
    assert_eq!(program.run(&["queue", "resume", "main"]).await.exit, Exit::NotFound);
    let timed = program.json(Exit::Done, &["queue", "pause", "topic:a", "--for", "1h"]).await;
    assert!(timed["pauses"][0]["until"].is_string(), "{timed}");
    assert_eq!(program.run(&["queue", "pause", "job:1"]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn j04_orders_and_unique_keys_are_options_of_a_job() {
    let program = Program::new("order").await;
    let first = program.add(&["a", "--order-key", "k", "--unique-key", "u"]).await;
    let job = program.json(Exit::Done, &["job", "show", &first]).await;
    assert_eq!((&job["order_key"], &job["unique"]), (&json!("k"), &json!({"key": "u", "mode": "until_finished"})));
    assert_eq!(program.add(&["a", "--unique-key", "u"]).await, first, "it is the answer");
    let second = program.add(&["a", "--order-key", "k"]).await;
    assert_eq!(program.json(Exit::Done, &["job", "show", &second]).await["waiting"]["reason"], "order");
    let late = program.add(&["b", "--unique-key", "u", "--unique", "debounce=1h"]).await;
    assert_eq!(program.json(Exit::Done, &["job", "show", &late]).await["state"], "scheduled");
    for bad in
        [&["job", "add", "a", "--unique", "latest"][..], &["job", "add", "a", "--unique-key", "u", "--unique", "x"]]
    {
        assert_eq!(program.run(bad).await.exit, Exit::Usage, "{bad:?}");
    }
    let bad = program.run(&["job", "add", "a", "--unique-key", "u", "--unique", "period"]).await;
    assert!(bad.err.contains("unique.ms"), "{bad:?}");
}
