//! Offloading as people set it up (O01 to O12): one instance where the work comes from, two that do it, a picture that goes
//! out and renditions that come back, with a worker that is killed half way and one whose result comes too late. Real
//! processes, and the program `longshore` for everything that a person does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore_link::store::{Finish, Finished, Report};
use longshore_model::Secret;
use longshore_model::record::{Record, State};
use longshore_model::transition::{Answer, Verdict};
use longshore_producer::{JobId, Producer};
use longshore_tests::fleet::Fleet;
use longshore_tests::services::{Shared, namespace};
use longshore_tests::wait::{eventually, within};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

const TOPIC: &str = "media/renditions";
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
/// For one step, a takeover included.
const SOON: Duration = Duration::from_secs(60);
const WIDTH: usize = 640;
const HEIGHT: usize = 480;
/// Every how many pixels of the picture is one of the rendition.
const STEPS: [usize; 3] = [2, 4, 8];

/// Makes renditions of a picture (PPM), each an n-th as wide and high. The first attempt of a job that says `hold` waits
/// for that file when it has half of them, and says so by making another one.
const HANDLER: &str = r#"
import json, os, sys, time
payload = json.load(sys.stdin)
source, target = os.environ["LONGSHORE_INPUT_DIR"], os.environ["LONGSHORE_OUTPUT_DIR"]
attempt = os.environ["LONGSHORE_ATTEMPT"]
with open(os.path.join(source, "picture.ppm"), "rb") as file:
    kind, size, depth, pixels = file.read().split(b"\n", 3)
width, height = map(int, size.split())
for number, step in enumerate(payload["steps"]):
    rows = [
        b"".join(pixels[3 * (y * width + x):3 * (y * width + x) + 3] for x in range(0, width, step))
        for y in range(0, height, step)
    ]
    with open(os.path.join(target, f"{width // step}.ppm"), "wb") as file:
        file.write(b"P6\n%d %d\n255\n" % (width // step, height // step) + b"".join(rows))
    print(f"::progress {number + 1}/{len(payload['steps'])} {width // step}", file=sys.stderr, flush=True)
    if number == 0 and attempt == "1" and "hold" in payload:
        open(payload["hold"] + ".reached", "w").close()
        while not os.path.exists(payload["hold"]):
            time.sleep(0.02)
with open(os.path.join(target, "attempt.txt"), "w") as file:
    file.write(attempt)
"#;

/// Sender, instances and the place of files.
struct Stage {
    fleet: Fleet,
    producer: Producer,
    directory: TempDir,
    picture: Vec<u8>,
    _shared: Shared,
}

impl Stage {
    async fn new() -> Self {
        let shared = Shared::services().await;
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let blobs = format!("file://{}", path("blobs"));
        fs::write(path("renditions.py"), HANDLER).unwrap();
        let common = format!(
            "blobs.url = \"{blobs}\"\n[[handlers]]\ntopic = \"{TOPIC}\"\nexec = [\"/usr/bin/python3\", \"{}\"]\n",
            path("renditions.py")
        );
        let (broker, store) = (shared.broker_url.as_str(), shared.store_url.as_str());
        let mut fleet = Fleet::new(&namespace("offloading"), broker, store, &common);
        fleet.set_blobs(&Secret::new(blobs));
        for name in ["origin"].into_iter().chain(WORKERS) {
            fleet.start(name).await;
        }
        let producer = Producer::connect(fleet.settings()).await.unwrap();
        // Every pixel is another, so that a rendition tells of which pixels it is made.
        let pixel = |n: usize| [(n >> 16) as u8, (n >> 8) as u8, n as u8];
        let mut picture = format!("P6\n{WIDTH} {HEIGHT}\n255\n").into_bytes();
        picture.extend((0..WIDTH * HEIGHT).flat_map(pixel));
        fs::write(path("picture.ppm"), &picture).unwrap();
        Self { fleet, producer, directory, picture, _shared: shared }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the program as the origin's people do. Answers what it prints, JSON.
    async fn longshore(&self, args: &[&str]) -> Value {
        let test = std::env::current_exe().unwrap();
        let program = test.ancestors().nth(2).unwrap().join("longshore");
        assert!(program.is_file(), "{} is missing: cargo build -p longshore (deploy/test does)", program.display());
        let settings = self.fleet.settings();
        let mut command = Command::new(program);
        command
            .args(args)
            .args(["--output", "json"])
            .env_clear()
            .env("LONGSHORE_NAMESPACE", settings.namespace.as_str())
            .env("LONGSHORE_BROKER__URL", settings.broker.url.reveal())
            .env("LONGSHORE_STORE__URL", settings.store.url.reveal())
            .env("LONGSHORE_BLOBS__URL", settings.blobs.url.reveal())
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = within(SOON, "the program ends", command.output()).await.unwrap();
        let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{args:?}: {said} {complaint}");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{args:?}: {error}: {said}"))
    }

    /// Sends the picture without waiting; its first attempt stops half way until the file `hold` is there.
    async fn send_held(&self, hold: &str) -> JobId {
        let payload = serde_json::json!({"steps": STEPS, "hold": self.path(hold)}).to_string();
        let sent = self.longshore(&["job", "add", TOPIC, "--payload", &payload, "--input", "picture.ppm"]).await;
        let id = sent["id"].as_str().unwrap().parse().unwrap();
        let reached = self.path(&format!("{hold}.reached"));
        eventually(SOON, "the first attempt is half way", async || reached.exists().then_some(())).await;
        id
    }

    /// The renditions in a directory are those of the picture, and made by this attempt.
    fn check(&self, made: &Path, attempt: u32) {
        let header = format!("P6\n{WIDTH} {HEIGHT}\n255\n").len();
        for step in STEPS {
            let name = format!("{}.ppm", WIDTH / step);
            let mut expected = format!("P6\n{} {}\n255\n", WIDTH / step, HEIGHT / step).into_bytes();
            for y in (0..HEIGHT).step_by(step) {
                for x in (0..WIDTH).step_by(step) {
                    let at = header + 3 * (y * WIDTH + x);
                    expected.extend(&self.picture[at..at + 3]);
                }
            }
            assert!(fs::read(made.join(&name)).unwrap() == expected, "{name} is a rendition of the picture");
        }
        assert_eq!(fs::read_to_string(made.join("attempt.txt")).unwrap(), attempt.to_string());
    }

    async fn record(&self, id: JobId) -> Record {
        self.producer.link().store.records(vec![id]).await.unwrap().remove(0).expect("the job is known")
    }

    /// Which worker runs a job.
    async fn runner(&self, id: JobId) -> &'static str {
        let owner = self.record(id).await.owner.expect("it runs").instance.0;
        let of = |name: &&str| owner.starts_with(&format!("{name}-"));
        WORKERS.into_iter().find(of).unwrap_or_else(|| panic!("a worker runs it, and not {owner}"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_o01_o08_o11_of_01_a_picture_goes_out_and_its_renditions_come_back() {
    let mut stage = Stage::new().await;
    let view = stage.longshore(&["topology"]).await;
    assert_eq!(view["instances"].as_array().unwrap().len(), 3, "{view}");

    // The origin keeps the work off itself.
    stage.longshore(&["topic", "set", "origin", TOPIC, "disabled"]).await;
    let payload = serde_json::json!({"steps": STEPS}).to_string();
    for number in 0..6 {
        let made = stage.path(&format!("made-{number}"));
        let done = stage
            .longshore(&[
                "job",
                "add",
                TOPIC,
                "--payload",
                &payload,
                "--input",
                "picture.ppm",
                "--wait",
                "--output-dir",
                made.to_str().unwrap(),
            ])
            .await;
        let by = done["attempts"][0]["instance"].as_str().unwrap_or_else(|| panic!("who ran it is told: {done}"));
        assert!(WORKERS.iter().any(|name| by.starts_with(name)), "a worker ran it, and not {by}");
        stage.check(&made, 1);
    }

    // A worker is killed half way: another does it all anew.
    let killed = stage.send_held("killed").await;
    let victim = stage.runner(killed).await;
    stage.fleet.member_mut(victim).kill();
    let made = stage.path("made-after-a-kill");
    let id = killed.to_string();
    let done = stage.longshore(&["job", "wait", &id, "--output-dir", made.to_str().unwrap()]).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    stage.check(&made, 2);
    assert_eq!(stage.record(killed).await.crashes, 1);
    stage.fleet.start(victim).await;

    // A worker stands still for longer than its lease, and comes back when another has done the job.
    let late = stage.send_held("late").await;
    let sleeper = stage.runner(late).await;
    let lost = stage.record(late).await;
    stage.fleet.member(sleeper).freeze();
    let made = stage.path("made-after-a-standstill");
    let id = late.to_string();
    let done = stage.longshore(&["job", "wait", &id, "--output-dir", made.to_str().unwrap()]).await;
    assert_eq!(done["state"], "succeeded", "{done}");
    stage.check(&made, 2);
    let won = stage.record(late).await;
    assert_eq!((won.state, won.attempts), (State::Succeeded, 2));
    // What the first attempt has to say is refused, whoever brings it.
    let verdict = Verdict::Succeeded { message: Some("too late".into()) };
    let commit = Finish {
        id: late,
        fence: lost.fence,
        verdict,
        result: None,
        outputs: Vec::new(),
        report: Report::default(),
        follow_ups: Vec::new(),
    };
    let answers = stage.producer.link().store.finish(vec![commit]).await.unwrap();
    let [Finished::Known { answer, .. }] = &answers[..] else { panic!("it is answered: {answers:?}") };
    assert_eq!(*answer, Answer::Stale { state: State::Succeeded });
    // And its worker goes on when its process does: to work again, and with nothing of that job.
    fs::write(stage.path("late"), "").unwrap();
    stage.fleet.member(sleeper).thaw();
    let again = stage.send_held("again").await;
    fs::write(stage.path("again"), "").unwrap();
    let id = again.to_string();
    let done = stage.longshore(&["job", "wait", &id]).await;
    assert_eq!((done["state"].as_str(), done["attempt"].as_u64()), (Some("succeeded"), Some(1)), "{done}");
    eventually(SOON, "the worker that stood still is part of the fleet again", async || {
        let view = stage.producer.topology().await.ok()?;
        view.instances.iter().any(|card| card.name == sleeper).then_some(())
    })
    .await;
    let made = stage.path("made-and-looked-at-again");
    let id = late.to_string();
    stage.longshore(&["job", "wait", &id, "--output-dir", made.to_str().unwrap()]).await;
    stage.check(&made, 2);
    let now = stage.record(late).await;
    assert_eq!((now.attempts, now.fence, now.message), (won.attempts, won.fence, won.message));

    for name in ["origin"].into_iter().chain(WORKERS) {
        let status = stage.fleet.member_mut(name).terminate().await;
        assert_eq!(status.code(), Some(0), "{name} ends in order:\n{}", stage.fleet.member(name).log());
    }
}
