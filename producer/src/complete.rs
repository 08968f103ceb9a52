//! The end of an attempt from outside (S07): whoever got its token says how it went, once.
//!
//! The store decides: it knows whether the attempt is the current one, and ends it in the step that would have ended it
//! had its own handler said so. The instance that holds it only hears of it.

use crate::connect::Producer;
use crate::errors::{CompleteError, Lost, Refusal};
use longshore_link::store::{Complete, Completed};
use longshore_model::event::{Class, Kind};
use longshore_model::record::Reason;
use longshore_model::span::ms;
use longshore_model::token::Token;
use longshore_model::transition::{Answer, FailureTerms, Verdict};
use longshore_model::{JobId, State, kind, limits};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// How an attempt ended, said by whoever has its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    how: How,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum How {
    Done { result: Option<String>, message: Option<String> },
    Retry { after: Option<Duration>, error: String, kind: Option<String> },
    Fail { error: String },
}

impl Completion {
    /// It succeeded, without a result.
    #[must_use]
    pub const fn done() -> Self {
        Self { how: How::Done { result: None, message: None } }
    }

    /// It succeeded, with a result that whoever waits for the job receives.
    ///
    /// # Errors
    /// [`Refusal`] when the result is not JSON, or larger than [`limits::RESULT_BYTES`].
    pub fn result(value: impl Serialize) -> Result<Self, Refusal> {
        let text = serde_json::to_string(&value).map_err(|error| Refusal::NotJson(error.to_string()))?;
        Self::checked(text)
    }

    /// As [`Self::result`], with JSON text.
    ///
    /// # Errors
    /// As [`Self::result`].
    pub fn raw_result(json: impl Into<String>) -> Result<Self, Refusal> {
        let json = json.into();
        let text = RawValue::from_string(json).map_err(|error| Refusal::NotJson(error.to_string()))?;
        Self::checked(text.get().to_owned())
    }

    fn checked(text: String) -> Result<Self, Refusal> {
        if text.len() > limits::RESULT_BYTES {
            let (bytes, most) = (text.len(), limits::RESULT_BYTES);
            return Err(Refusal::OutOfBounds(format!("the result has {bytes} bytes, more than {most}")));
        }
        Ok(Self { how: How::Done { result: Some(text), message: None } })
    }

    /// It failed, and is tried again if retries are left, after the delay of its job, handler or queue.
    #[must_use]
    pub fn retry(error: impl fmt::Display) -> Self {
        Self { how: How::Retry { after: None, error: error.to_string(), kind: None } }
    }

    /// It failed, and is tried again after this long if retries are left; zero: at once.
    #[must_use]
    pub fn retry_in(after: Duration, error: impl fmt::Display) -> Self {
        Self { how: How::Retry { after: Some(after), error: error.to_string(), kind: None } }
    }

    /// It failed, and trying again is useless: the job ends as `error`.
    #[must_use]
    pub fn fail(error: impl fmt::Display) -> Self {
        Self { how: How::Fail { error: error.to_string() } }
    }

    /// Adds a sentence for people to a success.
    #[must_use]
    pub fn message(self, text: impl Into<String>) -> Self {
        match self.how {
            How::Done { result, .. } => Self { how: How::Done { result, message: Some(text.into()) } },
            how => Self { how },
        }
    }

    /// Adds the kind of error to a failure that is tried again: the rule of the job, its handler or its queue for that kind
    /// says how often and after how long. Characters that are not legal in a kind become `-`.
    #[must_use]
    pub fn kind(self, kind: impl AsRef<str>) -> Self {
        let kind = kind::legal(kind.as_ref());
        match self.how {
            How::Retry { after, error, .. } => Self { how: How::Retry { after, error, kind: Some(kind) } },
            how => Self { how },
        }
    }

    fn into_verdict(self, token: &Token) -> (Verdict, Option<String>) {
        let cut = |text: String| limits::cut(&text, limits::MESSAGE_BYTES);
        match self.how {
            How::Done { result, message } => (Verdict::Succeeded { message: message.map(cut) }, result),
            How::Retry { after, error, kind } => {
                let cost = kind.as_ref().and_then(|kind| token.kinds.get(kind));
                let delay_ms = after.map_or_else(|| cost.map_or(token.delay_ms, |cost| cost.delay_ms), ms);
                let delay_ms = delay_ms.min(limits::DELAY_MS);
                let retries = cost.and_then(|cost| cost.retries);
                let terms = FailureTerms { kind, retries, retry_for_ms: token.retry_for_ms };
                (Verdict::Failed { delay_ms, error: cut(error), terms }, None)
            }
            How::Fail { error } => (Verdict::Fatal { reason: Reason::Permanent, error: cut(error) }, None),
        }
    }
}

impl Producer {
    /// Ends the attempt of a token, and answers the state that its job is in now. Exactly one completion of a token
    /// counts, from whatever process it comes. What the attempt holds (its slot, order and limits) is free with it.
    ///
    /// Repeats the call until the store answers, at most for the producer's deadline
    /// ([`ProducerOptions::deadline`](crate::ProducerOptions)).
    ///
    /// # Errors
    /// [`CompleteError`], which says what became of the attempt instead.
    pub async fn complete(&self, token: &Token, completion: Completion) -> Result<State, CompleteError> {
        let link = &self.inner.link;
        let (verdict, result) = completion.into_verdict(token);
        let mark = format!("c:{:016x}", link.world.random.next());
        let complete = Complete { token: token.clone(), mark, verdict, result };
        let deadline = self.inner.deadline();
        loop {
            let (error, wait) = match link.store.complete(complete.clone()).await {
                Ok(Completed::Known(Answer::Moved { state })) => {
                    self.tell_completed(token.id, state);
                    self.record("job complete", &token.id.to_string(), &[]).await;
                    return Ok(state);
                }
                Ok(Completed::Known(Answer::Already { state })) => return Ok(state),
                Ok(Completed::Known(Answer::Nothing)) => return Err(CompleteError::NotItsToken(token.id)),
                Ok(Completed::Known(_)) => return Err(self.why_over(token).await),
                Ok(Completed::Missing) => return Err(CompleteError::NotFound(token.id)),
                Ok(Completed::Damaged(detail)) => return Err(CompleteError::Damaged(detail)),
                // The instance that runs it brings it back with its next beat.
                Ok(Completed::Behind) => (CompleteError::Forgotten(token.id), Duration::from_millis(500)),
                Err(fault) if fault.is_passing() => (CompleteError::Fault(fault), Duration::from_millis(100)),
                Err(fault) => return Err(fault.into()),
            };
            if link.world.clock.boot() + wait >= deadline {
                return Err(error);
            }
            link.world.clock.sleep(wait).await;
        }
    }

    fn tell_completed(&self, id: JobId, state: State) {
        let kind = match state {
            State::Succeeded => Kind::Finished,
            state if state.is_terminal() => Kind::Cancelled,
            _ => Kind::Failed,
        };
        if self.inner.link.is_heard(Class::Job) {
            self.inner.link.tell_of(kind, id);
        }
    }

    /// What became of an attempt that is over.
    async fn why_over(&self, token: &Token) -> CompleteError {
        let id = token.id;
        let snapshot = match self.inner.link.store.load(vec![id]).await {
            Ok(mut found) => found.pop().flatten(),
            Err(fault) => return fault.into(),
        };
        let Some(snapshot) = snapshot else { return CompleteError::NotFound(id) };
        let record = &snapshot.record;
        if record.fence == token.fence && record.nonce.starts_with("c:") {
            return CompleteError::AlreadyCompleted { id, state: record.state };
        }
        let past = snapshot.attempts.into_iter().rev().find(|past| past.number == token.attempt);
        let (outcome, detail) = match past {
            Some(past) => (past.outcome, past.error),
            // Only a success leaves no entry, unless so many attempts came after it that it is forgotten.
            None if record.state == State::Succeeded => ("succeeded".to_owned(), record.message.clone()),
            None => ("over".to_owned(), None),
        };
        let why = match outcome.as_str() {
            "crashed" => Lost::Rescued,
            "interrupted" => Lost::Interrupted,
            "stopped" => Lost::Stopped,
            "removed" => Lost::Removed,
            _ => Lost::Ended { outcome, detail },
        };
        CompleteError::Over { id, attempt: token.attempt, state: record.state, why }
    }
}
