//! A job's record as the search stores it, and the only way to change it: the product's transition function.
//!
//! [`Slim`] keeps what the state machine reads and leaves out what it only writes (messages, times for people,
//! counters for people). For each event it becomes a real [`Record`], [`transition`] is applied, and the result is
//! made slim again. Times become facts: a lease, a due time and an outbox entry are there or not; whether a lease
//! *has ended* is decided by what its owner is doing ([`super::store`]), because an event that comes too early changes
//! nothing. The clock hands out one microsecond per fence.

use longshore_model::gate::Gates;
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::kind::KindCounts;
use longshore_model::record::{Admission, Record, Start, State};
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Event, transition};

const NOW_MS: u64 = 1_800_000_000_000;
const LEASE_MS: u64 = 10_000;
/// Any delay.
pub(super) const LATER_MS: u64 = 60_000;
/// The kind of error that has retries of its own.
pub(super) const KIND: &str = "k";
/// A time for retries: longer than any delay.
pub(super) const RETRY_FOR_MS: u64 = 2 * LATER_MS;
/// Starts of an instance that can be told apart.
const INCARNATIONS: u8 = 8;

/// Who holds a job, and under which delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    pub(super) instance: u8,
    pub(super) incarnation: u8,
    pub(super) nonce: u8,
}

/// How a job's time for retries stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Until {
    /// It has none.
    #[default]
    Never,
    /// It has not passed.
    Ahead,
    /// It has.
    Over,
}

/// What matters of a [`Record`]. Fences are numbered from 1, zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slim {
    pub(super) state: State,
    pub(super) generation: u8,
    pub(super) fence: u8,
    pub(super) failures: u8,
    pub(super) crashes: u8,
    /// While it is active.
    pub(super) holder: Option<Holder>,
    pub(super) due: bool,
    pub(super) cancel: bool,
    pub(super) outbox: bool,
    /// Failures of the kind that has retries of its own.
    pub(super) kinds: u8,
    pub(super) until: Until,
}

/// Makes records of slim ones, and back.
#[derive(Debug)]
pub(super) struct Records {
    template: Record,
    owners: Vec<Vec<Owner>>,
}

impl Records {
    /// Records of a job with so many retries, given up at the crash of that number.
    pub(super) fn new(max_retries: i32, max_crashes: u32) -> Self {
        let id = JobId::new(NOW_MS, [1; 16], 0);
        let topic: Topic = "search/job".parse().unwrap();
        let admission = Admission {
            id,
            topic,
            queue: "main".into(),
            start: Start::Now,
            max_retries,
            max_crashes,
            expires: None,
            gates: Gates::default(),
            site: None,
            unique: None,
        };
        let owner = |instance, incarnation| Owner {
            instance: InstanceId(format!("w{instance}")),
            incarnation: Incarnation(format!("{incarnation}")),
        };
        let owners = (0..2).map(|instance| (0..INCARNATIONS).map(|number| owner(instance, number)).collect());
        Self { template: Record::admit(&admission, NOW_MS), owners: owners.collect() }
    }

    /// A job that is accepted (T1, T2).
    pub(super) fn admit(&self, start: Start) -> Slim {
        let Record { id, topic, queue, max_retries, max_crashes, .. } = self.template.clone();
        slim(&Record::admit(
            &Admission {
                id,
                topic,
                queue,
                start,
                max_retries,
                max_crashes,
                expires: None,
                gates: Gates::default(),
                site: None,
                unique: None,
            },
            NOW_MS,
        ))
    }

    /// Applies an event after the store's clock reached `clock`.
    pub(super) fn apply(&self, record: &mut Slim, clock: u8, event: &Event) -> Answer {
        let mut full = self.full(record);
        if matches!(event, Event::LeaseGone { .. }) {
            full.lease = full.lease.map(|_| NOW_MS);
        }
        let (answer, _) = transition(&mut full, NOW_MS * 1_000 + u64::from(clock) + 1, event);
        *record = slim(&full);
        answer
    }

    /// The claim of a delivery.
    pub(super) fn claim(&self, holder: Holder, generation: u8, floor: u8, alone: bool) -> Event {
        Event::Claim {
            owner: self.owner(holder),
            nonce: nonce(holder.nonce).to_owned(),
            generation: Generation(u64::from(generation)),
            floor: fence(floor),
            lease_ms: LEASE_MS,
            alone,
        }
    }

    fn owner(&self, holder: Holder) -> Owner {
        self.owners[usize::from(holder.instance)][usize::from(holder.incarnation)].clone()
    }

    fn full(&self, slim: &Slim) -> Record {
        let mut record = self.template.clone();
        record.state = slim.state;
        record.generation = Generation(u64::from(slim.generation));
        record.fence = fence(slim.fence);
        record.failures = u32::from(slim.failures);
        record.crashes = u32::from(slim.crashes);
        if let Some(holder) = slim.holder {
            record.owner = Some(self.owner(holder));
            nonce(holder.nonce).clone_into(&mut record.nonce);
            record.lease = Some(NOW_MS + LEASE_MS);
        }
        record.due = slim.due.then_some(NOW_MS);
        record.cancel = slim.cancel.then(|| "somebody".to_owned());
        record.outbox = slim.outbox.then_some(NOW_MS);
        if slim.kinds > 0 {
            record.kinds = KindCounts::parse(&format!("{KIND} {}", slim.kinds));
        }
        record.retry_until = match slim.until {
            Until::Never => None,
            Until::Ahead => Some(NOW_MS + RETRY_FOR_MS),
            Until::Over => Some(NOW_MS - 1),
        };
        record
    }
}

/// The fence with a number.
pub(super) const fn fence(number: u8) -> Fence {
    if number == 0 { Fence(0) } else { Fence(NOW_MS * 1_000 + number as u64) }
}

/// The number of a fence.
pub(super) fn number(fence: Fence) -> u8 {
    u8::try_from(fence.0.saturating_sub(NOW_MS * 1_000)).expect("the budgets of faults bound the fences")
}

const fn nonce(number: u8) -> &'static str {
    match number {
        0 => "a",
        1 => "b",
        _ => "c",
    }
}

fn slim(record: &Record) -> Slim {
    // Every field is named: whoever adds one decides whether the state machine reads it.
    let Record {
        id: _,
        topic: _,
        queue: _,
        state,
        reason: _,
        generation,
        fence,
        attempts: _,
        failures,
        crashes,
        max_retries: _,
        max_crashes: _,
        owner,
        nonce,
        created: _,
        since: _,
        due,
        started: _,
        finished: _,
        lease,
        expires: _,
        cancel,
        message: _,
        outbox,
        // Read by `Republish` alone: the model's reconciler has no clock to be patient by.
        published: _,
        republished: _,
        retried_as: _,
        // What gates ask is decided beside the state machine ([`super::gates`]).
        gates: _,
        // In which lane it waits is nothing to the state machine.
        site: _,
        unique: _,
        place: _,
        waits_at: _,
        kinds,
        retry_until,
    } = record;
    let small = |number: u64| u8::try_from(number).expect("budgets keep counters small");
    // Of a job that has ended only its fence is asked for.
    let open = !state.is_terminal();
    let holder = lease.and(owner.as_ref()).map(|owner| Holder {
        instance: owner.instance.0[1..].parse().unwrap(),
        incarnation: owner.incarnation.0.parse().unwrap(),
        nonce: nonce.as_bytes()[0] - b'a',
    });
    Slim {
        state: *state,
        generation: if open { small(generation.0) } else { 0 },
        fence: number(*fence),
        failures: if open { small((*failures).into()) } else { 0 },
        crashes: if open { small((*crashes).into()) } else { 0 },
        holder,
        due: due.is_some(),
        cancel: open && cancel.is_some(),
        outbox: outbox.is_some(),
        kinds: if open { small(kinds.of(KIND).into()) } else { 0 },
        until: match retry_until.filter(|_| open) {
            None => Until::Never,
            Some(until) if until < NOW_MS => Until::Over,
            Some(_) => Until::Ahead,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slim_record_becomes_the_same_record_again() {
        let records = Records::new(1, 3);
        let holder = Holder { instance: 1, incarnation: 2, nonce: 1 };
        let mut record = records.admit(Start::Now);
        let claim = records.claim(holder, 1, 4, false);
        let fence_of = |answer| if let Answer::Run { fence, .. } = answer { Some(number(fence)) } else { None };
        assert_eq!(fence_of(records.apply(&mut record, 0, &claim)), Some(5), "above the floor");
        assert_eq!(record.holder, Some(holder));
        assert_eq!(slim(&records.full(&record)), record);
        assert_eq!(fence_of(records.apply(&mut record, 5, &claim)), Some(5), "the same delivery again");
        assert!(matches!(
            records.apply(&mut record, 5, &Event::LeaseGone { alone: false }),
            Answer::Moved { state: State::Queued }
        ));
        assert_eq!((record.fence, record.generation, record.crashes, record.holder), (6, 2, 1, None));
        assert_eq!(slim(&records.full(&record)), record);
        let counted = Slim { kinds: 2, until: Until::Ahead, ..record };
        assert_eq!(slim(&records.full(&counted)), counted);
        let late = Slim { until: Until::Over, ..record };
        assert_eq!(slim(&records.full(&late)), late);
        let record = records.admit(Start::After(LATER_MS));
        assert!(record.due && !record.outbox);
        assert_eq!(slim(&records.full(&record)), record);
    }
}
