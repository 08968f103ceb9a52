//! Everything at random: every kind of fault once, then faults drawn by weight from the seed, until there were enough.
//!
//! A job is given up after as many crashes as its budget allows, whoever caused them, so the nemesis is as fair as a
//! real one: before a fault that may be charged to jobs it waits until none of them could be struck once too often.

use super::faults::{FAULTS, Fault};
use super::field::Field;
use super::history::Allowed;
use super::rows::Dose;
use longshore_model::{JobId, State};
use std::time::{Duration, Instant};

/// How long the nemesis waits for jobs that were struck before.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at them.
const STEP: Duration = Duration::from_millis(500);
/// Jobs that are asked for in one call.
const PART: usize = 500;
/// Steps through the list, prime to its length, so that the first strikes come to every kind.
const STRIDE: usize = 17;

/// What may follow from any fault of the list: attempts of one consumer that others take over, of which those of a
/// frozen process go on beside their successors; or all consumers stop by themselves because the store is away.
#[must_use]
pub fn allowed(dose: &Dose) -> Allowed {
    let each = dose.slots * dose.times;
    Allowed { overlaps: each, extra_starts: each * dose.workers, crashes: each as u64, lost: 0 }
}

/// Strikes once, after a pause; `number` counts the strikes of the run from 0.
pub async fn strike(field: &mut Field, number: usize) {
    let pause = field.random.below(1_000);
    field.wait(Duration::from_millis(pause)).await;
    let fault = if number < FAULTS.len() { nth(field.setup.seed as usize, number) } else { drawn(field) };
    if fault.charges {
        until_safe(field).await;
    }
    (fault.strike)(field).await;
}

/// The faults in an order of the seed.
fn nth(seed: usize, number: usize) -> &'static Fault {
    &FAULTS[(seed + number * STRIDE) % FAULTS.len()]
}

fn drawn(field: &Field) -> &'static Fault {
    let all: u64 = FAULTS.iter().map(|fault| fault.weight).sum();
    let mut left = field.random.below(all);
    let chosen = FAULTS.iter().find(|fault| {
        let hit = left < fault.weight;
        left = left.saturating_sub(fault.weight);
        hit
    });
    chosen.unwrap_or(&FAULTS[0])
}

/// Waits until no job is as far from its end as that one more strike could give it up. One that was struck once and
/// runs may run with a consumer that is dead already, which nobody knows yet: it counts as struck twice.
async fn until_safe(field: &mut Field) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if endangered(field).await == Some(0) {
            return;
        }
        field.wait(STEP).await;
    }
    field.measured(format!("struck although jobs that were struck before had not ended after {PATIENCE:?}"));
}

/// Jobs that one more strike could give up; `None` when the store does not answer.
async fn endangered(field: &Field) -> Option<usize> {
    let open: Vec<JobId> = field.watcher.open_ids().await?;
    let mut count = 0;
    for part in open.chunks(PART) {
        let records = field.producer.link().store.records(part.to_vec()).await.ok()?;
        let near = records.into_iter().flatten().filter(|record| {
            let doubtful = u32::from(record.state == State::Active && record.crashes > 0);
            !record.state.is_terminal() && record.crashes + doubtful + 1 >= record.max_crashes
        });
        count += near.count();
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_at_least_thirty_kinds_and_each_is_there_once() {
        let kinds: BTreeSet<&str> = FAULTS.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), FAULTS.len());
        assert!(kinds.len() >= 30, "{}", kinds.len());
        assert!(FAULTS.iter().all(|fault| fault.weight > 0));
    }

    #[test]
    fn the_first_strikes_come_to_every_kind() {
        for seed in 0..3 {
            let first: BTreeSet<&str> = (0..FAULTS.len()).map(|number| nth(seed, number).kind).collect();
            assert_eq!(first.len(), FAULTS.len(), "the stride is not prime to the number of faults");
        }
    }
}
