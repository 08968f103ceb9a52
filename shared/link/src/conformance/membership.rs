//! Who is there (V02, V05, V08, V12): one script is the authority, nobody votes.

use super::bench::{Bench, LONG, finish, normal, owner, succeeded};
use crate::store::{Beat, Beaten, Finish, Report};
use longshore_model::Secret;
use longshore_model::id::Owner;
use longshore_model::limits::{INSTANCE_KEPT_MS, INSTANCES_FORGOTTEN};
use longshore_model::names::Namespace;
use longshore_model::record::State;
use longshore_model::topic::TopicPattern;
use longshore_model::topology::matrix::Row;
use longshore_model::topology::{Capability, Card, View};
use longshore_model::transition::Answer;
use longshore_model::trust::Keyring;

/// A lease that ends while a case runs, ms.
const SHORT: u64 = 1_000;

pub(super) fn card(owner: Owner) -> Card {
    Card {
        name: format!("host of {}", owner.instance),
        cluster: owner.instance.0.clone(),
        version: "1.2.3".into(),
        capabilities: vec![Capability { pattern: TopicPattern::new("media/**").unwrap(), version: 2 }],
        slots: 4,
        running: 1,
        properties: [("zone".to_owned(), "a".to_owned())].into(),
        ..Card::bare(owner)
    }
}

async fn beat_for(bench: &Bench, owner: &Owner, lease_ms: u64) -> Beaten {
    let mut heart = bench.a.store.heart().await.unwrap();
    heart.beat(&Beat { card: card(owner.clone()), reached: 0, lease_ms }).await.unwrap()
}

async fn beat(bench: &Bench, owner: &Owner) -> Beaten {
    beat_for(bench, owner, LONG).await
}

async fn leave(bench: &Bench, owner: &Owner) {
    bench.a.store.heart().await.unwrap().leave(owner).await.unwrap();
}

async fn view(bench: &Bench) -> View {
    bench.b.store.view().await.unwrap()
}

fn members(view: &View) -> Vec<Owner> {
    view.instances.iter().map(|card| card.owner.clone()).collect()
}

pub async fn the_first_is_the_coordinator(bench: &Bench) {
    assert_eq!(view(bench).await, View::default(), "nobody is there");
    let one = owner("one", 1);
    let beaten = beat(bench, &one).await;
    assert_eq!((beaten.view, beaten.term, beaten.coordinator, beaten.superseded), (1, 1, true, false));
    let view = view(bench).await;
    assert_eq!((view.number, view.term, view.coordinator), (1, 1, Some(one.clone())));
    assert_eq!(view.instances, [Card { started: beaten.now, ..card(one) }], "the store says when it joined");
}

pub async fn v02_the_order_is_that_of_joining(bench: &Bench) {
    let all = [owner("c", 1), owner("a", 1), owner("b", 1)];
    for (index, owner) in all.iter().enumerate() {
        let beaten = beat(bench, owner).await;
        assert_eq!((beaten.coordinator, beaten.view), (index == 0, u64::try_from(index).unwrap() + 1));
    }
    beat(bench, &all[1]).await;
    let view = view(bench).await;
    assert_eq!((members(&view), view.term, view.coordinator), (all.to_vec(), 1, Some(all[0].clone())));
}

pub async fn a_beat_alone_changes_no_view(bench: &Bench) {
    let one = owner("one", 1);
    let first = beat(bench, &one).await;
    for _ in 0..3 {
        let again = beat(bench, &one).await;
        assert_eq!((again.view, again.term), (first.view, first.term));
    }
    assert_eq!(view(bench).await.instances[0].started, first.now, "it joined once");
}

pub async fn who_was_away_queues_last(bench: &Bench) {
    let (one, two) = (owner("one", 1), owner("two", 1));
    beat(bench, &one).await;
    beat(bench, &two).await;
    leave(bench, &one).await;
    let back = beat(bench, &one).await;
    assert!(!back.coordinator);
    assert_eq!(members(&view(bench).await), [two, one]);
}

pub async fn v08_the_coordinator_stays_while_it_is_in(bench: &Bench) {
    let (one, two, three) = (owner("one", 1), owner("two", 1), owner("three", 1));
    beat(bench, &one).await;
    beat(bench, &two).await;
    leave(bench, &one).await;
    assert_eq!(beat(bench, &two).await.term, 2);
    for joiner in [&one, &three] {
        assert_eq!(beat(bench, joiner).await.term, 2, "the term grows only when the holder changes");
    }
    assert_eq!(view(bench).await.coordinator, Some(two));
}

pub async fn v09_the_most_preferred_coordinates_and_among_equals_who_joined_first(bench: &Bench) {
    let preferred = async |owner: &Owner, leader_preference| {
        let mut heart = bench.a.store.heart().await.unwrap();
        let card = Card { leader_preference, ..card(owner.clone()) };
        let beaten = heart.beat(&Beat { card, reached: 0, lease_ms: LONG }).await.unwrap();
        (beaten.coordinator, beaten.term)
    };
    let (avoids, usual, one, two) = (owner("avoids", 1), owner("usual", 1), owner("one", 1), owner("two", 1));
    assert_eq!(preferred(&avoids, -1).await, (true, 1), "somebody has to");
    assert_eq!(preferred(&usual, 0).await, (true, 2));
    assert_eq!(preferred(&one, 5).await, (true, 3), "a more preferred one takes over");
    assert_eq!(preferred(&two, 5).await, (false, 3), "a like one does not");
    assert_eq!(preferred(&one, 5).await, (true, 3));
    assert_eq!(view(bench).await.coordinator, Some(one.clone()));
    leave(bench, &one).await;
    assert_eq!(preferred(&two, 5).await, (true, 4));
    assert_eq!(preferred(&one, 5).await, (false, 4), "who was away queues last among its like");
    // A new start may say other things.
    assert_eq!(preferred(&owner("two", 2), 0).await, (false, 5));
    assert_eq!(preferred(&one, 5).await, (true, 5));
    leave(bench, &one).await;
    assert_eq!(preferred(&usual, 0).await, (true, 6));
    leave(bench, &usual).await;
    assert_eq!(preferred(&owner("two", 2), 0).await, (true, 7));
    leave(bench, &owner("two", 2)).await;
    assert_eq!(preferred(&avoids, -1).await, (true, 8));
}

pub async fn a_leave_hands_over_at_once(bench: &Bench) {
    let (one, two) = (owner("one", 1), owner("two", 1));
    beat(bench, &one).await;
    beat(bench, &two).await;
    leave(bench, &one).await;
    let view = view(bench).await;
    assert_eq!((view.number, view.term, view.coordinator), (3, 2, Some(two.clone())));
    leave(bench, &one).await;
    let beaten = beat(bench, &two).await;
    assert_eq!((beaten.view, beaten.coordinator), (3, true), "leaving twice is leaving once");
}

pub async fn v06_v13_a_dead_member_is_dropped_by_the_next_beat(bench: &Bench) {
    let (dead, alive) = (owner("dead", 1), owner("alive", 1));
    beat_for(bench, &dead, 1_500).await;
    assert!(!beat(bench, &alive).await.coordinator);
    bench.sleep(1_550).await;
    let beaten = beat(bench, &alive).await;
    assert_eq!((beaten.coordinator, beaten.term), (true, 2));
    let view = view(bench).await;
    assert_eq!((members(&view), view.number), (vec![alive], beaten.view));
    assert_eq!(beaten.view, 3);
}

/// There is one store and one order of writes: whatever a member wrote before it died, in whatever order it did, is there
/// for whoever has seen that it is dead. Nothing is on the way any more but what it is refused.
pub async fn v15_what_a_dead_member_wrote_is_there_when_the_view_without_it_is(bench: &Bench) {
    let (dead, alive) = (owner("dead", 1), owner("alive", 1));
    beat_for(bench, &dead, SHORT).await;
    beat(bench, &alive).await;
    // What it sent and did not publish, what it ended, and what it was at.
    let sent = bench.queued().await;
    let done = bench.queued().await;
    let fence = bench.run_for(&dead, done, SHORT).await;
    let whole = Finish { result: Some("1".into()), ..finish(done, fence, succeeded()) };
    bench.a.store.finish(vec![whole]).await.unwrap();
    let held = bench.queued().await;
    let fence = bench.run_for(&dead, held, SHORT).await;
    let report = |text: &str| Report { log: vec![("info".into(), text.into())], ..Report::default() };
    assert_eq!(bench.a.store.report(vec![(held, fence, report("half way"))]).await.unwrap(), [true]);
    let drained = Row::default().drain(true, "dead");
    bench.a.store.set_row(&dead.instance, 0, &drained).await.unwrap();
    let gone = async || {
        beat(bench, &alive).await;
        members(&view(bench).await) == [alive.clone()]
    };
    bench.eventually("the view without it", gone).await;
    let load = async |id| bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert!(bench.record(sent).await.outbox.is_some(), "somebody else publishes it");
    let ended = load(done).await;
    assert_eq!((ended.record.state, ended.result.as_deref()), (State::Succeeded, Some("1")));
    assert_eq!(load(held).await.log[0].text, "half way");
    assert_eq!(bench.b.store.row(&dead.instance).await.unwrap().map(|kept| kept.row), Some(drained));
    // What it held is taken over; what it still sends then comes too late.
    let taken = async || bench.rescue(10).await.runnable.iter().any(|moved| moved.id == held);
    bench.eventually("its job is taken back", taken).await;
    let late = bench.a.store.report(vec![(held, fence, report("too late"))]).await.unwrap();
    assert_eq!(
        (late, bench.finish(held, fence, succeeded()).await),
        (vec![false], Answer::Stale { state: State::Queued })
    );
    assert_eq!(load(held).await.record.state, State::Queued);
}

/// A view never has a member of which anything is missing, and its start is known as soon as it is in: one script writes
/// everything. It is in step only when the newcomer, too, has reached the view that it is in.
pub async fn v17_dm_17_a_newcomer_is_in_a_view_whole_or_not_at_all(bench: &Bench) {
    let (one, new) = (owner("one", 1), owner("new", 1));
    let mut hearts = (bench.a.store.heart().await.unwrap(), bench.b.store.heart().await.unwrap());
    let say = |owner: &Owner, reached| Beat { card: card(owner.clone()), reached, lease_ms: LONG };
    hearts.0.beat(&say(&one, 0)).await.unwrap();
    hearts.0.beat(&say(&one, 1)).await.unwrap();
    assert_eq!(members(&view(bench).await), std::slice::from_ref(&one));
    // It is known elsewhere before it has ever beaten, and in no view.
    bench.b.store.set_row(&new.instance, 0, &Row::default().drain(true, "ann")).await.unwrap();
    assert_eq!(members(&view(bench).await), std::slice::from_ref(&one));
    let joined = hearts.1.beat(&say(&new, 0)).await.unwrap();
    let seen = view(bench).await;
    assert_eq!((seen.number, members(&seen)), (joined.view, vec![one.clone(), new.clone()]));
    assert_eq!(seen.instances[1], Card { started: joined.now, ..card(new.clone()) });
    assert!(!joined.synced && !hearts.0.beat(&say(&one, joined.view)).await.unwrap().synced, "it has not seen it yet");
    assert!(hearts.1.beat(&say(&new, joined.view)).await.unwrap().synced);
}

/// DM-21: so many with each beat, and never one that lives.
pub async fn v18_dm_21_an_instance_that_was_away_for_long_is_forgotten_with_its_row(bench: &Bench) {
    let drained = Row::default().drain(true, "ann");
    let ids: Vec<_> = (0..INSTANCES_FORGOTTEN + 5).map(|n| owner(&format!("gone{n}"), 1).instance).collect();
    let live = owner("live", 1);
    for id in ids.iter().chain([&live.instance]) {
        bench.a.store.set_row(id, 0, &drained).await.unwrap();
    }
    let rows = async || bench.b.store.matrix().await.unwrap();
    // A minute is more than the case takes.
    for id in ids.iter().chain([&live.instance]) {
        bench.hooks.set_back(id, INSTANCE_KEPT_MS - 60_000).await;
    }
    beat(bench, &live).await;
    assert_eq!(rows().await.len(), ids.len() + 1, "not yet");
    for id in &ids {
        bench.hooks.set_back(id, 60_000).await;
    }
    beat(bench, &live).await;
    assert_eq!(rows().await.len(), 6, "so many with each beat");
    beat(bench, &live).await;
    assert_eq!(rows().await.keys().collect::<Vec<_>>(), [&live.instance]);
}

/// All leases of two members end while nobody beats.
async fn silence(bench: &Bench) -> (Owner, Owner) {
    let (one, two) = (owner("one", 1), owner("two", 1));
    beat_for(bench, &one, SHORT).await;
    beat_for(bench, &two, SHORT).await;
    bench.sleep(SHORT + 50).await;
    (one, two)
}

pub async fn after_a_silence_nobody_is_dropped_until_all_could_beat(bench: &Bench) {
    let (one, two) = silence(bench).await;
    let back = beat_for(bench, &two, SHORT).await;
    assert_eq!((back.view, back.coordinator), (2, false), "it was the store, or the network, that was away");
    assert_eq!(members(&view(bench).await), [one, two.clone()]);
    let last = async || beat_for(bench, &two, SHORT).await.coordinator;
    bench.eventually("the dead one is dropped in the end", last).await;
    assert_eq!(members(&view(bench).await), [two]);
}

pub async fn a_newcomer_after_a_silence_drops_the_dead(bench: &Bench) {
    silence(bench).await;
    let new = owner("three", 1);
    assert!(beat_for(bench, &new, SHORT).await.coordinator);
    assert_eq!(members(&view(bench).await), [new]);
}

pub async fn v12_a_newer_incarnation_takes_the_place_of_the_older(bench: &Bench) {
    let (old, other, new) = (owner("one", 1), owner("two", 1), owner("one", 2));
    beat(bench, &old).await;
    beat(bench, &other).await;
    let beaten = beat(bench, &new).await;
    assert!(!beaten.superseded && !beaten.coordinator, "who starts anew queues last");
    assert_eq!(members(&view(bench).await), [other.clone(), new.clone()]);
    assert!(beat(bench, &old).await.superseded);
    let view = view(bench).await;
    assert_eq!((members(&view), view.coordinator), (vec![other.clone(), new], Some(other)));
}

pub async fn an_older_incarnation_cannot_leave_for_the_newer(bench: &Bench) {
    let (old, new) = (owner("one", 1), owner("one", 2));
    beat(bench, &old).await;
    beat(bench, &new).await;
    leave(bench, &old).await;
    assert_eq!(members(&view(bench).await), [new]);
}

pub async fn v05_a_card_is_shown_as_it_was_said_last(bench: &Bench) {
    let one = owner("one", 1);
    let first = beat(bench, &one).await;
    let said = Card { draining: true, running: 0, properties: Default::default(), ..card(one) };
    let mut heart = bench.a.store.heart().await.unwrap();
    let beaten = heart.beat(&Beat { card: said.clone(), reached: 0, lease_ms: LONG }).await.unwrap();
    assert_eq!(beaten.view, first.view, "what it says of itself is not the set");
    assert_ne!(beaten.profiles, first.profiles);
    let busy = Card { running: 3, ..said.clone() };
    let busy = heart.beat(&Beat { card: busy, reached: 0, lease_ms: LONG }).await.unwrap();
    assert_eq!(busy.profiles, beaten.profiles, "load is not what it is");
    heart.beat(&Beat { card: said.clone(), reached: 0, lease_ms: LONG }).await.unwrap();
    assert_eq!(view(bench).await.instances, [Card { started: first.now, ..said }]);
}

/// What instances have to be able to open goes from hand to hand: nobody overwrites what they have not read.
pub async fn v23_a_seal_is_exchanged_by_who_read_it(bench: &Bench) {
    let (a, b) = (&bench.a.store, &bench.b.store);
    assert_eq!(a.seal(None).await.unwrap(), "");
    assert_eq!(a.seal(Some(("other", "one"))).await.unwrap(), "", "what was there is not what it thought");
    let mut nudges = b.nudges();
    assert_eq!(a.seal(Some(("", "one"))).await.unwrap(), "one");
    super::nudge::until(bench, &mut nudges, crate::store::Nudge::Seal).await;
    assert_eq!(a.seal(Some(("", "one"))).await.unwrap(), "one", "repeating it is fine");
    assert_eq!(b.seal(Some(("", "two"))).await.unwrap(), "one", "somebody was first");
    assert_eq!(b.seal(Some(("one", "two"))).await.unwrap(), "two");
    assert_eq!(a.seal(None).await.unwrap(), "two");
    beat(bench, &owner("one", 1)).await;
    assert_eq!(b.seal(Some(("two", ""))).await.unwrap(), "", "no seal at all");
    assert_eq!(a.seal(None).await.unwrap(), "");
}

/// What was signed is what is read, but for the time of the start, which is not signed.
pub async fn v23_a_signed_card_is_shown_as_it_was_signed(bench: &Bench) {
    let keys = Keyring::read(&Secret::new("k=0123456789abcdef0123456789abcdef"), true).unwrap().unwrap();
    let namespace = Namespace::default();
    let mut heart = bench.a.store.heart().await.unwrap();
    let now = bench.a.store.ping().await.unwrap();
    let mut say = async |instance: &str, outside| {
        let card = Card { outside, skew_ms: Some(-3), ..card(owner(instance, 1)) };
        let signature = keys.sign(&namespace, &card, now);
        let beat = Beat { card: Card { signature, ..card }, reached: 0, lease_ms: LONG };
        heart.beat(&beat).await.unwrap()
    };
    say("one", false).await;
    let profiles = say("two", true).await.profiles;
    assert_eq!(say("two", true).await.profiles, profiles, "another signature is not another profile");
    let view = view(bench).await;
    assert_eq!(view.instances.len(), 2);
    for card in &view.instances {
        assert_eq!(keys.verify(&namespace, card, now), Ok(()), "{card:?}");
        assert_ne!(card.started, 0);
    }
}

pub async fn v16_members_are_in_step_when_all_have_reached_the_view(bench: &Bench) {
    let (one, two) = (owner("one", 1), owner("two", 1));
    let reach = async |owner: &Owner, reached| {
        let mut heart = bench.a.store.heart().await.unwrap();
        heart.beat(&Beat { card: card(owner.clone()), reached, lease_ms: LONG }).await.unwrap()
    };
    assert!(!beat(bench, &one).await.synced, "it has reached none yet");
    assert!(reach(&one, 1).await.synced);
    assert!(!beat(bench, &two).await.synced, "a new view, which nobody has reached");
    assert!(!reach(&one, 1).await.synced, "the view before does not count");
    assert!(!reach(&one, 2).await.synced);
    let mut nudges = bench.b.store.nudges();
    assert!(reach(&two, 2).await.synced);
    super::nudge::until(bench, &mut nudges, crate::store::Nudge::View).await;
    assert!(beat(bench, &one).await.synced, "who has reached it need not say so again");
    leave(bench, &two).await;
    assert!(!reach(&one, 2).await.synced);
    assert!(reach(&one, 3).await.synced);
}

pub async fn a_new_topic_changes_the_version_of_topics(bench: &Bench) {
    let one = owner("one", 1);
    let first = beat(bench, &one).await.topics;
    assert_eq!(beat(bench, &one).await.topics, first);
    bench.b.store.know(vec![normal("brand/new")]).await.unwrap();
    let second = beat(bench, &one).await.topics;
    assert_ne!(second, first);
    bench.b.store.know(vec![normal("brand/new")]).await.unwrap();
    assert_eq!(beat(bench, &one).await.topics, second);
}
