//! Questions to instances (V02): each is taken up once, answered once, and everybody who was asked ends somehow.

use super::bench::{Bench, LONG, owner, topic};
use super::membership::beat_for;
use super::nudge;
use crate::store::{Asked, Nudge, Standing};
use longshore_model::id::Owner;
use longshore_model::limits;
use longshore_model::topology::asking::{Question, QuestionId, Said};
use serde_json::value::RawValue;

fn id(text: &str) -> QuestionId {
    QuestionId(text.to_owned())
}

fn question(payload: &str) -> Question {
    Question { name: topic("cache/clear"), payload: RawValue::from_string(payload.to_owned()).unwrap() }
}

fn said(text: &str) -> Said {
    Said::Answered(RawValue::from_string(text.to_owned()).unwrap())
}

async fn ask(bench: &Bench, which: &str, of: &[Owner]) {
    assert!(bench.a.store.ask(&id(which), &question("[1]"), of, LONG).await.unwrap());
}

async fn take(bench: &Bench, owner: &Owner) -> Vec<Asked> {
    bench.b.store.take_questions(owner, &[], 10).await.unwrap()
}

async fn answer(bench: &Bench, which: &str, owner: &Owner, text: &str) -> bool {
    bench.b.store.answer(&id(which), owner, &said(text)).await.unwrap()
}

/// How it stands with these, in a word each.
async fn stand(bench: &Bench, which: &str, of: &[Owner], close: bool) -> Vec<String> {
    let found = bench.a.store.standings(&id(which), of, close).await.unwrap().unwrap();
    let word = |standing| match standing {
        Standing::Waiting => "waiting".to_owned(),
        Standing::Begun => "begun".to_owned(),
        Standing::Said(said) => serde_json::to_string(&said).unwrap(),
        Standing::Gone { begun } => format!("gone, begun: {begun}"),
    };
    found.into_iter().map(word).collect()
}

pub async fn v02_who_is_asked_takes_it_up_and_answers_once(bench: &Bench) {
    let all = [owner("one", 1), owner("two", 1), owner("three", 1)];
    for owner in &all {
        beat_for(bench, owner, LONG).await;
    }
    let mut nudges = bench.b.store.nudges();
    let asked = [all[0].clone(), all[1].clone()];
    ask(bench, "q", &asked).await;
    nudge::until(bench, &mut nudges, Nudge::Questions).await;
    ask(bench, "q", &asked).await;
    assert_eq!(stand(bench, "q", &asked, false).await, ["waiting", "waiting"]);
    let taken = take(bench, &all[0]).await;
    assert_eq!((taken.len(), &taken[0].id, taken[0].question.name.as_str()), (1, &id("q"), "cache/clear"));
    assert_eq!(taken[0].question.payload.get(), "[1]");
    assert!((1..=LONG).contains(&taken[0].left_ms), "{taken:?}");
    assert_eq!(stand(bench, "q", &asked, false).await, ["begun", "waiting"]);
    assert!(take(bench, &all[2]).await.is_empty(), "nobody asked it");
    assert_eq!(take(bench, &all[0]).await.len(), 1, "the answer to the call may have been lost");
    assert!(bench.b.store.take_questions(&all[0], &[id("q")], 10).await.unwrap().is_empty(), "it knows it");
    assert!(!answer(bench, "q", &all[1], "1").await, "it was not taken up");
    let mut mine = bench.a.store.nudges();
    assert!(answer(bench, "q", &all[0], "{\"n\": 1.50}").await);
    nudge::until(bench, &mut mine, Nudge::Answered(id("q"))).await;
    assert!(answer(bench, "q", &all[0], "2").await, "it has answered");
    assert_eq!(stand(bench, "q", &asked, false).await, ["{\"answered\":{\"n\": 1.50}}", "waiting"]);
    assert!(take(bench, &all[0]).await.is_empty(), "it has answered");
    // One that is added later is asked like the others.
    assert!(bench.a.store.ask(&id("q"), &question("[2]"), &all[2..], LONG).await.unwrap());
    assert_eq!(take(bench, &all[2]).await[0].question.payload.get(), "[1]", "there is one question");
}

pub async fn v02_nobody_begins_or_answers_a_question_that_is_closed(bench: &Bench) {
    let all = [owner("one", 1), owner("two", 1)];
    for owner in &all {
        beat_for(bench, owner, LONG).await;
    }
    ask(bench, "q", &all).await;
    take(bench, &all[0]).await;
    assert_eq!(stand(bench, "q", &all, true).await, ["begun", "waiting"]);
    assert!(take(bench, &all[1]).await.is_empty() && take(bench, &all[0]).await.is_empty());
    assert!(!answer(bench, "q", &all[0], "1").await, "nobody waits for it");
    assert_eq!(stand(bench, "q", &all, true).await, ["begun", "waiting"], "repeating it is fine");
    assert!(!bench.a.store.ask(&id("q"), &question("1"), &all, LONG).await.unwrap());
    assert!(bench.a.store.standings(&id("other"), &all, true).await.unwrap().is_none());
}

pub async fn v02_who_is_gone_before_it_began_never_begins(bench: &Bench) {
    let all = [owner("one", 1), owner("two", 1), owner("three", 1)];
    for owner in &all {
        beat_for(bench, owner, LONG).await;
    }
    ask(bench, "q", &all).await;
    take(bench, &all[0]).await;
    let mut heart = bench.b.store.heart().await.unwrap();
    heart.leave(&all[0]).await.unwrap();
    // A newer incarnation is not the one that was asked.
    beat_for(bench, &owner("two", 2), LONG).await;
    assert_eq!(stand(bench, "q", &all, false).await, ["gone, begun: true", "gone, begun: false", "waiting"]);
    assert!(take(bench, &all[1]).await.is_empty() && take(bench, &owner("two", 2)).await.is_empty());
    // What was begun may come to its end all the same.
    assert!(answer(bench, "q", &all[0], "1").await);
    assert_eq!(stand(bench, "q", &all[..1], false).await, ["{\"answered\":1}"]);
}

pub async fn v02_who_died_is_found_gone_though_nobody_beats(bench: &Bench) {
    let one = [owner("one", 1)];
    beat_for(bench, &one[0], 500).await;
    ask(bench, "q", &one).await;
    bench.sleep(550).await;
    assert_eq!(stand(bench, "q", &one, false).await, ["gone, begun: false"]);
    beat_for(bench, &one[0], LONG).await;
    assert!(take(bench, &one[0]).await.is_empty(), "it was counted as gone, and stays so for this question");
    assert_eq!(stand(bench, "q", &one, false).await, ["gone, begun: false"]);
}

pub async fn v02_a_question_is_over_with_its_time(bench: &Bench) {
    let one = [owner("one", 1)];
    beat_for(bench, &one[0], LONG).await;
    assert!(bench.a.store.ask(&id("q"), &question("1"), &one, 50).await.unwrap());
    bench.sleep(60).await;
    assert!(take(bench, &one[0]).await.is_empty());
    assert!(
        !bench.a.store.ask(&id("q"), &question("1"), &one, LONG).await.unwrap(),
        "its time is that of the first call"
    );
    assert_eq!(stand(bench, "q", &one, true).await, ["waiting"]);
}

pub async fn v02_the_next_beat_tells_of_a_question(bench: &Bench) {
    let one = [owner("one", 1)];
    let first = beat_for(bench, &one[0], LONG).await;
    assert_eq!(beat_for(bench, &one[0], LONG).await.questions, first.questions);
    ask(bench, "q", &one).await;
    let second = beat_for(bench, &one[0], LONG).await;
    ask(bench, "r", &one).await;
    let third = beat_for(bench, &one[0], LONG).await;
    assert!(first.questions < second.questions && second.questions < third.questions);
    let taken: Vec<_> = bench.b.store.take_questions(&one[0], &[], 1).await.unwrap();
    assert_eq!(taken.len(), 1, "as many as there is room for");
}

pub async fn v02_there_are_only_so_many_open_questions(bench: &Bench) {
    let one = [owner("one", 1)];
    for n in 0..limits::QUESTIONS {
        ask(bench, &n.to_string(), &one).await;
    }
    let full = bench.a.store.ask(&id("one more"), &question("1"), &one, LONG).await.unwrap_err();
    assert!(full.to_string().contains("100 open questions"), "{full}");
    stand(bench, "7", &one, true).await;
    ask(bench, "one more", &one).await;
}
