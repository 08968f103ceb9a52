//! Values as they are typed: lengths of time, points in time, `K=V`, payloads.

use crate::failure::Failure;
use longshore_model::span::{self, BadSpan};
use longshore_model::{kind, limits};
use longshore_producer::{Rate, Time};
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// `30s`, `5m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, BadSpan> {
    span::parse(text)
}

/// `2026-11-21T10:00:00Z`.
pub(crate) fn time(text: &str) -> Result<Time, String> {
    text.parse()
}

/// The word for a kind of error.
pub(crate) fn error_kind(text: &str) -> Result<String, String> {
    kind::check(text)?;
    Ok(text.to_owned())
}

/// `10/1s`, or `10/s`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let (count, per) = text.split_once('/').ok_or("write it as N/DUR, such as 10/1s")?;
    let count = count.parse().map_err(|_| format!("`{count}` is not a number of jobs"))?;
    let unit = per.starts_with(|c: char| c.is_ascii_alphabetic());
    let per = duration(&if unit { format!("1{per}") } else { per.to_owned() }).map_err(|error| error.to_string())?;
    if count == 0 || per.is_zero() {
        return Err("0 would let nothing through; write it as N/DUR, such as 10/1s".into());
    }
    Ok(Rate { count, per_ms: span::ms(per) })
}

/// A label, or a label to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
        longshore_model::envelope::check_label(name, value)?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Where a payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// On the command line.
    Text(String),
    /// `@FILE`.
    File(PathBuf),
    /// `-`.
    Stdin,
}

impl FromStr for Payload {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match (text, text.strip_prefix('@')) {
            ("-", _) => Self::Stdin,
            (_, Some(path)) => Self::File(path.into()),
            (text, None) => Self::Text(text.to_owned()),
        })
    }
}

impl Payload {
    /// Its text, which is JSON. Never reads more than what is allowed.
    pub(crate) async fn read(&self) -> Result<String, Failure> {
        let text = match self {
            Self::Text(text) => text.clone(),
            Self::File(path) => {
                let name = path.display().to_string();
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| Failure::Usage(format!("cannot read the payload {name}: {error}")))?;
                bounded(file, &name).await?
            }
            Self::Stdin => bounded(tokio::io::stdin(), "from stdin").await?,
        };
        if let Err(error) = serde_json::from_str::<&RawValue>(&text) {
            let hint = match self {
                Self::Text(_) => "; a text is written with its quotes: --payload '\"text\"', a file as --payload @FILE",
                _ => "",
            };
            return Err(Failure::Usage(format!("the payload is not JSON: {error}{hint}")));
        }
        Ok(text)
    }
}

async fn bounded(source: impl AsyncRead + Unpin, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let most = limits::INLINE_BYTES as u64 + 1;
    let read = source.take(most).read_to_end(&mut bytes).await;
    read.map_err(|error| Failure::Usage(format!("cannot read the payload {name}: {error}")))?;
    if bytes.len() > limits::INLINE_BYTES {
        return Err(Failure::Usage(format!(
            "the payload {name} has more than {} bytes; send large input as a file: --input FILE",
            limits::INLINE_BYTES
        )));
    }
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("the payload {name} is not UTF-8 text, so not JSON")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_say_where_they_are() {
        let read = |text: &str| text.parse::<Payload>().unwrap();
        assert_eq!(read("-"), Payload::Stdin);
        assert_eq!(read("@a/b.json"), Payload::File("a/b.json".into()));
        assert_eq!(read("-1"), Payload::Text("-1".into()));
    }

    #[test]
    fn labels_have_a_name_and_a_value() {
        let label: Label = "tenant=a=b".parse().unwrap();
        assert_eq!((label.name.as_str(), label.value.as_str()), ("tenant", "a=b"));
        for bad in ["tenant", "=x", "a\u{7}=x"] {
            assert!(bad.parse::<Label>().is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_payload_that_is_not_json_or_too_large_is_refused_with_the_remedy() {
        let refused = async |payload: Payload| payload.read().await.unwrap_err().to_string();
        let message = refused(Payload::Text("hello".into())).await;
        assert!(message.contains("not JSON") && message.contains("quotes"), "{message}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.json");
        std::fs::write(&path, format!("\"{}\"", "x".repeat(limits::INLINE_BYTES - 2))).unwrap();
        assert_eq!(Payload::File(path.clone()).read().await.unwrap().len(), limits::INLINE_BYTES);
        std::fs::write(&path, format!("\"{}\"", "x".repeat(limits::INLINE_BYTES - 1))).unwrap();
        let message = refused(Payload::File(path)).await;
        assert!(message.contains("more than 65536 bytes") && message.contains("--input"), "{message}");
        let message = refused(Payload::File("nowhere.json".into())).await;
        assert!(message.contains("nowhere.json"), "{message}");
    }
}
