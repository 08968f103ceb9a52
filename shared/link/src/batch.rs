//! Batches without timers: whatever accumulates while a call is in flight goes in the next call.
//!
//! An idle system adds no delay, a busy one batches by itself. At most [`Bounds::calls`] calls are in
//! flight, two by default, so that the server has the next one at hand while answers are on their way;
//! callers wait for their own item's answer.

use crate::error::Fault;
use crate::world::Tasks;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::fmt;
use std::future::Future;
use tokio::sync::{mpsc, oneshot};

/// Collects items for one kind of call.
pub struct Batcher<T, A> {
    queue: mpsc::Sender<Entry<T, A>>,
}

struct Entry<T, A> {
    item: T,
    bytes: usize,
    answer: oneshot::Sender<Result<A, Fault>>,
}

impl<T, A> Clone for Batcher<T, A> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<T, A> fmt::Debug for Batcher<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("capacity", &self.queue.capacity()).finish()
    }
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most items.
    pub items: usize,
    /// Most bytes, as given by the callers; a single larger item goes alone.
    pub bytes: usize,
    /// Items that may wait; further callers wait before they get a place.
    pub waiting: usize,
    /// Calls that are in flight at once.
    pub calls: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            items: longshore_model::limits::BATCH,
            bytes: longshore_model::limits::BATCH_BYTES,
            waiting: 4_096,
            calls: 2,
        }
    }
}

impl<T: Send + 'static, A: Send + 'static> Batcher<T, A> {
    /// Starts the task that makes the calls. It ends when the last clone of the batcher is gone. `call` must answer
    /// once per item, in order, or fail for all of them.
    pub fn start<C, F>(tasks: &Tasks, bounds: Bounds, fault: fn(&str) -> Fault, call: C) -> Self
    where
        C: Fn(Vec<T>) -> F + Send + 'static,
        F: Future<Output = Result<Vec<A>, Fault>> + Send + 'static,
    {
        let (queue, mut entries) = mpsc::channel::<Entry<T, A>>(bounds.waiting);
        drop(tasks.spawn(async move {
            let mut held: Option<Entry<T, A>> = None;
            let mut flying = FuturesUnordered::new();
            loop {
                let first = if flying.len() >= bounds.calls.max(1) {
                    flying.next().await;
                    continue;
                } else if let Some(entry) = held.take() {
                    entry
                } else {
                    tokio::select! {
                        biased;
                        Some(()) = flying.next() => continue,
                        entry = entries.recv() => match entry {
                            Some(entry) => entry,
                            None => break,
                        },
                    }
                };
                let (mut items, mut answers, mut bytes) = (Vec::new(), Vec::new(), first.bytes);
                items.push(first.item);
                answers.push(first.answer);
                while items.len() < bounds.items {
                    let Ok(entry) = entries.try_recv() else { break };
                    if bytes + entry.bytes > bounds.bytes {
                        held = Some(entry);
                        break;
                    }
                    bytes += entry.bytes;
                    items.push(entry.item);
                    answers.push(entry.answer);
                }
                flying.push(answer_all(call(items), answers, fault));
            }
            while flying.next().await.is_some() {}
        }));
        Self { queue }
    }

    /// Puts an item into the next call and waits for its answer. `bytes` counts against the bound of a call.
    ///
    /// # Errors
    /// The call's fault; [`Fault::Unknown`] when the task is gone.
    pub async fn call(&self, item: T, bytes: usize) -> Result<A, Fault> {
        let (answer, receiver) = oneshot::channel();
        let gone = || Fault::unknown(crate::error::Service::Store, "this process is shutting down");
        self.queue.send(Entry { item, bytes, answer }).await.map_err(|_| gone())?;
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Makes a call and hands out its answers.
async fn answer_all<A>(
    call: impl Future<Output = Result<Vec<A>, Fault>>,
    callers: Vec<oneshot::Sender<Result<A, Fault>>>,
    fault: fn(&str) -> Fault,
) {
    let answers = match call.await {
        Ok(answers) if answers.len() == callers.len() => Ok(answers),
        Ok(answers) => Err(fault(&format!("{} answers for {} items", answers.len(), callers.len()))),
        Err(fault) => Err(fault),
    };
    match answers {
        Ok(answers) => {
            for (caller, answer) in callers.into_iter().zip(answers) {
                let _ = caller.send(Ok(answer));
            }
        }
        Err(fault) => {
            for caller in callers {
                let _ = caller.send(Err(fault.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::World;
    use futures_util::FutureExt;
    use std::sync::{Arc, Mutex};
    use tokio::sync::Semaphore;

    const WAITING: usize = 4;

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_and_the_next_one_waits_outside() {
        let (gate, seen) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (opened, calls) = (Arc::clone(&gate), Arc::clone(&seen));
        let call = move |items: Vec<usize>| {
            calls.lock().unwrap().extend(items.clone());
            let opened = Arc::clone(&opened);
            async move {
                drop(opened.acquire().await);
                Ok(items)
            }
        };
        let fault = |why: &str| Fault::unknown(crate::error::Service::Store, why);
        let bounds = Bounds { items: 1, waiting: WAITING, calls: 1, ..Bounds::default() };
        let batcher = Batcher::start(&World::simulated(1).tasks, bounds, fault, call);

        // One is in flight; of five more, four have a place.
        let mut first = Box::pin(batcher.call(0, 1));
        assert!(first.as_mut().now_or_never().is_none());
        while seen.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut within: Vec<_> = (1..=WAITING).map(|item| Box::pin(batcher.call(item, 1))).collect();
        for call in &mut within {
            assert!(call.as_mut().now_or_never().is_none());
        }
        let mut beyond = Box::pin(batcher.call(WAITING + 1, 1));
        assert!(beyond.as_mut().now_or_never().is_none());
        assert_eq!(batcher.queue.capacity(), 0);

        // Whoever gives up outside was never in a call; whoever has a place is, whether somebody waits for it or not.
        drop(beyond);
        drop(within.pop());
        gate.add_permits(Semaphore::MAX_PERMITS);
        assert_eq!(first.await.unwrap(), 0);
        for (item, call) in within.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), item + 1);
        }
        assert_eq!(batcher.call(WAITING + 2, 1).await.unwrap(), WAITING + 2);
        assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4, WAITING + 2]);
    }
}
