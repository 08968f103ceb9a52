//! Finding jobs, and what is found.

use super::{Hand, thumbnail};
use longshore_producer::{JobId, Producer, State};
use std::time::Duration;

pub(crate) async fn j07_j08_j09_j10_jobs_are_found_by_everything_that_they_are(producer: Producer) {
    let send = async |topic: &str, label: &str| producer.raw(topic, "{}").label("l", label).send().await.unwrap().id;
    let (a, ab, abc) = (send("a", "1").await, send("a/b", "1").await, send("a/b/c", "2").await);
    let late = producer.raw("a/late", "{}").after(Duration::from_secs(60)).send().await.unwrap().id;
    let hand = Hand::of(&producer);
    hand.succeed(ab, None).await;
    hand.fail(abc, "no").await;
    let find = || producer.jobs();
    let cases: [(_, &[JobId]); 14] = [
        (find(), &[a, late, abc, ab]),
        (find().unfinished(), &[a, late]),
        (find().history(), &[abc, ab]),
        (find().failed(), &[abc]),
        (find().state(State::Succeeded), &[ab]),
        (find().state(State::Scheduled).state(State::Queued), &[a, late]),
        (find().topic("a"), &[a]),
        (find().topic("a/*"), &[late, ab]),
        (find().topic("a/**").history(), &[abc, ab]),
        (find().label("l", "1"), &[a, ab]),
        (find().label("l", "1").state(State::Queued), &[a]),
        (find().label("l", "1").label("m", "1"), &[]),
        (find().queue("main").topic("a/b/c"), &[abc]),
        (find().queue("other"), &[]),
    ];
    for (find, expected) in cases {
        let shown = format!("{find:?}");
        let mut found: Vec<JobId> = find.list().await.unwrap().jobs.iter().map(|view| view.id).collect();
        let mut expected = expected.to_vec();
        // Both may have ended in the same millisecond; which of them is first is checked below.
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{shown}");
    }
    let first = find().unfinished().first().await.unwrap().unwrap();
    assert_eq!(first.id, a, "unfinished jobs come oldest first");
    assert!(find().within(Duration::from_secs(3_600)).ids().await.unwrap().len() == 4);
    let error = find().topic("a/*/b").list().await.unwrap_err();
    assert!(error.to_string().contains("illegal topic pattern"), "{error}");
}

pub(crate) async fn j10_pages_and_limits(producer: Producer) {
    let jobs = (0..250).map(|n| producer.raw("page", &n.to_string()));
    let sent: Vec<JobId> =
        producer.send_all(jobs.collect::<Vec<_>>()).await.into_iter().map(|s| s.unwrap().id).collect();
    let page = producer.jobs().list().await.unwrap();
    assert_eq!(page.jobs.len(), 100);
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let mut find = producer.jobs().topic("page").limit(64);
        if let Some(cursor) = cursor {
            find = find.from_cursor(cursor);
        }
        let page = find.list().await.unwrap();
        assert!(page.jobs.len() <= 64);
        seen.extend(page.jobs.iter().map(|view| view.id));
        let Some(next) = page.next else { break };
        cursor = Some(next);
    }
    seen.sort();
    let mut all = producer.jobs().limit(0).ids().await.unwrap();
    all.sort();
    let mut sent = sent;
    sent.sort();
    assert_eq!(seen, sent);
    assert_eq!(all, sent);
    let json = serde_json::to_value(producer.jobs().limit(1).list().await.unwrap()).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["jobs", "next"]);
}

pub(crate) async fn j11_what_was_answered_does_not_change(producer: Producer) {
    let sent = producer.send(thumbnail("a")).await.unwrap();
    let before = producer.show(sent.id).await.unwrap().unwrap();
    Hand::of(&producer).succeed(sent.id, Some("1")).await;
    assert_eq!((before.state, before.result.is_none()), (State::Queued, true));
    let after = producer.show(sent.id).await.unwrap().unwrap();
    assert_eq!((after.state, after.result.unwrap().get()), (State::Succeeded, "1"));
}

pub(crate) async fn counts_and_topics_tell_the_whole(producer: Producer) {
    producer.raw("x/y", "1").send().await.unwrap();
    let done = producer.raw("x/y", "2").send().await.unwrap();
    producer.raw("z", "3").after(Duration::from_secs(9)).send().await.unwrap();
    Hand::of(&producer).succeed(done.id, None).await;
    let mut topics: Vec<String> = producer.topics().await.unwrap().iter().map(ToString::to_string).collect();
    topics.sort();
    assert_eq!(topics, ["x/y", "z"]);
    let counts = producer.counts().await.unwrap();
    let count = |topic: &str, state| counts[&topic.parse().unwrap()].get(&state).copied().unwrap_or(0);
    assert_eq!((count("x/y", State::Queued), count("x/y", State::Succeeded)), (1, 1));
    assert_eq!(count("z", State::Scheduled), 1);
    assert!(producer.topology().await.unwrap().instances.is_empty());
}
