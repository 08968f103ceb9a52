//! Longshore against its yardstick: what lapin and redis allow on this machine, and which share of it is left when
//! Longshore does the same, measured in turn on the same services. A table for people, one line of JSON for programs.
//!
//! `cargo bench -p longshore-tests --bench longshore [-- ROUNDS [JOBS]]`, medians of three rounds of 40 000 jobs by
//! default. Takes the services that the environment names or starts private ones. The memory is that of a process of
//! its own, which is this program again as a consumer.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's output")]

use longshore::bench::{self, consumer};
use longshore_model::secret::Secret;
use longshore_producer::{Producer, Settings, Topic, World};
use longshore_tests::baseline::{Error, Figures, Plan, measure};
use longshore_tests::services::{Shared, namespace};
use serde::Serialize;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const TOPIC: &str = "bench/noop";
/// First argument of the process whose memory is measured.
const CONSUMER: &str = "consumer";
/// Jobs of the busy consumer, and how many of them are waited for.
const BUSY: usize = 20_000;
const WAITED: usize = 200;

/// All that was measured; medians.
#[derive(Debug, Serialize)]
struct Report {
    rounds: usize,
    jobs: usize,
    baseline: Figures,
    longshore: bench::Figures,
    /// Longshore's figure for one of the baseline, in the order in which they are printed.
    ratios: Vec<f64>,
    memory: Memory,
}

/// Resident memory of a consumer process, KiB.
#[derive(Debug, Serialize)]
struct Memory {
    /// When it could take jobs.
    idle_kib: u64,
    /// The most that it took until all jobs were done.
    busy_kib: u64,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // cargo adds `--bench` to the arguments.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [role, broker, store, namespace] = arguments.as_slice()
        && role == CONSUMER
    {
        return consume(&settings(broker, store, namespace)?).await;
    }
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (rounds, jobs): (usize, usize) = (number(0, 3)?, number(1, 40_000)?);
    let services = Shared::services().await;
    let plan = Plan { one_by_one: (jobs / 10).max(1), bulk: jobs, ..Plan::default() };
    let (mut yardstick, mut measured) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        yardstick.push(measure(&services.broker_url, &services.store_url, plan, |what| say("baseline", what)).await?);
        measured.push(Box::pin(longshore(&services, plan)).await?);
    }
    let baseline = Figures::median(&yardstick).ok_or("at least one round is needed")?;
    let longshore = median(&measured);
    let memory = memory(&services).await?;
    let ratios: Vec<f64> = longshore.rows().iter().zip(baseline.rows()).map(|((_, a), (_, b))| a / b).collect();

    println!("{jobs} jobs, median of {rounds}");
    println!("{:<40} {:>12} {:>12} {:>8}", "", "baseline", "longshore", "ratio");
    for (((name, bound), (_, value)), ratio) in baseline.rows().iter().zip(longshore.rows()).zip(&ratios) {
        println!("{name:<40} {bound:>12.2} {value:>12.2} {ratio:>8.2}");
    }
    println!("consumer process, KiB: {} idle, {} at most when busy", memory.idle_kib, memory.busy_kib);
    println!("{}", serde_json::to_string(&Report { rounds, jobs, baseline, longshore, ratios, memory })?);
    Ok(())
}

/// Tells whoever watches what is measured next.
fn say(who: &str, what: &str) {
    eprintln!("{who}: {what}");
}

fn settings(broker: &str, store: &str, namespace: &str) -> Result<Settings, Error> {
    let mut settings = Settings::default();
    settings.broker.url = Secret::new(broker);
    settings.store.url = Secret::new(store);
    settings.namespace = namespace.parse()?;
    Ok(settings)
}

/// One round of Longshore, in a namespace of its own.
async fn longshore(services: &Shared, plan: Plan) -> Result<bench::Figures, Error> {
    let settings = settings(&services.broker_url, &services.store_url, &namespace("bench"))?;
    let topic = Topic::new(TOPIC)?;
    let plan = bench::Plan { jobs: plan.bulk, timed: plan.latency, rate: plan.latency_rate, topic };
    Ok(bench::measure(&settings, &World::system(), &plan, |what| say("longshore", what)).await?)
}

fn median(rounds: &[bench::Figures]) -> bench::Figures {
    let median = |figure: fn(&bench::Figures) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    bench::Figures {
        enqueue_one_by_one: median(|f| f.enqueue_one_by_one),
        enqueue_bulk: median(|f| f.enqueue_bulk),
        process_1: median(|f| f.process_1),
        process_100: median(|f| f.process_100),
        latency_p50_ms: median(|f| f.latency_p50_ms),
        latency_p99_ms: median(|f| f.latency_p99_ms),
    }
}

/// The other process: says when it can take jobs, and runs until it is killed.
async fn consume(settings: &Settings) -> Result<(), Error> {
    let running = consumer(settings, &World::system(), &Topic::new(TOPIC)?, 100, |_| {}).await?;
    running.ready().await;
    println!("ready");
    std::future::pending().await
}

/// Starts a consumer process and reads its memory, before it has any job and after many.
async fn memory(services: &Shared) -> Result<Memory, Error> {
    let namespace = namespace("memory");
    let mut child = Command::new(std::env::current_exe()?)
        .args([CONSUMER, &services.broker_url, &services.store_url, &namespace])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = child.stdout.take().ok_or("the consumer has no stdout")?;
    let ready = BufReader::new(stdout).lines().next_line().await?;
    if ready.as_deref() != Some("ready") {
        return Err(format!("the consumer did not start: {ready:?}").into());
    }
    let pid = child.id().ok_or("the consumer ended")?;
    let idle_kib = status(pid, "VmRSS:").await?;
    let producer = Producer::connect(&settings(&services.broker_url, &services.store_url, &namespace)?).await?;
    let sent = producer.send_all((0..BUSY).map(|_| producer.raw(TOPIC, "null"))).await;
    for sent in sent.into_iter().skip(BUSY - WAITED) {
        sent?.outcome().await?;
    }
    let busy_kib = status(pid, "VmHWM:").await?;
    child.kill().await?;
    Ok(Memory { idle_kib, busy_kib })
}

/// A line of `/proc/PID/status`, KiB.
async fn status(pid: u32, name: &str) -> Result<u64, Error> {
    let status = tokio::fs::read_to_string(format!("/proc/{pid}/status")).await?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("there is no such line")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
