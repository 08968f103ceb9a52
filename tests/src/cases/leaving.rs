//! Instances leave, in order or not, and their jobs go on.

use std::time::Duration;

use longshore_consumer::{Cancelled, Outcome};
use longshore_producer::{Priority, State, Topic};
use tokio_util::sync::CancellationToken;

use super::{Fleet, Runs};

const TOPIC: &str = "test/leaving";
/// Far less than any wait that would come of a lost message: a lease, a parked copy, a relay's round.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// One slot, three jobs: one runs, two are at hand. Somebody else has them as soon as the drain begins.
pub async fn a_drain_lets_running_jobs_finish_and_gives_the_others_back_at_once(fleet: &Fleet) {
    let (runs, go) = (Runs::default(), CancellationToken::new());
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
    let first = fleet.start(consumer.on(TOPIC, runs.until("first", &go))).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(fleet.send_to(TOPIC).await);
    }
    runs.reach(1).await;
    let lane = TOPIC.parse::<Topic>().unwrap().into();
    fleet
        .eventually("the other jobs are at hand", async || {
            let depth = fleet.producer().link().broker.depth(&lane).await.unwrap();
            (depth == Some(0)).then_some(())
        })
        .await;
    let second = fleet.start(fleet.consumer().await.on(TOPIC, runs.then_by("second", |_| async {}))).await;
    let others = async {
        let begun = tokio::time::Instant::now();
        let seen = runs.reach(3).await;
        for run in &seen[1..] {
            assert!(run.at - begun < AT_ONCE, "given back after {:?}", run.at - begun);
        }
        assert_eq!(fleet.show(seen[0].id).await.state, State::Active, "what runs goes on meanwhile");
        go.cancel();
    };
    tokio::join!(first.drain(), others);
    for sent in &sent {
        let job = fleet.end(sent).await.job;
        assert_eq!((job.state, job.attempt, job.retries, job.crashes), (State::Succeeded, 1, 0, 0));
    }
    assert_eq!(runs.all().iter().map(|run| run.by).collect::<Vec<_>>(), ["first", "second", "second"]);
    second.drain().await;
}

/// The grace is over and the handler is not: it is told, and what it did costs the job nothing.
pub async fn an_attempt_over_the_grace_is_released_uncharged_and_runs_elsewhere(fleet: &Fleet) {
    let runs = Runs::default();
    let endless = runs.then_by("first", |ctx| async move { Err::<(), Cancelled>(ctx.until_cancelled().await) });
    let consumer = fleet.consumer_with(|settings| settings.instance.grace = Duration::from_millis(200)).await;
    let first = fleet.start(consumer.on(TOPIC, endless)).await;
    let sent = fleet.send(fleet.producer().raw(TOPIC, "{}").retries(0)).await;
    runs.reach(1).await;
    let second =
        fleet.start(fleet.consumer().await.on(TOPIC, runs.then_by("second", |_| async { Outcome::done() }))).await;
    let begun = tokio::time::Instant::now();
    first.drain().await;
    let seen = runs.reach(2).await;
    let after = seen[1].at - begun;
    assert!(after >= Duration::from_millis(200) && after < Duration::from_millis(200) + AT_ONCE, "after {after:?}");
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.attempt, job.retries, job.crashes), (State::Succeeded, 2, 0, 0));
    assert_eq!(seen.iter().map(|run| run.by).collect::<Vec<_>>(), ["first", "second"]);
    second.drain().await;
}

/// A process dies without a word; another takes its job over when the lease is over, and counts it as a crash.
pub async fn s09_s10_p08_p11_a_killed_instance_is_replaced_after_its_lease(fleet: &Fleet) {
    let runs = Runs::default();
    let process = fleet.process();
    let endless = runs.then_by("first", |ctx| async move { Err::<(), Cancelled>(ctx.until_cancelled().await) });
    let first = fleet.start(fleet.consumer().await.world(process.clone()).on(TOPIC, endless)).await;
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    let second = fleet.start(fleet.consumer().await.on(TOPIC, runs.then_by("second", |_| async {}))).await;
    process.tasks.kill();
    drop(first);
    let killed = tokio::time::Instant::now();
    let seen = runs.reach(2).await;
    let after = seen[1].at - killed;
    assert!(after <= Duration::from_secs(12), "taken over after {after:?}");
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.state, job.attempt, job.retries, job.crashes), (State::Succeeded, 2, 0, 1));
    assert_eq!(seen[1].by, "second");
    fleet.quiet(Duration::from_secs(120)).await;
    assert_eq!(runs.count(), 2, "no late copy runs it again");
    second.drain().await;
}

/// The one that takes it back has its hands full, and more than fill them come at once: all but one go through the lane.
pub async fn q13_s10_an_urgent_job_of_a_killed_instance_does_not_wait_behind_a_backlog(fleet: &Fleet) {
    let runs = Runs::default();
    let process = fleet.process();
    let endless = runs.then_by("first", |ctx| async move { Err::<(), Cancelled>(ctx.until_cancelled().await) });
    let first = fleet.start(fleet.consumer().await.world(process.clone()).on(TOPIC, endless)).await;
    let job = || fleet.producer().raw(TOPIC, "{}").priority(Priority::Urgent);
    let urgent = [fleet.send(job()).await, fleet.send(job()).await, fleet.send(job()).await];
    runs.reach(3).await;
    process.tasks.kill();
    drop(first);
    let one = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
    let slow = runs.then_by("second", |ctx| async move { ctx.sleep(Duration::from_millis(500)).await });
    let second = fleet.start(one.on(TOPIC, slow)).await;
    let backlog: Vec<_> = (0..200).map(|_| fleet.producer().raw(TOPIC, "{}")).collect();
    for sent in fleet.producer().send_all(backlog).await {
        sent.unwrap();
    }
    let killed = tokio::time::Instant::now();
    for sent in &urgent {
        let job = fleet.end(sent).await.job;
        assert_eq!((job.state, job.attempt, job.crashes), (State::Succeeded, 2, 1));
    }
    let after = killed.elapsed();
    assert!(after <= Duration::from_secs(16), "the last one was done after {after:?}, and the backlog takes 100 s");
    second.drain().await;
    fleet.remove_unfinished().await;
}

/// Whatever the instance is about to do with the job when the drain begins: it is given back, charged nothing, and
/// nobody runs it any more when the drain has ended.
pub async fn a_drain_at_any_moment_gives_every_job_back_uncharged(fleet: &Fleet) {
    let (runs, mut started) = (Runs::default(), 0);
    for moment in 0..200 {
        let sent = fleet.send_to(TOPIC).await;
        let endless = runs.then(|ctx| async move { Err::<(), Cancelled>(ctx.until_cancelled().await) });
        let consumer = fleet.consumer_with(|settings| settings.instance.grace = Duration::from_millis(100)).await;
        let running = Box::pin(consumer.on(TOPIC, endless).start()).await.unwrap();
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        running.drain().await;
        let job = fleet.show(sent.id).await;
        assert_eq!((job.state, job.retries, job.crashes), (State::Queued, 0, 0), "drained after {moment} steps");
        started += job.attempt;
        fleet.producer().remove([sent.id]).await.unwrap();
    }
    assert!((1..200).contains(&started), "some drains came before the start of the handler, some after it: {started}");
    assert_eq!(runs.count(), usize::try_from(started).unwrap());
}
