//! Messages for a lane: bodies that are no envelope, envelopes that break a bound, headers that nobody of ours wrote.

use super::Draw;
use bytes::Bytes;
use longshore_link::broker::Headers;
use longshore_model::envelope::Envelope;
use longshore_model::id::{Fence, Generation, JobId};
use longshore_model::limits;
use longshore_model::topic::Topic;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A message, and what has to become of it.
#[derive(Debug, Clone)]
pub struct BadMessage {
    /// Of what kind it is; with [`Self::number`] it names the case.
    pub kind: &'static str,
    /// Which of its kind.
    pub number: usize,
    /// The body.
    pub body: Bytes,
    /// The message id, which is anything.
    pub message_id: String,
    /// The headers.
    pub headers: Headers,
    /// What has to become of it.
    pub fate: Fate,
}

/// What has to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Once in quarantine, with a reason.
    Quarantine,
    /// A job like any other, which runs once.
    Runs(JobId),
    /// A job that must not run any more: it was too late when it came.
    Ends(JobId),
    /// Once in quarantine, or it is a job that ends.
    Either(JobId),
}

struct Made<'d> {
    all: Vec<BadMessage>,
    /// How many there are of each kind.
    counts: BTreeMap<&'static str, usize>,
    lane: Topic,
    now_ms: u64,
    draw: &'d mut Draw,
}

/// Messages for a lane, at least ten thousand with `thorough`, else some hundreds. `now_ms` is the wall clock that the
/// ids and times are made by.
#[must_use]
pub fn messages(seed: u64, lane: &Topic, now_ms: u64, thorough: bool) -> Vec<BadMessage> {
    let mut draw = Draw::new(seed);
    let mut made = Made { all: Vec::new(), counts: BTreeMap::new(), lane: lane.clone(), now_ms, draw: &mut draw };
    let step = |full: usize| if thorough { full } else { full * 40 };
    made.nothing_of_ours(if thorough { 1_000 } else { 30 });
    made.cut_at_every_byte(step(1));
    made.every_bit_flipped(step(1));
    made.fields();
    made.payloads();
    made.bounds();
    made.headers();
    made.splices(if thorough { 1_500 } else { 40 });
    made.all
}

impl Made<'_> {
    fn id(&mut self) -> JobId {
        let mut random = [0; 16];
        random[..8].copy_from_slice(&self.draw.number().to_le_bytes());
        random[8..].copy_from_slice(&self.draw.number().to_le_bytes());
        JobId::new(self.now_ms, random, 0)
    }

    /// A good envelope of a kilobyte, as JSON.
    fn good(&mut self) -> (JobId, Value) {
        let id = self.id();
        let text = "payload ".repeat(80);
        let envelope = json!({
            "v": 1, "id": id.to_string(), "topic": self.lane.as_str(),
            "payload": {"text": text, "number": 12.5, "list": [1, 2, 3], "nothing": null},
            "queue": "main", "title": "a job", "labels": {"customer": "a", "order": "b"}, "retries": 2,
        });
        (id, envelope)
    }

    fn push(&mut self, kind: &'static str, body: impl Into<Bytes>, fate: Fate) {
        let message_id = String::from_utf8_lossy(&self.draw.bytes(20)).into_owned();
        self.add(BadMessage { kind, number: 0, body: body.into(), message_id, headers: Headers::default(), fate });
    }

    fn add(&mut self, mut message: BadMessage) {
        let count = self.counts.entry(message.kind).or_default();
        message.number = *count;
        *count += 1;
        self.all.push(message);
    }

    /// A body about which nothing is known beforehand: the reader itself says whether it is an envelope for this lane.
    fn judged(&mut self, kind: &'static str, body: Vec<u8>) {
        let fate = match Envelope::decode(&body) {
            Ok(envelope) if envelope.topic == self.lane && envelope.payload_version == 1 => Fate::Either(envelope.id),
            // It waits for somebody who reads that version, which is no case of this test.
            Ok(envelope) if envelope.topic == self.lane => return,
            _ => Fate::Quarantine,
        };
        self.push(kind, body, fate);
    }

    fn nothing_of_ours(&mut self, count: usize) {
        for body in ["", " ", "\0", "null", "true", "0", "\"text\"", "[]", "{}", "{\"v\":1}", "[1,2", "}{"] {
            self.push("no envelope", body, Fate::Quarantine);
        }
        for _ in 0..count {
            let body = self.draw.bytes(300);
            self.judged("random bytes", body);
        }
    }

    fn cut_at_every_byte(&mut self, step: usize) {
        let body = self.good().1.to_string();
        for end in (0..body.len()).step_by(step) {
            self.push("cut", body.as_bytes()[..end].to_vec(), Fate::Quarantine);
        }
    }

    fn every_bit_flipped(&mut self, step: usize) {
        let body = self.good().1.to_string().into_bytes();
        for bit in (0..body.len() * 8).step_by(step) {
            let mut body = body.clone();
            body[bit / 8] ^= 1 << (bit % 8);
            self.judged("bit flipped", body);
        }
    }

    /// Each field missing, of every other type, and doubled.
    fn fields(&mut self) {
        let others = [
            Value::Null,
            json!(true),
            json!(-1),
            json!(0),
            json!(1.5),
            json!(u64::MAX),
            json!(""),
            json!("x"),
            json!([]),
            json!({}),
            json!(["a"]),
            json!({"a": {}}),
            json!("\u{0}"),
            json!("a".repeat(70_000)),
        ];
        let names: Vec<String> = self.good().1.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect();
        for name in &names {
            let (_, mut envelope) = self.good();
            envelope.as_object_mut().into_iter().for_each(|map| drop(map.remove(name)));
            self.judged("field missing", envelope.to_string().into_bytes());
            for other in &others {
                let (_, mut envelope) = self.good();
                envelope[name] = other.clone();
                self.judged("field of another type", envelope.to_string().into_bytes());
            }
            let (_, envelope) = self.good();
            let twice = format!("{{\"{name}\":{},{}", envelope[name], &envelope.to_string()[1..]);
            self.judged("field twice", twice.into_bytes());
        }
        for version in [0_u64, 2, 99, u64::from(u32::MAX), u64::MAX] {
            let (_, mut envelope) = self.good();
            envelope["v"] = json!(version);
            self.push("unknown version", envelope.to_string(), Fate::Quarantine);
        }
        let long = "f".repeat(1_000_000);
        for id in ["", "0", "not-an-id", "00000000-0000-0000-0000-00000000000", "019a2f6e-5d3c-7a10-9c44\u{0}", &long] {
            let (_, mut envelope) = self.good();
            envelope["id"] = json!(id);
            self.push("illegal id", envelope.to_string(), Fate::Quarantine);
        }
        let elsewhere = ["other/lane", "a/../b", "", "/", "a//b", "*", "**", "a b", "a.b", "\u{e9}", &long[..300]];
        for topic in elsewhere {
            let (_, mut envelope) = self.good();
            envelope["topic"] = json!(topic);
            self.push("another topic", envelope.to_string(), Fate::Quarantine);
        }
        let (id, mut envelope) = self.good();
        envelope["from_the_future"] = json!({"unknown": [1]});
        self.push("unknown field", envelope.to_string(), Fate::Runs(id));
    }

    /// Payloads as texts, since most of them no JSON library would write.
    fn payloads(&mut self) {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let keys = |count: usize| {
            let pairs: Vec<String> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", pairs.join(","))
        };
        let bad: Vec<Vec<u8>> = vec![
            b"".to_vec(),
            b"\xff".to_vec(),
            b"\"\xff\xfe\"".to_vec(),
            b"\"\xed\xa0\x80\"".to_vec(),
            b"\"a\0b\"".to_vec(),
            b"\xef\xbb\xbf{}".to_vec(),
            b"NaN".to_vec(),
            b"Infinity".to_vec(),
            b"01".to_vec(),
            b"1e".to_vec(),
            b"'x'".to_vec(),
            b"{\"a\":1,}".to_vec(),
            b"// c\n1".to_vec(),
            nested(limits::JSON_DEPTH + 1).into_bytes(),
            nested(10_000).into_bytes(),
            nested(400_000).into_bytes(),
            keys(limits::JSON_TOKENS / 2).into_bytes(),
            "[".repeat(500_000).into_bytes(),
            format!("\"{}\"", "x".repeat(limits::ENVELOPE_BYTES)).into_bytes(),
        ];
        for payload in bad {
            let body = self.with_payload(&payload).1;
            self.push("bad payload", body, Fate::Quarantine);
        }
        let good: Vec<Vec<u8>> = vec![
            b"-0".to_vec(),
            b"9223372036854775808".to_vec(),
            b"18446744073709551616".to_vec(),
            b"1e400".to_vec(),
            b"1e-400".to_vec(),
            b"{\"a\":1,\"a\":2}".to_vec(),
            b"\"\\ud800\"".to_vec(),
            b"\"\\u0000\"".to_vec(),
            "\"\u{202e}\u{feff}\u{1b}\"".replace('\u{1b}', "\\u001b").into_bytes(),
            nested(limits::JSON_DEPTH).into_bytes(),
            keys(1_000).into_bytes(),
            format!("\"{}\"", "x".repeat(200_000)).into_bytes(),
        ];
        for payload in good {
            let (id, body) = self.with_payload(&payload);
            self.push("odd payload", body, Fate::Runs(id));
        }
    }

    fn with_payload(&mut self, payload: &[u8]) -> (JobId, Vec<u8>) {
        let id = self.id();
        let mut body = format!("{{\"v\":1,\"id\":\"{id}\",\"topic\":\"{}\",\"payload\":", self.lane).into_bytes();
        body.extend_from_slice(payload);
        body.push(b'}');
        (id, body)
    }

    /// One more than each bound allows, and times that cannot be.
    fn bounds(&mut self) {
        let many = |count: usize| (0..count).map(|n| (format!("l{n}"), json!("x"))).collect::<serde_json::Map<_, _>>();
        let file = |name: &str, size: u64, digest: &str| json!([{"name": name, "size": size, "sha256": digest}]);
        let digest = "0".repeat(64);
        let long = |bytes: usize| json!("x".repeat(bytes));
        let files: Vec<Value> =
            (0..=limits::FILES).map(|n| json!({"name": n.to_string(), "size": 0, "sha256": digest})).collect();
        let beyond: Vec<(&str, Value)> = vec![
            ("labels", Value::Object(many(limits::LABELS + 1))),
            ("labels", json!({"x".repeat(limits::LABEL_BYTES + 1): "x"})),
            ("labels", json!({"x": "x".repeat(limits::LABEL_BYTES + 1)})),
            ("labels", json!({"": "x"})),
            ("labels", json!({"a=b": "x"})),
            ("labels", json!({"a": "\u{1b}[2J"})),
            ("title", long(limits::TITLE_BYTES + 1)),
            ("queue", long(limits::QUEUE_NAME_BYTES + limits::TOPIC_BYTES + 1)),
            ("created_by", long(limits::LABEL_BYTES + 1)),
            ("trace", json!({"traceparent": "x".repeat(limits::LABEL_BYTES * 2 + 1)})),
            ("retries", json!(i64::from(limits::RETRIES) + 1)),
            ("retries", json!(-2)),
            ("retry_delay_ms", json!(limits::DELAY_MS + 1)),
            ("timeout_ms", json!(limits::DELAY_MS + 1)),
            ("timeout_ms", json!(0)),
            ("files", file("../etc/passwd", 1, &digest)),
            ("files", file("..", 1, &digest)),
            ("files", file("a\u{0}", 1, &digest)),
            ("files", file(&"x".repeat(limits::FILE_NAME_BYTES + 1), 1, &digest)),
            ("files", file("x", limits::FILE_BYTES + 1, &digest)),
            ("files", file("x", 1, &"0".repeat(63))),
            ("files", file("x", 1, &"G".repeat(64))),
            ("files", json!([{"name": "x", "size": 0, "sha256": digest}, {"name": "x", "size": 0, "sha256": digest}])),
            ("files", Value::Array(files)),
        ];
        for (name, value) in beyond {
            let (_, mut envelope) = self.good();
            envelope[name] = value;
            self.push("beyond a bound", envelope.to_string(), Fate::Quarantine);
        }
        let century = 100 * 365 * 86_400_000_u64;
        for (at, late) in [(0, true), (1, true), (self.now_ms - century.min(self.now_ms), true)] {
            let (id, mut envelope) = self.good();
            envelope["expires_ms"] = json!(at);
            self.push("too late", envelope.to_string(), if late { Fate::Ends(id) } else { Fate::Runs(id) });
        }
        let (id, mut envelope) = self.good();
        envelope["expires_ms"] = json!(self.now_ms + century);
        self.push("far future", envelope.to_string(), Fate::Either(id));
        // Ids tell when they were made.
        for at in [0, 1, self.now_ms.saturating_sub(century), self.now_ms + century, (1 << 48) - 1] {
            let mut random = [0; 16];
            random[..8].copy_from_slice(&self.draw.number().to_le_bytes());
            let id = JobId::new(at, random, 0);
            let (_, mut envelope) = self.good();
            envelope["id"] = json!(id.to_string());
            self.push("id of another time", envelope.to_string(), Fate::Either(id));
        }
    }

    /// Good envelopes with headers that no copy of ours has.
    fn headers(&mut self) {
        let edges = [1, 2, 1_000, 1 << 31, 1 << 53, (1 << 53) + 1, u64::MAX >> 1, u64::MAX];
        for edge in edges {
            for which in 0..3 {
                let (id, envelope) = self.good();
                let mut headers = Headers::default();
                match which {
                    0 => headers.generation = Generation(edge),
                    1 => headers.fence = Fence(edge),
                    _ => headers.enqueued = Some(edge),
                }
                self.add(BadMessage {
                    kind: "odd header",
                    number: 0,
                    body: envelope.to_string().into(),
                    message_id: id.to_string(),
                    headers,
                    fate: Fate::Either(id),
                });
            }
        }
        let (id, envelope) = self.good();
        let headers = Headers { reason: Some("r\u{0}\u{1b}".repeat(2_000)), ..Headers::default() };
        self.add(BadMessage {
            kind: "odd header",
            number: 0,
            body: envelope.to_string().into(),
            message_id: "x".repeat(255),
            headers,
            fate: Fate::Runs(id),
        });
    }

    fn splices(&mut self, count: usize) {
        for _ in 0..count {
            let body = self.good().1.to_string().into_bytes();
            let body = self.draw.damaged(&body);
            self.judged("spliced", body);
        }
    }
}
