//! Asking live instances something: the question, and what an instance says to it.
//!
//! Who has to answer, and who has not, is in the store ([`crate::topology`] knows the members); this is only what is
//! written there.

use crate::id::JobId;
use crate::limits;
use crate::topic::Topic;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;

/// One asking: new for each, never reused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct QuestionId(pub String);

impl QuestionId {
    /// Makes an id; same arguments as [`JobId::new`].
    #[must_use]
    pub fn new(unix_ms: u64, random: [u8; 16]) -> Self {
        Self(JobId::new(unix_ms, random, random[15]).to_string())
    }
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    /// Under which name handlers answer it.
    pub name: Topic,
    /// What it is about, at most [`limits::INLINE_BYTES`].
    pub payload: Box<RawValue>,
}

/// What an instance says to a question.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Its handler's answer, at most [`limits::INLINE_BYTES`].
    Answered(Box<RawValue>),
    /// Its handler's error, or why what it answered is no answer.
    Failed(String),
    /// It answers nothing under this name.
    NoHandler,
}

impl Said {
    /// What a handler answered, unless it is too large.
    #[must_use]
    pub fn answered(answer: Box<RawValue>) -> Self {
        let bytes = answer.get().len();
        if bytes > limits::INLINE_BYTES {
            let most = limits::INLINE_BYTES;
            return Self::failed(&format!(
                "the answer has {bytes} bytes, more than {most}: answer where it is instead"
            ));
        }
        Self::Answered(answer)
    }

    /// An error, cut to its bound.
    #[must_use]
    pub fn failed(why: &str) -> Self {
        Self::Failed(limits::cut(why, limits::MESSAGE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_is_said_is_read_as_it_was_written() {
        for (said, text) in [
            (Said::answered(raw("{\"n\": 18446744073709551617}")), "{\"answered\":{\"n\": 18446744073709551617}}"),
            (Said::failed("no"), "{\"failed\":\"no\"}"),
            (Said::NoHandler, "\"no_handler\""),
        ] {
            assert_eq!(serde_json::to_string(&said).unwrap(), text);
            let read: Said = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }

    #[test]
    fn an_answer_that_is_too_large_is_a_failure_that_says_so() {
        let most = |bytes: usize| Said::answered(raw(&format!("\"{}\"", "x".repeat(bytes - 2))));
        assert!(matches!(most(limits::INLINE_BYTES), Said::Answered(_)));
        let Said::Failed(why) = most(limits::INLINE_BYTES + 1) else { panic!("too large") };
        assert!(why.contains("65537 bytes, more than 65536"), "{why}");
    }
}
