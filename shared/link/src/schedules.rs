//! What the store is told of schedules and answers, and the jobs that they send.
//!
//! The store keeps schedules and compares revisions; what a change means is the model's
//! ([`longshore_model::schedule::change`]). Whoever changes one reads it, asks the model, and writes the
//! answer with the jobs that belong to it, all or nothing; [`Changed::Differs`] means to begin anew.

use crate::error::NotAccepted;
use crate::store::{Accepted, NewJob, Outgoing};
use bytes::Bytes;
use longshore_model::id::{Fence, JobId};
use longshore_model::queue::Queues;
use longshore_model::record::State;
use longshore_model::schedule::change::{Next, Plan};
use longshore_model::schedule::{Fired, Overlap, Schedule};

/// A schedule as it was read.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The schedule.
    pub schedule: Schedule,
    /// Changes with every change of it, and is never used again under its name.
    pub revision: u64,
    /// Whether the job that it sent last has not ended.
    pub open: bool,
}

/// Schedules that were asked for.
#[derive(Debug, Clone, Default)]
pub struct Schedules {
    /// The store's clock, ms.
    pub now: u64,
    /// In the order of their names.
    pub kept: Vec<Kept>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Schedules whose time has come.
#[derive(Debug, Clone, Default)]
pub struct DueSchedules {
    /// The store's clock, ms.
    pub now: u64,
    /// Earliest first.
    pub kept: Vec<Kept>,
    /// When the time of the next one comes that is not due yet, ms.
    pub next: Option<u64>,
    /// Whether more are due than one call takes.
    pub more: bool,
}

/// What a change supposes to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No schedule of this name.
    Absent,
    /// The schedule as it was read.
    Revision(u64),
    /// Anything, also what cannot be read: only for a removal.
    Anything,
}

/// A change of a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleChange {
    /// Its name.
    pub name: String,
    /// What must be there.
    pub expect: Expect,
    /// Whether this job must not have ended, or must have; a job that is not kept any more has.
    pub open: Option<(JobId, bool)>,
    /// What is to be there; `None`: nothing.
    pub next: Option<Box<Schedule>>,
    /// Jobs that are accepted with it.
    pub jobs: Vec<NewJob>,
}

/// What a change answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It is done. One answer for each job; that of a slot may have been accepted, and may have ended, before.
    Done(Vec<Result<Accepted, NotAccepted>>),
    /// Something is not as the change supposes; nothing was done.
    Differs,
    /// One of the jobs is refused; nothing was changed, though jobs before it may have been accepted.
    Refused(NotAccepted),
    /// There are as many schedules as there may be.
    Full,
}

impl Kept {
    /// The change that follows a plan of this schedule; `now` is what the plan was made for.
    ///
    /// # Errors
    /// A sentence when a job cannot be made of the schedule's template.
    pub fn fire(&self, plan: &Plan, queues: &Queues, now: u64) -> Result<ScheduleChange, String> {
        let jobs = plan.fire.iter().map(|fired| self.job(fired, queues, now)).collect::<Result<_, _>>()?;
        Ok(ScheduleChange { jobs, ..self.change(plan.next.clone()) })
    }

    /// The change to what is to be kept, without a job.
    #[must_use]
    pub fn change(&self, next: Next) -> ScheduleChange {
        let schedule = &self.schedule;
        let open = schedule.last().filter(|_| schedule.spec.overlap != Overlap::Allow || schedule.waiting.is_some());
        ScheduleChange {
            name: schedule.spec.name.clone(),
            expect: Expect::Revision(self.revision),
            open: open.map(|job| (job, self.open)),
            next: match next {
                Next::Kept(schedule) => Some(schedule),
                Next::Gone => None,
            },
            jobs: Vec::new(),
        }
    }

    fn job(&self, fired: &Fired, queues: &Queues, now: u64) -> Result<NewJob, String> {
        let spec = &self.schedule.spec;
        let (admission, envelope) = spec.job.job(fired.job, &spec.name, fired.slot, now, queues);
        let bytes = Bytes::from(envelope.encode().map_err(|error| error.to_string())?);
        let fields = envelope.fields();
        Ok(NewJob { admission, envelope: bytes, labels: envelope.labels, fields, again: false, retry_of: None })
    }
}

/// The jobs of a change that are to be published by whoever made it: those that it added and that can run.
#[must_use]
pub fn outgoing(change: &ScheduleChange, answers: &[Result<Accepted, NotAccepted>]) -> Vec<Outgoing> {
    let added = change.jobs.iter().zip(answers).filter_map(|(job, answer)| {
        let accepted = answer.as_ref().ok()?;
        (!accepted.existed && accepted.state == State::Queued).then(|| Outgoing {
            id: job.admission.id,
            lane: accepted.lane(&job.admission),
            generation: accepted.generation,
            fence: Fence::default(),
            created: accepted.created,
            envelope: job.envelope.clone(),
        })
    });
    added.collect()
}
