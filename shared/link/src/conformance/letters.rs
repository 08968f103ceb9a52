//! Letters: reading changes nothing, and what is removed is gone.

use super::bench::{Bench, QUARANTINE_BYTES, message, normal};
use crate::broker::{Letters, Message, Target};
use crate::error::Fault;
use crate::letters::{Letter, Reading};

/// The size of a letter that is meant to fill a place, bytes.
const LETTER: usize = 32 * 1024;

async fn publish(bench: &Bench, names: &[&str]) {
    bench.a.broker.declare(&[]).await.unwrap();
    let letters = names.iter().map(|name| {
        let mut letter = message(Target::Dead, name);
        letter.headers.reason = Some(format!("reason of {name}"));
        letter
    });
    for answer in bench.a.broker.publish(letters.collect()).await {
        answer.unwrap();
    }
    lying(bench, names.len() as u64).await;
}

/// A broker may take a moment to count, and to give back.
async fn lying(bench: &Bench, expected: u64) {
    let what = format!("{expected} letters lie there");
    bench.eventually(&what, async || bench.b.broker.count_letters(Letters::Dead).await.unwrap() == expected).await;
}

async fn read(reading: &mut Box<dyn Reading>) -> Vec<Letter> {
    let mut letters = Vec::new();
    while let Some(letter) = reading.next().await.unwrap() {
        letters.push(letter);
    }
    letters
}

async fn open(bench: &Bench) -> Box<dyn Reading> {
    bench.a.broker.read_letters(Letters::Dead).await.unwrap()
}

fn ids(letters: &[Letter]) -> Vec<&str> {
    letters.iter().filter_map(|letter| letter.message_id.as_deref()).collect()
}

pub async fn a_place_without_letters_is_empty(bench: &Bench) {
    for place in Letters::ALL {
        let mut reading = bench.a.broker.read_letters(place).await.unwrap();
        assert_eq!(reading.next().await.unwrap(), None);
        reading.close().await.unwrap();
        assert_eq!(bench.a.broker.count_letters(place).await.unwrap(), 0);
    }
}

pub async fn letters_come_oldest_first_as_they_were_sent(bench: &Bench) {
    publish(bench, &["a", "b", "c"]).await;
    let mut reading = open(bench).await;
    let letters = read(&mut reading).await;
    assert_eq!(ids(&letters), ["a", "b", "c"]);
    assert_eq!(letters.iter().map(|letter| letter.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(letters[1].headers.reason.as_deref(), Some("reason of b"));
    assert_eq!(letters[1].body, message(Target::Dead, "b").body);
    assert_eq!((&letters[1].lane, &letters[1].evicted), (&None, &None));
    reading.close().await.unwrap();
}

pub async fn reading_to_the_end_changes_nothing_not_even_the_order(bench: &Bench) {
    publish(bench, &["a", "b", "c"]).await;
    let mut before = Vec::new();
    for _ in 0..4 {
        let mut reading = open(bench).await;
        let letters = read(&mut reading).await;
        assert!(before.is_empty() || before == letters, "{letters:?}");
        before = letters;
        reading.close().await.unwrap();
        lying(bench, 3).await;
    }
}

pub async fn a_reading_that_breaks_off_loses_nothing(bench: &Bench) {
    publish(bench, &["a", "b", "c"]).await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let mut reading = open(bench).await;
        reading.next().await.unwrap();
        // Without saying goodbye.
        drop(reading);
        lying(bench, 3).await;
        let mut reading = open(bench).await;
        let mut found: Vec<_> = read(&mut reading).await.into_iter().map(|letter| letter.name).collect();
        reading.close().await.unwrap();
        lying(bench, 3).await;
        found.sort();
        assert!(names.is_empty() || names == found, "{found:?}");
        names = found;
    }
}

pub async fn what_a_reading_has_shown_is_nobody_elses_until_it_ends(bench: &Bench) {
    publish(bench, &["a", "b"]).await;
    let mut one = open(bench).await;
    assert_eq!(one.next().await.unwrap().unwrap().message_id.as_deref(), Some("a"));
    let mut two = bench.b.broker.read_letters(Letters::Dead).await.unwrap();
    assert_eq!(ids(&read(&mut two).await), ["b"]);
    two.close().await.unwrap();
    one.close().await.unwrap();
    lying(bench, 2).await;
}

pub async fn a_removed_letter_is_gone_and_the_others_stay(bench: &Bench) {
    publish(bench, &["a", "b", "c"]).await;
    let mut reading = open(bench).await;
    read(&mut reading).await;
    reading.remove(2).await.unwrap();
    // Once more is the same, and what was never shown is nobody's.
    reading.remove(2).await.unwrap();
    reading.remove(9).await.unwrap();
    reading.close().await.unwrap();
    lying(bench, 2).await;
    let mut reading = open(bench).await;
    assert_eq!(ids(&read(&mut reading).await), ["a", "c"]);
    reading.close().await.unwrap();
}

pub async fn an_unrouted_letter_tells_its_lane(bench: &Bench) {
    let lane = normal("gone/away");
    bench.a.broker.declare(std::slice::from_ref(&lane)).await.unwrap();
    bench.hooks.delete_lane(&lane).await;
    bench.publish(&Target::Lane(lane.clone()), &["a"]).await;
    let count = async || bench.b.broker.count_letters(Letters::Unrouted).await.unwrap();
    bench.eventually("it is unrouted", async || count().await == 1).await;
    let mut reading = bench.a.broker.read_letters(Letters::Unrouted).await.unwrap();
    assert_eq!(reading.next().await.unwrap().unwrap().lane, Some(lane));
    reading.close().await.unwrap();
}

pub async fn a_full_quarantine_refuses_and_takes_again_when_there_is_room(bench: &Bench) {
    bench.a.broker.declare(&[]).await.unwrap();
    let letter = || Message { body: vec![b'x'; LETTER].into(), ..message(Target::Quarantine, "q") };
    let put = async || bench.a.broker.publish(vec![letter()]).await.remove(0);
    let mut taken = 0;
    let fault = loop {
        match put().await {
            Ok(()) => taken += 1,
            Err(fault) => break fault,
        }
        assert!(taken * LETTER <= 2 * QUARANTINE_BYTES as usize, "it has no bound");
    };
    assert!(matches!(fault, Fault::Blocked { .. }), "{fault}");
    assert!(taken * LETTER >= QUARANTINE_BYTES as usize / 2, "{taken} letters fit");
    publish(bench, &["others go on"]).await;
    let mut reading = bench.a.broker.read_letters(Letters::Quarantine).await.unwrap();
    let letters = read(&mut reading).await;
    assert_eq!(letters.len(), taken, "none was dropped for another");
    for letter in letters {
        reading.remove(letter.number).await.unwrap();
    }
    reading.close().await.unwrap();
    bench.eventually("there is room again", async || put().await.is_ok()).await;
}
