//! Letters: messages that wait for a person, and how they are read without losing one.
//!
//! A [`Reading`] holds what it has shown, so that nobody else sees it meanwhile, and gives back what was not removed. No
//! letter is lost by reading, however it ends; only [`Reading::remove`] removes. Letters keep their order when they were
//! read to the last one; after a reading that ended in between, a broker may put what was shown behind the rest.

use crate::broker::Headers;
use crate::error::Fault;
use async_trait::async_trait;
use bytes::Bytes;
use longshore_model::lane::Lane;
use longshore_model::topic::Topic;
use sha2::{Digest, Sha256};
use std::fmt::{Debug, Write as _};

/// Most letters that one reading shows; it holds all of them.
pub const READING: u64 = 10_000;

/// Hex digits in the name of a letter.
const NAME_DIGITS: usize = 12;

/// One letter of a reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its place in this reading, from 1: the oldest. Another reading may number it otherwise.
    pub number: u64,
    /// Tells it from others for good: a digest of what it is. Two copies that are equal to the byte have one name.
    pub name: String,
    /// As published; a foreign client may have set anything, or nothing.
    pub message_id: Option<String>,
    /// As published.
    pub headers: Headers,
    /// As published.
    pub body: Bytes,
    /// The lane that it was meant for or came from, where its address tells it.
    pub lane: Option<Lane>,
    /// When the job is to start, ms; in the journal.
    pub start: Option<u64>,
    /// What the broker says, when it was the broker that put it here.
    pub evicted: Option<Eviction>,
}

/// The broker took a message out of a queue and put it among the dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    /// The broker's word: `delivery_limit`, `expired`, `maxlen` or `rejected`.
    pub reason: String,
    /// The queue that it was taken out of.
    pub queue: String,
}

impl Letter {
    /// The name of a letter with this content.
    #[must_use]
    pub fn name(message_id: Option<&str>, headers: &Headers, lane: Option<&Lane>, body: &[u8]) -> String {
        let mut digest = Sha256::new();
        // Each part with its length, so that no two ways to split one text are the same.
        let mut part = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        part(message_id.unwrap_or_default().as_bytes());
        part(headers.reason.as_deref().unwrap_or_default().as_bytes());
        // Not which of its lanes: names stay what they were when there was one.
        part(lane.map(|lane| lane.topic.as_str()).unwrap_or_default().as_bytes());
        part(&headers.generation.0.to_be_bytes());
        part(&headers.fence.0.to_be_bytes());
        part(&headers.enqueued.unwrap_or_default().to_be_bytes());
        part(body);
        let mut name = String::with_capacity(NAME_DIGITS);
        for byte in digest.finalize().iter().take(NAME_DIGITS / 2) {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    /// The topic of the lane that it was meant for or came from.
    #[must_use]
    pub fn topic(&self) -> Option<&Topic> {
        self.lane.as_ref().map(|lane| &lane.topic)
    }
}

/// A reading of one place, oldest letter first. Dropping it gives everything back as well, a little later.
#[async_trait]
pub trait Reading: Send + Debug {
    /// The next letter, which this reading holds from then on; `None` when there are no more, or [`READING`] were
    /// shown.
    async fn next(&mut self) -> Result<Option<Letter>, Fault>;

    /// Removes a letter that this reading has shown, for good. Removing it twice is removing it once. A removal counts
    /// for sure when [`Self::close`] has answered Ok; before, the letter may come back.
    async fn remove(&mut self, number: u64) -> Result<(), Fault>;

    /// Ends the reading: what was not removed goes back.
    async fn close(self: Box<Self>) -> Result<(), Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_letters_apart_and_equal_ones_share_it() {
        let lane = Lane::from(Topic::new("a/b").unwrap());
        let headers = Headers { reason: Some("why".into()), ..Headers::default() };
        let name = Letter::name(Some("id"), &headers, Some(&lane), b"body");
        assert_eq!(name.len(), NAME_DIGITS);
        assert_eq!(name, Letter::name(Some("id"), &headers, Some(&lane), b"body"));
        let others = [
            Letter::name(None, &headers, Some(&lane), b"body"),
            Letter::name(Some("id"), &Headers::default(), Some(&lane), b"body"),
            Letter::name(Some("id"), &headers, None, b"body"),
            Letter::name(Some("id"), &headers, Some(&lane), b"bod"),
            Letter::name(Some("idw"), &Headers { reason: Some("hy".into()), ..headers }, Some(&lane), b"body"),
        ];
        assert!(others.iter().all(|other| *other != name));
    }
}
