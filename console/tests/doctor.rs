//! `doctor`: what is wrong is said with what to do, and one service is rebuilt from the other.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod support;

use longshore::Exit;
use longshore_consumer::{Consumer, Ctx};
use longshore_link::embedded::Embedded;
use longshore_model::Topic;
use longshore_producer::{Producer, ProducerOptions, Settings, World};
use serde_json::{Value, json};
use std::time::Duration;
use support::Program;

/// A program whose services can be made to lose what they hold.
struct Bench {
    backend: Embedded,
    world: World,
    program: Program,
}

impl Bench {
    fn new(journal: bool) -> Self {
        let world = World::simulated(1);
        let backend = Embedded::new(&world);
        let options = ProducerOptions { journal, ..ProducerOptions::default() };
        let producer = Producer::connect_with(backend.link(world.process()), options);
        Self { backend, world, program: Program { producer } }
    }

    async fn doctor(&self, exit: Exit, args: &[&str]) -> Value {
        self.program.json(exit, &[&["doctor"], args].concat()).await
    }

    async fn count(&self, state: &str) -> u64 {
        let stats = self.program.json(Exit::Done, &["stats"]).await;
        let topics = stats["topics"].as_object().unwrap().values();
        topics.filter_map(|topic| topic["states"][state].as_u64()).sum()
    }

    /// An instance that takes nothing of what is sent, and beats.
    async fn bystander(&self) -> longshore_consumer::Running {
        let consumer = Consumer::new(Settings::default()).link(self.backend.link(self.world.process()));
        let consumer = consumer.world(self.world.process()).on("nothing", async |_: Ctx| ());
        let running = Box::pin(consumer.start()).await.unwrap();
        running.ready().await;
        self.pass(5).await;
        running
    }

    async fn pass(&self, seconds: u64) {
        self.world.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

fn finding<'f>(health: &'f Value, about: &str) -> &'f Value {
    let findings = health["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["about"] == about).unwrap_or_else(|| panic!("no {about} in {health}"))
}

#[tokio::test(start_paused = true)]
async fn a_healthy_installation_is_said_to_be_so() {
    let bench = Bench::new(false);
    let running = bench.bystander().await;
    bench.program.add(&["a/b"]).await;
    let health = bench.doctor(Exit::Done, &[]).await;
    assert_eq!(health["worst"], "ok", "{health}");
    for about in ["store", "ledger", "scrubber", "losses", "instances", "broker", "queues", "copies"] {
        assert_eq!(finding(&health, about)["severity"], "ok", "{health}");
    }
    running.drain().await;
    let health = bench.doctor(Exit::Done, &[]).await;
    assert_eq!(finding(&health, "instances")["severity"], "warn", "{health}");
}

#[tokio::test(start_paused = true)]
async fn a_wiped_store_is_rebuilt_from_the_broker_and_its_losses_are_told() {
    let bench = Bench::new(false);
    let running = bench.bystander().await;
    for _ in 0..3 {
        bench.program.add(&["a/b"]).await;
    }
    for _ in 0..2 {
        bench.program.add(&["later", "--in", "1h"]).await;
    }
    // Their sender remembers them no more.
    bench.pass(15).await;
    bench.backend.wipe_store();
    bench.pass(5).await;
    let health = bench.doctor(Exit::Failed, &[]).await;
    let losses = finding(&health, "losses");
    assert_eq!(losses["severity"], "fail", "{health}");
    assert!(losses["detail"].as_str().unwrap().contains("up to 2 scheduled jobs"), "{losses}");

    let args = ["--rebuild-from", "broker", "--topic", "a/b"];
    let plan = bench.doctor(Exit::Done, &args).await;
    let lane = json!({
        "place": "lane a/b", "copies": 3, "made": {"queued": 3}, "known": 0, "ended": 0, "orphans": 0,
        "due_before": 0, "unreadable": 0,
    });
    assert!(plan["places"].as_array().unwrap().contains(&lane), "{plan}");
    assert_eq!((plan["planned"].clone(), bench.count("queued").await), (json!(true), 0));
    let args = [&args[..], &["--yes"]].concat();
    bench.doctor(Exit::Done, &args).await;
    assert_eq!((bench.count("queued").await, bench.count("scheduled").await), (3, 0));
    // Their copies are in the lane again, once each, and a repetition finds nothing to do.
    assert_eq!(bench.backend.messages(), 3);
    let again = bench.doctor(Exit::Done, &args).await;
    assert!(again["places"].as_array().unwrap().iter().all(|place| place["made"] == json!({})), "{again}");
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn with_a_journal_a_wipe_loses_no_scheduled_job_and_repeats_none() {
    let bench = Bench::new(true);
    let running = bench.bystander().await;
    let soon = bench.program.add(&["nothing", "--in", "10s"]).await;
    bench.program.add(&["nothing", "--in", "1h"]).await;
    bench.program.add(&["other", "--in", "2h"]).await;
    let due_meanwhile = bench.program.add(&["other", "--in", "40s"]).await;
    // Whoever ran it remembers its result no more.
    bench.pass(30).await;
    let done = bench.program.json(Exit::Done, &["job", "show", &soon]).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    bench.backend.wipe_store();
    bench.pass(30).await;
    let args = ["--rebuild-from", "broker", "--yes"];
    let rebuilt = bench.doctor(Exit::Done, &args).await;
    let journal = rebuilt["places"].as_array().unwrap().iter().find(|place| place["place"] == "journal").unwrap();
    assert_eq!(journal["made"], json!({"scheduled": 2, "queued": 1}), "{journal}");
    assert_eq!(journal["due_before"], 1, "what ran is not made again: {journal}");
    assert_eq!(bench.count("scheduled").await, 2);
    let due = bench.program.json(Exit::Done, &["job", "show", &due_meanwhile]).await;
    assert_eq!(due["state"], "queued", "{due}");
    // The relay publishes what was due; the rest runs in its time.
    bench.pass(2 * 3_600).await;
    assert_eq!((bench.count("succeeded").await, bench.count("queued").await), (1, 2));
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn without_a_witness_only_a_person_can_say_when_the_store_was_lost() {
    let bench = Bench::new(true);
    bench.program.add(&["a", "--in", "10s"]).await;
    let lost_at = longshore_model::span::rfc3339(bench.world.clock.unix_ms());
    bench.pass(20).await;
    bench.backend.wipe_store();
    let plan = bench.doctor(Exit::Done, &["--rebuild-from", "broker"]).await;
    assert_eq!(plan["undecided"], 1, "{plan}");
    let ran = bench.program.run(&["doctor", "--rebuild-from", "broker", "--yes"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(ran.err.contains("--lost-at"), "{ran:?}");
    bench.doctor(Exit::Done, &["--rebuild-from", "broker", "--yes", "--lost-at", &lost_at]).await;
    assert_eq!(bench.count("queued").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_wiped_broker_is_rebuilt_from_the_store() {
    let bench = Bench::new(false);
    for _ in 0..3 {
        bench.program.add(&["a/b"]).await;
    }
    bench.program.add(&["later", "--in", "1h"]).await;
    bench.program.producer.flush().await;
    bench.backend.wipe_broker();
    let health = bench.doctor(Exit::Failed, &[]).await;
    assert_eq!(finding(&health, "queues")["severity"], "fail", "{health}");
    let plan = bench.doctor(Exit::Done, &["--rebuild-from", "store"]).await;
    assert_eq!((plan["missing"].clone(), plan["published"].clone()), (json!(3), json!(0)), "{plan}");
    assert_eq!(bench.backend.messages(), 0);
    let done = bench.doctor(Exit::Done, &["--rebuild-from", "store", "--yes"]).await;
    assert_eq!(done["published"], 3, "{done}");
    let lane = Topic::new("a/b").unwrap().into();
    assert_eq!(bench.program.producer.link().broker.depth(&lane).await.unwrap(), Some(3));
    let plan = bench.doctor(Exit::Done, &["--rebuild-from", "store"]).await;
    assert_eq!(plan["missing"], 0, "{plan}");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_removed_after_a_plan_and_with_its_name_typed_again() {
    let bench = Bench::new(false);
    let running = bench.bystander().await;
    bench.program.add(&["a/b"]).await;
    bench.program.add(&["later", "--in", "1h"]).await;
    let name = Settings::default().namespace.to_string();
    let plan = bench.program.json(Exit::Done, &["namespace", "remove", &name]).await;
    assert_eq!(plan["jobs"], json!({"scheduled": 1, "queued": 1}), "{plan}");
    assert_eq!((plan["messages"].clone(), plan["removed"].clone()), (json!(1), json!(false)), "{plan}");
    let other = bench.program.run(&["namespace", "remove", &name, "--confirm", "other"]).await;
    assert_eq!(other.exit, Exit::Usage, "{other:?}");
    let used = bench.program.run(&["namespace", "remove", &name, "--confirm", &name]).await;
    assert_eq!(used.exit, Exit::Failed, "{used:?}");
    assert!(used.err.contains("stop them first"), "{used:?}");
    running.drain().await;
    assert_eq!((bench.count("queued").await, bench.backend.messages()), (1, 1));
    let done = bench.program.json(Exit::Done, &["namespace", "remove", &name, "--confirm", &name]).await;
    assert_eq!(done["removed"], true, "{done}");
    assert_eq!((bench.count("queued").await, bench.backend.messages()), (0, 0));
}
