//! Offloading: the work of one machine done on others, with its files, and what comes back.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use longshore::{Exit, Streams, run_with};
use longshore_consumer::{Ctx, Outcome, Running};
use longshore_link::Link;
use longshore_link::blobs::Blobs;
use longshore_model::Secret;
use longshore_producer::{
    InstanceId, JobId, Producer, ProducerOptions, Rule, SendError, Settings, State, Topic, TopicPattern,
};
use tokio::io::AsyncReadExt;

use super::{Fleet, Runs};

/// What is taken off the origin's hands.
const TOPIC: &str = "media/rendition";

fn id(running: &Running) -> InstanceId {
    running.owner().instance.clone()
}

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).unwrap()
}

/// A handler that leaves each file that it was given, turned round.
async fn turn_round(ctx: Ctx) -> io::Result<()> {
    let input = ctx.input_dir().ok_or_else(|| io::Error::other("no input directory"))?;
    for entry in std::fs::read_dir(input)? {
        let entry = entry?;
        let mut content = std::fs::read(entry.path())?;
        content.reverse();
        std::fs::write(ctx.output_dir()?.join(entry.file_name()), content)?;
    }
    Ok(())
}

/// Waits until a job says that no live instance takes it.
async fn waits_for_somebody(fleet: &Fleet, id: JobId) -> String {
    let what = "it waits for an instance that takes it";
    let waits = fleet
        .looks(id, what, |job| job.waiting.as_ref().is_some_and(|waiting| waiting.reason == "no_capable_instance"));
    waits.await.waiting.unwrap().detail
}

/// OF-01: the origin and the worker are clusters of their own, and the origin does not take the topic: its job goes out
/// with its files, is executed once by the worker, and its outputs are at the origin with the final state.
pub async fn o01_o02_of_01_a_job_with_files_runs_outside_of_its_cluster_and_comes_back(fleet: &Fleet) {
    let runs = Runs::default();
    let member = async |cluster: &str, by| {
        let consumer = fleet.consumer_with(|settings| settings.instance.cluster = Some(cluster.to_owned())).await;
        fleet.start(consumer.on(TOPIC, runs.then_by(by, turn_round))).await
    };
    let origin = member("origin", "origin").await;
    let kept = fleet.producer().set_topic(&id(&origin), &pattern(TOPIC), Rule::Disabled, "case").await.unwrap();
    assert!(fleet.producer().row_in_effect(&id(&origin), &kept.row, Duration::from_secs(20)).await.unwrap());
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let job = fleet.producer().raw(TOPIC, "{}").file_bytes("small", "abc").file_bytes("large", large.clone());
    let sent = fleet.send(job).await;
    let why = waits_for_somebody(fleet, sent.id).await;
    assert!(why.contains("matrix"), "the origin does not do it itself: {why}");
    let worker = member("workers", "worker").await;
    let report = fleet.end(&sent).await;
    let job = &report.job;
    assert_eq!((job.state, job.attempt, job.instance.as_ref()), (State::Succeeded, 1, Some(&id(&worker).0)));
    assert_eq!(runs.all().iter().map(|run| run.by).collect::<Vec<_>>(), ["worker"]);
    let mut outputs = BTreeMap::new();
    for file in report.outputs() {
        let mut content = Vec::new();
        report.read_output(file).await.unwrap().read_to_end(&mut content).await.unwrap();
        outputs.insert(file.name.clone(), content);
    }
    let turned: Vec<u8> = large.iter().rev().copied().collect();
    assert!(outputs == BTreeMap::from([("small".to_owned(), b"cba".to_vec()), ("large".to_owned(), turned)]));
    let clusters: Vec<_> =
        fleet.producer().topology().await.unwrap().instances.into_iter().map(|c| c.cluster).collect();
    assert_eq!(clusters, ["origin", "workers"], "neither is a part of the other's cluster");
    worker.drain().await;
    origin.drain().await;
}

/// Nothing is done that the origin did not send, and it need not ask: the end is pushed to it. It would ask again only
/// after longer than the case waits.
pub async fn o06_the_origin_alone_begins_and_is_told_by_push(fleet: &Fleet) {
    let runs = Runs::default();
    let worker = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(turn_round))).await;
    let options = ProducerOptions { ask_again: Duration::from_secs(24 * 3_600), ..ProducerOptions::default() };
    let origin = Producer::connect_with(fleet.link().await, options);
    fleet.quiet(Duration::from_secs(30)).await;
    assert_eq!(runs.count(), 0, "a worker begins nothing by itself");
    for n in 1..=3 {
        let sent = origin.raw(TOPIC, "{}").file_bytes("a", vec![1; 100_000]).send().await.unwrap();
        let report = fleet.within("the origin is told", origin.outcome(sent.id).into_future()).await.unwrap();
        assert_eq!((report.job.state, report.outputs().len(), runs.count()), (State::Succeeded, 1, n));
    }
    worker.drain().await;
}

/// Which instances can be given a topic follows who is there, without anybody setting anything up; and where an instance
/// can be reached is what its present process says.
pub async fn o07_routes_come_and_go_with_the_topology_and_a_changed_address_is_seen(fleet: &Fleet) {
    let topic = Topic::new(TOPIC).unwrap();
    let home = tempfile::tempdir().unwrap();
    let worker_at = async |address: &str| {
        let set = |settings: &mut Settings| {
            settings.instance.home = Some(home.path().to_owned());
            settings.instance.endpoints = vec![address.to_owned()];
        };
        fleet.start(fleet.consumer_with(set).await.on(TOPIC, |_| async {})).await
    };
    let origin = fleet.start(fleet.consumer().await.on("other", |_| async {})).await;
    let routes = || {
        let view = origin.topology().view();
        view.capable(&topic).flat_map(|card| card.endpoints.clone()).collect::<Vec<_>>()
    };
    let routed = async |expected: &[&str]| {
        let what = format!("the origin sees the routes {expected:?}");
        fleet.eventually(&what, async || (routes() == expected).then_some(())).await;
    };
    let sent = fleet.send_to(TOPIC).await;
    waits_for_somebody(fleet, sent.id).await;
    routed(&[]).await;
    let (first, second) = ("http://10.0.0.1:8080", "http://10.0.0.2:8080");
    let worker = worker_at(first).await;
    assert!(fleet.end(&sent).await.is_success());
    routed(&[first]).await;
    let instance = id(&worker);
    worker.drain().await;
    // With it goes the lock of its home.
    drop(worker);
    routed(&[]).await;
    let sent = fleet.send_to(TOPIC).await;
    waits_for_somebody(fleet, sent.id).await;
    let worker = worker_at(second).await;
    assert_eq!(id(&worker), instance, "the same instance, somewhere else");
    routed(&[second]).await;
    assert!(fleet.end(&sent).await.is_success());
    worker.drain().await;
    origin.drain().await;
}

/// OF-04: each worker has a topic to itself, though both could do either; what is one's waits for it while the other idles.
pub async fn o13_of_04_specialised_workers_do_their_own_topic_and_no_other(fleet: &Fleet) {
    let runs = Runs::default();
    let worker = async |by| fleet.start(fleet.consumer().await.on("**", runs.then_by(by, |_| async {}))).await;
    let (video, audio) = (worker("media/video").await, worker("media/audio").await);
    let specialise = async |running: &Running, topic: &str| {
        let kept = fleet.producer().set_topic(&id(running), &pattern(topic), Rule::Exclusive, "case").await.unwrap();
        assert!(fleet.producer().row_in_effect(&id(running), &kept.row, Duration::from_secs(20)).await.unwrap());
    };
    specialise(&video, "media/video").await;
    specialise(&audio, "media/audio").await;
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(fleet.send_to(if n % 2 == 0 { "media/video" } else { "media/audio" }).await);
    }
    for sent in &sent {
        assert!(fleet.end(sent).await.is_success());
    }
    let all = runs.all();
    assert_eq!(all.len(), 20);
    assert!(all.iter().all(|run| run.topic.as_str() == run.by), "{all:?}");
    video.drain().await;
    let waits = fleet.send_to("media/video").await;
    assert!(fleet.end(&fleet.send_to("media/audio").await).await.is_success());
    fleet.quiet(Duration::from_secs(10)).await;
    waits_for_somebody(fleet, waits.id).await;
    audio.drain().await;
}

/// Blobs at an address, as the settings name it.
async fn place(fleet: &Fleet, address: &str) -> Blobs {
    let mut settings = Settings::embedded("place");
    settings.blobs.url = Secret::new(address);
    Link::connect(&settings, fleet.process(), "case").await.unwrap().blobs
}

/// Where files go is a matter of an address alone. With none of all, small files still travel with their jobs, and large
/// ones are refused at once, with the remedy.
pub async fn o05_the_place_is_chosen_by_its_address_and_none_is_a_choice(fleet: &Fleet) {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("file://{}", directory.path().display());
    let with = async |blobs: Blobs| Link { blobs, ..fleet.link().await };
    let here = with(place(fleet, &address).await).await;
    let worker = fleet.start(fleet.consumer().await.link(here).on(TOPIC, turn_round)).await;
    let nowhere = with(Blobs::nowhere(&fleet.process())).await;
    let without = Producer::connect_with(nowhere, ProducerOptions::default());
    let small = without.raw(TOPIC, "{}").file_bytes("small", "abc").send().await.unwrap();
    let large = Bytes::from(vec![5_u8; 300_000]);
    let refused = without.raw(TOPIC, "{}").file_bytes("large", large.clone()).send().await.unwrap_err();
    assert!(matches!(refused, SendError::Refused(_)), "{refused}");
    assert!(refused.to_string().contains("set blobs.url"), "{refused}");
    assert!(fleet.end(&small).await.is_success());
    assert!(!holds_files(directory.path()));
    let there = Producer::connect_with(with(place(fleet, &address).await).await, ProducerOptions::default());
    let sent = there.raw(TOPIC, "{}").file_bytes("large", large.clone()).send().await.unwrap();
    let report = fleet.within("the job ends", there.outcome(sent.id).into_future()).await.unwrap();
    let [output] = report.outputs() else { panic!("one output: {:?}", report.outputs()) };
    let mut content = Vec::new();
    report.read_output(output).await.unwrap().read_to_end(&mut content).await.unwrap();
    assert!(content == large && holds_files(directory.path()));
    worker.drain().await;
}

/// Whether there is a file somewhere below.
fn holds_files(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { holds_files(&path) } else { true }
    })
}

/// The files of a job are written as `inputs` or as `files`, each with or without a name of its own, and mean the same.
pub async fn o12_of_12_payload_files_are_written_both_ways_and_arrive_alike(fleet: &Fleet) {
    let (runs, directory) = (Runs::default(), tempfile::tempdir().unwrap());
    let work = runs.then(|ctx: Ctx| async move {
        let input = ctx.input_dir().ok_or_else(|| io::Error::other("no input directory"))?;
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(input)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            found.insert(name, std::fs::read_to_string(entry.path())?);
        }
        Ok::<_, io::Error>(Outcome::result(found))
    });
    let worker = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let (x, z) = (directory.path().join("x.png"), directory.path().join("z.png"));
    std::fs::write(&x, "the first").unwrap();
    std::fs::write(&z, "the second").unwrap();
    let line = |key: &str| {
        let files = [x.display().to_string(), format!("y={}", z.display())];
        serde_json::json!({ "topic": TOPIC, "payload": {}, key: files }).to_string()
    };
    let jobs = directory.path().join("jobs.ndjson");
    std::fs::write(&jobs, format!("{}\n{}\n", line("inputs"), line("files"))).unwrap();
    let args = ["longshore".into(), "job".into(), "import".into(), jobs.into_os_string()];
    let exit = run_with(args, Streams::into_writers(io::sink(), io::sink()), fleet.producer().clone()).await;
    assert_eq!(exit, Exit::Done);
    let expected = BTreeMap::from([("x.png", "the first"), ("y", "the second")]);
    for run in runs.reach(2).await {
        let result = fleet.end_of(run.id).await.result::<BTreeMap<String, String>>().unwrap();
        assert!(
            result.iter().map(|(name, content)| (name.as_str(), content.as_str())).eq(expected.clone()),
            "{result:?}"
        );
    }
    worker.drain().await;
}
