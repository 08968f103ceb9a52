//! What a queue says beside how many run: how many may wait, what a final failure does to its order, and pauses as the
//! gate of all processing.

use std::time::Duration;

use longshore_consumer::{Cancelled, Outcome};
use longshore_producer::{JobId, NotAccepted, Pausable, Priority, Reason, Refusal, SendError, State, Stopped};

use super::{Fleet, Runs};

const TOPIC: &str = "test/ruled";
const OTHER: &str = "test/other";

async fn apply(fleet: &Fleet, rest: &str) {
    let text = format!("[[queues]]\nname = \"ruled\"\ntopics = [\"test/*\"]\n{rest}");
    let change = fleet.producer().apply_queues("a file", &text, "ann", false).await.unwrap();
    assert!(change.applied, "{change:?}");
}

async fn send(fleet: &Fleet, topic: &str, payload: &str) -> Result<JobId, SendError> {
    fleet.producer().raw(topic, payload).send().await.map(|sent| sent.id)
}

/// The payload says what becomes of the job.
fn as_told(runs: Runs) -> impl Fn(longshore_consumer::Ctx) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>> {
    move |ctx| {
        runs.note(&ctx);
        let fails = ctx.payload_as::<bool>().is_ok_and(|fails| fails);
        Box::pin(async move { if fails { Outcome::fail("as told") } else { Outcome::done() } })
    }
}

/// The sender is told which queue, how many, and what to do; the bound can be raised while jobs wait.
pub async fn a_full_queue_refuses_its_sender_with_advice(fleet: &Fleet) {
    apply(fleet, "max_length = 3").await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        sent.push(send(fleet, TOPIC, "{}").await.unwrap());
    }
    let error = send(fleet, OTHER, "{}").await.unwrap_err();
    let expected = NotAccepted::QueueFull { queue: "ruled".into(), max: 3 };
    assert_eq!(error.refusal(), Some(&Refusal::NotAccepted(expected)), "{error}");
    for part in ["3 jobs wait in queue `ruled`", "send it later", "max_length", "drop_oldest"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert_eq!(fleet.producer().jobs().queue("ruled").ids().await.unwrap().len(), 3, "nothing was stored");
    apply(fleet, "max_length = 4").await;
    sent.push(send(fleet, OTHER, "{}").await.unwrap());
    let runs = Runs::default();
    let consumer = fleet.consumer().await.on(TOPIC, runs.then(|_| async {})).on(OTHER, runs.then(|_| async {}));
    let running = fleet.start(consumer).await;
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    for _ in 0..4 {
        fleet.end_of(send(fleet, TOPIC, "{}").await.unwrap()).await;
    }
    running.drain().await;
}

/// The newest of a burst run; what was dropped says why, and its copies in the broker start nothing.
pub async fn a_full_queue_can_drop_the_oldest_instead(fleet: &Fleet) {
    apply(fleet, "max_length = 3\nwhen_full = \"drop_oldest\"").await;
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(send(fleet, TOPIC, "{}").await.unwrap());
    }
    let (dropped, kept) = sent.split_at(7);
    for id in dropped {
        let job = fleet.end_of(*id).await.job;
        assert_eq!((job.state, job.reason, job.attempt), (State::Dropped, Some(Reason::Displaced), 0));
    }
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    for id in kept {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    assert_eq!(runs.count(), 3);
    running.drain().await;
}

/// Whoever asks hears which job it was; resumed by hand, the others run in their order.
pub async fn q02_an_ordered_queue_halts_after_a_final_failure_until_it_is_resumed(fleet: &Fleet) {
    apply(fleet, "kind = \"ordered\"\non_failure = \"halt\"").await;
    let runs = Runs::default();
    let consumer = fleet.consumer().await.on(TOPIC, as_told(runs.clone())).on(OTHER, as_told(runs.clone()));
    let running = fleet.start(consumer).await;
    let mut sent = vec![send(fleet, TOPIC, "false").await.unwrap()];
    fleet.end_of(sent[0]).await;
    for (topic, payload) in [(OTHER, "true"), (TOPIC, "false"), (OTHER, "false")] {
        sent.push(send(fleet, topic, payload).await.unwrap());
    }
    assert_eq!(fleet.end_of(sent[1]).await.job.state, State::Error);
    fleet.quiet(Duration::from_secs(60)).await;
    assert_eq!(runs.count(), 2, "nothing runs");
    let waiting = fleet.waiting(sent[2]).await;
    assert_eq!(waiting.reason, "paused");
    for part in ["paused by longshore", &sent[1].to_string(), "error"] {
        assert!(waiting.detail.contains(part), "{part}: {}", waiting.detail);
    }
    let behind = fleet.waiting(sent[3]).await.detail;
    assert!(behind.contains(&format!("job {} is blocked", sent[2])), "{behind}");
    assert!(fleet.producer().resume(&Pausable::Queue("ruled".into())).await.unwrap());
    for id in &sent[2..] {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    assert_eq!(runs.all().into_iter().map(|run| run.id).collect::<Vec<_>>(), sent);
    running.drain().await;
}

/// What waits behind it was to run after it; what comes later has nothing to do with it.
pub async fn q02_an_ordered_queue_skips_what_waits_behind_a_final_failure(fleet: &Fleet) {
    apply(fleet, "kind = \"ordered\"\non_failure = \"skip\"").await;
    let mut sent = Vec::new();
    for payload in ["true", "false", "false"] {
        sent.push(send(fleet, TOPIC, payload).await.unwrap());
    }
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, as_told(runs.clone()))).await;
    assert_eq!(fleet.end_of(sent[0]).await.job.state, State::Error);
    for id in &sent[1..] {
        let job = fleet.end_of(*id).await.job;
        assert_eq!((job.state, job.reason), (State::Dropped, Some(Reason::Skipped)));
        assert!(job.message.as_ref().unwrap().contains(&sent[0].to_string()), "{:?}", job.message);
    }
    let next = send(fleet, TOPIC, "false").await.unwrap();
    assert_eq!(fleet.end_of(next).await.job.state, State::Succeeded);
    assert_eq!(runs.count(), 2);
    running.drain().await;
}

/// The head of an ordered queue waits for its retry: whoever is behind it says until when.
pub async fn q19_a_job_behind_a_failing_head_says_until_when(fleet: &Fleet) {
    apply(fleet, "kind = \"ordered\"\nretry_delay = \"1h\"").await;
    let runs = Runs::default();
    let work = runs.then(|_| async { Outcome::retry("not yet") });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let (first, second) = (send(fleet, TOPIC, "{}").await.unwrap(), send(fleet, TOPIC, "{}").await.unwrap());
    fleet.looks(first, "it waits for its retry", |job| job.state == State::Retrying).await;
    let waiting = fleet.waiting(second).await;
    assert!(waiting.detail.contains(&format!("job {first} is retrying, failed until ")), "{}", waiting.detail);
    fleet.producer().remove([first, second]).await.unwrap();
    running.drain().await;
}

/// QD-01: nothing runs while the gate of all processing is shut, and everything runs once when it opens.
pub async fn q14_u11_qd_01_jobs_wait_while_all_is_paused_and_run_once_after(fleet: &Fleet) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    fleet.producer().pause(&Pausable::All, "ann", "a switch", None).await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..10 {
        sent.push(send(fleet, TOPIC, "{}").await.unwrap());
    }
    fleet.quiet(Duration::from_secs(60)).await;
    assert_eq!((runs.count(), fleet.unfinished().await.len()), (0, 10));
    assert_eq!(fleet.waiting(sent[9]).await.reason, "paused");
    assert!(fleet.producer().resume(&Pausable::All).await.unwrap());
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.attempt, 1);
    }
    assert_eq!(runs.count(), 10);
    running.drain().await;
}

/// QD-02: a gate that shuts and opens in a row loses and doubles nothing.
pub async fn q14_u11_qd_02_a_gate_that_flutters_runs_everything_once(fleet: &Fleet) {
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    let mut sent = Vec::new();
    for _ in 0..3 {
        fleet.producer().pause(&Pausable::All, "ann", "a switch", None).await.unwrap();
        for _ in 0..3 {
            sent.push(send(fleet, TOPIC, "{}").await.unwrap());
        }
        fleet.producer().resume(&Pausable::All).await.unwrap();
    }
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    fleet.quiet(Duration::from_secs(10)).await;
    assert_eq!(runs.count(), sent.len());
    running.drain().await;
}

/// QD-03: shutting the gate starts nothing more; whoever wants what runs to end as well stops it, and it is active until
/// its handler returns.
pub async fn q14_u11_qd_03_what_runs_is_asked_to_stop_and_is_active_until_it_returns(fleet: &Fleet) {
    let (runs, heard) = (Runs::default(), Runs::default());
    let (go, gate) = tokio::sync::watch::channel(false);
    let told = heard.clone();
    let work = runs.then(move |ctx| {
        let (told, mut gate) = (told.clone(), gate.clone());
        async move {
            let why = ctx.until_cancelled().await;
            told.note(&ctx);
            let _ = gate.wait_for(|go| *go).await;
            Err::<(), Cancelled>(why)
        }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = [send(fleet, TOPIC, "{}").await.unwrap(), send(fleet, TOPIC, "{}").await.unwrap()];
    runs.reach(2).await;
    fleet.producer().pause(&Pausable::All, "ann", "a switch", None).await.unwrap();
    let late = send(fleet, TOPIC, "{}").await.unwrap();
    assert_eq!(fleet.producer().stop(sent, "the gate is shut").await.unwrap(), [Stopped::Asked, Stopped::Asked]);
    heard.reach(2).await;
    for id in sent {
        assert_eq!(fleet.show(id).await.state, State::Active);
    }
    go.send(true).unwrap();
    for id in sent {
        assert_eq!(fleet.end_of(id).await.job.state, State::Stopped);
    }
    assert_eq!((runs.count(), fleet.show(late).await.state), (2, State::Blocked));
    fleet.producer().remove([late]).await.unwrap();
    fleet.producer().resume(&Pausable::All).await.unwrap();
    running.drain().await;
}

/// Q13: who waits for the queue's limit runs urgent first; what the job says wins over its queue.
pub async fn q13_urgent_jobs_pass_a_limit_before_those_that_came_first(fleet: &Fleet) {
    apply(fleet, "max_in_fleet = 1\npriority = \"low\"").await;
    fleet.producer().pause(&Pausable::All, "ann", "until all are there", None).await.unwrap();
    let send = async |priority: Option<Priority>| {
        let job = fleet.producer().raw(TOPIC, "{}");
        fleet
            .send(match priority {
                Some(priority) => job.priority(priority),
                None => job,
            })
            .await
            .id
    };
    let low = send(None).await;
    let normal = [send(Some(Priority::Normal)).await, send(Some(Priority::Normal)).await];
    let urgent = [send(Some(Priority::Urgent)).await, send(Some(Priority::Urgent)).await];
    assert_eq!(fleet.show(low).await.priority, Some(Priority::Low));
    let runs = Runs::default();
    let running = fleet.start(fleet.consumer().await.on(TOPIC, runs.then(|_| async {}))).await;
    fleet.producer().resume(&Pausable::All).await.unwrap();
    for id in urgent.iter().chain(&normal).chain([&low]) {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    let ran: Vec<JobId> = runs.all().into_iter().map(|run| run.id).collect();
    assert_eq!(ran, [urgent[0], urgent[1], normal[0], normal[1], low]);
    running.drain().await;
}
