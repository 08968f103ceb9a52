//! How a message looks on the wire: properties and headers, to and from RabbitMQ's tables.
//!
//! Reading is lenient, because a foreign client may have set anything: what has the wrong type or is too long counts
//! as absent. Headers stay far below the broker's frame limit (a table that does not fit one frame costs the
//! whole connection), so free text is cut.

use super::errors::refused;
use crate::broker::{Headers, Message, Target};
use crate::error::Fault;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use longshore_model::envelope::Trace;
use longshore_model::id::{Fence, Generation};
use longshore_model::limits::{self, TRACEPARENT_BYTES, TRACESTATE_BYTES};
use longshore_model::names::{Park, headers};

/// Survives a restart of the broker. Confirmed messages that are not persistent do not.
const PERSISTENT: u8 = 2;
/// Is gone with a restart of the broker, as whoever listened is.
const TRANSIENT: u8 = 1;
/// The broker's own header about what it moved.
const DEATH: &str = "x-death";
/// Longest reason in a header, bytes.
const REASON_BYTES: usize = 2 * 1024;

/// The properties of a message to publish.
///
/// # Errors
/// When the message id is longer than AMQP allows.
pub(super) fn properties(message: &Message) -> Result<BasicProperties, Fault> {
    let id = ShortString::try_new(message.message_id.as_str())
        .map_err(|_| refused("a message id takes at most 255 bytes; use a shorter one"))?;
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(short("application/json"))
        .with_message_id(id)
        .with_headers(table(&message.headers, &message.target));
    Ok(match &message.target {
        Target::Jobs(lane) | Target::Lane(lane) | Target::Parked(_, lane) => {
            properties.with_type(short(lane.topic.as_str()))
        }
        Target::Journal(topic, _) => properties.with_type(short(topic.as_str())),
        Target::Event(_, topic) => properties.with_delivery_mode(TRANSIENT).with_type(short(topic.as_str())),
        Target::Quarantine | Target::Dead => properties,
    })
}

/// A short string of a text that is known to be short: names are at most 218 bytes by their grammar.
pub(super) fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

/// The header table of a copy.
fn table(values: &Headers, target: &Target) -> FieldTable {
    let mut table = FieldTable::default();
    let mut set = |name: &str, value: AMQPValue| {
        table.insert(short(name), value);
    };
    if values.generation.0 > 0 {
        set(headers::GENERATION, number(values.generation.0));
    }
    if let Some(ms) = values.enqueued {
        set(headers::ENQUEUED, number(ms));
    }
    if values.fence.0 > 0 {
        set(headers::FENCE, number(values.fence.0));
    }
    if let Some(park) = values.parked {
        set(headers::PARKED, number(park.ms()));
    }
    if let Target::Journal(_, start) = target {
        set(headers::START, number(*start));
    }
    if let Some(reason) = &values.reason {
        set(headers::REASON, text(&limits::cut(reason, REASON_BYTES)));
    }
    if let Some(trace) = &values.trace
        && trace.traceparent.len() <= TRACEPARENT_BYTES
    {
        set(headers::TRACEPARENT, text(&trace.traceparent));
        if let Some(state) = trace.tracestate.as_ref().filter(|state| state.len() <= TRACESTATE_BYTES) {
            set(headers::TRACESTATE, text(state));
        }
    }
    table
}

/// What the properties of a delivery say of the copy.
pub(super) fn read(properties: &BasicProperties) -> Headers {
    let Some(table) = properties.headers() else { return Headers::default() };
    let get = |name: &str| table.inner().get(name);
    Headers {
        generation: Generation(get(headers::GENERATION).and_then(as_number).unwrap_or(0)),
        enqueued: get(headers::ENQUEUED).and_then(as_number),
        fence: Fence(get(headers::FENCE).and_then(as_number).unwrap_or(0)),
        parked: get(headers::PARKED).and_then(as_number).map(Park::at_least),
        reason: get(headers::REASON).and_then(as_text).map(|reason| limits::cut(&reason, REASON_BYTES)),
        trace: get(headers::TRACEPARENT).and_then(as_text).filter(|text| text.len() <= TRACEPARENT_BYTES).map(
            |traceparent| {
                let state = get(headers::TRACESTATE).and_then(as_text);
                Trace { traceparent, tracestate: state.filter(|text| text.len() <= TRACESTATE_BYTES) }
            },
        ),
    }
}

/// When a job of the journal is to start, ms.
pub(super) fn start(properties: &BasicProperties) -> Option<u64> {
    properties.headers().as_ref()?.inner().get(headers::START).and_then(as_number)
}

/// Why, and from which queue, the broker moved a message last.
pub(super) fn death(properties: &BasicProperties) -> Option<(String, String)> {
    let AMQPValue::FieldArray(deaths) = properties.headers().as_ref()?.inner().get(DEATH)? else { return None };
    // Newest first.
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else { return None };
    let get = |name: &str| last.inner().get(name).and_then(as_text);
    Some((get("reason")?, get("queue")?))
}

/// The same properties for a second publish: without the headers that belong to the broker, and persistent.
pub(super) fn again(properties: BasicProperties) -> BasicProperties {
    let mut kept = FieldTable::default();
    if let Some(table) = properties.headers() {
        for (name, value) in table.inner().iter().filter(|(name, _)| !name.as_str().starts_with("x-")) {
            kept.insert(name.clone(), value.clone());
        }
    }
    properties.with_headers(kept).with_delivery_mode(PERSISTENT)
}

fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.as_bytes().into())
}

/// Any integer type that a client library may have chosen; negative ones are not ours.
fn as_number(value: &AMQPValue) -> Option<u64> {
    match *value {
        AMQPValue::LongLongInt(value) => u64::try_from(value).ok(),
        AMQPValue::LongInt(value) => u64::try_from(value).ok(),
        AMQPValue::ShortInt(value) => u64::try_from(value).ok(),
        AMQPValue::ShortShortInt(value) => u64::try_from(value).ok(),
        AMQPValue::LongUInt(value) => Some(u64::from(value)),
        AMQPValue::ShortUInt(value) => Some(u64::from(value)),
        AMQPValue::ShortShortUInt(value) => Some(u64::from(value)),
        AMQPValue::Timestamp(value) => Some(value),
        _ => None,
    }
}

fn as_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(value) => String::from_utf8(value.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(value) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use longshore_model::topic::Topic;

    fn message(headers: Headers) -> Message {
        let target = Target::Jobs(Topic::new("media/thumbnail").unwrap().into());
        Message { target, message_id: "m-1".into(), headers, body: Bytes::new() }
    }

    #[test]
    fn headers_come_back_as_they_were() {
        for headers in [
            Headers::default(),
            Headers {
                generation: Generation(3),
                enqueued: Some(1_763_719_000_123),
                fence: Fence(1_763_719_000_123_456),
                parked: Some(Park::Middle),
                reason: Some("not an envelope".into()),
                trace: Some(Trace { traceparent: "00-a-b-01".into(), tracestate: Some("k=v".into()) }),
            },
        ] {
            let properties = properties(&message(headers.clone())).unwrap();
            assert_eq!(read(&properties), headers);
            assert_eq!(*properties.delivery_mode(), Some(2));
            assert_eq!(properties.kind().as_ref().unwrap().as_str(), "media/thumbnail");
        }
    }

    #[test]
    fn what_a_foreign_client_sets_is_taken_leniently() {
        let mut table = FieldTable::default();
        table.insert(headers::GENERATION.into(), AMQPValue::LongInt(7));
        table.insert(headers::ENQUEUED.into(), AMQPValue::LongLongInt(-5));
        table.insert(headers::FENCE.into(), text("not a number"));
        table.insert(headers::PARKED.into(), AMQPValue::Void);
        table.insert(headers::REASON.into(), AMQPValue::LongString(vec![0xff, 0xfe].into()));
        let read = read(&BasicProperties::default().with_headers(table));
        assert_eq!(read, Headers { generation: Generation(7), ..Headers::default() });
    }

    #[test]
    fn free_text_cannot_burst_the_frame() {
        let trace = Some(Trace { traceparent: "t".repeat(9_000), tracestate: Some("s".repeat(9_000)) });
        let headers = Headers { reason: Some("r".repeat(100_000)), trace, ..Headers::default() };
        let read = read(&properties(&message(headers)).unwrap());
        assert!(read.reason.unwrap().len() <= REASON_BYTES);
        assert_eq!(read.trace, None);
    }

    #[test]
    fn the_last_death_is_the_first_in_the_list() {
        let death = |reason: &str, queue: &str| {
            let mut table = FieldTable::default();
            table.insert("reason".into(), text(reason));
            table.insert("queue".into(), text(queue));
            AMQPValue::FieldTable(table)
        };
        let of = |value: AMQPValue| {
            let mut table = FieldTable::default();
            table.insert(DEATH.into(), value);
            super::death(&BasicProperties::default().with_headers(table))
        };
        let deaths = vec![death("delivery_limit", "lane"), death("expired", "park")];
        assert_eq!(of(AMQPValue::FieldArray(deaths.into())), Some(("delivery_limit".into(), "lane".into())));
        assert_eq!(of(AMQPValue::FieldArray(Vec::new().into())), None);
        assert_eq!(of(AMQPValue::Boolean(true)), None);
        assert_eq!(super::death(&BasicProperties::default()), None);
    }

    #[test]
    fn a_second_publish_drops_only_what_belongs_to_the_broker() {
        let mut table = FieldTable::default();
        table.insert("x-death".into(), AMQPValue::Void);
        table.insert("mine".into(), AMQPValue::Boolean(true));
        let again = again(BasicProperties::default().with_headers(table).with_message_id("m".into()));
        let names: Vec<_> = again.headers().as_ref().unwrap().inner().keys().map(ToString::to_string).collect();
        assert_eq!(names, ["mine"]);
        assert_eq!(again.message_id().as_ref().unwrap().as_str(), "m");
    }
}
