//! The conservation ledger: that every accepted job has ended, waits or runs.
//!
//! The store counts what comes in and how it ends, and keeps an index of the jobs in each state. The counters and the
//! indexes are written by the same steps and read at one moment, so that they must agree to the job: a difference (a
//! drift) means that a job is nowhere, or in two places. A store that lost everything counts from zero again.

use crate::record::State;
use crate::topic::Topic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// What to do about a drift.
pub const ADVICE: &str = "a job is in no place, or in two: either somebody wrote to the store from outside, or this is \
    a fault of Longshore. Keep a backup of the store as it is now, look for the job with `longshore job list` by this \
    topic or state, send it again under another id if it is missing, and report what the ledger says";

/// What the store counted, and what it holds, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// One account for each topic that ever had a job.
    pub topics: BTreeMap<Topic, Account>,
    /// How many jobs the index of each state holds.
    pub indexed: BTreeMap<State, u64>,
    /// How many jobs the index of those that have not ended holds.
    pub open: u64,
    /// How many queued jobs wait in the outbox: the broker has not confirmed them yet.
    pub outbox: u64,
}

/// What was counted for one topic. Counters can be negative only when something is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Jobs accepted: sent, followed up, or made from a message that the store did not know.
    pub accepted: i64,
    /// Jobs in each state now; in terminal states, those that are still in the history.
    pub now: BTreeMap<State, i64>,
    /// Jobs that ended so and were purged or removed from the history.
    pub forgotten: BTreeMap<State, i64>,
    /// How many jobs the index of the topic holds, ended ones included.
    pub indexed: u64,
}

/// An account in the terms of the equation: accepted = succeeded + failed + stopped + dropped + waiting + active + drift.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// Jobs accepted.
    pub accepted: i64,
    /// Ended well.
    pub succeeded: i64,
    /// Ended as `error` or `given_up`.
    pub failed: i64,
    /// Ended because somebody stopped them.
    pub stopped: i64,
    /// Ended because they were removed, or not started in time.
    pub dropped: i64,
    /// Scheduled, queued, retrying or blocked.
    pub waiting: i64,
    /// Running.
    pub active: i64,
    /// What is missing (positive) or too much (negative).
    pub drift: i64,
}

/// A disagreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Of what: a topic, a state, or the index of open jobs.
    pub place: String,
    /// What the counters say.
    pub counted: i64,
    /// What is there.
    pub found: i64,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} counted, {} found", self.place, self.counted, self.found)
    }
}

impl Account {
    /// Jobs that came into this state and are in it, or were forgotten from it.
    #[must_use]
    pub fn of(&self, state: State) -> i64 {
        let count = |of: &BTreeMap<State, i64>| of.get(&state).copied().unwrap_or_default();
        count(&self.now) + count(&self.forgotten)
    }

    /// The terms of the equation.
    #[must_use]
    pub fn sums(&self) -> Sums {
        let mut sums = Sums { accepted: self.accepted, ..Sums::default() };
        for state in State::ALL {
            let count = self.of(state);
            *match state {
                State::Scheduled | State::Blocked | State::Queued | State::Retrying => &mut sums.waiting,
                State::Active => &mut sums.active,
                State::Succeeded => &mut sums.succeeded,
                State::Error | State::GivenUp => &mut sums.failed,
                State::Stopped => &mut sums.stopped,
                State::Dropped => &mut sums.dropped,
            } += count;
            sums.drift -= count;
        }
        sums.drift += sums.accepted;
        sums
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.stopped += other.stopped;
        self.dropped += other.dropped;
        self.waiting += other.waiting;
        self.active += other.active;
        self.drift += other.drift;
    }
}

impl Ledger {
    /// The sums of all topics.
    #[must_use]
    pub fn total(&self) -> Sums {
        let mut total = Sums::default();
        for account in self.topics.values() {
            total += account.sums();
        }
        total
    }

    /// Queued jobs of which the broker should hold a copy: all but those in the outbox.
    #[must_use]
    pub fn published(&self) -> i64 {
        let queued = self.topics.values().map(|account| account.of(State::Queued)).sum::<i64>();
        queued - signed(self.outbox)
    }

    /// Every disagreement. None: the ledger is in balance.
    #[must_use]
    pub fn drifts(&self) -> Vec<Drift> {
        let mut drifts = Vec::new();
        let mut compare = |place: String, counted: i64, found: i64| {
            if counted != found {
                drifts.push(Drift { place, counted, found });
            }
        };
        let mut states: BTreeMap<State, i64> = State::ALL.into_iter().map(|state| (state, 0)).collect();
        for (topic, account) in &self.topics {
            let sums = account.sums();
            compare(format!("jobs accepted for {topic}"), sums.accepted, sums.accepted - sums.drift);
            compare(format!("jobs of {topic}"), account.now.values().sum(), signed(account.indexed));
            for (state, count) in &account.now {
                *states.entry(*state).or_default() += count;
            }
            for (state, count) in account.forgotten.iter().filter(|(state, _)| !state.is_terminal()) {
                compare(format!("jobs of {topic} forgotten while {state}"), *count, 0);
            }
        }
        let open = states.iter().filter(|(state, _)| !state.is_terminal()).map(|(_, count)| count).sum();
        compare("jobs that have not ended".into(), open, signed(self.open));
        for (state, count) in states {
            compare(format!("{state} jobs"), count, signed(self.indexed.get(&state).copied().unwrap_or_default()));
        }
        drifts
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One job waits, one ended and is kept, one ended and was forgotten.
    fn balanced() -> Ledger {
        let account = Account {
            accepted: 3,
            now: [(State::Queued, 1), (State::Succeeded, 1)].into(),
            forgotten: [(State::GivenUp, 1)].into(),
            indexed: 2,
        };
        Ledger {
            topics: [(Topic::new("a/b").unwrap(), account)].into(),
            indexed: [(State::Queued, 1), (State::Succeeded, 1)].into(),
            open: 1,
            outbox: 1,
        }
    }

    #[test]
    fn what_came_in_is_what_ended_waits_and_runs() {
        let ledger = balanced();
        assert_eq!(ledger.drifts(), []);
        let sums = Sums { accepted: 3, succeeded: 1, failed: 1, waiting: 1, ..Sums::default() };
        assert_eq!(ledger.total(), sums);
        assert_eq!(ledger.published(), 0);
    }

    #[test]
    fn each_disagreement_is_named() {
        let topic = Topic::new("a/b").unwrap();
        let broken = |change: fn(&mut Ledger, &Topic), expected: &[&str]| {
            let mut ledger = balanced();
            change(&mut ledger, &topic);
            let found: Vec<String> = ledger.drifts().iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        broken(
            |ledger, topic| ledger.topics.get_mut(topic).unwrap().accepted = 4,
            &["jobs accepted for a/b: 4 counted, 3 found"],
        );
        broken(|ledger, topic| ledger.topics.get_mut(topic).unwrap().indexed = 1, &["jobs of a/b: 2 counted, 1 found"]);
        broken(|ledger, _| ledger.open = 2, &["jobs that have not ended: 1 counted, 2 found"]);
        broken(|ledger, _| ledger.indexed = [(State::Succeeded, 1)].into(), &["queued jobs: 1 counted, 0 found"]);
        broken(
            |ledger, topic| {
                let account = ledger.topics.get_mut(topic).unwrap();
                account.forgotten = [(State::Queued, 1)].into();
            },
            &["jobs of a/b forgotten while queued: 1 counted, 0 found"],
        );
    }
}
