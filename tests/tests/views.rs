//! Many instances that start together on real services, in real time: how long it takes until all of them have announced
//! one and the same view. The instances are tasks and threads of one process, each with connections, a home and beats of
//! its own; in virtual time the same is among the cases (`tests/src/cases/topology.rs`). By hand, on a quiet machine:
//! `target/debug/with-services cargo nextest run -p longshore-tests --test views --run-ignored only`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code outside of test functions; what was measured is part of the result"
)]

use futures_util::future::join_all;
use longshore_consumer::topology::TopologyEvent;
use longshore_consumer::{Consumer, Running, Settings};
use longshore_model::Secret;
use longshore_model::names::Namespace;
use longshore_tests::services::{RabbitMq, Redis, namespace};
use longshore_tests::wait::within;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// For whatever has to happen: much longer than what is required, so that a failure tells how long it took.
const LONG: Duration = Duration::from_secs(120);

/// Waits until an instance announces a view of so many. Answers its number, and who coordinates.
async fn announced(running: &Running, count: usize) -> (u64, String) {
    let mut events = running.topology().listen();
    loop {
        let view = match events.next().await.unwrap() {
            TopologyEvent::Init(view) => view,
            TopologyEvent::Changed { new, .. } => new,
            _ => continue,
        };
        if view.instances.len() == count {
            return (view.number, view.coordinator.as_ref().unwrap().to_string());
        }
    }
}

/// Starts so many at once, and waits until all of them go by the same view.
async fn together(count: usize, within_time: Duration) {
    let (rabbitmq, redis) = tokio::join!(RabbitMq::start(), Redis::start());
    let directory = tempfile::tempdir().unwrap();
    let mut settings = Settings { namespace: Namespace::new(&namespace("views")).unwrap(), ..Settings::default() };
    settings.broker.url = Secret::new(rabbitmq.url());
    settings.store.url = Secret::new(redis.url());
    let consumer = |number: usize| {
        let mut settings = settings.clone();
        settings.instance.name = Some(format!("instance-{number}"));
        settings.instance.home = Some(directory.path().join(number.to_string()));
        Consumer::new(settings).on("view/work", |_| async {})
    };
    let begun = Instant::now();
    let starting = join_all((0..count).map(|number| Box::pin(consumer(number).start())));
    let started = within(LONG, "all instances start", starting).await;
    let all: Vec<Running> = started.into_iter().map(Result::unwrap).collect();
    let started = begun.elapsed();
    let views = join_all(all.iter().map(|running| announced(running, count)));
    let views = within(LONG, "all announce a view of all", views).await;
    let took = begun.elapsed();
    println!("{count} instances: all started after {started:.1?}, all had announced the same view after {took:.1?}");
    let different: BTreeSet<_> = views.into_iter().collect();
    assert_eq!(different.len(), 1, "one view, with one coordinator: {different:?}");
    assert_eq!(all.iter().filter(|running| running.topology().is_coordinator()).count(), 1);
    // What is required of the system, and far from what it takes on a machine that does nothing else.
    assert!(took <= within_time, "{count} instances agreed after {took:?}");
    join_all(all.iter().map(Running::stop)).await;
}

/// As many as one large machine runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures time, and wants the machine for itself"]
async fn alone_v07_twenty_four_real_instances_agree_on_a_view_within_fifteen_seconds() {
    together(24, Duration::from_secs(15)).await;
}

/// A hub and fifty leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it measures time, and wants the machine for itself"]
async fn alone_v07_fifty_one_real_instances_agree_on_a_view_within_thirty_seconds() {
    together(51, Duration::from_secs(30)).await;
}
