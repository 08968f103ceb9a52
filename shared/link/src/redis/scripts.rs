//! The scripts: one Lua file per operation, put together with what they share, sent by hash and loaded on demand.
//!
//! Names of keys and limits come from the model and are written into the texts, so that no script
//! spells one.

use longshore_model::limits;
use longshore_model::names::{meta_keys, shard_keys};
use longshore_model::statistics::{BUCKETS, slots};
use redis::Cmd;
use std::collections::BTreeMap;

/// How long an index entry whose record is damaged stays out of the way of others, ms.
const SHELVE_MS: u64 = 60_000;

/// One operation of the store.
#[derive(Debug)]
pub(super) struct Script {
    name: &'static str,
    text: String,
    script: redis::Script,
}

impl Script {
    fn new(name: &'static str, flags: &str, parts: &[&str]) -> Self {
        // The `#!lua` line makes the server check the rules of scripts (memory, writes) before it runs anything.
        let mut text = format!("#!lua{flags}\n");
        for part in parts {
            text.push_str(&with_constants(part));
        }
        Self { name, script: redis::Script::new(&text), text }
    }

    /// The operation, for messages.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// A call by hash, to be followed by the script's own arguments.
    pub(super) fn call(&self, prefix: &str, nudges: &str) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(self.script.get_hash()).arg(1).arg(prefix).arg(nudges);
        cmd
    }

    /// The command that makes the server know the script.
    pub(super) fn load(&self) -> Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(&self.text);
        cmd
    }
}

/// The text with what it calls `K.name` (what follows the prefix of a key) and `L.name` (a limit) written out: as tables
/// they would be made anew by every call.
fn with_constants(text: &str) -> String {
    let constants = constants();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['K', 'L']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let name = from[1..].strip_prefix('.').map(|name| {
            let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
            &name[..end]
        });
        let inside = out.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
        match name.filter(|_| !inside).and_then(|name| constants.get(&(from.as_bytes()[0], name))) {
            Some(value) => {
                out.push_str(value);
                rest = &from[2 + name.map_or(0, str::len)..];
            }
            None => {
                out.push_str(&from[..1]);
                rest = &from[1..];
            }
        }
    }
    out + rest
}

/// The keys and limits that the Lua files use, by table and name, as Lua writes them.
fn constants() -> BTreeMap<(u8, &'static str), String> {
    let keys = [
        ("job", shard_keys::JOB),
        ("envelope", shard_keys::ENVELOPE),
        ("result", shard_keys::RESULT),
        ("detail", shard_keys::DETAIL),
        ("log", shard_keys::LOG),
        ("attempts", shard_keys::ATTEMPTS),
        ("past", shard_keys::PAST),
        ("state", shard_keys::STATE),
        ("open", shard_keys::OPEN),
        ("topic", shard_keys::TOPIC),
        ("queue", shard_keys::QUEUE),
        ("label", shard_keys::LABEL),
        ("numbers", shard_keys::NUMBERS),
        ("texts", shard_keys::TEXTS),
        ("fields", shard_keys::FIELDS),
        ("outbox", shard_keys::OUTBOX),
        ("expiry", shard_keys::EXPIRY),
        ("tombstones", shard_keys::TOMBSTONES),
        ("counts", shard_keys::COUNTS),
        ("statistics", shard_keys::STATISTICS),
        ("counted", shard_keys::COUNTED),
        ("topics", shard_keys::TOPICS),
        ("sites", shard_keys::SITES),
        ("queued_at", shard_keys::QUEUED_AT),
        ("losses", shard_keys::LOSSES),
        ("shard", shard_keys::SHARD),
        ("renewed", shard_keys::RENEWED),
        ("fallen", shard_keys::FALLEN),
        ("scrub", shard_keys::SCRUB),
        ("scrub_keys", shard_keys::SCRUB_KEYS),
        ("limits", shard_keys::LIMITS),
        ("pauses", shard_keys::PAUSES),
        ("audit", shard_keys::AUDIT),
        ("interests", shard_keys::INTERESTS),
        ("untold", shard_keys::UNTOLD),
        ("queues", shard_keys::QUEUES),
        ("past_queues", shard_keys::PAST_QUEUES),
        ("gates", shard_keys::GATES),
        ("wake", shard_keys::WAKE),
        ("holders", shard_keys::HOLDERS),
        ("unclaimed", shard_keys::UNCLAIMED),
        ("turns", shard_keys::TURNS),
        ("waiters", shard_keys::WAITERS),
        ("tat", shard_keys::TAT),
        ("length", shard_keys::LENGTH),
        ("keeping", shard_keys::KEEPING),
        ("kept", shard_keys::KEPT),
        ("unique", shard_keys::UNIQUE),
        ("outcomes", shard_keys::OUTCOMES),
        ("file_place", shard_keys::FILE_PLACE),
        ("file_jobs", shard_keys::FILE_JOBS),
        ("files_of", shard_keys::FILES_OF),
        ("file_users", shard_keys::FILE_USERS),
        ("files_doomed", shard_keys::FILES_DOOMED),
        ("schedule", shard_keys::SCHEDULE),
        ("schedules", shard_keys::SCHEDULES),
        ("schedules_due", shard_keys::SCHEDULES_DUE),
        ("members", meta_keys::MEMBERS),
        ("cards", meta_keys::CARDS),
        ("view", meta_keys::VIEW),
        ("joined", meta_keys::JOINED),
        ("incarnations", meta_keys::INCARNATIONS),
        ("started", meta_keys::STARTED),
        ("matrix", meta_keys::MATRIX),
        ("profiles", meta_keys::PROFILES),
        ("reached", meta_keys::REACHED),
        ("seen", meta_keys::SEEN),
        ("preferences", meta_keys::PREFERENCES),
        ("questions", meta_keys::QUESTIONS),
        ("question", meta_keys::QUESTION),
    ];
    let limits = [
        ("topics", limits::TOPICS as u64),
        ("sites", limits::SITES as u64),
        ("attempts", limits::ATTEMPTS_KEPT as u64),
        ("kinds", limits::KINDS as u64),
        ("past_reports", limits::PAST_REPORTS.into()),
        ("past_log_lines", limits::PAST_LOG_LINES as u64),
        ("past_log_bytes", limits::PAST_LOG_BYTES as u64),
        ("watchers", limits::WATCHERS as u64),
        ("tombstone_ms", limits::TOMBSTONE_MS),
        ("tombstone_bucket_ms", limits::TOMBSTONE_BUCKET_MS),
        ("tombstone_buckets", limits::TOMBSTONE_BUCKETS),
        ("outbox_grace_ms", limits::OUTBOX_GRACE_MS),
        ("batch_bytes", limits::BATCH_BYTES as u64),
        ("suspect_crashes", limits::SUSPECT_CRASHES.into()),
        ("shared_crashes", limits::SHARED_CRASHES.into()),
        ("neighbours", limits::NEIGHBOURS as u64),
        ("company", limits::COMPANY as u64),
        ("fallen_ms", limits::FALLEN_MS),
        ("republish_ms", limits::REPUBLISH_MS),
        ("loss_margin_ms", limits::LOSS_MARGIN_MS),
        ("rollback_ms", limits::ROLLBACK_MS),
        ("losses", limits::LOSSES as u64),
        ("keys_wait_ms", limits::KEYS_WAIT_MS),
        ("limits", limits::LIMITS as u64),
        ("pauses", limits::PAUSES as u64),
        ("past_queues", limits::PAST_QUEUES as u64),
        ("grant_ms", limits::GRANT_MS),
        ("ageing_ms", limits::AGEING_MS),
        ("releases", limits::RELEASES as u64),
        ("keys_shown", limits::KEYS_SHOWN as u64),
        ("shelve_ms", SHELVE_MS),
        ("statistics", limits::STATISTICS as u64),
        ("interests", limits::INTERESTS as u64),
        ("untold", limits::UNTOLD as u64),
        ("untold_ms", limits::UNTOLD_MS),
        ("audit", limits::AUDIT as u64),
        ("looked_at_waiting", limits::LOOKED_AT_WAITING as u64),
        ("last_bucket", BUCKETS as u64 - 1),
        ("minutes", slots::MINUTES),
        ("minute_unit", slots::MINUTE_UNIT),
        ("slot_calls", slots::CALLS),
        ("slot_since", slots::SINCE),
        ("slot_last_started", slots::LAST_STARTED),
        ("slot_last_finished", slots::LAST_FINISHED),
        ("slot_waited", slots::WAITED),
        ("slot_ran", slots::RAN),
        ("slot_failed", slots::FAILED),
        ("slot_cancelled", slots::CANCELLED),
        ("slot_processed", slots::PROCESSED),
        ("slot_waiting", slots::WAITING),
        ("slot_running", slots::RUNNING),
        ("filed", limits::FILED as u64),
        ("doom_ms", limits::DOOM_MS),
        ("files_of_job", limits::FILES_OF_JOB as u64),
        ("schedules", limits::SCHEDULES as u64),
        ("rows", limits::ROWS as u64),
        ("questions", limits::QUESTIONS as u64),
        ("question_kept_ms", limits::QUESTION_KEPT_MS),
        ("instance_kept_ms", limits::INSTANCE_KEPT_MS),
        ("instances_forgotten", limits::INSTANCES_FORGOTTEN as u64),
    ];
    let keys = keys.map(|(name, suffix)| ((b'K', name), format!("'{suffix}'")));
    keys.into_iter().chain(limits.map(|(name, limit)| ((b'L', name), limit.to_string()))).collect()
}

const COMMON: &str = include_str!("lua/common.lua");
const JOB: &str = concat!(include_str!("lua/counting.lua"), include_str!("lua/job.lua"));
const GATES: &str = include_str!("lua/gates.lua");
const VERDICT: &str = include_str!("lua/verdict.lua");
const OF_LIMIT: &str = include_str!("lua/of_limit.lua");
const ADMIT: &str = include_str!("lua/admit.lua");
const LOSS: &str = include_str!("lua/loss.lua");
const SCHEDULE: &str = include_str!("lua/schedule.lua");
const FLEET: &str = include_str!("lua/fleet.lua");

/// What ends jobs, or keeps running ones alive, must work when the server's memory is full.
const ALLOW_OOM: &str = " flags=allow-oom";
const READ_ONLY: &str = " flags=no-writes";

macro_rules! scripts {
    ($($name:ident: $flags:expr, [$($part:expr),+];)+) => {
        /// Every script.
        #[derive(Debug)]
        pub(super) struct Scripts {
            $(pub(super) $name: Script,)+
        }

        impl Scripts {
            /// Puts every script together.
            pub(super) fn new() -> Self {
                Self {
                    $($name: Script::new(
                        stringify!($name),
                        $flags,
                        &[$($part,)+ include_str!(concat!("lua/", stringify!($name), ".lua"))],
                    ),)+
                }
            }

            #[cfg(test)]
            fn all(&self) -> Vec<&Script> {
                vec![$(&self.$name),+]
            }
        }
    };
}

scripts! {
    adopt: ALLOW_OOM, [COMMON, JOB, GATES, ADMIT];
    ahead: READ_ONLY, [COMMON, JOB];
    answer: "", [COMMON];
    ask: "", [COMMON];
    audit: ALLOW_OOM, [COMMON];
    beat: ALLOW_OOM, [COMMON, FLEET];
    bury: ALLOW_OOM, [COMMON, JOB];
    change_schedules: "", [COMMON, JOB, GATES, ADMIT, SCHEDULE];
    claim: ALLOW_OOM, [COMMON, JOB, GATES];
    complete: ALLOW_OOM, [COMMON, JOB, GATES, VERDICT];
    doom_files: ALLOW_OOM, [COMMON];
    due_schedules: ALLOW_OOM, [COMMON, JOB, SCHEDULE];
    enqueue: "", [COMMON, JOB, GATES, ADMIT];
    file_place: ALLOW_OOM, [COMMON];
    find: READ_ONLY, [COMMON, JOB];
    indexed: READ_ONLY, [COMMON, JOB];
    finish: ALLOW_OOM, [COMMON, JOB, GATES, ADMIT, VERDICT];
    forget: ALLOW_OOM, [COMMON, JOB];
    interest: ALLOW_OOM, [COMMON];
    interests: READ_ONLY, [COMMON];
    keep_files: "", [COMMON];
    know: "", [COMMON, JOB, ADMIT];
    leave: ALLOW_OOM, [COMMON, FLEET];
    ledger: READ_ONLY, [COMMON, JOB];
    limit: ALLOW_OOM, [COMMON, JOB, OF_LIMIT];
    limits: READ_ONLY, [COMMON, JOB, OF_LIMIT];
    load: READ_ONLY, [COMMON, JOB];
    matrix: ALLOW_OOM, [COMMON];
    outbox: ALLOW_OOM, [COMMON, JOB];
    pause: ALLOW_OOM, [COMMON, JOB];
    promote: ALLOW_OOM, [COMMON, JOB, GATES];
    published: ALLOW_OOM, [COMMON, JOB];
    purge: ALLOW_OOM, [COMMON, JOB, GATES];
    queues: ALLOW_OOM, [COMMON, JOB, OF_LIMIT];
    rebuild: "", [COMMON, JOB, GATES, ADMIT, LOSS];
    release_files: ALLOW_OOM, [COMMON];
    remove: ALLOW_OOM, [COMMON, JOB, GATES];
    renew: ALLOW_OOM, [COMMON, JOB, LOSS];
    report: "", [COMMON, JOB];
    republish: ALLOW_OOM, [COMMON, JOB];
    rescue: ALLOW_OOM, [COMMON, JOB, GATES];
    reset_statistics: ALLOW_OOM, [COMMON, JOB];
    restore: "", [COMMON, JOB, GATES, ADMIT, LOSS];
    schedules: READ_ONLY, [COMMON, JOB, SCHEDULE];
    scrub: "", [COMMON, JOB, GATES];
    seal: ALLOW_OOM, [COMMON];
    standings: ALLOW_OOM, [COMMON, FLEET];
    statistics: READ_ONLY, [COMMON, JOB];
    stop: ALLOW_OOM, [COMMON, JOB, GATES];
    take_questions: ALLOW_OOM, [COMMON];
    untold: ALLOW_OOM, [COMMON];
    view: ALLOW_OOM, [COMMON, FLEET];
    watch: "", [COMMON, JOB];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_does_and_names_no_key_by_itself() {
        for script in Scripts::new().all() {
            let own = script.text.rsplit_once("-- KEYS  [1]").map(|(_, own)| own);
            let own = own.unwrap_or_else(|| panic!("{} has no header", script.name));
            assert!(own.contains("-- ARGV  [1] nudge channel") && own.contains("-- Answers"), "{}", script.name);
            let code = script.text.lines().map(|line| line.split("--").next().unwrap_or_default());
            let mut words =
                code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_')));
            let unknown = words.find(|word| word.starts_with("K.") || word.starts_with("L."));
            assert_eq!(unknown, None, "{}", script.name);
        }
        for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis/lua")).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(!text.contains("P .. '"), "{} spells a key", path.display());
        }
    }

    #[test]
    fn constants_are_written_out_where_they_are_meant() {
        let text = with_constants("KK.job .. K.job .. k.job .. K.nothing .. (L.topics) K L .. x.L.log");
        assert_eq!(text, "KK.job .. 'j:' .. k.job .. K.nothing .. (1000) K L .. x.L.log");
    }

    #[test]
    fn only_what_adds_load_is_refused_when_memory_is_full() {
        let scripts = Scripts::new();
        for script in [&scripts.enqueue, &scripts.rebuild, &scripts.know, &scripts.report, &scripts.watch] {
            assert!(script.text.starts_with("#!lua\n"), "{}", script.name);
        }
        for script in [&scripts.claim, &scripts.finish, &scripts.renew, &scripts.beat, &scripts.rescue] {
            assert!(script.text.starts_with("#!lua flags=allow-oom\n"), "{}", script.name);
        }
    }
}
