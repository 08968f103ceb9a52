//! Handlers: plain async functions whose first argument is the job and whose others are extracted.
//!
//! Owns the traits that make a function a handler and the extractors. It knows nothing of queues or
//! attempts.

use crate::ctx::Ctx;
use crate::outcome::{IntoOutcome, Outcome};
use longshore_model::id::JobId;
use longshore_model::kind::{RetryRule, RetryRules};
use longshore_model::token::Token;
use longshore_model::{Job, JobOptions};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// An async function that handles one kind of job.
///
/// Implemented for `async fn(job: J, …) -> R` with up to eight more arguments, where `J: Job`, every other argument
/// implements [`FromCtx`], and `R` implements [`IntoOutcome`]. `Args` only tells such functions apart.
#[diagnostic::on_unimplemented(
    message = "this function is not a job handler",
    label = "not a handler",
    note = "its first argument must implement `Job`, every other argument `FromCtx` (such as `Ctx`, `State<T>`, `JobId`), it must be `async`, its future `Send`, and its return type must implement `IntoOutcome`"
)]
pub trait Handler<J, Args, S>: Clone + Send + Sync + 'static {
    /// Runs the handler.
    fn call(self, job: J, ctx: Ctx, state: S) -> impl Future<Output = Outcome> + Send;

    /// What was set at its registration.
    fn options(&self) -> HandlerOptions {
        HandlerOptions::default()
    }
}

/// What an argument of a handler can be made from.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a job handler",
    note = "use `Ctx`, `State<T>`, `JobId` or a type that implements `FromCtx<S>`"
)]
pub trait FromCtx<S>: Send {
    /// Makes the argument.
    fn from_ctx(ctx: &Ctx, state: &S) -> Self;
}

impl<S> FromCtx<S> for Ctx {
    fn from_ctx(ctx: &Ctx, _state: &S) -> Self {
        ctx.clone()
    }
}

impl<S> FromCtx<S> for JobId {
    fn from_ctx(ctx: &Ctx, _state: &S) -> Self {
        ctx.id()
    }
}

impl<S> FromCtx<S> for Token {
    fn from_ctx(ctx: &Ctx, _state: &S) -> Self {
        ctx.token()
    }
}

/// The application's state, or a part of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct State<T>(pub T);

/// A part of the application's state: implement it for each part that handlers ask for.
pub trait FromRef<S> {
    /// Clones the part out of the whole.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> T {
        state.clone()
    }
}

impl<S, T: FromRef<S> + Send> FromCtx<S> for State<T> {
    fn from_ctx(_ctx: &Ctx, state: &S) -> Self {
        Self(T::from_ref(state))
    }
}

macro_rules! handler {
    ($($arg:ident),*) => {
        impl<F, Fut, R, J, S, $($arg,)*> Handler<J, ($($arg,)*), S> for F
        where
            F: Fn(J, $($arg,)*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = R> + Send,
            R: IntoOutcome,
            J: Job,
            S: Send + Sync + 'static,
            $($arg: FromCtx<S>,)*
        {
            #[allow(non_snake_case, unused_variables, reason = "the arguments carry the names of their types")]
            fn call(self, job: J, ctx: Ctx, state: S) -> impl Future<Output = Outcome> + Send {
                $(let $arg = $arg::from_ctx(&ctx, &state);)*
                let future = self(job, $($arg,)*);
                async move { future.await.into_outcome() }
            }
        }
    };
}

handler!();
handler!(A1);
handler!(A1, A2);
handler!(A1, A2, A3);
handler!(A1, A2, A3, A4);
handler!(A1, A2, A3, A4, A5);
handler!(A1, A2, A3, A4, A5, A6);
handler!(A1, A2, A3, A4, A5, A6, A7);
handler!(A1, A2, A3, A4, A5, A6, A7, A8);

/// What is set for one handler. `None`: the job's, the kind's or the queue's value counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HandlerOptions {
    /// Jobs of this handler that one instance runs at once.
    pub concurrency: Option<usize>,
    /// Longest run of one attempt.
    pub timeout: Option<Duration>,
    /// After so long an attempt is told that it had better come to an end.
    pub soft_timeout: Option<Duration>,
    /// An attempt that gives no sign of life for so long is cancelled.
    pub stall_timeout: Option<Duration>,
    /// How long a cancelled attempt may go on before it is dropped; 10 s when not set.
    pub grace: Option<Duration>,
    /// Back-off between attempts.
    pub retry_delay: Option<Duration>,
    /// No attempt begins later than this after the start of the first that failed.
    pub retry_for: Option<Duration>,
    /// Rules by kind of error.
    pub retry_on: RetryRules,
}

impl HandlerOptions {
    /// These options, and those of its kind of job where they say nothing.
    #[must_use]
    pub(crate) fn or(self, kind: &JobOptions) -> Self {
        Self {
            timeout: self.timeout.or(kind.timeout),
            soft_timeout: self.soft_timeout.or(kind.soft_timeout),
            stall_timeout: self.stall_timeout.or(kind.stall_timeout),
            retry_delay: self.retry_delay.or(kind.retry_delay),
            retry_for: self.retry_for.or(kind.retry_for),
            retry_on: self.retry_on.or(&kind.retry_on),
            ..self
        }
    }
}

/// A handler with options.
#[derive(Debug, Clone)]
pub struct WithOptions<H> {
    handler: H,
    options: HandlerOptions,
}

/// Sets options of a handler where it is registered: `.handle(resize.concurrency(2).timeout(mins(10)))`.
pub trait HandlerExt: Sized {
    /// Limits how many jobs of this handler one instance runs at once.
    fn concurrency(self, limit: usize) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.concurrency(limit)
    }

    /// Limits how long one attempt may run.
    fn timeout(self, limit: Duration) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.timeout(limit)
    }

    /// After so long an attempt is told that it had better come to an end: `ctx.should_finish()`.
    fn soft_timeout(self, limit: Duration) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.soft_timeout(limit)
    }

    /// Cancels an attempt that gives no sign of life for so long: no progress, log line, property or `ctx.beat()`.
    fn stall_timeout(self, limit: Duration) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.stall_timeout(limit)
    }

    /// Lets no attempt begin later than this after the start of the first that failed.
    fn retry_for(self, span: Duration) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.retry_for(span)
    }

    /// Sets how often, and after how long, a failure of this kind is tried again.
    fn retry_on(self, kind: &str, rule: RetryRule) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.retry_on(kind, rule)
    }

    /// Sets how long a cancelled attempt may go on.
    fn grace(self, span: Duration) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.grace(span)
    }

    /// Sets the back-off between attempts.
    fn retry_delay(self, span: Duration) -> WithOptions<Self> {
        WithOptions { handler: self, options: HandlerOptions::default() }.retry_delay(span)
    }
}

impl<F: Clone + Send + Sync + 'static> HandlerExt for F {}

impl<H> WithOptions<H> {
    /// See [`HandlerExt::concurrency`].
    #[must_use]
    pub const fn concurrency(mut self, limit: usize) -> Self {
        self.options.concurrency = Some(limit);
        self
    }

    /// See [`HandlerExt::timeout`].
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.options.timeout = Some(limit);
        self
    }

    /// See [`HandlerExt::soft_timeout`].
    #[must_use]
    pub const fn soft_timeout(mut self, limit: Duration) -> Self {
        self.options.soft_timeout = Some(limit);
        self
    }

    /// See [`HandlerExt::stall_timeout`].
    #[must_use]
    pub const fn stall_timeout(mut self, limit: Duration) -> Self {
        self.options.stall_timeout = Some(limit);
        self
    }

    /// See [`HandlerExt::retry_for`].
    #[must_use]
    pub const fn retry_for(mut self, span: Duration) -> Self {
        self.options.retry_for = Some(span);
        self
    }

    /// See [`HandlerExt::retry_on`].
    #[must_use]
    pub fn retry_on(mut self, kind: &str, rule: RetryRule) -> Self {
        self.options.retry_on.set(kind, rule);
        self
    }

    /// See [`HandlerExt::grace`].
    #[must_use]
    pub const fn grace(mut self, span: Duration) -> Self {
        self.options.grace = Some(span);
        self
    }

    /// See [`HandlerExt::retry_delay`].
    #[must_use]
    pub const fn retry_delay(mut self, span: Duration) -> Self {
        self.options.retry_delay = Some(span);
        self
    }
}

impl<H, J, Args, S> Handler<J, Args, S> for WithOptions<H>
where
    H: Handler<J, Args, S>,
    J: Send,
    S: Send,
{
    fn call(self, job: J, ctx: Ctx, state: S) -> impl Future<Output = Outcome> + Send {
        self.handler.call(job, ctx, state)
    }

    fn options(&self) -> HandlerOptions {
        self.options.clone()
    }
}

/// A handler whose types are known only to itself: what the registry keeps.
pub(crate) type Erased = Arc<dyn Fn(Ctx) -> Pin<Box<dyn Future<Output = Handled> + Send>> + Send + Sync>;

/// What came of calling a handler.
pub(crate) enum Handled {
    /// It ran.
    Ran(Outcome),
    /// The payload could not be read as the handler's job type; it did not run.
    Unreadable(String),
}

/// Hides the types of a handler.
pub(crate) fn erase<H, J, Args, S>(handler: H, state: S) -> Erased
where
    H: Handler<J, Args, S>,
    J: Job,
    S: Clone + Send + Sync + 'static,
{
    Arc::new(move |ctx: Ctx| {
        let (handler, state) = (handler.clone(), state.clone());
        Box::pin(async move {
            match ctx.payload_as::<J>() {
                Ok(job) => Handled::Ran(handler.call(job, ctx, state).await),
                Err(error) => Handled::Unreadable(format!("the payload is not a {}: {error}", J::TOPIC)),
            }
        })
    })
}

/// Hides the types of a handler that takes any payload.
pub(crate) fn erase_raw<F, Fut, R>(handler: F) -> Erased
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: IntoOutcome,
{
    Arc::new(move |ctx: Ctx| {
        let future = handler(ctx);
        Box::pin(async move { Handled::Ran(future.await.into_outcome()) })
    })
}
