//! `longshore letters` on the embedded backend: nothing is lost by looking, and what is removed was meant.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod support;

use bytes::Bytes;
use longshore::Exit;
use longshore_consumer::{Consumer, Ctx};
use longshore_link::broker::{Headers, Message, Target};
use longshore_producer::{Place, Settings};
use serde_json::{Value, json};
use support::{Program, Ran};

const EVIL: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{202e}";

/// An envelope of a job that nobody knows.
fn envelope(program: &Program, topic: &str) -> (String, String) {
    let id = program.producer.new_id().to_string();
    (id.clone(), format!(r#"{{"v":1,"id":"{id}","topic":"{topic}","payload":{{"n":1}}}}"#))
}

impl Program {
    async fn put(&self, target: Target, id: &str, body: impl Into<Bytes>, reason: &str) {
        let headers = Headers { reason: Some(reason.to_owned()), ..Headers::default() };
        let message = Message { target, message_id: id.to_owned(), headers, body: body.into() };
        self.producer.link().broker.publish(vec![message]).await.remove(0).unwrap();
    }

    /// Three dead letters of two topics, oldest first; answers the jobs' ids.
    async fn dead(&self) -> Vec<String> {
        let mut ids = Vec::new();
        for (topic, reason) in [("mail/send", "too old"), ("mail/read", "too odd"), ("sms", "too old")] {
            let (id, body) = envelope(self, topic);
            self.put(Target::Dead, &id, body, reason).await;
            ids.push(id);
        }
        ids
    }

    async fn names(&self, place: &str, filter: &[&str]) -> Vec<String> {
        let list = self.json(Exit::Done, &[&["letters", place, "list"], filter].concat()).await;
        let letters = list["letters"].as_array().unwrap();
        letters.iter().map(|letter| letter["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn ends(&self, exit: Exit, args: &[&str]) -> Ran {
        let ran = self.run(args).await;
        assert_eq!(ran.exit, exit, "{args:?}: {ran:?}");
        ran
    }
}

#[tokio::test]
async fn looking_tells_all_and_changes_nothing() {
    let program = Program::new("letters-look").await;
    let ids = program.dead().await;
    for _ in 0..3 {
        let list = program.json(Exit::Done, &["letters", "dead", "list"]).await;
        let letters = list["letters"].as_array().unwrap();
        let of = |field: &str| letters.iter().map(|letter| letter[field].clone()).collect::<Vec<_>>();
        assert_eq!(of("number"), [json!(1), json!(2), json!(3)]);
        assert_eq!(of("id"), ids.iter().map(|id| json!(id)).collect::<Vec<_>>());
        assert_eq!(of("topic"), [json!("mail/send"), json!("mail/read"), json!("sms")]);
        assert_eq!(of("reason"), [json!("too old"), json!("too odd"), json!("too old")]);
        assert_eq!(list["more"], json!(false));
    }
    assert_eq!(program.names("dead", &["--topic", "mail/*"]).await.len(), 2);
    assert_eq!(program.names("dead", &["--topic", "mail/*", "--reason", "old"]).await.len(), 1);
    assert_eq!(program.names("dead", &["--limit", "2"]).await.len(), 2);
    let names = program.names("dead", &[]).await;
    for letter in ["2", &names[1], &ids[1]] {
        let shown = program.json(Exit::Done, &["letters", "dead", "show", letter]).await;
        assert_eq!((&shown["id"], &shown["name"]), (&json!(ids[1]), &json!(names[1])));
        assert_eq!(serde_json::from_str::<Value>(shown["body"].as_str().unwrap()).unwrap()["payload"], json!({"n": 1}));
    }
    program.ends(Exit::NotFound, &["letters", "dead", "show", "4"]).await;
    program.ends(Exit::Usage, &["letters", "dead", "show", "what?"]).await;
    let text = program.ends(Exit::Done, &["letters", "unrouted", "list"]).await.out;
    assert!(text.contains("no letters"), "{text}");
}

#[tokio::test]
async fn a_replayed_letter_runs_and_is_gone() {
    let program = Program::new("letters-replay").await;
    let ids = program.dead().await;
    let done = program.json(Exit::Done, &["letters", "dead", "replay", &ids[1]]).await;
    assert_eq!((&done["count"], &done["letters"][0]["result"]), (&json!(1), &json!("replayed")));
    assert_eq!(program.names("dead", &[]).await.len(), 2);

    // By filter there is a plan first, and nothing happens.
    let plan = program.json(Exit::Usage, &["letters", "dead", "replay", "--all"]).await;
    assert_eq!((&plan["count"], &plan["done"]), (&json!(2), &json!(false)));
    assert_eq!(program.names("dead", &[]).await.len(), 2);
    program.json(Exit::Done, &["letters", "dead", "replay", "--all", "--yes"]).await;
    assert_eq!(program.names("dead", &[]).await.len(), 0);
    let nothing = program.json(Exit::Done, &["letters", "dead", "replay", "--all", "--yes"]).await;
    assert_eq!((&nothing["count"], &nothing["done"]), (&json!(0), &json!(true)));

    let link = program.producer.link().clone();
    let running = Consumer::new(Settings::default()).link(link).on("**", async |_: Ctx| ()).start();
    let running = Box::pin(running).await.unwrap();
    for id in &ids {
        program.ends(Exit::Done, &["job", "wait", id, "--timeout", "20s"]).await;
        let job = program.json(Exit::Done, &["job", "show", id]).await;
        assert_eq!(job["attempt"], json!(1));
    }
    running.drain().await;
}

#[tokio::test]
async fn a_letter_whose_job_has_ended_or_is_held_elsewhere_is_told_so() {
    let program = Program::new("letters-ended").await;
    let waiting = program.add(&["test/later", "--in", "1h"]).await;
    let stopped = program.add(&["test/later"]).await;
    program.ends(Exit::Done, &["job", "stop", &stopped]).await;
    for id in [&waiting, &stopped] {
        let snapshot = program.producer.link().store.load(vec![id.parse().unwrap()]).await.unwrap().remove(0).unwrap();
        program.put(Target::Dead, id, snapshot.envelope, "a copy").await;
    }
    let done = program.json(Exit::Failed, &["letters", "dead", "replay", "--all", "--yes"]).await;
    let result = |n: usize| (done["letters"][n]["result"].clone(), done["letters"][n]["detail"].to_string());
    let (first, second) = (result(0), result(1));
    assert!(first.0 == json!("replayed") && first.1.contains("scheduled"), "{first:?}");
    assert!(second.0 == json!("ended") && second.1.contains("stopped"), "{second:?}");
    let left = program.json(Exit::Done, &["letters", "dead", "list"]).await;
    assert_eq!(left["letters"].as_array().unwrap().len(), 1);
    assert_eq!(left["letters"][0]["id"], json!(stopped));
}

#[tokio::test]
async fn a_letter_that_cannot_be_read_is_mended_and_replayed() {
    let program = Program::new("letters-mend").await;
    let dir = tempfile::tempdir().unwrap();
    let (id, body) = envelope(&program, "mail/send");
    let broken = body.replace("\"v\":1,", "");
    program.put(Target::Quarantine, "whatever", broken.clone(), "no version").await;
    program.put(Target::Quarantine, "other", &b"\xff\xfe"[..], "no JSON").await;
    let refused = program.json(Exit::Failed, &["letters", "quarantine", "replay", "1"]).await;
    assert_eq!(refused["letters"][0]["result"], json!("unreadable"));
    assert_eq!(program.names("quarantine", &[]).await.len(), 2, "it stays");

    let file = dir.path().join("letter.json").display().to_string();
    program.ends(Exit::Done, &["letters", "quarantine", "show", "1", "--save", &file]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), broken, "as it is");
    program.ends(Exit::Failed, &["letters", "quarantine", "show", "2", "--save", &file]).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), broken, "no file is written over");
    std::fs::write(&file, body).unwrap();
    // One body is for one letter.
    program.ends(Exit::Usage, &["letters", "quarantine", "replay", "--all", "--yes", "--body", &file]).await;
    let done = program.json(Exit::Done, &["letters", "quarantine", "replay", "1", "--body", &file]).await;
    assert_eq!((&done["letters"][0]["id"], &done["letters"][0]["result"]), (&json!(id), &json!("replayed")));
    assert_eq!(program.json(Exit::Done, &["job", "show", &id]).await["state"], json!("queued"));
    assert_eq!(program.names("quarantine", &[]).await.len(), 1);
}

#[tokio::test]
async fn dropping_asks_even_by_name() {
    let program = Program::new("letters-drop").await;
    program.dead().await;
    let names = program.names("dead", &[]).await;
    program.ends(Exit::Usage, &["letters", "dead", "drop"]).await;
    program.ends(Exit::Usage, &["letters", "dead", "drop", &names[0], "--all"]).await;
    let ran = program.ends(Exit::Usage, &["letters", "dead", "drop", &names[0]]).await;
    assert!(ran.out.contains(&names[0]) && ran.err.contains("--yes"), "{ran:?}");
    assert_eq!(program.names("dead", &[]).await, names);
    program.ends(Exit::Done, &["letters", "dead", "drop", &names[1], "--yes"]).await;
    assert_eq!(program.names("dead", &[]).await, [names[0].clone(), names[2].clone()]);
    let done = program.json(Exit::Done, &["letters", "dead", "drop", "--reason", "old", "--yes"]).await;
    assert_eq!(done["results"], json!({"dropped": 2}));
    assert_eq!(program.names("dead", &[]).await.len(), 0);
    program.ends(Exit::NotFound, &["letters", "dead", "drop", &names[1], "--yes"]).await;
}

#[tokio::test]
async fn a_replay_that_is_not_confirmed_keeps_the_letter() {
    let program = Program::new("letters-lost").await;
    let world = program.producer.link().world.clone();
    let backend = longshore_link::Embedded::new(&world);
    let producer = longshore_producer::Producer::connect_with(backend.link(world), Default::default());
    let program = Program { producer };
    let (id, body) = envelope(&program, "mail/send");
    program.put(Target::Dead, &id, body, "a test").await;
    // The store takes the job, the broker does not take its message.
    let letters = program.producer.letters(Place::Dead);
    backend.set_blocked(Some("low on disk"));
    let handled = letters.replay(None).await.unwrap();
    assert!(!handled.letters[0].1.is_sent(), "{handled:?}");
    assert_eq!(program.names("dead", &[]).await.len(), 1, "the letter stays");
    backend.set_blocked(None);
    assert!(letters.replay(None).await.unwrap().letters[0].1.is_sent());
    assert_eq!(program.names("dead", &[]).await.len(), 0);
    assert_eq!(program.json(Exit::Done, &["job", "show", &id]).await["state"], json!("queued"));
}

#[tokio::test]
async fn nothing_in_a_letter_reaches_the_terminal() {
    let program = Program::new("letters-evil").await;
    program.put(Target::Quarantine, EVIL, format!("{EVIL}\n{EVIL}"), EVIL).await;
    let commands: [&[&str]; 6] = [
        &["letters", "quarantine", "list"],
        &["letters", "quarantine", "list", "--output", "json"],
        &["letters", "quarantine", "show", "1"],
        &["letters", "quarantine", "show", "1", "--output", "json"],
        &["letters", "quarantine", "drop", "1"],
        &["letters", "quarantine", "replay", "1"],
    ];
    for args in commands {
        let ran = program.run(args).await;
        let printed = format!("{}{}", ran.out, ran.err);
        let harmful = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || c == '\u{202e}';
        assert!(printed.contains("owned") || args.contains(&"replay"), "{args:?}: {printed}");
        assert!(!printed.contains(harmful), "{args:?}: {printed:?}");
    }
}
