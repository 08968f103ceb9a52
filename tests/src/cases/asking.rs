//! Questions to all instances: who answers, who fails, who knows nothing of it, who is silent, who goes away; and when
//! that is all of them.

use super::Fleet;
use longshore_consumer::{Consumer, Question, Running};
use longshore_producer::{Answers, AskOutcome, InstanceAnswer, Ran};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// More than any case needs for an answer that comes.
const LONG: Duration = Duration::from_secs(60);

async fn labelled(fleet: &Fleet, zone: &str) -> Consumer {
    let zone = [("zone".to_owned(), zone.to_owned())];
    fleet.consumer_with(|settings| settings.instance.labels = zone.into()).await.on("a", |_| async {})
}

fn of<'a>(answers: &'a Answers, running: &Running) -> &'a InstanceAnswer {
    answers.instances.iter().find(|one| one.member.owner == *running.owner()).unwrap()
}

/// The answer, or what became of it in a word; and whether the handler ran.
fn word(answers: &Answers, running: &Running) -> (String, Ran) {
    let one = of(answers, running);
    let text = match &one.outcome {
        AskOutcome::Answered(answer) => answer.get().to_owned(),
        AskOutcome::Failed(error) => format!("failed: {error}"),
        other => other.as_str().to_owned(),
    };
    (text, one.ran)
}

async fn nothing(_: Question) -> Result<(), Infallible> {
    Ok(())
}

async fn panicking(_: Question) -> Result<(), Infallible> {
    panic!("oh no")
}

/// An answer, an error, a panic, too much of an answer, no handler: each of them accounts for its instance.
pub async fn v02_everybody_is_asked_and_says_something(fleet: &Fleet) {
    let called = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&called);
    let answers = labelled(fleet, "a").await.answer("cache/clear", move |question: Question| {
        count.fetch_add(1, Ordering::SeqCst);
        async move { question.read::<Vec<u64>>().map(|keys| keys.len()) }
    });
    let answers = fleet.start(answers).await;
    let fails = labelled(fleet, "a").await.answer("cache/clear", |_| async { Err::<(), _>("no disk") });
    let fails = fleet.start(fails).await;
    let panics = fleet.start(labelled(fleet, "b").await.answer("cache/clear", panicking)).await;
    let large = "x".repeat(longshore_model::limits::INLINE_BYTES);
    let large = labelled(fleet, "b").await.answer("cache/clear", move |_| {
        let large = large.clone();
        async move { Ok::<_, Infallible>(large) }
    });
    let large = fleet.start(large).await;
    let knows_nothing = fleet.start(labelled(fleet, "b").await.answer("other", nothing)).await;
    let all = fleet.producer().ask("cache/clear", &[3, 4]).within(LONG).send().await.unwrap();
    assert!(all.complete && !all.all_answered(), "{all:?}");
    assert_eq!(word(&all, &answers), ("2".to_owned(), Ran::Yes));
    assert_eq!(word(&all, &fails), ("failed: no disk".to_owned(), Ran::Yes));
    assert_eq!(word(&all, &panics), ("failed: the handler panicked: oh no".to_owned(), Ran::Yes));
    let (text, _) = word(&all, &large);
    assert!(text.starts_with("failed: the answer has 65538 bytes"), "{text}");
    assert_eq!(word(&all, &knows_nothing), ("no_handler".to_owned(), Ran::No));
    let order: Vec<_> = all.instances.iter().map(|one| one.member.owner.clone()).collect();
    let joined = [&answers, &fails, &panics, &large, &knows_nothing].map(|running| running.owner().clone());
    assert_eq!(order, joined, "in the order in which they joined");
    assert_eq!(all.not_asked.unwrap(), []);
    assert_eq!(called.load(Ordering::SeqCst), 1);
    // A live instance asks as well, itself among them; under a name that nobody knows, nobody answers.
    let none = answers.ask("nobody/knows", &()).within(LONG).send().await.unwrap();
    assert!(none.complete && none.instances.iter().all(|one| matches!(one.outcome, AskOutcome::NoHandler)));
    assert_eq!(none.instances.len(), 5);
    for running in [answers, fails, panics, large, knows_nothing] {
        running.drain().await;
    }
}

/// Labels, ids and topics, all of them together; and what cannot be asked.
pub async fn v02_a_filter_says_who_is_asked(fleet: &Fleet) {
    let start = async |zone: &str, topic: &str| {
        let consumer = labelled(fleet, zone).await.on(topic, |_| async {}).answer("who", nothing);
        fleet.start(consumer).await
    };
    let (a, b, c) = (start("a", "x").await, start("b", "x").await, start("b", "y").await);
    let ask = || fleet.producer().ask("who", &()).within(LONG);
    let names = async |ask: longshore_producer::Ask| {
        let answers = ask.send().await.unwrap();
        assert!(answers.complete && answers.all_answered(), "{answers:?}");
        answers.instances.into_iter().map(|one| one.member.owner).collect::<Vec<_>>()
    };
    let owner = |running: &Running| running.owner().clone();
    assert_eq!(names(ask().labelled("zone", "b")).await, [owner(&b), owner(&c)]);
    assert_eq!(names(ask().taking("x".parse().unwrap())).await, [owner(&a), owner(&b)]);
    assert_eq!(names(ask().taking("x".parse().unwrap()).labelled("zone", "b")).await, [owner(&b)]);
    assert_eq!(names(ask().of_instances([owner(&c).instance])).await, [owner(&c)]);
    assert_eq!(names(ask().labelled("zone", "c")).await, []);
    for wrong in [ask().labelled("", "x"), ask().within(Duration::ZERO), ask().within(Duration::from_secs(601))] {
        wrong.send().await.unwrap_err();
    }
    let large = "x".repeat(longshore_model::limits::INLINE_BYTES);
    let refused = fleet.producer().ask("who", &large).send().await.unwrap_err();
    assert!(refused.to_string().contains("65538 bytes, more than 65536"), "{refused}");
    fleet.producer().ask("who is it?", &()).send().await.unwrap_err();
    fleet.producer().ask_raw("who", "{").send().await.unwrap_err();
    for running in [a, b, c] {
        running.drain().await;
    }
}

/// A handler that goes on when the time is over.
pub async fn v02_who_is_slow_is_silent_and_dropped_and_the_rest_has_answered(fleet: &Fleet) {
    let dropped = Arc::new(Notify::new());
    let tell = Arc::clone(&dropped);
    let slow = labelled(fleet, "a").await.answer("slow", move |question: Question| {
        let tell = TellWhenDropped(Arc::clone(&tell));
        async move {
            let _tell = tell;
            let _: () = question.read().map_err(|error| error.to_string())?;
            std::future::pending::<Result<(), String>>().await
        }
    });
    let slow = fleet.start(slow).await;
    let quick = fleet.start(labelled(fleet, "a").await.answer("slow", nothing)).await;
    let within = fleet.span(Duration::from_secs(30), Duration::from_secs(2));
    let answers = fleet.producer().ask("slow", &()).within(within).send().await.unwrap();
    assert!(!answers.complete, "{answers:?}");
    assert_eq!(word(&answers, &quick), ("null".to_owned(), Ran::Yes));
    assert_eq!(word(&answers, &slow), ("silent".to_owned(), Ran::Unknown));
    fleet.within("the handler that nobody waits for is dropped", dropped.notified()).await;
    // It answers the next one all the same.
    let next = slow.ask("nothing", &()).within(LONG).send().await.unwrap();
    assert!(next.complete && matches!(of(&next, &slow).outcome, AskOutcome::NoHandler), "{next:?}");
    slow.drain().await;
    quick.drain().await;
}

struct TellWhenDropped(Arc<Notify>);

impl Drop for TellWhenDropped {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// A consumer whose handler of `stuck` tells that it began and never comes to an end.
async fn stuck(fleet: &Fleet) -> (Consumer, Arc<Notify>) {
    let began = Arc::new(Notify::new());
    let tell = Arc::clone(&began);
    let consumer = labelled(fleet, "a").await.answer("stuck", move |_| {
        tell.notify_one();
        std::future::pending::<Result<(), Infallible>>()
    });
    (consumer, began)
}

/// A member that ends in an orderly way while its handler runs, and one that comes meanwhile.
pub async fn v02_who_leaves_is_gone_and_who_joins_was_not_asked(fleet: &Fleet) {
    let (leaves, began) = stuck(fleet).await;
    let leaves = fleet.start(leaves).await;
    let stays = fleet.start(labelled(fleet, "a").await.answer("stuck", nothing)).await;
    let asking = fleet.process().tasks.spawn(fleet.producer().ask("stuck", &()).within(LONG).send());
    fleet.within("it began", began.notified()).await;
    let joins = fleet.start(labelled(fleet, "a").await.answer("stuck", nothing)).await;
    leaves.stop().await;
    let answers = fleet.within("everybody has answered or is gone", asking).await.unwrap().unwrap();
    assert!(answers.complete, "{answers:?}");
    assert_eq!(word(&answers, &leaves), ("gone".to_owned(), Ran::Unknown));
    assert_eq!(word(&answers, &stays), ("null".to_owned(), Ran::Yes));
    let not_asked: Vec<_> = answers.not_asked.unwrap().into_iter().map(|member| member.owner).collect();
    assert_eq!((answers.instances.len(), not_asked), (2, vec![joins.owner().clone()]));
    stays.drain().await;
    joins.drain().await;
}

/// One that comes while the first one still thinks about it.
pub async fn v02_newcomers_are_asked_where_that_is_wanted(fleet: &Fleet) {
    let (go, began) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (wait, tell) = (Arc::clone(&go), Arc::clone(&began));
    let first = labelled(fleet, "a").await.answer("who", move |_| {
        tell.notify_one();
        let wait = Arc::clone(&wait);
        async move {
            wait.notified().await;
            Ok::<_, Infallible>(())
        }
    });
    let first = fleet.start(first).await;
    let ask = fleet.producer().ask("who", &()).within(LONG).and_newcomers();
    let asking = fleet.process().tasks.spawn(ask.send());
    fleet.within("it began", began.notified()).await;
    let (second, second_began) = (labelled(fleet, "a").await, Arc::new(Notify::new()));
    let tell = Arc::clone(&second_began);
    let second = second.answer("who", move |_| {
        tell.notify_one();
        async { Ok::<_, Infallible>(2) }
    });
    let second = fleet.start(second).await;
    fleet.within("the newcomer is asked", second_began.notified()).await;
    go.notify_one();
    let answers = fleet.within("both have answered", asking).await.unwrap().unwrap();
    assert!(answers.complete && answers.all_answered(), "{answers:?}");
    assert_eq!(word(&answers, &second), ("2".to_owned(), Ran::Yes));
    assert_eq!((answers.instances.len(), answers.not_asked.unwrap()), (2, vec![]));
    first.drain().await;
    second.drain().await;
}

/// In virtual time: a process dies while its handler runs, and its lease tells that it is gone.
pub async fn v02_who_dies_is_gone_when_its_lease_is(fleet: &Fleet) {
    let (dies, began) = stuck(fleet).await;
    let world = fleet.process();
    let dies = fleet.start(dies.world(world.clone())).await;
    let stays = fleet.start(labelled(fleet, "a").await.answer("stuck", nothing)).await;
    let asking = fleet.process().tasks.spawn(fleet.producer().ask("stuck", &()).within(LONG).send());
    fleet.within("it began", began.notified()).await;
    world.tasks.kill();
    let at = fleet.unix_ms();
    let answers = fleet.within("everybody has answered or is gone", asking).await.unwrap().unwrap();
    assert!(answers.complete, "{answers:?}");
    assert_eq!(word(&answers, &dies), ("gone".to_owned(), Ran::Unknown));
    assert_eq!(word(&answers, &stays), ("null".to_owned(), Ran::Yes));
    let took = fleet.unix_ms() - at;
    assert!((5_000..=13_000).contains(&took), "{took} ms for a lease of 10 s");
    stays.drain().await;
}
