//! Lines that are cut, lead nowhere, lose, delay, or lose just the reply.

use super::super::faults::{self, Line};
use super::super::field::Field;
use super::super::load::Mix;
use super::{ROW, Row, Size, of_all, of_one, taken_over};
use longshore_model::{JobId, State};
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
        mix: Mix::long,
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

/// Steps whose calls come by themselves while jobs run.
const BY_THEMSELVES: &[&str] =
    &["enqueue", "published", "claim", "finish", "renew", "beat", "outbox", "promote", "report", "purge"];

async fn every_reply(field: &mut Field, strike: usize) {
    let mut not_called: Vec<&str> = Vec::new();
    for (script, hash) in longshore_link::redis::hashes() {
        let lost = match script {
            "stop" | "remove" | "view" => by_command(field, script, &hash).await,
            "rescue" => by_death(field, &hash).await,
            _ if BY_THEMSELVES.contains(&script) => {
                faults::any_ones_reply_lost(field, Line::Store, hash.as_bytes()).await
            }
            _ => continue,
        };
        if lost {
            field.fault(&format!("reply lost: {script}"), "");
        } else {
            not_called.push(script);
        }
    }
    for (method, marker) in faults::METHODS {
        let own = *method == "publish" && strike.is_multiple_of(2);
        let name = if own { "producer".to_owned() } else { field.any() };
        if faults::reply_lost(field, &name, Line::Broker, marker).await {
            field.fault(&format!("reply lost: {method}"), &name);
        } else {
            not_called.push(method);
        }
    }
    field.healed();
    if !not_called.is_empty() {
        field.measured(format!("round {}: not called while it was waited for: {}", strike + 1, not_called.join(", ")));
    }
}

/// What the producer asks for: on a job that waits for an hour, so that the answer can only be one.
async fn by_command(field: &mut Field, script: &str, hash: &str) -> bool {
    let end = if script == "remove" { State::Dropped } else { State::Stopped };
    let id = field.send_waiting(end).await;
    let before = field.own_way.store.cuts();
    field.own_way.store.cut_before_reply(hash.as_bytes());
    for _ in 0..20 {
        let done = match script {
            // A second removal would take the job out of the history: whoever does not know looks first.
            "remove" => field.producer.remove([id]).await.is_ok() || is_dropped(field, id).await,
            "stop" => field.producer.stop([id], "fire").await.is_ok(),
            _ => field.producer.topology().await.is_ok() && field.producer.stop([id], "fire").await.is_ok(),
        };
        if done {
            break;
        }
        field.wait(Duration::from_millis(200)).await;
    }
    let lost = field.own_way.store.cuts() > before;
    field.own_way.heal().await;
    lost
}

async fn is_dropped(field: &Field, id: JobId) -> bool {
    let records = field.producer.link().store.records(vec![id]).await.unwrap_or_default();
    records.iter().flatten().any(|record| record.state == State::Dropped)
}

/// What is only called when somebody died.
async fn by_death(field: &mut Field, hash: &str) -> bool {
    let name = field.any();
    field.kill(&name);
    // Nobody rescues before the lease has ended: what is lost then is lost to a rescuer.
    let lost = faults::any_ones_reply_lost(field, Line::Store, hash.as_bytes()).await;
    field.launch(&name);
    field.ready(&name).await;
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_whose_replies_are_lost_exist() {
        let known: Vec<&str> = longshore_link::redis::hashes().into_iter().map(|(name, _)| name).collect();
        let named = BY_THEMSELVES.iter().chain(&["stop", "remove", "view", "rescue"]);
        assert!(named.clone().all(|script| known.contains(script)), "a script was renamed: {known:?}");
    }
}
