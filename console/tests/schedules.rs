//! `longshore schedule …`, on the embedded backend, and the commands of the page on schedules.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use longshore_consumer::{Consumer, Ctx, Outcome, Settings};
use serde_json::Value;
use support::Program;

const UNTIL_LATER: &str = "100000s";

#[tokio::test]
async fn the_jobs_of_a_schedule_wait_as_other_jobs_do() {
    let program = Program::new("schedule-flow").await;
    program.json(Exit::Done, &["limit", "set", "smtp", "--max", "1"]).await;
    let options = [
        "--order-key",
        "k",
        "--limit",
        "smtp=acme",
        "--turn",
        "t",
        "--priority",
        "urgent",
        "--unique-key",
        "u",
        "--unique",
        "period=1h",
    ];
    let add = [&["schedule", "add", "often", "mail/send", "--every", "1h"][..], &options[..]].concat();
    program.json(Exit::Done, &add).await;
    let run = program.json(Exit::Done, &["schedule", "run", "often"]).await;
    let job = program.json(Exit::Done, &["job", "show", run["job"].as_str().unwrap()]).await;
    assert_eq!((&job["order_key"], &job["turn"]), (&"k".into(), &"t".into()), "{job}");
    assert_eq!((&job["limits"][0]["name"], &job["limits"][0]["key"]), (&"smtp".into(), &"acme".into()));
    assert_eq!((&job["unique"]["key"], &job["priority"]), (&"u".into(), &"urgent".into()), "{job}");
    let bad = [&["schedule", "add", "bad", "mail/send", "--every", "1h", "--unique", "latest"][..]].concat();
    assert_eq!(program.run(&bad).await.exit, Exit::Usage);
}

#[tokio::test]
async fn a_schedule_is_defined_shown_paused_resumed_run_and_removed() {
    let program = Program::new("schedule").await;
    let add = ["schedule", "add", "nightly", "report/build", "--cron", "0 3 * * *", "--zone", "Europe/Berlin"];
    let shown = program.json(Exit::Done, &[&add[..], &["--payload", "{\"a\": 1.50}", "--label", "x=y"]].concat()).await;
    assert_eq!((&shown["name"], &shown["topic"]), (&"nightly".into(), &"report/build".into()));
    assert_eq!((shown["payload"]["a"].to_string(), &shown["labels"]["x"]), ("1.5".to_owned(), &"y".into()));
    assert_eq!(
        (&shown["overlap"], &shown["missed"], &shown["jitter"]),
        (&"allow".into(), &"last".into(), &"0s".into())
    );
    assert_eq!(shown["timings"][0]["text"], "cron 0 3 * * *");
    let upcoming = shown["upcoming"].as_array().unwrap();
    assert_eq!((upcoming.len(), &upcoming[0]["at"]), (10, &shown["next"]));
    assert!(upcoming.iter().all(|run| run["local"].as_str().unwrap().contains("T03:00:00")), "{upcoming:?}");

    let again = program.run(&[&add[..], &["--payload", "{\"a\": 1.5}", "--label", "x=y"]].concat()).await;
    assert!(again.exit == Exit::Done && again.err.contains("nothing changed"), "{again:?}");
    let changed = program.run(&add).await;
    assert!(changed.err.contains("another definition"), "{changed:?}");

    let paused = program.json(Exit::Done, &["schedule", "pause", "nightly", "--by", "ann"]).await;
    assert_eq!(paused["suspended"]["by"], "ann");
    let text = program.run(&["schedule", "show", "nightly"]).await.out;
    assert!(text.contains("paused") && text.contains("[Europe/Berlin]"), "{text}");
    let resumed = program.json(Exit::Done, &["schedule", "resume", "nightly"]).await;
    assert_eq!(resumed["suspended"], Value::Null);

    let run = program.json(Exit::Done, &["schedule", "run", "nightly"]).await;
    let id = run["job"].as_str().unwrap();
    let job = program.json(Exit::Done, &["job", "show", id]).await;
    assert_eq!((&job["labels"]["schedule"], &job["schedule"]["name"]), (&"nightly".into(), &"nightly".into()));
    let shown = program.json(Exit::Done, &["schedule", "show", "nightly"]).await;
    assert_eq!((&shown["last"][0]["job"], &shown["last"][0]["state"]), (&id.into(), &"queued".into()));

    let list = program.json(Exit::Done, &["schedule", "list", "--topic", "report/*"]).await;
    assert_eq!(list["schedules"][0]["name"], "nightly");
    let table = program.run(&["schedule", "list"]).await.out;
    assert!(table.starts_with("NAME\tTOPIC\tWHEN") && table.contains("last queued"), "{table}");
    let removed = program.json(Exit::Done, &["schedule", "remove", "nightly"]).await;
    assert_eq!(removed["removed"], true);
    for command in ["show", "pause", "resume", "run", "remove"] {
        let gone = program.run(&["schedule", command, "nightly"]).await;
        assert!(gone.exit == Exit::NotFound && gone.err.contains("no schedule `nightly`"), "{command}: {gone:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_a_matter_of_usage_and_all_of_it_is_told() {
    let program = Program::new("schedule-usage").await;
    let refused = async |args: &[&str], parts: &[&str]| {
        let ran = program.run(&[&["schedule", "add"], args].concat()).await;
        assert_eq!(ran.exit, Exit::Usage, "{ran:?}");
        assert!(parts.iter().all(|part| ran.err.contains(part)), "{ran:?}");
    };
    refused(&["a", "t"], &["--cron", "--every", "--at"]).await;
    refused(&["a", "t", "--cron", "61 * * * *", "--zone", "Mars"], &["timings[0].cron", "`Mars` is not a time zone"])
        .await;
    refused(&["a b", "t", "--every", "10ms"], &["`a b` is not a name", "not between 1s and a year"]).await;
    refused(&["a", "t", "--at", "2020-01-01T00:00:00Z"], &["less than 2s ahead"]).await;
    refused(&["a", "t", "--every", "1m", "--overlap", "maybe"], &["allow, skip or queue_one"]).await;
    refused(&["a", "t", "--every", "1m", "--missed", "some"], &["skip, last or all:WINDOW"]).await;
    let list = program.json(Exit::Done, &["schedule", "list"]).await;
    assert_eq!(list["schedules"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_run_is_refused_while_the_one_before_has_not_ended() {
    let program = Program::new("schedule-run").await;
    let consumer = Consumer::new(Settings::default()).link(program.producer.link().clone());
    let consumer = consumer.on("slow/job", async |ctx: Ctx| {
        ctx.until_cancelled().await;
        Outcome::done()
    });
    let running = Box::pin(consumer.start()).await.unwrap();
    running.ready().await;
    let add = ["schedule", "add", "slow", "slow/job", "--every", UNTIL_LATER, "--overlap"];
    program.json(Exit::Done, &[&add[..], &["skip"]].concat()).await;
    let first = program.json(Exit::Done, &["schedule", "run", "slow"]).await;
    let refused = program.run(&["schedule", "run", "slow"]).await;
    assert_eq!(refused.exit, Exit::Failed);
    assert!(refused.err.contains(first["job"].as_str().unwrap()), "{refused:?}");
    program.json(Exit::Done, &[&add[..], &["queue_one"]].concat()).await;
    let second = program.json(Exit::Done, &["schedule", "run", "slow"]).await;
    assert_eq!((&second["waits"], second["job"] == first["job"]), (&true.into(), false));
    program.run(&["job", "stop", first["job"].as_str().unwrap()]).await;
    // Its end lets the next one go.
    let id = second["job"].as_str().unwrap();
    let started = until_active(&program, id).await;
    assert_eq!(started["state"], "active");
    running.drain().await;
}

/// Follows the job until it runs.
async fn until_active(program: &Program, id: &str) -> Value {
    let clock = program.producer.link().world.clock.clone();
    let asking = async {
        loop {
            let ran = program.run(&["job", "show", id, "--output", "json"]).await;
            if let Ok(job) = serde_json::from_str::<Value>(&ran.out)
                && job["state"] == "active"
            {
                return job;
            }
            clock.sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    clock.timeout(std::time::Duration::from_secs(30), asking).await.unwrap()
}

/// The words of a command, as a shell parts them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words
}

#[tokio::test]
async fn the_commands_of_the_page_do_what_they_say() {
    let page = include_str!("../../docs/schedules.md");
    let (_, block) = page.split_once("```console\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let program = Program::new("schedule-page").await;
    let mut count = 0;
    for line in block.lines() {
        let words = words(line.strip_prefix("$ longshore ").unwrap());
        let ran = program.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(ran.exit, Exit::Done, "{line}: {ran:?}");
        count += 1;
    }
    assert_eq!(count, 8);
}
