//! Everything at random: faults of all kinds, drawn by weight from the seed, until there were enough.

use super::faults::FAULTS;
use super::field::Field;
use super::history::Allowed;
use super::rows::Dose;
use std::time::Duration;

/// What may follow from any fault of the list: attempts of one consumer that others take over, of which those of a
/// frozen process go on beside their successors; or all consumers stop by themselves because the store is away.
#[must_use]
pub fn allowed(dose: &Dose) -> Allowed {
    let each = dose.slots * dose.times;
    Allowed { overlaps: each, extra_starts: each * dose.workers, crashes: each as u64, lost: 0 }
}

/// Strikes once, after a pause.
pub async fn strike(field: &mut Field) {
    let pause = field.random.below(2_000);
    field.wait(Duration::from_millis(pause)).await;
    let all: u64 = FAULTS.iter().map(|fault| fault.weight).sum();
    let mut drawn = field.random.below(all);
    for fault in FAULTS {
        if drawn < fault.weight {
            return (fault.strike)(field).await;
        }
        drawn -= fault.weight;
    }
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
}
