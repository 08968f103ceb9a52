//! The spool: jobs that are kept in a directory of this machine while neither store nor broker takes them.
//!
//! Off by default. What [`Spool::open`] promises: an accepted job is on the disk before the send answers, it survives the
//! process at any instant, it is handed to the store in the order of the sends and under its own id when the services are
//! back, and the directory never grows beyond its bound. It does not survive the disk. One process at a time owns a
//! directory, and holds its lock as long as it lives.
//!
//! Files are read and written by a thread of the spool's own, so that a slow disk holds nobody else up. `record` is one
//! job on disk, `file` the directory, `drain` the way out.

mod drain;
mod file;
mod record;

use crate::builder::Prepared;
use bytes::Bytes;
use file::{Batch, SpoolFile};
use longshore_link::World;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use drain::start as start_draining;

/// Requests that may wait for the disk.
const WAITING: usize = 1_024;

/// Why a job is not in the spool. Nothing of it was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// The directory holds as much as it may.
    #[error("the spool {} has no room: {bytes} of {max} bytes are taken until it is drained", dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
        /// What it holds.
        bytes: u64,
        /// What it may hold.
        max: u64,
    },
    /// Another process owns the directory.
    #[error("the spool {} belongs to another process; give each process a directory of its own", .0.display())]
    Taken(PathBuf),
    /// The file system said no.
    #[error("the spool {}: {detail}", dir.display())]
    Disk {
        /// The directory.
        dir: PathBuf,
        /// What it said.
        detail: String,
    },
    /// No answer from the disk within the deadline of the send: the job may be kept all the same.
    #[error("the spool {} did not answer in time", .0.display())]
    Late(PathBuf),
}

/// What lies in a spool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Jobs that wait for the services.
    pub jobs: u64,
    /// Bytes that the file has; they go when all jobs are drained.
    pub bytes: u64,
    /// Bytes that it may have.
    pub max_bytes: u64,
}

/// A directory that keeps jobs. Clones share it; the lock goes with the last one.
#[derive(Debug, Clone)]
pub struct Spool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    requests: mpsc::Sender<Request>,
    status: Mutex<SpoolStatus>,
    /// Told when a job was added.
    added: Notify,
    /// Somebody drains it.
    drained: AtomicBool,
}

/// What the thread is asked for.
enum Request {
    Append(Append),
    Read(oneshot::Sender<Result<Batch, SpoolError>>),
    /// The batch is done with; lines that nobody took are set aside, with the reason.
    Advance(Batch, Vec<(Bytes, String)>, oneshot::Sender<Result<(), SpoolError>>),
}

/// Lines to be kept, all or none.
struct Append {
    lines: Vec<Bytes>,
    answer: oneshot::Sender<Result<(), SpoolError>>,
}

impl Spool {
    /// Opens or makes a spool that takes at most `max_bytes`. What a crash left half written is cut off: no send was
    /// told that it is kept.
    ///
    /// # Errors
    /// [`SpoolError::Taken`], or [`SpoolError::Disk`].
    pub fn open(dir: &Path, max_bytes: u64, world: &World) -> Result<Self, SpoolError> {
        let file = SpoolFile::open(dir, max_bytes)?;
        let (requests, inbox) = mpsc::channel(WAITING);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            requests,
            status: Mutex::new(file.status()),
            added: Notify::new(),
            drained: AtomicBool::new(false),
        });
        let keeper = keep(file, inbox, Arc::downgrade(&shared));
        let refused = |error: std::io::Error| SpoolError::Disk { dir: dir.to_owned(), detail: error.to_string() };
        world.tasks.spawn_thread("longshore-spool", keeper).map_err(refused)?;
        Ok(Self { shared })
    }

    /// What lies in it.
    #[must_use]
    pub fn status(&self) -> SpoolStatus {
        *self.shared.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Keeps jobs, all of them or none, and answers when they are on the disk.
    pub(crate) async fn append(&self, jobs: &[&Prepared], now_ms: u64) -> Result<(), SpoolError> {
        let lines = jobs.iter().map(|prepared| record::encode(&prepared.job, now_ms));
        let lines = lines.collect::<Result<_, _>>().map_err(|error| self.disk(&error.to_string()))?;
        self.ask(|answer| Request::Append(Append { lines, answer })).await?;
        self.shared.added.notify_one();
        Ok(())
    }

    async fn read(&self) -> Result<Batch, SpoolError> {
        self.ask(Request::Read).await
    }

    async fn advance(&self, batch: Batch, aside: Vec<(Bytes, String)>) -> Result<(), SpoolError> {
        self.ask(|answer| Request::Advance(batch, aside, answer)).await
    }

    async fn ask<A>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<A, SpoolError>>) -> Request,
    ) -> Result<A, SpoolError> {
        let (answer, receiver) = oneshot::channel();
        if self.shared.requests.send(request(answer)).await.is_err() {
            return Err(self.disk("its thread has ended"));
        }
        receiver.await.unwrap_or_else(|_| Err(self.disk("its thread has ended")))
    }

    fn disk(&self, detail: &str) -> SpoolError {
        SpoolError::Disk { dir: self.shared.dir.clone(), detail: detail.to_owned() }
    }

    /// Whether the caller is the one who drains it; until [`Self::let_go`].
    fn take(&self) -> bool {
        !self.shared.drained.swap(true, Ordering::AcqRel)
    }

    fn let_go(&self) {
        self.shared.drained.store(false, Ordering::Release);
    }
}

/// The thread: does what it is asked for, one after the other. Ends when nobody can ask any more.
async fn keep(mut file: SpoolFile, mut inbox: mpsc::Receiver<Request>, shared: Weak<Shared>) {
    let mut requests = Vec::with_capacity(WAITING);
    while inbox.recv_many(&mut requests, WAITING).await > 0 {
        let mut appends = Vec::new();
        for request in requests.drain(..) {
            match request {
                Request::Append(request) => appends.push(request),
                other => {
                    append(&mut file, &mut appends, &shared);
                    serve(&mut file, other, &shared);
                }
            }
        }
        append(&mut file, &mut appends, &shared);
    }
}

/// Shows what lies in the spool; before whoever changed it is answered, who may look at once.
fn show(file: &SpoolFile, shared: &Weak<Shared>) {
    if let Some(shared) = shared.upgrade() {
        *shared.status.lock().unwrap_or_else(PoisonError::into_inner) = file.status();
    }
}

/// All that wait are written at once and share one wait for the disk.
fn append(file: &mut SpoolFile, appends: &mut Vec<Append>, shared: &Weak<Shared>) {
    let mut written = Vec::with_capacity(appends.len());
    for Append { lines, answer } in appends.drain(..) {
        match file.append(&lines) {
            Ok(()) => written.push(answer),
            Err(error) => drop(answer.send(Err(error))),
        }
    }
    if written.is_empty() {
        return;
    }
    let synced = file.sync();
    show(file, shared);
    for answer in written {
        let _ = answer.send(synced.clone());
    }
}

fn serve(file: &mut SpoolFile, request: Request, shared: &Weak<Shared>) {
    // Whoever asked may have gone: what was done is done.
    match request {
        Request::Append(request) => append(file, &mut vec![request], shared),
        Request::Read(answer) => drop(answer.send(file.read())),
        Request::Advance(batch, aside, answer) => {
            let advanced = file.advance(&batch, &aside);
            show(file, shared);
            drop(answer.send(advanced));
        }
    }
}
