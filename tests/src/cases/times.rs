//! How long an attempt may take, and how often and for how long a job is tried again.

use std::time::Duration;

use longshore_consumer::{Cancelled, Ctx, HandlerOptions, Outcome, RetryRule, RetryRules};
use longshore_producer::{QueueConfig, Queues, Reason, State};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Fleet, Runs};

const TOPIC: &str = "test/times";

/// The handler is told, is not cancelled, and what it answers counts: it goes on later, and ends well.
pub async fn s05_a_soft_timeout_tells_the_handler_and_what_it_answers_counts(fleet: &Fleet) {
    let soft = Duration::from_millis(300);
    let runs = Runs::default();
    let work = runs.then(move |ctx| async move {
        if ctx.attempt() == 2 {
            return Outcome::result((ctx.should_finish(), ctx.job().soft_timeout == Some(soft)));
        }
        let begun = Instant::now();
        ctx.until_should_finish().await;
        assert!(begun.elapsed() >= soft && ctx.should_finish() && !ctx.is_stopped());
        Outcome::snooze(Duration::from_millis(50), "half of it is done")
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let report = fleet.end(&fleet.send(fleet.producer().raw(TOPIC, "{}").retries(0).soft_timeout(soft)).await).await;
    assert_eq!(report.result::<(bool, bool)>().unwrap(), (false, true), "each attempt has a time of its own");
    let job = report.job;
    assert_eq!((job.state, job.attempt, job.retries), (State::Succeeded, 2, 0));
    assert_eq!(job.attempts[0].outcome, "snoozed");
    running.drain().await;
}

/// One that says nothing is cancelled and has failed for that reason; one that beats, logs or reports is not.
pub async fn s05_a_stalled_attempt_is_cancelled_and_signs_of_life_keep_it(fleet: &Fleet) {
    let silence = fleet.span(Duration::from_secs(8), Duration::from_millis(800));
    let (runs, (heard, mut hears)) = (Runs::default(), mpsc::unbounded_channel());
    let work = runs.then(move |ctx| {
        let heard = heard.clone();
        async move {
            if ctx.attempt() == 2 {
                for round in 0..6_u64 {
                    ctx.sleep(silence / 2).await?;
                    match round % 4 {
                        0 => ctx.beat(),
                        1 => drop(ctx.log("still there")),
                        2 => drop(ctx.progress(round, 6, "")),
                        _ => ctx.set("round", round).unwrap(),
                    }
                }
                return Ok(());
            }
            let begun = Instant::now();
            let why = ctx.until_cancelled().await;
            heard.send((why.clone(), begun.elapsed())).unwrap();
            Err::<(), Cancelled>(why)
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let job = fleet.producer().raw(TOPIC, "{}").stall_timeout(silence).retry_delay(Duration::ZERO).retries(1);
    let job = fleet.end(&fleet.send(job).await).await.job;
    let (why, after) = hears.recv().await.unwrap();
    assert_eq!(why, Cancelled::Stalled(silence));
    assert!(after >= silence && after < silence + fleet.slack(), "{after:?}");
    assert_eq!((job.state, job.attempt, job.retries), (State::Succeeded, 2, 1));
    let failed = &job.attempts[0];
    let expected = ("failed", Some("stalled"), Some(why.to_string()));
    assert_eq!((failed.outcome.as_str(), failed.kind.as_deref(), failed.error.clone()), expected);
    running.drain().await;
}

/// A handler and a queue say it as well as a job; the job goes first.
pub async fn s05_handlers_and_queues_set_times_as_well(fleet: &Fleet) {
    let (short, long) = (Duration::from_millis(200), Duration::from_secs(600));
    let queue =
        QueueConfig { stall_timeout: Some(short), ..QueueConfig::new("patient", vec!["test/*".parse().unwrap()]) };
    let queues = Queues::new(vec![queue], 1).unwrap();
    let work = |ctx: Ctx| async move { Err::<(), Cancelled>(ctx.until_cancelled().await) };
    let options = HandlerOptions { timeout: Some(short), stall_timeout: Some(long), ..HandlerOptions::default() };
    let consumer = fleet.consumer().await.queues(queues).on(TOPIC, work).on_with("test/handler", options, work);
    let running = fleet.start(consumer).await;
    let reason = async |topic: &str, stall: Option<Duration>| {
        let job = fleet.producer().raw(topic, "{}").retries(0);
        let job = stall.into_iter().fold(job, longshore_producer::JobBuilder::stall_timeout);
        let job = fleet.end(&fleet.send(job).await).await.job;
        assert_eq!((job.state, job.reason), (State::GivenUp, Some(Reason::RetriesExhausted)));
        job.attempts[0].error.clone().unwrap()
    };
    assert_eq!(reason(TOPIC, None).await, Cancelled::Stalled(short).to_string(), "the queue's");
    assert_eq!(reason("test/handler", None).await, Cancelled::TimedOut(short).to_string(), "the handler's");
    let shorter = short / 2;
    assert_eq!(reason("test/handler", Some(shorter)).await, Cancelled::Stalled(shorter).to_string(), "the job's");
    running.drain().await;
}

/// A kind with retries of its own costs the job none, has a delay of its own, and ends the job when its own are used up.
pub async fn s02_s04_failures_of_a_kind_have_retries_and_a_delay_of_their_own(fleet: &Fleet) {
    let runs = Runs::default();
    let work = runs.then(|ctx| async move {
        match ctx.attempt() {
            3 => Outcome::retry("the disk is full"),
            n => Outcome::retry(format!("busy {n}")).kind("rate limited"),
        }
    });
    let pause = Duration::from_millis(150);
    let mut rules = RetryRules::new();
    // Names are made legal on both sides; the handler's rule for other kinds does not matter here.
    rules.set("rate-limited", RetryRule::new().retries(3).delay(pause));
    rules.set("other", RetryRule::new().retries(0));
    let options = HandlerOptions { retry_on: rules, retry_delay: Some(Duration::ZERO), ..HandlerOptions::default() };
    let running = fleet.start(fleet.consumer().await.on_with(TOPIC, options, work)).await;
    let job = fleet.end(&fleet.send(fleet.producer().raw(TOPIC, "{}").retries(1)).await).await.job;
    assert_eq!((job.state, job.reason), (State::GivenUp, Some(Reason::KindRetriesExhausted)));
    assert_eq!((job.attempt, job.retries, job.kinds.of("rate-limited")), (5, 5, 4));
    let kinds: Vec<_> = job.attempts.iter().map(|attempt| attempt.kind.as_deref()).collect();
    let named = Some("rate-limited");
    assert_eq!(kinds, [named, named, None, named, named]);
    let seen = runs.all();
    assert_eq!(seen.iter().map(|run| run.retry).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for (n, pair) in seen.windows(2).enumerate() {
        let between = pair[1].at - pair[0].at;
        let expected = if n == 2 { Duration::ZERO } else { pause };
        assert!(between >= expected && between < expected + fleet.slack(), "{n}: {between:?}");
    }
    // The job's own rule goes before the handler's, and a kind without retries is never tried again.
    let job = fleet.producer().raw(TOPIC, "{}").retry_on("rate-limited", RetryRule::new().retries(0));
    let job = fleet.end(&fleet.send(job).await).await.job;
    assert_eq!((job.attempt, job.reason), (1, Some(Reason::KindRetriesExhausted)));
    running.drain().await;
}

/// What would begin too late does not begin, however many retries are left.
pub async fn s02_no_retry_begins_after_the_time_for_retries(fleet: &Fleet) {
    let (time, delay) = (Duration::from_millis(1_000), Duration::from_millis(400));
    let runs = Runs::default();
    let work = runs.then(|_| async { Outcome::retry("the other side is down") });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let job = fleet.producer().raw(TOPIC, "{}").retries(-1).retry_delay(delay).retry_for(time);
    let job = fleet.end(&fleet.send(job).await).await.job;
    assert_eq!((job.state, job.reason), (State::GivenUp, Some(Reason::RetryTimeOver)));
    assert_eq!(job.message.as_deref(), Some("the other side is down"));
    let seen = runs.all();
    assert!((2..=3).contains(&seen.len()), "{}", seen.len());
    assert!(seen.iter().all(|run| run.at - seen[0].at <= time + fleet.slack()), "{seen:?}");
    running.drain().await;
}

/// CH-12: told at once by another process; what does not listen is dropped after its grace, and its slot is free.
pub async fn ch_12_j13_a_handler_that_does_not_listen_is_dropped_after_its_grace(fleet: &Fleet) {
    let grace = fleet.span(Duration::from_secs(20), Duration::from_millis(500));
    let (runs, (gone, mut goes)) = (Runs::default(), mpsc::unbounded_channel());
    let work = runs.then(move |ctx| {
        let gone = gone.clone();
        async move {
            if ctx.payload() == "1" {
                return Outcome::done();
            }
            let _gone = Gone(gone);
            std::future::pending().await
        }
    });
    let options = HandlerOptions { grace: Some(grace), ..HandlerOptions::default() };
    let deaf = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await.on_with(TOPIC, options, work);
    let running = fleet.start(deaf).await;
    // Another instance, which has nothing to do with the job.
    let other = fleet.start(fleet.consumer().await.on("test/other", |_| async {})).await;
    let (stopped, removed) = (fleet.send_to(TOPIC).await, fleet.producer().new_id());
    runs.reach(1).await;
    let operator = fleet.producer_with(Queues::default()).await;
    let asked = Instant::now();
    operator.stop([stopped.id], "an operator elsewhere").await.unwrap();
    let dropped = fleet.within("the handler is dropped", goes.recv()).await.unwrap();
    let after = dropped - asked;
    assert!(after >= grace && after < grace + Duration::from_secs(1) + fleet.slack(), "dropped after {after:?}");
    let job = fleet.end(&stopped).await.job;
    assert_eq!((job.state, job.reason), (State::Stopped, Some(Reason::StopRequested)));
    // The only slot is free again; a removal reaches its handler as a stop does.
    fleet.send(fleet.producer().raw(TOPIC, "0").id(removed)).await;
    runs.reach(2).await;
    let asked = Instant::now();
    operator.remove([removed]).await.unwrap();
    let after = fleet.within("the handler is dropped", goes.recv()).await.unwrap() - asked;
    assert!(after < grace + Duration::from_secs(1) + fleet.slack(), "dropped after {after:?}");
    let next = fleet.send(fleet.producer().raw(TOPIC, "1")).await;
    assert!(fleet.end(&next).await.is_success());
    other.drain().await;
    running.drain().await;
}

/// Tells when it is dropped.
struct Gone(mpsc::UnboundedSender<Instant>);

impl Drop for Gone {
    fn drop(&mut self) {
        let _ = self.0.send(Instant::now());
    }
}
