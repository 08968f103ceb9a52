//! The state machine: the one function that changes a job's state.
//!
//! The embedded store calls [`transition`]; the scripts of the Redis store repeat it, and tests hold
//! both against it. It is pure: the record and the time go in, the answer comes out, and a refused
//! event leaves the record as it was.
//!
//! ```text
//!   (none) ── admit ──> queued | scheduled
//!   scheduled, retrying ── Promote ──> queued            (generation + 1, into the outbox)
//!   any not ended ── Adopt ──> active                    (only where the store lost writes; the attempt's own fence)
//!   queued ── Claim ──> active                           (fence grows, attempts + 1)
//!   queued ── Block ──> blocked                         (a gate does not let it pass)
//!   blocked ── Release ──> queued                       (generation + 1, into the outbox)
//!   active ── Finish ──> succeeded | error | given_up | stopped | retrying | scheduled | queued
//!   active ── Complete ──> as Finish                       (by whoever has the attempt's token)
//!   queued ── Claim ──> given_up                        (its time for retries is over)
//!   active ── LeaseGone ──> queued | given_up | stopped  (crashes + 1, fence grows)
//!   queued after a second crash ── Claim ──> active      (only by an instance that runs nothing else meanwhile)
//!   queued ── Republish ──> queued                       (the same generation, into the outbox)
//!   any waiting ── Stop ──> stopped        active ── Stop ──> active, asked to stop
//!   any not ended ── Remove ──> dropped    queued, scheduled, blocked ── Expire ──> dropped
//!   any that waits ── Displace ──> dropped               blocked ── Skip ──> dropped
//!   blocked ── Replace ──> dropped                        scheduled, blocked, queued ── Supersede ──> the same state
//! ```
//!
//! A fence that equals the record's while the job is no longer active means that this very attempt
//! ended it: whoever takes an attempt away (rescue, removal) makes the fence grow. That is how a
//! repeated [`Event::Finish`], whose first answer was lost, is told from a stale one.

use crate::id::{Fence, Generation, Owner};
use crate::kind::KindCounts;
use crate::limits;
use crate::record::{Crash, PastAttempt, Reason, Record, State, WaitsAt};
use crate::retry;

/// Something that happens to a job. The letters are those of the protocol's transitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// T4: a publish for this generation was confirmed.
    Published {
        /// The generation that was published.
        generation: Generation,
    },
    /// T5: a consumer holds a delivery and has a free slot.
    Claim {
        /// Who claims.
        owner: Owner,
        /// Identifies the delivery: repeating the claim with the same one answers the same.
        nonce: String,
        /// What the copy carries; zero when it carries none.
        generation: Generation,
        /// The fence that the copy carries, so that fences grow across a wiped store.
        floor: Fence,
        /// Length of the lease, ms.
        lease_ms: u64,
        /// Whether nothing else will run in the owner's process, for now.
        alone: bool,
    },
    /// T7b: the store lost what it knew of a running attempt, or knows only an older state of the job; the attempt goes
    /// on under the fence that it has.
    Adopt {
        /// Who runs it.
        owner: Owner,
        /// The delivery under which it was claimed.
        nonce: String,
        /// The attempt's fence.
        fence: Fence,
        /// The generation that was claimed.
        generation: Generation,
        /// What the claim answered.
        attempt: u32,
        /// What the claim answered.
        failures: u32,
        /// What the claim answered.
        crashes: u32,
        /// Length of the lease from now, ms.
        lease_ms: u64,
    },
    /// T7: the owner is alive.
    Renew {
        /// The attempt's fence.
        fence: Fence,
        /// Length of the lease from now, ms.
        lease_ms: u64,
    },
    /// T8 to T11: the attempt ended with a verdict.
    Finish {
        /// The attempt's fence.
        fence: Fence,
        /// How it ended.
        verdict: Verdict,
    },
    /// T8 to T10, from outside: somebody who was given the attempt's token says how it ended (S07).
    Complete {
        /// The attempt's fence.
        fence: Fence,
        /// The delivery under which it was claimed: what only a token of it tells.
        nonce: String,
        /// Identifies this completion: repeating it with the same one answers the same.
        mark: String,
        /// How it ended.
        verdict: Verdict,
    },
    /// T12: somebody saw that the lease ended.
    LeaseGone {
        /// Whether the owner is silent and nothing else ran in its process.
        alone: bool,
    },
    /// T13: somebody saw that the job is due.
    Promote,
    /// T15, T16: somebody wants it stopped.
    Stop {
        /// Who and why, for people.
        by: String,
    },
    /// Somebody wants it gone, running or not (J12).
    Remove,
    /// T20: somebody saw that it was not started in time.
    Expire,
    /// A gate does not let it pass: it was to be queued, or is, and waits in the store instead.
    Block {
        /// `order`, `limit` or `paused`.
        reason: Reason,
        /// Where it waits.
        at: WaitsAt,
    },
    /// T14: every gate let it pass.
    Release,
    /// A newer job took its place in the line of a limit.
    Replace,
    /// A newer job took its place in a queue that is full.
    Displace,
    /// A job before it in its order failed for good.
    Skip {
        /// Which one, for people.
        why: String,
    },
    /// A second job of its unique key replaced its payload before it started.
    Supersede {
        /// When it is to start, ms from now, where it waits for its time.
        delay_ms: Option<u64>,
    },
    /// Somebody saw that the broker holds fewer copies than there are jobs queued: it goes back into the outbox, unless
    /// a copy of it was confirmed not long ago.
    Republish {
        /// How long ago the last confirm must be, ms; longer each time ([`republish_after_ms`]).
        patience_ms: u64,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Succeeded {
        /// What the handler said.
        message: Option<String>,
    },
    /// Failed; try again after the delay if retries are left (0: at once).
    Failed {
        /// Back-off, ms.
        delay_ms: u64,
        /// What went wrong.
        error: String,
        /// What holds for this failure beside the job's retries.
        terms: FailureTerms,
    },
    /// Failed for good.
    Fatal {
        /// `permanent`, `panicked`, `unreadable_payload` or `bad_result`.
        reason: Reason,
        /// What went wrong.
        error: String,
    },
    /// Given back without a verdict, charged to nobody.
    Released {
        /// When to run it again, ms from now (0: at once).
        delay_ms: u64,
        /// `interrupted`, `snoozed` or `files`.
        reason: Reason,
        /// Why, for people.
        message: String,
    },
}

/// What holds for a failure beside the retries of its job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FailureTerms {
    /// Its kind, where somebody named one.
    pub kind: Option<String>,
    /// Failures of this kind that are allowed before the last one, where a rule says so; -1 without end.
    pub retries: Option<i32>,
    /// How long after the start of the first attempt that failed another may begin, ms.
    pub retry_for_ms: Option<u64>,
}

impl Verdict {
    /// Failed, with nothing but the job's own retries to hold for it.
    #[must_use]
    pub fn failed(delay_ms: u64, error: impl Into<String>) -> Self {
        Self::Failed { delay_ms, error: error.into(), terms: FailureTerms::default() }
    }
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Claim: run it under this fence.
    Run {
        /// Demanded by every write of the attempt.
        fence: Fence,
        /// Number of the attempt, from 1.
        attempt: u32,
        /// Failures before it.
        failures: u32,
        /// Failures before it that have retries of their own, by kind.
        kinds: KindCounts,
        /// Crashes before it.
        crashes: u32,
        /// Whether one more failure ends the job: its retries are used up.
        last: bool,
    },
    /// Claim: somebody else runs it.
    Busy {
        /// Until their lease ends, ms.
        lease_left_ms: u64,
    },
    /// Claim: it waits in the store.
    Waiting {
        /// For what.
        state: State,
        /// Until when, ms from now, where a time is known.
        left_ms: Option<u64>,
    },
    /// Claim: its processes went away so often that it runs alone only, and the claim did not offer that.
    Elsewhere {
        /// How often.
        crashes: u32,
    },
    /// Claim: the copy is older than the record.
    Outdated {
        /// Whether the broker confirmed a newer copy. If not, the newer one is only in the outbox, and this one may be
        /// all that is left of the job when the store is wiped.
        replaced: bool,
    },
    /// The job has ended (Claim, Stop, Expire), by this event or before.
    Ended {
        /// How.
        state: State,
    },
    /// Renew: the lease is renewed.
    Renewed {
        /// Who asked the attempt to stop, if anybody did.
        cancel: Option<String>,
    },
    /// The event changed the state (Finish, `LeaseGone`, Promote, Stop, Remove, Expire) or the outbox (Published,
    /// Republish).
    Moved {
        /// The state now.
        state: State,
    },
    /// Finish, Complete: this very attempt ended before, with the first of two equal calls.
    Already {
        /// The state now.
        state: State,
    },
    /// Renew, Finish: the fence is newer than the record: the store lost writes. [`Event::Adopt`] first.
    Behind {
        /// The state that the store knows.
        state: State,
    },
    /// Renew, Finish, Adopt, Complete: the fence is not the current one; the attempt was taken away. Complete: or it
    /// ended otherwise.
    Stale {
        /// The state now.
        state: State,
    },
    /// Stop: the running attempt is asked; its next renewal will hear it.
    Asked,
    /// Remove: the job had ended; its record may go and a tombstone takes its place.
    Purge,
    /// The guard did not hold (not due, lease alive, another generation): nothing happened.
    Nothing,
}

/// Applies an event to a record at a time (microseconds of the store's clock since 1970).
///
/// Answers what came of it and, where the event ended an attempt, how that attempt is to be remembered.
pub fn transition(record: &mut Record, now_us: u64, event: &Event) -> (Answer, Option<PastAttempt>) {
    let now = now_us / 1_000;
    match event {
        Event::Published { generation } => {
            if record.state == State::Queued && record.generation == *generation {
                record.outbox = None;
                record.published = Some(now);
                return (Answer::Moved { state: State::Queued }, None);
            }
            (Answer::Nothing, None)
        }
        Event::Claim { owner, nonce, generation, floor, lease_ms, alone } => {
            let copy = Copy { owner, nonce, generation: *generation, floor: *floor, alone: *alone };
            (claim(record, now_us, &copy, *lease_ms), None)
        }
        Event::Adopt { .. } => (adopt(record, now, event), None),
        Event::Renew { fence, lease_ms } => {
            if record.state == State::Active && record.fence == *fence {
                record.lease = Some(now + lease_ms);
                (Answer::Renewed { cancel: record.cancel.clone() }, None)
            } else if is_behind(record, *fence) {
                (Answer::Behind { state: record.state }, None)
            } else {
                (Answer::Stale { state: record.state }, None)
            }
        }
        Event::Finish { fence, verdict } => finish(record, now, *fence, verdict),
        Event::Complete { fence, nonce, mark, verdict } => complete(record, now, *fence, nonce, mark, verdict),
        Event::LeaseGone { alone } => lease_gone(record, now_us, *alone),
        Event::Promote => {
            if record.state.waits_for_time() && record.due.is_some_and(|due| due <= now) {
                let reason = record.reason.filter(|reason| *reason == Reason::Failed);
                enter_queued(record, now, reason, limits::OUTBOX_GRACE_MS);
                return (Answer::Moved { state: State::Queued }, None);
            }
            (Answer::Nothing, None)
        }
        Event::Stop { by } => match record.state {
            State::Active => {
                record.cancel.get_or_insert_with(|| by.clone());
                (Answer::Asked, None)
            }
            state if state.is_terminal() => (Answer::Ended { state }, None),
            _ => {
                record.message = Some(by.clone());
                end(record, now, State::Stopped, Some(Reason::StopRequested));
                (Answer::Moved { state: State::Stopped }, None)
            }
        },
        Event::Remove => {
            if record.state.is_terminal() {
                return (Answer::Purge, None);
            }
            let past = (record.state == State::Active).then(|| {
                take_away(record, now_us);
                past_attempt(record, now, "removed", None)
            });
            end(record, now, State::Dropped, Some(Reason::Removed));
            (Answer::Moved { state: State::Dropped }, past)
        }
        Event::Expire => {
            if record.state.may_expire() && record.is_expired(now) {
                end(record, now, State::Dropped, Some(Reason::Expired));
                return (Answer::Moved { state: State::Dropped }, None);
            }
            (Answer::Nothing, None)
        }
        Event::Block { reason, at } => {
            if !matches!(record.state, State::Queued | State::Blocked) {
                return (Answer::Nothing, None);
            }
            record.state = State::Blocked;
            record.reason = Some(*reason);
            record.since = now;
            leave_queued(record);
            record.waits_at = Some(at.clone());
            (Answer::Moved { state: State::Blocked }, None)
        }
        Event::Release => {
            if record.state != State::Blocked {
                return (Answer::Nothing, None);
            }
            enter_queued(record, now, None, 0);
            (Answer::Moved { state: State::Queued }, None)
        }
        Event::Replace => {
            if record.state != State::Blocked {
                return (Answer::Nothing, None);
            }
            end(record, now, State::Dropped, Some(Reason::Replaced));
            (Answer::Moved { state: State::Dropped }, None)
        }
        Event::Displace => {
            if record.state == State::Active || record.state.is_terminal() {
                return (Answer::Nothing, None);
            }
            end(record, now, State::Dropped, Some(Reason::Displaced));
            (Answer::Moved { state: State::Dropped }, None)
        }
        Event::Skip { why } => {
            if record.state != State::Blocked {
                return (Answer::Nothing, None);
            }
            record.message = Some(why.clone());
            end(record, now, State::Dropped, Some(Reason::Skipped));
            (Answer::Moved { state: State::Dropped }, None)
        }
        Event::Supersede { delay_ms } => {
            match (record.state, delay_ms) {
                (State::Scheduled, Some(delay_ms)) => record.due = Some(now + delay_ms),
                (State::Scheduled | State::Blocked, _) => {}
                // The broker holds the old payload: its copy is made out of date.
                (State::Queued, _) => enter_queued(record, now, record.reason, limits::OUTBOX_GRACE_MS),
                _ => return (Answer::Nothing, None),
            }
            (Answer::Moved { state: record.state }, None)
        }
        Event::Republish { patience_ms } => {
            let rest = republish_after_ms(record.republished, *patience_ms);
            let lost = record.state == State::Queued
                && record.outbox.is_none()
                && record.published.unwrap_or(record.since) + rest <= now;
            if lost {
                record.outbox = Some(now);
                record.republished += 1;
                return (Answer::Moved { state: State::Queued }, None);
            }
            (Answer::Nothing, None)
        }
    }
}

/// How long after the last confirm a queued job may be published again for a lost copy, ms: `patience_ms` at first, then
/// 1, 2, 4 … 60 minutes, so that a copy that is only out of sight is doubled a few times at most.
#[must_use]
pub fn republish_after_ms(republished: u32, patience_ms: u64) -> u64 {
    match republished {
        0 => patience_ms,
        more => (60_000 << (more - 1).min(6)).min(limits::REPUBLISH_MS).max(patience_ms),
    }
}

struct Copy<'a> {
    owner: &'a Owner,
    nonce: &'a str,
    generation: Generation,
    floor: Fence,
    alone: bool,
}

fn claim(record: &mut Record, now_us: u64, copy: &Copy<'_>, lease_ms: u64) -> Answer {
    let now = now_us / 1_000;
    if record.state.is_terminal() {
        return Answer::Ended { state: record.state };
    }
    if record.is_outdated(copy.generation) {
        let replaced = record.state != State::Queued || record.outbox.is_none();
        return Answer::Outdated { replaced };
    }
    match record.state {
        State::Queued if record.is_expired(now) => {
            end(record, now, State::Dropped, Some(Reason::Expired));
            return Answer::Ended { state: State::Dropped };
        }
        State::Queued if record.is_over_time(now) => {
            end(record, now, State::GivenUp, Some(Reason::RetryTimeOver));
            return Answer::Ended { state: State::GivenUp };
        }
        State::Queued if record.is_suspect() && !copy.alone => {
            return Answer::Elsewhere { crashes: record.crashes };
        }
        State::Queued => {}
        State::Active if record.owner.as_ref() == Some(copy.owner) && record.nonce == copy.nonce => {
            return run_answer(record);
        }
        State::Active => {
            return Answer::Busy { lease_left_ms: record.lease.unwrap_or(now).saturating_sub(now) };
        }
        state => {
            return Answer::Waiting { state, left_ms: record.due.map(|due| due.saturating_sub(now)) };
        }
    }
    record.generation = record.generation.max(copy.generation);
    record.fence = Fence((record.fence.0 + 1).max(copy.floor.0 + 1).max(now_us));
    record.attempts += 1;
    run(record, copy.owner, copy.nonce, now, lease_ms)
}

/// The current attempt runs under a lease of this owner.
fn run(record: &mut Record, owner: &Owner, nonce: &str, now: u64, lease_ms: u64) -> Answer {
    record.state = State::Active;
    record.reason = None;
    record.owner = Some(owner.clone());
    nonce.clone_into(&mut record.nonce);
    record.since = now;
    record.started = Some(now);
    record.lease = Some(now + lease_ms);
    record.due = None;
    record.message = None;
    leave_queued(record);
    run_answer(record)
}

/// Whether the attempt of this fence began after everything that the record knows. Whoever takes an attempt away makes
/// the record's fence grow, so only a store that lost writes can be behind.
const fn is_behind(record: &Record, fence: Fence) -> bool {
    record.fence.0 < fence.0 && !record.state.is_terminal()
}

fn adopt(record: &mut Record, now: u64, event: &Event) -> Answer {
    let Event::Adopt { owner, nonce, fence, generation, attempt, failures, crashes, lease_ms } = event else {
        return Answer::Nothing;
    };
    if record.state.is_terminal() {
        return Answer::Ended { state: record.state };
    }
    if !is_behind(record, *fence) {
        let again = record.state == State::Active && record.fence == *fence && record.owner.as_ref() == Some(owner);
        return if again { run_answer(record) } else { Answer::Stale { state: record.state } };
    }
    record.fence = *fence;
    record.generation = record.generation.max(*generation);
    record.attempts = record.attempts.max(*attempt);
    record.failures = record.failures.max(*failures);
    record.crashes = record.crashes.max(*crashes);
    run(record, owner, nonce, now, *lease_ms)
}

fn run_answer(record: &Record) -> Answer {
    Answer::Run {
        fence: record.fence,
        attempt: record.attempts,
        failures: record.failures,
        kinds: record.kinds.clone(),
        crashes: record.crashes,
        last: retry::exhausted(record.failures + 1, record.max_retries),
    }
}

fn finish(record: &mut Record, now: u64, fence: Fence, verdict: &Verdict) -> (Answer, Option<PastAttempt>) {
    if is_behind(record, fence) {
        return (Answer::Behind { state: record.state }, None);
    }
    if record.fence != fence {
        return (Answer::Stale { state: record.state }, None);
    }
    if record.state != State::Active {
        return (Answer::Already { state: record.state }, None);
    }
    let stopping = record.cancel.is_some();
    let mut past = None;
    match verdict {
        Verdict::Succeeded { message } => {
            record.message.clone_from(message);
            end(record, now, State::Succeeded, None);
        }
        Verdict::Failed { error, .. } | Verdict::Fatal { error, .. } if stopping => {
            past = Some(past_attempt(record, now, "stopped", Some(error)));
            record.message = Some(error.clone());
            end(record, now, State::Stopped, Some(Reason::StopRequested));
        }
        Verdict::Released { message, .. } if stopping => {
            past = Some(past_attempt(record, now, "stopped", Some(message)));
            record.message = Some(message.clone());
            end(record, now, State::Stopped, Some(Reason::StopRequested));
        }
        Verdict::Failed { delay_ms, error, terms } => {
            let attempt = past_attempt(record, now, "failed", Some(error));
            past = Some(PastAttempt { kind: terms.kind.clone(), ..attempt });
            record.message = Some(error.clone());
            if let Some(spent) = charge(record, now, *delay_ms, terms) {
                end(record, now, State::GivenUp, Some(spent));
            } else if *delay_ms == 0 {
                enter_queued(record, now, Some(Reason::Failed), limits::OUTBOX_GRACE_MS);
            } else {
                wait_until(record, now, State::Retrying, Reason::Failed, *delay_ms);
            }
        }
        Verdict::Fatal { reason, error } => {
            past = Some(past_attempt(record, now, "error", Some(error)));
            record.message = Some(error.clone());
            end(record, now, State::Error, Some(*reason));
        }
        Verdict::Released { delay_ms, reason, message } => {
            past = Some(past_attempt(record, now, reason.as_str(), Some(message)));
            record.message = Some(message.clone());
            if *delay_ms == 0 {
                enter_queued(record, now, Some(*reason), limits::OUTBOX_GRACE_MS);
            } else {
                wait_until(record, now, State::Scheduled, *reason, *delay_ms);
            }
        }
    }
    (Answer::Moved { state: record.state }, past)
}

/// Counts a failure against what it is to be counted against. Answers what is used up by it, if anything is.
fn charge(record: &mut Record, now: u64, delay_ms: u64, terms: &FailureTerms) -> Option<Reason> {
    if let (None, Some(span)) = (record.retry_until, terms.retry_for_ms) {
        record.retry_until = Some(record.started.unwrap_or(now) + span);
    }
    let ruled = terms.kind.as_deref().zip(terms.retries);
    // Of too many kinds the last ones are failures as others are.
    let spent = match ruled.and_then(|(kind, retries)| Some((record.kinds.add(kind)?, retries))) {
        Some((count, retries)) => retry::exhausted(count, retries).then_some(Reason::KindRetriesExhausted),
        None => {
            record.failures += 1;
            retry::exhausted(record.failures, record.max_retries).then_some(Reason::RetriesExhausted)
        }
    };
    spent.or_else(|| record.is_over_time(now + delay_ms).then_some(Reason::RetryTimeOver))
}

/// The end of an attempt by its token. The mark takes the place of the nonce, which nobody needs any more: so a repeated
/// completion is told from a second one.
fn complete(
    record: &mut Record,
    now: u64,
    fence: Fence,
    nonce: &str,
    mark: &str,
    verdict: &Verdict,
) -> (Answer, Option<PastAttempt>) {
    if record.fence == fence && record.state != State::Active && record.nonce != mark {
        return (Answer::Stale { state: record.state }, None);
    }
    if record.fence == fence && record.state == State::Active && record.nonce != nonce {
        return (Answer::Nothing, None);
    }
    let (answer, past) = finish(record, now, fence, verdict);
    if matches!(answer, Answer::Moved { .. }) {
        mark.clone_into(&mut record.nonce);
    }
    (answer, past)
}

/// What is said of an attempt whose process went away, and of one that was alone in it.
const GONE: &str = "its process went away without a verdict";
const GONE_ALONE: &str = "its process went away without a verdict, and nothing else ran there";

/// How long after a crash the job may be published again: at once after the first, then 1, 5 and 30 seconds.
#[must_use]
pub fn crash_backoff_ms(crashes: u32) -> u64 {
    match crashes {
        0 | 1 => 0,
        2 => 1_000,
        3 => 5_000,
        _ => 30_000,
    }
}

fn lease_gone(record: &mut Record, now_us: u64, alone: bool) -> (Answer, Option<PastAttempt>) {
    let now = now_us / 1_000;
    if record.state != State::Active || record.lease.is_some_and(|lease| lease > now) {
        return (Answer::Nothing, None);
    }
    take_away(record, now_us);
    record.crashes += 1;
    let error = if alone { GONE_ALONE } else { GONE };
    let mut past = past_attempt(record, now, "crashed", Some(error));
    let incarnation = record.owner.as_ref().map(|owner| owner.incarnation.0.clone()).unwrap_or_default();
    past.crash = Some(Crash { incarnation, alone, beside: 0, neighbours: Vec::new(), progress: None });
    record.message = Some(error.to_owned());
    if record.cancel.is_some() {
        end(record, now, State::Stopped, Some(Reason::StopRequested));
    } else if alone && record.crashes >= record.max_crashes {
        end(record, now, State::GivenUp, Some(Reason::Poison));
    } else if record.crashes >= record.max_crashes.max(limits::SHARED_CRASHES) {
        end(record, now, State::GivenUp, Some(Reason::CrashesExhausted));
    } else {
        // The rescuer publishes a first crash itself, at once; the relay is its net.
        let wait = crash_backoff_ms(record.crashes).max(limits::OUTBOX_GRACE_MS * u64::from(record.crashes <= 1));
        enter_queued(record, now, Some(Reason::Crashed), wait);
    }
    (Answer::Moved { state: record.state }, Some(past))
}

/// Makes the fence grow, so that the attempt that held it can change nothing any more.
fn take_away(record: &mut Record, now_us: u64) {
    record.fence = Fence((record.fence.0 + 1).max(now_us));
}

fn past_attempt(record: &Record, now: u64, outcome: &str, error: Option<&str>) -> PastAttempt {
    PastAttempt {
        number: record.attempts,
        instance: record.owner.as_ref().map(|owner| owner.instance.0.clone()).unwrap_or_default(),
        started: record.started.unwrap_or(now),
        ended: now,
        outcome: outcome.to_owned(),
        error: error.map(ToOwned::to_owned),
        kind: None,
        crash: None,
    }
}

fn enter_queued(record: &mut Record, now: u64, reason: Option<Reason>, outbox_ms: u64) {
    record.state = State::Queued;
    record.reason = reason;
    record.generation = Generation(record.generation.0 + 1);
    record.since = now;
    record.due = None;
    record.lease = None;
    leave_queued(record);
    record.outbox = Some(now + outbox_ms);
}

/// What only a queued or blocked job has goes.
fn leave_queued(record: &mut Record) {
    record.outbox = None;
    record.published = None;
    record.republished = 0;
    record.waits_at = None;
}

fn wait_until(record: &mut Record, now: u64, state: State, reason: Reason, delay_ms: u64) {
    record.state = state;
    record.reason = Some(reason);
    record.since = now;
    record.due = Some(now + delay_ms);
    record.lease = None;
    leave_queued(record);
}

fn end(record: &mut Record, now: u64, state: State, reason: Option<Reason>) {
    record.state = state;
    record.reason = reason;
    record.since = now;
    record.finished = Some(now);
    record.due = None;
    record.lease = None;
    leave_queued(record);
}

#[cfg(test)]
mod tests;
