//! Events through the broker: to everybody who wants them, in order, and to nobody else.

use super::bench::{Bench, topic};
use crate::broker::{Headers, Listening, Message, Target};
use bytes::Bytes;
use longshore_model::event::{Class, Interest};

fn event(class: Class, on: &str, body: &str) -> Message {
    Message {
        target: Target::Event(class, topic(on)),
        message_id: String::new(),
        headers: Headers::default(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

async fn listen(bench: &Bench, class: Class, topics: &str) -> Box<dyn Listening> {
    bench.b.broker.listen(vec![Interest { class, topics: topics.parse().unwrap() }]).await.unwrap()
}

async fn publish(bench: &Bench, events: Vec<Message>) {
    for answer in bench.a.broker.publish(events).await {
        answer.unwrap();
    }
}

/// What is heard until the one with this body.
async fn until(bench: &Bench, listening: &mut Box<dyn Listening>, last: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let next = bench.within("an event is heard", listening.next()).await;
        let body = String::from_utf8(next.unwrap().to_vec()).unwrap();
        if body == last {
            return heard;
        }
        heard.push(body);
    }
}

pub async fn n01_events_reach_those_who_want_them_by_pattern_and_class(bench: &Bench) {
    let patterns = ["a/b", "a/*", "a/**", "**"];
    let mut listeners = Vec::new();
    for pattern in patterns {
        listeners.push(listen(bench, Class::Job, pattern).await);
    }
    listeners.push(listen(bench, Class::Progress, "a/**").await);
    let mut events: Vec<Message> = ["a", "a/b", "a/b/c", "b"].map(|on| event(Class::Job, on, on)).into();
    events.push(event(Class::Progress, "a/b", "progress"));
    events.extend(["a/b", "a/b"].map(|on| event(Class::Job, on, "end")));
    events.push(event(Class::Progress, "a/b", "end"));
    publish(bench, events).await;
    let expected: [&[&str]; 5] = [&["a/b"], &["a/b"], &["a/b", "a/b/c"], &["a", "a/b", "a/b/c", "b"], &["progress"]];
    for (listener, expected) in listeners.iter_mut().zip(expected) {
        assert_eq!(until(bench, listener, "end").await, expected);
    }
}

pub async fn n01_events_of_one_publisher_come_in_order(bench: &Bench) {
    let mut listener = listen(bench, Class::Job, "**").await;
    let bodies: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    publish(bench, bodies.iter().map(|body| event(Class::Job, "a", body)).collect()).await;
    publish(bench, vec![event(Class::Job, "a", "end")]).await;
    assert_eq!(until(bench, &mut listener, "end").await, bodies);
}

pub async fn n01_an_event_that_nobody_wants_goes_nowhere(bench: &Bench) {
    let listener = listen(bench, Class::Job, "a").await;
    drop(listener);
    publish(bench, vec![event(Class::Job, "a", "x"), event(Class::Application, "b", "y")]).await;
    assert_eq!(bench.a.broker.count_letters(crate::broker::Letters::Unrouted).await.unwrap(), 0);
    let mut later = listen(bench, Class::Job, "a").await;
    publish(bench, vec![event(Class::Job, "a", "end")]).await;
    assert_eq!(until(bench, &mut later, "end").await, Vec::<String>::new());
}
