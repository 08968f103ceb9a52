//! Values that must not be seen: addresses with passwords, keys.

use std::fmt;

/// A text whose `Debug` and `Display` hide what is secret. For a URL, the password between `:` and `@` is hidden
/// and the rest is shown; anything else that could hide a password is hidden whole.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever opens the connection and nobody else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text with user and password left out: what may be printed.
    #[must_use]
    pub fn shown(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // What is no address may be a key, whole.
            let plain = self.0.is_empty() || self.0.starts_with("embedded:") && !self.0.contains('@');
            return if plain { self.0.clone() } else { "***".into() };
        };
        // The last `@` before the path ends the credentials: a password may hold an `@` of its own.
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        match rest[..end].rfind('@') {
            Some(at) => format!("{scheme}://***@{}", &rest[at + 1..end]),
            None => format!("{scheme}://{}", &rest[..end]),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("amqp://guest:hunter2@host:5672/vh", "amqp://***@host:5672/vh"),
            ("redis://:hun@ter2@host/0", "redis://***@host/0"),
            ("redis://host/0?password=hunter2", "redis://host/0"),
            ("user:hunter2@host", "***"),
            ("hunter2", "***"),
            ("k1=hunter2,k2=hunter2", "***"),
            ("", ""),
            ("embedded:", "embedded:"),
        ] {
            assert_eq!(Secret::new(url).to_string(), shown);
            assert!(!format!("{:?}", Secret::new(url)).contains("hunter2"));
        }
    }
}
