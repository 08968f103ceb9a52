//! Attempts that were given away, ended on the command line.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use longshore_consumer::{Consumer, Ctx, Outcome, Settings};
use serde_json::json;
use support::Program;
use tokio::sync::mpsc;

#[tokio::test]
async fn s07_a_token_ends_its_attempt_on_the_command_line() {
    let program = Program::new("complete").await;
    let (given, mut tokens) = mpsc::unbounded_channel();
    let consumer = Consumer::new(Settings::default()).link(program.producer.link().clone());
    let consumer = consumer.on("test/given", move |ctx: Ctx| {
        given.send(ctx.token().to_string()).unwrap();
        std::future::ready(Outcome::given_away())
    });
    let running = Box::pin(consumer.start()).await.unwrap();

    let id = program.add(&["test/given"]).await;
    let token = tokens.recv().await.unwrap();
    for bad in [
        &["job", "complete", "no-token"][..],
        &["job", "complete", &token, "--result", "{"],
        &["job", "complete", &token, "--result", "1", "--error", "x"],
        &["job", "complete", &token, "--permanent"],
        &["job", "complete", &token, "--error", "x", "--kind", "no kind"],
    ] {
        assert_eq!(program.run(bad).await.exit, Exit::Usage, "{bad:?}");
    }
    let done = program.json(Exit::Done, &["job", "complete", &token, "--result", "{\"n\": 1}"]).await;
    assert_eq!(done, json!({"id": id, "attempt": 1, "state": "succeeded"}));
    let again = program.run(&["job", "complete", &token]).await;
    assert!(again.exit == Exit::Failed && again.err.contains("completed before"), "{again:?}");
    assert_eq!(program.json(Exit::Done, &["job", "show", &id]).await["result"], json!({"n": 1}));

    let id = program.add(&["test/given", "--retries", "0", "--retry-on", "busy=3"]).await;
    let token = tokens.recv().await.unwrap();
    let args = ["job", "complete", &token, "--error", "no luck", "--kind", "busy", "--retry-in", "1h"];
    let retrying = program.run(&args).await;
    assert_eq!(retrying.out.trim(), format!("attempt 1 of job {id} is over; the job is retrying"));
    let late = program.run(&["job", "complete", &token]).await;
    assert!(late.exit == Exit::Failed && late.err.contains("completed before"), "{late:?}");

    program.add(&["test/given"]).await;
    let token = tokens.recv().await.unwrap();
    let ended = program.json(Exit::Done, &["job", "complete", &token, "--error", "never", "--permanent"]).await;
    assert_eq!(ended["state"], "error");
    let unknown = token.replacen(&token[5..41], "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00", 1);
    assert_eq!(program.run(&["job", "complete", &unknown]).await.exit, Exit::NotFound);
    running.drain().await;
}
