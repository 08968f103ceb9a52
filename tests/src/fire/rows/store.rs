//! The store dies, goes away, forgets, refuses, or is not what it was.

use super::super::checker::{ROLLED_BACK, WIPE};
use super::super::faults;
use super::super::field::{Ends, Field};
use super::super::history::Allowed;
use super::super::load::Mix;
use super::{Dose, Needs, ROW, Row, again, of_all};
use crate::proxy::{Direction, Proxy};
use crate::services::Redis;
use crate::wait::eventually;
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
        times: [1, 1, 3],
        pace: 60,
        allowed: |dose| again(of_all(dose)),
        strike: |field, dose, _| Box::pin(away(field, dose)),
        ..ROW
    },
    Row {
        name: "F14",
        title: "FLUSHALL under load: what waited for its time is gone and told of",
        times: [1, 3, 10],
        pace: 25,
        // Whoever runs at that moment may be started again beside itself; what was forgotten may run again.
        allowed: |dose| Allowed { overlaps: of_all(dose), extra_starts: 1_000 * dose.times, ..Allowed::NOTHING },
        strike: |field, _, _| Box::pin(flushed(field)),
        ..ROW
    },
    Row {
        name: "F15",
        title: "the store is replaced by an old copy of itself",
        times: [1, 2, 2],
        pace: 25,
        mix: Mix::timeless,
        allowed: rolled_back,
        strike: |field, _, _| Box::pin(replaced(field)),
        ..ROW
    },
    Row {
        name: "F16",
        title: "failover to a replica that is a second behind",
        times: [1, 3, 20],
        pace: 25,
        mix: Mix::timeless,
        allowed: rolled_back,
        strike: |field, _, _| Box::pin(failed_over(field)),
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
        times: [2, 4, 6],
        pace: 20,
        needs: Needs { store_disk: Some(96), ..Needs::NOTHING },
        allowed: |dose| again(of_all(dose)),
        strike: |field, _, strike| Box::pin(disk_full(field, strike)),
        ..ROW
    },
    Row {
        name: "F26",
        title: "the store's wall clock jumps, by seconds and by an hour, and back",
        times: [4, 8, 20],
        pace: 10,
        mix: Mix::timeless,
        needs: Needs { clocks: true, ..Needs::NOTHING },
        strike: |field, _, strike| Box::pin(clock_jumps(field, strike)),
        ..ROW
    },
];

async fn away(field: &mut Field, dose: &Dose) {
    faults::store_away(field, Duration::from_secs(dose.size.of([15, 60, 300]))).await;
    let back = field.until_it_goes_on().await;
    let limit = field.setup.lease + Duration::from_secs(10);
    field.promise(back <= limit * 3, format!("jobs went on only {back:?} after the store was back"));
}

/// What may follow when the store forgets what was new: what it says to be running is taken back and charged, and what
/// had ended runs again.
fn rolled_back(dose: &Dose) -> Allowed {
    let all = of_all(dose);
    Allowed { overlaps: all, extra_starts: 1_000 * dose.times, crashes: all as u64, ..Allowed::NOTHING }
}

async fn flushed(field: &mut Field) {
    let ends = Ends::ask(&field.redis, &field.namespace, &["FLUSHALL"]).await;
    let gone = ends.waiting.len();
    field.note_ends(ends);
    // Behind the wipe, so that nothing that was seen before it counts as known after it.
    field.fault(WIPE, "");
    field.wait(Duration::from_secs(10)).await;
    let losses = field.producer.link().store.losses().await.unwrap_or_default();
    let told = losses.last().and_then(|loss| loss.before).map_or(0, |known| known.scheduled);
    field.measured(format!("{gone} jobs waited for their time when the store was wiped; it tells of {told}"));
    field.promise(gone == 0 || told > 0, "the loss of scheduled jobs is not told of");
}

/// The store is put back to what it was some seconds ago, as with a restored backup.
async fn replaced(field: &mut Field) {
    let copy = field.setup.directory.join("backup");
    field.redis.stop().await;
    field.redis.set_aside(&copy);
    field.redis.resume().await;
    field.wait(Duration::from_secs(6)).await;
    last_words(field).await;
    field.redis.kill();
    field.redis.bring_back(&copy);
    field.fault(ROLLED_BACK, "");
    field.redis.resume().await;
    field.healed();
}

/// Notes what has ended, when nothing more can end: what the store forgets of it was known to all.
async fn last_words(field: &mut Field) {
    let mut connection = field.redis.connection().await;
    let pause = redis::cmd("CLIENT").arg("PAUSE").arg(60_000).arg("WRITE").query_async::<()>(&mut connection).await;
    pause.expect("pause the store");
    let ends = Ends::ask(&field.redis, &field.namespace, &[]).await;
    field.note_ends(ends);
}

/// The store dies, and a replica that is a second behind takes its place.
async fn failed_over(field: &mut Field) {
    let mut replica = Redis::start().await;
    let (line, _) = Proxy::before(&field.redis.url()).await;
    let (host, port) = (line.address().ip().to_string(), line.address().port());
    let mut connection = replica.connection().await;
    redis::cmd("REPLICAOF").arg(host).arg(port).query_async::<()>(&mut connection).await.expect("follow the store");
    eventually(Duration::from_secs(60), "the replica has caught up", async || {
        let mut connection = replica.try_connection().await.ok()?;
        let said: String = redis::cmd("INFO").arg("replication").query_async(&mut connection).await.ok()?;
        said.contains("master_link_status:up").then_some(())
    })
    .await;
    field.wait(Duration::from_secs(3)).await;
    line.stall(Direction::ToClient);
    field.wait(Duration::from_secs(1)).await;
    last_words(field).await;
    field.redis.kill();
    field.fault(ROLLED_BACK, "");
    replica.stop().await;
    field.redis.bring_back(&replica.data());
    field.redis.resume().await;
    field.healed();
}

/// Syncing every second the store refuses writes, syncing at every write it ends; then there is room again.
async fn disk_full(field: &mut Field, strike: usize) {
    let always = !strike.is_multiple_of(2);
    faults::configure(field, "appendfsync", if always { "always" } else { "everysec" }).await;
    field.fault(if always { "store's disk full, syncing always" } else { "store's disk full" }, "");
    field.redis.disk().expect("a file system of its own").fill();
    field.wait(Duration::from_secs(6)).await;
    field.redis.disk().expect("a file system of its own").free();
    if let Some(status) = field.redis.fell() {
        field.measured(format!("the store ended ({status}) and was started again"));
        field.redis.resume().await;
    }
    field.healed();
}

async fn clock_jumps(field: &mut Field, strike: usize) {
    let jumps = [5_000, -5_000, 3_600_000, -3_600_000];
    field.fault("store's clock jumps, and back", "");
    field.clocks[""].jump(jumps[strike % jumps.len()]);
    field.wait(Duration::from_secs(5)).await;
    field.clocks[""].jump(0);
    field.wait(Duration::from_secs(5)).await;
    field.healed();
}

/// Sends are refused whole, and what runs can be finished.
async fn full(field: &mut Field) {
    let before = field.watcher.ended();
    faults::store_full(field).await;
    let ended = field.watcher.ended() - before;
    field.measured(format!("{ended} jobs ended while the store was full"));
    field.promise(ended > 0, "no job could be finished while the store was full");
}
