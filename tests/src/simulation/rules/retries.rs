//! Retries by kind of error and by time: a job fails as often in one way as the rule for it says, then no more, and
//! begins no attempt after its time.
//!
//! Handlers of such a load say the kind of their failure also as its text, so that nothing of what the store counts
//! is believed.

use super::judge::{Findings, Step};
use longshore_model::JobId;
use longshore_model::record::{Reason, Record, State};
use std::collections::BTreeMap;

/// What holds for the failures of a job.
#[derive(Debug, Clone, Default)]
pub(super) struct Terms {
    /// Of all kinds that have no rule together.
    pub(super) retries: u32,
    /// By kind.
    pub(super) kinds: BTreeMap<&'static str, u32>,
    /// How long after the begin of the first attempt that failed another one may begin.
    pub(super) retry_for_ms: Option<u64>,
}

/// What is known of failures.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<JobId, Job>);

#[derive(Debug, Default)]
struct Job {
    terms: Terms,
    /// Failures, by kind; those without a rule under an empty one.
    failures: BTreeMap<&'static str, u32>,
    /// When the first attempt that failed began.
    first: Option<u64>,
}

impl Retries {
    /// A job is sent, perhaps again: it may have failed already.
    pub(super) fn asked(&mut self, id: JobId, terms: Terms) {
        self.0.entry(id).or_insert_with(|| Job { terms, ..Job::default() });
    }

    pub(super) fn look(&mut self, step: &Step<'_>, found: &mut Findings) {
        for (before, after) in step.moves() {
            let (Some(before), Some(job)) = (before, self.0.get_mut(&after.id)) else { continue };
            let over = job.first.zip(job.terms.retry_for_ms).map(|(first, span)| first + span);
            if after.attempts > before.attempts && over.is_some_and(|over| after.started > Some(over)) {
                found.wrong(format!("job {} began after its time for retries, {over:?}: {after:?}", after.id));
            }
            let failed = matches!(
                after.reason,
                Some(Reason::Failed | Reason::RetriesExhausted | Reason::KindRetriesExhausted | Reason::RetryTimeOver)
            );
            if before.state == State::Active && failed {
                job.failed(before, after, found);
            } else if after.reason == Some(Reason::RetryTimeOver) && before.reason != after.reason {
                found.count("a time for retries over");
                if over.is_none() {
                    found.wrong(format!("job {} has no time for retries that could be over: {after:?}", after.id));
                }
            }
        }
    }
}

impl Job {
    fn failed(&mut self, before: &Record, after: &Record, found: &mut Findings) {
        let said = after.message.as_deref().unwrap_or_default();
        let rule = self.terms.kinds.iter().find(|(kind, _)| **kind == said).map(|(kind, retries)| (*kind, *retries));
        let (kind, retries) = rule.unwrap_or(("", self.terms.retries));
        let count = self.failures.entry(kind).or_default();
        *count += 1;
        let (count, ended) = (*count, after.state == State::GivenUp);
        let told = || format!("job {}: failure {count} as `{kind}`, which has {retries} retries: {after:?}", after.id);
        if count > retries + 1 || count == retries + 1 && !ended {
            found.wrong(format!("it is tried more often than it may be: {}", told()));
        }
        let exhausted = count == retries + 1;
        let right = match after.reason {
            Some(Reason::KindRetriesExhausted) => {
                found.count("retries of a kind used up");
                exhausted && rule.is_some()
            }
            Some(Reason::RetriesExhausted) => {
                found.count("retries used up");
                exhausted && rule.is_none()
            }
            Some(Reason::RetryTimeOver) => {
                found.count("a time for retries over");
                self.terms.retry_for_ms.is_some()
            }
            _ => true,
        };
        if !right {
            found.wrong(format!("it is given up too early: {}", told()));
        }
        let first = *self.first.get_or_insert_with(|| before.started.unwrap_or_default());
        if let Some(over) = self.terms.retry_for_ms.map(|span| first + span)
            && after.due.is_some_and(|due| due > over)
        {
            found.wrong(format!("it waits beyond its time for retries, {over}: {}", told()));
        }
    }
}
