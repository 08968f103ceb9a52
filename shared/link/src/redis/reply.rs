//! What the scripts answer, read with care: an answer of another shape is a fault, never a panic.

use crate::error::{Fault, NotAccepted, Service};
use crate::store::{Accepted, Claimed, Completed, Controlled, Finished, NewJob, Outgoing, Rebuilt, Restored};
use bytes::Bytes;
use longshore_model::id::{Fence, Generation, JobId};
use longshore_model::kind::KindCounts;
use longshore_model::lane::Lane;
use longshore_model::priority::Priority;
use longshore_model::transition::Answer;
use redis::Value;
use std::str::FromStr;

/// The elements of an array, in order.
#[derive(Debug)]
pub(super) struct Items(std::vec::IntoIter<Value>);

/// The operation may have happened; its answer cannot be read.
pub(super) fn unexpected(what: &str) -> Fault {
    Fault::unknown(Service::Store, format!("its answer cannot be read: {what}"))
}

impl Items {
    /// The elements of an array.
    pub(super) fn of(value: Value) -> Result<Self, Fault> {
        match value {
            Value::Array(items) => Ok(Self(items.into_iter())),
            Value::Nil => Ok(Self(Vec::new().into_iter())),
            _ => Err(unexpected("no list where one belongs")),
        }
    }

    /// Whether every element was read.
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The next element, as it is.
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        self.0.next().ok_or_else(|| unexpected("a list is too short"))
    }

    /// The next element, a list.
    pub(super) fn items(&mut self) -> Result<Self, Fault> {
        Self::of(self.value()?)
    }

    /// The next element, bytes.
    pub(super) fn bytes(&mut self) -> Result<Bytes, Fault> {
        bytes(self.value()?)
    }

    /// The next element, a text.
    pub(super) fn text(&mut self) -> Result<String, Fault> {
        text(self.value()?)
    }

    /// The next element, a whole number.
    pub(super) fn signed(&mut self) -> Result<i64, Fault> {
        match self.value()? {
            Value::Int(number) => Ok(number),
            other => text(other)?.parse().map_err(|_| unexpected("no number where one belongs")),
        }
    }

    /// The next element, a number that is not negative.
    pub(super) fn number(&mut self) -> Result<u64, Fault> {
        u64::try_from(self.signed()?).map_err(|_| unexpected("a negative number"))
    }

    /// The next element, a number that is not negative and small.
    pub(super) fn small(&mut self) -> Result<u32, Fault> {
        u32::try_from(self.signed()?).map_err(|_| unexpected("a number out of bounds"))
    }

    /// The next element, 1 or 0.
    pub(super) fn flag(&mut self) -> Result<bool, Fault> {
        Ok(self.signed()? == 1)
    }

    /// The next element, read from its text.
    pub(super) fn parsed<T: FromStr>(&mut self) -> Result<T, Fault> {
        let text = self.text()?;
        text.parse().map_err(|_| unexpected(&format!("`{}`", longshore_model::limits::cut(&text, 80))))
    }

    /// Reads every element that is left as a list.
    pub(super) fn each<T>(self, mut read: impl FnMut(Self) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
        self.0.map(|value| Self::of(value).and_then(&mut read)).collect()
    }

    /// Reads every element that is left as a text.
    pub(super) fn texts(self) -> Result<Vec<String>, Fault> {
        self.0.map(text).collect()
    }

    /// Reads every element that is left as a number.
    pub(super) fn numbers(mut self) -> Result<Vec<u64>, Fault> {
        (0..self.0.len()).map(|_| self.number()).collect()
    }
}

fn bytes(value: Value) -> Result<Bytes, Fault> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into_bytes().into()),
        _ => Err(unexpected("no text where one belongs")),
    }
}

fn text(value: Value) -> Result<String, Fault> {
    String::from_utf8(bytes(value)?.into()).map_err(|_| unexpected("a text is not UTF-8"))
}

/// What is added to whether a job existed where the site that it would rather run at was given up.
const ANYWHERE: u64 = 10;

/// The answer to one accepted job.
pub(super) fn admitted(mut items: Items, id: JobId) -> Result<Result<Accepted, NotAccepted>, Fault> {
    Ok(match items.text()?.as_str() {
        "ok" => {
            let (state, generation) = (items.parsed()?, Generation(items.number()?));
            let (created, existed) = (items.number()?, items.number()?);
            let id = if items.is_empty() { id } else { items.parsed()? };
            let (anywhere, existed) = (existed >= ANYWHERE, existed % ANYWHERE);
            Ok(Accepted { id, state, generation, created, existed: existed > 0, replaced: existed == 2, anywhere })
        }
        "taken" => Err(NotAccepted::IdTaken(id)),
        "ended" => Err(NotAccepted::Ended(id)),
        "topics" => Err(NotAccepted::TooManyTopics(items.text()?)),
        "lanes" => {
            Err(NotAccepted::TooManyLanes(Lane::spelt(&items.text()?).map(|lane| lane.to_string()).unwrap_or_default()))
        }
        "history" => Err(NotAccepted::NotInHistory(items.parsed()?)),
        "key" => Err(NotAccepted::KeyTaken(items.parsed()?)),
        "wait" => Err(NotAccepted::KeysWait { ms: items.number()? }),
        "limit" => Err(NotAccepted::OverLimit(items.text()?)),
        "length" => Err(NotAccepted::QueueFull { queue: items.text()?, max: items.parsed()? }),
        "damaged" => Err(NotAccepted::Damaged { id, detail: items.text()? }),
        other => return Err(unexpected(other)),
    })
}

/// The answer to one restored job.
pub(super) fn restored(mut items: Items) -> Result<Restored, Fault> {
    Ok(match items.text()?.as_str() {
        "made" => Restored::Made(items.parsed()?),
        "known" => Restored::Known(items.parsed()?),
        "tombstone" => Restored::Ended,
        "orphan" => Restored::Orphan,
        "topics" => Restored::TooManyTopics,
        "damaged" => Restored::Damaged(items.text()?),
        other => return Err(unexpected(other)),
    })
}

/// The answer to one claim.
pub(super) fn claimed(mut items: Items) -> Result<Claimed, Fault> {
    let kind = items.text()?;
    claimed_as(&kind, items)
}

fn claimed_as(kind: &str, mut items: Items) -> Result<Claimed, Fault> {
    let answer = match kind {
        "run" => Answer::Run {
            fence: Fence(items.number()?),
            attempt: items.small()?,
            failures: items.small()?,
            crashes: items.small()?,
            last: items.flag()?,
            kinds: if items.is_empty() { KindCounts::default() } else { KindCounts::parse(&items.text()?) },
        },
        "busy" => Answer::Busy { lease_left_ms: items.number()? },
        "waiting" => Answer::Waiting { state: items.parsed()?, left_ms: u64::try_from(items.signed()?).ok() },
        "elsewhere" => Answer::Elsewhere { crashes: items.small()? },
        "outdated" => Answer::Outdated { replaced: items.flag()? },
        "stale" => Answer::Stale { state: items.parsed()? },
        "ended" => Answer::Ended { state: items.parsed()? },
        "unknown" => return Ok(Claimed::Unknown),
        "tombstone" => return Ok(Claimed::Tombstone),
        "damaged" => return Ok(Claimed::Damaged(items.text()?)),
        other => return Err(unexpected(other)),
    };
    Ok(Claimed::Known(answer))
}

/// The answer to a rebuild.
pub(super) fn rebuilt(mut items: Items) -> Result<Rebuilt, Fault> {
    let kind = items.text()?;
    if kind == "orphan" {
        return Ok(Rebuilt::Orphan);
    }
    claimed_as(&kind, items).map(Rebuilt::Claimed)
}

/// The answer to the end of one attempt.
pub(super) fn finished(mut items: Items, follow_ups: &[JobId]) -> Result<Finished, Fault> {
    let kind = items.text()?;
    match kind.as_str() {
        "missing" => return Ok(Finished::Missing),
        "damaged" => return Ok(Finished::Damaged(items.text()?)),
        _ => {}
    }
    let state = items.parsed()?;
    let generation = Generation(items.number()?);
    let answer = match kind.as_str() {
        "moved" => Answer::Moved { state },
        "already" => Answer::Already { state },
        "stale" => return Ok(Finished::stale(state, generation)),
        other => return Err(unexpected(other)),
    };
    let answers = items.items()?;
    let follow_ups: Result<Vec<_>, Fault> =
        answers.0.zip(follow_ups).map(|(value, id)| admitted(Items::of(value)?, *id)).collect();
    Ok(Finished::Known { answer, generation, follow_ups: follow_ups?, let_through: Vec::new() })
}

/// The answer to a completion.
pub(super) fn completed(mut items: Items) -> Result<Completed, Fault> {
    Ok(Completed::Known(match items.text()?.as_str() {
        "missing" => return Ok(Completed::Missing),
        "behind" => return Ok(Completed::Behind),
        "damaged" => return Ok(Completed::Damaged(items.text()?)),
        "moved" => Answer::Moved { state: items.parsed()? },
        "already" => Answer::Already { state: items.parsed()? },
        "stale" => Answer::Stale { state: items.parsed()? },
        "nothing" => Answer::Nothing,
        other => return Err(unexpected(other)),
    }))
}

/// The answer to a stop or a removal of one job.
pub(super) fn controlled(mut items: Items) -> Result<Controlled, Fault> {
    let answer = match items.text()?.as_str() {
        "moved" => Answer::Moved { state: items.parsed()? },
        "ended" => Answer::Ended { state: items.parsed()? },
        "asked" => Answer::Asked,
        "purge" => Answer::Purge,
        "missing" => return Ok(Controlled::NotFound),
        "damaged" => return Ok(Controlled::Damaged(items.text()?)),
        other => return Err(unexpected(other)),
    };
    Ok(Controlled::Known(answer))
}

/// Jobs to publish. One whose envelope is gone cannot be published by anybody: it is reported and left out.
pub(super) fn outgoing(items: Items) -> Result<Vec<Outgoing>, Fault> {
    let all = items.each(|mut items| {
        let (id, topic) = (items.parsed()?, items.parsed()?);
        let (generation, fence) = (Generation(items.number()?), Fence(items.number()?));
        let (created, envelope) = (items.number()?, items.bytes()?);
        let rank = if items.is_empty() { 0 } else { items.signed()? };
        let site = if items.is_empty() { None } else { Some(items.parsed()?) };
        Ok(Outgoing { id, lane: Lane::of(topic, Priority::of_rank(rank), site), generation, fence, created, envelope })
    })?;
    let (whole, bare): (Vec<_>, Vec<_>) = all.into_iter().partition(|out| !out.envelope.is_empty());
    for out in bare {
        tracing::error!(job = %out.id, "the store has lost the envelope of a queued job, so it cannot be published");
    }
    Ok(whole)
}

/// The ids of jobs, for [`finished`].
pub(super) fn ids(jobs: &[NewJob]) -> Vec<JobId> {
    jobs.iter().map(|job| job.admission.id).collect()
}
