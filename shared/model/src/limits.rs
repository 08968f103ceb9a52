//! Every bound in one place, with its unit. Whoever checks a bound names it in the error.

/// Longest topic, bytes.
pub const TOPIC_BYTES: usize = 180;
/// Most segments of a topic.
pub const TOPIC_SEGMENTS: usize = 16;
/// Longest segment of a topic, bytes.
pub const TOPIC_SEGMENT_BYTES: usize = 64;
/// Most topics in a namespace. A topic is a kind of job; tenants and customers are labels.
pub const TOPICS: usize = 1_000;
/// Lanes of jobs that are to run at a site, over all topics; beyond it a preference is given up, and a need is refused.
pub const SITES: usize = 1_000;
/// Bytes of a site as it is written, and of what a placement names.
pub const SITE_BYTES: usize = 128;
/// How long a lane of a site stays there at least, ms.
pub const SITE_KEPT_MS: u64 = 600_000;
/// Payload and inline files together, bytes; larger input is sent as a file.
pub const INLINE_BYTES: usize = 64 * 1024;
/// No envelope is ever larger, bytes.
pub const ENVELOPE_BYTES: usize = 1024 * 1024;
/// Deepest nesting of a payload.
pub const JSON_DEPTH: usize = 64;
/// Most values and names of members in an envelope, its payload included.
pub const JSON_TOKENS: usize = 100_000;
/// Most labels of a job.
pub const LABELS: usize = 32;
/// Longest label name or value, bytes.
pub const LABEL_BYTES: usize = 256;
/// Longest title, bytes.
pub const TITLE_BYTES: usize = 256;
/// Most payload files of a job.
pub const FILES: usize = 64;
/// Most different blobs that all attempts of a job may have asked to be kept.
pub const FILES_OF_JOB: usize = 4_096;
/// How long nobody can need a blob that is being deleted, if nobody says that it is done, milliseconds.
pub const DOOM_MS: u64 = 60_000;
/// Longest name of a payload file, bytes.
pub const FILE_NAME_BYTES: usize = 255;
/// Largest payload file by default, bytes.
pub const FILE_BYTES: u64 = 5 * 1024 * 1024 * 1024;
/// Longest order key, key of a limit, or turn, bytes.
pub const KEY_BYTES: usize = 256;
/// Longest time of a unique key, milliseconds: 30 days.
pub const UNIQUE_MS: u64 = 30 * 86_400_000;
/// What a class of priority is worth: an urgent job goes before normal ones that have waited up to so much longer,
/// milliseconds.
pub const AGEING_MS: u64 = 60_000;
/// Longest name of a limit, bytes.
pub const LIMIT_NAME_BYTES: usize = QUEUE_NAME_BYTES + TOPIC_BYTES + 16;
/// Most named limits in a namespace.
pub const LIMITS: usize = 1_000;
/// Most limits that one job counts against.
pub const JOB_LIMITS: usize = 8;
/// Most jobs in one period of a rate limit.
pub const RATE_COUNT: u32 = 1_000_000;
/// Longest period of a rate limit, milliseconds: a day.
pub const RATE_PER_MS: u64 = 86_400_000;
/// Most bytes of all queues together, as TOML.
pub const QUEUES_BYTES: usize = 256 * 1024;
/// Kept versions of the queues.
pub const PAST_QUEUES: usize = 20;
/// Most rows of the topic matrix: instances that were ever given a rule and are not forgotten yet.
pub const ROWS: usize = 1_000;
/// How long an instance that does not beat is remembered with its row of the matrix, milliseconds: 30 days.
pub const INSTANCE_KEPT_MS: u64 = 30 * 86_400_000;
/// Instances that one beat forgets.
pub const INSTANCES_FORGOTTEN: usize = 50;
/// Most properties of an instance, over all providers; most labels.
pub const INSTANCE_PROPERTIES: usize = 64;
/// Longest name of a property or a label of an instance, bytes.
pub const INSTANCE_PROPERTY_NAME_BYTES: usize = 64;
/// Longest value of a property or a label of an instance, and longest endpoint, bytes.
pub const INSTANCE_PROPERTY_BYTES: usize = 256;
/// Most endpoints of an instance.
pub const ENDPOINTS: usize = 8;
/// Keys of a fleet that are accepted at once (`trust.keys`).
pub const TRUST_KEYS: usize = 8;
/// Shortest of them, bytes.
pub const TRUST_KEY_BYTES: usize = 32;
/// Longest name of one, bytes.
pub const TRUST_NAME_BYTES: usize = 32;
/// Longest name of who changed a row of the matrix, bytes.
pub const BY_BYTES: usize = TITLE_BYTES;
/// Most pauses at once.
pub const PAUSES: usize = 1_000;
/// How long a job that a limit let through may wait for an instance while jobs of other topics wait for the limit,
/// milliseconds.
pub const GRANT_MS: u64 = 10_000;
/// Jobs that gates may let through in one call to the store; the rest follows in the next.
pub const RELEASES: usize = 100;
/// Keys of one limit that are shown.
pub const KEYS_SHOWN: usize = 100;
/// Longest name of a queue, before `{0}` is filled in, bytes.
pub const QUEUE_NAME_BYTES: usize = 128;
/// Most queues of an installation.
pub const QUEUES: usize = 256;
/// Most patterns that an instance takes, and most in each of its two lists of allowed and denied ones.
pub const PATTERNS: usize = 512;
/// Longest name of who sent a job, bytes.
pub const CREATED_BY_BYTES: usize = 256;
/// Longest `traceparent` that is passed on, bytes; version 0 has 55.
pub const TRACEPARENT_BYTES: usize = 128;
/// Longest `tracestate` that is passed on, bytes: what the W3C's rules ask for.
pub const TRACESTATE_BYTES: usize = 512;
/// Largest generation, fence or time in a header: beyond, the store could not count on. As a fence, the year 2112.
pub const COUNTER: u64 = 1 << 52;
/// Most retries that may be asked for.
pub const RETRIES: i32 = 1_000_000;
/// Longest word for a kind of error, bytes.
pub const KIND_BYTES: usize = 64;
/// Most kinds of error with rules, in one place that has them; and most that are counted for one job.
pub const KINDS: usize = 32;
/// The crash that gives a job up, if it was alone in the process that went away: so many processes at most.
pub const CRASHES: u32 = 3;
/// From so many crashes on a job is a suspect: it runs alone in its process, or not at all.
pub const SUSPECT_CRASHES: u32 = 2;
/// The crash that gives a job up though others always ran beside it, so that nothing goes on for ever.
pub const SHARED_CRASHES: u32 = 10;
/// Kept ids of the jobs that ran beside one whose process went away.
pub const NEIGHBOURS: usize = 5;
/// Most attempts of processes that may be dead which a rescue looks at to see who ran beside whom; where there are more,
/// nobody was alone.
pub const COMPANY: usize = 1_000;
/// How long it is remembered from whom attempts were taken back, milliseconds.
pub const FALLEN_MS: u64 = 600_000;
/// Longest delay of a job, milliseconds: one year.
pub const DELAY_MS: u64 = 366 * 86_400_000;
/// Kept log lines of a job.
pub const LOG_LINES: usize = 200;
/// Attempts whose log and progress are kept, beside those of the last one.
pub const PAST_REPORTS: u32 = 10;
/// Kept log lines of an attempt after which there was another.
pub const PAST_LOG_LINES: usize = 50;
/// Most bytes of these lines, as JSON.
pub const PAST_LOG_BYTES: usize = 16 * 1024;
/// Longest log line, bytes; longer ones are cut.
pub const LOG_LINE_BYTES: usize = 4 * 1024;
/// Most properties that a handler may set on a job.
pub const PROPERTIES: usize = 64;
/// Longest property value, bytes of JSON.
pub const PROPERTY_BYTES: usize = 16 * 1024;
/// Largest result kept with the job, bytes of JSON.
pub const RESULT_BYTES: usize = 64 * 1024;
/// Longest message or error text kept, bytes; longer ones are cut.
pub const MESSAGE_BYTES: usize = 4 * 1024;
/// Most follow-up jobs of one attempt.
pub const FOLLOW_UPS: usize = 1_000;
/// Most items in one call to the store.
pub const BATCH: usize = 200;
/// Most bytes of envelopes in one call to the store.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Kept descriptions of earlier attempts of a job.
pub const ATTEMPTS_KEPT: usize = 50;
/// Most processes that may wait for the outcome of one job by push; later ones wait by asking.
pub const WATCHERS: usize = 16;
/// How long the id of a removed or purged job is remembered, milliseconds.
pub const TOMBSTONE_MS: u64 = 2 * 3_600_000;
/// Width of a bucket of tombstones, milliseconds.
pub const TOMBSTONE_BUCKET_MS: u64 = 3_600_000;
/// Buckets that are looked into; their reach covers [`TOMBSTONE_MS`] whenever a bucket began.
pub const TOMBSTONE_BUCKETS: u64 = 3;
/// How long a publisher has before the relay publishes in its place, milliseconds.
pub const OUTBOX_GRACE_MS: u64 = 2_000;
/// Longer than a copy of a queued job is ever out of its lane while all is well, milliseconds: a consumer holds it for
/// half a minute before it goes back. A job that was published longer ago and is not in its lane has lost its copy.
pub const IN_FLIGHT_MS: u64 = 45_000;
/// Longest rest of a job between two copies made for lost ones, milliseconds.
pub const REPUBLISH_MS: u64 = 3_600_000;
/// What a store that restarted or failed over may have forgotten of its last time, milliseconds.
pub const LOSS_MARGIN_MS: u64 = 5_000;
/// Entries of the audit record that are kept.
pub const AUDIT: usize = 1_000;
/// Longest plan of an audit entry, bytes; longer ones are cut.
pub const PLAN_BYTES: usize = 2 * 1024;
/// Most counts of an audit entry.
pub const AUDIT_COUNTS: usize = 16;
/// Most interests in events at once: kinds and topic patterns that somebody listens to.
pub const INTERESTS: usize = 1_000;
/// Most happenings that the store keeps until an instance tells them: the newest.
pub const UNTOLD: usize = 1_000;
/// After so long nobody is told any more of what happened, ms.
pub const UNTOLD_MS: u64 = 30_000;
/// Most pairs of a queue and a topic of which statistics are kept; what happens in others is not counted.
pub const STATISTICS: usize = 4_000;
/// Waiting jobs, oldest first, that are looked at for the oldest one of each queue and topic.
pub const LOOKED_AT_WAITING: usize = 500;
/// Conditions of a template.
pub const CONDITIONS: usize = 32;
/// Longest condition of a template, bytes.
pub const CONDITION_BYTES: usize = 1_024;
/// Most indexed fields of a job.
pub const INDEXED: usize = 8;
/// Longest path of an indexed field, bytes.
pub const INDEXED_PATH_BYTES: usize = 128;
/// Characters of a text that an index knows; of longer ones the payload decides about the rest.
pub const INDEXED_CHARS: usize = 64;
/// Jobs whose payload is looked at for one page of an answer.
pub const EXAMINED: usize = 10_000;
/// How long producers and consumers keep what the store took, to offer it again, milliseconds.
pub const RECENT_MS: u64 = 10_000;
/// Most that is kept so, bytes.
pub const RECENT_BYTES: usize = 8 << 20;
/// A store that went back by more than this was put back from a backup, and everything waits until somebody has looked,
/// milliseconds. A failover to a replica that lags is shorter.
pub const ROLLBACK_MS: u64 = 60_000;
/// How long at least a store that may have lost unique keys gives no new ones, milliseconds: what was accepted in the last
/// seconds is offered again, and running attempts are taken back, in less.
pub const KEYS_WAIT_MS: u64 = RECENT_MS;
/// Spans of loss that are remembered.
pub const LOSSES: usize = 32;
/// Ended jobs of one state that are filed by their queues in one call.
pub const FILED: usize = 1_000;
/// Most schedules in a namespace.
pub const SCHEDULES: usize = 10_000;
/// Longest name of a schedule, bytes.
pub const SCHEDULE_NAME_BYTES: usize = 128;
/// Most timings of a schedule.
pub const SCHEDULE_TIMINGS: usize = 32;
/// Longest cron pattern, bytes.
pub const CRON_BYTES: usize = 256;
/// Shortest length between two times of a schedule that fires every so often, milliseconds.
pub const SCHEDULE_EVERY_MS: u64 = 1_000;
/// How far ahead a time must lie that comes once, milliseconds.
pub const SCHEDULE_LEAD_MS: u64 = 2_000;
/// A time of a schedule that passed longer ago was missed, milliseconds: more than the fleet takes to get over the loss
/// of an instance.
pub const SCHEDULE_LATE_MS: u64 = 60_000;
/// Longest jitter of a schedule, milliseconds: one day.
pub const SCHEDULE_JITTER_MS: u64 = 86_400_000;
/// Longest window within which missed times are made up, milliseconds: seven days.
pub const SCHEDULE_WINDOW_MS: u64 = 7 * 86_400_000;
/// Most times of one schedule that are made up; of more, only so many are counted.
pub const SCHEDULE_CATCH_UP: usize = 1_000;
/// Most jobs that a schedule sends in one step.
pub const SCHEDULE_JOBS: usize = 100;
/// Jobs that a schedule sent and remembers.
pub const SCHEDULE_RECENT: usize = 10;
/// How soon a schedule whose job waits for another is looked at again, if nobody tells of the end, milliseconds.
pub const SCHEDULE_WAIT_MS: u64 = 5_000;
/// How soon a schedule that cannot be read is looked at again, milliseconds.
pub const SCHEDULE_TROUBLE_MS: u64 = 60_000;

/// Highest preference of an instance as a leader; the lowest is as far below 0.
pub const LEADER_PREFERENCE: i32 = 100;
/// Most questions to instances that are open at once.
pub const QUESTIONS: usize = 100;
/// Longest time for the answers to a question, milliseconds: ten minutes.
pub const QUESTION_MS: u64 = 600_000;
/// How long what was said to a question is kept after its time, milliseconds: so long may who asked be late.
pub const QUESTION_KEPT_MS: u64 = 60_000;
/// Questions that one instance answers at once; others wait until one of these is answered.
pub const QUESTIONS_AT_ONCE: usize = 16;

/// Cuts a text to at most `bytes`, at a character boundary, and says so.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mark = " …(cut)";
    let mut end = bytes.saturating_sub(mark.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests {
    #[test]
    fn cutting_keeps_whole_characters() {
        assert_eq!(super::cut("short", 10), "short");
        let cut = super::cut(&"ä".repeat(20), 21);
        assert!(cut.len() <= 21 && cut.ends_with("…(cut)"), "{cut}");
    }
}
