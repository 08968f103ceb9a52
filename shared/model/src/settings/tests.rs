//! Settings from texts: layers, origins, and every kind of mistake.

use super::*;
use crate::queue::Parallelism;
use crate::retry::Backoff;
use crate::topic::Topic;

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> Result<Loaded, Problems> {
    Settings::read(Some(("longshore.toml", text)), [], &[])
}

/// The problems of a file, as they are printed.
fn problems(text: &str) -> Vec<String> {
    file(text).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn check(text: &str, expected: &[&str]) {
    let found = problems(text);
    for (problem, start) in found.iter().zip(expected) {
        assert!(problem.starts_with(start), "expected {start}\n   found {problem}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn nothing_said_is_the_defaults() {
    let loaded = Settings::read(None, [], &[]).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert!(loaded.table().iter().all(|row| row.origin == Origin::Default));
}

#[test]
fn later_layers_win_and_every_value_knows_its_origin() {
    let text = "namespace = \"file\"\n[lease]\nbeat = \"1s\"\non_doubt = \"continue\"\n[instance]\nconcurrency = 3\n";
    let env = pairs(&[
        ("LONGSHORE_LEASE__BEAT", "1500ms"),
        ("LONGSHORE_INSTANCE__CONCURRENCY", "4"),
        ("LONGSHORE_HOME", "/srv/home"),
        ("LONGSHORE_LOG", "longshore_link=debug,info"),
        ("LONGSHORE_STORE__URL", ""),
        ("HOME", "/root"),
    ]);
    let flags = pairs(&[("instance.concurrency", "5")]);
    let loaded = Settings::read(Some(("x.toml", text)), env, &flags).unwrap();
    let Settings { namespace, lease, instance, store, log, .. } = &loaded.settings;
    assert_eq!(namespace.as_str(), "file");
    assert_eq!((lease.beat, lease.on_doubt), (Duration::from_millis(1_500), OnDoubt::Continue));
    assert_eq!((instance.concurrency, instance.home.as_deref()), (5, Some("/srv/home".as_ref())));
    assert_eq!(log.level, "longshore_link=debug,info");
    assert_eq!(store, &Settings::default().store, "an empty variable is not set");
    let origin = |key: &str| loaded.table().into_iter().find(|row| row.key == key).unwrap().origin.to_string();
    assert_eq!(origin("namespace"), "x.toml:1");
    assert_eq!(origin("lease.on_doubt"), "x.toml:4");
    assert_eq!(origin("lease.beat"), "LONGSHORE_LEASE__BEAT");
    assert_eq!(origin("instance.home"), "LONGSHORE_HOME");
    assert_eq!(origin("instance.concurrency"), "flag for instance.concurrency");
    assert_eq!(origin("send.deadline"), "default");
}

#[test]
fn every_problem_of_every_layer_is_reported_at_once() {
    let text = r#"
namespace = "Big"
[broker]
url = "http://guest:hunter2@host"
heartbeet = "5s"
heartbeat = 5
[lease]
beat = "5s"
[brokr]
url = "amqp://host"
[instance]
concurrency = "many"
"#;
    let env =
        pairs(&[("LONGSHORE_STORE__URL", "redis://:hunter2@"), ("LONGSHORE_NAMESPCE", "x"), ("LONGSHORE_X", "y")]);
    let flags = pairs(&[("log.level", "loud"), ("log.colour", "red")]);
    let Problems(found) = Settings::read(Some(("l.toml", text)), env, &flags).unwrap_err();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected = [
        "l.toml:2: namespace: `Big` is not a namespace: use 1 to 32",
        "l.toml:4: broker.url: its scheme is not known here; write amqp://",
        "l.toml:5: broker.heartbeet: there is no such setting; did you mean `broker.heartbeat`?",
        "l.toml:6: broker.heartbeat: write a length of time in quotes, such as \"30s\"; this is of the kind integer",
        "l.toml:8: lease.beat: one late beat would stop the instance: make lease.beat at most half of lease.doubt",
        "l.toml:9: brokr: there is no such setting; did you mean `broker`?",
        "l.toml:12: instance.concurrency: write a whole number; this is of the kind string",
        "LONGSHORE_NAMESPCE: LONGSHORE_NAMESPCE: there is no such setting; did you mean `LONGSHORE_NAMESPACE`?",
        "LONGSHORE_STORE__URL: store.url: it has no host",
        "LONGSHORE_X: LONGSHORE_X: there is no such setting; `longshore config` lists all",
        "flag for log.colour: log.colour: there is no such setting; known are `format`, `level`",
        "flag for log.level: log.level: `loud` is not a level; use one of off, error",
    ];
    for (problem, start) in found.iter().zip(expected) {
        assert!(problem.starts_with(start), "expected {start}\n   found {problem}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(!found.join("").contains("hunter2"));
}

#[test]
fn values_out_of_range_name_the_range() {
    let text = "[lease]\nbeat = \"1ms\"\n[broker]\npublish_window = 0\n[blobs]\nmax_file_bytes = -1\n[store]\n\
                call_timeout = \"soon\"\n[instance]\nname = \"a/b\"\n";
    check(
        text,
        &[
            "longshore.toml:2: lease.beat: 1ms is not between 50ms and 1h",
            "longshore.toml:4: broker.publish_window: `0` is not a whole number from 1 to 65536",
            "longshore.toml:6: blobs.max_file_bytes: `-1` is not a whole number from 1 to",
            "longshore.toml:8: store.call_timeout: `soon` is not a length of time",
            "longshore.toml:10: instance.name: `a/b` is not a name",
        ],
    );
}

#[test]
fn contradictions_are_found_at_what_was_written() {
    check("[lease]\ndoubt = \"10s\"\n", &["longshore.toml:2: lease.doubt: an instance must stop by itself before"]);
    check("[lease]\nlength = \"6s\"\n", &["longshore.toml:2: lease.length: an instance must stop by itself before"]);
    check("[lease]\nbeat = \"4s\"\n", &["longshore.toml:2: lease.beat: one late beat would stop"]);
    check("[store]\ncall_timeout = \"7s\"\n", &["longshore.toml:2: store.call_timeout: a single slow call"]);
    check("[broker]\nheartbeat = \"1500ms\"\n", &["longshore.toml:2: broker.heartbeat: AMQP counts"]);
    check(
        "[broker]\nurl = \"embedded:\"\n",
        &["longshore.toml:2: broker.url: the broker is embedded and the store is"],
    );
    check("[store]\nurl = \"embedded:\"\n", &["longshore.toml:2: store.url: the store is embedded and the broker is"]);
    check("[blobs]\nurl = \"embedded:\"\n", &["longshore.toml:2: blobs.url: payload files in this process"]);
    check("[broker]\nca = \"/ca\"\n", &["longshore.toml:2: broker.ca: the connection is not encrypted"]);
    check("[store]\ncert = \"/c\"\nkey = \"/k\"\n", &["longshore.toml:2: store.cert: the connection is not encrypted"]);
    check("[store]\nurl = \"rediss://h\"\nkey = \"/k\"\n", &["longshore.toml:3: store.key: store.cert and store.key"]);
    check(
        "[store]\nurl = \"embedded:a\"\n[broker]\nurl = \"embedded:b\"\n",
        &["longshore.toml:2: store.url: broker and store are embedded under different names"],
    );
    assert!(file("[store]\nurl = \"embedded:a\"\n[broker]\nurl = \"embedded:a\"\n").is_ok());
    check("[lease]\ndoubt = \"x\"\nlength = \"1s\"\n", &["longshore.toml:2: lease.doubt: `x` is not a length"]);
}

#[test]
fn v09_a_preference_is_a_number_on_both_sides_of_0() {
    for number in [-100, 0, 7, 100] {
        let loaded = file(&format!("[instance]\nleader_preference = {number}\n")).unwrap();
        assert_eq!(loaded.settings.instance.leader_preference, number);
    }
    for number in ["-101", "101", "99999999999"] {
        let wrong = problems(&format!("[instance]\nleader_preference = {number}\n"));
        assert!(wrong[0].contains("instance.leader_preference") && wrong[0].contains("100"), "{wrong:?}");
    }
    assert!(file("[instance]\nleader_preference = \"5\"\n").is_err(), "a text is no number");
}

#[test]
fn secrets_are_never_shown() {
    let secret = "007";
    let env = pairs(&[
        ("LONGSHORE_BROKER__URL", "amqp://guest:007@b.example/vh"),
        ("LONGSHORE_STORE__URL", "redis://:007@s.example/0?password=007"),
    ]);
    let text = "[[handlers]]\ntopic = \"a\"\nexec = [\"x\"]\nenv = { TOKEN = \"007\" }\n\
                [[handlers]]\ntopic = \"b\"\nhttp = \"http://u:007@h/\"\n";
    let loaded = Settings::read(Some(("l.toml", text)), env, &[]).unwrap();
    assert_eq!(loaded.settings.broker.url.reveal(), "amqp://guest:007@b.example/vh", "a value stays what it is");
    assert!(!format!("{loaded:?} {:?}", loaded.table()).contains(secret));
    let shown: Vec<_> = loaded.table().into_iter().map(|row| row.value).collect();
    assert!(shown.contains(&"amqp://***@b.example/vh".to_owned()), "{shown:?}");
    // A line that cannot be parsed is not repeated either.
    for text in ["[store]\nurl = \"redis://:007@h\n", "url == \"007\"", "[store]\nurl = 007", "x = \"\\q007\""] {
        let found = file(text).unwrap_err().to_string();
        assert!(!found.contains(secret) && found.contains("longshore.toml:"), "{found}");
    }
}

#[test]
fn every_syntax_error_has_its_line() {
    let found = problems("[broker\n\nx = = 1\n[lease]\nbeat = \"1s\"\n");
    assert!(found.len() >= 2, "{found:#?}");
    assert!(found[0].starts_with("longshore.toml:1: syntax: ") && found[1].starts_with("longshore.toml:3: syntax: "));
}

#[test]
fn every_key_is_documented_and_reads_back_what_it_shows() {
    let defaults = Settings::default();
    for key in KEYS {
        assert!(key.doc.len() > 20, "{}", key.name);
        assert_eq!(KEYS.iter().filter(|other| other.env() == key.env()).count(), 1, "{}", key.name);
        let mut settings = defaults.clone();
        key.set(&mut settings, &key.show(&defaults)).unwrap();
        assert_eq!(settings, defaults, "{}", key.name);
    }
    assert_eq!(Key::find("broker.url").unwrap().env(), "LONGSHORE_BROKER__URL");
}

#[test]
fn every_value_can_be_set() {
    // `Debug` prints every field of the settings: a field without a key would show up here as never changed.
    let changed = pairs(&[
        ("namespace", "n"),
        ("operator", "o"),
        ("on_unreachable", "wait"),
        ("broker.url", "embedded:t"),
        ("broker.ca", "/ca-broker"),
        ("broker.cert", "/cert-broker"),
        ("broker.key", "/key-broker"),
        ("broker.connect_timeout", "6s"),
        ("broker.heartbeat", "6s"),
        ("broker.publish_timeout", "6s"),
        ("broker.publish_window", "6"),
        ("broker.quarantine_bytes", "7000000"),
        ("broker.journal", "on"),
        ("broker.journal_bytes", "20000000"),
        ("broker.journal_age", "2h"),
        ("store.url", "embedded:t"),
        ("store.ca", "/ca-store"),
        ("store.cert", "/cert-store"),
        ("store.key", "/key-store"),
        ("store.connect_timeout", "6s"),
        ("store.call_timeout", "3s"),
        ("blobs.url", "embedded:t"),
        ("blobs.max_file_bytes", "6"),
        ("blobs.grace", "2h"),
        ("blobs.endpoint", "https://s3.example"),
        ("blobs.region", "r"),
        ("blobs.access_key", "k"),
        ("blobs.secret_key", "s"),
        ("trust.keys", "k1=0123456789abcdef0123456789abcdef"),
        ("trust.required", "off"),
        ("instance.name", "n"),
        ("instance.cluster", "c"),
        ("instance.home", "/h"),
        ("instance.labels", "disk=ssd,zone=a"),
        ("instance.endpoints", "http://h:1"),
        ("instance.leader_preference", "-6"),
        ("instance.allow", "a/**, b"),
        ("instance.deny", "a/b"),
        ("instance.concurrency", "6"),
        ("instance.held_bytes", "8000000"),
        ("instance.grace", "6s"),
        ("instance.log_lines", "10"),
        ("instance.apply_queues", "off"),
        ("lease.beat", "3s"),
        ("lease.length", "12s"),
        ("lease.doubt", "8s"),
        ("lease.on_doubt", "continue"),
        ("lease.hold", "6s"),
        ("send.deadline", "6s"),
        ("send.without_store", "broker"),
        ("send.spool", "/s"),
        ("send.spool_bytes", "70000"),
        ("retention.succeeded", "6s"),
        ("retention.failed", "6s"),
        ("retention.succeeded_count", "6"),
        ("retention.failed_count", "6"),
        ("health.listen", "off"),
        ("log.format", "json"),
        ("log.level", "warn"),
    ]);
    assert_eq!(
        changed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        KEYS.iter().map(|k| k.name).collect::<Vec<_>>()
    );
    let loaded = Settings::read(None, [], &changed).unwrap();
    let (before, after) = (format!("{:#?}", Settings::default()), format!("{:#?}", loaded.settings));
    let same: Vec<_> = before
        .lines()
        .filter(|line| {
            line.ends_with(',') && !line.trim().starts_with(['}', ')']) && after.lines().any(|other| other == *line)
        })
        .collect();
    assert!(same.is_empty(), "never changed: {same:?}");
    for (row, (_, value)) in loaded.table().iter().zip(&changed) {
        let shown = if matches!(row.key, "blobs.secret_key" | "trust.keys") { "***" } else { value };
        assert_eq!(row.value, shown, "{}", row.key);
    }
}

#[test]
fn tm_09_allow_and_deny_lists_are_read() {
    let allowed = |text: &str| file(&format!("[instance]\n{text}\n")).unwrap().settings.instance.allowed;
    let topic = Topic::new("a/b").unwrap();
    for (text, admits) in [
        ("allow = []", false),
        ("allow = [\"**\"]", true),
        ("allow = [\"a/*\"]\ndeny = [\"c\"]", true),
        ("allow = [\"**\"]\ndeny = [\"a/b\"]", false),
        ("deny = [\"**\"]", false),
    ] {
        assert_eq!(allowed(text).admits(&topic), admits, "{text}");
    }
    let env = pairs(&[("LONGSHORE_INSTANCE__ALLOW", "x, a/**")]);
    assert!(Settings::read(None, env, &[]).unwrap().settings.instance.allowed.admits(&topic));
    check(
        "[instance]\nallow = \"a\"\ndeny = [\"*\"]\n",
        &[
            "longshore.toml:2: instance.allow: write a list of texts",
            "longshore.toml:3: instance.deny: illegal topic pattern `*`",
        ],
    );
}

#[test]
fn variables_of_others_are_left_alone() {
    let env = pairs(&[
        ("LONGSHORE_CONFIG", "/etc/longshore.toml"),
        ("LONGSHORE_JOB_ID", "x"),
        ("LONGSHORE_TOPIC", "a"),
        ("LONGSHORE_INPUT_DIR", "/in"),
        ("LONGSHORE_TEST_SEED", "1"),
        ("LONGSHORE_SERVICE_HOST", "10.0.0.1"),
        ("LONGSHORE_CONSOLE_SERVICE_PORT_HTTP", "80"),
        ("LONGSHORE_PORT", "tcp://10.0.0.1:80"),
        ("LONGSHORE_PORT_80_TCP_ADDR", "10.0.0.1"),
    ]);
    assert_eq!(Settings::read(None, env, &[]).unwrap().settings, Settings::default());
    let twice = pairs(&[("LONGSHORE_HOME", "/a"), ("LONGSHORE_INSTANCE__HOME", "/b")]);
    let found = Settings::read(None, twice, &[]).unwrap_err().to_string();
    assert!(found.contains("it is set by LONGSHORE_HOME as well"), "{found}");
}

#[test]
fn queues_are_read() {
    let text = r#"
[[queues]]
name = "media"
topics = ["media/*", "video"]
max_parallel = 0.5
retries = -1
retry_delay = "1m"
backoff = { factor = 3, max = "1h" }
timeout = "10m"
soft_timeout = "9m"
stall_timeout = "1m"
retry_for = "1h"
retry_on = ["busy=100,1s", "timeout=2"]
keep = { succeeded = "1h" }
ranking = 7

[[queues]]
name = "main"
backoff = "fixed"
max_parallel = 4
"#;
    let queues = file(text).unwrap().queues;
    let media = &queues[0];
    assert_eq!(media.topics.iter().map(ToString::to_string).collect::<Vec<_>>(), ["media/*", "video"]);
    assert_eq!((media.max_parallel, media.retries, media.ranking), (Parallelism::new(0.5).unwrap(), -1, 7));
    assert_eq!(media.backoff, Backoff::Exponential { factor: 3, max: Duration::from_secs(3_600) });
    assert_eq!(media.keep.succeeded.age, Some(Duration::from_secs(3_600)));
    assert_eq!((media.keep.failed.age, media.timeout), (None, Some(Duration::from_secs(600))));
    let minutes = |count: u64| Some(Duration::from_secs(60 * count));
    let times = (media.soft_timeout, media.stall_timeout, media.retry_for);
    assert_eq!(times, (minutes(9), minutes(1), minutes(60)));
    assert_eq!(media.retry_on.texts(), ["busy=100,1s", "timeout=2"]);
    assert_eq!((queues[1].max_parallel, queues[1].retries), (Parallelism::exactly(4), 10));
}

#[test]
fn every_problem_of_a_queue_is_reported() {
    let text = r#"
[[queues]]
retires = 3
topics = ["a.b", "ok"]
max_parallel = 0
retries = -2
[[queues]]
name = "x"
topics = "media"
backoff = { factor = 1 }
timeout = "0"
keep = "1d"
retry_on = ["timeout"]
[[queues]]
name = "x"
[[queues]]
name = 3
topics = ["a"]
"#;
    check(
        text,
        &[
            "longshore.toml:2: queues[1].name: it is empty",
            "longshore.toml:3: queues[1].retires: there is no such field; did you mean `retries`?",
            "longshore.toml:4: queues[1].topics: illegal topic pattern `a.b`",
            "longshore.toml:5: queues[1].max_parallel: `0` is not a number of parallel jobs",
            "longshore.toml:6: queues[1].retries: -2 is not -1 (without end) to",
            "longshore.toml:9: queues[2].topics: write a list of texts",
            "longshore.toml:10: queues[2].backoff.factor: it must be 2 to 100",
            "longshore.toml:10: queues[2].backoff.max: it is missing",
            "longshore.toml:11: queues[2].timeout: 0 would never let a job run",
            "longshore.toml:12: queues[2].keep: write { succeeded",
            "longshore.toml:13: queues[2].retry_on: `timeout`: there is no =",
            "longshore.toml:14: queues[3].topics: there are none",
            "longshore.toml:15: queues[3].name: queues[2] has this name already",
            "longshore.toml:17: queues[4].name: write a text in quotes; this is of the kind integer",
        ],
    );
    check("queues = 3\n", &["longshore.toml:1: queues: this is a list of tables; write [[queues]] above each"]);
}

#[test]
fn handlers_are_read() {
    let text = r#"
[[handlers]]
topic = "media/*"
exec = ["convert", "-"]
concurrency = 2
timeout = "2m"
soft_timeout = "90s"
stall_timeout = "30s"
retry_for = "1h"
retry_on = ["exit-75=100,30s"]
grace = "5s"
env = { LANG = "C" }
[[handlers]]
topic = "**"
http = "http://localhost:8080/run"
"#;
    let handlers = file(text).unwrap().handlers;
    assert_eq!(handlers[0].run, Run::Exec(vec!["convert".into(), "-".into()]));
    assert_eq!(handlers[0].concurrency, Some(2));
    assert_eq!(
        (handlers[0].timeout, handlers[0].grace),
        (Some(Duration::from_secs(120)), Some(Duration::from_secs(5)))
    );
    let seconds = |count| Some(Duration::from_secs(count));
    let times = (handlers[0].soft_timeout, handlers[0].stall_timeout, handlers[0].retry_for);
    assert_eq!(times, (seconds(90), seconds(30), seconds(3_600)));
    assert_eq!(handlers[0].retry_on.texts(), ["exit-75=100,30s"]);
    assert_eq!(handlers[0].env["LANG"], "C");
    assert_eq!(handlers[1].run, Run::Http(Secret::new("http://localhost:8080/run")));
    assert_eq!((handlers[1].topic.to_string().as_str(), handlers[1].concurrency), ("**", None));
}

#[test]
fn every_problem_of_a_handler_is_reported() {
    let text = r#"
[[handlers]]
exec = []
http = "http://h"
[[handlers]]
topic = "*"
exec = ["x", 1]
concurrency = 0
retries = 1
env = { "A=B" = "x", LONGSHORE_JOB_ID = "y" }
[[handlers]]
topic = "a"
http = "host"
envs = {}
[[handlers]]
topic = "b"
http = "https://u:secret@h:port/"
[[handlers]]
topic = "c"
http = "http://h"
env = { A = "x" }
[[handlers]]
topic = "c"
exec = ["x"]
[[handlers]]
topic = "d"
"#;
    check(
        text,
        &[
            "longshore.toml:2: handlers[1].topic: it is missing",
            "longshore.toml:4: handlers[1].http: the handler has `exec` as well",
            "longshore.toml:6: handlers[2].topic: illegal topic pattern `*`",
            "longshore.toml:7: handlers[2].exec: write texts in quotes; this is of the kind integer",
            "longshore.toml:8: handlers[2].concurrency: it must be 1 to 100000",
            "longshore.toml:9: handlers[2].retries: there is no such field",
            "longshore.toml:10: handlers[2].env: `A=B` is not a name",
            "longshore.toml:10: handlers[2].env: `LONGSHORE_JOB_ID` starts with LONGSHORE_",
            "longshore.toml:13: handlers[3].http: it is not an address; write http:// or https://",
            "longshore.toml:14: handlers[3].envs: there is no such field; did you mean `env`?",
            "longshore.toml:17: handlers[4].http: its port is not a number",
            "longshore.toml:21: handlers[5].env: an HTTP handler has no environment",
            "longshore.toml:23: handlers[6].topic: another handler takes c already",
            "longshore.toml:25: handlers[7].exec: the handler runs nothing",
        ],
    );
}
