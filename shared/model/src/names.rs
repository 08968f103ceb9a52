//! The name of every exchange, queue, routing key and store key. Nothing else in Longshore spells one.
//!
//! Broker objects start with the namespace, so that rights can be given by pattern. Store keys start
//! with the namespace and the shard in braces, a hash tag: all keys of one script are in one slot.

use crate::event::{Class, Interest};
use crate::id::JobId;
use crate::lane::Lane;
use crate::placement::Site;
use crate::topic::Topic;
use std::fmt;
use std::str::FromStr;

/// The prefix that separates one installation from another: `[a-z0-9-]{1,32}`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Namespace(String);

impl Namespace {
    /// Checks the grammar.
    ///
    /// # Errors
    /// A sentence that names the text and the grammar.
    pub fn new(text: &str) -> Result<Self, String> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > 32 || !text.bytes().all(legal) {
            return Err(format!("`{text}` is not a namespace: use 1 to 32 lower-case letters, digits and `-`"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self("longshore".to_owned())
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Namespace {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text)
    }
}

/// How long a parked copy rests: one exchange and one queue each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Park {
    /// Thirty seconds.
    Short,
    /// Two minutes.
    Middle,
    /// Ten minutes.
    Long,
}

impl Park {
    /// All of them, shortest first.
    pub const ALL: [Self; 3] = [Self::Short, Self::Middle, Self::Long];

    /// Its length, ms.
    #[must_use]
    pub const fn ms(self) -> u64 {
        match self {
            Self::Short => 30_000,
            Self::Middle => 120_000,
            Self::Long => 600_000,
        }
    }

    /// The one for a copy that rested before and still cannot run: longer than last time, and at least so many
    /// milliseconds if there is one.
    #[must_use]
    pub fn after(last: Option<Self>, ms: u64) -> Self {
        let longer = last.map_or(Self::Short, |last| Self::at_least(last.ms() + 1));
        longer.max(Self::at_least(ms))
    }

    /// The shortest one that lasts at least so many milliseconds, else the longest.
    #[must_use]
    pub fn at_least(ms: u64) -> Self {
        Self::ALL.into_iter().find(|park| park.ms() >= ms).unwrap_or(Self::Long)
    }
}

/// What stands between namespace and topic in the name of a lane.
const LANE: &str = "lane";
/// The same, of the lane of urgent jobs.
const HIGH: &str = "high";
/// The same, of the lane of jobs that are to run at a site, whose name follows before the topic.
const SITE: &str = "at";
/// The same, of the lane of urgent ones.
const HIGH_SITE: &str = "at-high";

impl Lane {
    /// Whether a queue can be named after it in every namespace: AMQP has 255 bytes for a name.
    #[must_use]
    pub fn has_name(&self) -> bool {
        let site = self.site.as_ref().map_or(0, |site| site_name(site).len() + 1);
        32 + HIGH_SITE.len() + 2 + site + self.topic.as_str().len() <= 255
    }
}

/// A site in the name of a queue: no dots, and nothing that would have to be quoted.
fn site_name(site: &Site) -> String {
    let mut name = String::new();
    for byte in site.to_string().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b':' | b'=' => name.push(char::from(byte)),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    name
}

/// The site of its name.
fn site_of(name: &str) -> Option<Site> {
    let mut parts = name.split('%');
    let mut text = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        text.push(u8::from_str_radix(code, 16).ok()?);
        text.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(text).ok()?.parse().ok()
}

/// Names of broker objects.
#[derive(Clone, Debug)]
pub struct BrokerNames {
    ns: Namespace,
}

impl BrokerNames {
    /// Names in a namespace.
    #[must_use]
    pub const fn new(ns: Namespace) -> Self {
        Self { ns }
    }

    /// Topic exchange of every first publish; routing key: the dotted topic.
    #[must_use]
    pub fn jobs(&self) -> String {
        format!("{}.jobs", self.ns)
    }

    /// Direct exchange of every later publish; routing key: the exact queue name.
    #[must_use]
    pub fn direct(&self) -> String {
        format!("{}.direct", self.ns)
    }

    /// Quorum queue in which the runnable jobs of one topic wait: `.lane.`, or `.high.` for urgent ones; `.at.` or
    /// `.at-high.` and the site's name for those that are to run there.
    #[must_use]
    pub fn lane(&self, lane: &Lane) -> String {
        let topic = lane.topic.dotted();
        match (&lane.site, lane.high) {
            (None, high) => format!("{}.{}.{topic}", self.ns, if high { HIGH } else { LANE }),
            (Some(site), high) => {
                format!("{}.{}.{}.{topic}", self.ns, if high { HIGH_SITE } else { SITE }, site_name(site))
            }
        }
    }

    /// The lane of its queue's name.
    #[must_use]
    pub fn lane_of(&self, name: &str) -> Option<Lane> {
        let (kind, key) = name.strip_prefix(self.ns.as_str())?.strip_prefix('.')?.split_once('.')?;
        let (site, key) = match kind {
            LANE | HIGH => (None, key),
            SITE | HIGH_SITE => {
                let (site, key) = key.split_once('.')?;
                (Some(site_of(site)?), key)
            }
            _ => return None,
        };
        let topic = Topic::from_dotted(key).ok()?;
        Some(Lane { topic, site, high: matches!(kind, HIGH | HIGH_SITE) })
    }

    /// Fanout exchange and quorum queue (both have this name) whose messages return after the fixed time.
    #[must_use]
    pub fn park(&self, park: Park) -> String {
        format!("{}.park.{}", self.ns, park.ms())
    }

    /// Fanout exchange and quorum queue of messages with nowhere to go.
    #[must_use]
    pub fn unrouted(&self) -> String {
        format!("{}.unrouted", self.ns)
    }

    /// Fanout exchange and quorum queue of messages that the broker evicted, and of orphans.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}.dead", self.ns)
    }

    /// Fanout exchange and stream of copies of what the store alone holds.
    #[must_use]
    pub fn journal(&self) -> String {
        format!("{}.journal", self.ns)
    }

    /// Topic exchange of what is told and not kept; routing key: class and dotted topic.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.ns)
    }

    /// Routing key of an event.
    #[must_use]
    pub fn event(class: Class, topic: &Topic) -> String {
        format!("{}.{}", class.as_str(), topic.dotted())
    }

    /// Binding key of what a listener wants to hear.
    #[must_use]
    pub fn events_of(&self, interest: &Interest) -> String {
        let (class, topics) = (interest.class.as_str(), interest.topics.to_string());
        match topics.strip_suffix("**").map(|base| base.trim_end_matches('/')) {
            Some("") => format!("{class}.#"),
            // All below, and not the base itself.
            Some(base) => format!("{class}.{}.*.#", base.replace('/', ".")),
            None => format!("{class}.{}", topics.replace('/', ".")),
        }
    }

    /// Queue of one listener to events, which goes with its connection.
    #[must_use]
    pub fn listener(&self, number: u64) -> String {
        format!("{}.listener.{number:016x}", self.ns)
    }

    /// Fanout exchange and quorum queue of messages that cannot be read.
    #[must_use]
    pub fn quarantine(&self) -> String {
        format!("{}.quarantine", self.ns)
    }
}

/// Names of message headers. None starts with `x-`: those belong to the broker.
pub mod headers {
    /// Generation that the copy was published for.
    pub const GENERATION: &str = "longshore-generation";
    /// When the job was accepted, ms of the store's clock.
    pub const ENQUEUED: &str = "longshore-enqueued";
    /// The newest fence known when the copy was made.
    pub const FENCE: &str = "longshore-fence";
    /// How long the copy rested, ms; present on a parked copy.
    pub const PARKED: &str = "longshore-parked";
    /// Why a message is in quarantine or among the dead.
    pub const REASON: &str = "longshore-reason";
    /// When the job is to start, ms of the store's clock; in the journal.
    pub const START: &str = "longshore-start";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
    /// W3C trace state.
    pub const TRACESTATE: &str = "tracestate";
}

/// Names of store keys. Comments give the type and the content.
#[derive(Clone, Debug)]
pub struct StoreNames {
    ns: Namespace,
}

impl StoreNames {
    /// Names in a namespace.
    #[must_use]
    pub const fn new(ns: Namespace) -> Self {
        Self { ns }
    }

    /// The prefix of every key of the shard that holds a job: `{ns.shard}:`. There is one shard for now.
    #[must_use]
    pub fn shard(&self, _id: Option<&JobId>) -> String {
        format!("{{{}.0}}:", self.ns)
    }

    /// The prefix of every key of the fleet's own slot: `{ns.meta}:`.
    #[must_use]
    pub fn meta(&self) -> String {
        format!("{{{}.meta}}:", self.ns)
    }

    /// Every key of the namespace, as a glob pattern, for rights and for removal.
    #[must_use]
    pub fn everything(&self) -> String {
        format!("{{{}.*", self.ns)
    }

    /// Channel on which the fleet is nudged: `topics`, `due`, `relay`, `queues`, `schedules`, `interests`, `stop <id>`, `view`,
    /// `matrix`, `seal`, `questions`.
    #[must_use]
    pub fn nudges(&self) -> String {
        format!("{}{}", self.meta(), meta_keys::NUDGES)
    }

    /// Channel on which one process hears that a job it waits for has ended: the job's id; that it changed: `~` and the id;
    /// that somebody answered a question of its own: `?` and the question's id.
    #[must_use]
    pub fn outcomes(&self, watcher: &str) -> String {
        format!("{}{}{watcher}", self.shard(None), shard_keys::OUTCOMES)
    }
}

/// What follows a shard's prefix. The scripts get the prefix as their one key and put these behind it; a test
/// compares the scripts with this list.
pub mod shard_keys {
    /// string: the hot record of a job, packed. `j:<id>`
    pub const JOB: &str = "j:";
    /// string: the envelope of a job. `e:<id>`
    pub const ENVELOPE: &str = "e:";
    /// string: the result of a job, JSON. `r:<id>`
    pub const RESULT: &str = "r:";
    /// hash: progress, properties and outputs of a job. `x:<id>`
    pub const DETAIL: &str = "x:";
    /// list: log lines of a job, JSON, oldest first. `l:<id>`
    pub const LOG: &str = "l:";
    /// hash: what earlier attempts of a job reported, JSON by the attempt's number. `p:<id>`
    pub const PAST: &str = "p:";
    /// list: past attempts of a job, JSON, oldest first. `a:<id>`
    pub const ATTEMPTS: &str = "a:";
    /// zset: jobs in one state. `s:<state>`; the score is the lease's end (active), the due time (scheduled,
    /// retrying), the time of entry (queued, blocked) or the end (terminal states), ms.
    pub const STATE: &str = "s:";
    /// zset: jobs that have not ended; the score is when they were accepted, ms.
    pub const OPEN: &str = "open";
    /// hash: lanes of jobs that are to run at a site, as [`Lane::spelled`]; since when they are there, ms.
    pub const SITES: &str = "sites";
    /// hash: queued jobs that are to run at a site; by topic and site, a space between: how many.
    pub const QUEUED_AT: &str = "sites_n";
    /// zset: jobs of one topic; the score is when they were accepted, ms. `t:<topic>`
    pub const TOPIC: &str = "t:";
    /// zset: jobs of one queue; the score is when they were accepted, ms. `q:<queue>`
    pub const QUEUE: &str = "q:";
    /// zset: jobs with one label, or with one value of an indexed field; the score is when they were accepted, ms.
    /// `lb:<name>=<value>`, or `lb:` and the field's term (`indexed.rs`)
    pub const LABEL: &str = "lb:";
    /// zset: jobs with a number in an indexed field; the score is that number. `fn:<path>`
    pub const NUMBERS: &str = "fn:";
    /// zset: jobs with a text in an indexed field: the text, a zero byte and the job's id; all scores are 0. `ft:<path>`
    pub const TEXTS: &str = "ft:";
    /// hash: how many jobs have a field indexed; field path, line feed, topic.
    pub const FIELDS: &str = "fields";
    /// zset: the outbox; queued jobs whose publish is not confirmed; the score is when the relay may act, ms.
    pub const OUTBOX: &str = "out";
    /// set: tombstones of one bucket of time. `tomb:<bucket>`
    pub const TOMBSTONES: &str = "tomb:";
    /// hash: counters of jobs. `n`, field `<state> <topic> <queue>`: how many are in a state; `accepted <topic> <queue>`:
    /// how many came in; `forgotten_<state> <topic> <queue>`: how many ended so and were purged.
    pub const COUNTS: &str = "n";
    /// string: what happened to the jobs of a topic in a queue, 64-bit numbers in fixed places
    /// ([`crate::statistics::slots`]). `st:<topic> <queue>`
    pub const STATISTICS: &str = "st:";
    /// set: topics and queues (`<topic> <queue>`) that have statistics.
    pub const COUNTED: &str = "sts";
    /// string: the queues that say how long their history is kept, a line each.
    pub const KEEPING: &str = "keeping";
    /// zset: ended jobs of one of these, or of all others, as far as they are filed; the score is their end, ms.
    /// `k:<state> <queue>`, the queue empty for all others
    pub const KEPT: &str = "k:";
    /// hash: known topics; field topic, value when it was first seen, ms, and `+` behind it where it has a high lane.
    pub const TOPICS: &str = "topics";
    /// hash: `epoch` which grows when the store may have lost writes, `tick` which grows with every renewal, `run` the store's run id, `beat` the last renewal by anybody (ms), `place` the last place in a line that was given, `lanes` which grows with each new topic, and with each new or forgotten lane beside the first one, `gap_from` and `gap_to` the last
    /// span without one (ms), `amnesty` until when nobody is declared dead (ms), `purged` how many jobs were purged, `filed_<state>` up to which end the history is filed by queues (ms),
    /// `lease` the last renewal's length (ms), `keys_run` the run id under which unique keys were last asked for, `keys_from`
    /// from when on new ones are given (ms).
    pub const SHARD: &str = "shard";
    /// zset: incarnations (`instance/incarnation`) that renewed in the last hour; the score is when, ms.
    pub const RENEWED: &str = "renewed";
    /// hash: silent incarnations (`instance/incarnation`) from which attempts were taken back not long ago; how many, and
    /// the ids of some of their jobs, space between.
    pub const FALLEN: &str = "fallen";
    /// zset: queued and scheduled jobs that must not start late; the score is their last moment, ms.
    pub const EXPIRY: &str = "exp";
    /// hash: spans in which the store may have lost writes, JSON by the epoch that began after each.
    pub const LOSSES: &str = "loss";
    /// hash: how far scrubbing is (`at` among the keys, `in` the first of `scrub_keys`), `rounds` and when the last one
    /// ended (`round`, ms), how often what was mended (`indexes`, `entries`, `keys`, `holders`) and when last (`mended`, ms).
    pub const SCRUB: &str = "scrub";
    /// list: indexes whose entries scrubbing looks at next.
    pub const SCRUB_KEYS: &str = "scrub_keys";
    /// hash: named limits, JSON by name.
    pub const LIMITS: &str = "limits";
    /// string: the queues of the fleet, JSON: `version`, `by`, `at`, `text`.
    pub const QUEUES: &str = "queues";
    /// list: what was there before, the same, newest first.
    pub const PAST_QUEUES: &str = "queues_past";
    /// list: what operators did, JSON, newest first.
    pub const AUDIT: &str = "audit";
    /// hash: what is listened to of events (class and topic pattern); until when, ms.
    pub const INTERESTS: &str = "interests";
    /// list: what happened to jobs without a process that tells it: when (ms), what, and the id. Only while somebody listens.
    pub const UNTOLD: &str = "untold";
    /// hash: what is paused, JSON by what it is.
    pub const PAUSES: &str = "pauses";
    /// zset: limits' gates that somebody holds or waits at; all scores are 0.
    pub const GATES: &str = "gates";
    /// zset: gates that may be open by then; the score is when, ms.
    pub const WAKE: &str = "wake";
    /// zset: jobs that passed a gate and have not left it; the score is when they passed, ms. `gh:<gate>`
    pub const HOLDERS: &str = "gh:";
    /// zset: jobs that a rate let through and nobody claimed yet; the score is when they passed, ms. `gu:<gate>`
    pub const UNCLAIMED: &str = "gu:";
    /// zset: turns that have jobs waiting at a gate; the one that was let through longest ago has the least score.
    /// `gt:<gate>`
    pub const TURNS: &str = "gt:";
    /// zset: jobs of one turn that wait at a gate; the score is their place, less what their priority is worth (us). `gw:<gate>`, a line feed, the turn
    pub const WAITERS: &str = "gw:";
    /// zset: jobs of a queue with a longest length that wait; the score grows with each that is accepted.
    /// `gl:<gate>`
    pub const LENGTH: &str = "gl:";
    /// string: the job that has a unique key. `u:<topic>`, a line feed, the key
    pub const UNIQUE: &str = "u:";
    /// string: when the bucket of a rate is full again, us. `gr:<gate>`
    pub const TAT: &str = "gr:";
    /// hash: the place of payload files that the fleet agreed on; `id`, and `since` when, ms.
    pub const FILE_PLACE: &str = "fplace";
    /// zset: jobs that need blobs; the score is when that was said or looked at last, ms.
    pub const FILE_JOBS: &str = "fjobs";
    /// set: the blobs that a job needs, by digest. `fj:<id>`
    pub const FILES_OF: &str = "fj:";
    /// set: the jobs that need a blob. `fb:<digest>`
    pub const FILE_USERS: &str = "fb:";
    /// zset: blobs that are being deleted; the score is since when, ms.
    pub const FILES_DOOMED: &str = "fdoomed";
    /// channel: ended jobs that one process waits for. `done:<watcher>`
    pub const OUTCOMES: &str = "done:";
    /// hash: a schedule; `rev` its revision, `def` what is kept of it (JSON), `last` the job that it sent last. `z:<name>`
    pub const SCHEDULE: &str = "z:";
    /// zset: names of schedules, all with score 0.
    pub const SCHEDULES: &str = "zs";
    /// zset: names of schedules that are to fire; the score is when, ms.
    pub const SCHEDULES_DUE: &str = "zdue";
}

/// What follows the prefix of the fleet's own slot.
pub mod meta_keys {
    /// zset: live instances; the score is when their lease ends, ms.
    pub const MEMBERS: &str = "hb";
    /// hash: what each live instance says of itself, JSON by instance id.
    pub const CARDS: &str = "cards";
    /// hash: `number` of the view, `leader` (`instance/incarnation`), `term`, `joins` so far, `matrix` the revision of
    /// the row that was written last, `profiles` which grows with each new profile, `questions` which grows with each
    /// question, `seal` what an instance has to be able to open, and `run`, `beat`,
    /// `gap_from`, `gap_to`, `amnesty` as in a shard.
    pub const VIEW: &str = "view";
    /// zset: live instances; the score is their place in the order of joining.
    pub const JOINED: &str = "joined";
    /// hash: the incarnation of each live instance.
    pub const INCARNATIONS: &str = "inc";
    /// hash: when the incarnation of each live instance started, ms.
    pub const STARTED: &str = "started";
    /// hash: rows of the topic matrix by instance id; each a revision (us), a space, and JSON.
    pub const MATRIX: &str = "matrix";
    /// hash: a digest of what each live instance says of itself, but for its load.
    pub const PROFILES: &str = "profiles";
    /// hash: the preference of each live instance as a leader, where it is not 0.
    pub const PREFERENCES: &str = "pref";
    /// set: instances that have reached the view's number.
    pub const REACHED: &str = "reached";
    /// zset: instances that beat not long ago, live or not; the score is when they did last, ms.
    pub const SEEN: &str = "seen";
    /// zset: questions that may still be taken up; the score is until when, ms.
    pub const QUESTIONS: &str = "asks";
    /// hash: a question; `q` JSON, `until` when it is over (ms), `reply` the channel of who asks, `closed` once that one waits
    /// no more; by `instance/incarnation` of those asked: `w` waits, `b` began, `g` gone before it began, `s` and JSON: what it said.
    /// `ask:<id>`
    pub const QUESTION: &str = "ask:";
    /// channel: what happens in the fleet.
    pub const NUDGES: &str = "nudge";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn lanes_and_the_names_of_their_queues_are_one_to_one() {
        let names = BrokerNames::new(Namespace::default());
        let [lane, high] = Lane::both(&Topic::new("media/thumbnail").unwrap());
        assert_eq!(names.lane(&lane), "longshore.lane.media.thumbnail");
        assert_eq!(names.lane(&high), "longshore.high.media.thumbnail");
        let at = |site: &str, high| Lane { site: Some(site.parse().unwrap()), high, ..lane.clone() };
        let (cluster, label) = (at("cluster:web", false), at("label:zone=a.b%c ü", true));
        assert_eq!(names.lane(&cluster), "longshore.at.cluster:web.media.thumbnail");
        assert_eq!(names.lane(&label), "longshore.at-high.label:zone=a%2Eb%25c%20%C3%BC.media.thumbnail");
        for lane in [lane, high, cluster, label] {
            assert_eq!(names.lane_of(&names.lane(&lane)), Some(lane));
        }
        for name in [
            "other.lane.media",
            "longshorelane.media",
            "longshore.lane",
            "longshore.lane.",
            "longshore.iso.a",
            "longshore.at.leader",
            "longshore.at.nowhere.a",
            "longshore.at.cluster:%4.a",
            "longshore.at.cluster:%zz.a",
        ] {
            assert_eq!(names.lane_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_lane_has_a_name_or_says_that_it_has_none() {
        let names = BrokerNames::new(Namespace::new(&"n".repeat(32)).unwrap());
        let mut fitting = 0;
        for length in 1..=limits::SITE_BYTES {
            let topic = Topic::new(["t".repeat(60), "u".repeat(60)].join("/")).unwrap();
            let lane = Lane { topic, site: Some(Site::Cluster("c".repeat(length))), high: true };
            assert_eq!(lane.has_name(), names.lane(&lane).len() <= 255, "{length}");
            fitting += usize::from(lane.has_name());
        }
        assert!((1..limits::SITE_BYTES).contains(&fitting), "{fitting}");
        let deep = ["t".repeat(64), "t".repeat(64), "t".repeat(50)].join("/");
        assert!(Lane::high(Topic::new(deep).unwrap()).has_name());
    }

    #[test]
    fn what_is_listened_to_binds_as_patterns_match() {
        let names = BrokerNames::new(Namespace::default());
        for (interest, key) in [
            ("job a/b", "job.a.b"),
            ("job a/*", "job.a.*"),
            ("progress a/b/**", "progress.a.b.*.#"),
            ("app **", "app.#"),
        ] {
            assert_eq!(names.events_of(&interest.parse().unwrap()), key);
        }
        assert_eq!(BrokerNames::event(Class::Job, &Topic::new("a/b").unwrap()), "job.a.b");
    }

    #[test]
    fn a_parked_copy_rests_at_least_as_long_as_asked() {
        assert_eq!(Park::at_least(0), Park::Short);
        assert_eq!(Park::at_least(30_000), Park::Short);
        assert_eq!(Park::at_least(30_001), Park::Middle);
        assert_eq!(Park::at_least(3_600_000), Park::Long);
        assert_eq!(Park::after(None, 10_000), Park::Short);
        assert_eq!(Park::after(None, 40_000), Park::Middle);
        assert_eq!(Park::after(Some(Park::Short), 10_000), Park::Middle);
        assert_eq!(Park::after(Some(Park::Middle), 10_000), Park::Long);
        assert_eq!(Park::after(Some(Park::Long), 10_000), Park::Long);
    }

    #[test]
    fn namespaces_are_small_words() {
        assert!(Namespace::new("team-a1").is_ok());
        for text in ["", "A", "a.b", "a_b", &"a".repeat(33)] {
            assert!(Namespace::new(text).is_err(), "{text}");
        }
    }
}
