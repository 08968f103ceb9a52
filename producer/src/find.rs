//! Finding jobs (J08 to J11), and looking at the whole: counts, topics, topology.
//!
//! Everything here reads; what it answers is a picture of one moment and never changes (J11). One
//! job that cannot be read is named and does not hide its neighbours.

use crate::connect::Producer;
use crate::errors::QueryError;
use crate::time::Time;
use longshore_link::error::{Fault, Service};
use longshore_link::store::{Counts, PauseOrder, Query};
use longshore_model::explain::{AtGate, explain};
use longshore_model::gate::{GateKind, GateName};
use longshore_model::indexed::FieldRange;
use longshore_model::ledger::Ledger;
use longshore_model::record::Record;
use longshore_model::snapshot::{JobView, Snapshot};
use longshore_model::template::Template;
use longshore_model::topology::View;
use longshore_model::trust::Ignored;
use longshore_model::{JobId, State, Topic, TopicPattern, limits, span};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most jobs that the store lists in one call.
const PAGE: usize = 1_000;

/// A question for jobs. Unfinished jobs come oldest first, history newest end first. Made by [`Producer::jobs`].
#[derive(Debug, Clone)]
#[must_use = "a question is asked by `.list().await`"]
pub struct Find {
    producer: Producer,
    query: Query,
    within: Option<Duration>,
    /// What the payload has to be like: one of these.
    templates: Vec<Template>,
    wrong: Option<QueryError>,
}

/// One page of jobs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Jobs {
    /// The jobs, without [`JobView::waiting`]; [`Producer::show`] fills that in.
    pub jobs: Vec<JobView>,
    /// Where the next page begins, for [`Find::from_cursor`]; `None` at the end.
    pub next: Option<String>,
    /// Not everything was looked at that [`Find::matching`] might fit: there are fewer jobs here than were asked for, and
    /// more may come from [`Self::next`] on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Jobs that cannot be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damaged>,
}

/// A job that the store holds and nobody can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// The job.
    pub id: JobId,
    /// What is wrong with it.
    pub detail: String,
}

impl Find {
    /// Only jobs in this state; several calls mean any of them.
    pub fn state(mut self, state: State) -> Self {
        self.query.states.push(state);
        self
    }

    /// Only jobs in any of these states.
    pub fn states(mut self, states: impl IntoIterator<Item = State>) -> Self {
        self.query.states.extend(states);
        self
    }

    /// Only jobs that have not ended.
    pub fn unfinished(self) -> Self {
        self.states(State::ALL.into_iter().filter(|state| !state.is_terminal()))
    }

    /// Only jobs that have ended.
    pub fn history(self) -> Self {
        self.states(State::ALL.into_iter().filter(|state| state.is_terminal()))
    }

    /// Only jobs that have ended otherwise than well.
    pub fn failed(self) -> Self {
        self.states(State::ALL.into_iter().filter(|state| state.is_terminal() && *state != State::Succeeded))
    }

    /// Only jobs of these topics: `a/b`, `a/*`, `a/**` or `**`.
    pub fn topic(mut self, pattern: &str) -> Self {
        match TopicPattern::new(pattern) {
            Ok(pattern) => self.query.topic = Some(pattern),
            Err(bad) => self.wrong = self.wrong.or_else(|| Some(bad.into())),
        }
        self
    }

    /// Only jobs that were accepted under this queue.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.query.queue = Some(name.into());
        self
    }

    /// Only jobs with this label; several calls mean all of them.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.labels.insert(name.into(), value.into());
        self
    }

    /// Only jobs whose payload fits all of these conditions, such as `width>=800` or `asset.name=cat.jpg`
    /// ([`Condition`](longshore_model::template::Condition)); several calls mean any of the templates. An index answers
    /// where each template has a condition on a field that all jobs of the topics asked for have indexed
    /// ([`JobBuilder::index`](crate::JobBuilder::index)); so name the topic. Else whatever is asked beside it decides what
    /// is looked at, at most [`limits::EXAMINED`] jobs for one page of an answer, and [`Jobs::partial`] says when that
    /// was not all.
    pub fn matching<T: AsRef<str>>(mut self, conditions: impl IntoIterator<Item = T>) -> Self {
        match Template::of(conditions) {
            Ok(template) => self.templates.push(template),
            Err(bad) => self.wrong = self.wrong.or(Some(QueryError::Template(bad))),
        }
        self
    }

    /// Only jobs accepted at or after this time, by the store's clock.
    pub fn since(mut self, time: impl Into<Time>) -> Self {
        self.query.since = Some(time.into().unix_ms());
        self
    }

    /// Only jobs accepted within the last so much time, by the store's clock.
    pub const fn within(mut self, span: Duration) -> Self {
        self.within = Some(span);
        self
    }

    /// At most so many; default 100, 0 for all.
    pub const fn limit(mut self, limit: usize) -> Self {
        self.query.limit = if limit == 0 { usize::MAX } else { limit };
        self
    }

    /// Goes on where an earlier page ended ([`Jobs::next`]).
    pub fn from_cursor(mut self, cursor: impl Into<String>) -> Self {
        self.query.cursor = Some(cursor.into());
        self
    }

    /// Asks.
    ///
    /// # Errors
    /// [`QueryError`] when the store gives no answer or the pattern is illegal.
    pub async fn list(self) -> Result<Jobs, QueryError> {
        if !self.templates.is_empty() {
            return self.list_matching().await;
        }
        let (producer, ids, next) = self.gather().await?;
        let (jobs, damaged) = producer.views(&ids).await?;
        Ok(Jobs { jobs, next, damaged, partial: false })
    }

    /// Looks at one job after the other, in pages, until there are enough or enough was looked at.
    async fn list_matching(mut self) -> Result<Jobs, QueryError> {
        let templates = std::mem::take(&mut self.templates);
        let (wanted, mut looked, mut found) = (self.query.limit, 0, Jobs::default());
        if self.query.templates.is_empty() {
            self.query.templates = self.answerable(&templates).await?;
        }
        loop {
            let cursor = self.query.cursor.clone();
            // What an index found fits, as a rule; without one most of a page may not.
            let page = if self.query.templates.is_empty() { PAGE } else { wanted - found.jobs.len() };
            let page = self.clone().limit(page.min(PAGE).min(limits::EXAMINED - looked));
            let (producer, ids, next) = page.gather().await?;
            let (views, damaged) = producer.views(&ids).await?;
            looked += ids.len();
            found.damaged.extend(damaged);
            let fits = |view: &JobView| templates.iter().any(|template| template.fits(view.payload.get()));
            let mut fitting = views.into_iter().filter(fits);
            let rest = wanted - found.jobs.len();
            found.jobs.extend(fitting.by_ref().take(rest));
            found.next = next;
            if found.jobs.len() == wanted {
                // The page may hold more: the next answer begins right after the last job of this one.
                let last = found.jobs.last().map(|job| job.id);
                let place = ids.iter().position(|id| Some(*id) == last).map_or(ids.len(), |place| place + 1);
                if place < ids.len() {
                    self.query.cursor = cursor;
                    found.next = self.limit(place).gather().await?.2;
                }
                return Ok(found);
            }
            if found.next.is_none() || looked >= limits::EXAMINED {
                found.partial = found.next.is_some();
                return Ok(found);
            }
            self.query.cursor.clone_from(&found.next);
        }
    }

    /// What indexes can answer of these templates; nothing unless it is something of each.
    async fn answerable(&self, templates: &[Template]) -> Result<Vec<Vec<FieldRange>>, QueryError> {
        let ranges =
            |template: &Template| FieldRange::together(template.conditions().iter().filter_map(FieldRange::of));
        let mut all: Vec<Vec<FieldRange>> = templates.iter().map(ranges).collect();
        let mut paths: Vec<String> = all.iter().flatten().map(|range| range.path.clone()).collect();
        paths.sort();
        paths.dedup();
        if !all.iter().any(Vec::is_empty) {
            let known = self.producer.inner.link.store.indexed(self.query.topic.as_ref(), &paths).await?;
            let has = |path: &String| paths.binary_search(path).is_ok_and(|place| known.get(place) == Some(&true));
            for ranges in &mut all {
                ranges.retain(|range| has(&range.path));
            }
        }
        Ok(if all.iter().any(Vec::is_empty) { Vec::new() } else { all })
    }

    /// Asks for the ids only; with [`Self::matching`] it looks at everything else that fits, page by page.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn ids(mut self) -> Result<Vec<JobId>, QueryError> {
        if self.templates.is_empty() {
            return Ok(self.gather().await?.1);
        }
        let (wanted, mut ids) = (self.query.limit, Vec::new());
        loop {
            self.query.limit = wanted - ids.len();
            let page = self.clone().list_matching().await?;
            ids.extend(page.jobs.into_iter().map(|job| job.id));
            if !page.partial {
                return Ok(ids);
            }
            self.query.cursor = page.next;
        }
    }

    /// The first job that fits (J08).
    ///
    /// # Errors
    /// As [`Self::list`]; [`QueryError::Damaged`] when the first one cannot be read.
    pub async fn first(self) -> Result<Option<JobView>, QueryError> {
        let mut found = self.limit(1).list().await?;
        match found.damaged.pop() {
            Some(damaged) => Err(QueryError::Damaged(damaged.detail)),
            None => Ok(found.jobs.pop()),
        }
    }

    async fn gather(self) -> Result<(Producer, Vec<JobId>, Option<String>), QueryError> {
        let Self { producer, mut query, within, wrong, templates: _ } = self;
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let store = &producer.inner.link.store;
        if let Some(within) = within {
            let from = store.ping().await?.saturating_sub(span::ms(within));
            query.since = Some(query.since.map_or(from, |since| since.max(from)));
        }
        let (wanted, mut ids) = (query.limit, Vec::new());
        loop {
            query.limit = (wanted - ids.len()).min(PAGE);
            let page = store.find(query.clone()).await?;
            ids.extend(page.jobs);
            if page.next.is_none() || ids.len() >= wanted {
                return Ok((producer, ids, page.next));
            }
            query.cursor = page.next;
        }
    }
}

impl Producer {
    /// Asks for jobs; without restrictions, all of them.
    pub fn jobs(&self) -> Find {
        let query = Query { limit: 100, ..Query::default() };
        Find { producer: self.clone(), query, within: None, templates: Vec::new(), wrong: None }
    }

    /// The job that has a unique key now (J04): look it up by name.
    ///
    /// # Errors
    /// [`QueryError`] when the store gives no answer.
    pub async fn holder(&self, topic: &Topic, key: &str) -> Result<Option<JobId>, QueryError> {
        Ok(self.inner.link.store.holder(topic, key).await?)
    }

    /// One job, finished or not, with the reason why it waits; `None` when there is none under this id.
    ///
    /// # Errors
    /// [`QueryError`] when the store gives no answer, or cannot be understood.
    pub async fn show(&self, id: JobId) -> Result<Option<JobView>, QueryError> {
        let Some((_, Some(snapshot))) = self.load(&[id]).await?.pop() else { return Ok(None) };
        let (record, now) = (snapshot.record.clone(), snapshot.now);
        let mut view = JobView::build(snapshot).map_err(QueryError::Damaged)?;
        if !record.state.is_terminal() && record.state != State::Active {
            let link = &self.inner.link;
            let (live, ahead, gate) = tokio::try_join!(link.view(), link.store.ahead(id), self.at_gate(&record))?;
            view.waiting = explain(&record, view.payload_version, &live, ahead, gate.as_ref(), now);
        }
        Ok(Some(view))
    }

    /// What is known of the gate that a job waits at: who has the order, or who paused it.
    async fn at_gate(&self, record: &Record) -> Result<Option<AtGate>, Fault> {
        let Some(gate) = record.waits_at.as_ref().map(|at| &at.gate) else { return Ok(None) };
        match gate.kind() {
            GateKind::Limit => Ok(None),
            GateKind::Order => Ok(self.head(gate).await?.map(|head| AtGate::Head(Box::new(head)))),
            GateKind::Pause => {
                let pauses = self.inner.link.store.pauses().await?;
                let pause = pauses.into_iter().find(|pause| GateName::pause(&pause.what) == *gate);
                let order = pause.map(|pause| pause.order);
                Ok(order.map(|PauseOrder { by, why, until }| AtGate::Pause { by, why, until }))
            }
        }
    }

    /// The job that has an order now: it holds up those behind it until it has ended.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn head(&self, order: &GateName) -> Result<Option<Record>, Fault> {
        let store = &self.inner.link.store;
        let Some(id) = store.head(order).await? else { return Ok(None) };
        Ok(store.records(vec![id]).await?.pop().flatten())
    }

    /// How many jobs are in each state, by topic.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn counts(&self) -> Result<Counts, Fault> {
        self.inner.link.store.counts().await
    }

    /// What was accepted and what became of it, by topic, since the store began: see [`Ledger`].
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn ledger(&self) -> Result<Ledger, Fault> {
        self.inner.link.store.ledger().await
    }

    /// The live instances; without those that are not signed with the fleet's keys, where this process has keys
    /// (`trust.keys`) and they are required.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn topology(&self) -> Result<View, Fault> {
        self.inner.link.view().await
    }

    /// The live instances that are not signed with the fleet's keys, and why they are not trusted; none, where this
    /// process has no keys.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn strangers(&self) -> Result<Vec<Ignored>, Fault> {
        Ok(self.inner.link.seen().await?.ignored)
    }

    /// Every known topic.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn topics(&self) -> Result<Vec<Topic>, Fault> {
        self.inner.link.store.topics().await
    }

    /// Reads jobs for people, and says which cannot be read. One that was purged since is not there any more.
    async fn views(&self, ids: &[JobId]) -> Result<(Vec<JobView>, Vec<Damaged>), QueryError> {
        let (mut jobs, mut damaged) = (Vec::with_capacity(ids.len()), Vec::new());
        for (id, snapshot) in self.load(ids).await? {
            let Some(snapshot) = snapshot else { continue };
            match JobView::build(snapshot) {
                Ok(view) => jobs.push(view),
                Err(detail) => damaged.push(Damaged { id, detail }),
            }
        }
        Ok((jobs, damaged))
    }

    /// Reads jobs, as many as there are, in calls of bounded size.
    pub(crate) async fn load(&self, ids: &[JobId]) -> Result<Vec<(JobId, Option<Snapshot>)>, Fault> {
        let mut found = Vec::with_capacity(ids.len());
        for part in ids.chunks(limits::BATCH) {
            let snapshots = self.inner.link.store.load(part.to_vec()).await?;
            if snapshots.len() != part.len() {
                return Err(Fault::refused(
                    Service::Store,
                    "it answered for another number of jobs; check its version",
                ));
            }
            found.extend(part.iter().copied().zip(snapshots));
        }
        Ok(found)
    }
}
