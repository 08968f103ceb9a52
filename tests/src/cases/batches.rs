//! Batch handlers: one call for many jobs, a verdict for each.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use longshore_consumer::{Cancelled, Ctx, Item, Job, Outcome, batch};
use longshore_producer::{Reason, State};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Fleet;

#[derive(Debug, Clone, Serialize, Deserialize, Job)]
#[job(topic = "test/batch", retries = 1, retry_delay = "0s")]
struct Page {
    n: u32,
}

/// What each call was about.
type Calls = Arc<Mutex<Vec<Vec<u32>>>>;

fn note(calls: &Calls, pages: &[Item<Page>]) {
    calls.lock().unwrap().push(pages.iter().map(|page| page.job.n).collect());
}

/// Ten jobs, four to a call: two full calls at once, and one of the rest when its time is over.
pub async fn a_batch_is_called_when_it_is_full_or_its_time_is_over(fleet: &Fleet) {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let index = move |pages: Vec<Item<Page>>| {
        note(&noted, &pages);
        async move { pages.iter().map(|page| Outcome::result(page.job.n * 2)).collect::<Vec<_>>() }
    };
    let wait = fleet.span(Duration::from_secs(30), Duration::from_secs(3));
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 20).await;
    let running = fleet.start(consumer.handle(batch(index).size(4).wait(wait))).await;
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(fleet.producer().send(Page { n }).await.unwrap());
    }
    for (n, sent) in (0..).zip(&sent) {
        let report = fleet.end(sent).await;
        assert_eq!(report.result::<u32>().unwrap(), n * 2, "each job has its own verdict");
        assert_eq!(report.job.attempt, 1);
    }
    let calls = calls.lock().unwrap().clone();
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
    let mut all: Vec<u32> = calls.concat();
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>(), "each job in one call");
    running.drain().await;
}

/// Success, failure, snooze and permanent error beside each other.
pub async fn a_batch_has_a_verdict_for_each_job(fleet: &Fleet) {
    let calls = Calls::default();
    let noted = Arc::clone(&calls);
    let index = move |pages: Vec<Item<Page>>| {
        note(&noted, &pages);
        let verdict = |page: &Item<Page>| match (page.job.n, page.ctx.attempt()) {
            (1, 1) => Outcome::retry("the first time it fails"),
            (2, 1) => Outcome::snooze(Duration::from_millis(50), "not yet"),
            (3, _) => Outcome::fail("never"),
            _ => Outcome::done().message(format!("{} of {}", page.job.n, pages.len())),
        };
        let verdicts: Vec<Outcome> = pages.iter().map(verdict).collect();
        async move { verdicts }
    };
    let running = fleet.start(fleet.consumer().await.handle(batch(index).size(4))).await;
    let mut sent = Vec::new();
    for n in 0..4 {
        sent.push(fleet.producer().send(Page { n }).await.unwrap());
    }
    let mut seen = Vec::new();
    for sent in &sent {
        let job = fleet.end(sent).await.job;
        seen.push((job.state, job.attempt, job.retries));
    }
    let expected = [(State::Succeeded, 1, 0), (State::Succeeded, 2, 1), (State::Succeeded, 2, 0), (State::Error, 1, 0)];
    assert_eq!(seen, expected);
    running.drain().await;
}

/// A panic, an error for all and a wrong number of verdicts are the verdict on all jobs of the call.
pub async fn a_batch_that_panics_is_the_end_of_all_its_jobs(fleet: &Fleet) {
    async fn index(pages: Vec<Item<Page>>) -> Result<Vec<Outcome>, std::io::Error> {
        // Jobs that are tried again may come one by one.
        let first = pages.iter().map(|page| page.job.n).min();
        assert!(first >= Some(10), "page zero");
        if first < Some(20) { Err(std::io::Error::other("the index is away")) } else { Ok(Vec::new()) }
    }
    let running = fleet.start(fleet.consumer().await.handle(batch(index).size(2))).await;
    let both = async |n: u32| {
        let mut ends = Vec::new();
        let sent =
            [fleet.producer().send(Page { n }).await.unwrap(), fleet.producer().send(Page { n: n + 1 }).await.unwrap()];
        for sent in &sent {
            let job = fleet.end(sent).await.job;
            ends.push((job.state, job.reason, job.message.unwrap_or_default()));
        }
        ends
    };
    for (state, reason, message) in both(0).await {
        assert_eq!((state, reason), (State::Error, Some(Reason::Panicked)));
        assert_eq!(message, "the handler panicked: page zero");
    }
    for (state, _, message) in both(10).await {
        assert_eq!((state, message.as_str()), (State::GivenUp, "the index is away"));
    }
    for (state, _, message) in both(20).await {
        assert_eq!(state, State::GivenUp);
        assert!(message.contains("and answered with 0 verdicts"), "{message}");
    }
    running.drain().await;
}

/// A stop reaches one job of a call by its own context, and one that waits for its call is not part of it.
pub async fn a_stop_reaches_one_job_of_a_batch(fleet: &Fleet) {
    let (started, mut starts) = mpsc::unbounded_channel();
    let index = move |pages: Vec<Item<Page>>| {
        let started = started.clone();
        async move {
            started.send(pages.iter().map(|page| page.job.n).collect::<Vec<_>>()).unwrap();
            let wait = |ctx: Ctx| async move {
                if ctx.payload_as::<Page>().unwrap().n == 1 { Err(ctx.until_cancelled().await) } else { Ok(()) }
            };
            let mut verdicts: Vec<Result<(), Cancelled>> = Vec::new();
            for page in pages {
                verdicts.push(wait(page.ctx).await);
            }
            verdicts
        }
    };
    let wait = fleet.span(Duration::from_secs(20), Duration::from_secs(2));
    let running = fleet.start(fleet.consumer().await.handle(batch(index).size(2).wait(wait))).await;
    let mut sent = Vec::new();
    for n in 0..2 {
        sent.push(fleet.producer().send(Page { n }).await.unwrap());
    }
    fleet.within("the call begins", starts.recv()).await.unwrap();
    fleet.producer().stop([sent[1].id], "not this one").await.unwrap();
    assert!(fleet.end(&sent[0]).await.is_success(), "the other one goes on");
    assert_eq!(fleet.end(&sent[1]).await.job.state, State::Stopped);
    // One job alone waits for others, is stopped meanwhile, and the handler is never called for it.
    let alone = fleet.producer().send(Page { n: 7 }).await.unwrap();
    fleet.looks(alone.id, "it waits for its call", |view| view.state == State::Active).await;
    fleet.producer().stop([alone.id], "no").await.unwrap();
    assert_eq!(fleet.end(&alone).await.job.state, State::Stopped);
    running.drain().await;
    assert!(starts.try_recv().is_err(), "it was called once");
}
