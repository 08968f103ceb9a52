//! Every limit, at it and one beyond: what fits is taken whole, what does not is refused by name and with the remedy,
//! and nothing is stored of it. `docs/limits.md` is the table for readers.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore_consumer::{Consumer, Ctx, FollowUp, Outcome, StartError};
use longshore_link::broker::{Headers, Intake, Message, Target};
use longshore_link::{Embedded, Link, World};
use longshore_model::envelope::Envelope;
use longshore_model::names::{Namespace, headers};
use longshore_model::placement::Label;
use longshore_model::queue::{QueueConfig, Queues};
use longshore_model::settings::Settings;
use longshore_model::{Fence, Generation, Lane, Placement, Secret, Topic, TopicPattern, limits};
use longshore_producer::{JobBuilder, Producer, ProducerOptions, State};
use longshore_tests::proxy::{Direction, Proxy};
use longshore_tests::services::{Shared, namespace};
use longshore_tests::wait::{eventually, within};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn producer() -> (Producer, Link, World) {
    let world = World::simulated(1);
    let embedded = Embedded::new(&world);
    let link = embedded.link(world.process());
    let mut settings = Settings::default();
    settings.blobs.max_file_bytes = 1_000;
    (Producer::connect_with(link.clone(), ProducerOptions::from_settings(&settings)), link, world)
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// JSON text of exactly so many bytes.
fn payload(bytes: usize) -> String {
    format!("\"{}\"", text(bytes - 2))
}

/// The number that a job has as its payload.
fn number(ctx: &Ctx) -> usize {
    ctx.payload().parse().unwrap()
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn topic(segments: usize) -> String {
    vec!["a"; segments].join("/")
}

/// One limit of a job: its name, its value, and a job that has so much of it.
type Row = (&'static str, usize, fn(&Producer, usize) -> JobBuilder, &'static [&'static str]);

const OF_A_JOB: &[Row] = &[
    ("payload", limits::INLINE_BYTES, |p, n| p.raw("a", &payload(n)), &["payload", "65536", "--input FILE"]),
    ("payload depth", limits::JSON_DEPTH, |p, n| p.raw("a", &nested(n)), &["payload", "64", "flatten"]),
    (
        "topic bytes",
        limits::TOPIC_BYTES,
        |p, n| p.raw(&format!("{}/{}/{}", text(60), text(60), text(n - 122)), "0"),
        &["topic", "180"],
    ),
    ("topic segments", limits::TOPIC_SEGMENTS, |p, n| p.raw(&topic(n), "0"), &["topic", "16"]),
    ("segment bytes", limits::TOPIC_SEGMENT_BYTES, |p, n| p.raw(&text(n), "0"), &["topic", "64"]),
    (
        "labels",
        limits::LABELS,
        |p, n| (0..n).fold(p.raw("a", "0"), |job, n| job.label(n.to_string(), "x")),
        &["labels", "32", "payload"],
    ),
    ("label name", limits::LABEL_BYTES, |p, n| p.raw("a", "0").label(text(n), "x"), &["label", "256"]),
    ("label value", limits::LABEL_BYTES, |p, n| p.raw("a", "0").label("x", text(n)), &["label", "256"]),
    (
        "indexed fields",
        limits::INDEXED,
        |p, n| (0..n).fold(p.raw("a", "0"), |job, n| job.index(format!("field{n}"))),
        &["indexed", "8", "leave out"],
    ),
    ("indexed path", limits::INDEXED_PATH_BYTES, |p, n| p.raw("a", "0").index(text(n)), &["indexed", "128"]),
    ("title", limits::TITLE_BYTES, |p, n| p.raw("a", "0").title(text(n)), &["title", "256", "shorten"]),
    (
        "created_by",
        limits::CREATED_BY_BYTES,
        |p, n| p.raw("a", "0").created_by(text(n)),
        &["created_by", "256", "shorten"],
    ),
    ("traceparent", limits::TRACEPARENT_BYTES, |p, n| p.raw("a", "0").trace(text(n), None), &["traceparent", "128"]),
    ("tracestate", limits::TRACESTATE_BYTES, |p, n| p.raw("a", "0").trace("t", Some(text(n))), &["tracestate", "512"]),
    (
        "placement",
        limits::SITE_BYTES,
        |p, n| p.raw("a", "0").placement(Placement::Label(Label { name: text(n - 6), value: None })),
        &["placement", "128"],
    ),
    ("retries", limits::RETRIES as usize, |p, n| p.raw("a", "0").retries(n as i32), &["retries", "1000000"]),
    ("delay", limits::DELAY_MS as usize, |p, n| p.raw("a", "0").after(Duration::from_millis(n as u64)), &["year"]),
    (
        "retry delay",
        limits::DELAY_MS as usize,
        |p, n| p.raw("a", "0").retry_delay(Duration::from_millis(n as u64)),
        &["year"],
    ),
    (
        "timeout",
        limits::DELAY_MS as usize,
        |p, n| p.raw("a", "0").timeout(Duration::from_millis(n as u64)),
        &["timeout", "year"],
    ),
    (
        "expiry",
        limits::DELAY_MS as usize,
        |p, n| p.raw("a", "0").expires_in(Duration::from_millis(n as u64)),
        &["expires", "year"],
    ),
    (
        "files",
        limits::FILES,
        |p, n| (0..n).fold(p.raw("a", "0"), |job, n| job.file_bytes(n.to_string(), "x")),
        &["files", "64"],
    ),
    ("file name", limits::FILE_NAME_BYTES, |p, n| p.raw("a", "0").file_bytes(text(n), "x"), &["file name", "255"]),
    (
        "file size",
        1_000,
        |p, n| p.raw("a", "0").file_bytes("f", text(n)),
        &["file `f`", "1000", "blobs.max_file_bytes"],
    ),
];

#[tokio::test(start_paused = true)]
async fn a_sender_is_told_the_limit_and_the_remedy() {
    let (producer, ..) = producer();
    for (name, limit, job, words) in OF_A_JOB {
        let sent = job(&producer, *limit).send().await.unwrap_or_else(|error| panic!("{name} at the limit: {error}"));
        assert!(producer.show(sent.id).await.unwrap().is_some(), "{name}");
        let before = producer.jobs().limit(0).ids().await.unwrap().len();
        let error = job(&producer, limit + 1).send().await.map(|sent| sent.id).expect_err(name);
        assert!(error.refusal().is_some(), "{name}: {error}");
        let said = error.to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        assert_eq!(producer.jobs().limit(0).ids().await.unwrap().len(), before, "{name}: nothing is stored");
    }
}

/// The fields of a foreign message, which no producer of ours has checked.
#[test]
fn a_foreign_message_is_refused_by_the_same_limits() {
    let digest = "0".repeat(64);
    let envelope = |change: &dyn Fn(&mut Value)| {
        let mut value = json!({"v": 1, "id": "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00", "topic": "a", "payload": 0});
        change(&mut value);
        Envelope::decode(value.to_string().as_bytes()).map(drop).map_err(|error| error.to_string())
    };
    let list = |count: usize| Value::Array(vec![json!(0); count]);
    let labels = |count: usize| (0..count).map(|n| (n.to_string(), json!("x"))).collect::<serde_json::Map<_, _>>();
    let files = |count: usize| {
        let one = |n: usize| json!({"name": n.to_string(), "size": 0, "sha256": digest});
        Value::Array((0..count).map(one).collect())
    };
    // What an envelope has besides the payload: its own braces, four names and three values.
    let own = 8;
    type Check<'c> = (&'c str, usize, &'c dyn Fn(&mut Value, usize), &'c [&'c str]);
    let rows: [Check<'_>; 10] = [
        (
            "depth",
            limits::JSON_DEPTH,
            &|e, n| e["payload"] = serde_json::from_str(&nested(n)).unwrap(),
            &["payload", "64"],
        ),
        ("tokens", limits::JSON_TOKENS - own - 1, &|e, n| e["payload"] = list(n), &["payload", "100000", "file"]),
        ("labels", limits::LABELS, &|e, n| e["labels"] = Value::Object(labels(n)), &["labels", "32"]),
        ("title", limits::TITLE_BYTES, &|e, n| e["title"] = json!(text(n)), &["title", "256"]),
        (
            "queue",
            limits::QUEUE_NAME_BYTES + limits::TOPIC_BYTES,
            &|e, n| e["queue"] = json!(text(n)),
            &["queue", "308"],
        ),
        (
            "site",
            limits::SITE_BYTES,
            &|e, n| e["site"] = json!(format!("label:{}", text(n - 6))),
            &["placement", "128"],
        ),
        ("retries", limits::RETRIES as usize, &|e, n| e["retries"] = json!(n), &["retries", "1000000"]),
        ("timeout", limits::DELAY_MS as usize, &|e, n| e["timeout_ms"] = json!(n), &["timeout_ms", "year"]),
        ("files", limits::FILES, &|e, n| e["files"] = files(n), &["files", "64"]),
        (
            "file size",
            limits::FILE_BYTES as usize,
            &|e, n| e["files"] = json!([{"name": "f", "size": n, "sha256": digest}]),
            &["file `f`", "5368709120"],
        ),
    ];
    for (name, limit, change, words) in rows {
        envelope(&|value| change(value, limit)).unwrap_or_else(|why| panic!("{name} at the limit: {why}"));
        let why = envelope(&|value| change(value, limit + 1)).expect_err(name);
        assert!(words.iter().all(|word| why.contains(word)), "{name}: {why}");
    }
    for (name, of) in [
        (headers::GENERATION, (|n| Headers { generation: Generation(n), ..Headers::default() }) as fn(u64) -> Headers),
        (headers::FENCE, |n| Headers { fence: Fence(n), ..Headers::default() }),
        (headers::ENQUEUED, |n| Headers { enqueued: Some(n), ..Headers::default() }),
    ] {
        assert_eq!(of(limits::COUNTER).check(), Ok(()), "{name}");
        let why = of(limits::COUNTER + 1).check().unwrap_err();
        assert!(why.contains(name) && why.contains("4503599627370496") && why.contains("leave it out"), "{why}");
    }
    // The whole of it. What is not payload counts as well.
    let whole = |bytes: usize| {
        let start = r#"{"v":1,"id":"019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00","topic":"a","payload":""#;
        format!("{start}{}\"}}", text(bytes - start.len() - 2)).into_bytes()
    };
    assert!(Envelope::decode(&whole(limits::ENVELOPE_BYTES)).is_ok());
    let why = Envelope::decode(&whole(limits::ENVELOPE_BYTES + 1)).unwrap_err().to_string();
    assert!(why.contains("1048577") && why.contains("1048576") && why.contains("file"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_says_is_bounded() {
    let (producer, _, world) = producer();
    let link = producer.link().clone();
    let homes = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.instance.home = Some(homes.path().join("home"));
    let consumer = Consumer::new(settings)
        .link(Link { world, ..link })
        .on("log/lines", async |ctx: Ctx| {
            for n in 0..number(&ctx) {
                ctx.log(n.to_string());
            }
        })
        .on("log/line", async |ctx: Ctx| {
            ctx.log(text(number(&ctx)));
        })
        .on("message", async |ctx: Ctx| Outcome::fail(text(number(&ctx))))
        .on("outputs", async |ctx: Ctx| {
            let dir = ctx.output_dir()?;
            (0..number(&ctx)).try_for_each(|n| std::fs::write(dir.join(n.to_string()), "x"))
        })
        .on("follow-ups", async |ctx: Ctx| {
            let one = || FollowUp::raw(Topic::new("result").unwrap(), "2".into());
            match (0..number(&ctx)).try_for_each(|_| ctx.enqueue_with(one()?).map(drop)) {
                Ok(()) => Outcome::result(()),
                Err(error) => Outcome::fail(error),
            }
        })
        .on("result", async |ctx: Ctx| Outcome::result(text(number(&ctx) - 2)))
        .on("property", async |ctx: Ctx| match ctx.set("p", text(number(&ctx) - 2)) {
            Ok(()) => Outcome::result(()),
            Err(error) => Outcome::fail(error),
        })
        .on("properties", async |ctx: Ctx| match (0..number(&ctx)).try_for_each(|n| ctx.set(&format!("p{n}"), n)) {
            Ok(()) => Outcome::result(()),
            Err(error) => Outcome::fail(error),
        });
    let running = Box::pin(consumer.start()).await.unwrap();
    let run = async |topic: &str, number: usize| {
        let sent = producer.raw(topic, &number.to_string()).send().await.unwrap();
        producer.outcome(sent.id).timeout(SOON).await.unwrap().job
    };

    let first = |job: &longshore_producer::JobView| (job.log.len(), job.log[0].text.clone());
    assert_eq!(first(&run("log/lines", limits::LOG_LINES).await), (limits::LOG_LINES, "0".into()));
    assert_eq!(
        first(&run("log/lines", limits::LOG_LINES + 1).await),
        (limits::LOG_LINES, "1".into()),
        "the oldest goes"
    );
    assert_eq!(run("log/line", limits::LOG_LINE_BYTES).await.log[0].text, text(limits::LOG_LINE_BYTES));
    let line = &run("log/line", limits::LOG_LINE_BYTES + 1).await.log[0].text;
    assert!(line.len() <= limits::LOG_LINE_BYTES && line.ends_with("(cut)"), "{}", line.len());

    assert_eq!(run("message", limits::MESSAGE_BYTES).await.message.unwrap(), text(limits::MESSAGE_BYTES));
    let message = run("message", limits::MESSAGE_BYTES + 1).await.message.unwrap();
    assert!(message.len() <= limits::MESSAGE_BYTES && message.ends_with("(cut)"), "{}", message.len());

    for (topic, limit, words) in [
        ("outputs", limits::FILES, ["65", "output files", "64"]),
        ("follow-ups", limits::FOLLOW_UPS, ["at most", "1000", "follow-up"]),
        ("result", limits::RESULT_BYTES, ["65537", "65536", "file"]),
        ("property", limits::PROPERTY_BYTES, ["16385", "16384", "`p`"]),
        ("properties", limits::PROPERTIES, ["64", "one object", "p64"]),
    ] {
        assert_eq!(run(topic, limit).await.state, State::Succeeded, "{topic} at the limit");
        let job = run(topic, limit + 1).await;
        let said = job.message.unwrap_or_default();
        assert_eq!(job.state, State::Error, "{topic}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{topic}: {said}");
    }
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn an_instance_has_so_many_patterns_and_an_installation_so_many_queues() {
    let consumer = |count: usize| {
        let embedded = Embedded::new(&World::simulated(1));
        let consumer = Consumer::new(Settings::default()).link(embedded.link(World::simulated(1)));
        (0..count).fold(consumer, |consumer, n| consumer.on(&format!("a/n{n}/**"), async |_: Ctx| ()))
    };
    Box::pin(consumer(limits::PATTERNS).start()).await.unwrap().drain().await;
    let error = Box::pin(consumer(limits::PATTERNS + 1).start()).await.map(drop).unwrap_err();
    assert!(matches!(error, StartError::TooManyHandlers(_)), "{error}");
    let said = error.to_string();
    assert!(said.contains("a/n512/**") && said.contains("512") && said.contains("another instance"), "{said}");

    let allow = |count: usize| {
        let list = (0..count).map(|n| format!("a/n{n}")).collect::<Vec<_>>().join(",");
        Settings::read(None, [("LONGSHORE_INSTANCE__ALLOW".to_owned(), list)], &[])
    };
    assert!(allow(limits::PATTERNS).is_ok());
    let said = allow(limits::PATTERNS + 1).unwrap_err().to_string();
    assert!(said.contains("instance.allow") && said.contains("513") && said.contains("512"), "{said}");

    let queues = |count: usize| {
        let queue = |n: usize| QueueConfig::new(format!("q{n}"), vec![TopicPattern::new(&format!("a/n{n}")).unwrap()]);
        Queues::new((0..count).map(queue).collect(), 2)
    };
    assert!(queues(limits::QUEUES).is_ok());
    let said = queues(limits::QUEUES + 1).unwrap_err().to_string();
    assert!(said.contains("queues: 257") && said.contains("256") && said.contains("same queue"), "{said}");
}

/// Sixty jobs for ten slots that are all taken until `open`; answers how many messages stay in the lane, and lets all of
/// them end.
async fn left_in_the_lane(held_bytes: u64) -> u64 {
    let (producer, link, world) = producer();
    let homes = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.instance.home = Some(homes.path().join("home"));
    (settings.instance.concurrency, settings.instance.held_bytes) = (10, held_bytes);
    let (open, gate) = tokio::sync::watch::channel(false);
    let handler = move |_: Ctx| {
        let mut gate = gate.clone();
        async move { gate.wait_for(|open| *open).await.map(drop) }
    };
    let consumer = Consumer::new(settings).link(Link { world: world.clone(), ..link.clone() }).on("heavy", handler);
    let running = Box::pin(consumer.start()).await.unwrap();
    let jobs: Vec<_> = (0..60).map(|_| producer.raw("heavy", &payload(10_000))).collect();
    let sent: Vec<_> = producer.send_all(jobs).await.into_iter().map(Result::unwrap).collect();
    // Longer than anything is under way, shorter than a delivery waits for a slot.
    world.clock.sleep(Duration::from_secs(10)).await;
    let left = link.broker.depth(&Topic::new("heavy").unwrap().into()).await.unwrap().unwrap();
    open.send_replace(true);
    for job in sent {
        assert_eq!(producer.outcome(job.id).timeout(SOON).await.unwrap().job.state, State::Succeeded);
    }
    running.drain().await;
    left
}

#[tokio::test(start_paused = true)]
async fn an_instance_holds_so_many_bytes_that_wait_for_a_slot() {
    let (producer, link, _) = producer();
    let sent = producer.raw("heavy", &payload(10_000)).send().await.unwrap();
    let mut session = link.broker.consume().await.unwrap();
    session.add(&Topic::new("heavy").unwrap().into(), 1).await.unwrap();
    let Intake::Delivery(delivery) = session.next().await else { panic!("{} is not delivered", sent.id) };
    let size = delivery.body.len() as u64;
    // Ten run, and twice as many may wait here.
    assert_eq!(left_in_the_lane(20 * size).await, 30, "at the limit");
    assert_eq!(left_in_the_lane(20 * size - 1).await, 50, "one byte beyond it the lane gets back what waits");
}

#[tokio::test(start_paused = true)]
async fn so_many_payloads_are_looked_at_for_one_answer() {
    let (producer, _, _) = producer();
    let jobs = (0..=limits::EXAMINED).map(|n| producer.raw("looked/at", &n_field(n)));
    for sent in producer.send_all(jobs.collect::<Vec<_>>()).await {
        sent.unwrap();
    }
    let find = |condition: &str| producer.jobs().topic("looked/at").matching([condition]).limit(0);
    let none = find("n<0").list().await.unwrap();
    assert_eq!((none.jobs.len(), none.partial), (0, true));
    let at = find("n>=0").list().await.unwrap();
    assert_eq!((at.jobs.len(), at.partial), (limits::EXAMINED, true), "at the limit");
    let rest = find("n>=0").from_cursor(at.next.unwrap()).list().await.unwrap();
    assert_eq!((rest.jobs.len(), rest.partial, rest.next), (1, false, None), "one beyond it");
    assert_eq!(find("n>=0").ids().await.unwrap().len(), limits::EXAMINED + 1, "ids are looked for in all");
}

fn n_field(n: usize) -> String {
    format!("{{\"n\":{n}}}")
}

/// The only limit that the store itself keeps.
async fn topics_of_a_namespace(link: Link, settings: &Settings) {
    let producer = Producer::connect_with(link, ProducerOptions::from_settings(settings));
    let jobs = (0..limits::TOPICS).map(|n| producer.raw(&format!("kind/n{n}"), "0"));
    for (n, answer) in producer.send_all(jobs.collect::<Vec<_>>()).await.into_iter().enumerate() {
        answer.unwrap_or_else(|error| panic!("topic {n}: {error}"));
    }
    let error = producer.raw("one/more", "0").send().await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("one/more") && said.contains("1000") && said.contains("labels"), "{said}");
    assert!(producer.raw("kind/n7", "0").send().await.is_ok(), "the known ones go on");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_has_so_many_topics_on_the_embedded_backend() {
    let (_, link, _) = producer();
    topics_of_a_namespace(link, &Settings::default()).await;
}

#[tokio::test]
async fn a_namespace_has_so_many_topics_on_services() {
    let shared = Shared::services().await;
    let mut settings = Settings { namespace: Namespace::new(&namespace("limits")).unwrap(), ..Settings::default() };
    settings.broker.url = Secret::new(shared.broker_url.as_str());
    settings.store.url = Secret::new(shared.store_url.as_str());
    let link = Box::pin(Link::connect(&settings, World::system(), "test")).await.unwrap();
    within(SOON, "a thousand topics", Box::pin(topics_of_a_namespace(link, &settings))).await;
    assert!(Topic::new("one/more").is_ok());
}

#[tokio::test]
async fn so_many_publishes_wait_for_their_confirm() {
    const WINDOW: usize = 3;
    let shared = Shared::services().await;
    let (proxy, url) = Proxy::before(&shared.broker_url).await;
    let mut settings = Settings { namespace: Namespace::new(&namespace("window")).unwrap(), ..Settings::default() };
    settings.broker.url = Secret::new(url);
    settings.store.url = Secret::new(shared.store_url.as_str());
    (settings.broker.publish_window, settings.broker.publish_timeout) = (WINDOW, SOON);
    let link = Box::pin(Link::connect(&settings, World::system(), "test")).await.unwrap();
    let lane: Lane = "limits/window".parse::<Topic>().unwrap().into();
    let message = || Message {
        target: Target::Jobs(lane.clone()),
        message_id: String::new(),
        headers: Headers::default(),
        body: "{}".into(),
    };
    assert_eq!(link.broker.publish(vec![message()]).await, [Ok(())], "the lane is there");

    // Nothing is confirmed: one more than has a place stays here until there is one.
    proxy.stall(Direction::ToClient);
    settings.broker.url = Secret::new(shared.broker_url.as_str());
    let watcher = Box::pin(Link::connect(&settings, World::system(), "test")).await.unwrap();
    let publishing = within(SOON, "all are confirmed", link.broker.publish(vec![message(); WINDOW + 1]));
    let watching = async {
        let sent = eventually(SOON, "a window of messages in the lane", async || {
            let sent = watcher.broker.depth(&lane).await.ok()??.saturating_sub(1);
            (sent >= WINDOW as u64).then_some(sent)
        });
        assert_eq!(sent.await, WINDOW as u64, "one more was sent");
        proxy.heal().await;
    };
    let (answers, ()) = tokio::join!(publishing, watching);
    assert!(answers.len() == WINDOW + 1 && answers.iter().all(Result::is_ok), "{answers:?}");
}
