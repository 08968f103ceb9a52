//! Schedules (Z01 to Z10): jobs that are sent again and again, or once, at times that are known before.
//!
//! Owns what is done *to* a schedule: define, look at, suspend, resume, run now, remove. Firing is a duty of
//! consumers. Every change reads the schedule, asks the model, and exchanges it if nobody else did; all of them
//! may be repeated.

use crate::builder::Prepared;
use crate::connect::Producer;
use crate::errors::{Refusal, ScheduleError};
use crate::send::{IntoJob, Repeated, Sent};
use crate::time::Time;
use longshore_link::error::{Fault, Service};
use longshore_link::schedules::{Changed, Expect, Kept, ScheduleChange};
use longshore_model::schedule::change::{self, Next, Now, Plan};
use longshore_model::schedule::{Missed, Overlap, Problem, ScheduleView, Spec, Template, Timing, UTC, check_name};
use longshore_model::{JobId, TopicPattern, limits, span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a change begins anew because somebody else was quicker.
const ROUNDS: usize = 50;
/// Rest after a call that was not answered.
const PAUSE: Duration = Duration::from_millis(100);

/// A schedule by its name: to be defined with [`Self::put`], or to be looked at and changed as it is. Made by
/// [`Producer::schedule`].
#[derive(Debug, Clone)]
#[must_use = "nothing happens before one of its asynchronous methods is awaited"]
pub struct ScheduleHandle {
    producer: Producer,
    name: String,
    job: Option<Result<Template, Vec<Problem>>>,
    timings: Vec<Timing>,
    zone: String,
    overlap: Overlap,
    missed: Missed,
    jitter: Duration,
    suspended: Option<String>,
}

/// What came of defining a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defined {
    /// There was none of this name.
    Created,
    /// There was another definition.
    Changed,
    /// It was defined so already; nothing changed.
    Unchanged,
}

/// What came of resuming a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// It fires again, from the next of its times on.
    Resumed,
    /// It was not suspended.
    NotSuspended,
    /// Its last time passed meanwhile, so it is gone.
    Gone,
}

/// What came of asking a schedule to send a job now.
#[derive(Debug, Clone)]
pub enum RunNow {
    /// It is sent.
    Sent(Sent),
    /// It is sent when the job before has ended ([`Overlap::QueueOne`]).
    Waits {
        /// The job that it will be.
        job: JobId,
    },
}

/// Schedules, in the order of their names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SchedulePage {
    /// The schedules.
    pub schedules: Vec<ScheduleView>,
    /// Where the next page begins, for [`FindSchedules::from_cursor`]; `None` at the end.
    pub next: Option<String>,
}

/// A question for schedules. Made by [`Producer::schedules`].
#[derive(Debug, Clone)]
#[must_use = "a question is asked by `.list().await`"]
pub struct FindSchedules {
    producer: Producer,
    topic: Option<String>,
    limit: usize,
    cursor: Option<String>,
}

/// What a change is to do, once it is known what there is.
enum Step<A> {
    Change(Box<ScheduleChange>, A),
    Answer(A),
}

/// A change that is done, and what the store said of its jobs.
type Exchanged = (ScheduleChange, Vec<crate::connect::Admitted>);

impl Producer {
    /// The schedule of this name: 1 to 128 letters, digits and `-_./:`.
    pub fn schedule(&self, name: impl Into<String>) -> ScheduleHandle {
        ScheduleHandle {
            producer: self.clone(),
            name: name.into(),
            job: None,
            timings: Vec::new(),
            zone: UTC.to_owned(),
            overlap: Overlap::default(),
            missed: Missed::default(),
            jitter: Duration::ZERO,
            suspended: None,
        }
    }

    /// All schedules, in the order of their names; or some of them.
    pub fn schedules(&self) -> FindSchedules {
        FindSchedules { producer: self.clone(), topic: None, limit: 100, cursor: None }
    }

    /// Makes views of schedules, with the states of the jobs that they sent last.
    async fn schedule_views(&self, now: u64, kept: &[Kept]) -> Result<Vec<ScheduleView>, Fault> {
        let jobs: Vec<JobId> = kept.iter().flat_map(|kept| &kept.schedule.recent).map(|fired| fired.job).collect();
        let records = if jobs.is_empty() { Vec::new() } else { self.inner.link.store.records(jobs).await? };
        let states: BTreeMap<_, _> = records.into_iter().flatten().map(|record| (record.id, record.state)).collect();
        Ok(kept.iter().map(|kept| ScheduleView::build(&kept.schedule, &states, now)).collect())
    }
}

impl ScheduleHandle {
    /// The job that it sends: a job, or a builder with options. Its id, its parent and its trace are not used; it
    /// takes no delay and no files. The job gets the label `schedule`, whose value is this schedule's name.
    pub fn job(mut self, job: impl IntoJob) -> Self {
        self.job = Some(job.into_job(&self.producer).into_template());
        self
    }

    /// Once, at least two seconds from now. The schedule is gone when its last time is over.
    pub fn at(self, time: impl Into<Time>) -> Self {
        self.timing(Timing::At { ms: time.into().unix_ms() })
    }

    /// Every so often, at least a second, for the first time one such length from now.
    pub fn every(self, length: Duration) -> Self {
        self.timing(Timing::Every { ms: span::ms(length) })
    }

    /// Every hour at this minute (0 to 59).
    pub fn hourly(self, minute: u8) -> Self {
        self.timing(Timing::Hourly { minute })
    }

    /// Every day at this hour (0 to 23) and minute.
    pub fn daily(self, hour: u8, minute: u8) -> Self {
        self.timing(Timing::Daily { hour, minute })
    }

    /// Every week on this day (1 to 7, Sunday is 1) at this hour and minute.
    pub fn weekly(self, day: u8, hour: u8, minute: u8) -> Self {
        self.timing(Timing::Weekly { day, hour, minute })
    }

    /// Every month on this day (1 to 28) at this hour and minute.
    pub fn monthly(self, day: u8, hour: u8, minute: u8) -> Self {
        self.timing(Timing::Monthly { day, hour, minute })
    }

    /// Every year on this day (1 to 28) of this month (1 to 12) at this hour and minute.
    pub fn yearly(self, month: u8, day: u8, hour: u8, minute: u8) -> Self {
        self.timing(Timing::Yearly { month, day, hour, minute })
    }

    /// Whenever a cron pattern says: minute, hour, day of the month, month, day of the week (0 to 7, 0 and 7 are
    /// Sunday; or names), with seconds before them if there are six fields.
    pub fn cron(self, expression: impl Into<String>) -> Self {
        self.timing(Timing::Cron { expression: expression.into() })
    }

    /// One more of its times; it fires at all of them, once where several coincide.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timings.push(timing);
        self
    }

    /// The zone whose clock calendar times go by, an IANA name such as `Europe/Berlin`. Default UTC.
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.zone = name.into();
        self
    }

    /// What happens while the job before has not ended. Default [`Overlap::Allow`].
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.overlap = overlap;
        self
    }

    /// What happens with times that passed more than a minute ago because no consumer was there. Default
    /// [`Missed::Last`].
    pub const fn missed(mut self, missed: Missed) -> Self {
        self.missed = missed;
        self
    }

    /// Puts each time off by up to so much, always the same for one name and one time, so that many schedules do not
    /// fire at once. Default not at all.
    pub const fn jitter(mut self, most: Duration) -> Self {
        self.jitter = most;
        self
    }

    /// It is suspended from the beginning; says who did it, and why. Does not suspend one that there is.
    pub fn suspended(mut self, by: impl Into<String>) -> Self {
        self.suspended = Some(by.into());
        self
    }

    /// Defines it: makes it, or gives it this definition in the place of the one that it has. Doing it again changes
    /// nothing (also: [`Defined::Unchanged`] where an earlier try of this very call had no answer).
    ///
    /// # Errors
    /// [`ScheduleError::Refused`] with all that is wrong with it; then nothing was stored.
    pub async fn put(self) -> Result<Defined, ScheduleError> {
        let spec = self.spec()?;
        // One that is made anew is another one, though it has the same name.
        let fresh = self.producer.inner.link.world.job_id(Some(shard(&self.name)));
        let (defined, _) = self
            .exchange(|now, kept| {
                let old = kept.map(|kept| &kept.schedule);
                let put = change::put(old, spec.clone(), self.suspended.clone(), fresh, now);
                let Some(schedule) = put.map_err(ScheduleError::Refused)? else {
                    return Ok(Step::Answer(Defined::Unchanged));
                };
                let next = Next::Kept(Box::new(schedule));
                Ok(match (kept, next) {
                    (Some(kept), next) => Step::Change(Box::new(kept.change(next)), Defined::Changed),
                    (None, Next::Kept(schedule)) => {
                        let change = ScheduleChange {
                            name: self.name.clone(),
                            expect: Expect::Absent,
                            open: None,
                            next: Some(schedule),
                            jobs: Vec::new(),
                        };
                        Step::Change(Box::new(change), Defined::Created)
                    }
                    (None, Next::Gone) => Step::Answer(Defined::Unchanged),
                })
            })
            .await?;
        if !matches!(defined, Defined::Unchanged) {
            self.producer.record("schedule add", &self.name, &[]).await;
        }
        Ok(defined)
    }

    /// Looks at it: its next ten times, and what became of the last ten jobs. `None` when there is none.
    ///
    /// # Errors
    /// [`ScheduleError::Fault`] when the store gives no answer, or holds what cannot be read.
    pub async fn get(&self) -> Result<Option<ScheduleView>, ScheduleError> {
        let found = self.producer.inner.link.store.schedule(&self.name).await?;
        Ok(self.producer.schedule_views(found.now, &found.kept).await?.pop())
    }

    /// Suspends it: it fires nothing until it is resumed, however often processes restart; `by` says who and why.
    /// Answers whether it was not suspended before.
    ///
    /// # Errors
    /// [`ScheduleError::NotFound`], or no answer of the store.
    pub async fn suspend(&self, by: &str) -> Result<bool, ScheduleError> {
        let (suspended, _) = self
            .exchange(|now, kept| {
                let kept = self.found(kept)?;
                Ok(kept.schedule.suspend(by, now).map_or(Step::Answer(false), |schedule| {
                    Step::Change(Box::new(kept.change(Next::Kept(Box::new(schedule)))), true)
                }))
            })
            .await?;
        if suspended {
            self.producer.record("schedule pause", &self.name, &[]).await;
        }
        Ok(suspended)
    }

    /// Lets it fire again, from the next of its times on: what passed meanwhile is over.
    ///
    /// # Errors
    /// [`ScheduleError::NotFound`], or no answer of the store.
    pub async fn resume(&self) -> Result<Resumed, ScheduleError> {
        let (resumed, _) = self
            .exchange(|now, kept| {
                let kept = self.found(kept)?;
                let Some(next) = kept.schedule.resume(now) else { return Ok(Step::Answer(Resumed::NotSuspended)) };
                let answer = if matches!(next, Next::Gone) { Resumed::Gone } else { Resumed::Resumed };
                Ok(Step::Change(Box::new(kept.change(next)), answer))
            })
            .await?;
        if !matches!(resumed, Resumed::NotSuspended) {
            self.producer.record("schedule resume", &self.name, &[]).await;
        }
        Ok(resumed)
    }

    /// Sends one job more, now, beside its times, also while it is suspended. While the job before has not ended,
    /// its overlap policy decides: `allow` sends it, `skip` refuses, `queue_one` sends it when that one has ended,
    /// and refuses a second one.
    ///
    /// # Errors
    /// [`ScheduleError::Running`] when it is refused so; [`ScheduleError::NotFound`]; or no answer of the store.
    pub async fn run_now(&self) -> Result<RunNow, ScheduleError> {
        let producer = &self.producer;
        let id = producer.inner.link.world.job_id(Some(shard(&self.name)));
        let (waits, exchanged) = self
            .exchange(|now, kept| {
                let kept = self.found(kept)?;
                match kept.schedule.run_now(id, now, kept.open) {
                    Now::Fire(plan) => self.fire(kept, &plan, now).map(|change| Step::Change(Box::new(change), false)),
                    Now::Wait(schedule) => Ok(Step::Change(Box::new(kept.change(Next::Kept(schedule))), true)),
                    Now::Done => Ok(Step::Answer(kept.schedule.waiting.is_some_and(|waiting| waiting.job == id))),
                    Now::Refused { running } => Err(ScheduleError::Running { name: self.name.clone(), running }),
                }
            })
            .await?;
        self.producer.record("schedule run", &self.name, &[("jobs", 1)]).await;
        if waits {
            return Ok(RunNow::Waits { job: id });
        }
        let sent = match exchanged.and_then(|(mut change, mut answers)| Some((change.jobs.pop()?, answers.pop()?))) {
            Some((job, answer)) => {
                let accepted = answer.map_err(ScheduleError::NotAccepted)?;
                let prepared = Prepared { job, trace: None };
                let deadline = producer.inner.deadline();
                producer.publish(&[(&prepared, &accepted)], Repeated::No, deadline).await.pop()
            }
            None => None,
        };
        // An earlier try of this call did it and had no answer: whoever relays the outbox publishes it.
        let sent = sent.unwrap_or_else(|| {
            Sent::new(producer.clone(), id, crate::send::Custody::Store, true, longshore_model::State::Queued)
        });
        Ok(RunNow::Sent(sent))
    }

    /// Removes it. Jobs that it sent go on. Answers whether there was one.
    ///
    /// # Errors
    /// [`ScheduleError::Fault`] when the store gives no answer; removing it again is safe.
    pub async fn remove(&self) -> Result<bool, ScheduleError> {
        check_name(&self.name).map_err(|why| ScheduleError::Refused(vec![Problem::new("name", why)]))?;
        let store = &self.producer.inner.link.store;
        // What cannot be read can be removed all the same.
        let there = match store.schedule(&self.name).await {
            Ok(found) => !found.kept.is_empty(),
            Err(Fault::Refused { .. }) => true,
            Err(fault) => return Err(fault.into()),
        };
        if there {
            let (name, expect) = (self.name.clone(), Expect::Anything);
            let change = ScheduleChange { name, expect, open: None, next: None, jobs: Vec::new() };
            store.change_schedules(vec![change]).await?;
            self.producer.record("schedule remove", &self.name, &[]).await;
        }
        Ok(there)
    }

    fn spec(&self) -> Result<Spec, ScheduleError> {
        let missing = || Err(vec![Problem::new("job", "there is none; say what it is to send")]);
        let job = self.job.clone().unwrap_or_else(missing).map_err(ScheduleError::Refused)?;
        Ok(Spec {
            name: self.name.clone(),
            job,
            timings: self.timings.clone(),
            zone: self.zone.clone(),
            overlap: self.overlap,
            missed: self.missed,
            jitter_ms: span::ms(self.jitter),
        })
    }

    fn found<'k>(&self, kept: Option<&'k Kept>) -> Result<&'k Kept, ScheduleError> {
        kept.ok_or_else(|| ScheduleError::NotFound(self.name.clone()))
    }

    fn fire(&self, kept: &Kept, plan: &Plan, now: u64) -> Result<ScheduleChange, ScheduleError> {
        let change = kept.fire(plan, &self.producer.inner.options.queues, now);
        change.map_err(|why| ScheduleError::Refused(vec![Problem::new("job", why)]))
    }

    /// Reads, lets `decide`, and exchanges; again while somebody else is quicker or an answer is lost, within the
    /// producer's deadline. `decide` must know its own work again.
    async fn exchange<A: Copy>(
        &self,
        decide: impl Fn(u64, Option<&Kept>) -> Result<Step<A>, ScheduleError>,
    ) -> Result<(A, Option<Exchanged>), ScheduleError> {
        let inner = &self.producer.inner;
        let deadline = inner.deadline();
        for _ in 0..ROUNDS {
            let fault = match inner.within(deadline, self.try_exchange(&decide)).await {
                Some(Ok(Some(done))) => return Ok(done),
                Some(Ok(None)) => continue,
                Some(Err(ScheduleError::Fault(fault))) if fault.is_passing() => fault,
                Some(Err(other)) => return Err(other),
                None => return Err(Fault::unknown(Service::Store, "no answer before the deadline").into()),
            };
            if deadline.saturating_sub(inner.link.world.clock.boot()) <= PAUSE {
                return Err(fault.into());
            }
            inner.link.world.clock.sleep(inner.link.world.random.jitter(PAUSE)).await;
        }
        Err(ScheduleError::Contended(self.name.clone()))
    }

    /// One try; `None` when somebody else was quicker.
    async fn try_exchange<A: Copy>(
        &self,
        decide: &impl Fn(u64, Option<&Kept>) -> Result<Step<A>, ScheduleError>,
    ) -> Result<Option<(A, Option<Exchanged>)>, ScheduleError> {
        let store = &self.producer.inner.link.store;
        let found = store.schedule(&self.name).await?;
        let (change, answer) = match decide(found.now, found.kept.first())? {
            Step::Answer(answer) => return Ok(Some((answer, None))),
            Step::Change(change, answer) => (*change, answer),
        };
        match store.change_schedules(vec![change.clone()]).await?.pop() {
            Some(Changed::Done(jobs)) => Ok(Some((answer, Some((change, jobs))))),
            Some(Changed::Differs) => Ok(None),
            Some(Changed::Refused(refused)) => Err(ScheduleError::NotAccepted(refused)),
            Some(Changed::Full) => Err(ScheduleError::Full),
            None => Err(Fault::unknown(Service::Store, "no answer to a change").into()),
        }
    }
}

impl FindSchedules {
    /// Only those whose jobs are of these topics: `a/b`, `a/*`, `a/**` or `**`.
    pub fn topic(mut self, pattern: impl Into<String>) -> Self {
        self.topic = Some(pattern.into());
        self
    }

    /// At most so many; default 100, 0 for all.
    pub const fn limit(mut self, limit: usize) -> Self {
        self.limit = if limit == 0 { usize::MAX } else { limit };
        self
    }

    /// Goes on where an earlier page ended ([`SchedulePage::next`]).
    pub fn from_cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Asks.
    ///
    /// # Errors
    /// [`ScheduleError::Refused`] for an illegal pattern; [`ScheduleError::Fault`] when the store gives no answer.
    pub async fn list(self) -> Result<SchedulePage, ScheduleError> {
        let bad = |bad: longshore_model::topic::BadTopic| Refusal::from(bad).to_string();
        let pattern = self.topic.as_deref().map(TopicPattern::new).transpose();
        let pattern = pattern.map_err(|error| ScheduleError::Refused(vec![Problem::new("topic", bad(error))]))?;
        let fits = |kept: &Kept| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(&kept.schedule.spec.job.envelope.topic))
        };
        let mut page = SchedulePage { schedules: Vec::new(), next: self.cursor };
        loop {
            let left = self.limit - page.schedules.len();
            let found =
                self.producer.inner.link.store.find_schedules(page.next.as_deref(), left.min(limits::BATCH)).await?;
            let kept: Vec<Kept> = found.kept.into_iter().filter(fits).collect();
            page.schedules.extend(self.producer.schedule_views(found.now, &kept).await?);
            page.next = found.next;
            if page.next.is_none() || page.schedules.len() >= self.limit {
                return Ok(page);
            }
        }
    }
}

/// The byte that puts all jobs of a schedule on its shard.
fn shard(name: &str) -> u8 {
    name.bytes().fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte))
}
