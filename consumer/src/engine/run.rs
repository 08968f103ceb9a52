//! Runs a handler: until it ends, is cancelled and its grace is over, runs out of time, or panics.
//!
//! The same for the engine and for test runs. Knows no store and no broker.

use crate::ctx::{Cancelled, Controls, Ctx};
use crate::handler::{Erased, Handled};
use crate::outcome::Outcome;
use futures_util::FutureExt;
use longshore_link::world::Clock;
use longshore_model::limits;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;

/// How long a cancelled handler may go on before it is dropped, unless its options say otherwise.
pub(crate) const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// How the handler ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With an outcome, its own or one given for it.
    Outcome(Outcome),
    /// The payload could not be read.
    Unreadable(String),
    /// It panicked.
    Panicked(String),
    /// It was not called: the payload files cannot be fetched for now.
    FilesAway(String),
}

/// How long it may run, and go on after it was cancelled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) timeout: Option<Duration>,
    /// When it is told that it had better come to an end.
    pub(crate) soft: Option<Duration>,
    /// How long it may give no sign of life.
    pub(crate) stall: Option<Duration>,
    pub(crate) grace: Duration,
    /// How long it may go on when its lease is in doubt: others may start the job soon after.
    pub(crate) lost_grace: Duration,
    /// Whether an attempt that was given away goes on until somebody ends it; a test run ends with the handler.
    pub(crate) awaits_token: bool,
}

/// Runs the handler of an attempt.
pub(crate) async fn handler(run: &Erased, ctx: &Ctx, controls: &Controls, clock: &Clock, limits: Limits) -> Ended {
    ctx.beat();
    let whole = async {
        match AssertUnwindSafe(run(ctx.clone())).catch_unwind().await {
            Ok(Handled::Ran(Outcome::Deferred)) => Ended::Outcome(match ctx.take_deferred() {
                Some(receiver) => receiver
                    .await
                    .unwrap_or_else(|_| Outcome::retry("the deferred attempt was dropped without a verdict")),
                None => Outcome::fail("the handler returned Deferred without `ctx.defer()`"),
            }),
            Ok(Handled::Ran(Outcome::GivenAway)) => given_away(ctx, limits.awaits_token).await,
            Ok(Handled::Ran(outcome)) => Ended::Outcome(outcome),
            Ok(Handled::Unreadable(error)) => Ended::Unreadable(error),
            Err(panic) => Ended::Panicked(panic_text(panic.as_ref())),
        }
    };
    let mut whole = pin!(whole);
    // Boxed: few jobs have such times, and a task is as large as the largest thing it may wait for.
    let watched = limits.soft.is_some() || limits.stall.is_some();
    let watch = async { if watched { watch(ctx, clock, limits).boxed().await } else { std::future::pending().await } };
    let time_limit = async {
        match limits.timeout {
            Some(limit) => {
                clock.sleep(limit).await;
                Cancelled::TimedOut(limit)
            }
            None => std::future::pending().await,
        }
    };
    let reason = tokio::select! {
        biased;
        ended = &mut whole => return ended,
        reason = ctx.until_cancelled() => reason,
        reason = time_limit => reason,
        reason = watch => reason,
    };
    controls.cancel.send_if_modified(|now| {
        let first = now.is_none();
        now.get_or_insert_with(|| reason.clone());
        first
    });
    let grace = match reason {
        Cancelled::LeaseLost(_) => limits.grace.min(limits.lost_grace),
        _ => limits.grace,
    };
    clock.timeout(grace, &mut whole).await.unwrap_or(Ended::Outcome(Outcome::Cancelled(reason)))
}

/// Tells the handler when its soft timeout has passed, and ends with the reason when it has stalled.
async fn watch(ctx: &Ctx, clock: &Clock, limits: Limits) -> Cancelled {
    let soft = async {
        if let Some(span) = limits.soft {
            clock.sleep(span).await;
            ctx.tell_to_finish();
        }
        std::future::pending::<Cancelled>().await
    };
    let stalled = async {
        let Some(span) = limits.stall else { return std::future::pending().await };
        loop {
            let silent = clock.boot().saturating_sub(ctx.last_sign());
            if silent >= span {
                return Cancelled::Stalled(span);
            }
            clock.sleep(span - silent).await;
        }
    };
    tokio::select! {
        biased;
        reason = soft => reason,
        reason = stalled => reason,
    }
}

/// The handler is over, and the attempt goes on under its lease: whoever has its token ends it in the store, which
/// takes it from this process, and the engine cancels it as it cancels whatever is not its own any more.
async fn given_away(ctx: &Ctx, awaits_token: bool) -> Ended {
    if ctx.has_own_output() {
        return Ended::Outcome(Outcome::fail(
            "an attempt that was given away sends no follow-up jobs and leaves no output files: nothing of this process \
             is committed with it. Let whoever completes it send jobs, or use `ctx.defer()`",
        ));
    }
    if !awaits_token {
        return Ended::Outcome(Outcome::GivenAway);
    }
    ctx.rest();
    ctx.log("given away: whoever has the token of this attempt ends it");
    Ended::Outcome(Outcome::Cancelled(ctx.until_cancelled().await))
}

pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".into());
    limits::cut(&format!("the handler panicked: {text}"), limits::MESSAGE_BYTES)
}
