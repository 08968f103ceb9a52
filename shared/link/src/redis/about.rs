//! What the server says of itself, and what of it is not as Longshore needs it.

use crate::store::Fact;

/// Reads the answer to INFO.
pub(super) fn facts(info: &str) -> Vec<Fact> {
    let get = |name: &str| {
        let mut lines = info.lines().filter_map(|line| line.trim().split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let mut facts = Vec::new();
    let mut fact = |detail: String, advice: Option<&str>| {
        facts.push(Fact { detail, advice: advice.map(ToOwned::to_owned) });
    };
    if let Some(version) = get("redis_version") {
        fact(format!("Redis {version}"), None);
    }
    match get("aof_enabled") {
        Some("1") => fact("append-only persistence is on".into(), None),
        Some(_) => fact(
            "append-only persistence is off: a restart loses every job".into(),
            Some("set `appendonly yes` in redis.conf (`CONFIG SET appendonly yes` at once)"),
        ),
        None => {}
    }
    if get("aof_last_write_status").is_some_and(|status| status != "ok") {
        fact("it cannot write its append-only file".into(), Some("look at its log and at the space on its disk"));
    }
    match get("maxmemory_policy") {
        Some("noeviction") | None => {}
        Some(policy) => fact(
            format!("it may delete jobs when its memory is full (`maxmemory-policy {policy}`)"),
            Some("set `maxmemory-policy noeviction`"),
        ),
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::facts;

    #[test]
    fn what_loses_jobs_has_advice() {
        let good = "# Server\r\nredis_version:7.0.15\r\naof_enabled:1\r\naof_last_write_status:ok\r\n\
                    maxmemory_policy:noeviction\r\n";
        let said: Vec<String> = facts(good).into_iter().map(|fact| fact.detail).collect();
        assert_eq!(said, ["Redis 7.0.15", "append-only persistence is on"]);
        assert!(facts(good).iter().all(|fact| fact.advice.is_none()));
        let bad = "aof_enabled:0\r\naof_last_write_status:err\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(facts(bad).iter().filter(|fact| fact.advice.is_some()).count(), 3);
    }
}
