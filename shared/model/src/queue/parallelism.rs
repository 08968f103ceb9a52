//! How many jobs of a queue run at once: a number, a share of the cores, or all of them (Q08).

use std::fmt;

/// Most jobs of one queue that may be allowed on one instance.
const MOST: f64 = 100_000.0;

/// A limit on parallel jobs, as it was written; [`Parallelism::effective`] is what it means on a machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parallelism(Form);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Exactly(u32),
    /// Of the cores; between 0 and 1, both excluded.
    Share(f64),
    /// As many as there are cores; the number is how it was written.
    Cores(f64),
}

/// A number that is not a limit on parallel jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a number of parallel jobs: write 1 to 100000, a share of the cores such as 0.5, or -1 for all cores"
)]
pub struct BadParallelism(pub String);

impl Parallelism {
    /// So many jobs. Zero is refused by [`crate::queue::QueueConfig::problems`].
    #[must_use]
    pub const fn exactly(jobs: u32) -> Self {
        Self(Form::Exactly(jobs))
    }

    /// Reads a number as it is written in settings.
    ///
    /// # Errors
    /// [`BadParallelism`] for zero, for numbers over 100 000 and for what is no number.
    pub fn parse(text: &str) -> Result<Self, BadParallelism> {
        let number = text.trim().parse().map_err(|_| BadParallelism(text.chars().take(80).collect()))?;
        Self::new(number)
    }

    /// The limit that a number means: a whole number is itself; a fraction below 1 is a share of the cores; every
    /// negative number, and a fraction above 1, is as many as there are cores.
    ///
    /// # Errors
    /// [`BadParallelism`] for zero, for numbers over 100 000 and for what is no number.
    pub fn new(number: f64) -> Result<Self, BadParallelism> {
        if number == 0.0 || number > MOST || !number.is_finite() {
            return Err(BadParallelism(number.to_string()));
        }
        Ok(Self(if number < 0.0 {
            Form::Cores(number)
        } else if number < 1.0 {
            Form::Share(number)
        } else if number.fract() == 0.0 {
            // Between 1 and MOST and whole: the cast is exact.
            Form::Exactly(number as u32)
        } else {
            Form::Cores(number)
        }))
    }

    /// Jobs at once on a machine with so many cores. A small share of few cores may come to 0, which is a fault
    /// of the settings.
    #[must_use]
    pub fn effective(self, cores: usize) -> usize {
        match self.0 {
            Form::Exactly(jobs) => jobs as usize,
            // Not negative and at most the number of cores: the cast keeps the value.
            Form::Share(share) => (cores as f64 * share).round() as usize,
            Form::Cores(_) => cores,
        }
    }
}

impl Default for Parallelism {
    fn default() -> Self {
        Self::exactly(15)
    }
}

impl fmt::Display for Parallelism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Form::Exactly(jobs) => jobs.fmt(f),
            Form::Share(number) | Form::Cores(number) => number.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(text: &str, cores: usize) -> usize {
        Parallelism::parse(text).unwrap().effective(cores)
    }

    #[test]
    fn qc_01_negative_numbers_and_fractions_over_one_are_the_cores() {
        for text in ["-1", "-2", "-0.5", "1.01"] {
            assert_eq!(effective(text, 6), 6, "{text}");
        }
    }

    #[test]
    fn qc_02_fractions_are_rounded_shares_of_the_cores() {
        for (text, cores, jobs) in
            [("0.5", 4, 2), ("0.5", 5, 3), ("0.90", 4, 4), ("0.99", 4, 4), ("0.90", 10, 9), ("0.1", 4, 0)]
        {
            assert_eq!(effective(text, cores), jobs, "{text} of {cores}");
        }
    }

    #[test]
    fn qc_03_zero_is_refused_and_one_is_one() {
        for text in ["0", "0.0", "-0", "many", "", "NaN", "inf", "100001"] {
            let error = Parallelism::parse(text).unwrap_err().to_string();
            assert!(error.contains("share of the cores"), "{text}: {error}");
        }
        assert_eq!(effective("1.0", 8), 1);
        assert_eq!(effective("15", 2), 15);
        assert_eq!(Parallelism::default().effective(2), 15, "Q08: the default");
    }

    #[test]
    fn a_limit_is_shown_as_it_was_written() {
        for text in ["15", "0.5", "-1", "1.5"] {
            assert_eq!(Parallelism::parse(text).unwrap().to_string(), text);
        }
    }
}
