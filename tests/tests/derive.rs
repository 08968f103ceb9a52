//! `#[derive(Job)]` as an application sees it, through the producer. (What the compiler says to mistakes is tested
//! beside the macro.)

use longshore_producer::{Job, JobOptions, Priority, RetryRules};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "media/thumbnail", version = 2, retries = -1, retry_delay = "1m30s")]
#[job(index = ["asset"], priority = "low", placement = "label:gpu=yes")]
#[job(timeout = "2m", soft_timeout = "90s", stall_timeout = "30s", expires_in = "1h")]
#[job(retry_for = "1d", retry_on = "timeout=2; busy=100,30s")]
struct Thumbnail {
    asset: String,
}

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "report")]
enum Report {
    Daily,
}

#[test]
fn the_attribute_becomes_the_implementation() {
    assert_eq!(Thumbnail::topic().unwrap().to_string(), "media/thumbnail");
    assert_eq!(Thumbnail::VERSION, 2);
    let expected = JobOptions {
        retries: Some(-1),
        retry_delay: Some(Duration::from_secs(90)),
        timeout: Some(Duration::from_secs(120)),
        soft_timeout: Some(Duration::from_secs(90)),
        stall_timeout: Some(Duration::from_secs(30)),
        retry_for: Some(Duration::from_secs(86_400)),
        retry_on: RetryRules::parse(["timeout=2", "busy=100,30s"]).unwrap(),
        expires_in: Some(Duration::from_secs(3_600)),
        index: vec!["asset".into()],
        priority: Some(Priority::Low),
        placement: Some("label:gpu=yes".parse().unwrap()),
    };
    assert_eq!(Thumbnail::options(), expected);
    assert_eq!(serde_json::to_string(&Thumbnail { asset: "a".into() }).unwrap(), r#"{"asset":"a"}"#);
}

#[test]
fn what_is_not_said_is_left_to_the_queue() {
    assert_eq!((Report::TOPIC, Report::VERSION, Report::options()), ("report", 1, JobOptions::default()));
    assert_eq!(serde_json::to_string(&Report::Daily).unwrap(), "\"Daily\"");
}
