//! Which letters a command means: by name, or by filter.

use longshore_producer::{LetterName, Letterbox};

/// Filters; without any, all letters.
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Letters of these topics: `a/b`, `a/*`, `a/**`.
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// Letters whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Filter {
    pub(super) const fn is_empty(&self) -> bool {
        self.topic.is_none() && self.reason.is_none()
    }

    pub(super) fn apply(&self, mut letters: Letterbox) -> Letterbox {
        if let Some(pattern) = &self.topic {
            letters = letters.topic(pattern);
        }
        if let Some(part) = &self.reason {
            letters = letters.reason(part.clone());
        }
        letters
    }
}

/// As typed.
pub(super) fn name(text: &str) -> Result<LetterName, String> {
    text.parse()
}
