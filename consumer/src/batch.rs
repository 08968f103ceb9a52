//! Batch handlers: one call for many jobs, with a verdict for each.
//!
//! Every job of a batch is an attempt of its own, with its own slot, fence, lease and context: nothing of the engine
//! knows of batches. What is shared is the call. Whoever comes first opens a batch; it begins when it is full or its
//! time is over, and all attempts in it drive it together, so that one that is dropped takes nobody with it.

use crate::ctx::{Cancelled, Ctx};
use crate::handler::{FromRef, Handler, State};
use crate::outcome::{IntoOutcome, Outcome, outcome_of_error};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use longshore_model::Job;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Jobs of one call, where nothing else is said.
const SIZE: usize = 100;
/// How long a batch waits to be full, where nothing else is said.
const WAIT: Duration = Duration::from_millis(100);

/// One job of a batch.
#[derive(Debug)]
pub struct Item<J> {
    /// The job.
    pub job: J,
    /// The context of its attempt: its id, progress, log, follow-up jobs, and whether it was cancelled.
    pub ctx: Ctx,
}

/// What a batch handler may return: a verdict for each job, in order (`Vec` of anything that a handler may return), one
/// for all of them (`()`, [`Outcome`]), or a `Result` of those with any error, which is the verdict on all.
pub trait IntoOutcomes {
    /// Converts, for so many jobs. A list of another length is a failure of all.
    fn into_outcomes(self, count: usize) -> Vec<Outcome>;
}

impl IntoOutcomes for () {
    fn into_outcomes(self, count: usize) -> Vec<Outcome> {
        vec![Outcome::done(); count]
    }
}

impl IntoOutcomes for Outcome {
    fn into_outcomes(self, count: usize) -> Vec<Outcome> {
        vec![self; count]
    }
}

impl<T: IntoOutcome> IntoOutcomes for Vec<T> {
    fn into_outcomes(self, count: usize) -> Vec<Outcome> {
        if self.len() != count {
            let found = self.len();
            let why = format!("the batch handler was called with {count} jobs and answered with {found} verdicts");
            return vec![Outcome::retry(why); count];
        }
        self.into_iter().map(IntoOutcome::into_outcome).collect()
    }
}

impl<T: IntoOutcomes, E: Into<Box<dyn Error + Send + Sync>>> IntoOutcomes for Result<T, E> {
    fn into_outcomes(self, count: usize) -> Vec<Outcome> {
        match self {
            Ok(all) => all.into_outcomes(count),
            Err(error) => vec![outcome_of_error(error.into().as_ref()); count],
        }
    }
}

/// What came of a call: the verdicts in the order of the jobs, or the text of a panic.
type Done = Arc<Result<Vec<Outcome>, String>>;

/// A batch that others may still join.
struct Open<J> {
    items: Arc<Mutex<Vec<Item<J>>>>,
    full: Arc<Notify>,
    call: Shared<BoxFuture<'static, Done>>,
}

/// The batch that is open, if one is. Shared by all clones of a handler.
type Slot<J> = Arc<Mutex<Option<Open<J>>>>;

/// A function that handles many jobs in one call; see [`batch`].
pub struct Batched<F, J> {
    handler: F,
    size: usize,
    wait: Duration,
    open: Slot<J>,
    kind: PhantomData<fn(J)>,
}

/// Makes a handler of a function that takes many jobs at once: `async fn(Vec<Item<J>>) -> R`, or with the application's
/// state as second argument, where `R` implements [`IntoOutcomes`].
///
/// ```
/// use longshore_consumer::testing::TestRun;
/// use longshore_consumer::{Item, Job, Outcome, batch};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Job)]
/// #[job(topic = "index/page")]
/// struct Page {
///     url: String,
/// }
///
/// async fn index(pages: Vec<Item<Page>>) -> Vec<Outcome> {
///     pages.iter().map(|page| Outcome::result(page.job.url.len())).collect()
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let run = TestRun::new(()).run(batch(index).size(50), Page { url: "a/b".into() }).await;
/// run.assert_result(&3);
/// # }
/// ```
///
/// A batch takes a slot of the instance for each of its jobs: one of a hundred needs `instance.concurrency` of a hundred.
/// A job whose attempt is cancelled before the call is not part of it; one that is cancelled during the call is told so by
/// its own context. A panic is the end of all jobs of the call, as it is for one.
pub fn batch<F, J>(handler: F) -> Batched<F, J> {
    Batched { handler, size: SIZE, wait: WAIT, open: Arc::default(), kind: PhantomData }
}

impl<F, J> Batched<F, J> {
    /// The most jobs of one call, at least 1; 100 when not set.
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size.max(1);
        self
    }

    /// How long the first job of a batch waits for others; 100 ms when not set.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

impl<F: Clone, J> Clone for Batched<F, J> {
    fn clone(&self) -> Self {
        let Self { handler, size, wait, open, kind } = self;
        Self { handler: handler.clone(), size: *size, wait: *wait, open: Arc::clone(open), kind: *kind }
    }
}

impl<F, J> fmt::Debug for Batched<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batched").field("size", &self.size).field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// Tells batch handlers from others. `A`: the arguments after the jobs.
#[derive(Debug)]
pub struct InBatch<A>(PhantomData<A>);

impl<F, Fut, R, J, S> Handler<J, InBatch<()>, S> for Batched<F, J>
where
    F: Fn(Vec<Item<J>>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoOutcomes,
    J: Job,
    S: Send + Sync + 'static,
{
    async fn call(self, job: J, ctx: Ctx, _state: S) -> Outcome {
        let handler = self.handler.clone();
        self.join(Item { job, ctx }, handler).await
    }
}

impl<F, Fut, R, J, S, T> Handler<J, InBatch<State<T>>, S> for Batched<F, J>
where
    F: Fn(Vec<Item<J>>, State<T>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoOutcomes,
    J: Job,
    S: Send + Sync + 'static,
    T: FromRef<S> + Send + 'static,
{
    async fn call(self, job: J, ctx: Ctx, state: S) -> Outcome {
        let (handler, state) = (self.handler.clone(), State(T::from_ref(&state)));
        self.join(Item { job, ctx }, move |items| handler(items, state)).await
    }
}

impl<F, J: Job> Batched<F, J> {
    /// Puts a job into the open batch, or opens one, and waits for its verdict.
    async fn join<C, Fut, R>(&self, item: Item<J>, call: C) -> Outcome
    where
        C: FnOnce(Vec<Item<J>>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoOutcomes,
    {
        let (place, done) = {
            let mut slot = lock(&self.open);
            let open = slot.get_or_insert_with(|| self.open_with(&item.ctx, call));
            let mut items = lock(&open.items);
            let place = items.len();
            items.push(item);
            let (full, done) = (items.len() >= self.size, open.call.clone());
            drop(items);
            if full && let Some(open) = slot.take() {
                open.full.notify_one();
            }
            (place, done)
        };
        match done.await.as_ref() {
            Ok(outcomes) => outcomes.get(place).cloned().unwrap_or_else(|| Outcome::retry("its batch forgot it")),
            // As if this attempt had panicked by itself, without a second report of it.
            Err(panic) => std::panic::resume_unwind(Box::new(panic.clone())),
        }
    }

    fn open_with<C, Fut, R>(&self, first: &Ctx, call: C) -> Open<J>
    where
        C: FnOnce(Vec<Item<J>>) -> Fut + Send + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: IntoOutcomes,
    {
        let (items, full) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let (clock, wait, slot) = (first.clock().clone(), self.wait, Arc::clone(&self.open));
        let (mine, filled) = (Arc::clone(&items), Arc::clone(&full));
        let work = async move {
            tokio::select! {
                biased;
                () = filled.notified() => {}
                () = clock.sleep(wait) => {}
            }
            {
                // Nobody joins from here on. A batch that was full has made room for the next one before.
                let mut slot = lock(&slot);
                if slot.as_ref().is_some_and(|open| Arc::ptr_eq(&open.items, &mine)) {
                    *slot = None;
                }
            }
            let items = std::mem::take(&mut *lock(&mine));
            Arc::new(run(items, call).await)
        };
        Open { items, full, call: work.boxed().shared() }
    }
}

/// Calls the handler for those that are not cancelled by now.
async fn run<J, C, Fut, R>(items: Vec<Item<J>>, call: C) -> Result<Vec<Outcome>, String>
where
    C: FnOnce(Vec<Item<J>>) -> Fut,
    Fut: Future<Output = R>,
    R: IntoOutcomes,
{
    let gone: Vec<Option<Cancelled>> = items.iter().map(|item| item.ctx.cancelled()).collect();
    let live: Vec<Item<J>> =
        items.into_iter().zip(&gone).filter(|(_, gone)| gone.is_none()).map(|(item, _)| item).collect();
    let count = live.len();
    let called = async { if count > 0 { call(live).await.into_outcomes(count) } else { Vec::new() } };
    let outcomes = AssertUnwindSafe(called).catch_unwind().await.map_err(|panic| text_of(panic.as_ref()))?;
    let mut outcomes = outcomes.into_iter();
    let verdict = |gone: Option<Cancelled>| match gone {
        Some(reason) => Outcome::Cancelled(reason),
        None => outcomes.next().unwrap_or_else(|| Outcome::retry("its batch has no verdict on it")),
    };
    Ok(gone.into_iter().map(verdict).collect())
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
