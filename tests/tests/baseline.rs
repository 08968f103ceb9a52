//! The yardstick does all that it is said to do: every job is recorded, confirmed, claimed, finished and acknowledged.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use longshore_tests::baseline::{BATCH, Baseline, Plan, measure};
use longshore_tests::services::Shared;

#[tokio::test]
async fn every_job_goes_through_all_states_once() {
    let services = Shared::services().await;
    let baseline = Baseline::connect(&services.broker_url, &services.store_url).await.unwrap();
    let mut records = baseline.records();
    assert!(baseline.enqueue_one_by_one(7).await.unwrap() > 0.0);
    // Not a multiple of a batch.
    assert!(baseline.enqueue_bulk(3 * BATCH + 1).await.unwrap() > 0.0);
    assert_eq!(records.counts().await.unwrap(), [308, 0, 0]);

    // Two consumers one after the other: what the first has acknowledged does not come again.
    assert!(baseline.process(200, 100).await.unwrap() > 0.0);
    assert_eq!(records.counts().await.unwrap(), [108, 0, 200]);
    assert!(baseline.process(108, 1).await.unwrap() > 0.0);
    assert_eq!(records.counts().await.unwrap(), [0, 0, 308]);
    baseline.close().await.unwrap();
}

#[tokio::test]
async fn a_claim_is_given_once_and_a_stale_fence_finishes_nothing() {
    let services = Shared::services().await;
    let baseline = Baseline::connect(&services.broker_url, &services.store_url).await.unwrap();
    let mut records = baseline.records();
    records.enqueue(&[("a".into(), b"{}".to_vec()), ("b".into(), b"{}".to_vec())]).await.unwrap();
    let fences = records.claim("one", ["a", "b", "missing"].into_iter()).await.unwrap();
    assert!(fences[0] > 0 && fences[1] > 0);
    assert_eq!(fences[2], 0);
    assert_eq!(records.claim("two", ["a"].into_iter()).await.unwrap(), [0]);
    let done = records.finish([("a", fences[0]), ("b", fences[1] - 1)].into_iter()).await.unwrap();
    assert_eq!(done, [true, false]);
    assert_eq!(records.finish([("a", fences[0])].into_iter()).await.unwrap(), [false]);
    assert_eq!(records.counts().await.unwrap(), [0, 1, 1]);
    baseline.close().await.unwrap();
}

#[tokio::test]
async fn a_round_has_all_figures() {
    let services = Shared::services().await;
    let plan = Plan { one_by_one: 20, bulk: 250, latency: 30, latency_rate: 150 };
    let figures = measure(&services.broker_url, &services.store_url, plan, |_| {}).await.unwrap();
    for (name, value) in figures.rows() {
        assert!(value.is_finite() && value > 0.0, "{name}: {value}");
    }
    assert!(figures.latency_p50_ms <= figures.latency_p99_ms);
    // Two calls to the store and one synced write of the broker: less would be an error of measurement.
    assert!(figures.latency_p50_ms > 0.1, "{}", figures.latency_p50_ms);
}
