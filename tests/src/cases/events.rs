//! Events: what is told of jobs, to whom, and what applications tell each other.

use std::time::Duration;

use longshore_consumer::{Ctx, Outcome};
use longshore_producer::{Event, EventKind, Events, Heard, JobId, Producer, ProducerOptions, State, Topic};
use serde_json::{Value, json};

use super::Fleet;

const TOPIC: &str = "test/told";

async fn producer(fleet: &Fleet) -> Producer {
    Producer::connect_with(fleet.link().await, ProducerOptions::default())
}

async fn next(fleet: &Fleet, events: &mut Events) -> Event {
    loop {
        if let Heard::Event(event) = fleet.within("an event is heard", events.next()).await {
            return *event;
        }
    }
}

/// Sends probes until what this fleet tells is heard: from then on nothing is missed. Answers when all of the last probe was
/// heard, so that what follows is of other jobs.
async fn until_heard(fleet: &Fleet, events: &mut Events) {
    let mut sent: Vec<JobId> = Vec::new();
    loop {
        let probe = fleet.send(fleet.producer().raw(TOPIC, "\"probe\"")).await;
        fleet.end(&probe).await;
        sent.push(probe.id);
        let heard = async {
            let mut of_last = Vec::new();
            loop {
                let event = next(fleet, events).await;
                if event.id == Some(probe.id) {
                    of_last.push(event.event);
                }
                if of_last.len() == 3 {
                    return of_last;
                }
            }
        };
        tokio::select! {
            heard = heard => {
                let all = [EventKind::Added, EventKind::Started, EventKind::Finished];
                assert!(all.iter().all(|kind| heard.contains(kind)), "{heard:?}");
                return;
            }
            () = fleet.pass(Duration::from_millis(500)) => {}
        }
    }
}

/// What is heard of some jobs, until this one has its last event.
async fn of(fleet: &Fleet, events: &mut Events, ids: &[JobId], last: (JobId, EventKind)) -> Vec<Event> {
    let mut found = Vec::new();
    loop {
        let event = next(fleet, events).await;
        let is_last = (event.id, event.event) == (Some(last.0), last.1);
        if event.id.is_some_and(|id| ids.contains(&id)) {
            found.push(event);
        }
        if is_last {
            return found;
        }
    }
}

fn kinds(events: &[Event], id: JobId) -> Vec<EventKind> {
    events.iter().filter(|event| event.id == Some(id)).map(|event| event.event).collect()
}

/// What a handler does is in the payload.
async fn work(ctx: Ctx) -> Outcome {
    match (ctx.payload(), ctx.attempt()) {
        ("\"twice\"", 1) | ("\"never\"", _) => Outcome::retry("no luck"),
        _ => Outcome::done().message("all well"),
    }
}

/// JH-06 as well: a job that is given up is cancelled once.
pub async fn n01_n02_jh_06_every_step_of_a_job_is_told_once_with_what_it_is(fleet: &Fleet) {
    let listener = producer(fleet).await;
    let mut events = listener.events("test/**".parse().unwrap()).open().await.unwrap();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    until_heard(fleet, &mut events).await;
    let soon = Duration::from_millis(50);
    let job = |what: &str| fleet.producer().raw(TOPIC, &format!("\"{what}\"")).retries(1).retry_delay(soon);
    let twice = fleet.send(job("twice").label("l", "1").title("A title")).await;
    let never = fleet.send(job("never")).await;
    fleet.end(&twice).await;
    fleet.end(&never).await;
    let stopped = fleet.send(job("later").after(Duration::from_secs(3_600))).await;
    fleet.producer().stop([stopped.id], "test").await.unwrap();
    let removed = fleet.send(job("later").after(Duration::from_secs(3_600))).await;
    fleet.producer().remove([removed.id]).await.unwrap();
    let ids = [twice.id, never.id, stopped.id, removed.id];
    // Tellers differ, and each tells in its own order: all is heard when the last of each is.
    let mut heard = of(fleet, &mut events, &ids, (removed.id, EventKind::Removed)).await;
    while !kinds(&heard, never.id).contains(&EventKind::Cancelled)
        || !kinds(&heard, twice.id).contains(&EventKind::Finished)
    {
        heard.push(next(fleet, &mut events).await);
    }
    let mut of_twice = kinds(&heard, twice.id);
    assert_eq!(of_twice.iter().filter(|kind| **kind == EventKind::Added).count(), 1);
    of_twice.retain(|kind| *kind != EventKind::Added);
    assert_eq!(of_twice, [EventKind::Started, EventKind::Failed, EventKind::Started, EventKind::Finished]);
    let mut of_never = kinds(&heard, never.id);
    of_never.retain(|kind| *kind != EventKind::Added);
    let expected = [EventKind::Started, EventKind::Failed, EventKind::Started, EventKind::Cancelled];
    assert_eq!(of_never, expected, "one is cancelled, once");
    assert_eq!(kinds(&heard, stopped.id), [EventKind::Added, EventKind::Cancelled]);
    assert_eq!(kinds(&heard, removed.id), [EventKind::Added, EventKind::Removed]);
    let finished = heard.iter().find(|event| event.event == EventKind::Finished && event.id == Some(twice.id)).unwrap();
    assert_eq!((finished.topic.as_str(), finished.payload.as_ref().unwrap().get()), (TOPIC, "\"twice\""));
    assert_eq!((finished.title.as_deref(), finished.labels.get("l").map(String::as_str)), (Some("A title"), Some("1")));
    assert_eq!((finished.attempt, finished.message.as_deref()), (Some(2), Some("all well")));
    assert!(finished.ms.is_some() && finished.at.ends_with('Z'), "{finished:?}");
    running.drain().await;
}

/// PA-01 for events.
pub async fn n01_pa_01_an_event_has_the_payload_as_it_was_sent(fleet: &Fleet) {
    let listener = producer(fleet).await;
    let mut events = listener.events(TOPIC.parse().unwrap()).open().await.unwrap();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, |_: Ctx| async {})).await;
    until_heard(fleet, &mut events).await;
    let payload = r#"{"text":"ä\n","int":7,"long":9223372036854775807,"list":[1,"b",null],"map":{"a":{"b":1.50}}}"#;
    let sent = fleet.send(fleet.producer().raw(TOPIC, payload)).await;
    let heard = of(fleet, &mut events, &[sent.id], (sent.id, EventKind::Finished)).await;
    assert_eq!(heard.last().unwrap().payload.as_ref().unwrap().get(), payload);
    running.drain().await;
}

/// A pattern is not heard beyond, and progress only by who asks for it.
pub async fn n01_what_a_listener_does_not_ask_for_it_does_not_hear(fleet: &Fleet) {
    let listener = producer(fleet).await;
    let mut all = listener.events(TOPIC.parse().unwrap()).with_progress().open().await.unwrap();
    let mut life = listener.events(TOPIC.parse().unwrap()).open().await.unwrap();
    let work = |ctx: Ctx| async move {
        ctx.init_progress(4, None);
        ctx.advance(3);
        let _ = ctx.sleep(Duration::from_millis(300)).await;
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work).on("test/other", |_: Ctx| async {})).await;
    until_heard(fleet, &mut life).await;
    let other = fleet.send_to("test/other").await;
    fleet.end(&other).await;
    let sent = fleet.send_to(TOPIC).await;
    let quiet = of(fleet, &mut life, &[sent.id, other.id], (sent.id, EventKind::Finished)).await;
    assert!(quiet.iter().all(|event| event.id == Some(sent.id) && event.event != EventKind::Progress), "{quiet:?}");
    let heard = of(fleet, &mut all, &[sent.id], (sent.id, EventKind::Finished)).await;
    let progress = heard.iter().find(|event| event.event == EventKind::Progress).unwrap();
    let shown = progress.progress.as_ref().unwrap();
    assert_eq!((shown.step, shown.steps), (3, 4));
    running.drain().await;
}

/// N02: only what this process tells.
pub async fn n02_a_local_listener_hears_its_own_process_alone(fleet: &Fleet) {
    let (here, there) = (producer(fleet).await, producer(fleet).await);
    let mut local = here.events("**".parse().unwrap()).local().open().await.unwrap();
    let other = there.raw(TOPIC, "1").send().await.unwrap();
    let mine = here.raw(TOPIC, "2").send().await.unwrap();
    let heard = next(fleet, &mut local).await;
    assert_eq!((heard.event, heard.id), (EventKind::Added, Some(mine.id)), "and not {}", other.id);
}

/// DE-01, DE-02, DE-03.
pub async fn n03_de_01_de_02_de_03_applications_hear_each_other_and_not_themselves(fleet: &Fleet) {
    let (a, b) = (producer(fleet).await, producer(fleet).await);
    let listen =
        async |producer: &Producer| producer.events("app/**".parse().unwrap()).of_applications().open().await.unwrap();
    let (mut at_a, mut at_b) = (listen(&a).await, listen(&b).await);
    let topic = Topic::new("app/cache/invalidate").unwrap();
    let payload = json!({
        "origin": "foo", "event": "finished", "topic": "x", "@type": "storage", "nested": {"type": [1, 2.5, null]},
    });
    a.announce(&topic, &payload).await.unwrap();
    let heard = next(fleet, &mut at_b).await;
    assert_eq!((heard.event, &heard.topic, heard.origin.as_str()), (EventKind::Application, &topic, a.link().origin()));
    assert_eq!(serde_json::from_str::<Value>(heard.payload.unwrap().get()).unwrap(), payload);
    assert_ne!(heard.origin, b.link().origin());
    b.announce(&topic, &"back").await.unwrap();
    let heard = next(fleet, &mut at_a).await;
    assert_eq!((heard.origin.as_str(), heard.payload.unwrap().get()), (b.link().origin(), "\"back\""));
    a.announce(&topic, &"last").await.unwrap();
    assert_eq!(
        next(fleet, &mut at_b).await.payload.unwrap().get(),
        "\"last\"",
        "B heard each once, and nothing of its own"
    );
    let error = a.announce(&topic, &"x".repeat(longshore_model::limits::INLINE_BYTES)).await.unwrap_err();
    assert!(error.to_string().contains("bytes"), "{error}");
}

/// A job that is dropped because nobody started it in time is told of, though nobody did it.
pub async fn n01_n02_a_job_that_expired_is_told_of(fleet: &Fleet) {
    let listener = producer(fleet).await;
    let mut events = listener.events("test/**".parse().unwrap()).open().await.unwrap();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, |_: Ctx| async {})).await;
    until_heard(fleet, &mut events).await;
    let late = fleet.producer().raw("test/nobody", "7").expires_in(Duration::from_millis(50)).title("Late");
    let late = fleet.send(late).await;
    let heard = of(fleet, &mut events, &[late.id], (late.id, EventKind::Removed)).await;
    assert_eq!(kinds(&heard, late.id), [EventKind::Added, EventKind::Removed]);
    let removed = heard.last().unwrap();
    assert_eq!((removed.topic.as_str(), removed.payload.as_ref().unwrap().get()), ("test/nobody", "7"));
    assert_eq!((removed.title.as_deref(), removed.state), (Some("Late"), Some(State::Dropped)));
    running.drain().await;
}

/// An attempt that is lost with its process is told of by another.
pub async fn n01_n02_an_attempt_that_is_lost_with_its_process_is_told_of(fleet: &Fleet) {
    let listener = producer(fleet).await;
    let mut events = listener.events("test/**".parse().unwrap()).open().await.unwrap();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, |_: Ctx| async {})).await;
    until_heard(fleet, &mut events).await;
    let process = fleet.process();
    let stuck = |_: Ctx| std::future::pending::<()>();
    let doomed = fleet.start(fleet.consumer().await.world(process.clone()).on("test/stuck", stuck)).await;
    let sent = fleet.send_to("test/stuck").await;
    of(fleet, &mut events, &[sent.id], (sent.id, EventKind::Started)).await;
    process.tasks.kill();
    drop(doomed);
    let heard = of(fleet, &mut events, &[sent.id], (sent.id, EventKind::Failed)).await;
    let failed = heard.last().unwrap();
    assert!(failed.message.as_ref().is_some_and(|message| message.contains("process went away")), "{failed:?}");
    running.drain().await;
}
