//! The token of an attempt: whoever has it ends the attempt, once, from anywhere.
//!
//! A text that a handler gives to somebody else (another process, a person, a service that calls back), who hands it
//! to a producer. It names the attempt by its fence and proves by the delivery's nonce that it was given, so that
//! nobody ends an attempt by its id alone. It is not signed: whoever may write to the store may do everything.

use crate::id::{Fence, JobId};
use crate::{kind, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What the text of every token begins with, and the version of its form.
const HEAD: &str = "lst1";

/// What stands for the dot within the word for a kind of error.
const DOT: &str = ":";

/// The right to end one attempt. As a text: `lst1.<job>.<attempt>.<fence>.<delay>.<nonce>`,
/// where the delay is followed by `+` and the time for retries, if there is one, and by `~` and what a failure of each kind
/// costs that has a rule, `<kind>=<retries>,<delay>` with `/` in between and `:` for the dots of the kind.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Token {
    /// The job.
    pub id: JobId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The attempt's fence.
    pub fence: Fence,
    /// The back-off before the next attempt, should this one end as failed and nobody say another, ms.
    pub delay_ms: u64,
    /// How long after the first failure another attempt may begin, where somebody said so, ms.
    pub retry_for_ms: Option<u64>,
    /// What a failure costs that is of one of these kinds.
    pub kinds: BTreeMap<String, KindCost>,
    /// The delivery under which it was claimed: what nobody knows but the instance that runs it, and the store.
    pub nonce: String,
}

/// What a failure of a kind with a rule costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KindCost {
    /// Failures of this kind allowed before the last one, where the rule says so; -1 without end.
    pub retries: Option<i32>,
    /// The back-off before the next attempt, ms.
    pub delay_ms: u64,
}

impl KindCost {
    fn read(text: &str) -> Option<(String, Self)> {
        let (kind, cost) = text.split_once('=')?;
        let (retries, delay) = cost.split_once(',')?;
        let kind = kind.replace(DOT, ".");
        kind::check(&kind).ok()?;
        let retries = if retries.is_empty() { None } else { Some(retries.parse().ok()?) };
        Some((kind, Self { retries, delay_ms: delay.parse().ok()? }))
    }
}

/// A text that is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a token: {0}; copy all of the text that the handler got from `ctx.token()`")]
pub struct BadToken(&'static str);

/// A text up to a mark, and what follows where there is one.
fn split(text: &str, mark: char) -> (&str, Option<&str>) {
    text.split_once(mark).map_or((text, None), |(before, after)| (before, Some(after)))
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let mut parts = text.trim().splitn(6, '.');
        if parts.next() != Some(HEAD) {
            return Err(BadToken("it does not begin with `lst1.`"));
        }
        let mut part = || parts.next().filter(|part| !part.is_empty()).ok_or(BadToken("it ends too soon"));
        let bad = BadToken("one of its numbers cannot be read");
        let id = part()?.parse().map_err(|_| BadToken("the id of its job cannot be read"))?;
        let attempt = part()?.parse().map_err(|_| bad.clone())?;
        let fence = Fence(part()?.parse().map_err(|_| bad.clone())?);
        let (times, kinds) = split(part()?, '~');
        let kinds: Option<BTreeMap<_, _>> =
            kinds.into_iter().flat_map(|kinds| kinds.split('/')).map(KindCost::read).collect();
        let kinds = kinds
            .filter(|kinds| kinds.len() <= limits::KINDS)
            .ok_or(BadToken("what its kinds of error cost cannot be read"))?;
        let (delay, retry_for) = split(times, '+');
        let delay_ms = delay.parse().map_err(|_| bad.clone())?;
        let retry_for_ms = retry_for.map(str::parse).transpose().map_err(|_| bad)?;
        let nonce = part()?.to_owned();
        if nonce.len() > limits::LABEL_BYTES || nonce.chars().any(char::is_control) {
            return Err(BadToken("its end is too long, or is no text"));
        }
        Ok(Self { id, attempt, fence, delay_ms, retry_for_ms, kinds, nonce })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, attempt, fence, delay_ms, retry_for_ms, kinds, nonce } = self;
        write!(f, "{HEAD}.{id}.{attempt}.{}.{delay_ms}", fence.0)?;
        if let Some(ms) = retry_for_ms {
            write!(f, "+{ms}")?;
        }
        for (number, (kind, KindCost { retries, delay_ms })) in kinds.iter().enumerate() {
            let before = if number == 0 { '~' } else { '/' };
            let retries = retries.map(|retries| retries.to_string()).unwrap_or_default();
            write!(f, "{before}{}={retries},{delay_ms}", kind.replace('.', DOT))?;
        }
        write!(f, ".{nonce}")
    }
}

/// Without the part that makes it work.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl TryFrom<String> for Token {
    type Error = BadToken;

    fn try_from(text: String) -> Result<Self, BadToken> {
        text.parse()
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        let id = "0193b0a0-0000-7000-8000-000000000001".parse().unwrap();
        let fence = Fence(1_700_000_000_000_001);
        Token {
            id,
            attempt: 2,
            fence,
            delay_ms: 500,
            retry_for_ms: None,
            kinds: BTreeMap::new(),
            nonce: "00ab-1-7".into(),
        }
    }

    #[test]
    fn a_token_survives_its_text_and_hides_its_secret_from_logs() {
        let text = token().to_string();
        assert_eq!(text, "lst1.0193b0a0-0000-7000-8000-000000000001.2.1700000000000001.500.00ab-1-7");
        assert_eq!(format!(" {text}\n").parse(), Ok(token()));
        let timed = Token { retry_for_ms: Some(9_000), ..token() };
        assert_eq!(timed.to_string().parse(), Ok(timed.clone()));
        let busy = KindCost { retries: None, delay_ms: 30_000 };
        let kinds = [("http.503".to_owned(), busy), ("odd".to_owned(), KindCost { retries: Some(-1), delay_ms: 0 })];
        let ruled = Token { kinds: kinds.into(), ..timed };
        let text = ruled.to_string();
        assert!(text.ends_with(".500+9000~http:503=,30000/odd=-1,0.00ab-1-7"), "{text}");
        assert_eq!(text.parse(), Ok(ruled));
        let json = serde_json::to_string(&token()).unwrap();
        assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token());
        assert!(!format!("{:?}", token()).contains("00ab"));
    }

    #[test]
    fn what_is_not_a_token_says_why() {
        for (text, why) in [
            ("", "begin"),
            ("lst1", "too soon"),
            ("lst2.x", "begin"),
            ("lst1.x.1.2.3.n", "id"),
            ("lst1.0193b0a0-0000-7000-8000-000000000001.x.2.3.n", "numbers"),
            ("lst1.0193b0a0-0000-7000-8000-000000000001.1.2.3.", "too soon"),
            ("lst1.0193b0a0-0000-7000-8000-000000000001.1.2.3.a\u{7}", "no text"),
            ("lst1.0193b0a0-0000-7000-8000-000000000001.1.2.3~a=x,1.n", "kinds"),
            ("lst1.0193b0a0-0000-7000-8000-000000000001.1.2.3~.n", "kinds"),
        ] {
            let error = text.parse::<Token>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
