//! Topics × instances on the command line: what waits, who takes it, and changing that.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use longshore_consumer::{Consumer, Running};
use longshore_producer::Settings;
use serde_json::{Value, json};
use support::Program;

async fn start(program: &Program, name: &str) -> Running {
    let mut settings = Settings::default();
    settings.instance.name = Some(name.to_owned());
    let consumer = Consumer::new(settings).link(program.producer.link().clone());
    let running = consumer.on("media/*", async |_| ()).start().await.unwrap();
    running.ready().await;
    running
}

fn of<'v>(list: &'v Value, topic: &str) -> &'v Value {
    list["topics"].as_array().unwrap().iter().find(|line| line["topic"] == topic).unwrap()
}

#[tokio::test]
async fn o08_topics_are_set_listed_and_cleared_from_the_command_line() {
    let program = Program::new("topics").await;
    assert_eq!(program.json(Exit::Done, &["topic", "list"]).await, json!({"topics": []}));
    let one = start(&program, "one").await;
    let id = one.owner().instance.to_string();
    let set = program.json(Exit::Done, &["topic", "set", "one", "media/raw", "disabled", "--by", "ann"]).await;
    let expected = json!({"media/raw": "disabled"});
    assert_eq!((&set["instance"], &set["rules"], &set["by"]), (&json!(id), &expected, &json!("ann")));
    assert_eq!((&set["in_effect"], &set["drained"]), (&json!(true), &json!(false)));
    let job = program.add(&["media/raw"]).await;
    program.add(&["x"]).await;
    let list = program.json(Exit::Done, &["topic", "list"]).await;
    let raw = of(&list, "media/raw");
    assert_eq!(raw["instances"], json!([{"instance": id, "name": "one", "stand": "disabled"}]));
    assert_eq!((&raw["waiting"], &raw["gap"]), (&json!(1), &json!("1 job waits, no live instance takes media/raw")));
    assert_eq!(of(&list, "x")["instances"][0]["stand"], "no_handler");
    let text = program.run(&["topic", "list", "media/*"]).await;
    assert!(text.out.contains("nobody") && text.out.contains("one (disabled)"), "{text:?}");
    let gaps = program.json(Exit::Failed, &["topic", "list", "--gaps"]).await;
    assert_eq!(gaps["topics"].as_array().unwrap().len(), 2);
    let why = program.json(Exit::Done, &["job", "explain", &job]).await;
    assert!(why["detail"].as_str().unwrap().contains("topic matrix has it disabled there by ann"), "{why}");
    let shown = program.json(Exit::Done, &["instance", "show", &id]).await;
    let topics = json!([{"topic": "media/raw", "stand": "disabled"}, {"topic": "x", "stand": "no_handler"}]);
    assert_eq!((&shown["live"], &shown["topics"]), (&json!(true), &topics));
    let cleared = program.json(Exit::Done, &["topic", "clear", &id]).await;
    assert_eq!((&cleared["rules"], &cleared["in_effect"]), (&json!({}), &json!(true)));
    program.json(Exit::Done, &["job", "wait", &job, "--timeout", "30s"]).await;
    one.drain().await;
}

#[tokio::test]
async fn an_instance_is_drained_resumed_and_remembered_while_it_is_away() {
    let program = Program::new("drain").await;
    let one = start(&program, "one").await;
    let id = one.owner().instance.to_string();
    let drained = program.json(Exit::Done, &["instance", "drain", "one"]).await;
    assert_eq!((&drained["drained"], &drained["in_effect"]), (&json!(true), &json!(true)));
    let text = program.run(&["instance", "list"]).await;
    assert!(text.out.contains("drained"), "{text:?}");
    assert_eq!(program.json(Exit::Done, &["topology"]).await["instances"][0]["row"]["drained"], true);
    one.drain().await;
    let list = program.json(Exit::Done, &["instance", "list"]).await;
    assert_eq!((&list["instances"], &list["away"][0]["instance"]), (&json!([]), &json!(id)));
    let text = program.run(&["instance", "list"]).await;
    assert!(text.out.contains("AWAY") && text.out.contains(&id), "{text:?}");
    let shown = program.json(Exit::Done, &["instance", "show", &id]).await;
    assert_eq!((&shown["live"], &shown["row"]["drained"]), (&json!(false), &json!(true)));
    // Its id is known though it is away; its name is not.
    let resumed = program.json(Exit::Done, &["instance", "resume", &id]).await;
    assert_eq!((&resumed["drained"], &resumed["in_effect"]), (&json!(false), &json!(false)));
    let unknown = program.run(&["instance", "drain", "one"]).await;
    assert!(unknown.exit == Exit::NotFound && unknown.err.contains("there is no instance `one`"), "{unknown:?}");
}

#[tokio::test]
async fn a_name_that_several_instances_have_names_none_of_them() {
    let program = Program::new("names").await;
    let (one, two) = (start(&program, "same").await, start(&program, "same").await);
    let refused = program.run(&["topic", "set", "same", "a", "disabled"]).await;
    assert_eq!(refused.exit, Exit::Usage);
    for running in [&one, &two] {
        assert!(refused.err.contains(&running.owner().instance.to_string()), "{refused:?}");
    }
    let id = two.owner().instance.to_string();
    program.json(Exit::Done, &["topic", "set", &id, "media/**", "exclusive"]).await;
    assert_eq!(program.run(&["topic", "set", &id, "media/**", "off"]).await.exit, Exit::Usage);
    assert_eq!(program.run(&["topic", "set", &id, "a*b", "disabled"]).await.exit, Exit::Usage);
    one.drain().await;
    two.drain().await;
}

#[tokio::test]
async fn p03_a_job_is_placed_from_the_command_line_and_says_for_whom_it_waits() {
    let program = Program::new("placed").await;
    let one = start(&program, "one").await;
    let job = program.add(&["media/raw", "--placement", "label:gpu=yes"]).await;
    let shown = program.json(Exit::Done, &["job", "show", &job]).await;
    assert_eq!((&shown["site"], &shown["state"]), (&json!("label:gpu=yes"), &json!("queued")));
    let why = program.json(Exit::Done, &["job", "explain", &job]).await;
    let says = "only instances with the label gpu=yes run it, and none is live";
    assert!(why["waiting"]["reason"] == "placement" && why["detail"].as_str().unwrap().contains(says), "{why}");
    assert_eq!(why["takers"], json!([]));
    let gaps = program.json(Exit::Failed, &["topic", "list", "--gaps"]).await;
    let gap = "1 job waits for instances with the label gpu=yes, which take no media/raw";
    assert_eq!(of(&gaps, "media/raw")["gap"], gap);
    let rather = program.add(&["media/raw", "--placement", "prefer_label:gpu=yes"]).await;
    program.json(Exit::Done, &["job", "wait", &rather, "--timeout", "30s"]).await;
    let wrong = program.run(&["job", "add", "media/raw", "--placement", "near"]).await;
    assert!(wrong.exit == Exit::Usage && wrong.err.contains("`near` is not a placement: use any"), "{wrong:?}");
    one.drain().await;
}
