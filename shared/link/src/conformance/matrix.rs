//! The topic matrix (O08): rows are kept, compared and exchanged, and outlive their instances.

use super::bench::{Bench, LONG, owner};
use super::membership::beat_for;
use super::nudge;
use crate::store::{Beaten, Nudge, RowChange};
use longshore_model::id::InstanceId;
use longshore_model::limits;
use longshore_model::topic::TopicPattern;
use longshore_model::topology::matrix::{KeptRow, Row, Rule};

fn id(text: &str) -> InstanceId {
    InstanceId(text.to_owned())
}

fn row(topic: &str, rule: Rule) -> Row {
    Row::default().set(&TopicPattern::new(topic).unwrap(), rule, "ann").unwrap()
}

/// Writes a row that nobody else wrote since.
async fn set(bench: &Bench, instance: &str, after: u64, row: &Row) -> KeptRow {
    match bench.a.store.set_row(&id(instance), after, row).await.unwrap() {
        RowChange::Done(kept) => kept,
        other => panic!("{other:?}"),
    }
}

async fn beat(bench: &Bench, instance: &str) -> Beaten {
    beat_for(bench, &owner(instance, 1), LONG).await
}

pub async fn o08_a_row_is_kept_as_it_was_written_and_needs_no_instance(bench: &Bench) {
    assert_eq!(bench.b.store.row(&id("one")).await.unwrap(), None);
    let before = bench.a.store.ping().await.unwrap();
    let (disabled, exclusive) = (row("media/raw", Rule::Disabled), row("a/**", Rule::Exclusive));
    let one = set(bench, "one", 0, &disabled).await;
    assert_eq!(one.row, disabled);
    assert!(one.since() >= before && one.since() <= bench.a.store.ping().await.unwrap(), "{one:?}");
    let two = set(bench, "two", 0, &exclusive).await;
    assert!(two.revision > one.revision);
    assert_eq!(bench.b.store.row(&id("one")).await.unwrap(), Some(one.clone()));
    let all = bench.b.store.matrix().await.unwrap();
    assert_eq!(all, [(id("one"), one), (id("two"), two)].into());
}

pub async fn o08_only_who_read_a_row_last_may_change_it(bench: &Bench) {
    let first = set(bench, "one", 0, &row("a", Rule::Disabled)).await;
    let other = row("b", Rule::Disabled);
    let late = bench.b.store.set_row(&id("one"), 0, &other).await.unwrap();
    assert_eq!(late, RowChange::Differs(Some(first.clone())));
    assert_eq!(set(bench, "one", 0, &first.row).await, first, "what is there already is done");
    let second = set(bench, "one", first.revision, &other).await;
    assert!(second.revision > first.revision);
    assert_eq!(set(bench, "one", first.revision, &other).await, second, "repeating it is fine");
    let unknown = bench.b.store.set_row(&id("two"), second.revision, &other).await.unwrap();
    assert_eq!(unknown, RowChange::Differs(None));
}

pub async fn o08_a_change_is_nudged_and_told_by_the_next_beat(bench: &Bench) {
    let first = beat(bench, "one").await;
    assert_eq!(beat(bench, "one").await.matrix, first.matrix);
    let mut nudges = bench.b.store.nudges();
    let kept = set(bench, "two", 0, &row("a", Rule::Disabled)).await;
    nudge::until(bench, &mut nudges, Nudge::Matrix).await;
    assert_eq!(beat(bench, "one").await.matrix, kept.revision);
    // An open row is a row: nobody takes it for one that was lost.
    let open = set(bench, "two", kept.revision, &Row::default()).await;
    assert_eq!(bench.b.store.row(&id("two")).await.unwrap(), Some(open));
}

pub async fn a_row_is_put_back_over_one_that_is_older(bench: &Bench) {
    // As an instance does whose store was wiped: its own revision is from before.
    let before = bench.a.store.ping().await.unwrap() * 1_000;
    let kept = set(bench, "one", 0, &row("a", Rule::Disabled)).await;
    assert!(kept.revision >= before, "a revision is a time, so that rows of two stores can be compared");
}

pub async fn there_are_only_so_many_rows(bench: &Bench) {
    let disabled = row("a", Rule::Disabled);
    for index in 0..limits::ROWS {
        set(bench, &index.to_string(), 0, &disabled).await;
    }
    let full = bench.a.store.set_row(&id("one more"), 0, &disabled).await.unwrap_err();
    assert!(full.to_string().contains("1000"), "{full}");
    let known = bench.a.store.row(&id("0")).await.unwrap().unwrap();
    set(bench, "0", known.revision, &Row::default()).await;
}
