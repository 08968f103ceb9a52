//! Payload files go in before the handler starts, outputs come back before the job has succeeded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use longshore_consumer::{Ctx, Outcome, Token};
use longshore_link::Link;
use longshore_link::blobs::{Blobs, Content};
use longshore_producer::{Completion, Reason, State};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::{Fleet, Runs};

const TOPIC: &str = "test/files";

/// Small files travel in the envelope, large ones through the blob store; the handler sees no difference.
pub async fn payload_files_reach_the_handler_and_its_outputs_come_back(fleet: &Fleet) {
    let work = |ctx: Ctx| async move {
        let input = ctx.input_dir().ok_or_else(|| std::io::Error::other("no input directory"))?;
        let mut sizes = BTreeMap::new();
        for entry in std::fs::read_dir(input)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let mut content = std::fs::read(entry.path())?;
            sizes.insert(name.clone(), content.len());
            content.reverse();
            std::fs::write(ctx.output_dir()?.join(format!("{name}.reversed")), content)?;
        }
        Ok::<_, std::io::Error>(Outcome::result(sizes))
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let job = fleet.producer().raw(TOPIC, "{}").file_bytes("small.txt", "tiny").file_bytes("empty", Bytes::new());
    let sent = fleet.send(job.file_bytes("large.bin", large.clone())).await;
    let report = fleet.end(&sent).await;
    let sizes = report.result::<BTreeMap<String, usize>>().unwrap();
    let expected = [("empty", 0), ("large.bin", 300_000), ("small.txt", 4)];
    assert_eq!(sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect::<Vec<_>>(), expected);
    let names: Vec<_> = report.outputs().iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["empty.reversed", "large.bin.reversed", "small.txt.reversed"]);
    let dir = tempfile::tempdir().unwrap();
    report.save_outputs(dir.path()).await.unwrap();
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert_eq!(read("small.txt.reversed"), b"ynit");
    assert_eq!(read("empty.reversed"), b"");
    assert!(read("large.bin.reversed").iter().eq(large.iter().rev()));
    running.drain().await;
}

/// OF-05, O03: what was sent as a stream is whole before the handler is called, however large; it shows on the way.
pub async fn o03_o10_of_05_input_files_are_whole_before_the_handler_is_called(fleet: &Fleet) {
    const SIZES: [(&str, u64); 2] = [("large", 12 * 1024 * 1024), ("small", 1024 * 1024)];
    let go = CancellationToken::new();
    let gate = go.clone();
    let work = move |ctx: Ctx| {
        let gate = gate.clone();
        async move {
            let input = ctx.input_dir().ok_or_else(|| std::io::Error::other("no input directory"))?;
            let mut sizes = BTreeMap::new();
            for entry in std::fs::read_dir(input)? {
                let entry = entry?;
                sizes.insert(entry.file_name().into_string().unwrap_or_default(), entry.metadata()?.len());
            }
            gate.cancelled().await;
            Ok::<_, std::io::Error>(Outcome::result(sizes))
        }
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let seen: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let told = Arc::clone(&seen);
    let job = fleet.producer().raw(TOPIC, "{}").on_transfer(move |transfer| {
        assert!(transfer.done <= transfer.size);
        told.lock().unwrap().insert(transfer.name, transfer.done);
    });
    let job = SIZES.iter().fold(job, |job, (name, size)| job.file_stream(*name, tokio::io::repeat(b'x').take(*size)));
    let sent = fleet.send(job).await;
    let shown = fleet.looks(sent.id, "the files show as progress", |job| {
        job.progress.as_ref().is_some_and(|progress| progress.step == progress.steps)
    });
    let progress = shown.await.progress.unwrap();
    assert_eq!(progress.steps, 13 * 1024 * 1024);
    assert_eq!(progress.text.as_deref(), Some("fetching payload files: 13.0 of 13.0 MiB"));
    go.cancel();
    let sizes = fleet.end(&sent).await.result::<BTreeMap<String, u64>>().unwrap();
    assert_eq!(sizes, BTreeMap::from(SIZES.map(|(name, size)| (name.to_owned(), size))));
    assert_eq!(*seen.lock().unwrap(), sizes, "the sender was told of every byte");
    running.drain().await;
}

/// OF-06, O03: whoever sees the final state can have the outputs; nobody sees them before it.
pub async fn o03_of_06_outputs_are_there_when_the_final_state_is(fleet: &Fleet) {
    const BYTES: usize = 3 * 1024 * 1024;
    let (runs, go) = (Runs::default(), CancellationToken::new());
    let gate = go.clone();
    let work = runs.then(move |ctx: Ctx| {
        let gate = gate.clone();
        async move {
            std::fs::write(ctx.output_dir()?.join("made"), vec![7_u8; BYTES])?;
            gate.cancelled().await;
            Ok::<_, std::io::Error>(())
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    assert!(fleet.show(sent.id).await.outputs.is_empty());
    go.cancel();
    let report = fleet.end(&sent).await;
    let [made] = report.outputs() else { panic!("one output: {:?}", report.outputs()) };
    assert_eq!(made.size, BYTES as u64);
    let mut content = Vec::new();
    report.read_output(made).await.unwrap().read_to_end(&mut content).await.unwrap();
    assert!(content == vec![7_u8; BYTES]);
    running.drain().await;
}

/// It is the handler's doing, and not a place that is away: it spends retries, so that the job comes to an end.
pub async fn o03_outputs_that_the_handler_took_away_fail_the_attempt(fleet: &Fleet) {
    let work = |ctx: Ctx| async move { std::fs::remove_dir_all(ctx.output_dir()?) };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send(fleet.producer().raw(TOPIC, "{}").retries(1).retry_delay(Duration::ZERO)).await;
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.attempt), (State::GivenUp, 2), "{job:?}");
    running.drain().await;
}

/// OF-07: a job without files is a job.
pub async fn o03_of_07_a_job_without_files_has_no_directories(fleet: &Fleet) {
    let work = |ctx: Ctx| async move { Outcome::result(ctx.input_dir().is_none()) };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let report = fleet.end(&fleet.send_to(TOPIC).await).await;
    assert_eq!((report.result::<bool>(), report.outputs().len()), (Ok(true), 0));
    running.drain().await;
}

/// O04: an instance that sees another place than the fleet waits for the right one, says so, and charges nobody.
pub async fn o04_a_place_that_is_not_the_fleets_is_waited_for_and_spends_nothing(fleet: &Fleet) {
    let (runs, elsewhere) = (Runs::default(), tempfile::tempdir().unwrap());
    let job = fleet.producer().raw(TOPIC, "{}").retries(0).file_bytes("large", vec![1; 100_000]);
    let sent = fleet.send(job).await;
    let link = fleet.link().await;
    let link = Link { blobs: Blobs::directory(elsewhere.path(), &link.world), ..link };
    let wrong = fleet.start(fleet.consumer().await.link(link).on(TOPIC, runs.then_by("wrong", |_| async {}))).await;
    let waits = fleet.looks(sent.id, "it waits for its files", |job| job.reason == Some(Reason::Files)).await;
    let waiting = waits.waiting.unwrap();
    assert_eq!((waits.state, waiting.reason.as_str()), (State::Scheduled, "files"));
    assert!(waiting.detail.contains("blob store not shared"), "{}", waiting.detail);
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "nothing is written there");
    wrong.drain().await;
    let right = fleet.start(fleet.consumer().await.on(TOPIC, runs.then_by("right", |_| async {}))).await;
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.retries, job.crashes), (State::Succeeded, 0, 0));
    assert_eq!(runs.all().iter().map(|run| run.by).collect::<Vec<_>>(), ["right"]);
    right.drain().await;
}

/// A file that the right place does not have is a failure of the attempt, which says which one.
pub async fn a_file_that_is_gone_from_the_right_place_fails_the_attempt(fleet: &Fleet) {
    let runs = Runs::default();
    let content = vec![2_u8; 100_000];
    let job = fleet.producer().raw(TOPIC, "{}").retries(0).file_bytes("gone", content.clone());
    let sent = fleet.send(job).await;
    fleet.producer().link().blobs.delete(&Content::of(&content).sha256).await.unwrap();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.reason), (State::GivenUp, Some(Reason::RetriesExhausted)));
    assert!(job.message.as_deref().is_some_and(|why| why.contains("`gone`") && why.contains("not there")));
    assert_eq!(runs.count(), 0);
    running.drain().await;
}

/// Where handlers leave their tokens.
type Tokens = Arc<Mutex<Vec<Token>>>;

/// A handler that leaves two outputs, too large to travel with the record.
fn leaving(
    by: &'static str,
    tokens: Tokens,
) -> impl Fn(Ctx) -> std::future::Ready<std::io::Result<()>> + Send + Sync + 'static {
    move |ctx: Ctx| {
        tokens.lock().unwrap().push(ctx.token());
        let write = |name: &str| std::fs::write(ctx.output_dir()?.join(name), format!("{by} {name}").repeat(10_000));
        std::future::ready(write("a").and_then(|()| write("b")))
    }
}

/// O11, O03: an attempt that is not the current one any more while its outputs are on their way leaves none of them.
pub async fn o03_o11_p11_outputs_of_a_superseded_attempt_never_appear(fleet: &Fleet) {
    let tokens = Tokens::default();
    // The first one's outputs do not get their turn.
    let link = fleet.link().await;
    let blobs = link.blobs.clone();
    let mut turns = Vec::new();
    for _ in 0..4 {
        turns.push(blobs.turn().await);
    }
    let first = fleet.start(fleet.consumer().await.link(link).on(TOPIC, leaving("first", Arc::clone(&tokens)))).await;
    let sent = fleet.send(fleet.producer().raw(TOPIC, "{}").retry_delay(Duration::ZERO)).await;
    let token = fleet.eventually("the first attempt runs", async || tokens.lock().unwrap().pop()).await;
    assert!(first.registry().remove(&TOPIC.parse().unwrap()));
    fleet.producer().complete(&token, Completion::retry("taken away")).await.unwrap();
    let second = fleet.start(fleet.consumer().await.on(TOPIC, leaving("second", Arc::clone(&tokens)))).await;
    let report = fleet.end(&sent).await;
    assert_eq!((report.job.state, report.job.attempt), (State::Succeeded, 2));
    let outputs = report.outputs().to_vec();
    drop(turns);
    first.drain().await;
    let job = fleet.show(sent.id).await;
    assert_eq!((job.state, &job.outputs), (State::Succeeded, &outputs), "the late attempt changed nothing");
    for file in &outputs {
        let mut text = String::new();
        report.read_output(file).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with(&format!("second {}", file.name)), "{}", &text[..20]);
    }
    second.drain().await;
}
