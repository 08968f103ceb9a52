//! A broker and a store for tests that do not care which, and the namespaces that keep such tests apart.
//!
//! A RabbitMQ node takes seconds to start and the runner gives every test a process of its own, so one pair is started
//! for the whole run and its addresses are passed in the environment. A test that stops, kills, freezes, fills or
//! reconfigures a service takes a private one instead.

use std::sync::atomic::{AtomicU32, Ordering};

use uuid::Uuid;

use super::{RabbitMq, Redis};

/// Environment variable with the AMQP address of the shared broker.
pub const BROKER_URL: &str = "LONGSHORE_TEST_BROKER_URL";
/// Environment variable with the address of the shared store.
pub const STORE_URL: &str = "LONGSHORE_TEST_STORE_URL";

/// Addresses of a broker and a store; keep the value as long as they are used.
#[derive(Debug)]
pub struct Shared {
    /// AMQP address.
    pub broker_url: String,
    /// Redis address.
    pub store_url: String,
    _private: Option<(RabbitMq, Redis)>,
}

impl Shared {
    /// The services of this run when the environment names both, else a private pair that ends with the value.
    ///
    /// # Panics
    /// When only one of the two is named, or a private service does not start.
    #[allow(clippy::disallowed_methods, reason = "how the runner hands the shared services to the tests' processes")]
    pub async fn services() -> Self {
        match (std::env::var(BROKER_URL), std::env::var(STORE_URL)) {
            (Ok(broker_url), Ok(store_url)) => Self { broker_url, store_url, _private: None },
            (Err(_), Err(_)) => {
                let (broker, store) = tokio::join!(RabbitMq::start(), Redis::start());
                Self { broker_url: broker.url(), store_url: store.url(), _private: Some((broker, store)) }
            }
            _ => panic!("{BROKER_URL} and {STORE_URL} go together: set both or none"),
        }
    }
}

/// A namespace that no other test and no other call has: 1 to 32 of `[a-z0-9-]`, beginning with what fits of `test`.
#[must_use]
pub fn namespace(test: &str) -> String {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    const NAME: usize = 15;
    let name: String = test
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9') => c,
            _ => '-',
        })
        .take(NAME)
        .collect();
    // The process's part is random (a process id may come again within a long run), the call's part counts.
    let random = Uuid::now_v7().as_u128() & 0xffff_ffff_ffff;
    let call = CALLS.fetch_add(1, Ordering::Relaxed) & 0xfff;
    format!("{}-{random:012x}{call:03x}", if name.is_empty() { "t" } else { &name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_legal_and_never_the_same() {
        for test in ["", "a", "Topic_Match::TM-01 \u{e9}", &"x".repeat(100)] {
            let (one, two) = (namespace(test), namespace(test));
            assert_ne!(one, two);
            assert!((1..=32).contains(&one.len()), "{one}");
            assert!(one.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{one}");
        }
        assert!(namespace("TM-01 exact").starts_with("tm-01-exact-"));
    }
}
