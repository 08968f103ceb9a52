//! The way out of the spool: oldest first, a batch at a time, each job under its own id.
//!
//! A batch is done with when the store has answered for each of its jobs; until then it is offered again. What the store
//! refuses for good, and what the disk has damaged, is set aside and told. One task per spool, for as long as its
//! producer lives; another process that opens the directory later goes on where this one ended.

use super::file::Batch;
use super::{Spool, record};
use crate::builder::Prepared;
use crate::connect::{Inner, Producer};
use crate::send::Repeated;
use bytes::Bytes;
use longshore_link::error::NotAccepted;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// First wait after a batch was not taken; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// Starts to drain, unless another producer of this process does. Ends with the token.
pub(crate) fn start(spool: Spool, inner: &Arc<Inner>, stop: CancellationToken) {
    if !spool.take() {
        return;
    }
    let task = run(spool, Arc::downgrade(inner), stop, inner.link.world.clone());
    drop(inner.link.world.tasks.spawn(task));
}

async fn run(spool: Spool, inner: Weak<Inner>, stop: CancellationToken, world: longshore_link::World) {
    let mut pause = FIRST;
    while !stop.is_cancelled() {
        let drained = match inner.upgrade() {
            Some(inner) => drain(&spool, &Producer { inner, operator: None }).await,
            None => break,
        };
        let next = async {
            match drained {
                Drained::Some => {}
                Drained::All => spool.shared.added.notified().await,
                Drained::NotNow => world.clock.sleep(world.random.jitter(pause)).await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = next => {}
        }
        pause = if drained == Drained::NotNow { (pause * 2).min(LONGEST) } else { FIRST };
    }
    spool.let_go();
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drained {
    /// A batch; there may be more.
    Some,
    /// There is nothing.
    All,
    /// The services or the disk did not answer.
    NotNow,
}

async fn drain(spool: &Spool, producer: &Producer) -> Drained {
    let batch = match spool.read().await {
        Ok(batch) if batch.lines.is_empty() => return Drained::All,
        Ok(batch) => batch,
        Err(error) => {
            tracing::error!(%error, "spooled jobs cannot be read; trying again");
            return Drained::NotNow;
        }
    };
    let Some((count, aside)) = hand_over(producer, &batch).await else { return Drained::NotNow };
    for (_, why) in &aside {
        tracing::error!(why, dir = %spool.dir().display(), "a spooled job is set aside for people, in the file `aside`");
    }
    match spool.advance(batch, aside).await {
        Ok(()) => {
            tracing::info!(count, left = spool.status().jobs, "spooled jobs were accepted by the store");
            Drained::Some
        }
        Err(error) => {
            tracing::error!(%error, "drained jobs stay in the spool, and are offered again");
            Drained::NotNow
        }
    }
}

/// Offers a batch to the store. Answers how many it took, and the lines that it never will; nothing when it does not
/// answer.
async fn hand_over(producer: &Producer, batch: &Batch) -> Option<(usize, Vec<(Bytes, String)>)> {
    let inner = &producer.inner;
    let (mut jobs, mut aside): (Vec<(Bytes, Prepared)>, Vec<_>) = (Vec::new(), Vec::new());
    for line in &batch.lines {
        match record::decode(line) {
            Ok(job) => jobs.push((line.clone(), job)),
            Err(why) => aside.push((line.clone(), format!("the line is damaged: {why}"))),
        }
    }
    let deadline = inner.deadline();
    let admitted = if jobs.is_empty() {
        Vec::new()
    } else {
        let offered = jobs.iter().map(|(_, prepared)| prepared.job.clone()).collect();
        match inner.within(deadline, inner.enqueue_all(offered)).await {
            Some(Ok(admitted)) => admitted,
            Some(Err(fault)) => {
                tracing::debug!(%fault, "spooled jobs wait for the store");
                return None;
            }
            None => return None,
        }
    };
    if admitted.iter().any(|admitted| matches!(admitted, Err(NotAccepted::KeysWait { .. }))) {
        tracing::debug!("spooled jobs wait until the store gives unique keys again");
        return None;
    }
    let mut accepted = Vec::new();
    for ((line, prepared), admitted) in jobs.iter().zip(&admitted) {
        match admitted {
            Ok(admitted) => accepted.push((prepared, admitted)),
            // It was accepted before, has run, and was forgotten: nothing is owed any more.
            Err(NotAccepted::Ended(_)) => {}
            Err(refused) => aside.push((line.clone(), format!("the store refuses it: {refused}"))),
        }
    }
    // An earlier send or drain may have got it accepted without an answer: a second message harms nothing.
    producer.publish(&accepted, Repeated::Yes, deadline).await;
    Some((accepted.len(), aside))
}
