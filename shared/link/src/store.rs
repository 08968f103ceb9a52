//! The store: who is alive, who can do what, and the state of every job.
//!
//! [`Store`] is what the engine and the producer need of it, one method per operation of the
//! protocol. Operations on jobs come in batches, answer per item, and are idempotent per item: a
//! call whose answer was lost can be repeated as it is. All times are the store's own.
//!
//! Two implementations: `redis` (one Lua script per operation) and `embedded`
//! (this process, on the model's transition function).

use crate::error::{Fault, NotAccepted};
pub use crate::loss::{Known, Loss, LossKind};
use crate::schedules::{Changed, DueSchedules, ScheduleChange, Schedules};
pub use crate::scrub::{Mended, Scrubbed, Scrubbing};
use async_trait::async_trait;
use bytes::Bytes;
use longshore_model::audit::{Deed, Entry};
use longshore_model::envelope::FileRef;
use longshore_model::event::{Interest, Kind};
use longshore_model::gate::{GateName, LimitPolicy, Pausable};
use longshore_model::id::{Fence, Generation, InstanceId, JobId, Owner};
use longshore_model::indexed::{FieldRange, Fields};
use longshore_model::lane::Lane;
use longshore_model::ledger::Ledger;
use longshore_model::queue::Keep;
use longshore_model::record::{Admission, Record, State};
use longshore_model::snapshot::{Progress, Snapshot};
use longshore_model::statistics::{Selection, Statistics};
use longshore_model::token::Token;
use longshore_model::topic::{Topic, TopicPattern};
use longshore_model::topology::asking::{Question, QuestionId, Said};
use longshore_model::topology::matrix::{KeptRow, Row};
use longshore_model::topology::{Card, View};
use longshore_model::transition::{Answer, Verdict};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Debug;
use tokio::sync::broadcast;

/// A job to be accepted.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What the state machine needs to know of it.
    pub admission: Admission,
    /// The envelope's bytes.
    pub envelope: Bytes,
    /// For the label index.
    pub labels: BTreeMap<String, String>,
    /// For the indexes of fields.
    pub fields: Fields,
    /// Somebody accepted it before, or may have: its unique key is its own, and it gets it though new ones are not given
    /// ([`NotAccepted::KeysWait`]).
    pub again: bool,
    /// The history job that it repeats; it must be terminal and on the same shard, and gets linked to the new one.
    pub retry_of: Option<JobId>,
}

/// A job was accepted, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id: another one's than that which was sent where that one has the unique key.
    pub id: JobId,
    /// The state it is in.
    pub state: State,
    /// The generation to publish it with.
    pub generation: Generation,
    /// When it was accepted, ms.
    pub created: u64,
    /// Whether it had been accepted before, with the same id or as another job with the same unique key.
    pub existed: bool,
    /// Whether that other job now has this one's payload.
    pub replaced: bool,
    /// Whether the site that it would rather run at was given up, as there are too many lanes: it runs anywhere, and its
    /// lane is that of no site.
    pub anywhere: bool,
}

impl Accepted {
    /// The lane to publish it to.
    #[must_use]
    pub fn lane(&self, admission: &Admission) -> Lane {
        let lane = admission.lane();
        if self.anywhere { Lane { site: None, ..lane } } else { lane }
    }
}

/// A claim (T5) of one delivery.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The job.
    pub id: JobId,
    /// Identifies the delivery.
    pub nonce: String,
    /// What the copy carries; zero when it carries none.
    pub generation: Generation,
    /// The fence that the copy carries; zero when it carries none.
    pub floor: Fence,
    /// Whether nothing else runs in this process, nor will while this job does: what a suspect needs.
    pub alone: bool,
}

/// What a claim answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The state machine's answer: `Run`, `Busy`, `Waiting`, `Elsewhere`, `Outdated` or `Ended`.
    Known(Answer),
    /// There is neither a record nor a tombstone: use [`Store::rebuild`].
    Unknown,
    /// The job was removed or purged: the delivery is a late copy.
    Tombstone,
    /// What the store holds cannot be read.
    Damaged(String),
}

/// An unknown job that arrived with its envelope (T6).
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// The job as its envelope describes it; `admission.start` is ignored.
    pub job: NewJob,
    /// When it was accepted, ms: from the copy's header, else from its id.
    pub enqueued: u64,
    /// The claim that comes with it.
    pub claim: Claim,
}

/// What a rebuild answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilt {
    /// As a claim.
    Claimed(Claimed),
    /// Accepted so long ago that its tombstone may be gone: it must not run, and must not be dropped silently.
    Orphan,
}

/// What an attempt reports while it runs, or with its end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Newest progress.
    pub progress: Option<Progress>,
    /// Properties set, name to JSON; the last of equal names wins.
    pub properties: BTreeMap<String, String>,
    /// New log lines, `(level, text)`, oldest first. The store stamps them.
    pub log: Vec<(String, String)>,
    /// How many lines of the attempt's log are kept; `None`: as many as the store keeps at most.
    pub keep: Option<usize>,
    /// How many older lines were let go before these.
    pub dropped: u64,
}

impl Report {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.progress.is_none() && self.properties.is_empty() && self.log.is_empty()
    }
}

/// A job that the store may not know, found in the broker by somebody who puts the store together again.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The job as its envelope describes it; `admission.start` is when it is to start.
    pub job: NewJob,
    /// When it was accepted, ms: from the copy's header, else from its id.
    pub enqueued: u64,
    /// The generation of the copy that the broker holds; `None`: nobody holds a runnable copy.
    pub copy: Option<Generation>,
    /// The fence that the copy carries; zero when it carries none.
    pub fence: Fence,
}

/// What became, or would become, of a job that was to be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// It is made, in this state.
    Made(State),
    /// The store knows it.
    Known(State),
    /// It ended and was forgotten not long ago.
    Ended,
    /// It is so old that it may have ended and been forgotten, and the store is not known to have lost anything of that
    /// time.
    Orphan,
    /// There are too many topics.
    TooManyTopics,
    /// What the store holds cannot be read.
    Damaged(String),
}

/// A running attempt of which the store has no record, or only an older one (T7b).
#[derive(Debug, Clone)]
pub struct Adopt {
    /// The job as its envelope describes it; `admission.start` is ignored.
    pub job: NewJob,
    /// When it was accepted, ms.
    pub enqueued: u64,
    /// The claim that started the attempt.
    pub claim: Claim,
    /// The attempt's fence.
    pub fence: Fence,
    /// Its number, as the claim answered.
    pub attempt: u32,
    /// Failures before it.
    pub failures: u32,
    /// Crashes before it.
    pub crashes: u32,
}

/// The end of an attempt (T8 to T11).
#[derive(Debug, Clone)]
pub struct Finish {
    /// The job.
    pub id: JobId,
    /// The attempt.
    pub fence: Fence,
    /// How it ended.
    pub verdict: Verdict,
    /// The result, JSON; only with [`Verdict::Succeeded`].
    pub result: Option<String>,
    /// Output files; only with [`Verdict::Succeeded`].
    pub outputs: Vec<FileRef>,
    /// What was not reported yet.
    pub report: Report,
    /// Jobs that the attempt sends if, and only if, this commit is applied with [`Verdict::Succeeded`]. On the
    /// parent's shard.
    pub follow_ups: Vec<NewJob>,
}

/// What the end of an attempt answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finished {
    /// The state machine's answer: `Moved`, `Already` or `Stale`.
    Known {
        /// The answer.
        answer: Answer,
        /// The generation now: what a copy is published with when the state is `queued`.
        generation: Generation,
        /// One answer for each follow-up job, when the commit was applied or repeated.
        follow_ups: Vec<Result<Accepted, NotAccepted>>,
        /// Jobs that waited for what the attempt held, for the caller to publish: the relay leaves them alone for
        /// [`limits::OUTBOX_GRACE_MS`]. In a call for several attempts those of all are told with one of them. What is
        /// more than a call may bring is left to the relay.
        let_through: Vec<Outgoing>,
    },
    /// There is no record, or one that is older than the attempt: the store lost it. [`Store::adopt`], then again.
    Missing,
    /// What the store holds cannot be read.
    Damaged(String),
}

impl Finished {
    /// The attempt is not the current one of a job in this state; nothing follows from its end.
    pub const fn stale(state: State, generation: Generation) -> Self {
        Self::Known { answer: Answer::Stale { state }, generation, follow_ups: Vec::new(), let_through: Vec::new() }
    }

    /// Tells with one of the answers to a call which jobs were let through by it.
    pub(crate) fn tell_let_through(answers: &mut [Self], jobs: Vec<Outgoing>) {
        let known = answers.iter_mut().rev().find_map(|answer| match answer {
            Self::Known { let_through, .. } => Some(let_through),
            Self::Missing | Self::Damaged(_) => None,
        });
        if let Some(let_through) = known {
            *let_through = jobs;
        }
    }

    /// Takes the jobs out that were let through.
    pub fn take_let_through(&mut self) -> Vec<Outgoing> {
        match self {
            Self::Known { let_through, .. } => std::mem::take(let_through),
            Self::Missing | Self::Damaged(_) => Vec::new(),
        }
    }
}

/// The end of an attempt by somebody who has its token (S07).
#[derive(Debug, Clone)]
pub struct Complete {
    /// The attempt's token.
    pub token: Token,
    /// Identifies this completion: a repeated one answers the same, a second one is refused.
    pub mark: String,
    /// How it ended; never [`Verdict::Released`].
    pub verdict: Verdict,
    /// The result, JSON; only with [`Verdict::Succeeded`].
    pub result: Option<String>,
}

/// What a completion answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completed {
    /// The state machine's answer: `Moved`, `Already`, `Stale`; `Nothing` where the token is not that of the attempt.
    Known(Answer),
    /// There is no record.
    Missing,
    /// The record is older than the attempt: the store lost it, and gets it back from the instance that runs it.
    Behind,
    /// What the store holds cannot be read.
    Damaged(String),
}

/// A job in the outbox, handed out to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The job.
    pub id: JobId,
    /// The lane in which it is to wait.
    pub lane: Lane,
    /// The generation to publish.
    pub generation: Generation,
    /// The fence to publish.
    pub fence: Fence,
    /// When it was accepted, ms.
    pub created: u64,
    /// The body.
    pub envelope: Bytes,
}

/// A renewal of all leases of one process (T7).
#[derive(Debug, Clone)]
pub struct Renew {
    /// Who.
    pub owner: Owner,
    /// Length of the leases, ms.
    pub lease_ms: u64,
    /// Time between two beats, ms: what tells an outage from a quiet fleet.
    pub beat_ms: u64,
    /// The attempts that run.
    pub running: Vec<(JobId, Fence)>,
    /// What the last renewal of this process answered.
    pub known: Option<Known>,
}

/// What a renewal answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewed {
    /// The store's clock, ms.
    pub now: u64,
    /// Attempts that are not current any more.
    pub lost: Vec<(JobId, Fence)>,
    /// Attempts that the store has no record of, or only an older one: [`Store::adopt`] them.
    pub behind: Vec<(JobId, Fence)>,
    /// What the store is now.
    pub known: Known,
    /// How its epoch began.
    pub loss: LossKind,
    /// Running jobs that somebody asked to stop, and who.
    pub stop: Vec<(JobId, String)>,
    /// How many leases of anybody have ended and wait for a rescuer (0 during an amnesty).
    pub expired: u64,
    /// Until when nobody is declared dead, ms; 0 without an amnesty.
    pub amnesty: u64,
}

/// What happened to a job, of which no process could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untold {
    /// What: [`Kind::Failed`] (an attempt was lost, another follows), [`Kind::Cancelled`] or [`Kind::Removed`].
    pub kind: Kind,
    /// The job.
    pub id: JobId,
    /// When, ms of the store's clock.
    pub at: u64,
}

/// What a rescue or a promotion did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Jobs that are runnable now and must be published. The mover publishes them at once; the outbox is the net.
    pub runnable: Vec<Outgoing>,
    /// How many jobs ended instead.
    pub ended: u64,
    /// When the next job is due (promotion), as an absolute time of the store's clock, ms; `None` when none waits.
    pub next: Option<u64>,
    /// The store's clock at this call, ms.
    pub now: u64,
    /// Whether more were ready than one call takes.
    pub more: bool,
}

/// A topic of whose jobs the broker may have lost copies: of those that are to run at a site, or of all that may run
/// anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depleted {
    /// Its normal lane, which stands for the high one as well.
    pub lane: Lane,
    /// At most how many copies of queued jobs the broker holds, in its lanes and with consumers; `None`: it holds none,
    /// and has held none for longer than a copy is under way.
    pub copies: Option<u64>,
}

/// What a round of republishing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Republished {
    /// Jobs that went back into the outbox.
    pub jobs: u64,
    /// Where the next round goes on among the queued jobs; 0: at the begin, all were looked at.
    pub next: u64,
}

/// A beat: the instance is alive.
#[derive(Debug, Clone)]
pub struct Beat {
    /// What it says of itself.
    pub card: Card,
    /// The number of the view that it has reached: nothing here acts on an older one. 0: none yet.
    pub reached: u64,
    /// How long it stays a member without another beat, ms.
    pub lease_ms: u64,
}

/// What a beat answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beaten {
    /// The store's clock, ms.
    pub now: u64,
    /// Number of the view.
    pub view: u64,
    /// Term of the coordinator.
    pub term: u64,
    /// Whether this instance is the coordinator.
    pub coordinator: bool,
    /// Changes when a topic becomes known, or that there is one more lane of it, or one fewer.
    pub topics: u64,
    /// Another incarnation of this instance took its place: this process must stop.
    pub superseded: bool,
    /// Changes when a row of the topic matrix does.
    pub matrix: u64,
    /// Changes when an instance says other things of itself, its load apart.
    pub profiles: u64,
    /// Whether every member has reached this view.
    pub synced: bool,
    /// Changes when somebody asks instances something.
    pub questions: u64,
}

/// A question that an instance is to answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which one.
    pub id: QuestionId,
    /// What is asked.
    pub question: Question,
    /// How much is left of its time, ms.
    pub left_ms: u64,
}

/// How it stands with one incarnation that was asked.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It has not taken the question up.
    Waiting,
    /// It has, and has not answered.
    Begun,
    /// What it said.
    Said(Said),
    /// It is not in the fleet any more.
    Gone {
        /// Whether it had taken the question up; one that had not never will.
        begun: bool,
    },
}

/// Which jobs to list. Empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Any of these states.
    pub states: Vec<State>,
    /// Topics.
    pub topic: Option<TopicPattern>,
    /// Queue.
    pub queue: Option<String>,
    /// All of these labels.
    pub labels: BTreeMap<String, String>,
    /// Any of these templates, by the indexed fields of a job alone; of each one all ranges, of which there is at least
    /// one.
    pub templates: Vec<Vec<FieldRange>>,
    /// Accepted at or after, ms.
    pub since: Option<u64>,
    /// At most so many (1 to 1 000).
    pub limit: usize,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
}

/// One page of a listing: unfinished jobs oldest first, history newest end first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<JobId>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// What a stop or a removal answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Controlled {
    /// The state machine's answer: `Moved`, `Asked`, `Ended` or (removal of history) `Purge`, which was done.
    Known(Answer),
    /// There is no such job.
    NotFound,
    /// What the store holds cannot be read.
    Damaged(String),
}

/// A named limit as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// Its name.
    pub name: String,
    /// What it allows, for each key.
    pub policy: LimitPolicy,
    /// How many of its keys are in use.
    pub keys: u64,
    /// The first of these, by key.
    pub shown: Vec<KeyState>,
}

/// One key of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The key; empty: that of all who name none.
    pub key: String,
    /// Jobs that it let through and that have not left it.
    pub passed: u64,
    /// Jobs that wait for it.
    pub waiting: u64,
}

/// The queues of the fleet, as somebody applied them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct QueueSet {
    /// Grows by one with each change, from 1.
    pub version: u64,
    /// Who applied it, for people.
    pub by: String,
    /// When, ms since 1970 by the store's clock.
    pub at: u64,
    /// `[[queues]]` as TOML ([`longshore_model::queue::write`]).
    pub text: String,
}

/// What is to be paused, by whom and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PauseOrder {
    /// Who asks, for people.
    pub by: String,
    /// Why, for people.
    pub why: String,
    /// When it ends by itself, ms since 1970 by the store's clock; `None`: when somebody ends it.
    pub until: Option<u64>,
}

/// A pause as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PauseState {
    /// What is paused.
    pub what: Pausable,
    /// By whom, why, and until when.
    pub order: PauseOrder,
    /// Since when, ms.
    pub since: u64,
    /// Jobs that it keeps from being queued.
    pub waiting: u64,
}

/// What became of a change of the topic matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowChange {
    /// The row is there.
    Done(KeptRow),
    /// Somebody else wrote it since; this is there now.
    Differs(Option<KeptRow>),
}

/// How many jobs are in each state, by topic.
pub type Counts = BTreeMap<Topic, BTreeMap<State, u64>>;

/// Something happened; the state in the store is the truth, a lost nudge costs one beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Nudge {
    /// A topic became known, or that there is one more lane of it, or one fewer.
    Topics,
    /// A job is due earlier than any before.
    Due,
    /// The queues of the fleet were changed.
    Queues,
    /// Gates let jobs pass: they are in the outbox.
    Relay,
    /// A schedule is due earlier than any before.
    Schedules,
    /// Somebody asked a running job to stop, or removed it.
    Stop(JobId),
    /// The view changed, or what an instance says of itself, or all members have reached the view.
    View,
    /// Somebody listens to events.
    Interests,
    /// A row of the topic matrix changed.
    Matrix,
    /// The fleet was sealed, or unsealed.
    Seal,
    /// Somebody asks instances something.
    Questions,
    /// Somebody answered a question of this process.
    Answered(QuestionId),
    /// A watched job ended.
    Ended(JobId),
    /// A followed job changed its state, or its attempt reported something.
    Changed(JobId),
    /// Nudges may have been lost: read the state again.
    Missed,
}

/// Something about the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What.
    pub detail: String,
    /// What to do about it, where it is not as it should be.
    pub advice: Option<String>,
}

/// The place of payload files that the fleet agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePlace {
    /// Its id.
    pub id: String,
    /// Since when, ms.
    pub since: u64,
    /// The store's clock, ms.
    pub now: u64,
}

/// How much of the jobs that ended in one state is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// How long, from their end on, ms.
    pub age_ms: u64,
    /// The newest so many; `None`: any number.
    pub count: Option<u64>,
}

/// How much of the history is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Of jobs that succeeded.
    pub succeeded: Bound,
    /// Of jobs that ended otherwise, for each state by itself.
    pub failed: Bound,
    /// Queues that say it for theirs, by name as it is legal (`{0}` not filled in); each once.
    pub queues: Vec<(String, Keep)>,
}

impl Retention {
    /// Kept for so long, whatever their number and queue, ms.
    #[must_use]
    pub const fn of(succeeded_ms: u64, failed_ms: u64) -> Self {
        let succeeded = Bound { age_ms: succeeded_ms, count: None };
        Self { succeeded, failed: Bound { age_ms: failed_ms, count: None }, queues: Vec::new() }
    }

    /// What is kept of jobs in this state that no queue says anything of.
    #[must_use]
    pub const fn general(&self, state: State) -> Bound {
        if matches!(state, State::Succeeded) { self.succeeded } else { self.failed }
    }

    /// What is kept of jobs in this state of a queue that says this.
    #[must_use]
    pub fn bound(&self, keep: &Keep, state: State) -> Bound {
        let (general, kept) = (self.general(state), keep.of(state));
        let age_ms = kept.age.map_or(general.age_ms, longshore_model::span::ms);
        Bound { age_ms, count: kept.count.or(general.count) }
    }
}

/// What a purge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Jobs that were dropped or purged.
    pub gone: u64,
    /// Whether there was more to do than one call does.
    pub more: bool,
}

/// The store. See the module's head for what all methods promise.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// Accepts jobs (T1, T2): record, indexes and, for runnable ones, the outbox.
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Result<Accepted, NotAccepted>>, Fault>;

    /// Takes published jobs out of the outbox (T4), if their generation still is the one that was published, and
    /// remembers when a copy was last confirmed.
    async fn published(&self, jobs: Vec<(JobId, Generation)>) -> Result<(), Fault>;

    /// Claims deliveries (T5). Only this lets a job run.
    async fn claim(&self, owner: &Owner, lease_ms: u64, claims: Vec<Claim>) -> Result<Vec<Claimed>, Fault>;

    /// Rebuilds and claims an unknown job from its envelope (T6): refused for tombstones, and for what is older than
    /// tombstones live, unless it was accepted in a span in which the store may have lost it.
    async fn rebuild(&self, owner: &Owner, lease_ms: u64, job: Rebuild) -> Result<Rebuilt, Fault>;

    /// Takes a running attempt back into a store that lost it (T7b), under its own fence. Answers `Run`, or what stands
    /// against it: `Stale`, `Ended` or a tombstone.
    async fn adopt(&self, owner: &Owner, lease_ms: u64, attempt: Adopt) -> Result<Claimed, Fault>;

    /// Makes jobs that the store does not know, as a rebuild would, without a claim. With `dry` nothing is made, and
    /// the answers are what would be.
    async fn restore(&self, jobs: Vec<Restore>, dry: bool) -> Result<Vec<Restored>, Fault>;

    /// The spans in which the store may have lost writes, oldest first.
    async fn losses(&self) -> Result<Vec<Loss>, Fault>;

    /// Ends attempts (T8 to T11) with their results, last reports and follow-up jobs: all of one item or nothing.
    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>, Fault>;

    /// Ends one attempt by its token, exactly once, and tells the instance that runs it.
    async fn complete(&self, completion: Complete) -> Result<Completed, Fault>;

    /// Writes what attempts report while they run; `false` for an attempt that is not current.
    async fn report(&self, reports: Vec<(JobId, Fence, Report)>) -> Result<Vec<bool>, Fault>;

    /// Takes expired leases back (T12), at most `limit`: none during an amnesty, and none while nobody has renewed for
    /// two beats of `beat_ms`. Then it may be the store, or all of the machine, that stood still, and whoever renews
    /// first finds that out. A job is blamed for the end of its process only where that has not renewed for two beats
    /// and had no other attempt, as far as the store remembers.
    async fn rescue(&self, limit: usize, beat_ms: u64) -> Result<Moved, Fault>;

    /// Ends the leases of incarnations that are proven dead: those of `instance` other than `alive`. Answers how many.
    async fn bury(&self, owner: &Owner) -> Result<u64, Fault>;

    /// Makes due jobs runnable (T13), at most `limit`.
    async fn promote(&self, limit: usize) -> Result<Moved, Fault>;

    /// Sets a named limit, or takes it away (`None`). What passed already stays, and what runs is counted; who waits passes
    /// as soon as it may.
    async fn set_limit(&self, name: &str, policy: Option<&LimitPolicy>) -> Result<(), Fault>;

    /// Every named limit, by name.
    async fn limits(&self) -> Result<Vec<LimitState>, Fault>;

    /// The queues of the fleet; `None`: nobody applied any.
    async fn queues(&self) -> Result<Option<QueueSet>, Fault>;

    /// What was applied before, newest first, at most as many as are kept.
    async fn past_queues(&self) -> Result<Vec<QueueSet>, Fault>;

    /// Applies queues, if those that are there have the version `after` (0: there are none), and sets the limits of
    /// queues to these and no others. Answers what is there now: its version is `after` + 1 if it was applied.
    async fn set_queues(
        &self,
        after: u64,
        by: &str,
        text: &str,
        limits: &[(String, LimitPolicy)],
    ) -> Result<QueueSet, Fault>;

    /// Records what an operator did. What one session does of one kind to one thing in succession is one entry.
    async fn audit(&self, deed: &Deed) -> Result<(), Fault>;

    /// What operators did, newest first, at most `limit`.
    async fn audited(&self, limit: usize) -> Result<Vec<Entry>, Fault>;

    /// Somebody listens to events for so many ms; a longer time that was given before stays. Everybody is told.
    async fn listen(&self, interests: &[Interest], ms: u64) -> Result<(), Fault>;

    /// What is listened to, in the order of its text, and for how many ms it still is.
    async fn interests(&self) -> Result<Vec<(Interest, u64)>, Fault>;

    /// Changes whenever somebody began to listen, or that may have been missed: what [`Self::interests`] answered before is
    /// out of date. 0: nobody ever did. Known without asking.
    fn interest_changes(&self) -> u64;

    /// Takes what happened to jobs without a process that tells it (an attempt was lost with its process; a waiting job
    /// expired, or made room for another), oldest first, at most `limit`. It is kept only while somebody listens to jobs,
    /// and for [`limits::UNTOLD_MS`]; each is answered once, and lost with a lost answer.
    async fn untold(&self, limit: usize) -> Result<Vec<Untold>, Fault>;

    /// The job that has an order now, and holds up those behind it.
    async fn head(&self, order: &GateName) -> Result<Option<JobId>, Fault>;

    /// Pauses a queue, a topic or a key, or lets it go on (`None`). What runs goes on; what is queued already waits when
    /// it is claimed. Answers whether it was paused before.
    async fn set_pause(&self, what: &Pausable, order: Option<&PauseOrder>) -> Result<bool, Fault>;

    /// Every pause.
    async fn pauses(&self) -> Result<Vec<PauseState>, Fault>;

    /// Hands out outbox entries whose time has come, at most `limit`, and keeps them from other relays for
    /// `hold_ms`.
    async fn outbox(&self, limit: usize, hold_ms: u64) -> Result<Vec<Outgoing>, Fault>;

    /// Puts queued jobs whose copies the broker has lost back into the outbox, oldest first: those of the given lanes
    /// of which no copy was confirmed for `patience_ms`, and of a lane that holds some copies only as many as there
    /// are more jobs queued than copies and outbox entries. Looks at `limit` queued jobs from number `from` on. The
    /// copies must have been counted before the call.
    async fn republish(
        &self,
        lanes: &[Depleted],
        patience_ms: u64,
        from: u64,
        limit: usize,
    ) -> Result<Republished, Fault>;

    /// Drops queued and scheduled jobs that were not started in time (T20), and purges history older than its
    /// retention, or more than enough of it (T19), at most `limit` each.
    async fn purge(&self, retention: &Retention, limit: usize) -> Result<Purged, Fault>;

    /// Looks at about `limit` keys and entries, from where anybody's last call stopped, and mends what does not agree
    /// with a record (T21). A sound store is left as it is.
    async fn scrub(&self, limit: usize) -> Result<Scrubbed, Fault>;

    /// What scrubbing did so far.
    async fn scrubbing(&self) -> Result<Scrubbing, Fault>;

    /// The place of payload files that the fleet agreed on. With an id, that one is agreed on if there is none yet, or,
    /// with `replace`, in any case.
    async fn file_place(&self, id: Option<&str>, replace: bool) -> Result<Option<FilePlace>, Fault>;

    /// Says that a job needs these blobs, at most [`longshore_model::limits::FILES`]: until the job is forgotten, nobody
    /// deletes them. To be said before they are looked for or uploaded, also for a job that is not accepted yet. Answers
    /// `false` while one of them is being deleted: ask again.
    async fn keep_files(&self, job: JobId, digests: &[String]) -> Result<bool, Fault>;

    /// Of at most `limit` jobs that need blobs and were not looked at for `grace_ms`: those that the store does not know
    /// need none any more. Answers how many were looked at.
    async fn release_files(&self, grace_ms: u64, limit: usize) -> Result<u64, Fault>;

    /// Answers which of these blobs no job needs. They may be deleted within
    /// [`longshore_model::limits::DOOM_MS`], in which nobody can need them; with `over`, that time ends now.
    async fn doom_files(&self, digests: &[String], over: bool) -> Result<Vec<String>, Fault>;

    /// Asks running jobs to stop and stops waiting ones (T15, T16).
    async fn stop(&self, by: &str, jobs: Vec<JobId>) -> Result<Vec<Controlled>, Fault>;

    /// Removes jobs (J12): what has not ended becomes `dropped`, what has ended is purged.
    async fn remove(&self, jobs: Vec<JobId>) -> Result<Vec<Controlled>, Fault>;

    /// Reads jobs.
    async fn load(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Snapshot>>, Fault>;

    /// Reads hot records only.
    async fn records(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Record>>, Fault>;

    /// Of each of these fields, whether all jobs of these topics have it indexed: then [`Query::templates`] leaves out none
    /// that has a value there.
    async fn indexed(&self, topics: Option<&TopicPattern>, paths: &[String]) -> Result<Vec<bool>, Fault>;

    /// Lists jobs.
    async fn find(&self, query: Query) -> Result<Page, Fault>;

    /// Registers this process as a watcher of jobs and answers their states now (`None`: no such job). When one ends,
    /// [`Nudge::Ended`] comes to [`Self::nudges`] of this process; asking again is the net.
    async fn watch(&self, jobs: Vec<JobId>) -> Result<Vec<Option<State>>, Fault>;

    /// Follows a job: as [`Self::watch`], with [`Nudge::Changed`] whenever its state changes or its attempt reports
    /// something. Answers its state now.
    async fn follow(&self, job: JobId) -> Result<Option<State>, Fault>;

    /// Counts jobs by topic and state.
    async fn counts(&self) -> Result<Counts, Fault>;

    /// What was counted since the store began, and what it holds, at one moment.
    async fn ledger(&self) -> Result<Ledger, Fault>;

    /// What happened to the jobs of each queue and topic since counting began, how many are in each state, and which one
    /// waits longest. The numbers of jobs are those of one moment; what happened to them is read right after it.
    async fn statistics(&self) -> Result<Statistics, Fault>;

    /// Begins to count anew what happens in a selection; how many jobs are in each state stays. Answers how many pairs of
    /// a queue and a topic that were.
    async fn reset_statistics(&self, selection: &Selection) -> Result<u64, Fault>;

    /// How many queued jobs go before this one: those of the same topic and site that entered `queued` before it, and if it
    /// is urgent only the urgent ones among them.
    async fn ahead(&self, job: JobId) -> Result<Option<u64>, Fault>;

    /// Every known topic.
    async fn topics(&self) -> Result<Vec<Topic>, Fault>;

    /// The lanes of every known topic, in their order: its normal one, its high one from the moment on at which the
    /// first urgent job of it was accepted, whatever became of that, and those of sites from their first job until
    /// somebody lets go of them. Nobody publishes to another lane than the normal one before.
    async fn lanes(&self) -> Result<Vec<Lane>, Fault>;

    /// Makes topics known (a consumer with an exact pattern, before any job), and that they have other lanes than the
    /// normal one (a consumer that outlived what the store knew). Of lanes of sites no more than there may be.
    async fn know(&self, lanes: Vec<Lane>) -> Result<(), Fault>;

    /// How many queued jobs there are that are to run at a site: by the normal lane of their topic and site, which stands
    /// for the high one as well.
    async fn queued_at(&self) -> Result<BTreeMap<Lane, u64>, Fault>;

    /// Lets go of lanes of sites, as far as no job is queued there and nobody made use of them for `idle_ms`, to the
    /// minute. Answers those that are let go of.
    async fn forget(&self, lanes: Vec<Lane>, idle_ms: u64) -> Result<Vec<Lane>, Fault>;

    /// The live instances.
    async fn view(&self) -> Result<View, Fault>;

    /// The topic matrix: the row of every instance that was ever given one, until it is forgotten.
    async fn matrix(&self) -> Result<BTreeMap<InstanceId, KeptRow>, Fault>;

    /// The row of one instance; `None`: it was never given one, or the store lost it.
    async fn row(&self, instance: &InstanceId) -> Result<Option<KeptRow>, Fault>;

    /// Writes a row, if what is there has the revision `after` (0: there is none). Its own revision is larger than any
    /// before. A row whose text is there already is done, so that repeating it is fine.
    async fn set_row(&self, instance: &InstanceId, after: u64, row: &Row) -> Result<RowChange, Fault>;

    /// What an instance has to be able to open to belong to the fleet ([`longshore_model::trust`]); an empty text is no
    /// seal. `exchange`: what has to be there, and what is to be there then. Answers what is there now; repeating it is
    /// fine.
    async fn seal(&self, exchange: Option<(&str, &str)>) -> Result<String, Fault>;

    /// Asks these incarnations something, for so many ms from the first call on; repeating it is fine. Those that a later
    /// call adds are asked as well. Everybody is nudged; whenever one of them answers, [`Nudge::Answered`] comes to
    /// [`Self::nudges`] of this process. `false`: the question is over, and nobody was added.
    async fn ask(&self, id: &QuestionId, question: &Question, of: &[Owner], ms: u64) -> Result<bool, Fault>;

    /// Takes up questions to this incarnation, at most `limit`, but not those of `known`: from now on they count as begun.
    /// One that was taken up and not answered is handed out again, for the answer to the call may have been lost.
    async fn take_questions(&self, owner: &Owner, known: &[QuestionId], limit: usize) -> Result<Vec<Asked>, Fault>;

    /// Answers a question that was taken up; repeating it changes nothing. `false`: nobody waits for it any more.
    async fn answer(&self, id: &QuestionId, owner: &Owner, said: &Said) -> Result<bool, Fault>;

    /// How it stands with each of these, in their order; `None`: there is no such question, or the store lost it. Who is
    /// gone before the question was taken up never takes it up, even if it is back. With `close` nobody does any more, and
    /// what is said from now on is not kept; repeating it is fine.
    async fn standings(&self, id: &QuestionId, of: &[Owner], close: bool) -> Result<Option<Vec<Standing>>, Fault>;

    /// Opens a connection for beats, apart from all other traffic, to be used on the calling runtime.
    async fn heart(&self) -> Result<Box<dyn Heart>, Fault>;

    /// The job that has a unique key now.
    async fn holder(&self, topic: &Topic, key: &str) -> Result<Option<JobId>, Fault>;

    /// What happens elsewhere. Late receivers hear only what comes after.
    fn nudges(&self) -> broadcast::Receiver<Nudge>;

    /// Deletes everything of the namespace: jobs, history, members. Answers how many keys there were; repeating it is fine.
    async fn erase(&self) -> Result<u64, Fault>;

    /// What there is to know of the server itself, for people.
    async fn about(&self) -> Result<Vec<Fact>, Fault>;

    /// How often another server process, or the same one started again, turned out to answer on these connections: what
    /// was written last before may be missing. Noticed by the first call that reaches it.
    fn restarts(&self) -> u64;

    /// The store's clock, ms, and whether it answers at all.
    async fn ping(&self) -> Result<u64, Fault>;

    /// Reads a schedule: at most one.
    async fn schedule(&self, name: &str) -> Result<Schedules, Fault>;

    /// Lists schedules by name, from the one after `after` on, at most `limit`.
    async fn find_schedules(&self, after: Option<&str>, limit: usize) -> Result<Schedules, Fault>;

    /// Schedules whose time has come, earliest first, at most `limit`.
    async fn due_schedules(&self, limit: usize) -> Result<DueSchedules, Fault>;

    /// Exchanges schedules that nobody else has changed, and accepts the jobs that go with it: of each one all or
    /// nothing. A change whose answer was lost is answered [`Changed::Differs`] when it is repeated.
    async fn change_schedules(&self, changes: Vec<ScheduleChange>) -> Result<Vec<Changed>, Fault>;
}

/// The connection of the beat thread.
#[async_trait]
pub trait Heart: Send + Debug {
    /// Proves that the instance is alive, and keeps the view: drops members whose lease ended, numbers the view anew
    /// when the set or the coordinator changed.
    async fn beat(&mut self, beat: &Beat) -> Result<Beaten, Fault>;

    /// Renews the leases of running attempts.
    async fn renew(&mut self, renew: &Renew) -> Result<Renewed, Fault>;

    /// Leaves the fleet at once.
    async fn leave(&mut self, owner: &Owner) -> Result<(), Fault>;
}
