//! Priority and ageing: of those that wait at one limit under one turn, nobody is passed who goes before.

use super::judge::{Findings, Step};
use longshore_model::record::Record;
use longshore_model::{JobId, Priority, limits};
use std::collections::BTreeMap;

/// What jobs were sent with.
#[derive(Debug, Default)]
pub(super) struct Priorities(BTreeMap<JobId, Priority>);

impl Priorities {
    pub(super) fn asked(&mut self, id: JobId, priority: Priority) {
        self.0.insert(id, priority);
    }

    fn of(&self, id: &JobId) -> i128 {
        self.0.get(id).copied().unwrap_or_default().rank().into()
    }

    pub(super) fn look(&self, step: &Step<'_>, found: &mut Findings) {
        for job in step.entered() {
            for other in step.jobs.values().filter(|other| waits_beside(step, job, other)) {
                // So many classes may pass whoever came so much earlier; a job that never waited has no place.
                let classes = self.of(&job.id) - self.of(&other.id);
                let worth = classes * i128::from(limits::AGEING_MS) * 1_000;
                let earlier = |place: u64| i128::from(place) - i128::from(other.place.unwrap_or_default());
                match job.place.map(earlier) {
                    Some(earlier) if earlier <= worth => {
                        let passed = earlier > 0 && classes > 0;
                        let aged = earlier < 0 && classes < 0;
                        if passed {
                            found.count("an older job passed");
                        } else if aged {
                            found.count("a job that aged before one that presses");
                        }
                    }
                    earlier => found.wrong(format!(
                        "job {} was let through before {}, which goes before it: {classes} classes, {earlier:?} us later",
                        job.id, other.id
                    )),
                }
            }
        }
    }
}

/// Whether a job waited, and still waits, at a limit that another one asks for under the same turn.
fn waits_beside(step: &Step<'_>, job: &Record, other: &Record) -> bool {
    let Some(at) = &other.waits_at else { return false };
    let waited = step.before(&other.id).is_some_and(|before| before.waits_at.as_ref() == Some(at));
    waited && other.id != job.id && at.turn == job.gates.turn && job.gates.limits.contains(&at.gate)
}
