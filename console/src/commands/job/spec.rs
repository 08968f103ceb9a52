//! A job as somebody wrote it down: on the command line, or as a line of an import.

use super::patience::Patience;
use crate::args;
use longshore_model::envelope::LimitUse;
use longshore_producer::{JobBuilder, JobId, Placement, Priority, Producer, Time, Unique};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

/// A job and its options. What is absent is left to the topic's queue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    pub(crate) topic: String,
    /// Default `null`.
    #[serde(default)]
    pub(crate) payload: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) id: Option<JobId>,
    #[serde(default, rename = "in", deserialize_with = "duration")]
    pub(crate) after: Option<Duration>,
    #[serde(default, deserialize_with = "time")]
    pub(crate) at: Option<Time>,
    #[serde(default)]
    pub(crate) retries: Option<i32>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) retry_delay: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) soft_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) stall_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) retry_for: Option<Duration>,
    /// Each `KIND=RETRIES[,DELAY[,xFACTOR,MAX]]`.
    #[serde(default)]
    pub(crate) retry_on: Vec<String>,
    #[serde(default, deserialize_with = "duration")]
    pub(crate) expires: Option<Duration>,
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) order_key: Option<String>,
    #[serde(default)]
    pub(crate) limits: Vec<LimitUse>,
    #[serde(default)]
    pub(crate) turn: Option<String>,
    #[serde(default)]
    pub(crate) priority: Option<Priority>,
    #[serde(default)]
    pub(crate) placement: Option<Placement>,
    #[serde(default)]
    pub(crate) unique: Option<Unique>,
    #[serde(default)]
    pub(crate) index: Vec<String>,
    #[serde(default, alias = "files")]
    pub(crate) inputs: Vec<InputFile>,
}

/// A payload file: `FILE`, or `NAME=FILE` for another name in the attempt's directory (O12: both ways to write it).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct InputFile {
    pub(crate) name: Option<String>,
    pub(crate) path: PathBuf,
}

impl From<String> for InputFile {
    /// A file whose own name has a `=` is meant as it is, where it is there.
    fn from(text: String) -> Self {
        match text.split_once('=') {
            Some((name, path)) if !name.contains('/') && !path.is_empty() && !PathBuf::from(&text).exists() => {
                Self { name: Some(name.to_owned()), path: path.into() }
            }
            _ => Self { name: None, path: text.into() },
        }
    }
}

impl std::str::FromStr for InputFile {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::from(text.to_owned()))
    }
}

impl Spec {
    /// Reads a line of an import.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        let spec: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if spec.after.is_some() && spec.at.is_some() {
            return Err("both `in` and `at`; use one of them".into());
        }
        Ok(spec)
    }

    /// The job that it describes; what is wrong with it is told when it is sent.
    pub(crate) fn build(self, producer: &Producer) -> JobBuilder {
        let payload = self.payload.as_ref().map_or("null", |payload| payload.get());
        let mut job = producer.raw(&self.topic, payload);
        job = set(job, self.id, JobBuilder::id);
        job = set(job, self.after, JobBuilder::after);
        job = set(job, self.at, JobBuilder::at);
        job = set(job, self.retries, JobBuilder::retries);
        job = set(job, self.retry_delay, JobBuilder::retry_delay);
        job = set(job, self.timeout, JobBuilder::timeout);
        let Self { soft_timeout, stall_timeout, retry_for, retry_on, .. } = self;
        job = Patience { soft_timeout, stall_timeout, retry_for, retry_on }.set(job);
        job = set(job, self.expires, JobBuilder::expires_in);
        job = set(job, self.title, JobBuilder::title);
        job = set(job, self.order_key, JobBuilder::order_key);
        job = set(job, self.turn, JobBuilder::turn);
        job = set(job, self.priority, JobBuilder::priority);
        job = set(job, self.placement, JobBuilder::placement);
        job = set(job, self.unique, |job, Unique { key, mode, ms }| {
            job.unique_mode(key, mode, Duration::from_millis(ms))
        });
        for limit in self.limits {
            job = job.limit_key(limit.name, limit.key);
        }
        for (name, value) in self.labels {
            job = job.label(name, value);
        }
        for path in self.index {
            job = job.index(path);
        }
        for InputFile { name, path } in self.inputs {
            job = match name {
                Some(name) => job.file_as(name, path),
                None => job.file(path),
            };
        }
        job
    }
}

fn set<T>(job: JobBuilder, value: Option<T>, with: impl FnOnce(JobBuilder, T) -> JobBuilder) -> JobBuilder {
    match value {
        Some(value) => with(job, value),
        None => job,
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    text(deserializer, args::duration)
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    text(deserializer, args::time)
}

fn text<'de, D, T, E>(deserializer: D, read: fn(&str) -> Result<T, E>) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    E: Display,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| read(&text).map_err(serde::de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_set_every_option() {
        let line = br#"{"topic": "a/b", "payload": {"n": 1.50}, "id": "019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00",
            "in": "5m", "retries": -1, "retry_delay": "1s", "timeout": "2m", "soft_timeout": "1m",
            "stall_timeout": "30s", "retry_for": "1h", "retry_on": ["timeout=2"], "expires": "1d", "title": "T",
            "labels": {"k": "v"}, "inputs": ["x.png"], "order_key": "k", "limits": [{"name": "l", "key": "x"}],
            "turn": "t", "priority": "urgent", "placement": "leader", "unique": {"key": "u", "mode": "period", "ms": 5}}"#;
        let spec = Spec::read(line).unwrap();
        assert_eq!(spec.payload.unwrap().get(), "{\"n\": 1.50}");
        assert_eq!((spec.after, spec.retries), (Some(Duration::from_secs(300)), Some(-1)));
        assert_eq!(spec.labels["k"], "v");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_named() {
        let check = |line: &str, part: &str| {
            let why = Spec::read(line.as_bytes()).unwrap_err();
            assert!(why.contains(part), "{line}: {why}");
        };
        check("{\"topic\": \"a\", \"retires\": 1}", "unknown field `retires`, expected one of `topic`");
        check("{\"payload\": 1}", "missing field `topic`");
        check("{\"topic\": \"a\", \"timeout\": 5}", "expected a string");
        check("{\"topic\": \"a\", \"timeout\": \"soon\"}", "not a length of time");
        check("{\"topic\": \"a\", \"in\": \"1s\", \"at\": \"2026-11-21T10:00:00Z\"}", "both");
        check("{\"topic\": \"a\"} x", "trailing");
        check("[]", "expected");
    }

    #[test]
    fn o12_payload_files_are_written_both_ways() {
        let lines = [r#""inputs": ["a/x.png", "y=a/z.png"]"#, r#""files": ["a/x.png", "y=a/z.png"]"#];
        for line in lines {
            let spec = Spec::read(format!("{{\"topic\": \"a\", {line}}}").as_bytes()).unwrap();
            let plain = InputFile { name: None, path: "a/x.png".into() };
            assert_eq!(spec.inputs, [plain, InputFile { name: Some("y".into()), path: "a/z.png".into() }]);
        }
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("a=b");
        std::fs::write(&odd, "").unwrap();
        let text = odd.display().to_string();
        assert_eq!(InputFile::from(text.clone()), InputFile { name: None, path: text.into() });
    }
}
