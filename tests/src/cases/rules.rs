//! What a queue says beside how many run: how many may wait, what a final failure does to its order, and pauses as the
//! gate of all processing.

use std::time::Duration;

use longshore_consumer::{Cancelled, Ctx, Outcome, Running};
use longshore_model::lane::Lane;
use longshore_producer::{JobId, NotAccepted, Pausable, Priority, Reason, Refusal, SendError, State, Stopped};

use tokio_util::sync::CancellationToken;

use super::{Fleet, Runs};

const TOPIC: &str = "test/ruled";
const OTHER: &str = "test/other";

type Boxed = std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>>;

async fn apply(fleet: &Fleet, rest: &str) {
    let text = format!("[[queues]]\nname = \"ruled\"\ntopics = [\"test/*\"]\n{rest}");
    let change = fleet.producer().apply_queues("a file", &text, "ann", false).await.unwrap();
    assert!(change.applied, "{change:?}");
}

async fn send(fleet: &Fleet, topic: &str, payload: &str) -> Result<JobId, SendError> {
    fleet.producer().raw(topic, payload).send().await.map(|sent| sent.id)
}

/// The payload says what becomes of the job.
fn as_told(runs: Runs) -> impl Fn(Ctx) -> Boxed {
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

fn one_by_one(runs: &Runs) -> impl Fn(Ctx) -> Boxed + use<> {
    let runs = runs.clone();
    move |ctx| {
        runs.note(&ctx);
        let fails = ctx.payload_as::<u32>().is_ok_and(|fails| ctx.attempt() <= fails);
        Box::pin(async move {
            drop(ctx.sleep(Duration::from_millis(20)).await);
            if fails { Outcome::retry("as told") } else { Outcome::done() }
        })
    }
}

/// An instance that takes jobs one by one, and has far more at hand than it gets done: a backlog in the broker's hands.
async fn busy(fleet: &Fleet, runs: &Runs) -> Running {
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
    let running = fleet.start(consumer.on(TOPIC, one_by_one(runs))).await;
    let jobs: Vec<_> = (0..400).map(|_| fleet.producer().raw(TOPIC, "{}")).collect();
    for sent in fleet.producer().send_all(jobs).await {
        sent.unwrap();
    }
    runs.reach(3).await;
    running
}

/// How many other runs began between these moments of the record: from so many runs on until a run of the job.
fn others_before(runs: &Runs, from: usize, id: JobId, attempt: u32) -> usize {
    let run = |run: &super::fixture::Run| run.id == id && run.attempt == attempt;
    runs.all().iter().position(run).unwrap() - from
}

/// Q13: a lane of the broker is first in, first out, so that urgent jobs have one of their own.
pub async fn q13_urgent_jobs_pass_a_backlog_that_was_let_through_before(fleet: &Fleet) {
    let runs = Runs::default();
    let running = busy(fleet, &runs).await;
    // The first one tells the instance of the lane, the second one finds it there.
    for most in [20, 3] {
        let from = runs.count();
        let urgent = fleet.send(fleet.producer().raw(TOPIC, "{}").priority(Priority::Urgent)).await;
        assert!(fleet.end(&urgent).await.is_success());
        let before = others_before(&runs, from, urgent.id, 1);
        assert!(before <= most, "{before} runs began before that of the urgent job");
    }
    let line = fleet.producer().topic_table().await.unwrap().remove(0);
    assert!(line.waiting > 200, "the backlog waits: {line:?}");
    running.drain().await;
    fleet.remove_unfinished().await;
}

/// Q13: neither an immediate retry nor one that waited for its time goes to the end of the backlog.
pub async fn q13_an_urgent_job_that_fails_keeps_its_place(fleet: &Fleet) {
    let runs = Runs::default();
    let running = busy(fleet, &runs).await;
    for (delay, most) in [(Duration::ZERO, 3), (Duration::from_millis(500), 40)] {
        let job = fleet.producer().raw(TOPIC, "1").priority(Priority::Urgent).retries(1).retry_delay(delay);
        let urgent = fleet.send(job).await;
        let report = fleet.end(&urgent).await.job;
        assert_eq!((report.state, report.attempt), (State::Succeeded, 2));
        let first = runs.all().iter().position(|run| run.id == urgent.id).unwrap() + 1;
        let before = others_before(&runs, first, urgent.id, 2);
        assert!(before <= most, "{before} runs began before the retry after {delay:?}");
    }
    running.drain().await;
    fleet.remove_unfinished().await;
}

/// Q13: an instance that may not take a topic any more gives back what it holds of both lanes, and another one gets it.
pub async fn q13_both_lanes_are_given_back_when_the_instance_drains(fleet: &Fleet) {
    let (runs, go) = (Runs::default(), CancellationToken::new());
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 1).await;
    let first = fleet.start(consumer.on(TOPIC, runs.until("first", &go))).await;
    let send = async |priority| fleet.send(fleet.producer().raw(TOPIC, "{}").priority(priority)).await;
    let mut sent = vec![send(Priority::Urgent).await];
    runs.reach(1).await;
    sent.extend([send(Priority::Normal).await, send(Priority::Urgent).await]);
    for lane in Lane::both(&TOPIC.parse().unwrap()) {
        let depth = async || fleet.producer().link().broker.depth(&lane).await.unwrap();
        fleet.eventually(&format!("{lane} is at hand"), async || (depth().await == Some(0)).then_some(())).await;
    }
    let second = fleet.start(fleet.consumer().await.on(TOPIC, runs.then_by("second", |_| async {}))).await;
    let others = async {
        let seen = runs.reach(3).await;
        assert!(seen[1..].iter().all(|run| run.by == "second"), "{seen:?}");
        go.cancel();
    };
    tokio::join!(first.drain(), others);
    for sent in &sent {
        let job = fleet.end(sent).await.job;
        assert_eq!((job.state, job.attempt, job.crashes), (State::Succeeded, 1, 0));
    }
    second.drain().await;
}
