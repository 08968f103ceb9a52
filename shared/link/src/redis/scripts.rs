//! The scripts: one Lua file per operation, put together with what they share, sent by hash and loaded on demand.
//!
//! Names of keys and limits come from the model, as a generated block in front of the Lua files, so
//! that no script spells one.

use longshore_model::limits;
use longshore_model::names::{meta_keys, shard_keys};
use redis::Cmd;
use std::fmt::Write;

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
        let mut text = format!("#!lua{flags}\n{}", constants());
        for part in parts {
            text.push_str(part);
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

/// The keys and limits that the Lua files use, as two Lua tables.
fn constants() -> String {
    let keys = [
        ("job", shard_keys::JOB),
        ("envelope", shard_keys::ENVELOPE),
        ("result", shard_keys::RESULT),
        ("detail", shard_keys::DETAIL),
        ("log", shard_keys::LOG),
        ("attempts", shard_keys::ATTEMPTS),
        ("state", shard_keys::STATE),
        ("open", shard_keys::OPEN),
        ("topic", shard_keys::TOPIC),
        ("queue", shard_keys::QUEUE),
        ("label", shard_keys::LABEL),
        ("outbox", shard_keys::OUTBOX),
        ("expiry", shard_keys::EXPIRY),
        ("tombstones", shard_keys::TOMBSTONES),
        ("counts", shard_keys::COUNTS),
        ("topics", shard_keys::TOPICS),
        ("losses", shard_keys::LOSSES),
        ("shard", shard_keys::SHARD),
        ("renewed", shard_keys::RENEWED),
        ("outcomes", shard_keys::OUTCOMES),
        ("members", meta_keys::MEMBERS),
        ("cards", meta_keys::CARDS),
        ("view", meta_keys::VIEW),
        ("joined", meta_keys::JOINED),
        ("incarnations", meta_keys::INCARNATIONS),
        ("started", meta_keys::STARTED),
    ];
    let limits = [
        ("topics", limits::TOPICS as u64),
        ("log", limits::LOG_LINES as u64),
        ("attempts", limits::ATTEMPTS_KEPT as u64),
        ("watchers", limits::WATCHERS as u64),
        ("tombstone_ms", limits::TOMBSTONE_MS),
        ("tombstone_bucket_ms", limits::TOMBSTONE_BUCKET_MS),
        ("tombstone_buckets", limits::TOMBSTONE_BUCKETS),
        ("outbox_grace_ms", limits::OUTBOX_GRACE_MS),
        ("republish_ms", limits::REPUBLISH_MS),
        ("loss_margin_ms", limits::LOSS_MARGIN_MS),
        ("losses", limits::LOSSES as u64),
        ("shelve_ms", SHELVE_MS),
    ];
    let mut text = String::from("local K = {");
    for (name, suffix) in keys {
        let _ = write!(text, "{name} = '{suffix}', ");
    }
    text.push_str("}\nlocal L = {");
    for (name, limit) in limits {
        let _ = write!(text, "{name} = {limit}, ");
    }
    text.push_str("}\n");
    text
}

const COMMON: &str = include_str!("lua/common.lua");
const JOB: &str = include_str!("lua/job.lua");
const ADMIT: &str = include_str!("lua/admit.lua");
const LOSS: &str = include_str!("lua/loss.lua");
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
    adopt: ALLOW_OOM, [COMMON, JOB, ADMIT];
    ahead: READ_ONLY, [COMMON, JOB];
    beat: ALLOW_OOM, [COMMON, FLEET];
    bury: ALLOW_OOM, [COMMON, JOB];
    claim: ALLOW_OOM, [COMMON, JOB];
    enqueue: "", [COMMON, JOB, ADMIT];
    find: READ_ONLY, [COMMON, JOB];
    finish: ALLOW_OOM, [COMMON, JOB, ADMIT];
    know: "", [COMMON, JOB, ADMIT];
    leave: ALLOW_OOM, [COMMON, FLEET];
    load: READ_ONLY, [COMMON, JOB];
    outbox: ALLOW_OOM, [COMMON, JOB];
    promote: ALLOW_OOM, [COMMON, JOB];
    published: ALLOW_OOM, [COMMON, JOB];
    purge: ALLOW_OOM, [COMMON, JOB];
    rebuild: "", [COMMON, JOB, ADMIT, LOSS];
    remove: ALLOW_OOM, [COMMON, JOB];
    renew: ALLOW_OOM, [COMMON, JOB, LOSS];
    report: "", [COMMON, JOB];
    republish: ALLOW_OOM, [COMMON, JOB];
    rescue: ALLOW_OOM, [COMMON, JOB];
    stop: ALLOW_OOM, [COMMON, JOB];
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
            assert!(!script.text.contains("P .. '"), "{} spells a key", script.name);
        }
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
