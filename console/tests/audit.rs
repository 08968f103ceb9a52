//! `audit`: who changed what; and `events`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use serde_json::{Value, json};
use support::Program;

fn entries(audit: &Value) -> Vec<(&str, &str, &Value)> {
    let entries = audit["entries"].as_array().unwrap().iter();
    entries.map(|entry| (entry["action"].as_str().unwrap(), entry["of"].as_str().unwrap(), &entry["counts"])).collect()
}

#[tokio::test]
async fn n04_every_change_is_recorded_with_who_plan_and_counts_and_no_look_is() {
    let program = Program::new("audit").await;
    assert_eq!(program.run(&["audit"]).await.out, "nobody changed anything\n");
    let id = program.add(&["a/b"]).await;
    for _ in 0..3 {
        program.add(&["c"]).await;
    }
    for look in [&["job", "list"][..], &["stats"], &["queue", "list"], &["limit", "list"], &["topology"]] {
        assert_eq!(program.run(look).await.exit, Exit::Done, "{look:?}");
    }
    let changes: [&[&str]; 8] = [
        &["limit", "set", "smtp", "--max", "2"],
        &["queue", "pause", "main", "--why", "disk full"],
        &["queue", "resume", "main"],
        &["job", "stop", &id],
        &["job", "retry", &id],
        &["job", "remove", "--topic", "c", "--yes"],
        &["limit", "remove", "smtp"],
        &["stats", "--reset"],
    ];
    for change in changes {
        let ran = program.run(change).await;
        assert_eq!(ran.exit, Exit::Done, "{change:?}: {ran:?}");
    }
    let audit = program.json(Exit::Done, &["audit"]).await;
    let expected = [
        ("stats reset", "", json!({"reset": 1})),
        ("limit remove", "smtp", json!({})),
        ("job remove", "", json!({"dropped": 3})),
        ("job retry", "", json!({"sent": 1})),
        ("job stop", "", json!({"stopped": 1})),
        ("resume", "queue:main", json!({})),
        ("pause", "queue:main", json!({})),
        ("limit set", "smtp", json!({})),
    ];
    let found: Vec<_> = entries(&audit).into_iter().map(|(action, of, counts)| (action, of, counts.clone())).collect();
    assert_eq!(found, expected);
    let entry = |n: usize| &audit["entries"][n];
    assert_eq!(entry(2)["plan"], "longshore job remove --topic c --yes");
    assert_eq!(entry(6)["plan"], "longshore queue pause main --why \"disk full\"");
    assert!(
        entry(0)["who"].as_str().unwrap().contains('@') && entry(0)["at"].as_str().unwrap().ends_with('Z'),
        "{audit}"
    );
    let last = program.json(Exit::Done, &["audit", "--limit", "1"]).await;
    assert_eq!(entries(&last).len(), 1);
    let text = program.run(&["audit"]).await.out;
    assert!(text.contains("job remove") && text.contains("3 dropped"), "{text}");
}

#[tokio::test]
async fn n01_n03_events_are_followed_and_sent() {
    let program = Program::new("events").await;
    let follow = ["events", "--topic", "a/**", "--kind", "added,application", "--count", "1"];
    let mut follow = std::pin::pin!(program.json(Exit::Done, &follow));
    // Once the follower listens, and this process knows of it, the next job is told.
    let heard = loop {
        tokio::select! {
            heard = &mut follow => break heard,
            _ = program.add(&["a/b", "--payload", "{\"n\": 1}"]) => {}
        }
    };
    assert_eq!(
        (&heard["event"], &heard["topic"], &heard["payload"]),
        (&json!("added"), &json!("a/b"), &json!({"n": 1}))
    );
    let sent = program.run(&["events", "send", "cache/clear", "--payload", "[1]"]).await;
    assert_eq!((sent.exit, sent.out.as_str()), (Exit::Done, ""));
    assert!(sent.err.contains("cache/clear"), "{sent:?}");
    assert_eq!(program.run(&["events", "--kind", "nothing"]).await.exit, Exit::Usage);
}
