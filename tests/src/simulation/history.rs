//! What handlers did, and whether it was allowed.

use longshore_consumer::Ctx;
use longshore_link::Embedded;
use longshore_link::world::Clock;
use longshore_model::limits;
use longshore_model::record::{Reason, State};
use longshore_model::{JobId, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Every run of every handler.
#[derive(Debug, Clone)]
pub struct History {
    clock: Clock,
    store: Embedded,
    runs: Arc<Mutex<BTreeMap<JobId, Vec<Run>>>>,
    wiped: Arc<Mutex<Wiped>>,
    /// When the process whose runs are noted through this clone stood still.
    stands: Stands,
}

/// From when to when; `None`: still.
type Still = (Duration, Option<Duration>);

/// When a process stood still.
#[derive(Debug, Clone)]
pub struct Stands {
    clock: Clock,
    spans: Arc<Mutex<Vec<Still>>>,
}

impl Stands {
    fn new(clock: Clock) -> Self {
        Self { clock, spans: Arc::default() }
    }

    /// It stands still from now on.
    pub fn begin(&self) {
        self.spans.lock().unwrap().push((self.clock.boot(), None));
    }

    /// It goes on.
    pub fn end(&self) {
        if let Some((_, end)) = self.spans.lock().unwrap().last_mut() {
            end.get_or_insert(self.clock.boot());
        }
    }

    fn during(&self, from: Duration, to: Duration) -> bool {
        let spans = self.spans.lock().unwrap();
        spans.iter().any(|(begun, ended)| *begun <= to && ended.is_none_or(|ended| ended >= from))
    }
}

/// What the store lost.
#[derive(Debug, Default)]
struct Wiped {
    first: Option<Duration>,
    /// Jobs that may be gone for good: they had ended, waited for their time, or no copy of them had reached the broker.
    excused: BTreeSet<JobId>,
}

#[derive(Debug, Clone)]
struct Run {
    fence: u64,
    begun: Duration,
    begun_ms: u64,
    ended: Option<Duration>,
    stands: Stands,
}

impl History {
    /// An empty history of what happens to the jobs of a store.
    #[must_use]
    pub fn new(clock: Clock, store: Embedded) -> Self {
        let stands = Stands::new(clock.clone());
        Self { clock, store, runs: Arc::default(), wiped: Arc::default(), stands }
    }

    /// The same history, for one more process.
    #[must_use]
    pub fn of_process(&self) -> (Self, Stands) {
        let stands = Stands::new(self.clock.clone());
        (Self { stands: stands.clone(), ..self.clone() }, stands)
    }

    /// The store lost these records; `copies` tells how many copies of a job the broker has.
    pub fn wipe(&self, lost: &[Record], copies: impl Fn(&JobId) -> usize) {
        let mut wiped = self.wiped.lock().unwrap();
        wiped.first.get_or_insert_with(|| self.clock.boot());
        let gone = |record: &&Record| {
            let unsent = record.state == State::Queued && record.outbox.is_some() && record.crashes == 0;
            record.state.is_terminal() || record.state == State::Scheduled || (unsent && copies(&record.id) == 0)
        };
        wiped.excused.extend(lost.iter().filter(gone).map(|record| record.id));
    }

    /// Whether the job may be gone, because the store lost it.
    #[must_use]
    pub fn may_be_gone(&self, id: &JobId) -> bool {
        self.wiped.lock().unwrap().excused.contains(id)
    }

    /// Runs that began.
    #[must_use]
    pub fn started(&self) -> usize {
        self.runs.lock().unwrap().values().map(Vec::len).sum()
    }

    /// What is wrong with the runs of a job that ended.
    #[must_use]
    pub fn judge(&self, record: &Record) -> Vec<String> {
        let wiped = self.wiped.lock().unwrap().first;
        let runs = self.runs.lock().unwrap();
        let mut wrong = Vec::new();
        let Some(runs) = runs.get(&record.id) else {
            if record.attempts > 0 && record.finished.is_some() && record.message.is_none() {
                wrong.push(format!("job {}: {} attempts, yet no handler ran: {record:?}", record.id, record.attempts));
            }
            return wrong;
        };
        let mut runs = runs.clone();
        runs.sort_by_key(|run| run.begun);
        for pair in runs.windows(2) {
            let excused = pair[0].stands.during(pair[0].begun, pair[1].begun);
            // A claim from before a wipe may begin after one from after it.
            let wiped_between = wiped.is_some_and(|wiped| pair[1].begun >= wiped);
            if pair[1].fence <= pair[0].fence && !wiped_between {
                wrong.push(format!("job {}: a later run has an older fence: {pair:?}", record.id));
            }
            // After a wipe a job may run again, also while it runs.
            if !excused
                && wiped.is_none_or(|wiped| pair[1].begun < wiped)
                && pair[0].ended.is_none_or(|ended| ended > pair[1].begun)
            {
                wrong.push(format!("job {}: two runs at once: {pair:?}", record.id));
            }
        }
        if wiped.is_some() {
            return wrong;
        }
        for run in &runs {
            if record.finished.is_some_and(|finished| run.begun_ms > finished) {
                wrong.push(format!("job {}: a run began after its end at {:?}: {run:?}", record.id, record.finished));
            }
        }
        if runs.len() > record.attempts as usize {
            wrong.push(format!("job {}: {} runs, only {} attempts counted", record.id, runs.len(), record.attempts));
        }
        wrong
    }

    /// What is wrong with whom the store blamed for the end of processes. `poison`: there is one job that takes them down,
    /// and nothing else goes wrong.
    #[must_use]
    pub fn blamed(&self, record: &Record, poison: bool) -> Option<String> {
        let wiped = self.wiped.lock().unwrap().first.is_some();
        let guilty = poison && record.topic.as_str() == "sim/poison";
        let kills = self.runs.lock().unwrap().get(&record.id).map_or(0, Vec::len);
        let wrong = match record.reason {
            _ if guilty => (record.reason != Some(Reason::Poison) || kills > 3).then_some("a job that kills"),
            Some(Reason::Poison) => (poison || record.crashes < limits::CRASHES && !wiped).then_some("an innocent job"),
            Some(Reason::CrashesExhausted) => (record.crashes < limits::SHARED_CRASHES).then_some("a job in company"),
            _ => None,
        }?;
        Some(format!("{wrong} was not treated as such: {kills} runs, {record:?}"))
    }
}

/// A run as gates see it.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// When it began, by the boot clock.
    pub begun: Duration,
    /// The same, by the store's clock, ms.
    pub begun_ms: u64,
    /// When it ended; far away while it goes on.
    pub ended: Duration,
    /// Its process stood still in it, so that others may have been let in.
    pub excused: bool,
}

impl History {
    /// The runs of a job.
    #[must_use]
    pub fn spans(&self, id: &JobId) -> Vec<Span> {
        let runs = self.runs.lock().unwrap();
        let span = |run: &Run| {
            let ended = run.ended.unwrap_or(Duration::MAX);
            let excused = run.stands.during(run.begun, ended);
            Span { begun: run.begun, begun_ms: run.begun_ms, ended, excused }
        };
        runs.get(id).into_iter().flatten().map(span).collect()
    }
}

/// One run, noted as ended when it is dropped: also by the death of its process.
#[derive(Debug)]
pub struct Ran {
    history: History,
    id: JobId,
    place: usize,
}

impl Ran {
    /// Notes that a handler begins.
    #[must_use]
    pub fn begin(history: &History, ctx: &Ctx) -> Self {
        let (begun, begun_ms) = (history.clock.boot(), history.store.now_ms());
        let run = Run { fence: ctx.fence().0, begun, begun_ms, ended: None, stands: history.stands.clone() };
        let mut runs = history.runs.lock().unwrap();
        let of_job = runs.entry(ctx.id()).or_default();
        of_job.push(run);
        Self { history: history.clone(), id: ctx.id(), place: of_job.len() - 1 }
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        let now = self.history.clock.boot();
        if let Ok(mut runs) = self.history.runs.lock()
            && let Some(run) = runs.get_mut(&self.id).and_then(|runs| runs.get_mut(self.place))
        {
            run.ended = Some(now);
        }
    }
}
