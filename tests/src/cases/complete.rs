//! Attempts that are given away, and ended by whoever has their token (S06, S07, gaps G5 and G6).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use longshore_consumer::{Ctx, HandlerOptions, Outcome, RetryRule, RetryRules, Token};
use longshore_producer::{CompleteError, Completion, Lost, Producer, ProducerOptions, Reason, State};

use super::{Fleet, Runs};

const TOPIC: &str = "test/given";

/// Where handlers leave their tokens.
type Tokens = Arc<Mutex<Vec<Token>>>;

/// A handler that gives every attempt away.
fn giving(runs: &Runs, tokens: &Tokens) -> impl Fn(Ctx) -> std::future::Ready<Outcome> + Send + Sync + 'static {
    let kept = Arc::clone(tokens);
    runs.then(move |ctx| {
        kept.lock().unwrap().push(ctx.token());
        std::future::ready(Outcome::given_away())
    })
}

/// Somebody in a process of their own, who got a token as text.
async fn somebody(fleet: &Fleet) -> Producer {
    Producer::connect_with(fleet.link().await, ProducerOptions::default())
}

/// A run is counted a moment before its token is there.
async fn take(fleet: &Fleet, tokens: &Tokens) -> Token {
    let token = fleet.eventually("a token was given", async || tokens.lock().unwrap().pop()).await;
    token.to_string().parse().unwrap()
}

/// S06, S07: the end comes from another process, with a result or an error, once.
pub async fn s07_an_attempt_is_completed_from_another_process_exactly_once(fleet: &Fleet) {
    let (runs, tokens) = (Runs::default(), Tokens::default());
    let running = fleet.start(fleet.consumer().await.on(TOPIC, giving(&runs, &tokens))).await;
    let elsewhere = somebody(fleet).await;
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    fleet.quiet(Duration::from_secs(60)).await;
    assert_eq!(fleet.show(sent.id).await.state, State::Active, "its lease is renewed until it is completed");
    let token = take(fleet, &tokens).await;
    let done = Completion::result([1, 2]).unwrap().message("by hand");
    assert_eq!(elsewhere.complete(&token, done).await, Ok(State::Succeeded));
    let report = fleet.end(&sent).await;
    assert_eq!(report.result::<[u32; 2]>().unwrap(), [1, 2]);
    assert_eq!((report.job.message.as_deref(), report.job.attempt), (Some("by hand"), 1));
    let again = elsewhere.complete(&token, Completion::fail("no")).await;
    assert_eq!(again, Err(CompleteError::AlreadyCompleted { id: sent.id, state: State::Succeeded }));
    // A failure for good, said without the handler.
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(2).await;
    assert_eq!(elsewhere.complete(&take(fleet, &tokens).await, Completion::fail("bounced")).await, Ok(State::Error));
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.reason, job.message.as_deref()), (Some(Reason::Permanent), Some("bounced")));
    running.drain().await;
}

/// G5: an error with a message and a delay of its own is what the job gets; each attempt has a token of its own.
pub async fn s06_g5_a_completion_keeps_its_message_and_its_delay(fleet: &Fleet) {
    let (runs, tokens) = (Runs::default(), Tokens::default());
    let running = fleet.start(fleet.consumer().await.on(TOPIC, giving(&runs, &tokens))).await;
    let elsewhere = somebody(fleet).await;
    let job = fleet.producer().raw(TOPIC, "{}").retries(2).retry_delay(Duration::ZERO);
    let sent = fleet.send(job).await;
    runs.reach(1).await;
    let first = take(fleet, &tokens).await;
    let wait = fleet.span(Duration::from_secs(20), Duration::from_millis(1_500));
    let failed = elsewhere.complete(&first, Completion::retry_in(wait, "the farm is full")).await;
    assert_eq!(failed, Ok(State::Retrying));
    let seen = runs.reach(2).await;
    assert!(seen[1].at - seen[0].at >= wait, "it came after {:?}", seen[1].at - seen[0].at);
    let view = fleet.show(sent.id).await;
    assert_eq!(view.attempts[0].error.as_deref(), Some("the farm is full"));
    let late = elsewhere.complete(&first, Completion::done()).await.unwrap_err();
    let why = Lost::Ended { outcome: "failed".into(), detail: Some("the farm is full".into()) };
    assert_eq!(late, CompleteError::Over { id: sent.id, attempt: 1, state: State::Active, why });
    // Without a delay of its own, that of the job: at once.
    assert_eq!(elsewhere.complete(&take(fleet, &tokens).await, Completion::retry("again")).await, Ok(State::Queued));
    runs.reach(3).await;
    assert_eq!(elsewhere.complete(&take(fleet, &tokens).await, Completion::done()).await, Ok(State::Succeeded));
    let job = fleet.end(&sent).await.job;
    assert_eq!((job.attempt, job.retries), (3, 2));
    running.drain().await;
}

/// The kind that a completion names goes by the rules for it, whoever said them: as if the handler had named it.
pub async fn s02_s07_a_completion_names_the_kind_of_its_error(fleet: &Fleet) {
    let (runs, tokens) = (Runs::default(), Tokens::default());
    let mut rules = RetryRules::new();
    rules.set("busy", RetryRule::new().retries(-1).delay(Duration::ZERO));
    let options = HandlerOptions { retry_on: rules, ..HandlerOptions::default() };
    let consumer = fleet.consumer().await.on_with(TOPIC, options, giving(&runs, &tokens));
    let running = fleet.start(consumer).await;
    let elsewhere = somebody(fleet).await;
    let once = RetryRule::new().retries(1).delay(Duration::ZERO);
    let job = || fleet.producer().raw(TOPIC, "{}").retries(0).retry_on("farm.full", once);
    let end = async |kind: &str| {
        let token = take(fleet, &tokens).await;
        elsewhere.complete(&token, Completion::retry("no luck").kind(kind)).await.unwrap()
    };
    let sent = fleet.send(job()).await;
    assert_eq!(end("farm.full").await, State::Queued, "its own rule allows one more");
    assert_eq!(end("busy").await, State::Queued, "and its handler's any number");
    assert_eq!(end("farm.full").await, State::GivenUp);
    let view = fleet.end(&sent).await.job;
    assert_eq!((view.kinds.of("farm.full"), view.kinds.of("busy")), (2, 1));
    let kinds: Vec<_> = view.attempts.iter().map(|attempt| attempt.kind.as_deref()).collect();
    assert_eq!(kinds, [Some("farm.full"), Some("busy"), Some("farm.full")]);
    let sent = fleet.send(job()).await;
    assert_eq!(end("unheard of").await, State::GivenUp, "of other kinds the job's own retries hold");
    assert_eq!(fleet.end(&sent).await.job.attempts[0].kind.as_deref(), Some("unheard-of"));
    running.drain().await;
}

/// G6: what was given away holds its slot, its order and its limits, and nothing more once it is completed.
pub async fn s07_g6_what_was_given_away_keeps_its_slot_and_its_order(fleet: &Fleet) {
    let (runs, tokens) = (Runs::default(), Tokens::default());
    let consumer = fleet.consumer_with(|settings| settings.instance.concurrency = 2).await;
    let running = fleet.start(consumer.on(TOPIC, giving(&runs, &tokens))).await;
    let ordered = || fleet.producer().raw(TOPIC, "{}").order_key("one");
    let (first, second) = (fleet.send(ordered()).await, fleet.send(ordered()).await);
    runs.reach(1).await;
    fleet.quiet(Duration::from_secs(30)).await;
    assert_eq!((runs.count(), fleet.show(second.id).await.state), (1, State::Blocked), "the order is held");
    let beside = fleet.send_to(TOPIC).await;
    runs.reach(2).await;
    let over = fleet.send_to(TOPIC).await;
    fleet.quiet(Duration::from_secs(30)).await;
    assert_eq!((runs.count(), running.status().running), (2, 2), "both slots are held");
    let elsewhere = somebody(fleet).await;
    for sent in [&first, &beside, &second, &over] {
        let token = fleet
            .eventually("the job has given its token", async || {
                let mut tokens = tokens.lock().unwrap();
                let at = tokens.iter().position(|token| token.id == sent.id)?;
                Some(tokens.remove(at))
            })
            .await;
        assert_eq!(elsewhere.complete(&token, Completion::done()).await, Ok(State::Succeeded));
    }
    for sent in [&first, &second, &beside, &over] {
        assert!(fleet.end(sent).await.is_success());
    }
    fleet.eventually("every slot is free again", async || (running.status().running == 0).then_some(())).await;
    assert_eq!(runs.count(), 4);
    running.drain().await;
}

/// A stop, a timeout and a drain end what was given away, and the token says which.
pub async fn s07_a_token_that_comes_too_late_is_told_why(fleet: &Fleet) {
    let (runs, tokens) = (Runs::default(), Tokens::default());
    let consumer = fleet.consumer_with(|settings| settings.instance.grace = Duration::from_millis(200)).await;
    let running = fleet.start(consumer.on(TOPIC, giving(&runs, &tokens))).await;
    let elsewhere = somebody(fleet).await;
    let late = async |token: Token| match elsewhere.complete(&token, Completion::done()).await {
        Err(CompleteError::Over { why, .. }) => why,
        other => panic!("{other:?}"),
    };

    let stopped = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    elsewhere.stop([stopped.id], "not needed").await.unwrap();
    assert_eq!(fleet.end(&stopped).await.job.state, State::Stopped);
    assert_eq!(late(take(fleet, &tokens).await).await, Lost::Stopped);

    let slow = fleet.producer().raw(TOPIC, "{}").retries(0).timeout(Duration::from_millis(300));
    let slow = fleet.send(slow).await;
    assert_eq!(fleet.end(&slow).await.job.state, State::GivenUp);
    let Lost::Ended { outcome, detail } = late(take(fleet, &tokens).await).await else { panic!("it ran out of time") };
    assert_eq!((outcome.as_str(), detail.as_deref()), ("failed", Some("it ran longer than 300ms")));

    let removed = fleet.send_to(TOPIC).await;
    runs.reach(3).await;
    elsewhere.remove([removed.id]).await.unwrap();
    assert_eq!(late(take(fleet, &tokens).await).await, Lost::Removed);

    let drained = fleet.send_to(TOPIC).await;
    runs.reach(4).await;
    let token = take(fleet, &tokens).await;
    let forged = Token { nonce: "guessed".into(), ..token.clone() };
    let refused = elsewhere.complete(&forged, Completion::done()).await;
    assert_eq!(refused, Err(CompleteError::NotItsToken(drained.id)));
    running.drain().await;
    let job = fleet.show(drained.id).await;
    assert_eq!((job.state, job.retries, job.crashes), (State::Queued, 0, 0), "given back, and charged nothing");
    assert_eq!(late(token).await, Lost::Interrupted);
    elsewhere.remove([drained.id]).await.unwrap();
}

/// What only the process of the handler could commit cannot be given away.
pub async fn s07_an_attempt_with_follow_up_jobs_is_not_given_away(fleet: &Fleet) {
    let work = |ctx: Ctx| async move {
        ctx.enqueue_with(longshore_consumer::FollowUp::raw("test/next".parse().unwrap(), "{}".into()).unwrap())
            .unwrap();
        Outcome::given_away()
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let job = fleet.end(&fleet.send_to(TOPIC).await).await.job;
    assert_eq!(job.state, State::Error);
    assert!(job.message.unwrap().contains("follow-up jobs"));
    running.drain().await;
}

/// The instance dies: the lease ends, the job runs again, and the old token is worth nothing.
pub async fn s07_what_was_given_away_runs_again_when_its_instance_dies(fleet: &Fleet) {
    let (runs, tokens) = (Runs::default(), Tokens::default());
    let process = fleet.process();
    let first = fleet.consumer().await.world(process.clone()).on(TOPIC, giving(&runs, &tokens));
    let first = fleet.start(first).await;
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    process.tasks.kill();
    drop(first);
    let second = fleet.start(fleet.consumer().await.on(TOPIC, giving(&runs, &tokens))).await;
    runs.reach(2).await;
    let (new, old) = (take(fleet, &tokens).await, take(fleet, &tokens).await);
    let refused = fleet.producer().complete(&old, Completion::done()).await.unwrap_err();
    let why = Lost::Rescued;
    assert_eq!(refused, CompleteError::Over { id: sent.id, attempt: 1, state: State::Active, why });
    assert_eq!(fleet.producer().complete(&new, Completion::done()).await, Ok(State::Succeeded));
    assert!(fleet.end(&sent).await.is_success());
    second.drain().await;
}
