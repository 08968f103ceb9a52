//! Orders, limits and pauses, seen by applications: who runs, who waits, and what it says meanwhile.

use std::time::Duration;

use longshore_consumer::Outcome;
use longshore_producer::{JobId, LimitPolicy, Pausable, Rate, Reason, State};

use super::{Fleet, Gauge, Runs};

const TOPIC: &str = "test/gated";
const OTHER: &str = "test/other";

fn at_once(max: u32) -> LimitPolicy {
    LimitPolicy { max: Some(max), ..LimitPolicy::default() }
}

fn ids(runs: &Runs) -> Vec<JobId> {
    runs.all().into_iter().map(|run| run.id).collect()
}

/// Two hundred jobs of two topics under one key, on three instances.
pub async fn q02_p04_qo_02_one_order_over_topics_and_instances(fleet: &Fleet) {
    let (runs, gauge) = (Runs::default(), Gauge::default());
    let mut running = Vec::new();
    for _ in 0..3 {
        let work = |gauge: Gauge| {
            runs.then(move |_| {
                let inside = gauge.enter();
                async move {
                    tokio::task::yield_now().await;
                    drop(inside);
                }
            })
        };
        let consumer = fleet.consumer().await.on(TOPIC, work(gauge.clone())).on(OTHER, work(gauge.clone()));
        running.push(fleet.start(consumer).await);
    }
    let job = |topic| fleet.producer().raw(topic, "{}").order_key("k");
    let jobs = (0..200).map(|n| job(if n < 100 { TOPIC } else { OTHER }));
    let sent: Vec<JobId> = fleet.producer().send_all(jobs).await.into_iter().map(|sent| sent.unwrap().id).collect();
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    assert_eq!(ids(&runs), sent, "in the order in which they were sent");
    assert_eq!(gauge.most(), 1, "one at a time");
    for one in running {
        one.drain().await;
    }
}

/// The job at the head fails, sleeps, and fails for good; those behind it wait, and say for whom.
pub async fn q02_q19_a_failing_head_holds_up_its_key_and_no_other(fleet: &Fleet) {
    let runs = Runs::default();
    let work = runs.then(|ctx| async move {
        match (ctx.payload_as::<u32>().unwrap_or_default(), ctx.attempt()) {
            (1, 1) => Outcome::retry_in(Duration::from_millis(300), "not yet"),
            (1, 2) => Outcome::snooze(Duration::from_millis(300), "still not"),
            (1, _) => Outcome::fail("never"),
            _ => Outcome::done(),
        }
    });
    let send = |n: u32, key: &str| fleet.producer().raw(TOPIC, &n.to_string()).order_key(key);
    let first = fleet.send(send(1, "k")).await;
    let second = fleet.send(send(2, "k")).await;
    let other = fleet.send(send(3, "l")).await;
    let waiting = fleet.waiting(second.id).await;
    assert_eq!(waiting.reason, "order");
    assert!(waiting.detail.contains("order key `k`"), "{}", waiting.detail);
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    assert_eq!(fleet.end(&first).await.job.state, State::Error);
    assert_eq!(fleet.end(&second).await.job.state, State::Succeeded);
    assert_eq!(fleet.end(&other).await.job.state, State::Succeeded);
    let order: Vec<JobId> = ids(&runs).into_iter().filter(|id| *id != other.id).collect();
    assert_eq!(order, [first.id, first.id, first.id, second.id]);
    running.drain().await;
}

/// Fifty jobs, a limit that goes up and down, and instances that come and go.
pub async fn q09_p09_qp_02_a_limit_holds_while_it_changes_and_instances_come_and_go(fleet: &Fleet) {
    let (runs, gauge) = (Runs::default(), Gauge::default());
    let nap = fleet.span(Duration::from_millis(123), Duration::from_millis(20));
    let consumer = async || {
        let gauge = gauge.clone();
        let clock = fleet.process().clock;
        let work = runs.then(move |_| {
            let (inside, clock) = (gauge.enter(), clock.clone());
            async move {
                clock.sleep(nap).await;
                drop(inside);
            }
        });
        fleet.start(fleet.consumer().await.on(TOPIC, work)).await
    };
    let producer = fleet.producer();
    producer.set_limit("few", &at_once(1)).await.unwrap();
    let first = consumer().await;
    let jobs = (0..50).map(|_| producer.raw(TOPIC, "{}").limit("few"));
    let sent: Vec<JobId> = producer.send_all(jobs).await.into_iter().map(|sent| sent.unwrap().id).collect();
    let second = consumer().await;
    runs.reach(10).await;
    assert_eq!(gauge.most(), 1);
    producer.set_limit("few", &at_once(3)).await.unwrap();
    first.drain().await;
    let third = consumer().await;
    runs.reach(30).await;
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    assert!((2..=3).contains(&gauge.most()), "{}", gauge.most());
    assert_eq!(producer.limits().await.unwrap()[0].keys, 0, "nobody holds it, nobody waits");
    second.drain().await;
    third.drain().await;
}

/// The bucket is full at first.
pub async fn a_rate_spreads_jobs_over_time_and_costs_no_attempt(fleet: &Fleet) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let rate = Rate { count: 2, per_ms: 400 };
    let policy = LimitPolicy { rate: Some(rate), ..LimitPolicy::default() };
    fleet.producer().set_limit("slow", &policy).await.unwrap();
    // The first handler may begin late, so that time counts from before the first send.
    let (begun, mut sent) = (tokio::time::Instant::now(), Vec::new());
    for _ in 0..5 {
        sent.push(fleet.send(fleet.producer().raw(TOPIC, "{}").limit("slow")).await);
    }
    for one in &sent {
        assert_eq!(fleet.end(one).await.job.attempt, 1);
    }
    // Two at once, then one each 200 ms; the store's clock counts whole milliseconds.
    let last = runs.all()[4].at - begun;
    assert!(last >= Duration::from_millis(590), "{last:?}");
    running.drain().await;
}

/// It is the store that remembers it.
pub async fn q14_u11_qs_01_qs_02_a_pause_outlives_instances_and_names_who_and_why(fleet: &Fleet) {
    let runs = Runs::default();
    let queue = Pausable::Queue("main".into());
    let producer = fleet.producer();
    assert!(!producer.pause(&queue, "ann", "a migration", None).await.unwrap());
    let consumer = async || fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let first = consumer().await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(fleet.send_to(TOPIC).await);
    }
    fleet.quiet(Duration::from_secs(600)).await;
    first.drain().await;
    let second = consumer().await;
    fleet.quiet(Duration::from_secs(3)).await;
    assert_eq!(runs.count(), 0);
    assert_eq!(fleet.waiting(sent[0].id).await.reason, "paused");
    assert_eq!(fleet.show(sent[0].id).await.reason, Some(Reason::Paused));
    let pauses = producer.pauses().await.unwrap();
    assert_eq!(
        (pauses[0].order.by.as_str(), pauses[0].order.why.as_str(), pauses[0].waiting),
        ("ann", "a migration", 5)
    );
    assert!(producer.resume(&queue).await.unwrap());
    for one in &sent {
        assert_eq!(fleet.end(one).await.job.state, State::Succeeded);
    }
    let (mut ran, mut expected) = (ids(&runs), sent.iter().map(|sent| sent.id).collect::<Vec<_>>());
    ran.sort();
    expected.sort();
    assert_eq!(ran, expected, "each once");
    second.drain().await;
}

/// What a dead instance held is given to others, and the line goes on.
pub async fn q02_an_order_goes_on_when_its_instance_is_killed(fleet: &Fleet) {
    let runs = Runs::default();
    let world = fleet.process();
    let tasks = world.tasks.clone();
    let stuck = runs.then_by("killed", |_| std::future::pending::<()>());
    let doomed = fleet.start(fleet.consumer().await.world(world).on(TOPIC, stuck)).await;
    let first = fleet.send(fleet.producer().raw(TOPIC, "{}").order_key("k")).await;
    let second = fleet.send(fleet.producer().raw(TOPIC, "{}").order_key("k")).await;
    runs.reach(1).await;
    tasks.kill();
    drop(doomed);
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    assert_eq!(fleet.end(&first).await.job.crashes, 1);
    assert_eq!(fleet.end(&second).await.job.state, State::Succeeded);
    assert_eq!(ids(&runs), [first.id, first.id, second.id]);
    running.drain().await;
}
