//! Queues of the fleet: kinds, limits, and changes while jobs wait.

use std::time::Duration;

use longshore_consumer::Cancelled;
use longshore_producer::{JobId, Reason, State};

use super::{Fleet, Gauge, Runs};

const TOPIC: &str = "test/queued";
const OTHER: &str = "test/other";

async fn apply(fleet: &Fleet, text: &str) {
    let change = fleet.producer().apply_queues("a file", text, "ann", false).await.unwrap();
    assert!(change.applied, "{change:?}");
}

async fn send(fleet: &Fleet, topic: &str, count: usize) -> Vec<JobId> {
    let jobs = (0..count).map(|_| fleet.producer().raw(topic, "{}"));
    fleet.producer().send_all(jobs).await.into_iter().map(|sent| sent.unwrap().id).collect()
}

fn ids(runs: &Runs) -> Vec<JobId> {
    runs.all().into_iter().map(|run| run.id).collect()
}

/// Strictly in order over all topics of the queue, on two instances.
pub async fn q02_an_ordered_queue_runs_one_job_at_a_time_in_order(fleet: &Fleet) {
    apply(fleet, "[[queues]]\nname = \"line\"\ntopics = [\"test/**\"]\nkind = \"ordered\"").await;
    let (runs, gauge) = (Runs::default(), Gauge::default());
    let work = |gauge: Gauge| {
        runs.then(move |_| {
            let inside = gauge.enter();
            async move {
                tokio::task::yield_now().await;
                drop(inside);
            }
        })
    };
    let mut running = Vec::new();
    for _ in 0..2 {
        let consumer = fleet.consumer().await.on(TOPIC, work(gauge.clone())).on(OTHER, work(gauge.clone()));
        running.push(fleet.start(consumer).await);
    }
    let mut sent = send(fleet, TOPIC, 15).await;
    sent.extend(send(fleet, OTHER, 15).await);
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.queue, "line");
    }
    assert_eq!((ids(&runs), gauge.most()), (sent, 1));
    for one in running {
        one.drain().await;
    }
}

/// One job at once in the whole fleet, topics by turns, though all of one topic came first.
pub async fn q03_qr_02_round_robin_takes_topics_by_turns(fleet: &Fleet) {
    let queue = "[[queues]]\nname = \"turns\"\ntopics = [\"test/*\"]\nkind = \"round_robin\"\nmax_in_fleet = 1";
    apply(fleet, queue).await;
    let runs = Runs::default();
    let first = send(fleet, TOPIC, 10).await;
    let second = send(fleet, OTHER, 10).await;
    let consumer = fleet.consumer().await.on(TOPIC, runs.then(|_| async {})).on(OTHER, runs.then(|_| async {}));
    let running = fleet.start(consumer).await;
    runs.reach(20).await;
    let topics: Vec<String> = runs.all().iter().map(|run| run.topic.to_string()).collect();
    // The first one had passed before the other topic had any.
    for pair in topics[1..19].chunks(2) {
        assert_ne!(pair[0], pair[1], "{topics:?}");
    }
    for id in first.iter().chain(&second) {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    running.drain().await;
}

/// `hold` stores jobs and runs none; `drop` ends them at once. Another kind lets those that are held go on.
pub async fn q04_a_queue_can_hold_its_jobs_or_drop_them(fleet: &Fleet) {
    let queues = |kind: &str| {
        format!(
            "[[queues]]\nname = \"held\"\ntopics = [\"{TOPIC}\"]\n{kind}\n[[queues]]\nname = \"gone\"\ntopics = \
             [\"{OTHER}\"]\nkind = \"drop\"\n"
        )
    };
    apply(fleet, &queues("kind = \"hold\"")).await;
    let runs = Runs::default();
    let consumer = fleet.consumer().await.on(TOPIC, runs.then(|_| async {})).on(OTHER, runs.then(|_| async {}));
    let running = fleet.start(consumer).await;
    let held = send(fleet, TOPIC, 3).await;
    let gone = send(fleet, OTHER, 1).await[0];
    let job = fleet.end_of(gone).await.job;
    assert_eq!((job.state, job.reason), (State::Dropped, Some(Reason::Discarded)));
    fleet.quiet(Duration::from_secs(60)).await;
    assert_eq!(runs.count(), 0);
    assert_eq!(fleet.waiting(held[0]).await.reason, "limit");
    apply(fleet, &queues("")).await;
    for id in &held {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    running.drain().await;
}

/// A limit that is set while jobs wait in their lane holds for them as well, on every instance.
pub async fn q09_q17_a_fleet_wide_limit_holds_for_jobs_that_came_before_it(fleet: &Fleet) {
    let queue = |rest: &str| format!("[[queues]]\nname = \"few\"\ntopics = [\"test/*\"]\n{rest}");
    apply(fleet, &queue("")).await;
    let sent = send(fleet, TOPIC, 30).await;
    apply(fleet, &queue("max_in_fleet = 2")).await;
    let (runs, gauge) = (Runs::default(), Gauge::default());
    let nap = fleet.span(Duration::from_millis(100), Duration::from_millis(10));
    let mut running = Vec::new();
    for _ in 0..3 {
        let (gauge, clock) = (gauge.clone(), fleet.process().clock);
        let work = runs.then(move |_| {
            let (inside, clock) = (gauge.enter(), clock.clone());
            async move {
                clock.sleep(nap).await;
                drop(inside);
            }
        });
        running.push(fleet.start(fleet.consumer().await.on(TOPIC, work)).await);
    }
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.attempt, 1, "waiting costs no attempt");
    }
    assert_eq!(gauge.most(), 2);
    for one in running {
        one.drain().await;
    }
}

/// What one instance runs at once of a queue, changed while it runs.
pub async fn q01_q08_a_queue_bounds_what_one_instance_runs_at_once(fleet: &Fleet) {
    let queue = |max: u32| format!("[[queues]]\nname = \"narrow\"\ntopics = [\"{TOPIC}\"]\nmax_parallel = {max}");
    apply(fleet, &queue(2)).await;
    let (runs, gauge) = (Runs::default(), Gauge::default());
    let clock = fleet.process().clock;
    let nap = fleet.span(Duration::from_millis(100), Duration::from_millis(20));
    let inside = gauge.clone();
    let work = runs.then(move |_| {
        let (inside, clock) = (inside.enter(), clock.clone());
        async move {
            clock.sleep(nap).await;
            drop(inside);
        }
    });
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 8).await;
    let running = fleet.start(consumer.on(TOPIC, work)).await;
    fleet
        .eventually("the instance goes by the queues", async || {
            let sent = send(fleet, TOPIC, 1).await;
            Some(fleet.end_of(sent[0]).await)
        })
        .await;
    let sent = send(fleet, TOPIC, 20).await;
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    assert!(gauge.most() <= 2, "{}", gauge.most());
    running.drain().await;
}

/// Checked whole, shown before, kept afterwards, and never lost between two who apply at once.
pub async fn q05_q06_q07_q16_q17_queues_are_applied_whole_and_kept(fleet: &Fleet) {
    let producer = fleet.producer();
    let bad =
        producer.apply_queues("f.toml", "[[queues]]\nname = \"a\"\nkind = \"odd\"\nretries = -9", "ann", false).await;
    let why = bad.unwrap_err().to_string();
    assert!(why.contains("kind") && why.contains("retries") && why.contains("topics"), "every problem: {why}");
    assert_eq!(producer.queue_set().await.unwrap(), None, "nothing was applied");
    let queues = "[[queues]]\nname = \"low\"\ntopics = [\"test/*\"]\nranking = 1\n[[queues]]\nname = \"q-{0}\"\n\
                  topics = [\"test/*\"]\nranking = 10\n[[queues]]\nname = \"main\"\nretries = 3\n";
    let dry = producer.apply_queues("f.toml", queues, "ann", true).await.unwrap();
    assert_eq!((dry.applied, dry.added.len(), dry.version), (false, 3, 0));
    apply(fleet, queues).await;
    let again = producer.apply_queues("f.toml", queues, "ann", false).await.unwrap();
    assert!(!again.applied && again.is_empty() && again.version == 1, "{again:?}");
    let job = fleet.show(send(fleet, TOPIC, 1).await[0]).await;
    assert_eq!((job.queue.as_str(), job.limits[0].key.as_str()), ("q-queued", "q-queued"));
    let main = fleet.show(send(fleet, "elsewhere", 1).await[0]).await;
    assert_eq!((main.queue.as_str(), main.max_retries), ("main", 3));
    apply(fleet, "[[queues]]\nname = \"low\"\ntopics = [\"test/*\"]").await;
    let past = producer.past_queues().await.unwrap();
    assert_eq!((past.len(), past[0].version, past[0].by.as_str()), (1, 1, "ann"));
    assert_eq!(fleet.show(send(fleet, TOPIC, 1).await[0]).await.queue, "low");
    assert_eq!(fleet.show(job.id).await.queue, "q-queued", "it keeps the queue that it was accepted under");
}

/// Whatever waits and whatever runs; other queues keep theirs.
pub async fn q15_all_jobs_of_a_queue_are_removed(fleet: &Fleet) {
    apply(fleet, "[[queues]]\nname = \"gone\"\ntopics = [\"test/queued\"]\nkind = \"ordered\"").await;
    let (runs, cancelled) = (Runs::default(), Runs::default());
    let heard = cancelled.clone();
    let endless = runs.then(move |ctx| {
        let heard = heard.clone();
        async move {
            let why = ctx.until_cancelled().await;
            heard.note(&ctx);
            Err::<(), Cancelled>(why)
        }
    });
    let consumer = fleet.consumer().await.on(TOPIC, endless);
    let running = fleet.start(consumer).await;
    let (mut gone, kept) = (send(fleet, TOPIC, 30).await, send(fleet, OTHER, 1).await);
    runs.reach(1).await;
    let producer = fleet.producer();
    let mut found = producer.jobs().queue("gone").ids().await.unwrap();
    found.sort_unstable();
    gone.sort_unstable();
    assert_eq!(found, gone);
    producer.remove(found).await.unwrap();
    for id in gone {
        assert_eq!(fleet.show(id).await.state, State::Dropped);
    }
    cancelled.reach(1).await;
    running.drain().await;
    assert_eq!((runs.all().len(), fleet.show(kept[0]).await.state), (1, State::Queued));
}
