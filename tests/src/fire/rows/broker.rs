//! The broker dies, goes away, closes connections, runs out of something, or loses what it had.

use super::super::faults;
use super::super::field::Field;
use super::super::load::{Kind, Mix};
use super::{Dose, Needs, ROW, Row};
use longshore_model::names::BrokerNames;
use std::time::Duration;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F5",
        mix: Mix::long,
        title: "the broker is killed and started again",
        short: true,
        times: [1, 5, 20],
        pace: 15,
        strike: |field, _, _| Box::pin(faults::broker_killed(field)),
        ..ROW
    },
    Row {
        name: "F6",
        title: "the broker is away for minutes while jobs are sent",
        times: [1, 1, 3],
        pace: 80,
        strike: |field, dose, _| Box::pin(away(field, dose)),
        ..ROW
    },
    Row {
        name: "F7",
        mix: Mix::long,
        title: "the broker closes all connections",
        short: true,
        times: [3, 20, 100],
        strike: |field, _, _| Box::pin(faults::all_closed(field)),
        ..ROW
    },
    Row {
        name: "F8",
        title: "every lane is deleted",
        times: [1, 2, 3],
        pace: 40,
        strike: |field, _, _| Box::pin(lanes_deleted(field)),
        ..ROW
    },
    Row {
        name: "F9",
        title: "the broker loses everything",
        times: [1, 2, 3],
        pace: 40,
        strike: |field, _, _| Box::pin(wiped(field)),
        ..ROW
    },
    Row {
        name: "F10",
        mix: Mix::long,
        title: "the broker blocks publishers: memory alarm, disk alarm",
        times: [1, 2, 5],
        pace: 60,
        strike: |field, dose, strike| Box::pin(alarm(field, dose, strike)),
        ..ROW
    },
    Row {
        name: "F11",
        title: "a job runs longer than the broker's acknowledgement timeout of 60 s",
        times: [1, 1, 5],
        jobs: [200, 400, 1_000],
        pace: 60,
        broker: &["consumer_timeout = 60000"],
        mix: || Mix::of(&[Kind { topic: "fire/hours", share: 15, ms: (150_000, 150_000), ..Kind::QUICK }]),
        strike: |field, _, _| {
            Box::pin(async move {
                field.fault("acknowledgement timeout", "");
                field.wait(Duration::from_secs(150)).await;
            })
        },
        ..ROW
    },
    Row {
        name: "F20",
        title: "the broker's disk is full",
        times: [1, 2, 3],
        pace: 60,
        needs: Needs { broker_disk: Some(700), ..Needs::NOTHING },
        strike: |field, _, _| Box::pin(disk_full(field)),
        ..ROW
    },
];

/// The broker is away, producers go on: sends are accepted by the store alone, and published when it is back.
async fn away(field: &mut Field, dose: &Dose) {
    let before = field.watcher.ended();
    faults::broker_away(field, Duration::from_secs(dose.size.of([20, 60, 300]))).await;
    field.measured(format!("{} jobs had ended before the broker was back", field.watcher.ended() - before));
    let back = field.until_it_goes_on().await;
    field.promise(back <= Duration::from_secs(60), format!("jobs went on only {back:?} after the broker was back"));
}

async fn lanes_deleted(field: &mut Field) {
    field.fault("every lane deleted", "");
    let names = BrokerNames::new(field.namespace.clone());
    for lane in field.setup.mix.lanes() {
        field.rabbitmq.ctl(&["delete_queue", &names.lane(&lane)]).await;
    }
    field.healed();
}

async fn wiped(field: &mut Field) {
    field.fault("broker wiped", "");
    field.rabbitmq.stop().await;
    field.rabbitmq.wipe();
    field.rabbitmq.resume().await;
    field.healed();
}

/// Nothing fits on the broker's disk any more. RabbitMQ's quorum queues do not come back by themselves when there is room
/// again (seen on 3.10), so it is started again then, as its operator would.
async fn disk_full(field: &mut Field) {
    field.fault("broker's disk full", "");
    field.rabbitmq.disk().expect("a file system of its own").fill();
    field.wait(Duration::from_secs(15)).await;
    field.rabbitmq.disk().expect("a file system of its own").free();
    match field.rabbitmq.fell() {
        Some(status) => field.measured(format!("the broker ended ({status})")),
        None => field.rabbitmq.kill(),
    }
    field.rabbitmq.resume().await;
    field.healed();
}

/// Acknowledgements and what is already in lanes go on while nobody may publish.
async fn alarm(field: &mut Field, dose: &Dose, strike: usize) {
    let before = field.watcher.ended();
    let seconds = dose.size.of([15, 60, 60]);
    if strike.is_multiple_of(2) {
        faults::memory_alarm(field, seconds).await;
    } else {
        faults::disk_alarm(field, seconds).await;
    }
    let ended = field.watcher.ended() - before;
    field.measured(format!("{ended} jobs ended during {seconds} s of alarm"));
    field.promise(ended > 0, "no job ended while publishers were blocked");
}
