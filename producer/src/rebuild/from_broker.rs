//! The store from the broker: what lies in lanes and at rest becomes records again, and the journal gives back what
//! waited for its time.
//!
//! Copies are read by holding them, as letters are, so that no consumer is needed, and go back when their place was
//! read. What has ended stays ended where the store knows it or has a tombstone. A wiped store knows nothing of that,
//! so the journal is read with a date: a job whose start came before the store was lost was in the broker's hands by
//! then, and is left to what the broker holds.

use crate::connect::Producer;
use crate::rebuild::{last_loss, last_seen};
use crate::time::Time;
use longshore_link::broker::Copies;
use longshore_link::error::Fault;
use longshore_link::letters::Letter;
use longshore_link::store::{NewJob, Restore, Restored};
use longshore_model::envelope::{Envelope, FileRef};
use longshore_model::names::Park;
use longshore_model::placement::{Label, Site};
use longshore_model::record::Start;
use longshore_model::topology::View;
use longshore_model::{JobId, Lane, State, Topic, limits, span};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Why nothing was rebuilt, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    /// A service gave no answer. What was done stays done; repeating it goes on.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Only the caller can know.
    #[error(
        "the journal has {0} jobs whose time has come, and no instance lived through the loss to say when the store was \
         last well: say it (`--lost-at TIME`, no later than the loss). Those due after it are made again; those due before \
         it were in the broker by then"
    )]
    WhenWasItLost(u64),
}

/// A question, and its options. Made by [`Producer::rebuild_store`].
#[derive(Debug, Clone)]
#[must_use = "it does nothing until `.plan().await` or `.run().await`"]
pub struct RebuildStore {
    producer: Producer,
    topics: BTreeSet<Topic>,
    lost_at: Option<u64>,
}

/// What was found, and what became of it or would.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct StoreRebuild {
    /// Place by place.
    pub places: Vec<FoundCopies>,
    /// When the store was last known to be well, ms: journal entries that were due before are left to the broker.
    pub lost_at: Option<u64>,
    /// Jobs in the journal of which nobody can say whether they had started: see [`RebuildError::WhenWasItLost`].
    pub undecided: u64,
}

/// What one place held.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FoundCopies {
    /// `lane a/b`, `lane a/b (high)` of urgent jobs, `lane a/b (leader)` of jobs that are to run there, `parked 30s` or
    /// `journal`.
    pub place: String,
    /// Copies that were read.
    pub copies: u64,
    /// Jobs that are made again, by the state that they get.
    pub made: BTreeMap<State, u64>,
    /// Copies of jobs that the store knows.
    pub known: u64,
    /// Copies of jobs that ended and were forgotten not long ago.
    pub ended: u64,
    /// Copies so old that their jobs may have ended; a consumer puts them among the dead letters.
    pub orphans: u64,
    /// Journal entries of jobs that were due before the loss.
    pub due_before: u64,
    /// What is no job, or what the store does not take; it stays where it is.
    pub unreadable: u64,
}

impl StoreRebuild {
    /// How many jobs are made again.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.places.iter().flat_map(|place| place.made.values()).sum()
    }

    /// [`Self::lost_at`] for people: RFC 3339.
    #[must_use]
    pub fn lost_at_text(&self) -> Option<String> {
        self.lost_at.map(span::rfc3339)
    }
}

impl RebuildStore {
    pub(super) const fn new(producer: Producer) -> Self {
        Self { producer, topics: BTreeSet::new(), lost_at: None }
    }

    /// Looks into the lanes of this topic as well. Lanes cannot be listed over AMQP: those of topics that the store, the
    /// live instances or a copy at rest name are found without help.
    pub fn topic(mut self, topic: Topic) -> Self {
        self.topics.insert(topic);
        self
    }

    /// When the store was last known to be well. Default: the last answered beat of an instance that lived through the
    /// loss.
    pub fn lost_at(mut self, time: impl Into<Time>) -> Self {
        self.lost_at = Some(time.into().unix_ms());
        self
    }

    /// What would be done. Changes nothing, but while it lasts consumers do not get the copies that it looks at.
    ///
    /// # Errors
    /// [`RebuildError::Fault`].
    pub async fn plan(&self) -> Result<StoreRebuild, RebuildError> {
        Ok(self.go(true).await?)
    }

    /// Does it. May be repeated.
    ///
    /// # Errors
    /// [`RebuildError`]. With [`RebuildError::WhenWasItLost`] everything else was done.
    pub async fn run(&self) -> Result<StoreRebuild, RebuildError> {
        let done = self.go(false).await?;
        let made = done.places.iter().flat_map(|place| place.made.values()).sum();
        self.producer.record("rebuild store", "", &[("jobs made", made)]).await;
        if done.undecided > 0 { Err(RebuildError::WhenWasItLost(done.undecided)) } else { Ok(done) }
    }

    async fn go(&self, dry: bool) -> Result<StoreRebuild, Fault> {
        let store = &self.producer.link().store;
        let losses = store.losses().await?;
        let lost_at = self.lost_at.or_else(|| last_loss(&losses).and_then(last_seen));
        let mut work = Work {
            producer: &self.producer,
            dry,
            now: store.ping().await?,
            seen: BTreeSet::new(),
            with_files: Vec::new(),
            topics: self.topics.clone(),
            beside: BTreeSet::new(),
            done: StoreRebuild { lost_at, ..StoreRebuild::default() },
        };
        work.topics.extend(store.topics().await?);
        let view = self.producer.link().view().await?;
        work.topics.extend(exact_topics(&view));
        let mut lanes: BTreeSet<Lane> = store.lanes().await?.into_iter().collect();
        // What is at rest names topics whose lanes nobody else knows.
        for park in Park::ALL {
            work.read(&Copies::Parked(park), format!("parked {}s", park.ms() / 1_000)).await?;
        }
        // Nobody but the store knew which of them have a high lane, or lanes of which sites.
        let sites = sites(&view);
        for topic in &work.topics {
            lanes.extend(Lane::both(topic));
            lanes
                .extend(sites.iter().flat_map(|site| Lane { site: Some(site.clone()), ..topic.clone().into() }.pair()));
        }
        lanes.extend(work.beside.iter().cloned());
        for lane in lanes.into_iter().filter(Lane::has_name) {
            let name = format!("lane {lane}");
            if work.read(&Copies::Lane(lane.clone()), name).await? && !lane.is_first() {
                work.beside.insert(lane);
            }
        }
        work.read(&Copies::Journal, "journal".into()).await?;
        if !dry && !work.beside.is_empty() {
            // Whoever takes their topics consumes them from now on.
            store.know(work.beside.into_iter().collect()).await?;
        }
        Ok(work.done)
    }
}

/// Topics that instances take by name.
fn exact_topics(view: &View) -> impl Iterator<Item = Topic> {
    let capabilities = view.instances.iter().flat_map(|card| &card.capabilities);
    capabilities.filter_map(|capability| capability.pattern.exact())
}

/// Sites that live instances are of.
fn sites(view: &View) -> BTreeSet<Site> {
    let mut sites = BTreeSet::from([Site::Leader]);
    for card in &view.instances {
        sites.insert(Site::Cluster(card.cluster.clone()));
        sites.insert(Site::Instance(card.owner.instance.0.clone()));
        for (name, value) in &card.labels {
            for value in [None, Some(value.clone())] {
                let label = Label { name: name.clone(), value };
                sites.extend([Site::Label(label.clone()), Site::PreferLabel(label)]);
            }
        }
    }
    sites
}

/// One rebuild.
struct Work<'p> {
    producer: &'p Producer,
    dry: bool,
    /// The store's clock, ms.
    now: u64,
    /// Jobs that were found before: a plan must not count them twice.
    seen: BTreeSet<JobId>,
    /// Those of the part that is being read that need blobs, with what they need.
    with_files: Vec<(JobId, Vec<FileRef>)>,
    topics: BTreeSet<Topic>,
    /// Lanes beside the first one of their topic that there are.
    beside: BTreeSet<Lane>,
    done: StoreRebuild,
}

impl Work<'_> {
    /// Reads a place. Answers whether there is one.
    async fn read(&mut self, place: &Copies, name: String) -> Result<bool, Fault> {
        let Some(mut reading) = self.producer.link().broker.read_copies(place).await? else { return Ok(false) };
        let mut found = FoundCopies { place: name, ..FoundCopies::default() };
        let (mut part, mut bytes) = (Vec::new(), 0);
        while let Some(letter) = reading.next().await? {
            found.copies += 1;
            let Some(restore) = self.restore(place, letter, &mut found) else { continue };
            bytes += restore.job.envelope.len();
            part.push(restore);
            if part.len() >= limits::BATCH || bytes >= limits::BATCH_BYTES {
                self.apply(std::mem::take(&mut part), &mut found).await?;
                bytes = 0;
            }
        }
        self.apply(part, &mut found).await?;
        reading.close().await?;
        self.done.places.push(found);
        Ok(true)
    }

    /// What the store is to make of a copy; `None` where it is nothing for the store.
    fn restore(&mut self, place: &Copies, letter: Letter, found: &mut FoundCopies) -> Option<Restore> {
        let Ok(envelope) = Envelope::decode(&letter.body) else {
            found.unreadable += 1;
            return None;
        };
        let mut admission = envelope.admission(&self.producer.inner.options.queues);
        self.topics.insert(admission.topic.clone());
        self.beside.extend(letter.lane.clone().filter(|lane| !lane.is_first()));
        let (enqueued, headers) = (letter.headers.enqueued.unwrap_or_else(|| envelope.id.created_ms()), letter.headers);
        let mut copy = Some(headers.generation);
        if *place == Copies::Journal {
            let start = letter.start.unwrap_or(enqueued);
            admission.start = Start::At(start);
            copy = None;
            if start <= self.now && !self.seen.contains(&envelope.id) {
                match self.done.lost_at {
                    Some(lost_at) if start > lost_at => {}
                    Some(_) => {
                        found.due_before += 1;
                        return None;
                    }
                    None => {
                        self.done.undecided += 1;
                        return None;
                    }
                }
            }
        }
        if !self.seen.insert(envelope.id) {
            found.known += 1;
            return None;
        }
        let fields = envelope.fields();
        if envelope.files.iter().any(|file| file.inline.is_none()) {
            self.with_files.push((envelope.id, envelope.files));
        }
        let job =
            NewJob { admission, envelope: letter.body, labels: envelope.labels, fields, again: true, retry_of: None };
        Some(Restore { job, enqueued, copy, fence: headers.fence })
    }

    async fn apply(&mut self, part: Vec<Restore>, found: &mut FoundCopies) -> Result<(), Fault> {
        if part.is_empty() {
            return Ok(());
        }
        for (id, files) in std::mem::take(&mut self.with_files) {
            if !self.dry {
                crate::files::keep_for(self.producer.link(), id, &files).await;
            }
        }
        for restored in self.producer.link().store.restore(part, self.dry).await? {
            match restored {
                Restored::Made(state) => *found.made.entry(state).or_default() += 1,
                Restored::Known(_) => found.known += 1,
                Restored::Ended => found.ended += 1,
                Restored::Orphan => found.orphans += 1,
                Restored::TooManyTopics | Restored::Damaged(_) => found.unreadable += 1,
            }
        }
        Ok(())
    }
}
