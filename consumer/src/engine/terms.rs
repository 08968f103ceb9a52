//! What holds for an attempt: its times, and what a failure costs it. Job before handler before queue.
//!
//! A rule for a kind of error goes before what is said of failures in general, whoever said it: it is about something
//! more particular. Among rules, as among the rest, the job's goes first, then the handler's, then the queue's; a rule is
//! taken as a whole.

use super::adopt::Origin;
use crate::handler::HandlerOptions;
use longshore_model::envelope::Envelope;
use longshore_model::kind::{self, RetryRule, RetryRules};
use longshore_model::queue::QueueConfig;
use longshore_model::retry::Delay;
use longshore_model::span::ms;
use longshore_model::transition::FailureTerms;
use std::time::Duration;

/// The three that have a say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'t> {
    pub(crate) job: &'t Envelope,
    pub(crate) handler: &'t HandlerOptions,
    pub(crate) queue: &'t QueueConfig,
}

impl Terms<'_> {
    /// The longest run.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        let Self { job, handler, queue } = self;
        job.timeout_ms.map(Duration::from_millis).or(handler.timeout).or(queue.timeout)
    }

    /// When it is told to come to an end.
    pub(crate) fn soft_timeout(&self) -> Option<Duration> {
        let Self { job, handler, queue } = self;
        job.soft_timeout_ms.map(Duration::from_millis).or(handler.soft_timeout).or(queue.soft_timeout)
    }

    /// How long it may be silent.
    pub(crate) fn stall_timeout(&self) -> Option<Duration> {
        let Self { job, handler, queue } = self;
        job.stall_timeout_ms.map(Duration::from_millis).or(handler.stall_timeout).or(queue.stall_timeout)
    }

    /// How long after the first failure another attempt may begin.
    pub(crate) fn retry_for(&self) -> Option<Duration> {
        let Self { job, handler, queue } = self;
        job.retry_for_ms.map(Duration::from_millis).or(handler.retry_for).or(queue.retry_for)
    }

    /// All rules, the nearest for each kind.
    pub(crate) fn rules(&self) -> RetryRules {
        let Self { job, handler, queue } = self;
        job.retry_on.clone().or(&handler.retry_on).or(&queue.retry_on)
    }

    fn rule(&self, kind: &str) -> Option<RetryRule> {
        let Self { job, handler, queue } = self;
        job.retry_on.get(kind).or_else(|| handler.retry_on.get(kind)).or_else(|| queue.retry_on.get(kind)).copied()
    }

    /// What a failure of this kind costs, and how long its job then waits. `asked`: what the outcome says of that.
    pub(crate) fn failure(
        &self,
        kind: Option<String>,
        asked: Option<Duration>,
        origin: &Origin,
        random: u64,
    ) -> (Duration, FailureTerms) {
        let Self { job, handler, queue } = self;
        let kind = kind.map(|kind| kind::legal(&kind));
        let rule = kind.as_deref().and_then(|kind| self.rule(kind));
        let of_kind = kind.as_deref().map_or(0, |kind| origin.kinds.of(kind));
        let counted = |rule: RetryRule| 1 + if rule.retries.is_some() { of_kind } else { origin.failures };
        let delay = Delay {
            result: asked,
            rule: rule.map(|rule| (rule, counted(rule))),
            job: job.retry_delay_ms.map(Duration::from_millis),
            kind: handler.retry_delay,
            queue: queue.retry_delay,
            backoff: queue.backoff,
        };
        let terms =
            FailureTerms { kind, retries: rule.and_then(|rule| rule.retries), retry_for_ms: self.retry_for().map(ms) };
        (delay.after(origin.failures + 1, random), terms)
    }
}
