//! Files that no job needs are deleted, and no others.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use longshore_consumer::{Consumer, Settings};
use longshore_link::blobs::Content;
use longshore_model::Secret;
use longshore_producer::Producer;
use longshore_tests::wait::eventually;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn o04_files_that_no_job_needs_are_deleted_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::embedded("collector");
    settings.blobs.url = Secret::new(format!("file://{}", dir.path().display()));
    settings.blobs.grace = Duration::from_secs(1);
    let producer = Producer::connect(&settings).await.unwrap();
    let (needed, orphan) = (vec![1_u8; 100_000], vec![2_u8; 100_000]);
    let sent = producer.raw("nobody/takes", "{}").file_bytes("f", needed.clone()).send().await.unwrap();
    let blobs = &producer.link().blobs;
    let (needed, orphan) = (Content::of(&needed), Content::of(&orphan));
    blobs.put_bytes(vec![2_u8; 100_000].into()).await.unwrap();
    // An upload that was broken off, as the directory's client leaves it.
    let broken_off = dir.path().join(format!("longshore/blobs/{}/{}#1", &needed.sha256[..2], needed.sha256));
    std::fs::write(&broken_off, "half").unwrap();

    let running = Box::pin(Consumer::new(settings).on("other/topic", async |_: longshore_consumer::Ctx| ()).start());
    let running = running.await.unwrap();
    eventually(SOON, "the orphan is deleted", async || (!blobs.exists(&orphan).await.unwrap()).then_some(())).await;
    eventually(SOON, "what was broken off is deleted", async || (!broken_off.exists()).then_some(())).await;
    assert!(blobs.exists(&needed).await.unwrap(), "a job needs it");
    for _ in 0..2 {
        // Dropped, then forgotten.
        producer.remove([sent.id]).await.unwrap();
    }
    eventually(SOON, "its file is deleted", async || (!blobs.exists(&needed).await.unwrap()).then_some(())).await;
    running.drain().await;
}
