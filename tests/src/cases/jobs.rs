//! Basic handling of jobs: they run once, fail, are retried, given up, refused.

use std::time::Duration;

use longshore_consumer::{Ctx, Json, Outcome};
use longshore_link::store::Nudge;
use longshore_producer::{Job, Queues, Reason, Refusal, Removed, State};
use longshore_producer::{JobBuilder, QueueConfig, Selection};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{Fleet, Runs};

const TOPIC: &str = "test/job";
/// In which a job that has ended must not run once more.
const AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize, Job)]
#[job(topic = "test/add")]
struct Add {
    a: i64,
    b: i64,
}

/// JH-01: a typed handler.
pub async fn j01_s01_jh_01_a_job_runs_once_and_brings_its_result(fleet: &Fleet) {
    let runs = Runs::default();
    let seen = runs.clone();
    let adder = move |job: Add, ctx: Ctx| {
        seen.note(&ctx);
        async move { Json(job.a + job.b) }
    };
    let running = fleet.start(fleet.consumer().await.handle(adder)).await;
    let sent = fleet.send(fleet.producer().job(Add { a: 2, b: 3 })).await;
    let report = fleet.end(&sent).await;
    assert_eq!(report.result::<i64>().unwrap(), 5);
    assert_eq!((report.job.state, report.job.attempt, report.job.retries), (State::Succeeded, 1, 0));
    fleet.quiet(AFTER).await;
    assert_eq!(runs.count(), 1, "no second run");
    running.drain().await;
}

/// JH-02: a handler that takes any payload and answers an outcome.
pub async fn s05_jh_02_a_handler_of_any_payload_runs_a_job_once(fleet: &Fleet) {
    let runs = Runs::default();
    let work = runs.then(|_| async { Outcome::done().message("fine") });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let report = fleet.end(&fleet.send_to(TOPIC).await).await;
    assert_eq!((report.job.state, report.job.message.as_deref()), (State::Succeeded, Some("fine")));
    fleet.quiet(AFTER).await;
    assert_eq!(runs.count(), 1, "no second run");
    running.drain().await;
}

/// JH-03: many at once, each exactly once.
pub async fn j06_q18_jh_03_three_hundred_jobs_of_one_topic_all_run(fleet: &Fleet) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let jobs: Vec<_> = (0..300).map(|_| fleet.producer().raw(TOPIC, "{}")).collect();
    let sent = fleet.producer().send_all(jobs).await;
    for answer in &sent {
        assert!(fleet.end(answer.as_ref().unwrap()).await.is_success());
    }
    let counts = fleet.producer().counts().await.unwrap();
    let by_state: Vec<_> = counts.values().flatten().filter(|(_, count)| **count > 0).collect();
    assert_eq!(by_state, [(&State::Succeeded, &300)], "{counts:?}");
    fleet.quiet(Duration::from_secs(1)).await;
    assert_eq!(runs.count(), 300);
    running.drain().await;
}

/// JH-04: what can be seen of a job that runs, fails and is removed.
pub async fn j08_j09_j11_jh_04_a_failed_job_is_found_waiting_and_can_be_removed(fleet: &Fleet) {
    let (runs, go) = (Runs::default(), CancellationToken::new());
    let gate = go.clone();
    let work = runs.then(move |_| {
        let gate = gate.clone();
        async move {
            gate.cancelled().await;
            Outcome::retry("no")
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send(fleet.producer().raw(TOPIC, "{}").retry_delay(Duration::from_secs(60))).await;
    runs.reach(1).await;
    assert_eq!(fleet.unfinished().await, [sent.id]);
    assert_eq!(fleet.producer().jobs().state(State::Active).ids().await.unwrap(), [sent.id]);
    go.cancel();
    fleet.looks(sent.id, "the failed job waits", |view| view.state == State::Retrying).await;
    assert_eq!(fleet.unfinished().await, [sent.id]);
    assert_eq!(fleet.waiting(sent.id).await.reason, "retry");
    assert_eq!(fleet.producer().remove([sent.id]).await.unwrap(), [Removed::Dropped]);
    assert_eq!(fleet.unfinished().await, []);
    let history = fleet.producer().jobs().history().list().await.unwrap().jobs;
    let [dropped] = &history[..] else { panic!("one job is in the history: {history:?}") };
    assert_eq!((dropped.id, dropped.state, dropped.reason), (sent.id, State::Dropped, Some(Reason::Removed)));
    running.drain().await;
}

/// A job that may fail twice, and the delay between its runs.
fn twice_retried(fleet: &Fleet) -> (JobBuilder, Duration) {
    let delay = fleet.span(Duration::from_secs(2), Duration::from_millis(200));
    (fleet.producer().raw(TOPIC, "{}").retries(2).retry_delay(delay), delay)
}

/// JH-05: each of the three runs in time, and no fourth.
pub async fn s02_q10_jh_05_a_failing_job_runs_once_more_than_its_retries(fleet: &Fleet) {
    let runs = Runs::default();
    let work = runs.then(|_| async { Outcome::retry("no luck") });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let (job, delay) = twice_retried(fleet);
    let sent = fleet.send(job).await;
    let seen = runs.reach(3).await;
    assert_eq!(seen.iter().map(|run| (run.attempt, run.retry)).collect::<Vec<_>>(), [(1, 0), (2, 1), (3, 2)]);
    for pair in seen.windows(2) {
        let between = pair[1].at - pair[0].at;
        assert!(between >= delay && between <= Duration::from_secs(5), "{between:?} between two runs");
    }
    assert_eq!(fleet.end(&sent).await.job.state, State::GivenUp);
    fleet.quiet(AFTER).await;
    assert_eq!(runs.count(), 3, "no fourth run");
    running.drain().await;
}

/// JH-06: what a given-up job leaves, and what another process that watches it hears.
pub async fn s01_s08_l01_jh_06_a_given_up_job_is_in_the_history_and_its_watcher_hears_it_once(fleet: &Fleet) {
    let work = |_: Ctx| async { Outcome::retry("no luck") };
    let (job, _) = twice_retried(fleet);
    let sent = fleet.send(job).await;
    let watcher = fleet.link().await;
    let mut nudges = watcher.store.nudges();
    assert_eq!(watcher.store.watch(vec![sent.id]).await.unwrap(), [Some(State::Queued)]);
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.reason), (State::GivenUp, Some(Reason::RetriesExhausted)));
    assert_eq!((job.attempt, job.retries, job.message.as_deref()), (3, 3, Some("no luck")));
    assert_eq!(job.attempts.iter().map(|past| past.outcome.as_str()).collect::<Vec<_>>(), ["failed"; 3]);
    assert_eq!(fleet.producer().jobs().history().ids().await.unwrap(), [sent.id]);
    fleet.quiet(AFTER).await;
    running.drain().await;
    let mut ended = 0;
    while let Ok(nudge) = nudges.try_recv() {
        ended += usize::from(nudge == Nudge::Ended(sent.id));
    }
    assert_eq!(ended, 1, "the watcher hears of the end once");
}

/// JH-08: half of the jobs have nobody who takes them.
pub async fn jh_08_jobs_of_a_topic_that_nobody_takes_wait_beside_those_that_run(fleet: &Fleet) {
    let running = fleet.start(fleet.consumer().await.on(TOPIC, |_| async {})).await;
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for n in 0..20 {
        match n % 2 {
            0 => taken.push(fleet.send_to(TOPIC).await),
            _ => left.push(fleet.send_to("test/nobody").await),
        }
    }
    for sent in &taken {
        assert!(fleet.end(sent).await.is_success());
    }
    fleet.quiet(AFTER).await;
    assert_eq!(fleet.unfinished().await.len(), 10);
    let all = fleet.producer().statistics(&Selection::default()).await.unwrap().all;
    assert_eq!((all.jobs, all.unassigned, all.finished), (0, 10, 10), "what nobody takes is not counted: {all:?}");
    for sent in &left {
        let view = fleet.show(sent.id).await;
        assert_eq!((view.state, view.attempt, view.instance), (State::Queued, 0, None));
        let waiting = view.waiting.unwrap();
        assert_eq!(waiting.reason, "no_capable_instance");
        assert!(waiting.detail.contains("no live instance takes test/nobody"), "{}", waiting.detail);
    }
    running.drain().await;
}

/// JH-09: nobody is there at all.
pub async fn j01_jh_09_a_job_without_a_consumer_is_accepted_and_queued(fleet: &Fleet) {
    let sent = fleet.send_to(TOPIC).await;
    assert_eq!((sent.state, sent.existed), (State::Queued, false));
    let view = fleet.show(sent.id).await;
    assert_eq!((view.state, view.instance, view.queue.as_str()), (State::Queued, None, "main"));
    assert_eq!(view.waiting.unwrap().reason, "no_capable_instance");
}

/// JH-10: an illegal topic, and something that is not JSON.
pub async fn j02_jh_10_what_is_illegal_is_refused_and_nothing_is_stored(fleet: &Fleet) {
    for topic in ["", "a//b", "a.b", "/a", "a/*", "a b"] {
        let error = fleet.producer().raw(topic, "{}").send().await.unwrap_err();
        assert!(matches!(error.refusal(), Some(Refusal::Topic(_))), "`{topic}`: {error}");
    }
    let error = fleet.producer().raw(TOPIC, "{not json").send().await.unwrap_err();
    assert!(matches!(error.refusal(), Some(Refusal::NotJson(_))), "{error}");
    assert_eq!(fleet.producer().jobs().ids().await.unwrap(), []);
    assert_eq!(fleet.producer().topics().await.unwrap(), []);
}

/// JH-11: no retry is used.
pub async fn s03_jh_11_a_panic_is_an_error_at_once(fleet: &Fleet) {
    let runs = Runs::default();
    let work = runs.then(|ctx| async move {
        assert!(ctx.attempt() == 0, "the handler's bug");
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let job = fleet.end(&fleet.send_to(TOPIC).await).await.job;
    assert_eq!((job.state, job.reason), (State::Error, Some(Reason::Panicked)));
    assert_eq!((job.attempt, job.retries), (1, 0));
    assert!(job.message.as_deref().is_some_and(|text| text.contains("the handler's bug")), "{:?}", job.message);
    fleet.quiet(AFTER).await;
    assert_eq!(runs.count(), 1);
    // The consumer goes on.
    fleet.end(&fleet.send_to(TOPIC).await).await;
    running.drain().await;
}

/// JH-13: there is nothing to remove, which is what was asked for.
pub async fn j12_jh_13_removing_an_unknown_job_is_fine(fleet: &Fleet) {
    let removed = fleet.producer().remove([fleet.producer().new_id()]).await.unwrap();
    assert_eq!(removed, [Removed::NotFound]);
    assert!(removed[0].is_gone());
}

fn queues(delay: Duration) -> Queues {
    let pattern = TOPIC.parse().unwrap();
    let queue = QueueConfig { retry_delay: delay, ..QueueConfig::new("test", vec![pattern]) };
    Queues::new(vec![queue], 1).unwrap()
}

/// Runs a job that fails once; answers how long after its first run the second came.
async fn second_run(
    fleet: &Fleet,
    queues: Queues,
    outcome: Outcome,
    job: impl FnOnce(JobBuilder) -> JobBuilder,
) -> Duration {
    let runs = Runs::default();
    let work = runs.then(move |ctx| {
        let first = (ctx.attempt() == 1).then(|| outcome.clone());
        async move { first.unwrap_or_else(Outcome::done) }
    });
    let running = fleet.start(fleet.consumer().await.queues(queues.clone()).on(TOPIC, work)).await;
    let producer = fleet.producer_with(queues).await;
    let sent = fleet.send(job(producer.raw(TOPIC, "{}"))).await;
    let seen = runs.reach(2).await;
    let view = fleet.end(&sent).await.job;
    assert_eq!((view.state, view.queue.as_str()), (State::Succeeded, "test"));
    running.drain().await;
    seen[1].at - seen[0].at
}

/// JH-14: the outcome's 500 ms, not the queue's minute.
pub async fn s04_jh_14_the_delay_of_the_outcome_wins_over_the_queue(fleet: &Fleet) {
    let half = Duration::from_millis(500);
    let outcome = Outcome::retry_in(half, "soon");
    let between = second_run(fleet, queues(Duration::from_secs(60)), outcome, |job| job).await;
    assert!(between >= half && between < half + fleet.slack(), "{between:?}");
}

/// JH-15: the job's 100 ms, not the queue's five seconds.
pub async fn j16_s04_jh_15_the_delay_of_the_job_wins_over_the_queue(fleet: &Fleet) {
    let tenth = Duration::from_millis(100);
    let queues = queues(Duration::from_secs(5));
    let between = second_run(fleet, queues, Outcome::retry("no"), |job| job.retry_delay(tenth)).await;
    assert!(between >= tenth && between < tenth + fleet.slack(), "{between:?}");
}
