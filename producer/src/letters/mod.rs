//! Letters: messages that could not be delivered, read or trusted, and wait for a person.
//!
//! [`Producer::letters`] opens one of the three places. Looking changes nothing. Removing is either [`Letterbox::replay`],
//! which never loses a letter, or [`Letterbox::discard`], which is meant to. Both act on the letters that lay there when
//! they began. Owns which letters are meant; what a replay does is in `replay`.

mod replay;

pub use replay::Replayed;

use crate::connect::Producer;
use crate::time::Time;
use bytes::Bytes;
use longshore_link::Fault;
use longshore_link::letters::{Letter, READING};
use longshore_model::topic::BadTopic;
use longshore_model::{JobId, Topic, TopicPattern};
use serde::{Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

pub use longshore_link::broker::Letters as Place;

/// Bytes of a body that a view keeps, unless the whole was asked for.
const PREVIEW_BYTES: usize = 1_024;

/// How a caller names a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LetterName {
    /// By its place, from 1: the oldest. It changes when letters before it go.
    Number(u64),
    /// By the name that a listing shows, which stays the same.
    Name(String),
    /// Every letter of one job.
    Job(JobId),
}

impl FromStr for LetterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        match text.len() {
            1..=6 if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().map(Self::Number).map_err(|error| error.to_string())
            }
            12 if hex(text) => Ok(Self::Name(text.to_owned())),
            36 => text.parse().map(Self::Job).map_err(|error| error.to_string()),
            _ => Err("a letter is its number in the list, its name of 12 hex digits, or the id of its job".to_owned()),
        }
    }
}

/// Why letters were not looked at or changed. Nothing was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LetterError {
    /// The broker gave no answer; asking again is safe.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A topic pattern breaks the grammar.
    #[error(transparent)]
    Pattern(#[from] BadTopic),
    /// A mended body was given for more or fewer than one letter.
    #[error("a mended body is for one letter, and {0} were named; name the one")]
    NotOne(usize),
}

/// A letter, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LetterView {
    /// Its place, from 1: the oldest.
    pub number: u64,
    /// Names it for good.
    pub name: String,
    /// The message's id: the job's, in messages of Longshore.
    pub id: Option<String>,
    /// The lane that it was meant for or came from; else what its body says.
    pub topic: Option<Topic>,
    /// Why it is here: what an instance wrote, or the broker's word.
    pub reason: Option<String>,
    /// The queue from which the broker took it, if it was the broker.
    pub evicted_from: Option<String>,
    /// When the job was accepted.
    #[serde(serialize_with = "time")]
    pub enqueued: Option<Time>,
    /// How often the job had become runnable when the message was published.
    pub generation: u64,
    /// Size of the body.
    pub bytes: usize,
    /// The body, or the beginning of a longer one ([`Letterbox::whole`]). As JSON: text, with what is not UTF-8 replaced.
    #[serde(serialize_with = "lossy")]
    pub body: Bytes,
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference")]
fn time<S: Serializer>(time: &Option<Time>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&time.map(|time| time.to_string()))
}

fn lossy<S: Serializer>(body: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(body))
}

/// What a listing answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LetterList {
    /// The letters that fit, oldest first.
    pub letters: Vec<LetterView>,
    /// How many lie there, of those that were looked at.
    pub looked_at: u64,
    /// There are more than the limit, or there may be: no more than [`READING`] are looked at.
    pub more: bool,
}

/// What became of letters that were to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled<T> {
    /// One for each letter that fitted, oldest first.
    pub letters: Vec<(LetterView, T)>,
    /// What ended it early, if anything: the letters not listed are where they were, and those at the end of the list
    /// may have come back, which harms nothing.
    pub fault: Option<Fault>,
}

/// Letters of one place, or some of them. Made by [`Producer::letters`]; without names or filters it means all.
#[derive(Debug, Clone)]
#[must_use = "letters are read by `.list().await`"]
pub struct Letterbox {
    producer: Producer,
    place: Place,
    names: BTreeSet<LetterName>,
    topic: Option<TopicPattern>,
    reason: Option<String>,
    limit: usize,
    whole: bool,
    wrong: Option<BadTopic>,
}

impl Producer {
    /// The letters of one place.
    pub fn letters(&self, place: Place) -> Letterbox {
        Letterbox {
            producer: self.clone(),
            place,
            names: BTreeSet::new(),
            topic: None,
            reason: None,
            limit: usize::MAX,
            whole: false,
            wrong: None,
        }
    }
}

impl Letterbox {
    /// Only these; several calls add up.
    pub fn named(mut self, names: impl IntoIterator<Item = LetterName>) -> Self {
        self.names.extend(names);
        self
    }

    /// Only letters of these topics: `a/b`, `a/*`, `a/**` or `**`.
    pub fn topic(mut self, pattern: &str) -> Self {
        match TopicPattern::new(pattern) {
            Ok(pattern) => self.topic = Some(pattern),
            Err(bad) => self.wrong = self.wrong.or(Some(bad)),
        }
        self
    }

    /// Only letters whose reason contains this text.
    pub fn reason(mut self, part: impl Into<String>) -> Self {
        self.reason = Some(part.into());
        self
    }

    /// At most so many, the oldest; 0 for all, which is the default.
    pub const fn limit(mut self, limit: usize) -> Self {
        self.limit = if limit == 0 { usize::MAX } else { limit };
        self
    }

    /// Views with the whole body instead of its first KiB.
    pub const fn whole(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Reads the letters and leaves them where they are, in their order. While it reads, what it has seen is hidden from
    /// others.
    ///
    /// # Errors
    /// [`LetterError`].
    pub async fn list(&self) -> Result<LetterList, LetterError> {
        self.check()?;
        let mut reading = self.producer.link().broker.read_letters(self.place).await?;
        let mut list = LetterList::default();
        // To the end, also beyond the limit: only so do the letters keep their order.
        while let Some(letter) = reading.next().await? {
            list.looked_at = letter.number;
            match self.fits(&letter) {
                Some(_) if list.letters.len() >= self.limit => list.more = true,
                Some(view) => list.letters.push(view),
                None => {}
            }
        }
        list.more |= list.looked_at >= READING;
        reading.close().await?;
        Ok(list)
    }

    /// Removes letters for good. Jobs that the store knows stay as they are.
    ///
    /// # Errors
    /// [`LetterError`] when nothing was begun.
    pub async fn discard(&self) -> Result<Handled<()>, LetterError> {
        self.check()?;
        let broker = &self.producer.link().broker;
        let most = broker.count_letters(self.place).await?;
        let mut reading = broker.read_letters(self.place).await?;
        let mut handled = Handled { letters: Vec::new(), fault: None };
        let discarded = async {
            while let Some(letter) = reading.next().await? {
                let number = letter.number;
                if handled.letters.len() < self.limit
                    && let Some(view) = self.fits(&letter)
                {
                    reading.remove(number).await?;
                    handled.letters.push((view, ()));
                }
                if number >= most {
                    break;
                }
            }
            reading.close().await
        };
        handled.fault = discarded.await.err();
        let dropped = handled.letters.len() as u64;
        self.producer.record("letters drop", self.place.as_str(), &[("dropped", dropped)]).await;
        Ok(handled)
    }

    fn check(&self) -> Result<(), LetterError> {
        self.wrong.clone().map_or(Ok(()), |bad| Err(bad.into()))
    }

    /// The view of a letter that is meant.
    fn fits(&self, letter: &Letter) -> Option<LetterView> {
        let view = view(letter, self.whole);
        let named = |name: LetterName| self.names.contains(&name);
        let job = view.id.as_ref().and_then(|id| id.parse().ok());
        let fits = (self.names.is_empty()
            || named(LetterName::Number(view.number))
            || named(LetterName::Name(view.name.clone()))
            || job.is_some_and(|id| named(LetterName::Job(id))))
            && self
                .topic
                .as_ref()
                .is_none_or(|pattern| view.topic.as_ref().is_some_and(|topic| pattern.matches(topic)))
            && self.reason.as_ref().is_none_or(|part| view.reason.as_ref().is_some_and(|text| text.contains(part)));
        fits.then_some(view)
    }
}

fn view(letter: &Letter, whole: bool) -> LetterView {
    let said = Said::of(&letter.body);
    let evicted = letter.evicted.as_ref();
    LetterView {
        number: letter.number,
        name: letter.name.clone(),
        id: letter.message_id.clone().or(said.id),
        topic: letter.topic().cloned().or(said.topic),
        reason: letter.headers.reason.clone().or_else(|| evicted.map(|evicted| evicted.reason.clone())),
        evicted_from: evicted.map(|evicted| evicted.queue.clone()),
        enqueued: letter.headers.enqueued.map(Time::from_unix_ms),
        generation: letter.headers.generation.0,
        bytes: letter.body.len(),
        body: if whole { letter.body.clone() } else { Bytes::copy_from_slice(preview(&letter.body)) },
    }
}

/// The beginning of a body, which does not end within a character.
fn preview(body: &[u8]) -> &[u8] {
    let mut end = body.len().min(PREVIEW_BYTES);
    while end > 0 && body.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    &body[..end]
}

/// What a body says of itself, as far as it can be read: an envelope that is refused may still have a topic.
#[derive(Default)]
struct Said {
    id: Option<String>,
    topic: Option<Topic>,
}

impl Said {
    fn of(body: &[u8]) -> Self {
        let Ok(envelope) = longshore_model::envelope::Envelope::decode(body) else { return Self::default() };
        Self { id: Some(envelope.id.to_string()), topic: Some(envelope.topic) }
    }
}

impl fmt::Display for LetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
            Self::Job(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_named_in_three_ways() {
        let read = |text: &str| text.parse::<LetterName>();
        assert_eq!(read("7"), Ok(LetterName::Number(7)));
        assert_eq!(read("0123456789ab"), Ok(LetterName::Name("0123456789ab".into())));
        let id = "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00";
        assert_eq!(read(id), Ok(LetterName::Job(id.parse().unwrap())));
        for bad in ["", "-1", "1234567", "0123456789aB", "0123456789a", "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a0z"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_preview_ends_between_characters() {
        assert_eq!(preview(b"short"), b"short");
        let text = "ä".repeat(2 * PREVIEW_BYTES);
        for start in [0, 1] {
            let cut = preview(&text.as_bytes()[start..]);
            assert!(cut.len() <= PREVIEW_BYTES && cut.len() >= PREVIEW_BYTES - 1);
            assert!(std::str::from_utf8(&cut[start..]).is_ok());
        }
        // Bytes that are no text do not make it endless.
        assert!(preview(&[0x80; 5_000]).is_empty());
    }
}
