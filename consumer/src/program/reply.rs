//! How the bytes that a handler answered become the job's result. Pure; the same for processes and for HTTP.

use longshore_model::limits;
use serde_json::Value;

/// The answer is larger than a result may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the result is larger than {} bytes; write it to a file in the job's output directory instead",
    limits::RESULT_BYTES
)]
pub struct ReplyTooLarge;

/// Bytes of an answer, kept up to one more than a result may have, so that "too large" can be told from "just fits"
/// while the memory stays bounded.
#[derive(Debug, Default)]
pub struct Reply(Vec<u8>);

impl Reply {
    /// Adds bytes; what goes beyond the limit is dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = (limits::RESULT_BYTES + 1).saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Whether more than a result may have has arrived, so that there is no point in reading on.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.0.len() > limits::RESULT_BYTES
    }

    /// The result: null when nothing was answered, the JSON value when it is JSON, else the text without its last line
    /// end (invalid UTF-8 replaced). JSON nested deeper than a job may be is taken as text: it could not be read back
    /// from inside a job's own JSON.
    ///
    /// # Errors
    /// When the result would take more than [`limits::RESULT_BYTES`] as JSON.
    pub fn value(&self) -> Result<Value, ReplyTooLarge> {
        if self.is_too_large() {
            return Err(ReplyTooLarge);
        }
        if self.0.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        let value = match serde_json::from_slice::<Value>(&self.0) {
            Ok(value) if depth(&value) <= limits::JSON_DEPTH => value,
            _ => text(&self.0),
        };
        // Escapes can make a text six times as long.
        let bytes = serde_json::to_vec(&value).map_or(usize::MAX, |json| json.len());
        if bytes > limits::RESULT_BYTES { Err(ReplyTooLarge) } else { Ok(value) }
    }

    /// The beginning of the answer as text for a message.
    #[must_use]
    pub fn excerpt(&self) -> String {
        limits::cut(printable(String::from_utf8_lossy(&self.0).trim()).as_str(), EXCERPT_BYTES)
    }
}

/// Longest part of an answer that is quoted in a message, bytes.
const EXCERPT_BYTES: usize = 512;

fn text(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Value::String(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// Nesting of a value; a number has 0. The parser's own limit of 128 bounds the recursion.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A text with its control characters escaped, so that a log line can neither move a terminal's cursor nor look like
/// two lines. Tabs stay.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(bytes: &[u8]) -> Result<Value, ReplyTooLarge> {
        let mut reply = Reply::default();
        bytes.chunks(1000).for_each(|chunk| reply.push(chunk));
        reply.value()
    }

    #[test]
    fn json_text_and_nothing() {
        assert_eq!(value(br#"{"width": 3}"#), Ok(json!({"width": 3})));
        assert_eq!(value(b" 7\n"), Ok(json!(7)));
        assert_eq!(value(b"done\r\n"), Ok(json!("done")));
        assert_eq!(value(b"two\nlines\n"), Ok(json!("two\nlines")));
        assert_eq!(value(b"\xffx"), Ok(json!("\u{fffd}x")));
        assert_eq!(value(b""), Ok(Value::Null));
        assert_eq!(value(b"\n"), Ok(Value::Null));
    }

    #[test]
    fn the_limit_counts_the_stored_form() {
        let most = limits::RESULT_BYTES;
        assert!(value(&vec![b'a'; most - 2]).is_ok());
        assert_eq!(value(&vec![b'a'; most - 1]), Err(ReplyTooLarge), "the quotes count");
        assert_eq!(value(&vec![b'"'; most - 2]), Err(ReplyTooLarge), "escapes count");
        assert_eq!(value(&vec![b' '; most + 1]), Err(ReplyTooLarge));
        assert_eq!(value(&vec![b'a'; most * 9]), Err(ReplyTooLarge));
    }

    #[test]
    fn deep_json_is_kept_as_text() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(value(nested(limits::JSON_DEPTH).as_bytes()).is_ok_and(|v| v.is_array()));
        assert!(value(nested(limits::JSON_DEPTH + 1).as_bytes()).is_ok_and(|v| v.is_string()));
        assert!(value(nested(20_000).as_bytes()).is_ok_and(|v| v.is_string()));
    }

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(printable("a\x1b[31mb\tc\r"), "a\\u{1b}[31mb\tc\\r");
    }
}
