//! What can go wrong at a border, in three answers: no, unknown, and a refusal with its reason.

use longshore_model::id::JobId;

/// Why a remote call gave no answer. The caller must treat them differently: what is [`Fault::Unknown`] may have
/// happened, all others surely have not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It did not happen: the call never left, or the other side said that it did nothing.
    #[error("{service} cannot be reached: {detail}")]
    Unreachable {
        /// `broker`, `store` or `blobs`.
        service: Service,
        /// What was seen; never a password.
        detail: String,
    },
    /// It did not happen: the service is there and takes nothing of the kind for now, such as publishes while the
    /// broker is short of memory or disk. It ends without a repeat of ours.
    #[error("{service} refuses for now: {detail}")]
    Blocked {
        /// `broker`, `store` or `blobs`.
        service: Service,
        /// The service's own reason.
        detail: String,
    },
    /// It may have happened: the call left and no answer came. Repeating it is safe where the operation says so.
    #[error("{service} gave no answer, so the outcome is unknown: {detail}")]
    Unknown {
        /// `broker`, `store` or `blobs`.
        service: Service,
        /// What was seen; never a password.
        detail: String,
    },
    /// It did not happen and will not without a change: rights, a full disk, a wrong version, a damaged record.
    #[error("{service} refused: {detail}")]
    Refused {
        /// `broker`, `store` or `blobs`.
        service: Service,
        /// What was said, with the remedy where one is known.
        detail: String,
    },
}

/// The other side of a border.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// RabbitMQ, or the embedded broker.
    Broker,
    /// Redis, or the embedded store.
    Store,
    /// The object store of payload files.
    Blobs,
    /// The directory of this machine that keeps sends.
    Spool,
    /// Files of this machine.
    Disk,
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Broker => "the broker",
            Self::Store => "the store",
            Self::Blobs => "the blob store",
            Self::Spool => "the spool",
            Self::Disk => "this machine's disk",
        })
    }
}

impl Fault {
    /// A fault of a call that surely did not happen.
    pub fn unreachable(service: Service, detail: impl Into<String>) -> Self {
        Self::Unreachable { service, detail: detail.into() }
    }

    /// A fault of a call that may have happened.
    pub fn unknown(service: Service, detail: impl Into<String>) -> Self {
        Self::Unknown { service, detail: detail.into() }
    }

    /// A refusal that passes by itself.
    pub fn blocked(service: Service, detail: impl Into<String>) -> Self {
        Self::Blocked { service, detail: detail.into() }
    }

    /// A refusal.
    pub fn refused(service: Service, detail: impl Into<String>) -> Self {
        Self::Refused { service, detail: detail.into() }
    }

    /// Whether the call may have happened all the same.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

/// The store has as many of something as it may.
pub(crate) fn too_many(what: &str, most: usize) -> Fault {
    let why = format!("there are {most} {what}, and there may be no more; take one away that is not needed");
    Fault::refused(Service::Store, why)
}

/// Why the store did not accept one job of a batch. Nothing was stored for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The id belongs to a job with another topic.
    #[error("job {0} exists with another topic; use a new id for a new job")]
    IdTaken(JobId),
    /// The id belonged to a job that was removed or purged.
    #[error("job {0} has ended and was removed; use a new id to run it again")]
    Ended(JobId),
    /// The namespace has as many topics as it may.
    #[error("topic `{0}` would be one more than {max} in this namespace; a topic is a kind of job: put customers and tenants into labels", max = longshore_model::limits::TOPICS)]
    TooManyTopics(String),
    /// There are as many lanes of sites as there may be, and this job may run nowhere else.
    #[error("the lane `{0}` would be one more than {max} of jobs that are to run at certain instances; use fewer labels, or send it without that placement", max = longshore_model::limits::SITES)]
    TooManyLanes(String),
    /// The unique key belongs to a job that has ended and was forgotten, for a time that has not passed.
    #[error("job {0} has this unique key for a while; it has ended and is forgotten already")]
    KeyTaken(JobId),
    /// The store restarted or lost data, and may have forgotten who has the key: it gives no new ones for a while. The same
    /// job may be sent again then.
    #[error(
        "the store began anew a moment ago and may have forgotten who has this unique key; send the job again, best under \
         the same id, in {}", longshore_model::span::show(std::time::Duration::from_millis(*ms))
    )]
    KeysWait {
        /// How long, ms.
        ms: u64,
    },
    /// A limit that refuses what it does not let through does not let it through.
    #[error("limit `{0}` lets no further job through now; send it later, or let the limit make jobs wait")]
    OverLimit(String),
    /// As many jobs wait in the queue as may.
    #[error(
        "{max} jobs wait in queue `{queue}`, which takes no more; send it later, raise its max_length, or let it drop the oldest (when_full = \"drop_oldest\")"
    )]
    QueueFull {
        /// The queue.
        queue: String,
        /// How many may wait.
        max: u32,
    },
    /// The job to be retried has not ended, or does not exist.
    #[error("job {0} is not in the history, so it cannot be retried")]
    NotInHistory(JobId),
    /// What the store holds under this id cannot be read.
    #[error("the store holds a damaged record of job {id}: {detail}")]
    Damaged {
        /// The job.
        id: JobId,
        /// What is wrong.
        detail: String,
    },
}
