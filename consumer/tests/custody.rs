//! Who holds a job when broker or store lose it, on the embedded backend in virtual time.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod bench;

use bench::{Bench, slots, started};
use longshore_consumer::{Consumer, Ctx, Job, Outcome, Running, Settings};
use longshore_model::envelope::Envelope;
use longshore_model::record::Record;
use longshore_model::topic::Topic;
use longshore_model::{JobId, Lane, State};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const TOPIC: &str = "test/custody";

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/later", expires_in = "90s")]
struct Later {}

impl Bench {
    /// A consumer whose handler takes so long and then ends so.
    async fn runs(&self, span: Duration, outcome: fn() -> Outcome) -> Running {
        let mut settings = Settings::default();
        settings.lease.hold = Duration::from_secs(20);
        let begun = Arc::clone(&self.begun);
        let handle = move |ctx: Ctx| {
            begun.fetch_add(1, Ordering::SeqCst);
            async move {
                match ctx.sleep(span).await {
                    Ok(()) => outcome(),
                    Err(cancelled) => Outcome::Cancelled(cancelled),
                }
            }
        };
        started(self.consumer(settings).on(TOPIC, handle)).await
    }

    async fn send(&self) -> JobId {
        self.producer.raw(TOPIC, "{}").retries(0).send().await.unwrap().id
    }

    fn copies(&self, id: JobId) -> usize {
        self.backend.copies(&id.to_string())
    }

    async fn record(&self, id: JobId) -> Option<Record> {
        let link = self.backend.link(self.world.process());
        link.store.records(vec![id]).await.unwrap().remove(0)
    }

    async fn state(&self, id: JobId) -> Option<State> {
        self.record(id).await.map(|record| record.state)
    }
}

fn done() -> Outcome {
    Outcome::result(7)
}

fn lane() -> Lane {
    Topic::new(TOPIC).unwrap().into()
}

#[tokio::test(start_paused = true)]
async fn a_long_run_swaps_its_message_for_a_parked_copy_and_goes_on() {
    let bench = Bench::new(11);
    let running = bench.runs(Duration::from_secs(100), done).await;
    let id = bench.send().await;
    bench.sleep(15).await;
    assert_eq!(bench.copies(id), 1, "its delivery");
    bench.sleep(10).await;
    assert_eq!(bench.copies(id), 1, "the parked copy instead of the delivery");
    assert!(running.metrics().contains("longshore_swapped_total 1\n"), "{}", running.metrics());
    // The session may end now: nothing of the job hangs on it.
    bench.backend.close_all_sessions("a restart");
    bench.sleep(90).await;
    assert_eq!((bench.state(id).await, bench.begun()), (Some(State::Succeeded), 1));
    bench.sleep(600).await;
    assert_eq!(bench.copies(id), 0, "the parked copy was refused when it came back");
    assert_eq!(bench.begun(), 1);
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_short_run_swaps_nothing() {
    let bench = Bench::new(11);
    let running = bench.runs(Duration::from_secs(10), done).await;
    let id = bench.send().await;
    bench.sleep(30).await;
    assert_eq!((bench.state(id).await, bench.copies(id)), (Some(State::Succeeded), 0));
    assert!(running.metrics().contains("longshore_swapped_total 0\n"), "{}", running.metrics());
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_failure_that_ends_a_job_parks_no_copy() {
    let bench = Bench::new(11);
    let running = bench.runs(Duration::from_secs(1), || Outcome::retry("no luck")).await;
    let id = bench.send().await;
    bench.sleep(5).await;
    assert_eq!((bench.state(id).await, bench.copies(id)), (Some(State::GivenUp), 0));
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn t7b_a_running_attempt_outlives_the_loss_of_store_and_broker() {
    let bench = Bench::new(11);
    let running = bench.runs(Duration::from_secs(60), done).await;
    let id = bench.send().await;
    bench.sleep(5).await;
    assert_eq!(bench.begun(), 1);
    // Only the attempt is left of it.
    bench.backend.lose_copies(&lane());
    bench.backend.wipe_store();
    assert_eq!((bench.state(id).await, bench.copies(id)), (None, 0));
    bench.sleep(5).await;
    assert_eq!(bench.state(id).await, Some(State::Active), "a beat took it back");
    bench.sleep(60).await;
    assert_eq!((bench.state(id).await, bench.begun()), (Some(State::Succeeded), 1));
    assert!(running.metrics().contains("longshore_store_losses_total 1\n"), "{}", running.metrics());
    assert!(running.metrics().contains("longshore_adopted_total 1\n"), "{}", running.metrics());
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_lands_on_a_store_that_was_wiped_a_moment_before() {
    let bench = Bench::new(11);
    let running = bench.runs(Duration::from_millis(5_200), done).await;
    let id = bench.send().await;
    bench.sleep(5).await;
    bench.backend.wipe_store();
    // Less than a beat later the handler is done.
    bench.sleep(1).await;
    assert_eq!((bench.state(id).await, bench.begun()), (Some(State::Succeeded), 1));
    bench.sleep(60).await;
    assert_eq!((bench.copies(id), bench.begun()), (0, 1));
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_that_the_store_forgot_is_committed_again() {
    let bench = Bench::new(11);
    let running = bench.runs(Duration::from_secs(1), done).await;
    let id = bench.send().await;
    bench.sleep(6).await;
    assert_eq!((bench.state(id).await, bench.begun()), (Some(State::Succeeded), 1));
    bench.backend.wipe_store();
    assert_eq!(bench.state(id).await, None);
    bench.sleep(6).await;
    assert_eq!((bench.state(id).await, bench.begun()), (Some(State::Succeeded), 1));
    assert!(running.metrics().contains("longshore_recommitted_total 1\n"), "{}", running.metrics());
    // What is older than that is not remembered.
    bench.sleep(15).await;
    bench.backend.wipe_store();
    bench.sleep(6).await;
    assert_eq!((bench.state(id).await, bench.begun()), (None, 1));
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn scheduled_jobs_that_a_wiped_store_lost_are_counted() {
    let bench = Bench::new(11);
    let running = bench.runs(Duration::from_secs(1), done).await;
    for _ in 0..3 {
        bench.producer.raw(TOPIC, "{}").after(Duration::from_secs(3_600)).send().await.unwrap();
    }
    // Their sender does not remember them either.
    bench.sleep(15).await;
    bench.backend.wipe_store();
    bench.sleep(5).await;
    assert!(running.metrics().contains("longshore_scheduled_lost_total 3\n"), "{}", running.metrics());
    let losses = bench.backend.link(bench.world.process()).store.losses().await.unwrap();
    assert_eq!(losses.last().unwrap().before.map(|before| before.scheduled), Some(3));
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_whose_copies_the_broker_lost_run_all_the_same() {
    let bench = Bench::new(11);
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bench.send().await);
    }
    bench.sleep(5).await;
    bench.backend.lose_copies(&lane());
    let running = bench.runs(Duration::from_secs(1), done).await;
    bench.sleep(90).await;
    for id in ids {
        assert_eq!(bench.state(id).await, Some(State::Succeeded));
    }
    assert_eq!(bench.begun(), 20);
    assert!(running.metrics().contains("longshore_reconciled_total 20\n"), "{}", running.metrics());
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_healthy_backlog_gets_no_second_copies() {
    let bench = Bench::new(11);
    for _ in 0..400 {
        bench.send().await;
    }
    // Ten minutes of work: most jobs wait for far longer than a copy is under way.
    let running = bench.runs(Duration::from_secs(24), done).await;
    bench.sleep(1_200).await;
    assert_eq!(bench.begun(), 400);
    assert!(running.metrics().contains("longshore_reconciled_total 0\n"), "{}", running.metrics());
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_expiry_of_a_follow_up_travels_with_it() {
    let bench = Bench::new(11);
    let handle = |ctx: Ctx| async move {
        ctx.enqueue(&Later {}).unwrap();
    };
    let link = bench.backend.link(bench.world.process());
    let running = Consumer::new(Settings::default()).link(link).on(TOPIC, handle).start().await.unwrap();
    running.ready().await;
    let sent = bench.world.clock.unix_ms();
    let id = bench.send().await;
    bench.sleep(5).await;
    let link = bench.backend.link(bench.world.process());
    let snapshot = link.store.load(vec![id.follow_up(0)]).await.unwrap().remove(0).unwrap();
    let expires = Envelope::decode(&snapshot.envelope).unwrap().expires_ms.unwrap();
    assert!((sent + 90_000..sent + 95_000).contains(&expires), "{expires}");
    running.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_granted_while_the_session_ended_runs_and_is_no_crash() {
    let bench = Bench::new(11);
    let handle = async |ctx: Ctx| ctx.sleep(Duration::from_secs(5)).await.map(|()| done());
    let running = started(bench.consumer(slots(1)).on(TOPIC, handle)).await;
    let first = bench.send().await;
    bench.sleep(1).await;
    assert_eq!(bench.state(first).await, Some(State::Active));
    let second = bench.send().await;
    // The store hears everything and is not heard, from before the first ends until after the session is gone.
    bench.sleep(3).await;
    bench.backend.lose_store_answers(u32::MAX);
    bench.sleep(2).await;
    bench.backend.close_all_sessions("by a test");
    bench.sleep(2).await;
    bench.backend.lose_store_answers(0);
    bench.sleep(60).await;
    let record = bench.record(second).await.unwrap();
    assert_eq!((record.state, record.attempts, record.crashes), (State::Succeeded, 1, 0), "{record:?}");
    running.drain().await;
}
