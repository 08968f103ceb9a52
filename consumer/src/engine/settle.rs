//! The end of an attempt: verdict, commit, what follows from it, and only then the acknowledgement.
//!
//! Order matters and is the protocol's: a retry that will wait parks a confirmed copy *before* the
//! store is told; the commit carries the result, the last report and the follow-up jobs in one step;
//! follow-ups and immediate re-runs are published and confirmed *before* the delivery is acknowledged, and those that
//! waited for what the attempt held are published beside that, which spares them the way through the relay;
//! a commit refused as stale gives the message back instead of acknowledging it; one that finds no record, or an older
//! one, takes the attempt back into the store first and lands.

use super::adopt::{self, Adopted};
use super::attempt::{Attempt, divert, publish};
use super::files::NotMoved;
use super::run::Ended;
use super::{Engine, files, recommit, telling};
use crate::ctx::Cancelled;
use crate::follow_up::FollowUp;
use crate::outcome::Outcome;
use futures_util::FutureExt;
use futures_util::future::join;
use longshore_link::broker::{Headers, Message, Target};
use longshore_link::error::NotAccepted;
use longshore_link::store::{Accepted, Finish, Finished, NewJob, Report};
use longshore_model::envelope::{FileRef, Trace};
use longshore_model::id::{Generation, JobId};
use longshore_model::limits;
use longshore_model::names::Park;
use longshore_model::record::{Reason, State};
use longshore_model::span::ms;
use longshore_model::transition::{Answer, FailureTerms, Verdict};
use std::path::PathBuf;
use std::time::Duration;

/// Everything there is to settle.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) ended: Ended,
    pub(crate) cancelled: Option<Cancelled>,
    pub(crate) report: Report,
    pub(crate) follow_ups: Vec<(JobId, FollowUp)>,
    pub(crate) output_dir: Option<PathBuf>,
    pub(crate) trace: Option<Trace>,
}

/// The verdict, and what goes with a success.
struct Commit {
    verdict: Verdict,
    result: Option<String>,
    outputs: Vec<FileRef>,
    follow_ups: Vec<NewJob>,
}

/// Settles an attempt.
///
/// What is rarely awaited is boxed, here and in [`super::attempt`]: a task is as large as the largest thing it may wait
/// for, and there is one for each delivery.
pub(crate) async fn settle(attempt: &Attempt, mut settlement: Settlement) {
    let report = std::mem::take(&mut settlement.report);
    let commit = decide(attempt, settlement).await;
    let engine = &attempt.engine;
    if let Verdict::Failed { delay_ms, terms: FailureTerms { retries, .. }, .. } = commit.verdict
        && delay_ms > 0
        // Of a kind with retries of its own nobody here knows whether they are used up: then the copy is refused.
        && (!attempt.last || retries.is_some())
        && !park_copy(attempt, delay_ms).boxed().await
        && attempt.settler.is_live()
    {
        // The instance ends before a copy was confirmed: nothing is committed, the lease will be taken back.
        return;
    }
    if let Verdict::Released { delay_ms, .. } = commit.verdict
        && delay_ms > 0
        && engine.journal
        && !write_journal(attempt, delay_ms).boxed().await
        && attempt.settler.is_live()
    {
        return;
    }
    let finish = Finish {
        id: attempt.id,
        fence: attempt.fence,
        verdict: commit.verdict,
        result: commit.result,
        outputs: commit.outputs,
        report,
        follow_ups: commit.follow_ups,
    };
    let Some(mut finished) = land(attempt, &finish).await else { return };
    let next = finished.take_let_through();
    if next.is_empty() {
        return conclude(attempt, finish, finished).await;
    }
    // Who waited for it waits no longer than for this.
    join(engine.publish_outgoing(next), conclude(attempt, finish, finished)).boxed().await;
}

/// What follows from the commit, whatever it answered.
async fn conclude(attempt: &Attempt, finish: Finish, finished: Finished) {
    let engine = &attempt.engine;
    match finished {
        Finished::Known {
            answer: answer @ (Answer::Moved { state } | Answer::Already { state }),
            generation,
            follow_ups,
            ..
        } => {
            engine.metrics.finished(state);
            if matches!(answer, Answer::Moved { .. }) {
                telling::ended(attempt, &finish.verdict, state);
                telling::added(engine, &finish.follow_ups, &follow_ups);
            }
            tracing::debug!(job = %attempt.id, %state, outcome = ?finish.verdict, "attempt ended");
            if state == State::Retrying || state == State::Scheduled {
                engine.promote_now.notify_one();
            }
            // Somebody with the attempt's token ended it: nobody parked a copy for the time that the job waits now.
            let unparked = !matches!(finish.verdict, Verdict::Failed { delay_ms, .. } if delay_ms > 0);
            let waits = matches!(state, State::Retrying | State::Scheduled | State::Blocked);
            if matches!(answer, Answer::Already { .. }) && unparked && waits && !park_copy(attempt, 0).boxed().await {
                return;
            }
            let published = !finish.follow_ups.is_empty();
            if published && !publish_follow_ups(attempt, &finish.follow_ups, follow_ups).boxed().await {
                return;
            }
            recommit::keep(attempt, finish);
            if state == State::Queued && !publish_again(attempt, generation).boxed().await {
                return;
            }
            attempt.ack();
        }
        Finished::Known { answer, .. } => {
            engine.metrics.stale();
            let ended = matches!(answer, Answer::Stale { state } | Answer::Ended { state } if state.is_terminal());
            tracing::warn!(job = %attempt.id, ?answer, "the attempt's result was refused: it is not the current one");
            if ended {
                attempt.ack();
            } else {
                give_back(attempt).boxed().await;
            }
        }
        Finished::Missing => {
            engine.metrics.stale();
            tracing::warn!(job = %attempt.id, "the store has lost the attempt and does not take it back");
            give_back(attempt).boxed().await;
        }
        Finished::Damaged(detail) => {
            tracing::error!(job = %attempt.id, detail, "the store holds a damaged record");
            let why = format!("the store holds a damaged record of it: {detail}");
            divert(engine, attempt.delivery(), attempt.settler.as_ref(), Target::Dead, Some(why)).boxed().await;
        }
    }
}

/// What the ended attempt means for the job.
async fn decide(attempt: &Attempt, settlement: Settlement) -> Commit {
    let Settlement { ended, cancelled, report: _, follow_ups, output_dir, trace } = settlement;
    let plain = |verdict| Commit { verdict, result: None, outputs: Vec::new(), follow_ups: Vec::new() };
    let cut = |text: String| limits::cut(&text, limits::MESSAGE_BYTES);
    let outcome = match ended {
        Ended::Outcome(outcome) => outcome,
        Ended::Unreadable(error) => {
            return plain(Verdict::Fatal { reason: Reason::UnreadablePayload, error: cut(error) });
        }
        Ended::Panicked(error) => return plain(Verdict::Fatal { reason: Reason::Panicked, error: cut(error) }),
        Ended::FilesAway(why) => return plain(released(files::AWAY, Reason::Files, cut(why))),
    };
    let interrupted = matches!(cancelled, Some(Cancelled::Shutdown | Cancelled::LeaseLost(_)));
    match outcome {
        Outcome::Done { result, message } => {
            match prepare_success(attempt, follow_ups, output_dir, trace).boxed().await {
                Ok((outputs, follow_ups)) => {
                    let verdict = Verdict::Succeeded { message: message.map(cut) };
                    Commit { verdict, result, outputs, follow_ups }
                }
                Err(NotMoved::Ends(outcome)) => plain(failure(attempt, outcome, cancelled.as_ref())),
                Err(NotMoved::Away(why)) => plain(released(files::AWAY, Reason::Files, cut(why))),
            }
        }
        // What a handler says after it was interrupted is no verdict on the job.
        Outcome::Retry { error, .. } if interrupted => plain(released(Duration::ZERO, Reason::Interrupted, cut(error))),
        Outcome::Cancelled(Cancelled::Shutdown | Cancelled::LeaseLost(_)) => {
            let why = cancelled.map_or_else(|| "interrupted".to_owned(), |reason| reason.to_string());
            plain(released(Duration::ZERO, Reason::Interrupted, cut(why)))
        }
        Outcome::Snooze { after, message } => plain(released(after, Reason::Snoozed, cut(message))),
        other => plain(failure(attempt, other, cancelled.as_ref())),
    }
}

fn released(after: Duration, reason: Reason, message: String) -> Verdict {
    Verdict::Released { delay_ms: ms(after).min(limits::DELAY_MS), reason, message }
}

fn failure(attempt: &Attempt, outcome: Outcome, cancelled: Option<&Cancelled>) -> Verdict {
    let cut = |text: String| limits::cut(&text, limits::MESSAGE_BYTES);
    let (asked, error, kind) = match outcome {
        Outcome::Fail { error } => return Verdict::Fatal { reason: Reason::Permanent, error: cut(error) },
        Outcome::BadResult { error } => return Verdict::Fatal { reason: Reason::BadResult, error: cut(error) },
        Outcome::Retry { after, error, kind } => (after, error, kind),
        Outcome::Cancelled(reason) => (None, reason.to_string(), None),
        Outcome::Done { .. } | Outcome::Snooze { .. } | Outcome::Deferred | Outcome::GivenAway => {
            (None, "the handler deferred an attempt that was already deferred".to_owned(), None)
        }
    };
    // Whatever a handler says that was cancelled for its time: that is the kind of its failure, unless it names one.
    let kind = kind.or_else(|| cancelled.and_then(Cancelled::kind).map(ToOwned::to_owned));
    let engine = &attempt.engine;
    let queues = engine.policies.get();
    let (delay, terms) = attempt.terms(&queues).failure(kind, asked, &attempt.origin, engine.link.world.random.next());
    Verdict::Failed { delay_ms: ms(delay), error: cut(error), terms }
}

/// Uploads outputs and prepares follow-up jobs; what cannot be done turns the success into a failure that says why.
async fn prepare_success(
    attempt: &Attempt,
    follow_ups: Vec<(JobId, FollowUp)>,
    output_dir: Option<PathBuf>,
    trace: Option<Trace>,
) -> Result<(Vec<FileRef>, Vec<NewJob>), NotMoved> {
    let engine = &attempt.engine;
    let outputs = match output_dir {
        Some(dir) => files::collect(attempt, &dir).boxed().await?,
        None => Vec::new(),
    };
    let now_ms = engine.link.world.clock.unix_ms();
    let (queues, origin) = (engine.policies.get(), engine.origin());
    let follow_ups = follow_ups
        .into_iter()
        .map(|(id, job)| job.prepare(id, attempt.id, trace.clone(), &queues, &origin, now_ms))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| NotMoved::Ends(Outcome::fail(error)))?;
    Ok((outputs, follow_ups))
}

/// A retry parks a copy before the store hears of it, so that the broker still has the job if the store is wiped. If
/// the delivery's session is over, the broker still has the original. Answers whether a copy is there.
async fn park_copy(attempt: &Attempt, delay_ms: u64) -> bool {
    let message =
        copy(attempt, Target::Parked(Park::at_least(delay_ms), attempt.delivery().lane.clone()), attempt.generation());
    publish(&attempt.engine, attempt.settler.as_ref(), message).await
}

/// A job that goes back to wait is written to the journal before the store hears of it. When it is to start is said by
/// this machine's clock: it only matters to a store that has lost the job.
async fn write_journal(attempt: &Attempt, delay_ms: u64) -> bool {
    let start = attempt.engine.link.world.clock.unix_ms() + delay_ms;
    let message = copy(attempt, Target::Journal(attempt.delivery().lane.topic.clone(), start), attempt.generation());
    publish_journal(attempt, message).await
}

/// Publishes to the journal. One that the broker refuses (it is different, or there are no streams) is no reason to hold
/// up the job: it is as safe as without a journal, and somebody is told.
async fn publish_journal(attempt: &Attempt, message: Message) -> bool {
    match attempt.engine.link.broker.publish(vec![message.clone()]).await.pop() {
        Some(Ok(())) => true,
        Some(Err(fault)) if !fault.is_passing() => {
            tracing::error!(%fault, "the journal cannot be written: what waits for its time is in the store alone");
            true
        }
        _ => publish(&attempt.engine, attempt.settler.as_ref(), message).await,
    }
}

/// A copy of the attempt's message.
pub(super) fn copy(attempt: &Attempt, target: Target, generation: Generation) -> Message {
    Message {
        headers: Headers {
            generation,
            fence: attempt.fence,
            parked: target.park(),
            reason: None,
            ..attempt.delivery().headers.clone()
        },
        target,
        message_id: attempt.id.to_string(),
        body: attempt.delivery().body.clone(),
    }
}

/// Commits, also into a store that lost the job: it is taken back first. `None`: the instance ends first.
async fn land(attempt: &Attempt, finish: &Finish) -> Option<Finished> {
    let engine = &attempt.engine;
    loop {
        let finished = commit_until_answered(attempt, finish).await?;
        if finished != Finished::Missing {
            return Some(finished);
        }
        match adopt::offer(engine, attempt.id, attempt.fence, &attempt.origin).boxed().await {
            Ok(Adopted::Current) => {
                tracing::warn!(job = %attempt.id, "the store had lost the job; its result is committed all the same");
            }
            Ok(Adopted::Ended) => return Some(Finished::stale(State::Dropped, attempt.generation())),
            Ok(Adopted::Refused) => return Some(Finished::Missing),
            Err(fault) => {
                tracing::warn!(job = %attempt.id, %fault, "a lost job could not be offered to the store; trying again");
                if !engine.pause(engine.link.world.random.jitter(Duration::from_secs(1))).await {
                    return None;
                }
            }
        }
    }
}

/// Offers the commit until the store answers. `None`: the instance ends first; the lease will be taken back.
async fn commit_until_answered(attempt: &Attempt, finish: &Finish) -> Option<Finished> {
    let engine = &attempt.engine;
    loop {
        match engine.link.store.finish(vec![finish.clone()]).await {
            Ok(mut answers) => return answers.pop(),
            Err(fault) => tracing::warn!(job = %attempt.id, %fault, "commit not answered; offering it again"),
        }
        if !engine.pause(engine.link.world.random.jitter(Duration::from_secs(1))).boxed().await {
            return None;
        }
    }
}

/// Publishes accepted follow-up jobs. Answers whether all are confirmed, so that the parent may be acknowledged.
async fn publish_follow_ups(attempt: &Attempt, jobs: &[NewJob], answers: Vec<Result<Accepted, NotAccepted>>) -> bool {
    let engine = &attempt.engine;
    let mut confirmed = Vec::new();
    for (job, answer) in jobs.iter().zip(answers) {
        let accepted = match answer {
            Ok(accepted) => accepted,
            Err(refusal) => {
                tracing::warn!(job = %attempt.id, %refusal, "follow-up job not accepted");
                continue;
            }
        };
        if accepted.id != job.admission.id && !accepted.replaced {
            tracing::debug!(job = %attempt.id, first = %accepted.id, "another job stands for a unique follow-up job");
            continue;
        }
        let message = |target| Message::accepted(job, &accepted, target);
        let there = if accepted.state == State::Queued {
            confirmed.push((accepted.id, accepted.generation));
            publish(engine, attempt.settler.as_ref(), message(Target::Jobs(accepted.lane(&job.admission)))).await
        } else {
            engine.promote_now.notify_one();
            let journaled = matches!(accepted.state, State::Scheduled | State::Blocked) && engine.journal;
            !journaled || {
                let (topic, start) = (job.admission.topic.clone(), job.admission.start.at(accepted.created));
                let entry = message(Target::Journal(topic, start));
                publish_journal(attempt, entry).await
            }
        };
        if !there {
            return false;
        }
    }
    mark(engine, confirmed).await;
    true
}

/// The job is runnable again at once: its new copy goes into the lane before the old one is acknowledged.
async fn publish_again(attempt: &Attempt, generation: Generation) -> bool {
    let message = copy(attempt, Target::Lane(attempt.delivery().lane.clone()), generation);
    if !publish(&attempt.engine, attempt.settler.as_ref(), message).await {
        return false;
    }
    mark(&attempt.engine, vec![(attempt.id, generation)]).await;
    true
}

/// Tells the store that the broker confirmed copies of these generations.
pub(crate) async fn mark(engine: &Engine, published: Vec<(JobId, Generation)>) {
    if !published.is_empty()
        && let Err(fault) = engine.link.store.published(published).await
    {
        tracing::debug!(%fault, "published jobs stay in the outbox; a second copy will be refused");
    }
}

/// The result counts for nothing, but the message may be the job's only copy in the broker: it goes back.
async fn give_back(attempt: &Attempt) {
    let park = Target::Parked(Park::Short, attempt.delivery().lane.clone());
    divert(&attempt.engine, attempt.delivery(), attempt.settler.as_ref(), park, None).await;
}
