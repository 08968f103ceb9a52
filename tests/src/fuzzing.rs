//! What is fuzzed: one function for each kind of input, called by the targets in `fuzz/` and by `tests/bad_input.rs`.
//!
//! Each takes any bytes, must not panic, and checks what has to hold whatever they are: what is accepted can be
//! written and read again, what is refused says why, and nothing gets larger than its bound.

use crate::bad::Corpus;
use longshore_consumer::program::exec::protocol::{Ending, ExecLine, Lines};
use longshore_consumer::program::http::{Endpoint, HttpOutcome, judge};
use longshore_consumer::program::reply::Reply;
use longshore_model::envelope::Envelope;
use longshore_model::queue::Queues;
use longshore_model::settings::Settings;
use longshore_model::{Topic, TopicPattern, limits};
use std::time::{Duration, UNIX_EPOCH};

/// Calls the function of a corpus.
pub fn run(corpus: Corpus, bytes: &[u8]) {
    match corpus {
        Corpus::Envelope => envelope(bytes),
        Corpus::Topic => topic(bytes),
        Corpus::Settings => settings(bytes),
        Corpus::Exec => exec(bytes),
        Corpus::Http => http(bytes),
        Corpus::Arguments => arguments(bytes),
    }
}

/// An envelope that is read is within its bounds, and is written and read again as it was.
pub fn envelope(bytes: &[u8]) {
    match Envelope::decode(bytes) {
        Err(bad) => said(&bad.to_string()),
        Ok(envelope) => {
            let written = envelope.encode().expect("what was read can be written");
            let again = Envelope::decode(&written).expect("what was written can be read");
            assert_eq!(
                (again.id, &again.topic, again.payload.get()),
                (envelope.id, &envelope.topic, envelope.payload.get())
            );
        }
    }
}

/// A topic survives its dotted form, and a pattern takes what a naive matcher takes.
pub fn topic(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (topic, pattern) = text.split_once('\n').unwrap_or((&text, &text));
    let (topic, read) = (Topic::new(topic), TopicPattern::new(pattern));
    if let Ok(pattern) = &read {
        assert_eq!(TopicPattern::new(&pattern.to_string()).as_ref(), Ok(pattern));
    }
    for bad in [topic.as_ref().err(), read.as_ref().err()].into_iter().flatten() {
        said(&bad.to_string());
    }
    // The older form of patterns is read by a grammar of its own.
    let _ = TopicPattern::from_queue_pattern(pattern);
    if let (Ok(topic), Ok(read)) = (topic, read) {
        assert_eq!(Topic::from_dotted(&topic.dotted()).as_ref(), Ok(&topic));
        assert_eq!(read.matches(&topic), naive(pattern, topic.as_str()), "{pattern} and {topic}");
    }
}

/// Whether a pattern takes a topic, segment by segment.
fn naive(pattern: &str, topic: &str) -> bool {
    let (pattern, topic): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), topic.split('/').collect());
    match pattern.split_last() {
        Some((&"**", base)) => topic.len() > base.len() && topic.starts_with(base),
        Some((&"*", base)) => topic.len() == base.len() + 1 && topic.starts_with(base),
        _ => pattern == topic,
    }
}

/// A settings file is read, or each of its problems is a line that names where it is.
pub fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Settings::read(Some(("fuzz.toml", &text)), [], &[]) {
        Ok(loaded) => {
            for row in loaded.table() {
                assert!(row.value.len() <= text.len() + 200, "{} grew", row.key);
            }
            let _ = Queues::new(loaded.queues, 2);
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            problems.0.iter().for_each(|problem| said(&problem.to_string()));
        }
    }
    // The same text as one value of the environment.
    let environment =
        [("LONGSHORE_NAMESPACE", &text), ("LONGSHORE_STORE__URL", &text), ("LONGSHORE_LEASE__BEAT", &text)];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_string()));
    if let Err(problems) = Settings::read(None, environment, &[]) {
        problems.0.iter().for_each(|problem| said(&problem.to_string()));
    }
}

/// Lines of a handler's program come out within their bounds, however the stream is cut; whatever is left is a result.
pub fn exec(bytes: &[u8]) {
    let cut = bytes.first().map_or(1, |byte| usize::from(*byte) + 1);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for (lines, piece) in [(&mut one, bytes.len().max(1)), (&mut other, cut)] {
        let mut reader = Lines::default();
        for part in bytes.chunks(piece) {
            reader.push(part, |line| lines.push(line));
        }
        reader.finish(|line| lines.push(line));
    }
    assert_eq!(one, other, "where the stream is cut changes nothing");
    for line in &one {
        match line {
            ExecLine::Log(text) => assert!(text.len() <= limits::LOG_LINE_BYTES),
            ExecLine::Progress { step, steps, text } => {
                assert!(step <= steps && *steps > 0 && text.len() <= limits::MESSAGE_BYTES);
            }
            ExecLine::Kind(kind) => assert!(longshore_model::kind::check(kind).is_ok()),
            ExecLine::Beat => {}
            ExecLine::Set { name, value } => {
                assert!(!name.is_empty() && name.len() <= limits::LABEL_BYTES);
                assert!(value.to_string().len() <= limits::PROPERTY_BYTES);
            }
        }
    }
    let mut reply = Reply::default();
    reply.push(bytes);
    for status in [0, 65, 75, i32::MIN, i32::MAX] {
        let outcome = format!("{:?}", Ending::Exited(status).outcome(&reply, None));
        assert!(!outcome.is_empty());
    }
}

/// An answer (status, headers, empty line, body) is one of the four outcomes, with a message within its bound.
pub fn http(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let status: u16 = lines.next().and_then(|line| line.trim().parse().ok()).unwrap_or(200);
    let mut answer = http::Response::builder().status(status);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if let (Ok(name), Ok(value)) =
            (http::HeaderName::from_bytes(name.as_bytes()), http::HeaderValue::from_str(value.trim()))
        {
            answer = answer.header(name, value);
        }
    }
    let Ok(answer) = answer.body(body.as_bytes().to_vec()) else { return };
    let endpoint = Endpoint::new("http://user:canary@host/run?token=canary").expect("an endpoint");
    let judged = futures_util::FutureExt::now_or_never(judge(&endpoint, answer.into(), || UNIX_EPOCH));
    match judged.expect("a body that is at hand needs no waiting") {
        HttpOutcome::Succeeded(value) => assert!(value.to_string().len() <= limits::RESULT_BYTES),
        HttpOutcome::Snooze(delay) => assert!(delay <= Duration::from_millis(limits::DELAY_MS)),
        HttpOutcome::Retry(why, _) | HttpOutcome::Permanent(why, _) => {
            assert!(why.len() <= limits::MESSAGE_BYTES && !why.contains("user:canary"));
            said(&why);
        }
        HttpOutcome::Interrupted => panic!("nobody interrupted it"),
    }
}

/// A command line is understood, or refused with a message.
pub fn arguments(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(why) = longshore::parse(text.split('\n').map(Into::into)) {
        said(&why);
    }
}

/// A refusal has to say something, on few lines.
fn said(why: &str) {
    assert!(!why.trim().is_empty() && why.len() < 20_000, "{why:?}");
}
