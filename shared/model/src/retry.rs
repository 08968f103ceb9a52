//! Retry arithmetic: how often a failed job runs again (S02), and after how long (S04).
//!
//! Pure: randomness comes in as a number. It decides neither *whether* a verdict is a failure (the
//! handler does) nor what state follows ([`crate::transition`] does).

use crate::kind::RetryRule;
use crate::limits;
use std::time::Duration;

/// How the queue's delay grows with the failures of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Backoff {
    /// The same delay every time, to the millisecond.
    #[default]
    Fixed,
    /// After the n-th failure a random time between zero and `delay * factor^(n-1)`, at most `max` ("full jitter":
    /// jobs that failed together do not come back together).
    Exponential {
        /// Growth from one failure to the next, 2 to 100.
        factor: u32,
        /// The longest window.
        max: Duration,
    },
}

/// Who has a say in the delay before the next attempt, strongest first (S04). Zero means at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// What the handler's outcome asks for, this once.
    pub result: Option<Duration>,
    /// What the rule for the failure's kind says, and how many failures count for it, this one included.
    pub rule: Option<(RetryRule, u32)>,
    /// What the sender set on the job.
    pub job: Option<Duration>,
    /// The default of the job's kind, or of its handler.
    pub kind: Option<Duration>,
    /// The queue's delay.
    pub queue: Duration,
    /// How the queue's delay grows; the other three are taken as they are.
    pub backoff: Backoff,
}

impl Delay {
    /// The delay after the `failures`-th failure (from 1), at most [`limits::DELAY_MS`]. `random` is any number,
    /// evenly distributed over all of `u64`; only exponential back-off uses it.
    #[must_use]
    pub fn after(&self, failures: u32, random: u64) -> Duration {
        let ruled = |(rule, failures): (RetryRule, u32)| Some(rule.backoff.after(rule.delay?, failures, random));
        let asked = self.result.or_else(|| self.rule.and_then(ruled)).or(self.job).or(self.kind);
        let delay = asked.unwrap_or_else(|| self.backoff.after(self.queue, failures, random));
        delay.min(Duration::from_millis(limits::DELAY_MS))
    }
}

impl Backoff {
    fn after(self, base: Duration, failures: u32, random: u64) -> Duration {
        match self {
            Self::Fixed => base,
            Self::Exponential { factor, max } => {
                let growth = factor.saturating_pow(failures.saturating_sub(1));
                jitter(base.saturating_mul(growth).min(max), random)
            }
        }
    }
}

/// A point between zero and the whole window, to the millisecond.
fn jitter(window: Duration, random: u64) -> Duration {
    let points = window.as_millis().min(u128::from(limits::DELAY_MS)) + 1;
    let chosen = (points * u128::from(random)) >> 64;
    Duration::from_millis(u64::try_from(chosen).unwrap_or(limits::DELAY_MS))
}

/// How often a job with so many retries runs when every run fails: one more; `None` is without end (S02).
#[must_use]
pub fn executions(retries: i32) -> Option<u64> {
    u64::try_from(retries).ok().map(|retries| retries + 1)
}

/// Whether a job that has failed so often gives up (S02).
#[must_use]
pub fn exhausted(failures: u32, retries: i32) -> bool {
    executions(retries).is_some_and(|runs| u64::from(failures) >= runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Delay = Delay {
        result: None,
        rule: None,
        job: None,
        kind: None,
        queue: Duration::from_secs(2),
        backoff: Backoff::Fixed,
    };
    const QUARTER: u64 = u64::MAX / 4;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn s02_n_retries_are_n_plus_one_executions() {
        for (retries, runs) in [(0, Some(1)), (1, Some(2)), (10, Some(11)), (-1, None)] {
            assert_eq!(executions(retries), runs, "{retries}");
        }
        assert!(exhausted(1, 0));
        assert!(!exhausted(2, 2));
        assert!(exhausted(3, 2));
        assert!(!exhausted(u32::MAX, -1));
        assert!(!exhausted(1, i32::MAX));
    }

    #[test]
    fn s04_the_nearest_wish_wins() {
        let all = Delay { result: Some(ms(1)), job: Some(ms(2)), kind: Some(ms(3)), ..NOTHING };
        assert_eq!(all.after(1, 0), ms(1));
        assert_eq!(Delay { result: None, ..all }.after(1, 0), ms(2));
        assert_eq!(Delay { result: None, job: None, ..all }.after(1, 0), ms(3));
        assert_eq!(NOTHING.after(9, u64::MAX), ms(2_000));
        assert_eq!(Delay { result: Some(Duration::ZERO), ..all }.after(1, 0), Duration::ZERO, "zero is at once");
    }

    #[test]
    fn s04_a_rule_for_the_kind_stands_between_the_result_and_the_rest() {
        let rule = RetryRule::new().delay(ms(30));
        let all = Delay { result: Some(ms(1)), rule: Some((rule, 1)), job: Some(ms(2)), kind: Some(ms(3)), ..NOTHING };
        assert_eq!(all.after(1, 0), ms(1));
        assert_eq!(Delay { result: None, ..all }.after(1, 0), ms(30));
        let silent = Some((RetryRule::new().retries(5), 1));
        assert_eq!(Delay { result: None, rule: silent, ..all }.after(1, 0), ms(2), "a rule without a delay says none");
        let growing = Delay { rule: Some((rule.exponential(2, ms(100)), 2)), ..NOTHING };
        assert_eq!(growing.after(9, u64::MAX), ms(60), "it grows with the failures of its kind");
    }

    #[test]
    fn jh_14_the_outcome_beats_a_slow_queue() {
        let delay = Delay { result: Some(ms(500)), queue: ms(60_000), ..NOTHING };
        assert_eq!(delay.after(1, u64::MAX), ms(500));
    }

    #[test]
    fn jh_15_the_job_beats_its_queue() {
        let delay = Delay { job: Some(ms(100)), queue: ms(5_000), ..NOTHING };
        assert_eq!(delay.after(1, u64::MAX), ms(100));
    }

    #[test]
    fn an_exponential_delay_grows_up_to_its_bound_and_is_spread_over_the_whole_window() {
        let backoff = Backoff::Exponential { factor: 3, max: ms(10_000) };
        let delay = Delay { queue: ms(1_000), backoff, ..NOTHING };
        for (failures, window) in [(1, 1_000), (2, 3_000), (3, 9_000), (4, 10_000), (u32::MAX, 10_000)] {
            assert_eq!(delay.after(failures, 0), Duration::ZERO);
            assert_eq!(delay.after(failures, QUARTER), ms(window / 4), "{failures}");
            assert_eq!(delay.after(failures, u64::MAX), ms(window), "{failures}");
        }
        assert_eq!(Delay { job: Some(ms(7)), ..delay }.after(5, 99), ms(7), "a wish is taken as it is");
    }

    #[test]
    fn no_delay_is_longer_than_the_bound() {
        let forever = Delay { result: Some(Duration::MAX), ..NOTHING };
        assert_eq!(forever.after(1, 0), ms(limits::DELAY_MS));
        let backoff = Backoff::Exponential { factor: 100, max: Duration::MAX };
        let grown = Delay { queue: Duration::from_secs(3_600), backoff, ..NOTHING };
        assert_eq!(grown.after(1_000, u64::MAX), ms(limits::DELAY_MS));
    }
}
