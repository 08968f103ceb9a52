//! Listing jobs page by page: unfinished ones first, then history, each read in bounded steps.
//!
//! A walk in the order of the answer finds soon what lies anywhere; what lies behind many others is put together from the
//! parts of the narrowest index.

use super::args;
use super::connection::Repeat;
use super::reply::Items;
use super::server::Server;
use crate::error::{Fault, Service};
use crate::store::{Page, Query};
use longshore_model::id::JobId;
use longshore_model::indexed::{self, FieldRange, FieldValue};
use longshore_model::record::State;
use longshore_model::topic::Topic;
use redis::Cmd;
use std::str::FromStr;

/// Most entries of an index that one step looks at.
const BUDGET: usize = 5_000;
/// After so many steps that did not find enough, the parts of an index are read instead, where one is narrow enough.
const WALKED: usize = 4;
/// Most jobs of one page.
const LARGEST_PAGE: usize = 1_000;

/// The two parts of a listing, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Unfinished jobs, oldest first.
    Open,
    /// History, newest end first.
    Ended,
}

/// Where a page ended: `phase:score:id`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    phase: Phase,
    score: u64,
    id: JobId,
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.phase.as_str(), self.score, self.id)
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().unwrap_or_default();
        let bad = || format!("`{}` is not where a page ended", longshore_model::limits::cut(text, 80));
        let phase = match next() {
            "open" => Phase::Open,
            "ended" => Phase::Ended,
            _ => return Err(bad()),
        };
        let score = next().parse().map_err(|_| bad())?;
        Ok(Self { phase, score, id: next().parse().map_err(|_| bad())? })
    }
}

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ended => "ended",
        }
    }

    fn states(self, wanted: &[State]) -> Vec<State> {
        let here = |state: &State| state.is_terminal() == (self == Self::Ended);
        let asked = |state: &State| wanted.is_empty() || wanted.contains(state);
        State::ALL.into_iter().filter(here).filter(asked).collect()
    }
}

/// Lists jobs. `topics` are the exact topics that the query's pattern takes; `None`: any.
pub(super) async fn find(server: &Server, query: &Query, topics: Option<Vec<Topic>>) -> Result<Page, Fault> {
    let limit = query.limit.clamp(1, LARGEST_PAGE);
    let cursor = query.cursor.as_deref().map(str::parse::<Cursor>).transpose();
    let cursor = cursor.map_err(|why| Fault::refused(Service::Store, why))?;
    if topics.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Page::default());
    }
    let mut found: Vec<Cursor> = Vec::new();
    for phase in [Phase::Open, Phase::Ended] {
        let states = phase.states(&query.states);
        let position = cursor.as_ref().filter(|cursor| cursor.phase == phase);
        let passed = phase == Phase::Open && cursor.is_some() && position.is_none();
        if states.is_empty() || passed {
            continue;
        }
        let listing = Listing { server, query, phase, states, topics: topics.as_deref() };
        let mut position = position.map(|cursor| (cursor.score.to_string(), cursor.id.to_string()));
        let mut walked = 0;
        // One more than asked for tells whether there is another page.
        while found.len() <= limit {
            let want = limit + 1 - found.len();
            if walked == WALKED
                && let Some(rest) = listing.gather(position.as_ref(), want).await?
            {
                found.extend(rest);
                break;
            }
            let (some, next) = listing.walk(position.as_ref(), want).await?;
            found.extend(some);
            if next.is_none() {
                break;
            }
            position = next;
            walked += 1;
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = if more { found.last().map(ToString::to_string) } else { None };
    Ok(Page { jobs: found.into_iter().map(|cursor| cursor.id).collect(), next })
}

/// Behind which job a call goes on: score and id.
type Position = (String, String);

/// What is listed in one phase.
struct Listing<'a> {
    server: &'a Server,
    query: &'a Query,
    phase: Phase,
    states: Vec<State>,
    topics: Option<&'a [Topic]>,
}

impl Listing<'_> {
    /// One step in the order of the answer: the jobs, and behind which of those looked at the next one goes on.
    async fn walk(&self, position: Option<&Position>, want: usize) -> Result<(Vec<Cursor>, Option<Position>), Fault> {
        let mut cmd = self.call(position, want);
        cmd.arg("walk");
        let mut answer = self.run(&cmd).await?;
        let found = self.found(&mut answer)?;
        let next = (answer.text()?, answer.text()?);
        Ok((found, (!next.1.is_empty()).then_some(next)))
    }

    /// The first jobs behind a position, found by reading the narrowest index to its end; `None`: none is narrow enough.
    async fn gather(&self, position: Option<&Position>, want: usize) -> Result<Option<Vec<Cursor>>, Fault> {
        let mut best: Vec<Cursor> = Vec::new();
        let mut part = Part::default();
        loop {
            let mut cmd = self.call(position, want);
            cmd.arg("part").arg(part.restriction).arg(part.place).arg(part.index).arg(part.score).arg(part.member);
            match best.get(want - 1) {
                Some(last) => cmd.arg(last.score).arg(last.id.to_string()),
                None => cmd.arg("").arg(""),
            };
            let mut answer = self.run(&cmd).await?;
            best.extend(self.found(&mut answer)?);
            let (restriction, place) = (answer.number()?, answer.number()?);
            if restriction == 0 {
                return Ok(None);
            }
            best.sort_by(|one, other| match self.phase {
                Phase::Open => (one.score, one.id).cmp(&(other.score, other.id)),
                Phase::Ended => (other.score, other.id).cmp(&(one.score, one.id)),
            });
            // Some are in two indexes, or come again where the one read last is gone.
            best.dedup();
            best.truncate(want);
            if place == 0 {
                return Ok(Some(best));
            }
            part = Part { restriction, place, index: answer.text()?, score: answer.text()?, member: answer.text()? };
        }
    }

    fn call(&self, position: Option<&Position>, want: usize) -> Cmd {
        let mut cmd = self.server.call(&self.server.scripts.find);
        cmd.arg(self.phase.as_str()).arg(self.states.len());
        for state in &self.states {
            cmd.arg(state.as_str());
        }
        let topics = self.topics.unwrap_or_default();
        cmd.arg(topics.len());
        for topic in topics {
            cmd.arg(topic.as_str());
        }
        cmd.arg(self.query.queue.as_deref().unwrap_or_default()).arg(self.query.labels.len());
        for (name, value) in &self.query.labels {
            cmd.arg(args::label(name, value));
        }
        cmd.arg(self.query.templates.len());
        for ranges in &self.query.templates {
            cmd.arg(ranges.len());
            for range in ranges {
                field_range(&mut cmd, range);
            }
        }
        let (score, id) = position.map_or(("", ""), |(score, id)| (score, id));
        cmd.arg(self.query.since.unwrap_or(0)).arg(score).arg(id).arg(want).arg(BUDGET);
        cmd
    }

    async fn run(&self, cmd: &Cmd) -> Result<Items, Fault> {
        Items::of(self.server.run(&self.server.scripts.find, cmd, Repeat::Safe).await?)
    }

    fn found(&self, answer: &mut Items) -> Result<Vec<Cursor>, Fault> {
        answer.items()?.each(|mut entry| {
            let id = entry.parsed()?;
            Ok(Cursor { phase: self.phase, score: entry.parsed()?, id })
        })
    }
}

/// Where the reading of an index goes on.
#[derive(Debug, Default)]
struct Part {
    restriction: u64,
    place: u64,
    index: String,
    score: String,
    member: String,
}

/// A range as find.lua reads it.
fn field_range(cmd: &mut Cmd, range: &FieldRange) {
    cmd.arg(&range.path);
    if let Some(value) = range.exact() {
        cmd.arg("e").arg(indexed::term(&range.path, Some(value))).arg("");
        return;
    }
    let text = |end: Option<&FieldValue>| match end {
        Some(FieldValue::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let number = |end: Option<&FieldValue>, none: &str| match end {
        Some(FieldValue::Number(number)) => format!("{number:e}"),
        _ => none.to_owned(),
    };
    let (low, high) = (range.low.as_ref(), range.high.as_ref());
    match (text(low), text(high)) {
        (None, None) => {
            cmd.arg("n").arg(number(low, "-inf")).arg(number(high, "+inf"));
        }
        (low, high) => {
            // Behind the text in a member is a zero byte: what is not behind the text ends before the byte 1.
            let from = low.as_ref().map_or_else(|| "-".to_owned(), |low| format!("[{low}"));
            let to = high.as_ref().map_or_else(|| "+".to_owned(), |high| format!("({high}\u{1}"));
            let plus = |text: Option<String>| text.map(|text| format!("+{text}")).unwrap_or_default();
            cmd.arg("s").arg(from).arg(to).arg(plus(low)).arg(plus(high));
        }
    }
}

/// Of each field, whether all jobs of these topics (`None`: of any) have it indexed.
pub(super) async fn indexed(server: &Server, topics: Option<Vec<Topic>>, paths: &[String]) -> Result<Vec<bool>, Fault> {
    let script = &server.scripts.indexed;
    let mut cmd = server.call(script);
    cmd.arg(paths.len());
    for path in paths {
        cmd.arg(path);
    }
    cmd.arg(u8::from(topics.is_none()));
    let topics = topics.unwrap_or_default();
    cmd.arg(topics.len());
    for topic in &topics {
        cmd.arg(topic.as_str());
    }
    let value = server.run(script, &cmd, Repeat::Safe).await?;
    let known: Vec<u64> = redis::from_redis_value(value).map_err(|_| super::reply::unexpected("indexed"))?;
    Ok(known.into_iter().map(|known| known == 1).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_as_they_are_written() {
        let text = "ended:1763719000123:019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00";
        assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        for bad in ["", "open", "open:x:y", "open:1:y", "else:1:019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_state_belongs_to_one_phase() {
        let both = [Phase::Open, Phase::Ended].map(|phase| phase.states(&[]));
        assert_eq!(both.iter().map(Vec::len).sum::<usize>(), State::ALL.len());
        assert_eq!(Phase::Ended.states(&[State::Active, State::Error]), [State::Error]);
    }
}
