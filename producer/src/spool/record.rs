//! One job on disk: a line of its CRC-32 in hex, a blank, and JSON.
//!
//! A line ends with its newline and holds none before it, so that whatever happens to one line, the next one can be
//! found; a line without an end was never promised to anybody.

use crate::builder::Prepared;
use bytes::Bytes;
use longshore_link::store::NewJob;
use longshore_model::envelope::Envelope;
use longshore_model::record::{Admission, Expiry, Start};
use longshore_model::{JobId, Topic};
use serde::{Deserialize, Serialize};

/// Bytes before the JSON: eight hex digits and a blank.
const HEAD: usize = 9;

/// A job, as it is written. Times are this machine's, ms since 1970: the store that will take it cannot be asked.
#[derive(Serialize, Deserialize)]
struct Line {
    id: JobId,
    topic: Topic,
    queue: String,
    /// When it becomes runnable; absent: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<u64>,
    /// Its queue drops it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    never: bool,
    max_retries: i32,
    max_crashes: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_of: Option<JobId>,
    /// When it was spooled, for people.
    spooled: u64,
    /// The envelope's JSON text.
    envelope: String,
}

/// The line of a job, with its end.
pub(super) fn encode(job: &NewJob, now_ms: u64) -> Result<Bytes, serde_json::Error> {
    let admission = &job.admission;
    let line = Line {
        id: admission.id,
        topic: admission.topic.clone(),
        queue: admission.queue.clone(),
        start: match admission.start {
            Start::Now | Start::Never => None,
            // From when it was sent, however long the outage lasts.
            Start::After(ms) => Some(now_ms.saturating_add(ms)),
            Start::At(at) => Some(at),
        },
        never: admission.start == Start::Never,
        max_retries: admission.max_retries,
        max_crashes: admission.max_crashes,
        expires: admission.expires.map(|expires| match expires {
            Expiry::After(ms) => now_ms.saturating_add(ms),
            Expiry::At(at) => at,
        }),
        retry_of: job.retry_of,
        spooled: now_ms,
        // Envelopes are made by this crate, as JSON.
        envelope: String::from_utf8_lossy(&job.envelope).into_owned(),
    };
    let json = serde_json::to_string(&line)?;
    Ok(format!("{:08x} {json}\n", crc32fast::hash(json.as_bytes())).into())
}

/// The job of a line, which may have its end or not.
pub(super) fn decode(line: &[u8]) -> Result<Prepared, String> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (head, json) = line.split_at_checked(HEAD).ok_or("it is too short")?;
    let crc = std::str::from_utf8(&head[..HEAD - 1]).ok().and_then(|hex| u32::from_str_radix(hex, 16).ok());
    if crc != Some(crc32fast::hash(json)) || head[HEAD - 1] != b' ' {
        return Err("its checksum does not fit".to_owned());
    }
    let line: Line = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let envelope = Envelope::decode(line.envelope.as_bytes()).map_err(|error| error.to_string())?;
    let admission = Admission {
        id: line.id,
        topic: line.topic,
        gates: envelope.gates(&line.queue),
        site: envelope.site.clone(),
        unique: envelope.unique.clone(),
        queue: line.queue,
        start: if line.never { Start::Never } else { line.start.map_or(Start::Now, Start::At) },
        max_retries: line.max_retries,
        max_crashes: line.max_crashes,
        expires: line.expires.map(Expiry::At),
    };
    let fields = envelope.fields();
    let Envelope { labels, trace, .. } = envelope;
    let job =
        NewJob { admission, envelope: line.envelope.into(), labels, fields, again: false, retry_of: line.retry_of };
    Ok(Prepared { job, trace })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use longshore_model::gate::Gates;
    use longshore_model::indexed::Fields;
    use std::collections::BTreeMap;

    /// A job whose payload has everything that a line must not have.
    pub(crate) fn job(n: u64) -> NewJob {
        let id = JobId::new(1_700_000_000_000 + n, [7; 16], 0);
        let envelope = format!(
            "{{\"v\":1,\"id\":\"{id}\",\"topic\":\"a/b\",\n \"payload\": \"ä \\n {n}\",\r\n\"labels\":{{\"k\":\"v\"}}}}"
        );
        let admission = Admission {
            id,
            topic: Topic::new("a/b").unwrap(),
            queue: "main".into(),
            start: Start::After(5_000),
            max_retries: -1,
            max_crashes: 3,
            expires: Some(Expiry::After(9_000)),
            gates: Gates::default(),
            site: None,
            unique: None,
        };
        let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        NewJob { admission, envelope: envelope.into(), labels, fields: Fields::new(), again: false, retry_of: None }
    }

    #[test]
    fn a_job_comes_back_with_its_times_made_absolute() {
        let line = encode(&job(1), 1_000).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let back = decode(&line).unwrap().job;
        let sent = job(1);
        assert_eq!(back.admission.start, Start::At(6_000));
        assert_eq!(back.admission.expires, Some(Expiry::At(10_000)));
        assert_eq!((back.envelope, back.labels, back.retry_of), (sent.envelope, sent.labels, sent.retry_of));
        let Admission { id, topic, queue, max_retries, max_crashes, .. } = sent.admission;
        let found = back.admission;
        assert_eq!((found.id, found.topic, found.queue), (id, topic, queue));
        assert_eq!((found.max_retries, found.max_crashes), (max_retries, max_crashes));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let line = encode(&job(1), 1_000).unwrap();
        for at in 0..line.len() - 1 {
            for bit in 0..8 {
                let mut bad = line.to_vec();
                bad[at] ^= 1 << bit;
                // A hex digit in the other case is the same number.
                if bad[at].eq_ignore_ascii_case(&line[at]) && at < HEAD - 1 {
                    continue;
                }
                assert!(decode(&bad).is_err(), "bit {bit} of byte {at}");
            }
        }
        for end in 0..line.len() - 1 {
            assert!(decode(&line[..end]).is_err(), "{end} bytes");
        }
    }
}
