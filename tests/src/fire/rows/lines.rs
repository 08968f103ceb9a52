//! Lines that are cut, lead nowhere, lose, delay, or lose just the reply.

use super::super::faults::{self, Line};
use super::super::field::Field;
use super::super::load::Mix;
use super::{ROW, Row, Size, of_all, of_one, taken_over};
use std::time::Duration;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "F21",
        title: "a consumer is cut off the store alone",
        times: [1, 4, 20],
        pace: 30,
        allowed: |dose| taken_over(of_one(dose)),
        // Ten seconds, then two minutes.
        strike: |field, dose, strike| {
            let long = if dose.size == Size::Short { 10 } else { 120 };
            let span = Duration::from_secs(if strike % 2 == 0 { 10 } else { long });
            Box::pin(faults::cut_for(field, Line::Store, span))
        },
        ..ROW
    },
    Row {
        name: "F22",
        title: "a consumer is cut off the broker alone",
        short: true,
        times: [1, 2, 20],
        pace: 30,
        strike: |field, dose, _| {
            let span = Duration::from_secs(dose.size.of([12, 120, 120]));
            Box::pin(faults::cut_for(field, Line::Broker, span))
        },
        ..ROW
    },
    Row {
        name: "F23",
        title: "a consumer is cut off both, in one direction, and inside a frame",
        times: [7, 21, 49],
        pace: 10,
        allowed: |dose| taken_over(of_one(dose)),
        strike: |field, _, strike| match strike % 7 {
            0 => Box::pin(faults::cut(field, Line::Both, 2)),
            1 => Box::pin(faults::one_way(field, Line::Store, true)),
            2 => Box::pin(faults::one_way(field, Line::Store, false)),
            3 => Box::pin(faults::one_way(field, Line::Broker, true)),
            4 => Box::pin(faults::one_way(field, Line::Broker, false)),
            5 => Box::pin(faults::inside(field, Line::Store)),
            _ => Box::pin(faults::inside(field, Line::Broker)),
        },
        ..ROW
    },
    Row {
        name: "F24",
        title: "the reply is lost, at each step of the protocol",
        short: true,
        times: [1, 5, 20],
        pace: 40,
        // A consumer whose claims and beats lose their replies may stop by itself.
        allowed: |dose| taken_over(of_all(dose)),
        strike: |field, _, strike| Box::pin(every_reply(field, strike)),
        ..ROW
    },
    Row {
        name: "F25",
        title: "5 % loss with 50 to 100 ms each way, and 256 kbit/s",
        times: [2, 2, 2],
        pace: 30,
        jobs: [400, 2_000, 10_000],
        mix: Mix::brisk,
        lease: 10,
        strike: |field, dose, strike| {
            let seconds = dose.size.of([20, 60, 600]);
            match strike % 2 {
                0 => Box::pin(faults::rough_lines(field, seconds)),
                _ => Box::pin(faults::narrow_lines(field, seconds)),
            }
        },
        ..ROW
    },
];

/// Who calls a script: the producer, any consumer, or (`None`) it takes somebody's end or a command of its own.
fn caller(script: &str) -> Option<bool> {
    match script {
        "enqueue" => Some(true),
        "published" | "claim" | "finish" | "renew" | "beat" | "outbox" | "promote" | "purge" | "report" | "view" => {
            Some(false)
        }
        _ => None,
    }
}

async fn every_reply(field: &mut Field, strike: usize) {
    let mut not_called = Vec::new();
    for (script, hash) in longshore_link::redis::hashes() {
        let Some(own) = caller(script) else { continue };
        let name = if own { "producer".to_owned() } else { field.any() };
        field.fault(&format!("reply lost: {script}"), &name);
        if !faults::reply_lost(field, &name, Line::Store, hash.as_bytes()).await {
            not_called.push(script.to_owned());
        }
    }
    for (method, marker) in faults::METHODS {
        let name = if *method == "publish" && strike.is_multiple_of(2) { "producer".to_owned() } else { field.any() };
        field.fault(&format!("reply lost: {method}"), &name);
        if !faults::reply_lost(field, &name, Line::Broker, marker).await {
            not_called.push((*method).to_owned());
        }
    }
    field.healed();
    if !not_called.is_empty() {
        field.measured(format!("round {}: not called while it was waited for: {}", strike + 1, not_called.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_whose_replies_are_lost_exist() {
        let called = longshore_link::redis::hashes().into_iter().filter(|(name, _)| caller(name).is_some());
        assert_eq!(called.count(), 11, "a script was renamed: name it in `caller`");
    }
}
