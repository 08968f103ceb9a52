//! Encrypted connections: jobs run over them, and whatever does not fit is refused with the remedy.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore_link::{Link, World};
use longshore_model::Secret;
use longshore_model::names::Namespace;
use longshore_model::settings::{Settings, TlsSettings};
use longshore_tests::fleet::Fleet;
use longshore_tests::services::{Authority, Issued, Protection, RabbitMq, Redis, namespace};
use longshore_tests::wait::within;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const SOON: Duration = Duration::from_secs(60);

/// A broker and a store with the certificate of `localhost`, and a client that they know.
struct Services {
    rabbitmq: RabbitMq,
    redis: Redis,
    client: Issued,
    authority: Authority,
}

impl Services {
    async fn start() -> Self {
        let authority = Authority::default();
        let server = authority.issue("localhost");
        let protection = Protection { certificate: Some(&server), ..Protection::default() };
        let (rabbitmq, redis) = tokio::join!(RabbitMq::protected(protection), Redis::protected(protection));
        Self { rabbitmq, redis, client: authority.issue("client"), authority }
    }

    fn tls(&self) -> TlsSettings {
        let file = |path: &PathBuf| Some(path.clone());
        TlsSettings { ca: file(&self.client.ca), cert: file(&self.client.cert), key: file(&self.client.key) }
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings { namespace: Namespace::new(&namespace("tls")).unwrap(), ..Settings::default() };
        settings.broker.url = Secret::new(self.rabbitmq.encrypted_url("localhost"));
        settings.store.url = Secret::new(self.redis.encrypted_url("localhost"));
        (settings.broker.tls, settings.store.tls) = (self.tls(), self.tls());
        settings
    }
}

/// The sections of a settings file.
fn files(tls: &TlsSettings) -> String {
    let mut text = String::new();
    for section in ["broker", "store"] {
        for (name, path) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
            text += &format!("{section}.{name} = \"{}\"\n", path.as_ref().unwrap().display());
        }
    }
    text
}

/// The command line, which is built with the whole workspace and lies beside the tests.
fn longshore() -> PathBuf {
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("longshore");
    assert!(program.is_file(), "{} is missing: cargo build -p longshore (deploy/test does)", program.display());
    program
}

#[tokio::test]
async fn a_job_runs_over_encrypted_connections_in_both_programs() {
    let services = Services::start().await;
    let settings = services.settings();
    let tls = files(&settings.broker.tls);
    let handlers = "[[handlers]]\ntopic = \"tls/echo\"\nexec = [\"/bin/echo\", \"done over TLS\"]\n";
    let (broker, store) = (settings.broker.url.reveal(), settings.store.url.reveal());
    let mut fleet = Fleet::new(settings.namespace.as_str(), broker, store, &format!("{tls}{handlers}"));
    fleet.start("encrypted").await;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("longshore.toml");
    let addresses =
        format!("namespace = \"{}\"\nbroker.url = \"{broker}\"\nstore.url = \"{store}\"\n", settings.namespace);
    std::fs::write(&file, format!("{addresses}{tls}")).unwrap();
    let output = Command::new(longshore())
        .args(["job", "add", "tls/echo", "--payload", "1", "--wait", "--config"])
        .arg(&file)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(SOON, "the job ends", output).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("succeeded"), "{said}");
    let log = fleet.member("encrypted").log();
    assert!(log.contains("amqps://***@localhost") || !log.contains("amqp://"), "{log}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_remedy() {
    let services = Services::start().await;
    let good = services.settings();
    let (rabbitmq, redis) = (&services.rabbitmq, &services.redis);
    let strangers = Authority::default();
    let stranger = strangers.issue("client");
    let plain = |url: String, scheme: &str, encrypted: &str| url.replacen(scheme, encrypted, 1);
    let ca = |ca: PathBuf| TlsSettings { ca: Some(ca), ..services.tls() };

    // What is changed of the broker's and of the store's settings, and what the answer has to name.
    let wrong_name = (rabbitmq.encrypted_url("127.0.0.1"), redis.encrypted_url("127.0.0.1"));
    let right = (rabbitmq.encrypted_url("localhost"), redis.encrypted_url("localhost"));
    let not_tls = (plain(rabbitmq.url(), "amqp:", "amqps:"), plain(redis.url(), "redis:", "rediss:"));
    let unknown = TlsSettings { cert: Some(stranger.cert.clone()), key: Some(stranger.key.clone()), ..services.tls() };
    let nobody = TlsSettings { cert: None, key: None, ..services.tls() };
    let public = TlsSettings { ca: None, ..services.tls() };
    let missing = ca(services.authority.ca().with_extension("gone"));
    type Case<'c> = (&'c str, &'c (String, String), TlsSettings, &'c [&'c str]);
    let cases: [Case<'_>; 8] = [
        ("the right one", &right, services.tls(), &[]),
        // Of the same name, as after a renewal.
        ("another authority", &right, ca(strangers.ca()), &["BadSignature", ".ca"]),
        ("public authorities alone", &right, public, &["UnknownIssuer", ".ca"]),
        ("another name", &wrong_name, services.tls(), &["not valid for name", ".url"]),
        ("a port without TLS", &not_tls, services.tls(), &["does not speak TLS"]),
        ("no certificate", &right, nobody, &[".cert", ".key"]),
        ("an unknown certificate", &right, unknown, &["alert", ".cert", ".key"]),
        ("no file", &right, missing, &[".ca", "No such file"]),
    ];
    for (what, (broker, store), tls, words) in cases {
        for service in ["broker", "store"] {
            let mut settings = good.clone();
            if service == "broker" {
                settings.broker.url = Secret::new(broker.as_str());
                settings.broker.tls = tls.clone();
            } else {
                settings.store.url = Secret::new(store.as_str());
                settings.store.tls = tls.clone();
            }
            let connect = Box::pin(Link::connect(&settings, World::system(), "test"));
            let connected = within(SOON, "an answer", connect).await;
            if words.is_empty() {
                connected.unwrap();
                continue;
            }
            let fault = connected.map(|_| ()).expect_err(what);
            let text = fault.to_string();
            println!("{what}: {text}");
            assert!(words.iter().all(|word| text.contains(word)), "{what}, {service}: {text}");
            assert!(text.contains(service) || text.contains(&format!("{service}.")), "{what}, {service}: {text}");
            // To a store that waits for the rest of a line, a greeting of TLS is an unfinished one.
            assert!(
                !fault.is_passing() || (what, service) == ("a port without TLS", "store"),
                "{what}, {service}: {text}"
            );
        }
    }

    // The other way round: plain text to a port that speaks TLS. Nothing tells a client that it is so.
    for service in ["broker", "store"] {
        let mut settings = good.clone();
        settings.broker.connect_timeout = Duration::from_secs(2);
        settings.store.connect_timeout = Duration::from_secs(2);
        if service == "broker" {
            settings.broker.url = Secret::new(right.0.replacen("amqps:", "amqp:", 1));
        } else {
            settings.store.url = Secret::new(right.1.replacen("rediss:", "redis:", 1));
        }
        let connect = Box::pin(Link::connect(&settings, World::system(), "test"));
        let fault = within(SOON, "an answer", connect).await.unwrap_err();
        println!("plain text to {service}: {fault}");
        assert!(fault.to_string().contains(service), "{fault}");
    }
}
