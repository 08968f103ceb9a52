//! Large payload files, with real processes: neither who sends them nor who runs their jobs grows with their size.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "test code outside of test functions; what was measured is part of the result"
)]

use longshore_producer::{Producer, State};
use longshore_tests::fleet::Fleet;
use longshore_tests::services::{RabbitMq, Redis, namespace};
use longshore_tests::wait::eventually;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::Command;

const JOBS: usize = 100;
/// Largest file, MiB, where `LONGSHORE_TEST_FILE_MIB` does not say it; sizes go from 1 MiB up to it. A quick run: what
/// would be read whole shows with sixteen of these at once.
const MIB: usize = 8;
/// What files may cost above idle.
const ABOVE_IDLE_KIB: u64 = 64 * 1024;
const LONG: Duration = Duration::from_secs(500);

/// Leaves a file that is different from the one that came, and as large.
const HANDLERS: &str = "[[handlers]]\ntopic = \"media/copy\"\n\
    exec = [\"sh\", \"-c\", \"cat $LONGSHORE_INPUT_DIR/* > $LONGSHORE_OUTPUT_DIR/out; echo >> $LONGSHORE_OUTPUT_DIR/out\"]\n";

/// A number of `/proc/<pid>/status`, KiB.
fn status(pid: u32, field: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

fn write_inputs(dir: &Path, largest: usize) -> u64 {
    let mut lines = File::create(dir.join("jobs.jsonl")).unwrap();
    let mut block: Vec<u8> = (0..1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let mut total = 0;
    for job in 0..JOBS {
        let name = format!("{job}.bin");
        let mut file = File::create(dir.join(&name)).unwrap();
        for mib in 0..1 + job * largest.saturating_sub(1) / (JOBS - 1) {
            // No two blocks are the same, so that nothing is stored once for several.
            block[..16].copy_from_slice(&((job * 1_000_000 + mib) as u128).to_le_bytes());
            file.write_all(&block).unwrap();
            total += block.len() as u64;
        }
        writeln!(lines, "{{\"topic\": \"media/copy\", \"retries\": 0, \"inputs\": [\"{name}\"]}}").unwrap();
    }
    fs::write(dir.join("none.jsonl"), "{\"topic\": \"media/none\"}\n".repeat(JOBS)).unwrap();
    total
}

/// Runs an import and answers the most memory that it ever had, KiB.
async fn import(fleet: &Fleet, dir: &Path, file: &str) -> u64 {
    let program: PathBuf = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("longshore");
    let settings = fleet.settings();
    let mut child = Command::new(program)
        .args(["job", "import", file, "--output", "json"])
        .current_dir(dir)
        .env_clear()
        .env("LONGSHORE_NAMESPACE", settings.namespace.as_str())
        .env("LONGSHORE_BROKER__URL", settings.broker.url.reveal())
        .env("LONGSHORE_STORE__URL", settings.store.url.reveal())
        .env("LONGSHORE_BLOBS__URL", settings.blobs.url.reveal())
        .env("LONGSHORE_BLOBS__MAX_FILE_BYTES", "209715200")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    let mut most = 0;
    eventually(LONG, "the import ends", async || {
        most = status(pid, "VmHWM").unwrap_or(0).max(most);
        child.try_wait().unwrap()
    })
    .await;
    let output = child.wait_with_output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["accepted"], &report["refused"]), (&JOBS.into(), &0.into()), "{report}");
    most
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "how large the files are is said by whoever runs it by hand")]
async fn alone_o03_hundred_large_files_leave_the_memory_of_both_sides_flat() {
    let largest = std::env::var("LONGSHORE_TEST_FILE_MIB").ok().map_or(MIB, |text| text.parse().unwrap());
    let (rabbitmq, redis) = tokio::join!(RabbitMq::start(), Redis::start());
    let (inputs, blobs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("file://{}", blobs.path().display());
    let common = format!("blobs.url = \"{url}\"\nblobs.max_file_bytes = 209715200\n{HANDLERS}");
    let mut fleet = Fleet::new(&namespace("files"), &rabbitmq.url(), &redis.url(), &common);
    let total = write_inputs(inputs.path(), largest);
    fleet.start("one").await;
    let pid = fleet.member("one").pid();
    let idle = status(pid, "VmRSS").unwrap();
    fleet.set_blobs(&longshore_model::Secret::new(url));
    let producer = Producer::connect(fleet.settings()).await.unwrap();

    let without = import(&fleet, inputs.path(), "none.jsonl").await;
    let begun = Instant::now();
    let with = import(&fleet, inputs.path(), "jobs.jsonl").await;
    eventually(LONG, "all have succeeded", async || {
        let counts = producer.counts().await.unwrap();
        let copies = counts.iter().find(|(topic, _)| topic.as_str() == "media/copy").map(|(_, states)| states)?;
        assert!(!copies.contains_key(&State::GivenUp) && !copies.contains_key(&State::Error), "{copies:?}");
        (copies.get(&State::Succeeded) == Some(&(JOBS as u64))).then_some(())
    })
    .await;
    let peak = status(pid, "VmHWM").unwrap();
    println!(
        "{JOBS} files, {} MiB together, in {:?}; consumer: {idle} KiB idle, {peak} KiB at most; import: {without} KiB \
         without files, {with} KiB with them",
        total / (1024 * 1024),
        begun.elapsed()
    );
    assert!(peak < idle + ABOVE_IDLE_KIB, "the consumer had {peak} KiB, {idle} KiB when it was idle");
    assert!(with < without + ABOVE_IDLE_KIB, "the import had {with} KiB, {without} KiB without files");
    let ids = producer.jobs().topic("media/copy").limit(0).ids().await.unwrap();
    assert_eq!(ids.len(), JOBS);
    for id in ids {
        let job = producer.show(id).await.unwrap().unwrap();
        assert_eq!(job.outputs[0].size, job.inputs[0].size + 1);
    }
    assert_eq!(fleet.member_mut("one").terminate().await.code(), Some(0));
}
