//! A password that is planted wherever a secret can be is found in nothing that the programs write.
//!
//! Both programs run at the finest log level, on services that ask for the password, on ones that refuse it, on none,
//! and with addresses that cannot be read.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore_model::Secret;
use longshore_model::names::Namespace;
use longshore_model::settings::Settings;
use longshore_producer::{Producer, State};
use longshore_tests::fleet::Fleet;
use longshore_tests::services::{PASSWORD, Protection, RabbitMq, Redis, namespace};
use longshore_tests::wait::{eventually, within};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const CANARY: &str = PASSWORD;
const SOON: Duration = Duration::from_secs(120);

/// Everything that was written, with the place where it was.
#[derive(Default)]
struct Written(Vec<(String, String)>);

impl Written {
    fn keep(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// Fails when a text holds the canary, plain or in one of the forms that it takes on its way.
    fn check(&self) {
        let base64 = "Y2FuYXJ5NHllbGxvdzdiaXJk";
        let bytes = format!("{:?}", CANARY.as_bytes());
        let forms = [CANARY, base64, bytes.trim_matches(['[', ']'])];
        for (place, text) in &self.0 {
            for line in text.lines() {
                let found = forms.iter().find(|form| line.contains(**form));
                assert!(found.is_none(), "{place} tells the password: {line}");
            }
        }
        assert!(self.0.iter().map(|(_, text)| text.len()).sum::<usize>() > 20_000, "hardly anything was written");
    }
}

/// A program, which is built with the whole workspace and lies beside the tests.
fn program(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join(name);
    assert!(program.is_file(), "{} is missing: cargo build -p {name} (deploy/test does)", program.display());
    program
}

/// Runs a program to its end; answers its exit code.
async fn run(written: &mut Written, name: &str, dir: &Path, variables: &[(&str, &str)], args: &[&str]) -> Option<i32> {
    let command = Command::new(program(name))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(SOON, &format!("{name} {args:?} ends"), command).await.unwrap();
    let place = format!("{name} {args:?}");
    written.keep(format!("{place}: stdout"), String::from_utf8_lossy(&output.stdout));
    written.keep(format!("{place}: stderr"), String::from_utf8_lossy(&output.stderr));
    output.status.code()
}

/// All that a Redis server wrote to its disk.
fn on_disk(dir: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            text += &on_disk(&path);
        } else if path.file_name().is_some_and(|name| name != "output") {
            text += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
        }
    }
    text
}

#[tokio::test]
async fn a_password_is_written_nowhere() {
    let mut written = Written::default();
    let protection = Protection { password: Some(CANARY), ..Protection::default() };
    let (rabbitmq, redis) = tokio::join!(RabbitMq::protected(protection), Redis::protected(protection));
    let mut settings = Settings { namespace: Namespace::new(&namespace("canary")).unwrap(), ..Settings::default() };
    settings.broker.url = Secret::new(rabbitmq.url());
    settings.store.url = Secret::new(redis.url());
    // Long enough for a key of the fleet.
    let keys = format!("k1={CANARY}{CANARY}{CANARY}{CANARY}");
    settings.trust.keys = Secret::new(&keys);
    settings.blobs.secret_key = Secret::new(CANARY);
    written.keep("settings", format!("{settings:?} {} {}", settings.broker.url, settings.store.url));

    // A handler with a secret in its environment, one with a secret address that nobody listens at.
    let common = format!(
        "log.level = \"trace\"\nlog.format = \"json\"\ntrust.keys = \"{keys}\"\n\
         [[handlers]]\ntopic = \"canary/exec\"\nexec = [\"/bin/sh\", \"-c\", \"test ${{#TOKEN}} = {length}\"]\n\
         env = {{ TOKEN = \"{CANARY}\" }}\n\
         [[handlers]]\ntopic = \"canary/missing\"\nexec = [\"/nowhere/at/all\"]\nenv = {{ TOKEN = \"{CANARY}\" }}\n\
         [[handlers]]\ntopic = \"canary/http\"\nhttp = \"http://me:{CANARY}@127.0.0.1:1/run?token={CANARY}\"\n",
        length = CANARY.len(),
    );
    let mut fleet = Fleet::new(settings.namespace.as_str(), &rabbitmq.url(), &redis.url(), &common);
    fleet.start("teller").await;
    let producer = Producer::connect(&settings).await.unwrap();
    written.keep("producer", format!("{producer:?}"));
    for (topic, ends) in
        [("canary/exec", State::Succeeded), ("canary/missing", State::GivenUp), ("canary/http", State::GivenUp)]
    {
        let sent = producer.raw(topic, "{}").retries(0).send().await.unwrap();
        let report = producer.outcome(sent.id).timeout(SOON).await.unwrap();
        written.keep(format!("report of {topic}"), format!("{report:?}"));
        assert!(report.job.state == ends, "{topic}: {report:?}");
    }
    for path in ["/livez", "/readyz", "/metrics", "/", "/nothing"] {
        written.keep(path, fleet.member("teller").get(path).await);
    }

    // The command line, on the same services.
    let dir = tempfile::tempdir().unwrap();
    let (broker, store) = (rabbitmq.url(), redis.url());
    let base = [
        ("LONGSHORE_NAMESPACE", settings.namespace.as_str()),
        ("LONGSHORE_LOG", "trace"),
        ("LONGSHORE_STORE__URL", store.as_str()),
    ];
    let good =
        [&base[..], &[("LONGSHORE_BROKER__URL", broker.as_str()), ("LONGSHORE_TRUST__KEYS", keys.as_str())]].concat();
    let id = producer.raw("canary/later", "{}").send().await.unwrap().id.to_string();
    let commands: &[&[&str]] = &[
        &["config"],
        &["config", "--output", "json"],
        &["job", "add", "canary/exec", "--wait"],
        &["job", "list"],
        &["job", "list", "--output", "json"],
        &["job", "show", &id],
        &["job", "show", &id, "--output", "json"],
        &["job", "explain", &id],
        &["job", "log", &id],
        &["job", "stop", &id],
        &["topology"],
        &["topology", "--output", "json"],
        &["letters", "dead", "list"],
        &["letters", "quarantine", "list", "--output", "json"],
    ];
    for args in commands {
        let code = run(&mut written, "longshore", dir.path(), &good, args).await;
        assert_eq!(code, Some(0), "{args:?}: {:?}", &written.0[written.0.len() - 2..]);
    }

    // Wrong passwords, nobody at home, and addresses that cannot be read; for both programs.
    let wrong = |url: &str| url.replace(CANARY, &format!("{CANARY}-not"));
    let gone = |url: &str| format!("{}:1/", &url[..url.rfind(':').unwrap()]);
    let no_port = |url: &str| format!("{}:port/", &url[..url.rfind(':').unwrap()]);
    let no_host = |url: &str| url[..=url.find('@').unwrap()].to_owned();
    let no_scheme = |url: &str| url[url.find("//").unwrap()..].to_owned();
    let slash = |url: &str| url.replace(CANARY, &format!("{CANARY}/{CANARY}"));
    let spoils: [&dyn Fn(&str) -> String; 6] = [&wrong, &gone, &no_port, &no_host, &no_scheme, &slash];
    for spoil in spoils {
        for both in [(spoil(&broker), store.clone()), (broker.clone(), spoil(&store))] {
            let bad = [
                ("LONGSHORE_NAMESPACE", settings.namespace.as_str()),
                ("LONGSHORE_LOG", "trace"),
                ("LONGSHORE_BROKER__URL", both.0.as_str()),
                ("LONGSHORE_STORE__URL", both.1.as_str()),
                ("LONGSHORE_BROKER__CONNECT_TIMEOUT", "1s"),
                ("LONGSHORE_STORE__CONNECT_TIMEOUT", "1s"),
                ("LONGSHORE_HOME", "home"),
                ("LONGSHORE_SEND__DEADLINE", "2s"),
            ];
            let ended = run(&mut written, "longshore-consumer", dir.path(), &bad, &[]).await;
            assert!(matches!(ended, Some(1 | 2)), "{ended:?}: {:?}", &written.0[written.0.len() - 2..]);
            run(&mut written, "longshore", dir.path(), &bad, &["job", "add", "canary/exec"]).await;
            run(&mut written, "longshore", dir.path(), &bad, &["config"]).await;
            // Typed, where the shell's history knows it already: what is wrong with it is told without it.
            let flag = format!("broker.url={}", both.0);
            run(&mut written, "longshore-consumer", dir.path(), &good, &["--check", "--set", &flag]).await;
            let flag = format!("broker.url:{}", both.0);
            run(&mut written, "longshore-consumer", dir.path(), &good, &["--check", "--set", &flag]).await;
        }
    }
    run(&mut written, "longshore", dir.path(), &good, &["doctor", "--output", "json"]).await;
    // Keys that cannot be used.
    for bad in [CANARY, &format!("k1={CANARY}"), &format!("{CANARY}:{keys}"), &format!("{keys},{keys}")] {
        let env = [&base[..], &[("LONGSHORE_TRUST__KEYS", bad)]].concat();
        run(&mut written, "longshore", dir.path(), &env, &["config"]).await;
        run(&mut written, "longshore-consumer", dir.path(), &env, &["--check"]).await;
    }
    // Lines of a file that cannot be parsed.
    for line in
        ["broker.url = \"amqp://me:CANARY@h", "broker.url == \"CANARY\"", "store.url = CANARY", "x = \"\\qCANARY\""]
    {
        let file = dir.path().join("broken.toml");
        std::fs::write(&file, line.replace("CANARY", CANARY)).unwrap();
        for name in ["longshore", "longshore-consumer"] {
            let args: &[&str] =
                if name == "longshore" { &["config", "--config", "broken.toml"] } else { &["--config", "broken.toml"] };
            let code = run(&mut written, name, dir.path(), &base, args).await;
            assert_eq!(code, Some(2), "{line}: {:?}", &written.0[written.0.len() - 2..]);
        }
    }

    // A running consumer loses its services and finds that the password has changed.
    let mut redis = redis;
    redis.kill();
    let log = async || fleet.member("teller").log().contains("store").then_some(());
    eventually(SOON, "the consumer notices", log).await;
    fleet.member_mut("teller").kill();
    written.keep("the consumer's log", fleet.member("teller").log());
    written.keep("the store's disk", on_disk(redis.directory()));
    written.check();
}
