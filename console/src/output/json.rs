//! JSON for programs: one document, one line.

use super::text::is_harmful;
use crate::failure::Failure;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt::Write as _;

/// A value on one line. Characters that a terminal could obey are escaped as JSON escapes them.
pub(super) fn document(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::Failed(format!("the answer cannot be written as JSON: {error}")))?;
    Ok(one_line(&text).into_owned())
}

/// JSON text on one line, otherwise as it was written: payloads keep the spelling of their sender, numbers above all.
pub(crate) fn one_line(json: &str) -> Cow<'_, str> {
    if !json.contains(is_harmful) {
        return Cow::Borrowed(json);
    }
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // JSON allows these between values only.
            '\n' | '\r' | '\t' => line.push(' '),
            // And all others within texts only, all of them in the basic plane. Writing to a string cannot fail.
            c if is_harmful(c) => drop(write!(line, "\\u{:04x}", u32::from(c))),
            c => line.push(c),
        }
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_document_is_one_line_and_means_the_same() {
        let json = "{\n\t\"a\": \"x\u{9b}1m\u{202e}\\n\",\r\n \"big\": 18446744073709551617}";
        let line = one_line(json);
        assert!(!line.contains(is_harmful), "{line:?}");
        assert!(line.contains("18446744073709551617"));
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&line), value(json));
    }
}
