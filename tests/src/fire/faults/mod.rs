//! Faults: each begins, lasts a while, is over, and says so in the history.
//!
//! A fault is a function and a line in [`FAULTS`], which the soak draws from; scenarios repeat one, or call them in
//! their own order. Whom it hits and how long it lasts is drawn from the run's seed. None of them waits until work
//! goes on: that is for whoever calls it.

mod consumers;
mod lines;
mod services;

pub use consumers::{freeze, kill, kill_coordinator, terminate};
pub use lines::{
    Line, METHODS, any_confirm_lost, any_ones_reply_lost, any_reply_lost, cut, cut_for, inside, narrow_lines, one_way,
    producer_cut, reply_lost, rough_lines, stall,
};
pub use services::{
    Say, all_closed, broker_away, broker_killed, broker_restarted, configure, disk_alarm, files_away, memory_alarm,
    service_frozen, store_away, store_full, store_killed, store_read_only, store_restarted, store_says,
};

use super::field::Field;
use std::pin::Pin;
use std::time::Duration;

/// What a fault or a scenario does.
pub type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A kind of fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its name.
    pub kind: &'static str,
    /// How often the soak draws it, in relation to the others.
    pub weight: u64,
    /// Whether attempts that it interrupts may count as crashes: the soak keeps those from adding up on one job.
    pub charges: bool,
    /// Does it.
    pub strike: fn(&mut Field) -> Work<'_>,
}

/// Every kind of fault that keeps all promises.
pub const FAULTS: &[Fault] = &[
    Fault {
        kind: "consumer killed, started again",
        weight: 14,
        charges: true,
        strike: |field| Box::pin(kill(field, false)),
    },
    Fault {
        kind: "consumer killed, missed for a lease",
        weight: 6,
        charges: true,
        strike: |field| Box::pin(kill(field, true)),
    },
    Fault { kind: "coordinator killed", weight: 4, charges: true, strike: |field| Box::pin(kill_coordinator(field)) },
    Fault {
        kind: "consumer asked to end, started again",
        weight: 8,
        charges: false,
        strike: |field| Box::pin(terminate(field)),
    },
    Fault {
        kind: "consumer frozen for half a lease",
        weight: 6,
        charges: false,
        strike: |field| Box::pin(freeze(field, 1, 2)),
    },
    Fault {
        kind: "consumer frozen for three leases",
        weight: 5,
        charges: true,
        strike: |field| Box::pin(freeze(field, 3, 1)),
    },
    Fault { kind: "broker killed", weight: 3, charges: false, strike: |field| Box::pin(broker_killed(field)) },
    Fault { kind: "broker restarted", weight: 2, charges: false, strike: |field| Box::pin(broker_restarted(field)) },
    Fault { kind: "broker frozen", weight: 3, charges: false, strike: |field| Box::pin(service_frozen(field, true)) },
    Fault {
        kind: "broker closes all connections",
        weight: 6,
        charges: false,
        strike: |field| Box::pin(all_closed(field)),
    },
    Fault { kind: "files away", weight: 3, charges: false, strike: |field| Box::pin(files_away(field)) },
    Fault { kind: "broker out of memory", weight: 2, charges: false, strike: |field| Box::pin(memory_alarm(field, 8)) },
    Fault { kind: "broker out of disk", weight: 2, charges: false, strike: |field| Box::pin(disk_alarm(field, 8)) },
    Fault { kind: "store killed", weight: 4, charges: true, strike: |field| Box::pin(store_killed(field)) },
    Fault { kind: "store restarted", weight: 3, charges: true, strike: |field| Box::pin(store_restarted(field)) },
    Fault { kind: "store frozen", weight: 3, charges: true, strike: |field| Box::pin(service_frozen(field, false)) },
    Fault {
        kind: "store drops its clients",
        weight: 4,
        charges: true,
        strike: |field| Box::pin(store_says(field, Say::Drop)),
    },
    Fault {
        kind: "store forgets its scripts",
        weight: 4,
        charges: false,
        strike: |field| Box::pin(store_says(field, Say::Scripts)),
    },
    Fault {
        kind: "store pauses its clients",
        weight: 3,
        charges: true,
        strike: |field| Box::pin(store_says(field, Say::Pause)),
    },
    Fault {
        kind: "store rewrites its file",
        weight: 2,
        charges: false,
        strike: |field| Box::pin(store_says(field, Say::Rewrite)),
    },
    Fault { kind: "store out of memory", weight: 3, charges: true, strike: |field| Box::pin(store_full(field)) },
    Fault { kind: "store read-only", weight: 3, charges: true, strike: |field| Box::pin(store_read_only(field)) },
    Fault {
        kind: "consumer cut off the store",
        weight: 5,
        charges: true,
        strike: |field| Box::pin(cut(field, Line::Store, 2)),
    },
    Fault {
        kind: "consumer cut off the broker",
        weight: 5,
        charges: false,
        strike: |field| Box::pin(cut(field, Line::Broker, 3)),
    },
    Fault {
        kind: "consumer cut off both",
        weight: 5,
        charges: true,
        strike: |field| Box::pin(cut(field, Line::Both, 2)),
    },
    Fault {
        kind: "requests to the store vanish",
        weight: 3,
        charges: true,
        strike: |f| Box::pin(one_way(f, Line::Store, true)),
    },
    Fault {
        kind: "replies of the store vanish",
        weight: 3,
        charges: true,
        strike: |f| Box::pin(one_way(f, Line::Store, false)),
    },
    Fault {
        kind: "requests to the broker vanish",
        weight: 3,
        charges: false,
        strike: |f| Box::pin(one_way(f, Line::Broker, true)),
    },
    Fault {
        kind: "replies of the broker vanish",
        weight: 3,
        charges: false,
        strike: |f| Box::pin(one_way(f, Line::Broker, false)),
    },
    Fault {
        kind: "replies of the store held back",
        weight: 3,
        charges: true,
        strike: |f| Box::pin(stall(f, Line::Store)),
    },
    Fault {
        kind: "replies of the broker held back",
        weight: 3,
        charges: false,
        strike: |f| Box::pin(stall(f, Line::Broker)),
    },
    Fault {
        kind: "line to the store cut inside a frame",
        weight: 5,
        charges: true,
        strike: |f| Box::pin(inside(f, Line::Store)),
    },
    Fault {
        kind: "line to the broker cut inside a frame",
        weight: 5,
        charges: false,
        strike: |f| Box::pin(inside(f, Line::Broker)),
    },
    Fault {
        kind: "reply of the store lost",
        weight: 12,
        charges: true,
        strike: |field| Box::pin(any_reply_lost(field)),
    },
    Fault {
        kind: "reply of the broker lost",
        weight: 8,
        charges: false,
        strike: |field| Box::pin(any_confirm_lost(field)),
    },
    Fault { kind: "lossy lines", weight: 3, charges: false, strike: |field| Box::pin(rough_lines(field, 6)) },
    Fault { kind: "narrow lines", weight: 3, charges: false, strike: |field| Box::pin(narrow_lines(field, 6)) },
    Fault { kind: "producer cut off both", weight: 4, charges: true, strike: |field| Box::pin(producer_cut(field)) },
];

fn lease(field: &Field) -> Duration {
    field.setup.lease
}
