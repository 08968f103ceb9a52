//! Calls that many callers make at once, merged: whatever waits while one call is in flight goes in the next.
//!
//! Callers hand in vectors and get their own answers back, in order. A call is bounded in items and
//! in bytes; a larger vector is split over several calls.

use super::args;
use super::connection::Repeat;
use super::reply::{self, Items};
use super::scripts::{Script, Scripts};
use super::server::Server;
use crate::batch::{Batcher, Bounds};
use crate::error::{Fault, NotAccepted};
use crate::store::{Accepted, Claim, Claimed, Finish, Finished, NewJob, Report};
use crate::world::Tasks;
use futures_util::future::try_join_all;
use longshore_model::id::{Fence, Generation, JobId, Owner};
use longshore_model::limits;
use redis::Value;
use std::sync::Arc;

/// What one item takes at least of a call's bytes, so that the bound on bytes bounds the items as well.
const ITEM_BYTES: usize = limits::BATCH_BYTES / limits::BATCH;

/// One operation whose calls are merged.
#[derive(Debug)]
struct Merged<T, A>(Batcher<Vec<T>, Vec<A>>);

/// A claim with its terms.
#[derive(Debug)]
pub(super) struct ClaimItem {
    pub(super) owner: Arc<Owner>,
    pub(super) lease_ms: u64,
    pub(super) claim: Claim,
}

/// The operations whose calls are merged.
#[derive(Debug)]
pub(super) struct Batches {
    enqueue: Merged<NewJob, Result<Accepted, NotAccepted>>,
    published: Merged<(JobId, Generation), ()>,
    claim: Merged<ClaimItem, Claimed>,
    finish: Merged<Finish, Finished>,
    report: Merged<(JobId, Fence, Report), bool>,
}

impl<T: Send + 'static, A: Send + 'static> Merged<T, A> {
    /// Starts the task that makes the calls. An item that is `knowing` has the script told of the servers. `write` puts the items into the arguments, `read` takes the answers, in
    /// order, out of the reply.
    fn start(
        tasks: &Tasks,
        server: &Arc<Server>,
        script: fn(&Scripts) -> &Script,
        knowing: fn(&T) -> bool,
        write: fn(&mut redis::Cmd, &[T]) -> Result<(), Fault>,
        read: fn(Value, &[T]) -> Result<Vec<A>, Fault>,
    ) -> Self
    where
        T: Sync,
    {
        let server = server.clone();
        Self(Batcher::start(tasks, Bounds::default(), reply::unexpected, move |groups: Vec<Vec<T>>| {
            let server = server.clone();
            async move {
                let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
                let items: Vec<T> = groups.into_iter().flatten().collect();
                let script = script(&server.scripts);
                let mut cmd = server.call(script);
                write(&mut cmd, &items)?;
                let value = if items.iter().any(knowing) {
                    server.connection.run_knowing_servers(script, &cmd).await?
                } else {
                    server.run(script, &cmd, Repeat::Safe).await?
                };
                let answers = read(value, &items)?;
                if answers.len() != items.len() {
                    return Err(reply::unexpected("another number of answers"));
                }
                let mut answers = answers.into_iter();
                Ok(sizes.into_iter().map(|size| answers.by_ref().take(size).collect()).collect())
            }
        }))
    }

    async fn call(&self, items: Vec<T>, size: fn(&T) -> usize) -> Result<Vec<A>, Fault> {
        if let [item] = items.as_slice() {
            let bytes = size(item).max(ITEM_BYTES);
            return self.0.call(items, bytes).await;
        }
        let mut groups: Vec<(Vec<T>, usize)> = Vec::new();
        for item in items {
            let bytes = size(&item).max(ITEM_BYTES);
            match groups.last_mut() {
                Some((group, sum)) if *sum + bytes <= limits::BATCH_BYTES => {
                    group.push(item);
                    *sum += bytes;
                }
                _ => groups.push((vec![item], bytes)),
            }
        }
        let calls = groups.into_iter().map(|(group, bytes)| self.0.call(group, bytes));
        Ok(try_join_all(calls).await?.into_iter().flatten().collect())
    }
}

impl Batches {
    /// Starts one task per operation; they end with the last handle of the store.
    pub(super) fn start(tasks: &Tasks, server: &Arc<Server>) -> Self {
        Self {
            enqueue: Merged::start(
                tasks,
                server,
                |scripts| &scripts.enqueue,
                args::asks_for_key,
                |cmd, jobs| {
                    each(cmd, jobs, |cmd, job| {
                        args::new_job(cmd, job);
                        Ok(())
                    })
                },
                |value, items| paired(value, items, |answer, item| reply::admitted(answer, item.admission.id)),
            ),
            published: Merged::start(
                tasks,
                server,
                |scripts| &scripts.published,
                |_| false,
                |cmd, jobs| {
                    each(cmd, jobs, |cmd, (id, generation)| {
                        cmd.arg(id.to_string()).arg(generation.0);
                        Ok(())
                    })
                },
                |value, _| Ok(Items::of(value)?.numbers()?.into_iter().map(|_| ()).collect()),
            ),
            claim: Merged::start(
                tasks,
                server,
                |scripts| &scripts.claim,
                |_| false,
                |cmd, claims| {
                    args::claims(cmd, claims);
                    Ok(())
                },
                |value, _| Items::of(value)?.each(reply::claimed),
            ),
            finish: Merged::start(
                tasks,
                server,
                |scripts| &scripts.finish,
                |_| false,
                |cmd, finishes| each(cmd, finishes, args::finish),
                |value, items| {
                    let mut all = Items::of(value)?;
                    let read = |item: &Finish| reply::finished(all.items()?, &reply::ids(&item.follow_ups));
                    let mut answers: Vec<Finished> = items.iter().map(read).collect::<Result<_, _>>()?;
                    if !all.is_empty() {
                        Finished::tell_let_through(&mut answers, reply::outgoing(all.items()?)?);
                    }
                    Ok(answers)
                },
            ),
            report: Merged::start(
                tasks,
                server,
                |scripts| &scripts.report,
                |_| false,
                |cmd, reports| {
                    each(cmd, reports, |cmd, (id, fence, report)| {
                        cmd.arg(id.to_string()).arg(fence.0);
                        args::report(cmd, report)
                    })
                },
                |value, _| Ok(Items::of(value)?.numbers()?.into_iter().map(|written| written == 1).collect()),
            ),
        }
    }

    pub(super) async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Result<Accepted, NotAccepted>>, Fault> {
        self.enqueue.call(jobs, args::job_size).await
    }

    pub(super) async fn published(&self, jobs: Vec<(JobId, Generation)>) -> Result<(), Fault> {
        self.published.call(jobs, |_| 0).await.map(drop)
    }

    pub(super) async fn claim(&self, claims: Vec<ClaimItem>) -> Result<Vec<Claimed>, Fault> {
        self.claim.call(claims, |_| 0).await
    }

    pub(super) async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>, Fault> {
        self.finish.call(finishes, args::finish_size).await
    }

    pub(super) async fn report(&self, reports: Vec<(JobId, Fence, Report)>) -> Result<Vec<bool>, Fault> {
        self.report.call(reports, |(_, _, report)| args::report_size(report)).await
    }
}

/// The count of the items, then each of them.
fn each<T>(
    cmd: &mut redis::Cmd,
    items: &[T],
    write: fn(&mut redis::Cmd, &T) -> Result<(), Fault>,
) -> Result<(), Fault> {
    cmd.arg(items.len());
    items.iter().try_for_each(|item| write(cmd, item))
}

fn paired<T, A>(value: Value, items: &[T], read: fn(Items, &T) -> Result<A, Fault>) -> Result<Vec<A>, Fault> {
    let mut answers = Items::of(value)?;
    items.iter().map(|item| read(answers.items()?, item)).collect()
}
