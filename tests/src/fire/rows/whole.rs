//! The fleet as a whole: leaders, members that come and go, a backlog, versions, and everything at once.

use super::super::faults;
use super::super::field::Field;
use super::super::load::Mix;
use super::super::soak;
use super::{Dose, Needs, ROW, Row, of_one, taken_over};
use longshore_model::names::{StoreNames, meta_keys};
use std::time::Duration;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F29",
        title: "no coordinator, and a different one every moment",
        times: [1, 4, 20],
        pace: 15,
        strike: |field, _, strike| Box::pin(coordinators(field, strike)),
        ..ROW
    },
    Row {
        name: "F30",
        title: "a member comes and goes every second",
        times: [10, 60, 300],
        pace: 2,
        allowed: |dose| taken_over(of_one(dose)),
        strike: |field, _, _| Box::pin(flap(field)),
        ..ROW
    },
    Row {
        name: "F33",
        title: "a large backlog, then consumers start",
        times: [1, 1, 1],
        jobs: [5_000, 100_000, 1_000_000],
        pace: 0,
        mix: || Mix::of(&[]),
        slots: 64,
        workers: 2,
        allowed: |dose| taken_over(of_one(dose) * 2),
        strike: |field, dose, _| Box::pin(backlog(field, dose)),
        ..ROW
    },
    Row {
        name: "F34",
        title: "rolling upgrade from another version (--other), and back",
        mix: || Mix::long().without_files(),
        times: [1, 2, 5],
        pace: 60,
        needs: Needs { other: true, ..Needs::NOTHING },
        strike: |field, _, _| Box::pin(rolled(field)),
        ..ROW
    },
    Row {
        name: "F35",
        title: "the home of an instance is copied",
        times: [1, 3, 5],
        pace: 10,
        strike: |field, _, strike| Box::pin(cloned(field, strike)),
        ..ROW
    },
    Row {
        name: "F36",
        title: "everything at random",
        times: [10, 50, 1_000],
        jobs: [2_000, 20_000, 1_000_000],
        pace: 8,
        allowed: soak::allowed,
        strike: |field, _, number| Box::pin(soak::strike(field, number)),
        ..ROW
    },
];

/// What the store says of the coordinator is overwritten: with nobody, or with everybody in turn.
async fn coordinators(field: &mut Field, strike: usize) {
    let names = StoreNames::new(field.namespace.clone());
    let key = format!("{}{}", names.meta(), meta_keys::VIEW);
    let view = field.producer.topology().await.expect("the store answers");
    let members: Vec<String> =
        view.instances.iter().map(|card| format!("{}/{}", card.owner.instance, card.owner.incarnation.0)).collect();
    let nobody = strike.is_multiple_of(2);
    field.fault(if nobody { "no coordinator" } else { "many coordinators" }, "");
    let mut connection = field.redis.connection().await;
    for round in 0..200 {
        let leader = if nobody { "nobody/0" } else { &members[round % members.len()] };
        let set = redis::cmd("HSET").arg(&key).arg("leader").arg(leader).query_async::<()>(&mut connection).await;
        set.expect("name a coordinator");
        field.wait(Duration::from_millis(40)).await;
    }
    field.healed();
}

async fn flap(field: &mut Field) {
    let name = field.names().pop().expect("there are consumers");
    field.fault("member flaps", &name);
    field.kill(&name);
    field.wait(Duration::from_millis(500)).await;
    field.launch(&name);
    field.wait(Duration::from_millis(500)).await;
}

/// Consumers are away until everything is sent; their memory may not follow the backlog.
async fn backlog(field: &mut Field, dose: &Dose) {
    for name in field.names() {
        field.terminate(&name).await;
    }
    field.fault("backlog", "");
    field.sent_all().await;
    for name in field.names() {
        field.launch(&name);
    }
    field.until_ended(field.setup.jobs / 2).await;
    field.fault("consumer killed, started again", "");
    let name = field.any();
    field.kill(&name);
    field.launch(&name);
    let most = field.memory_kib();
    field.measured(format!("at most {} MiB resident in a consumer, half-way", most / 1_024));
    field.promise(most < 200 * 1_024, format!("a consumer takes {most} KiB with a backlog of {}", field.setup.jobs));
    let _ = dose;
}

/// Every consumer is replaced, one after the other: by this version, then by the other one again.
async fn rolled(field: &mut Field) {
    let other = field.setup.with.other.clone().expect("the program of another version");
    for newer in [true, false] {
        field.fault(if newer { "upgrade" } else { "downgrade" }, "");
        for name in field.names() {
            field.terminate(&name).await;
            if newer {
                field.programs.remove(&name);
            } else {
                field.programs.insert(name.clone(), other.clone());
            }
            field.launch(&name);
            field.ready(&name).await;
        }
        field.until_it_goes_on().await;
    }
    field.healed();
}

/// A second process starts on a copy of a live consumer's home: it must not take its place.
async fn cloned(field: &mut Field, strike: usize) {
    let name = field.any();
    let twin = format!("twin{strike}");
    field.fault("home copied", &name);
    field.clone_home(&name, &twin).await;
    field.wait(Duration::from_secs(5)).await;
    let both = [&name, &twin].into_iter().all(|who| field.fleet.member(who).is_running());
    let view = field.producer.topology().await.expect("the store answers");
    let ids: Vec<String> = view.instances.iter().map(|card| card.owner.instance.to_string()).collect();
    let mut unique = ids.clone();
    unique.sort();
    unique.dedup();
    field.promise(unique.len() == ids.len(), format!("an instance is there twice: {ids:?}"));
    field.measured(format!("after the copy of {name} started, both run: {both}; {} members", ids.len()));
    faults::all_closed(field).await;
}
