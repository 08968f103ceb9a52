//! The two ways that a send has without the store: the broker alone, and the spool. Neither loses or doubles a job, and
//! both answer within the deadline.
//!
//! On a paused clock: deadlines pass at once, and exactly.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use longshore_link::embedded::Embedded;
use longshore_link::error::Service;
use longshore_producer::{
    Custody, Fault, Job, JobId, Producer, ProducerOptions, SendError, Spool, SpoolError, State, World, testing,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;

#[derive(Debug, PartialEq, Serialize, Deserialize, Job)]
#[job(topic = "mail")]
struct Mail {
    n: u64,
}

const ROOM: u64 = 1024 * 1024;
const DEADLINE: Duration = Duration::from_secs(10);

struct Bench {
    backend: Embedded,
    producer: Producer,
    world: World,
}

fn bench(change: impl FnOnce(&World, &mut ProducerOptions)) -> Bench {
    let world = World::simulated(7);
    let backend = Embedded::new(&world);
    let mut options = ProducerOptions::default();
    change(&world, &mut options);
    let producer = Producer::connect_with(backend.link(world.clone()), options);
    Bench { backend, producer, world }
}

/// One that may use the broker alone.
fn degraded() -> Bench {
    bench(|_, options| options.allow_degraded = true)
}

fn spooling(dir: &Path, room: u64) -> Bench {
    bench(|world, options| options.spool = Some(Spool::open(dir, room, world).unwrap()))
}

impl Bench {
    async fn lane(&self) -> u64 {
        self.producer.link().broker.depth(&Mail::topic().unwrap().into()).await.unwrap().unwrap_or(0)
    }

    async fn drained(&self) {
        while self.producer.spooled().jobs > 0 {
            self.world.clock.sleep(Duration::from_millis(100)).await;
        }
    }

    async fn state(&self, id: JobId) -> Option<State> {
        self.producer.show(id).await.unwrap().map(|job| job.state)
    }

    fn all_away(&self, away: bool) {
        let why = away.then_some("a cut cable");
        self.backend.set_store_away(why);
        self.backend.set_broker_away(why);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_nothing_for_now_is_a_typed_answer() {
    let bench = bench(|_, _| ());
    assert_eq!(bench.producer.send(Mail { n: 0 }).await.unwrap().held_up, None);
    bench.backend.set_blocked(Some("low on disk"));
    let sent = bench.producer.send(Mail { n: 1 }).await.unwrap();
    assert_eq!((sent.custody, sent.state), (Custody::Store, State::Queued));
    assert_eq!(sent.held_up, Some(Fault::blocked(Service::Broker, "low on disk")));
}

#[tokio::test(start_paused = true)]
async fn without_a_store_the_broker_alone_takes_what_starts_at_once() {
    let bench = degraded();
    // Surely not accepted, and nobody knows.
    for lost in [false, true] {
        if lost {
            bench.backend.set_store_away(None);
            bench.backend.lose_store_answers(u32::MAX);
        } else {
            bench.backend.set_store_away(Some("a cut cable"));
        }
        let begun = bench.world.clock.boot();
        let sent = bench.producer.send(Mail { n: 1 }).await.unwrap();
        assert!(bench.world.clock.boot() - begun <= DEADLINE);
        assert_eq!((sent.custody, sent.state, sent.existed), (Custody::Broker, State::Queued, false));
        assert!(sent.held_up.is_some());
        // What has to wait needs the store.
        let later = bench.producer.job(Mail { n: 2 }).after(Duration::from_secs(60)).send().await.unwrap_err();
        assert!(later.may_repeat() && later.is_unknown() == lost, "{later}");
    }
    assert_eq!(bench.lane().await, 2);
}

#[tokio::test(start_paused = true)]
async fn when_neither_answers_it_is_an_error_within_the_deadline() {
    let bench = degraded();
    bench.all_away(true);
    for _ in 0..3 {
        let begun = bench.world.clock.boot();
        let error = bench.producer.send(Mail { n: 1 }).await.unwrap_err();
        assert!(matches!(error, SendError::Unreachable { .. }), "{error}");
        assert!(bench.world.clock.boot() - begun <= DEADLINE);
    }
    // The broker may have it: nobody may say no.
    bench.backend.set_broker_away(None);
    bench.backend.lose_confirms(1);
    let error = bench.producer.send(Mail { n: 1 }).await.unwrap_err();
    assert!(error.is_unknown(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn once_the_store_is_known_to_be_away_sends_do_not_wait_for_it_each() {
    let bench = degraded();
    bench.backend.set_store_away(Some("a cut cable"));
    let took = async || {
        let begun = bench.world.clock.boot();
        assert_eq!(bench.producer.send(Mail { n: 1 }).await.unwrap().custody, Custody::Broker);
        bench.world.clock.boot() - begun
    };
    let (first, second) = (took().await, took().await);
    assert!(first > Duration::from_secs(3) && second < Duration::from_secs(1), "{first:?} {second:?}");
    bench.backend.set_store_away(None);
    assert_eq!(bench.producer.send(Mail { n: 1 }).await.unwrap().custody, Custody::Both);
}

#[tokio::test(start_paused = true)]
async fn a_bulk_goes_the_same_way() {
    let dir = tempfile::tempdir().unwrap();
    let bench = bench(|world, options| {
        options.allow_degraded = true;
        options.spool = Some(Spool::open(dir.path(), ROOM, world).unwrap());
    });
    bench.backend.set_store_away(Some("a cut cable"));
    let begun = bench.world.clock.boot();
    let job = |n: u64| bench.producer.job(Mail { n }).after(Duration::from_secs(n % 2));
    let answers = bench.producer.send_all((0..500).map(job).collect::<Vec<_>>()).await;
    assert!(bench.world.clock.boot() - begun <= DEADLINE);
    for (n, sent) in answers.into_iter().enumerate() {
        let expected = if n % 2 == 0 { Custody::Broker } else { Custody::Spool };
        assert_eq!(sent.unwrap().custody, expected, "{n}");
    }
    assert_eq!((bench.lane().await, bench.producer.spooled().jobs), (250, 250));
    bench.backend.set_store_away(None);
    bench.drained().await;
    // Those that the broker alone has are known when they are claimed.
    assert_eq!(bench.producer.jobs().limit(0).ids().await.unwrap().len(), 250);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_spooled_and_drained_in_order_under_its_id() {
    let dir = tempfile::tempdir().unwrap();
    let bench = spooling(dir.path(), ROOM);
    bench.all_away(true);
    let mut sent = Vec::new();
    for n in 0..5 {
        let answer = bench.producer.send(Mail { n }).await.unwrap();
        assert_eq!((answer.custody, answer.state), (Custody::Spool, State::Queued));
        sent.push(answer.id);
    }
    let later = bench.producer.job(Mail { n: 9 }).after(Duration::from_secs(3_600)).send().await.unwrap();
    assert_eq!((later.custody, later.state), (Custody::Spool, State::Scheduled));
    assert_eq!(bench.producer.spooled().jobs, 6);
    bench.all_away(false);
    bench.drained().await;
    let jobs = bench.producer.jobs().state(State::Queued).limit(0).ids().await.unwrap();
    assert_eq!(jobs, sent, "in order, each once");
    assert_eq!(bench.lane().await, 5, "and published");
    let view = bench.producer.show(later.id).await.unwrap().unwrap();
    let left = view.due.as_ref().unwrap().clone();
    assert_eq!(view.state, State::Scheduled, "{left}");
    assert_eq!(bench.producer.spooled().bytes, 0, "the room is free again");
    // The same ids once more make nothing.
    let again = bench.producer.job(Mail { n: 0 }).id(sent[0]).send().await.unwrap();
    assert!(again.existed);
}

#[tokio::test(start_paused = true)]
async fn a_spool_outlives_its_process_and_is_drained_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let first = spooling(dir.path(), ROOM);
    first.all_away(true);
    let sent = first.producer.send(Mail { n: 1 }).await.unwrap();
    // One process at a time.
    let taken = Spool::open(dir.path(), ROOM, &first.world).unwrap_err();
    assert_eq!(taken, SpoolError::Taken(dir.path().to_owned()));
    let Bench { producer, world, .. } = first;
    drop(producer);
    // What the process had under way ends with it.
    world.tasks.kill();
    world.clock.sleep(Duration::from_secs(1)).await;
    let second = spooling(dir.path(), ROOM);
    second.drained().await;
    assert_eq!(second.state(sent.id).await, Some(State::Queued));
    assert_eq!(second.lane().await, 1);
}

#[tokio::test(start_paused = true)]
async fn draining_twice_makes_no_second_job() {
    let dir = tempfile::tempdir().unwrap();
    let bench = spooling(dir.path(), ROOM);
    bench.all_away(true);
    let mut sent = Vec::new();
    for n in 0..3 {
        sent.push(bench.producer.send(Mail { n }).await.unwrap().id);
    }
    let kept = std::fs::read(dir.path().join("jobs")).unwrap();
    bench.all_away(false);
    // The first batch is accepted, and the answer is lost.
    bench.backend.lose_store_answers(1);
    bench.drained().await;
    assert_eq!(testing::enqueued::<Mail>(&bench.producer).await.len(), 3);
    // A crash before the file was emptied: the next process finds all of it again. One job is forgotten by then.
    bench.producer.stop([sent[1]], "a test").await.unwrap();
    bench.producer.remove([sent[1]]).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jobs"), kept).unwrap();
    let options = ProducerOptions {
        spool: Some(Spool::open(dir.path(), ROOM, &bench.world).unwrap()),
        ..ProducerOptions::default()
    };
    let again = Producer::connect_with(bench.backend.link(bench.world.clone()), options);
    assert_eq!(again.spooled().jobs, 3);
    while again.spooled().jobs > 0 {
        bench.world.clock.sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(testing::enqueued::<Mail>(&again).await.len(), 2);
    assert_eq!(bench.state(sent[1]).await, None, "what was removed stays removed");
    assert!(!dir.path().join("aside").exists());
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_is_a_typed_refusal_and_takes_again_when_drained() {
    let dir = tempfile::tempdir().unwrap();
    let bench = spooling(dir.path(), 1_000);
    bench.all_away(true);
    let mut kept = 0;
    let refused = loop {
        match bench.producer.send(Mail { n: kept }).await {
            Ok(sent) => assert_eq!(sent.custody, Custody::Spool),
            Err(error) => break error,
        }
        kept += 1;
    };
    assert!(kept > 0);
    let SendError::NotSpooled { spool: SpoolError::Full { bytes, max, .. }, .. } = &refused else {
        panic!("{refused}")
    };
    assert!(*bytes <= *max && refused.may_repeat() && !refused.is_unknown());
    assert!(refused.to_string().contains("no room"), "{refused}");
    assert!(std::fs::metadata(dir.path().join("jobs")).unwrap().len() <= 1_000);
    bench.all_away(false);
    bench.drained().await;
    assert_eq!(testing::enqueued::<Mail>(&bench.producer).await.len() as u64, kept);
    bench.all_away(true);
    assert_eq!(bench.producer.send(Mail { n: 99 }).await.unwrap().custody, Custody::Spool);
}

#[tokio::test(start_paused = true)]
async fn what_the_disk_damaged_is_set_aside_and_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let bench = spooling(dir.path(), ROOM);
    bench.all_away(true);
    for n in 0..3 {
        bench.producer.send(Mail { n }).await.unwrap();
    }
    let mut bytes = std::fs::read(dir.path().join("jobs")).unwrap();
    let second = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[second + 20] ^= 1;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jobs"), &bytes).unwrap();
    let again = spooling(dir.path(), ROOM);
    again.drained().await;
    assert_eq!(testing::enqueued::<Mail>(&again.producer).await, [Mail { n: 0 }, Mail { n: 2 }]);
    let aside = std::fs::read_to_string(dir.path().join("aside")).unwrap();
    assert!(aside.starts_with("# the line is damaged") && aside.lines().count() == 2, "{aside}");
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_a_job_that_the_store_does_not_know_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let bench = spooling(dir.path(), ROOM);
    bench.all_away(true);
    let sent = bench.producer.send(Mail { n: 1 }).await.unwrap();
    // The store is back and knows nothing of it for a moment.
    bench.backend.set_store_away(None);
    let work = async {
        bench.drained().await;
        bench.producer.stop([sent.id], "a test").await.unwrap();
    };
    let (report, ()) = tokio::join!(sent.outcome().timeout(Duration::from_secs(60)).into_future(), work);
    assert_eq!(report.unwrap().job.state, State::Stopped);
}
