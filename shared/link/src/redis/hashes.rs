//! The hash under which the script of each operation is called, for tests that look for a call on the wire.

use super::scripts::{Script, Scripts};
use redis::Arg;

/// Operations and the hashes of their scripts, as they are in `EVALSHA`.
#[must_use]
pub fn hashes() -> Vec<(&'static str, String)> {
    let all = Scripts::new();
    let called = [
        &all.beat,
        &all.claim,
        &all.enqueue,
        &all.finish,
        &all.outbox,
        &all.promote,
        &all.published,
        &all.purge,
        &all.rebuild,
        &all.remove,
        &all.renew,
        &all.report,
        &all.rescue,
        &all.stop,
        &all.view,
        &all.watch,
    ];
    called.into_iter().map(|script| (script.name(), hash(script))).collect()
}

fn hash(script: &Script) -> String {
    let command = script.call("", "");
    match command.args_iter().nth(1) {
        Some(Arg::Simple(hash)) => String::from_utf8_lossy(hash).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_a_hash_of_its_own() {
        let found: std::collections::BTreeSet<String> = hashes().into_iter().map(|(_, hash)| hash).collect();
        assert_eq!(found.len(), hashes().len());
        assert!(found.iter().all(|hash| hash.len() == 40), "{found:?}");
    }
}
