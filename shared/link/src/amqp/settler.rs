//! Acknowledges deliveries: never waits, and sends one `multiple` acknowledgement for a run of them.
//!
//! One book and one task for each channel. Nobody waits for an acknowledgement, and each frame costs the broker an entry
//! in the log of a quorum queue; so they rest until there are enough for a run, or for [`REST`]. Enough is a small part
//! of what the lanes may have out, so that resting holds up no delivery. A delivery number is good only on its own
//! channel, so each book holds its channel, which also keeps it open while deliveries of it are out. What is settled
//! after the session's end is dropped and counted: the broker delivers it again, and the store knows that it is done.

use super::session::Session;
use crate::broker::{Settler, Tag};
use crate::world::{Clock, World};
use futures_util::future::join_all;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;

/// How long an acknowledgement may rest.
const REST: Duration = Duration::from_millis(5);

/// Enough to be written at once: this part of what a lane may have out.
const PART: u16 = 4;

/// Settles the deliveries of one session.
#[derive(Debug)]
pub(super) struct AmqpSettler {
    session: Arc<Session>,
    books: RwLock<HashMap<u32, Arc<Book>>>,
    /// Settled after the session's or the channel's end.
    late: Arc<AtomicU64>,
}

impl AmqpSettler {
    pub(super) fn new(session: Arc<Session>) -> Arc<Self> {
        Arc::new(Self { session, books: RwLock::default(), late: Arc::default() })
    }

    /// Opens the book of a channel and starts its task.
    pub(super) fn open(&self, number: u32, channel: Channel, world: &World) {
        let book = Arc::new(Book {
            inbox: Mutex::default(),
            wake: Notify::new(),
            at_rest: AtomicBool::new(true),
            enough: AtomicUsize::new(usize::MAX),
        });
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        books.insert(number, Arc::clone(&book));
        let (session, late, clock) = (Arc::clone(&self.session), Arc::clone(&self.late), world.clock.clone());
        drop(world.tasks.spawn(keep(book, channel, session, late, clock)));
    }

    /// Each lane of this channel may have so many deliveries out, or more.
    pub(super) fn allow(&self, number: u32, prefetch: u16) {
        let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = books.get(&number) {
            book.enough.store(usize::from(prefetch / PART).max(1), Ordering::Relaxed);
        }
    }

    /// Forgets a channel that is gone.
    pub(super) fn shut(&self, number: u32) {
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = books.remove(&number) {
            book.wake.notify_one();
        }
    }

    /// Whether everything settled so far has been written to the connection.
    pub(super) fn is_at_rest(&self) -> bool {
        let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
        books.values().all(|book| book.at_rest.load(Ordering::Acquire))
    }

    fn settle(&self, tag: Tag, verdict: Verdict) {
        let books = self.books.read().unwrap_or_else(PoisonError::into_inner);
        match books.get(&tag.channel) {
            Some(book) if tag.session == self.session.number && self.session.is_live() => {
                let mut inbox = book.inbox.lock().unwrap_or_else(PoisonError::into_inner);
                inbox.push((tag.number, verdict));
                book.at_rest.store(false, Ordering::Release);
                // Others wait for what is given back.
                let wake = inbox.len() == 1 || book.is_enough(inbox.len()) || verdict == Verdict::Back;
                drop(inbox);
                if wake {
                    book.wake.notify_one();
                }
            }
            _ => {
                let late = self.late.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::debug!(?tag, late, "settled too late: the broker delivers it again");
            }
        }
    }
}

impl Settler for AmqpSettler {
    fn ack(&self, tag: Tag) {
        self.settle(tag, Verdict::Done);
    }

    fn give_back(&self, tag: Tag) {
        self.settle(tag, Verdict::Back);
    }

    fn is_live(&self) -> bool {
        self.session.is_live()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Done,
    Back,
}

/// What was settled on one channel and is not written yet.
#[derive(Debug)]
struct Book {
    inbox: Mutex<Vec<(u64, Verdict)>>,
    wake: Notify,
    at_rest: AtomicBool,
    enough: AtomicUsize,
}

impl Book {
    fn is_enough(&self, settled: usize) -> bool {
        settled >= self.enough.load(Ordering::Relaxed)
    }

    /// Whether what was settled may rest.
    fn may_rest(&self) -> bool {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        !inbox.is_empty() && !self.is_enough(inbox.len()) && inbox.iter().all(|(_, verdict)| *verdict == Verdict::Done)
    }

    /// Waits until there is enough to write, or something that must not wait, or for [`REST`].
    async fn rest(&self, clock: &Clock) {
        let enough = async {
            while self.may_rest() {
                self.wake.notified().await;
            }
        };
        let _ = clock.timeout(REST, enough).await;
    }
}

/// Writes what is in the book until its channel or session ends.
async fn keep(book: Arc<Book>, channel: Channel, session: Arc<Session>, late: Arc<AtomicU64>, clock: Clock) {
    let mut ledger = Ledger::default();
    loop {
        book.rest(&clock).await;
        let batch = {
            let mut inbox = book.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            if inbox.is_empty() {
                book.at_rest.store(true, Ordering::Release);
            }
            std::mem::take(&mut *inbox)
        };
        if !channel.status().connected() {
            late.fetch_add(batch.len() as u64, Ordering::Relaxed);
            book.at_rest.store(true, Ordering::Release);
            return;
        }
        if batch.is_empty() {
            tokio::select! {
                () = book.wake.notified() => {}
                () = session.ended() => return,
            }
            continue;
        }
        let writes = ledger.settle(&batch).into_iter().map(async |frame| match frame {
            Frame::Ack { number, multiple } => channel.basic_ack(number, BasicAckOptions { multiple }).await,
            Frame::Back(number) => {
                channel.basic_nack(number, BasicNackOptions { multiple: false, requeue: true }).await
            }
        });
        // All are queued in order at once; the wait for the socket is shared.
        let failed = join_all(writes).await.into_iter().filter(Result::is_err).count();
        late.fetch_add(failed as u64, Ordering::Relaxed);
    }
}

/// One frame to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frame {
    Ack { number: u64, multiple: bool },
    Back(u64),
}

/// Which numbers of a channel are settled. The broker counts 1, 2, 3, … on each channel.
#[derive(Debug, Default)]
struct Ledger {
    /// Every number up to here is settled.
    floor: u64,
    /// Settled ones above a gap.
    above: BTreeSet<u64>,
}

impl Ledger {
    /// The frames for a batch. A number that is settled already is left out: repeating it would cost the channel.
    fn settle(&mut self, batch: &[(u64, Verdict)]) -> Vec<Frame> {
        let (mut frames, mut acks) = (Vec::new(), Vec::with_capacity(batch.len()));
        for &(number, verdict) in batch {
            if number <= self.floor || !self.above.insert(number) {
                continue;
            }
            match verdict {
                Verdict::Done => acks.push(number),
                // Before any `multiple` that would cover it.
                Verdict::Back => frames.push(Frame::Back(number)),
            }
        }
        while self.above.remove(&(self.floor + 1)) {
            self.floor += 1;
        }
        acks.sort_unstable();
        let (run, rest) = acks.split_at(acks.partition_point(|number| *number <= self.floor));
        // The number of a `multiple` must itself be unsettled, hence the last of the run and not the floor.
        frames.extend(run.last().map(|&number| Frame::Ack { number, multiple: run.len() > 1 }));
        frames.extend(rest.iter().map(|&number| Frame::Ack { number, multiple: false }));
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A broker's channel: takes frames, refuses what the real one would refuse.
    #[derive(Default)]
    struct Channel {
        out: BTreeSet<u64>,
        acked: BTreeSet<u64>,
        back: BTreeSet<u64>,
    }

    impl Channel {
        fn take(&mut self, frame: Frame) {
            match frame {
                Frame::Back(number) => {
                    assert!(self.out.remove(&number), "unknown delivery tag {number}");
                    self.back.insert(number);
                }
                Frame::Ack { number, multiple } => {
                    assert!(self.out.contains(&number), "unknown delivery tag {number}");
                    let covered: Vec<_> =
                        self.out.range(..=number).copied().filter(|out| multiple || *out == number).collect();
                    for number in covered {
                        self.out.remove(&number);
                        self.acked.insert(number);
                    }
                }
            }
        }
    }

    #[test]
    fn a_run_is_one_frame_and_a_gap_holds_it_up() {
        let mut ledger = Ledger::default();
        let done = |numbers: &[u64]| numbers.iter().map(|n| (*n, Verdict::Done)).collect::<Vec<_>>();
        assert_eq!(ledger.settle(&done(&[2, 1, 3])), [Frame::Ack { number: 3, multiple: true }]);
        let singles = [5, 6].map(|number| Frame::Ack { number, multiple: false });
        assert_eq!(ledger.settle(&done(&[6, 5])), singles);
        assert_eq!(ledger.settle(&done(&[4, 5])), [Frame::Ack { number: 4, multiple: false }]);
        assert_eq!(ledger.settle(&done(&[8, 7, 8])), [Frame::Ack { number: 8, multiple: true }]);
    }

    proptest! {
        #[test]
        fn in_any_order_everything_is_settled_exactly_once(
            order in Just((1..=60_u64).collect::<Vec<_>>()).prop_shuffle(),
            given_back in proptest::collection::btree_set(1..=60_u64, 0..10),
            cuts in proptest::collection::vec(1..9_usize, 60),
            held in 0..60_usize,
        ) {
            let mut channel = Channel { out: (1..=60).collect(), ..Channel::default() };
            let mut ledger = Ledger::default();
            let (settled, kept) = order.split_at(60 - held);
            let mut rest = settled;
            for cut in cuts {
                let (batch, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                let verdict = |n: &u64| if given_back.contains(n) { Verdict::Back } else { Verdict::Done };
                let mut batch: Vec<_> = batch.iter().map(|n| (*n, verdict(n))).collect();
                // A caller that settles twice.
                batch.extend(batch.first().copied());
                for frame in ledger.settle(&batch) {
                    channel.take(frame);
                }
            }
            prop_assert_eq!(&channel.out, &kept.iter().copied().collect::<BTreeSet<_>>());
            let back: BTreeSet<_> = settled.iter().copied().filter(|n| given_back.contains(n)).collect();
            prop_assert_eq!(&channel.back, &back);
        }
    }
}
