//! The state machine: every event in every state as a table, stories of single jobs, and what holds for all stories.

mod stories;
mod table;
mod walks;

use super::*;
use crate::gate::{GateName, Gates};
use crate::id::{Incarnation, InstanceId, JobId};
use crate::record::{Admission, Start};
use crate::topic::Topic;

/// The start of every test, microseconds.
const NOW_US: u64 = 1_763_719_000_000_000;
const NOW: u64 = NOW_US / 1_000;
const LEASE: u64 = 10_000;

/// A place to wait at.
fn line() -> WaitsAt {
    WaitsAt { gate: GateName::order("main", "k"), turn: String::new() }
}

fn owner(name: &str) -> Owner {
    Owner { instance: InstanceId(name.into()), incarnation: Incarnation(format!("{name}-1")) }
}

fn admitted(max_retries: i32) -> Record {
    let admission = Admission {
        id: JobId::new(1, [1; 16], 0),
        topic: Topic::new("a/b").unwrap(),
        queue: "main".into(),
        start: Start::Now,
        max_retries,
        max_crashes: 3,
        expires: None,
        gates: Gates::default(),
        site: None,
        unique: None,
    };
    Record::admit(&admission, NOW)
}

fn claim_event(record: &Record, name: &str, nonce: &str) -> Event {
    Event::Claim {
        owner: owner(name),
        nonce: nonce.into(),
        generation: record.generation,
        floor: Fence(0),
        lease_ms: LEASE,
        alone: true,
    }
}

fn finish_event(fence: Fence, verdict: Verdict) -> Event {
    Event::Finish { fence, verdict }
}

fn failed(delay_ms: u64) -> Verdict {
    Verdict::failed(delay_ms, "no")
}

fn fatal(reason: Reason) -> Verdict {
    Verdict::Fatal { reason, error: "never".into() }
}

fn released(delay_ms: u64, reason: Reason) -> Verdict {
    Verdict::Released { delay_ms, reason, message: "later".into() }
}

fn succeeded() -> Verdict {
    Verdict::Succeeded { message: None }
}
