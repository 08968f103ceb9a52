//! What a producer takes from settings: queues, the deadline, who sends.

use longshore_model::settings::Loaded;
use longshore_producer::{Job, Producer, ProducerOptions, QueueConfig, Settings, TopicPattern, World};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "media/video", retries = 1)]
struct Video {}

fn loaded(queues: Vec<QueueConfig>) -> Loaded {
    let mut settings = Settings::embedded("options");
    settings.instance.name = Some("author".into());
    settings.send.deadline = Duration::from_secs(3);
    Loaded { settings, queues, handlers: Vec::new(), origins: BTreeMap::new() }
}

#[tokio::test]
async fn q05_a_job_gets_the_queue_of_its_topic_and_what_it_says() {
    let mut queue = QueueConfig::new("media-{0}", vec![TopicPattern::new("media/*").unwrap()]);
    queue.retries = 7;
    let loaded = loaded(vec![queue]);
    let options = ProducerOptions::from_loaded(&loaded).unwrap();
    assert_eq!(options.deadline, Duration::from_secs(3));
    let link = longshore_producer::connect_link(&loaded.settings, World::system(), "test").await.unwrap();
    let producer = Producer::connect_with(link, options);
    for (job, queue, retries) in [
        (producer.raw("media/image", "{}"), "media-image", 7),
        (producer.job(Video {}), "media-video", 1),
        (producer.job(Video {}).retries(0), "media-video", 0),
        (producer.raw("other", "{}"), "main", 10),
    ] {
        let sent = job.send().await.unwrap();
        let view = producer.show(sent.id).await.unwrap().unwrap();
        assert_eq!((view.queue.as_str(), view.max_retries), (queue, retries));
        assert_eq!(view.created_by.as_deref(), Some("author"));
        assert_eq!(
            producer.jobs().queue(queue).topic(view.topic.as_str()).first().await.unwrap().unwrap().queue,
            queue
        );
    }
}

#[test]
fn bad_queues_are_all_named() {
    let bad = |name: &str| QueueConfig::new(name, Vec::new());
    let error = ProducerOptions::from_loaded(&loaded(vec![bad("a"), bad("b")])).unwrap_err();
    assert_eq!(error.0.len(), 2, "{error}");
}

#[tokio::test]
async fn addresses_that_cannot_work_are_refused_with_the_remedy() {
    let mut settings = Settings::embedded("one");
    settings.store.url = Settings::embedded("two").store.url;
    let error = Producer::connect(&settings).await.unwrap_err();
    assert!(error.to_string().contains("give both the same name"), "{error}");
}
