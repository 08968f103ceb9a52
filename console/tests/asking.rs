//! Asking live instances something on the command line.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use longshore_consumer::{Consumer, Question, Running};
use longshore_producer::Settings;
use serde_json::json;
use std::convert::Infallible;
use support::Program;

async fn start(program: &Program, name: &str, answers: impl FnOnce(Consumer) -> Consumer) -> Running {
    let mut settings = Settings::default();
    settings.instance.name = Some(name.to_owned());
    settings.instance.labels = [("zone".to_owned(), name.to_owned())].into();
    let consumer = Consumer::new(settings).link(program.producer.link().clone());
    let running = answers(consumer.on("a", async |_| ())).start().await.unwrap();
    running.ready().await;
    running
}

#[tokio::test]
async fn v02_instances_are_asked_from_the_command_line() {
    let program = Program::new("asking").await;
    let nobody = program.json(Exit::NotFound, &["instance", "ask", "cache/clear"]).await;
    assert_eq!((&nobody["complete"], &nobody["instances"]), (&json!(true), &json!([])));
    let one = start(&program, "one", |consumer| {
        consumer.answer("cache/clear", |question: Question| async move { question.read::<u64>().map(|n| n + 1) })
    })
    .await;
    let ask = ["instance", "ask", "cache/clear", "--payload", "41", "--takes", "a"];
    let answers = program.json(Exit::Done, &ask).await;
    assert_eq!(answers["instances"][0]["instance"], one.owner().instance.to_string());
    let one_said = &answers["instances"][0];
    assert_eq!(
        (&one_said["outcome"], &one_said["answer"], &one_said["ran"]),
        (&json!("answered"), &json!(42), &json!("yes"))
    );
    assert_eq!((&answers["complete"], &answers["not_asked"]), (&json!(true), &json!([])));
    let two = start(&program, "two", |consumer| {
        consumer.answer("stuck", |_| std::future::pending::<Result<(), Infallible>>())
    })
    .await;
    let answers = program.json(Exit::Failed, &ask).await;
    assert_eq!((&answers["complete"], &answers["instances"][1]["outcome"]), (&json!(true), &json!("no_handler")));
    for only in [["--label", "zone=one"], ["--instance", "one"]] {
        let answers = program.json(Exit::Done, &[&ask[..], &only[..]].concat()).await;
        assert_eq!(answers["instances"].as_array().unwrap().len(), 1);
    }
    let silent = program.run(&["instance", "ask", "stuck", "--timeout", "500ms"]).await;
    assert_eq!(silent.exit, Exit::TimedOut);
    for part in ["no handler", "silent", "its handler began", "not complete"] {
        assert!(silent.out.contains(part), "{silent:?}");
    }
    assert_eq!(program.run(&["instance", "ask", "not a name"]).await.exit, Exit::Usage);
    assert_eq!(program.run(&["instance", "ask", "a", "--timeout", "1h"]).await.exit, Exit::Usage);
    assert_eq!(program.run(&["instance", "ask", "a", "--instance", "three"]).await.exit, Exit::NotFound);
    let audit = program.json(Exit::Done, &["audit", "--limit", "1"]).await;
    let entry = &audit["entries"][0];
    assert_eq!((&entry["action"], &entry["of"]), (&json!("instance ask"), &json!("stuck")));
    assert_eq!(entry["counts"], json!({"silent": 1, "no_handler": 1}));
    one.drain().await;
    two.stop().await;
}
