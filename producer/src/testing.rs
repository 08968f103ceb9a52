//! For an application's own tests: what did the code under test send?
//!
//! Works on any backend and is meant for the embedded one: give the code under test a producer on
//! `Settings::embedded("name of the test")` and ask here what came of it. Nothing has to run the jobs.

use crate::connect::Producer;
use longshore_model::Job;
use longshore_model::snapshot::JobView;

/// Every job of this kind that was sent, waiting, running or ended, oldest first.
///
/// # Panics
/// When the store cannot be asked, or a payload is not a `J`: a test should end there.
pub async fn enqueued<J: Job>(producer: &Producer) -> Vec<J> {
    views::<J>(producer).await.iter().map(payload).collect()
}

/// Checks that at least one job of this kind was sent that fits.
///
/// # Panics
/// When there is none; the message tells what was sent instead.
pub async fn assert_enqueued<J: Job>(producer: &Producer, fits: impl Fn(&J) -> bool) {
    let sent = views::<J>(producer).await;
    if !sent.iter().any(|view| fits(&payload(view))) {
        let payloads: Vec<&str> = sent.iter().map(|view| view.payload.get()).collect();
        panic!("no job of topic `{}` fits; sent were {}: {payloads:?}", J::TOPIC, payloads.len());
    }
}

/// Checks that no job of this kind was sent.
///
/// # Panics
/// When there is one; the message shows its payload.
pub async fn assert_none_enqueued<J: Job>(producer: &Producer) {
    let sent = views::<J>(producer).await;
    if let Some(view) = sent.first() {
        panic!("{} jobs of topic `{}` were sent, the first is {}", sent.len(), J::TOPIC, view.payload.get());
    }
}

async fn views<J: Job>(producer: &Producer) -> Vec<JobView> {
    let mut found = match producer.jobs().topic(J::TOPIC).limit(0).list().await {
        Ok(found) => found,
        Err(error) => panic!("jobs of topic `{}` could not be listed: {error}", J::TOPIC),
    };
    assert!(found.damaged.is_empty(), "unreadable jobs: {:?}", found.damaged);
    // Listings put what has not ended first; here the order of sending is wanted.
    found.jobs.sort_by(|a, b| (&a.created, a.id).cmp(&(&b.created, b.id)));
    found.jobs
}

fn payload<J: Job>(view: &JobView) -> J {
    match serde_json::from_str(view.payload.get()) {
        Ok(job) => job,
        Err(error) => panic!("job {}: payload {} is not what it should be: {error}", view.id, view.payload.get()),
    }
}
