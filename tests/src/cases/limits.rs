//! How many jobs run at once.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use longshore_consumer::{Cancelled, Ctx, HandlerOptions};

use super::{Fleet, Gauge, Runs};

/// A handler that takes a moment, so that many would overlap.
fn busy(
    runs: &Runs,
    gauge: &Gauge,
) -> impl Fn(Ctx) -> BoxFuture<'static, Result<(), Cancelled>> + Send + Sync + 'static {
    let gauge = gauge.clone();
    runs.then(move |ctx| {
        let inside = gauge.enter();
        async move {
            ctx.sleep(Duration::from_millis(50)).await?;
            drop(inside);
            Ok(())
        }
        .boxed()
    })
}

async fn send(fleet: &Fleet, topic: &str, count: usize) {
    let jobs: Vec<_> = (0..count).map(|_| fleet.producer().raw(topic, "{}")).collect();
    for answer in fleet.producer().send_all(jobs).await {
        answer.unwrap();
    }
}

/// Its jobs wait for each other, and hold up no other topic.
pub async fn a_handler_runs_no_more_jobs_at_once_than_it_may(fleet: &Fleet) {
    let (runs, narrow, wide) = (Runs::default(), Gauge::default(), Gauge::default());
    let options = HandlerOptions { concurrency: Some(2), ..HandlerOptions::default() };
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 8).await;
    let consumer = consumer.on_with("test/narrow", options, busy(&runs, &narrow)).on("test/wide", busy(&runs, &wide));
    send(fleet, "test/narrow", 20).await;
    send(fleet, "test/wide", 20).await;
    let running = fleet.start(consumer).await;
    runs.reach(40).await;
    assert_eq!(narrow.most(), 2);
    assert!(wide.most() > 2, "the other handler used the other slots: {}", wide.most());
    running.drain().await;
    assert_eq!(fleet.unfinished().await, []);
}

/// Over all its topics together.
pub async fn q01_an_instance_runs_no_more_jobs_at_once_than_it_may(fleet: &Fleet) {
    let (runs, all) = (Runs::default(), Gauge::default());
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 3).await;
    let consumer = consumer.on("test/one", busy(&runs, &all)).on("test/two", busy(&runs, &all));
    send(fleet, "test/one", 15).await;
    send(fleet, "test/two", 15).await;
    let running = fleet.start(consumer).await;
    runs.reach(30).await;
    assert_eq!(all.most(), 3);
    running.drain().await;
    assert_eq!(fleet.unfinished().await, []);
}
