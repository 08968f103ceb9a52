//! What happens to schedules in random sequences: defined, suspended, fired by one or by two who read the same, asked for
//! a job, removed. The time is that of the sequence, so that both stores get the same definitions, slots and ids.

use longshore_link::schedules::{Changed, Expect, Kept, ScheduleChange};
use longshore_link::store::Store;
use longshore_model::envelope::Envelope;
use longshore_model::id::JobId;
use longshore_model::queue::Queues;
use longshore_model::schedule::change::{self, Next, Now};
use longshore_model::schedule::{Missed, Overlap, Schedule, Spec, Template, Timing, UTC};
use proptest::prelude::*;
use serde_json::value::RawValue;

/// Between two slots, ms.
pub(crate) const EVERY_MS: u64 = 60_000;

/// One thing that somebody does with a schedule.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// Defines it, or defines it anew.
    Put { name: u8, overlap: u8 },
    /// Deals with what is due, so many minutes later, and a second time by somebody who read the same.
    Fire { name: u8, minutes: u64, twice: bool },
    /// Asks for a job more.
    Run { name: u8 },
    /// Suspends it, or resumes.
    Suspend { name: u8, on: bool },
    /// Removes it.
    Remove { name: u8 },
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let name = || 0..2_u8;
    prop_oneof![
        3 => (name(), 0..3_u8).prop_map(|(name, overlap)| Step::Put { name, overlap }),
        6 => (name(), 0..4_u64, prop::bool::weighted(0.3))
            .prop_map(|(name, minutes, twice)| Step::Fire { name, minutes, twice }),
        2 => name().prop_map(|name| Step::Run { name }),
        1 => (name(), any::<bool>()).prop_map(|(name, on)| Step::Suspend { name, on }),
        1 => name().prop_map(|name| Step::Remove { name }),
    ]
}

fn spec(name: &str, overlap: u8) -> Spec {
    let envelope = Envelope {
        labels: [("side".to_owned(), "s".to_owned())].into(),
        retries: Some(1),
        ..Envelope::new(JobId::nil(), "a/b".parse().unwrap(), RawValue::from_string("{\"n\":1}".into()).unwrap())
    };
    Spec {
        name: name.into(),
        job: Template { envelope, expires_in_ms: None },
        timings: vec![Timing::Every { ms: EVERY_MS }],
        zone: UTC.into(),
        overlap: [Overlap::Allow, Overlap::Skip, Overlap::QueueOne][usize::from(overlap)],
        missed: Missed::Last,
        jitter_ms: 0,
    }
}

async fn exchange(store: &dyn Store, change: ScheduleChange, jobs: &mut Vec<JobId>) -> String {
    let sent: Vec<JobId> = change.jobs.iter().map(|job| job.admission.id).collect();
    match store.change_schedules(vec![change]).await.unwrap().remove(0) {
        Changed::Done(answers) => {
            jobs.extend(sent);
            let told = |answer: &Result<longshore_link::store::Accepted, _>| match answer {
                Ok(accepted) => format!("{} {}", accepted.state, accepted.existed),
                Err(refused) => format!("{refused:?}"),
            };
            format!("done {:?}", answers.iter().map(told).collect::<Vec<_>>())
        }
        other => format!("{other:?}"),
    }
}

fn kept_or_gone(kept: &Kept, next: Option<Next>) -> Option<ScheduleChange> {
    next.map(|next| kept.change(next))
}

/// Does one step at a time of the sequence; tells what was answered. `ids` are for what is new: the same on both stores.
/// Appends the jobs that were sent.
pub(crate) async fn take(store: &dyn Store, step: Step, now: u64, fresh: JobId, jobs: &mut Vec<JobId>) -> String {
    let (Step::Put { name, .. }
    | Step::Fire { name, .. }
    | Step::Run { name }
    | Step::Suspend { name, .. }
    | Step::Remove { name }) = step;
    let name = format!("s{name}");
    let kept = store.schedule(&name).await.unwrap().kept.pop();
    let old = kept.as_ref().map(|kept| &kept.schedule);
    let change = match (step, &kept) {
        (Step::Put { overlap, .. }, _) => {
            let next = change::put(old, spec(&name, overlap), None, fresh, now).unwrap();
            let expect = kept.as_ref().map_or(Expect::Absent, |kept| Expect::Revision(kept.revision));
            next.map(|next| ScheduleChange { name, expect, open: None, next: Some(Box::new(next)), jobs: Vec::new() })
        }
        (_, None) => None,
        (Step::Fire { twice, .. }, Some(kept)) => {
            let plan = kept.schedule.fire(now, kept.open);
            let change = kept.fire(&plan, &Queues::default(), now).unwrap();
            if twice {
                let first = exchange(store, change.clone(), jobs).await;
                assert!(first.starts_with("done"), "{first}");
                let mut none = Vec::new();
                assert_eq!(exchange(store, change, &mut none).await, "Differs", "who read the same comes too late");
                return first;
            }
            Some(change)
        }
        (Step::Run { .. }, Some(kept)) => match kept.schedule.run_now(fresh, now, kept.open) {
            Now::Fire(plan) => Some(kept.fire(&plan, &Queues::default(), now).unwrap()),
            Now::Wait(next) => Some(kept.change(Next::Kept(next))),
            other => return format!("{other:?}"),
        },
        (Step::Suspend { on: true, .. }, Some(kept)) => {
            kept_or_gone(kept, kept.schedule.suspend("x", now).map(|next| Next::Kept(Box::new(next))))
        }
        (Step::Suspend { .. }, Some(kept)) => kept_or_gone(kept, kept.schedule.resume(now)),
        (Step::Remove { .. }, Some(kept)) => Some(kept.change(Next::Gone)),
    };
    match change {
        Some(change) => exchange(store, change, jobs).await,
        None => "nothing to change".to_owned(),
    }
}

/// Everything that both must agree on: what is kept, to the letter, and whether the last job is open.
pub(crate) async fn picture(store: &dyn Store) -> Vec<String> {
    let told = |kept: &Kept| {
        let schedule: &Schedule = &kept.schedule;
        format!("{} open {}", serde_json::to_string(schedule).unwrap(), kept.open)
    };
    store.find_schedules(None, 10).await.unwrap().kept.iter().map(told).collect()
}
