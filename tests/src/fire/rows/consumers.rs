//! Consumers that die, end, stand still, wake up late, or take others down with them.

use super::super::faults;
use super::super::history::Allowed;
use super::super::load::{Kind, Mix};
use super::super::worker::Act;
use super::{Needs, ROW, Row, again, of_all, of_one, taken_over};
use longshore_model::State;
use std::time::Duration;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F1",
        title: "a consumer is killed",
        short: true,
        times: [2, 20, 100],
        allowed: |dose| taken_over(of_one(dose)),
        // Every second time it stays away until others have taken over.
        strike: |field, _, strike| Box::pin(faults::kill(field, strike % 2 == 1)),
        ..ROW
    },
    Row {
        name: "F2",
        mix: Mix::long,
        title: "a consumer is asked to end, under load",
        short: true,
        times: [2, 20, 50],
        strike: |field, _, _| Box::pin(faults::terminate(field)),
        ..ROW
    },
    Row {
        name: "F3",
        mix: Mix::long,
        title: "a consumer stands still for two fifths of a lease (at half a lease it stops by itself, between two beats)",
        times: [2, 20, 50],
        strike: |field, _, _| Box::pin(faults::freeze(field, 2, 5)),
        ..ROW
    },
    Row {
        name: "F4",
        title: "a consumer stands still for three leases",
        short: true,
        times: [1, 10, 50],
        pace: 15,
        allowed: |dose| Allowed { overlaps: of_one(dose), ..taken_over(of_one(dose)) },
        strike: |field, _, _| Box::pin(faults::freeze(field, 3, 1)),
        ..ROW
    },
    Row {
        name: "F28",
        title: "the machine of all consumers stands still for 2 minutes (frozen, while the boot clock goes on)",
        times: [1, 2, 5],
        pace: 140,
        allowed: |dose| Allowed { overlaps: of_all(dose), ..again(of_all(dose)) },
        strike: |field, dose, _| {
            let span = Duration::from_secs(dose.size.of([20, 120, 120]));
            Box::pin(async move {
                field.fault("all consumers frozen", "");
                for name in field.names() {
                    field.freeze(&name);
                }
                field.wait(span).await;
                for name in field.names() {
                    field.thaw(&name);
                }
                field.healed();
            })
        },
        ..ROW
    },
    Row {
        name: "F31",
        title: "poison: abort, exit(0), stack overflow, out of memory, panics, among 64 jobs that run beside it",
        times: [1, 1, 1],
        jobs: [600, 4_000, 20_000],
        pace: 40,
        slots: 64,
        workers: 2,
        mix: || {
            let poison = |topic, act, end| Kind { topic, share: 1, ms: (100, 400), act, end, ..Kind::QUICK };
            Mix::of(&[
                poison("fire/abort", Act::Abort, State::GivenUp),
                poison("fire/exit", Act::Exit, State::GivenUp),
                poison("fire/overflow", Act::Overflow, State::GivenUp),
                poison("fire/exhaust", Act::Exhaust, State::GivenUp),
                poison("fire/panic", Act::Panic, State::Error),
                poison("fire/threadpanic", Act::ThreadPanic, State::Error),
                Kind { topic: "fire/beside", share: 700, ms: (100, 1_500), ..Kind::QUICK },
            ])
        },
        allowed: |_| taken_over(10_000),
        strike: |field, _, _| {
            Box::pin(async move {
                field.fault("poison", "");
                let all = field.setup.jobs;
                field.until_ended(all).await;
            })
        },
        ..ROW
    },
    Row {
        name: "F32",
        title: "handlers block the runtime for two leases",
        times: [1, 2, 20],
        jobs: [200, 1_000, 4_000],
        pace: 30,
        mix: || Mix::of(&[Kind { topic: "fire/block", share: 20, ms: (8_000, 8_000), act: Act::Block, ..Kind::QUICK }]),
        strike: |field, _, _| {
            Box::pin(async move {
                field.fault("runtime blocked", "");
                field.wait(Duration::from_secs(20)).await;
                field.healed();
            })
        },
        ..ROW
    },
    Row {
        name: "F27",
        title: "a consumer's clock is a day off",
        times: [2, 4, 10],
        mix: Mix::timeless,
        needs: Needs { clocks: true, ..Needs::NOTHING },
        strike: |field, _, strike| {
            const DAY_MS: i64 = 86_400_000;
            Box::pin(async move {
                let name = field.any();
                field.fault("consumer's clock a day off", &name);
                field.clocks[&name].jump(if strike.is_multiple_of(2) { DAY_MS } else { -DAY_MS });
                field.wait(Duration::from_secs(5)).await;
                field.healed();
            })
        },
        ..ROW
    },
];
