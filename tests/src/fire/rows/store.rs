//! The store dies, goes away, forgets, refuses, or is not what it was.

use super::super::checker::WIPE;
use super::super::faults;
use super::super::field::Field;
use super::super::history::Allowed;
use super::super::load::Mix;
use super::{Dose, ROW, Row, Standing, again, of_all};
use std::time::Duration;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F12",
        mix: Mix::long,
        title: "the store is killed and started again on its file",
        short: true,
        times: [2, 10, 20],
        pace: 8,
        // Who was without an answered beat for long enough stops by itself and starts again, uncharged.
        allowed: |dose| again(of_all(dose)),
        strike: |field, _, _| Box::pin(faults::store_killed(field)),
        ..ROW
    },
    Row {
        name: "F13",
        mix: Mix::long,
        title: "the store is away for minutes",
        standing: Standing::Unseen,
        times: [1, 1, 3],
        pace: 60,
        allowed: |dose| again(of_all(dose)),
        strike: |field, dose, _| Box::pin(away(field, dose)),
        ..ROW
    },
    Row {
        name: "F14",
        title: "FLUSHALL, with nothing scheduled",
        standing: Standing::Waits("what running attempts need to survive a wiped store, and loss windows"),
        times: [1, 3, 10],
        pace: 25,
        mix: || {
            let mut mix = Mix::default();
            mix.0.retain(|kind| kind.after_ms == 0);
            mix
        },
        // Whoever runs at that moment may be started again beside itself; what was forgotten may run again.
        allowed: |dose| Allowed { overlaps: of_all(dose), extra_starts: 1_000 * dose.times, ..Allowed::NOTHING },
        strike: |field, _, _| Box::pin(flushed(field)),
        ..ROW
    },
    Row {
        name: "F15",
        title: "the store is replaced by an old copy of itself",
        standing: Standing::LeftOut("the namespace does not become read-only on such a change yet"),
        ..ROW
    },
    Row {
        name: "F16",
        title: "failover to a replica that is a second behind",
        standing: Standing::LeftOut("needs a replica behind a slow line; and recovery from a lost tail, not built yet"),
        ..ROW
    },
    Row {
        name: "F17",
        mix: Mix::long,
        title: "the store is full and evicts nothing",
        times: [1, 3, 5],
        pace: 12,
        strike: |field, _, _| Box::pin(full(field)),
        ..ROW
    },
    Row {
        name: "F18",
        mix: Mix::long,
        title: "a read-only replica answers at the store's address",
        times: [1, 3, 5],
        pace: 12,
        allowed: |dose| again(of_all(dose)),
        strike: |field, _, _| Box::pin(faults::store_read_only(field)),
        ..ROW
    },
    Row {
        name: "F19",
        title: "the disk of the store's file is full",
        standing: Standing::LeftOut("needs a small file system of its own, and rights to mount one; not built"),
        ..ROW
    },
    Row {
        name: "F26",
        title: "the store's wall clock jumps",
        standing: Standing::LeftOut("needs a library that shifts a process's wall clock; not built"),
        ..ROW
    },
];

async fn away(field: &mut Field, dose: &Dose) {
    faults::store_away(field, Duration::from_secs(dose.size.of([15, 60, 300]))).await;
    let back = field.until_it_goes_on().await;
    let limit = field.setup.lease + Duration::from_secs(10);
    field.promise(back <= limit * 3, format!("jobs went on only {back:?} after the store was back"));
}

async fn flushed(field: &mut Field) {
    let mut connection = field.redis.connection().await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut connection).await.expect("wipe the store");
    // Behind the wipe, so that nothing that was seen before it counts as known after it.
    field.fault(WIPE, "");
    field.wait(Duration::from_secs(10)).await;
}

/// Sends are refused whole, and what runs can be finished.
async fn full(field: &mut Field) {
    let before = field.watcher.ended();
    faults::store_full(field).await;
    let ended = field.watcher.ended() - before;
    field.measured(format!("{ended} jobs ended while the store was full"));
    field.promise(ended > 0, "no job could be finished while the store was full");
}
