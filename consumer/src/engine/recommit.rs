//! Commits of the last seconds are offered again when the store may have lost them.
//!
//! A commit is acknowledged to the broker as soon as the store has it. A store that then forgets its last second says that
//! the job is running, and it would run once more. So what was committed is kept for a few seconds ([`Recent`]) and
//! offered when a beat finds the store in a new epoch. The fence decides: a commit that was not lost is answered as
//! repeated, one whose claim was lost as well takes its attempt back first, one that a newer attempt overtook is refused.

use super::adopt::{self, Adopted, Origin};
use super::attempt::Attempt;
use super::{Engine, Phase};
use longshore_link::Fault;
use longshore_link::store::{Finish, Finished};
use longshore_model::limits;
use longshore_model::transition::Answer;
use std::sync::Arc;
use std::time::Duration;

/// What a kept commit takes beside its job and its result, about, bytes.
const OVERHEAD: usize = 1_024;

/// When commits that the store did not answer for are offered once more.
const AGAIN: Duration = Duration::from_secs(1);

/// A commit, and what its job is made from again.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    origin: Arc<Origin>,
    finish: Finish,
}

/// Keeps a commit that the store has just taken.
pub(crate) fn keep(attempt: &Attempt, finish: Finish) {
    let engine = &attempt.engine;
    let follow_ups = finish.follow_ups.iter().map(|job| job.envelope.len() + OVERHEAD).sum::<usize>();
    let result = finish.result.as_ref().map_or(0, String::len);
    let bytes = OVERHEAD + attempt.origin.delivery.body.len() + result + follow_ups;
    let committed = Committed { origin: Arc::clone(&attempt.origin), finish };
    engine.committed.note(engine.link.world.clock.boot(), bytes, committed);
}

/// Offers them whenever the store began anew, and until it has answered, until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = engine.recommit_now.notified() => {}
        }
        let recent = engine.committed.again(engine.link.world.clock.boot());
        let (mut lost, mut missed, all) = (0, false, recent.len());
        for part in recent.chunks(limits::BATCH) {
            match offer(&engine, part).await {
                Ok(count) => lost += count,
                Err(fault) => {
                    tracing::warn!(%fault, jobs = part.len(), "commits could not be offered again yet");
                    missed = true;
                }
            }
        }
        if lost > 0 {
            engine.metrics.recommitted(lost);
            tracing::warn!(jobs = lost, of = all, "the store had lost results; it has them again");
        }
        if missed && engine.pause(AGAIN).await {
            engine.recommit_now.notify_one();
        }
    }
}

/// Offers some; answers how many were lost. Follow-up jobs are in the outbox, for the relay.
async fn offer(engine: &Engine, part: &[Committed]) -> Result<u64, Fault> {
    let mut lost = 0;
    let mut answers = engine.link.store.finish(part.iter().map(|committed| committed.finish.clone()).collect()).await?;
    publish_next(engine, &mut answers).await;
    for (committed, answer) in part.iter().zip(answers) {
        lost += match answer {
            Finished::Known { answer: Answer::Moved { .. }, .. } => 1,
            Finished::Missing => again(engine, committed).await?,
            Finished::Known { .. } | Finished::Damaged(_) => 0,
        };
    }
    Ok(lost)
}

/// Publishes what waited for those that have ended now.
async fn publish_next(engine: &Engine, answers: &mut [Finished]) {
    let next = answers.iter_mut().flat_map(Finished::take_let_through).collect();
    engine.publish_outgoing(next).await;
}

/// One whose claim was lost with it.
async fn again(engine: &Engine, committed: &Committed) -> Result<u64, Fault> {
    let Committed { origin, finish } = committed;
    if adopt::offer(engine, finish.id, finish.fence, origin).await? != Adopted::Current {
        return Ok(0);
    }
    let mut answers = engine.link.store.finish(vec![finish.clone()]).await?;
    publish_next(engine, &mut answers).await;
    Ok(answers.iter().filter(|answer| matches!(answer, Finished::Known { answer: Answer::Moved { .. }, .. })).count()
        as u64)
}
