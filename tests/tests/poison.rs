//! A job that takes down every process that runs it, among 64 that run beside it, on real processes and services: it
//! alone is given up, after three processes at most, and its dossier tells what happened.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code; what was seen is part of the result"
)]

use longshore_model::record::{Reason, State};
use longshore_model::snapshot::JobView;
use longshore_producer::{JobId, Producer};
use longshore_tests::fire::worker::{Act, MODE, Task};
use longshore_tests::fleet::{Fleet, Member};
use longshore_tests::services::{RabbitMq, Redis, namespace};
use longshore_tests::wait::eventually;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const BESIDE: usize = 64;
const NAMES: [&str; 2] = ["one", "two"];
/// One slot for each, and a lease that a test can wait for.
const COMMON: &str =
    "instance.concurrency = 65\nlease.length = \"4s\"\nlease.beat = \"800ms\"\nlease.doubt = \"2800ms\"\n";
const LONG: Duration = Duration::from_secs(300);

async fn start(fleet: &mut Fleet, history: &Path, name: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fire"));
    command.arg(MODE).arg("--history").arg(history).arg("--who").arg(name);
    let settings = fleet.settings().clone();
    fleet.launch(name, &settings, command).ready().await;
}

async fn view(producer: &Producer, id: JobId) -> JobView {
    producer.show(id).await.unwrap().expect("an accepted job is known")
}

async fn poison(rabbitmq: &RabbitMq, redis: &Redis, act: Act) {
    let mut fleet = Fleet::new(&namespace("poison"), &rabbitmq.url(), &redis.url(), COMMON);
    let directory = tempfile::tempdir().unwrap();
    let history = directory.path().join("history");
    // All of them begin in one process.
    start(&mut fleet, &history, NAMES[0]).await;
    let producer = Producer::connect(fleet.settings()).await.unwrap();
    let task = |task: Task| serde_json::to_string(&task).unwrap();
    let innocent = task(Task { ms: 1_000, ..Task::default() });
    let poison = task(Task { ms: 300, act, ..Task::default() });
    let beside = (0..BESIDE).map(|_| producer.raw("fire/beside", &innocent));
    let sent = producer.send_all(beside.chain([producer.raw("fire/poison", &poison)])).await;
    let all: Vec<JobId> = sent.into_iter().map(|sent| sent.unwrap().id).collect();
    let (innocents, guilty) = (&all[..BESIDE], all[BESIDE]);
    let mut deaths = 0;
    eventually(LONG, &format!("{act:?}: everything has ended"), async || {
        for name in NAMES {
            deaths += usize::from(fleet.members.get_mut(name).and_then(Member::fell).is_some());
            // The second one comes when the first one has died.
            if deaths > 0 && fleet.members.get(name).is_none_or(|member| !member.is_running()) {
                start(&mut fleet, &history, name).await;
            }
        }
        let records = producer.link().store.records(all.clone()).await.ok()?;
        records.iter().flatten().all(|record| record.state.is_terminal()).then_some(())
    })
    .await;
    let blamed = view(&producer, guilty).await;
    assert_eq!((blamed.state, blamed.reason), (State::GivenUp, Some(Reason::Poison)), "{act:?}: {blamed:?}");
    let dossier: Vec<_> = blamed.attempts.iter().filter_map(|attempt| attempt.crash.as_ref()).collect();
    println!(
        "{act:?}: {deaths} processes; beside it {:?}",
        dossier.iter().map(|crash| crash.beside).collect::<Vec<_>>()
    );
    assert!(deaths <= 3 && blamed.attempts.len() == deaths && dossier.len() == deaths, "{act:?}: {deaths}, {blamed:?}");
    assert!(dossier[0].beside as usize >= BESIDE * 3 / 4 && !dossier[0].alone, "many ran beside it: {:?}", dossier[0]);
    assert!(dossier[deaths - 1].alone, "{act:?}: {dossier:?}");
    for id in innocents {
        let innocent = view(&producer, *id).await;
        assert_eq!(innocent.state, State::Succeeded, "{act:?}: {innocent:?}");
    }
}

async fn takes_three_processes_and_nobody_with_it(act: Act) {
    let (rabbitmq, redis) = tokio::join!(RabbitMq::start(), Redis::start());
    poison(&rabbitmq, &redis, act).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_a_job_that_aborts_takes_three_processes_and_nobody_with_it() {
    takes_three_processes_and_nobody_with_it(Act::Abort).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_a_job_that_overflows_the_stack_takes_three_processes_and_nobody_with_it() {
    takes_three_processes_and_nobody_with_it(Act::Overflow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_a_job_that_exits_takes_three_processes_and_nobody_with_it() {
    takes_three_processes_and_nobody_with_it(Act::Exit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_a_job_that_takes_all_memory_takes_three_processes_and_nobody_with_it() {
    takes_three_processes_and_nobody_with_it(Act::Exhaust).await;
}
