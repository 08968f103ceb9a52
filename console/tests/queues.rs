//! Queues of the fleet on the command line.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use serde_json::json;
use support::Program;

#[tokio::test]
async fn m03_q17_a_file_of_queues_is_shown_applied_and_kept() {
    let program = Program::new("queues").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queues.toml");
    let path = file.to_str().unwrap();
    let apply = |text: &str| std::fs::write(&file, text).unwrap();
    apply("[[queues]]\nname = \"media\"\ntopics = [\"media/**\"]\nmax_in_fleet = 3\n");
    let plan = program.json(Exit::Usage, &["queue", "apply", path]).await;
    assert_eq!((&plan["applied"], &plan["version"]), (&json!(false), &json!(0)));
    assert!(plan["added"]["media"].as_str().unwrap().contains("max_in_fleet = 3"), "{plan}");
    let done = program.json(Exit::Done, &["queue", "apply", path, "--yes", "--by", "ann"]).await;
    assert_eq!((&done["applied"], &done["version"]), (&json!(true), &json!(1)));
    apply("[[queues]]\nname = \"media\"\ntopics = [\"media/**\"]\nmax_in_fleet = 5\n");
    let text = program.run(&["queue", "apply", path]).await;
    assert!(text.out.contains("- max_in_fleet = 3\n+ max_in_fleet = 5"), "{text:?}");
    program.json(Exit::Done, &["queue", "apply", path, "--yes"]).await;

    program.add(&["media/x"]).await;
    let list = program.json(Exit::Done, &["queue", "list"]).await;
    let media = &list["queues"][0];
    assert_eq!((&media["name"], &media["jobs"]), (&json!("media"), &json!({"queued": 1})));
    assert_eq!(list["queues"][1]["name"], "main");
    let text = program.run(&["queue", "list"]).await;
    assert!(text.out.contains("version 2") && text.out.contains("media/**"), "{text:?}");
    assert_eq!(program.json(Exit::Done, &["queue", "show", "media"]).await["max_in_fleet"], 5);
    assert_eq!(program.run(&["queue", "show", "nothing"]).await.exit, Exit::NotFound);
    let history = program.json(Exit::Done, &["queue", "history"]).await;
    let versions: Vec<_> = history["versions"].as_array().unwrap().iter().map(|v| (&v["version"], &v["by"])).collect();
    assert_eq!(versions, [(&json!(2), &json!("the command line")), (&json!(1), &json!("ann"))]);
}

#[tokio::test]
async fn q02_q19_a_queue_shows_what_it_may_hold_and_which_job_is_in_front() {
    let program = Program::new("rules").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queues.toml");
    let text = "[[queues]]\nname = \"line\"\ntopics = [\"media/*\"]\nkind = \"ordered\"\nmax_length = 2\non_failure = \"halt\"\n";
    std::fs::write(&file, text).unwrap();
    program.json(Exit::Done, &["queue", "apply", file.to_str().unwrap(), "--yes"]).await;
    let first = program.add(&["media/x"]).await;
    let second = program.add(&["media/y"]).await;
    let full = program.run(&["job", "add", "media/z"]).await;
    assert_eq!(full.exit, Exit::Failed, "{full:?}");
    assert!(full.err.contains("2 jobs wait in queue `line`") && full.err.contains("max_length"), "{full:?}");
    let shown = program.json(Exit::Done, &["queue", "show", "line"]).await;
    assert_eq!((&shown["max_length"], &shown["head"]), (&json!(2), &json!(format!("job {first} is queued"))));
    assert!(shown["text"].as_str().unwrap().contains("on_failure = \"halt\""), "{shown}");
    let explained = program.json(Exit::Done, &["job", "explain", &second]).await;
    let detail = explained["detail"].as_str().unwrap();
    assert!(detail.ends_with(&format!("; job {first} is queued")), "{detail}");
    program.json(Exit::Done, &["queue", "pause", "line", "--why", "a look", "--by", "ann"]).await;
    let text = program.run(&["queue", "show", "line"]).await.out;
    assert!(text.contains("paused by ann: a look"), "{text}");
    let limits = program.run(&["limit", "list"]).await.out;
    assert!(limits.contains("2 waiting, halt after a failure"), "{limits}");
}

#[tokio::test]
async fn a_bad_file_is_refused_whole_with_every_problem_and_its_line() {
    let program = Program::new("bad-queues").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queues.toml");
    let path = file.to_str().unwrap();
    for (text, parts) in [
        (
            "[[queues]]\nname = \"a\"\nkind = \"odd\"\nlimits = [\"x=y\"]",
            vec!["kind", "topics", "limits", "queues.toml:3"],
        ),
        ("[[queues]]\nname = \"a\"\ntopics = [\"a\"]\nkind = \"round_robin\"", vec!["max_in_fleet"]),
        ("namespace = \"x\"", vec!["namespace", "only [[queues]]"]),
        ("[[queues", vec!["syntax"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let refused = program.run(&["queue", "apply", path, "--yes"]).await;
        assert_eq!(refused.exit, Exit::Usage, "{refused:?}");
        for part in parts {
            assert!(refused.err.contains(part), "{part}: {refused:?}");
        }
    }
    assert_eq!(program.run(&["queue", "apply", "nowhere.toml"]).await.exit, Exit::Usage);
    assert_eq!(program.json(Exit::Done, &["queue", "history"]).await, json!({"versions": []}));
}

#[tokio::test]
async fn l02_a_history_is_purged_by_hand_after_its_plan() {
    let program = Program::new("history").await;
    let (first, second) = (program.add(&["media/x"]).await, program.add(&["other"]).await);
    let waits = program.add(&["media/x"]).await;
    for id in [&first, &second] {
        program.json(Exit::Done, &["job", "stop", id]).await;
    }
    let plan = program.json(Exit::Usage, &["history", "purge", "--topic", "**"]).await;
    assert_eq!((&plan["count"], &plan["states"]), (&json!(2), &json!({"stopped": 2})));
    let old = program.json(Exit::Done, &["history", "purge", "--older-than", "1h", "--yes"]).await;
    assert_eq!(old["count"], 0, "nothing is so old");
    let done = program.run(&["history", "purge", "--topic", "media/*", "--state", "stopped", "--yes"]).await;
    assert_eq!(done.exit, Exit::Done, "{done:?}");
    assert_eq!(program.run(&["job", "show", &first]).await.exit, Exit::NotFound);
    for id in [&second, &waits] {
        assert_eq!(program.run(&["job", "show", id]).await.exit, Exit::Done);
    }
    let done = program.json(Exit::Done, &["history", "purge", "--older-than", "0s", "--yes"]).await;
    assert_eq!(done["results"], json!({"purged": 1}));
    for bad in [&["history", "purge", "--yes"][..], &["history", "purge", "--state", "queued", "--yes"]] {
        assert_eq!(program.run(bad).await.exit, Exit::Usage, "{bad:?}");
    }
}

#[tokio::test]
async fn q15_a_purge_shows_its_plan_and_leaves_other_queues_alone() {
    let program = Program::new("purge").await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queues.toml");
    std::fs::write(&file, "[[queues]]\nname = \"media\"\ntopics = [\"media/**\"]\n").unwrap();
    program.json(Exit::Done, &["queue", "apply", file.to_str().unwrap(), "--yes"]).await;
    for args in [&["media/x"][..], &["media/y", "--in", "1h"], &["other"]] {
        program.add(args).await;
    }
    let plan = program.json(Exit::Usage, &["queue", "purge", "media"]).await;
    assert_eq!((&plan["count"], &plan["states"]), (&json!(2), &json!({"queued": 1, "scheduled": 1})));
    let done = program.run(&["queue", "purge", "media", "--yes"]).await;
    assert_eq!(done.exit, Exit::Done, "{done:?}");
    let left = program.json(Exit::Done, &["queue", "list"]).await;
    let jobs: Vec<_> =
        left["queues"].as_array().unwrap().iter().map(|queue| (&queue["name"], &queue["jobs"])).collect();
    assert_eq!(jobs, [(&json!("media"), &json!({})), (&json!("main"), &json!({"queued": 1}))]);
    let nothing = program.json(Exit::Done, &["queue", "purge", "media"]).await;
    assert_eq!(nothing["count"], 0);
    let history = program.json(Exit::Usage, &["queue", "purge", "media", "--history"]).await;
    assert_eq!(history["states"], json!({"dropped": 2}));
}
