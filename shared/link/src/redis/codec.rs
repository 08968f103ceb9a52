//! Jobs as the store keeps them: the fields of the hot record (listed in job.lua) and the details around it.

use super::args::PROPERTY;
use super::reply::Items;
use crate::error::Fault;
use crate::store::{Known, Loss};
use longshore_model::gate::{GateName, Gates};
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::kind::KindCounts;
use longshore_model::priority::Priority;
use longshore_model::record::{PastAttempt, Reason, Record, State, WaitsAt};
use longshore_model::snapshot::{LogLine, Snapshot};
use longshore_model::unique::Unique;
use redis::Value;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::str::FromStr;

/// The fields of a hash; empty ones are absent ones.
struct Fields(BTreeMap<String, String>);

impl Fields {
    /// From names and values by turns.
    fn of(value: Value) -> Result<Self, Fault> {
        let mut texts = Items::of(value)?.texts()?.into_iter();
        let mut fields = BTreeMap::new();
        while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
            if !value.is_empty() {
                fields.insert(name, value);
            }
        }
        Ok(Self(fields))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// A text that may be empty: `+` stands in front of it.
    fn said(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(|text| text.strip_prefix('+')).map(ToOwned::to_owned)
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let read = |text: &String| text.parse().map_err(|_| format!("field {name} of its record cannot be read"));
        self.0.get(name).map(read).transpose()
    }

    fn needed<T: FromStr>(&self, name: &str) -> Result<T, String> {
        self.parsed(name)?.ok_or_else(|| format!("its record has no field {name}"))
    }
}

/// Reads a hot record. The inner error says what is wrong with it.
pub(super) fn record(id: JobId, value: Value) -> Result<Result<Record, String>, Fault> {
    Ok(read_record(id, &Fields::of(value)?))
}

fn read_record(id: JobId, fields: &Fields) -> Result<Record, String> {
    let state: State = fields.needed("st")?;
    let since = fields.needed("si")?;
    let owner = fields.text("oc").map(|incarnation| Owner {
        instance: InstanceId(fields.text("oi").unwrap_or_default()),
        incarnation: Incarnation(incarnation),
    });
    Ok(Record {
        id,
        topic: fields.needed("tp")?,
        queue: fields.needed("qu")?,
        state,
        reason: fields.parsed::<Reason>("re")?,
        generation: Generation(fields.needed("ge")?),
        fence: Fence(fields.needed("fe")?),
        attempts: fields.needed("at")?,
        failures: fields.needed("fa")?,
        crashes: fields.needed("cr")?,
        max_retries: fields.needed("mr")?,
        max_crashes: fields.needed("mc")?,
        owner,
        nonce: fields.text("no").unwrap_or_default(),
        created: fields.needed("ct")?,
        since,
        due: if state.waits_for_time() { fields.parsed("du")? } else { None },
        started: fields.parsed("sa")?,
        finished: state.is_terminal().then_some(since),
        lease: if state == State::Active { fields.parsed("le")? } else { None },
        expires: fields.parsed("ex")?,
        cancel: fields.said("cn"),
        message: fields.said("me"),
        outbox: if state == State::Queued { fields.parsed("ob")? } else { None },
        published: if state == State::Queued { fields.parsed("pb")? } else { None },
        republished: if state == State::Queued { fields.parsed("hi")?.unwrap_or(0) } else { 0 },
        retried_as: fields.parsed("ra")?,
        gates: Gates {
            priority: Priority::of_rank(fields.parsed("pr")?.unwrap_or(0)),
            ..Gates::parse(&fields.text("ga").unwrap_or_default(), fields.text("tu").unwrap_or_default())
        },
        site: fields.parsed("wh")?,
        unique: fields.text("uq").as_deref().and_then(Unique::parse),
        place: fields.parsed("sq")?,
        waits_at: if state == State::Blocked { waits_at(fields) } else { None },
        kinds: KindCounts::parse(&fields.text("kd").unwrap_or_default()),
        retry_until: fields.parsed("ru")?,
    })
}

/// The gate, and the turn, a line each.
fn waits_at(fields: &Fields) -> Option<WaitsAt> {
    let text = fields.text("wg")?;
    let (gate, turn) = text.split_once('\n')?;
    Some(WaitsAt { gate: GateName::parse(gate)?, turn: turn.to_owned() })
}

/// Reads one job of load.lua: `None` when there is none; the inner error says what is wrong with it.
pub(super) fn loaded(id: JobId, now: u64, mut items: Items) -> Result<Option<Result<Snapshot, String>>, Fault> {
    let Some(found) = found(id, &mut items)? else { return Ok(None) };
    let record = match found {
        Ok(record) => record,
        Err(why) => return Ok(Some(Err(why))),
    };
    let Value::BulkString(envelope) = items.value()? else {
        return Ok(Some(Err("its envelope is gone".into())));
    };
    let result = match items.value()? {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    };
    let detail = Fields::of(items.value()?)?;
    let log: Vec<LogLine> = lines(items.items()?)?;
    let attempts: Vec<PastAttempt> = lines(items.items()?)?;
    let past = Fields::of(items.value()?)?.0;
    let read = |(number, text): (String, String)| Some((number.parse().ok()?, serde_json::from_str(&text).ok()?));
    let past = past.into_iter().filter_map(read).collect();
    let properties = detail
        .0
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(PROPERTY)?.to_owned(), value.clone())))
        .collect();
    Ok(Some(Ok(Snapshot {
        record,
        envelope,
        result,
        progress: detail.0.get("p").and_then(|text| serde_json::from_str(text).ok()),
        properties,
        log,
        log_dropped: detail.0.get("ld").and_then(|text| text.parse().ok()).unwrap_or_default(),
        outputs: detail.0.get("o").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        attempts,
        past,
        now,
    })))
}

/// Reads the head of one job of load.lua, and its record.
pub(super) fn found(id: JobId, items: &mut Items) -> Result<Option<Result<Record, String>>, Fault> {
    let Ok(Value::BulkString(kind)) = items.value() else { return Ok(None) };
    if kind == b"ok" { record(id, items.value()?).map(Some) } else { Ok(Some(Err(items.text()?))) }
}

/// JSON lines; one that cannot be read is left out.
fn lines<T: DeserializeOwned>(items: Items) -> Result<Vec<T>, Fault> {
    Ok(items.texts()?.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Reads a span of loss; one that cannot be read is reported, and is none.
pub(super) fn loss(epoch: u64, text: &str) -> Option<Loss> {
    let read = || {
        let value: serde_json::Value = serde_json::from_str(text).ok()?;
        let before = value.get("before").and_then(|before| {
            let number = |name: &str| before.get(name)?.as_u64();
            Some(Known {
                epoch: number("epoch")?,
                tick: number("tick")?,
                scheduled: number("scheduled")?,
                retrying: number("retrying")?,
                queued: number("queued")?,
                active: number("active")?,
                blocked: number("blocked").unwrap_or_default(),
            })
        });
        let number = |name: &str| value.get(name)?.as_u64();
        let kind = value.get("kind")?.as_str()?.parse().ok()?;
        let held = value.get("held").and_then(serde_json::Value::as_bool).unwrap_or_default();
        Some(Loss { epoch, kind, from: number("from")?, to: number("to")?, before, held })
    };
    let loss = read();
    if loss.is_none() {
        tracing::warn!(epoch, "what the store says of a loss cannot be read");
    }
    loss
}
