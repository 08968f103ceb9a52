//! Who is accepted, what is signed, and how keys and seals change.

use super::*;
use crate::id::{Incarnation, InstanceId};
use crate::topic::{Topic, TopicPattern};
use crate::topology::Capability;
use crate::topology::matrix::Rule;

const NOW: u64 = 1_763_720_000_000;
const OLD: &str = "old=0123456789abcdef0123456789abcdef";
const NEW: &str = "new=abcdefghijklmnopabcdefghijklmnop";
const WRONG: &str = "old=fedcba9876543210fedcba9876543210";

fn keys(text: &str) -> Keyring {
    Keyring::read(&Secret::new(text), true).unwrap().unwrap()
}

fn lax(text: &str) -> Keyring {
    Keyring::read(&Secret::new(text), false).unwrap().unwrap()
}

fn ns() -> Namespace {
    Namespace::default()
}

fn card(id: &str) -> Card {
    let pattern = |text: &str| TopicPattern::new(text).unwrap();
    let owner = Owner { instance: InstanceId(id.to_owned()), incarnation: Incarnation(format!("{id}-1")) };
    Card {
        name: "höst".to_owned(),
        cluster: "c".to_owned(),
        version: "1.2.3".to_owned(),
        capabilities: vec![Capability { pattern: pattern("a/**"), version: 2 }],
        allowed: Allowed { allow: Some(vec![pattern("a/*")]), deny: vec![pattern("a/b")] },
        row: Row::default().set(&pattern("a/c"), Rule::Disabled, "ann").unwrap(),
        slots: 4,
        running: 1,
        held: [(Topic::new("a/d").unwrap(), 3)].into(),
        lag_ms: 5,
        skew_ms: Some(-7),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        endpoints: vec!["http://h:1".to_owned()],
        properties: [("p".to_owned(), "v".to_owned())].into(),
        ..Card::bare(owner)
    }
}

fn signed(with: &Keyring, id: &str, at: u64) -> Card {
    let card = card(id);
    Card { signature: with.sign(&ns(), &card, at), ..card }
}

fn view(instances: Vec<Card>) -> View {
    View { coordinator: instances.first().map(|card| card.owner.clone()), instances, ..View::default() }
}

/// CN-07: equal keys, others, a clock that is off by one period and by two, in both directions.
#[test]
fn v23_cn_07_who_is_accepted_and_who_is_not() {
    let ours = keys(OLD);
    let verdict = |card: &Card| ours.verify(&ns(), card, NOW);
    assert_eq!(verdict(&signed(&ours, "i", NOW)), Ok(()));
    assert_eq!(verdict(&card("i")), Err(Distrust::Unsigned));
    assert_eq!(verdict(&signed(&keys(WRONG), "i", NOW)), Err(Distrust::WrongMac));
    assert_eq!(verdict(&signed(&keys(NEW), "i", NOW)), Err(Distrust::UnknownKey("new".into())));
    // A period has its bounds; NOW is somewhere within its own.
    let begin = NOW - NOW % PERIOD_MS;
    for (at, accepted) in [
        (begin - PERIOD_MS, true),
        (begin - PERIOD_MS - 1, false),
        (begin + 2 * PERIOD_MS - 1, true),
        (begin + 2 * PERIOD_MS, false),
        (0, false),
    ] {
        let expected = if accepted { Ok(()) } else { Err(Distrust::WrongTime) };
        assert_eq!(verdict(&signed(&ours, "i", at)), expected, "signed {} ms from now", at.abs_diff(NOW));
    }
}

/// CN-07: whatever is changed after it was signed.
#[test]
fn v23_cn_07_nothing_of_a_card_can_be_changed_nor_shown_by_another() {
    let ours = keys(OLD);
    let good = signed(&ours, "i", NOW);
    let signature = good.signature.clone().unwrap();
    let with = |change: &dyn Fn(&mut Signature)| {
        let mut signature = signature.clone();
        change(&mut signature);
        Card { signature: Some(signature), ..good.clone() }
    };
    let flipped = |text: &str| text.replace('0', "1");
    let tampered = [
        Card { owner: card("j").owner, ..good.clone() },
        Card { owner: Owner { incarnation: Incarnation("i-2".into()), ..good.owner.clone() }, ..good.clone() },
        Card { name: "other".into(), ..good.clone() },
        Card { cluster: "d".into(), ..good.clone() },
        Card { leader_preference: 1, ..good.clone() },
        Card { version: "1.2.4".into(), ..good.clone() },
        Card { capabilities: Vec::new(), ..good.clone() },
        Card { allowed: Allowed { allow: None, ..good.allowed.clone() }, ..good.clone() },
        Card { allowed: Allowed { allow: Some(Vec::new()), ..good.allowed.clone() }, ..good.clone() },
        Card { allowed: Allowed { deny: Vec::new(), ..good.allowed.clone() }, ..good.clone() },
        Card { row: Row::default(), ..good.clone() },
        Card { row: good.row.drain(true, "ann"), ..good.clone() },
        Card { slots: 5, ..good.clone() },
        Card { running: 2, ..good.clone() },
        Card { held: [].into(), ..good.clone() },
        Card { draining: true, ..good.clone() },
        Card { outside: true, ..good.clone() },
        Card { lag_ms: 6, ..good.clone() },
        Card { skew_ms: None, ..good.clone() },
        Card { labels: [("zon".to_owned(), "ea".to_owned())].into(), ..good.clone() },
        Card { endpoints: Vec::new(), ..good.clone() },
        Card { properties: [].into(), ..good.clone() },
        with(&|signature| signature.period += 1),
        with(&|signature| signature.required = false),
        with(&|signature| signature.accepts.clear()),
        with(&|signature| signature.mac = flipped(&signature.mac)),
        with(&|signature| signature.mac.clear()),
        with(&|signature| signature.mac = signature.mac.to_uppercase()),
        with(&|signature| signature.mac.push('0')),
        with(&|signature| signature.mac = "é".repeat(32)),
    ];
    for card in &tampered {
        assert_eq!(ours.verify(&ns(), card, NOW), Err(Distrust::WrongMac), "{card:?}");
    }
    assert_eq!(ours.verify(&Namespace::new("other").unwrap(), &good, NOW), Err(Distrust::WrongMac));
    // When it started is for the store to say.
    assert_eq!(ours.verify(&ns(), &Card { started: 7, ..good.clone() }, NOW), Ok(()));
    let (text, plain) = (serde_json::to_string(&good).unwrap(), Card { row: Row::default().clear("ann"), ..good });
    assert_eq!(ours.verify(&ns(), &serde_json::from_str(&text).unwrap(), NOW), Ok(()), "as it comes from the store");
    let plain = Card { signature: ours.sign(&ns(), &plain, NOW), ..plain };
    let text = serde_json::to_string(&plain).unwrap();
    assert_eq!(ours.verify(&ns(), &serde_json::from_str(&text).unwrap(), NOW), Ok(()), "an open row is not written");
}

/// Computed by another program. Where this changes, a fleet that is upgraded one instance after the other falls apart:
/// the new form needs a name of its own (`longshore card 2`), and both have to be accepted for a while.
#[test]
fn v23_what_is_signed_stays_the_same_from_version_to_version() {
    let signature = signed(&keys(&format!("{OLD},{NEW}")), "i", NOW).signature.unwrap();
    assert_eq!(signature.period, 2_939_533);
    assert_eq!(signature.accepts, ["old", "new"]);
    assert_eq!(signature.mac, "4cb10202dd74b0f19e445d72d1a8d12debe67b5301da46710a7f706a0197adb1");
    assert_eq!(keys(OLD).seal(&ns()).unwrap(), "old:fa044386331d1d3c5b1aea397439900329ce9d2cfd59c10d2097ee3baec114eb");
}

#[test]
fn v23_keys_are_changed_one_process_at_a_time() {
    let (before, both) = (keys(OLD), keys(&format!("{OLD}, {NEW}")));
    let (turned, after) = (keys(&format!("{NEW}, {OLD}")), keys(NEW));
    // First all accept both, then all sign with the new one, then the old one goes.
    for (step, next) in [(&before, &both), (&both, &turned), (&turned, &after)] {
        for (signs, reads) in [(step, next), (next, step)] {
            assert_eq!(reads.verify(&ns(), &signed(signs, "i", NOW), NOW), Ok(()), "{signs:?} {reads:?}");
        }
    }
    assert!(after.verify(&ns(), &signed(&before, "i", NOW), NOW).is_err());

    // The seal follows when everybody signs with the new one, and not before.
    let seal = before.seal(&ns()).unwrap();
    let mixed = view(vec![signed(&both, "one", NOW), signed(&turned, "two", NOW)]);
    let me = mixed.instances[1].owner.clone();
    let again = |keys: &Keyring, seal: &str, view: &View| keys.reseal(&ns(), seal, view, &me, NOW);
    assert_eq!((again(&both, &seal, &mixed), again(&turned, &seal, &mixed)), (None, None));
    let new = view(vec![signed(&turned, "one", NOW), signed(&turned, "two", NOW)]);
    assert_eq!(again(&turned, &seal, &new), after.seal(&ns()));
    assert_eq!(again(&turned, &after.seal(&ns()).unwrap(), &new), None, "that is what it is sealed with");
    assert_eq!(again(&turned, &seal, &view(vec![signed(&turned, "one", NOW)])), None, "it is not among them itself");
    assert_eq!(again(&after, &seal, &new), None, "what it cannot open it does not change");
}

/// Signing with a key that others do not have yet is told, by name.
#[test]
fn v23_who_does_not_accept_whose_signature() {
    let (old, turned) = (keys(OLD), keys(&format!("{NEW},{OLD}")));
    let early = view(vec![signed(&old, "one", NOW), signed(&turned, "two", NOW), card("three")]);
    let named: Vec<_> =
        refusals(&early).iter().map(|(by, of)| (by.owner.instance.0.clone(), of.owner.instance.0.clone())).collect();
    assert_eq!(named, [("one".to_owned(), "two".to_owned())]);
}

#[test]
fn v22_who_is_not_trusted_is_not_there_and_coordinates_nothing() {
    let ours = keys(OLD);
    let (stranger, one, two) = (card("stranger"), signed(&ours, "one", NOW), signed(&ours, "two", NOW));
    let all = view(vec![stranger.clone(), one.clone(), two.clone(), one.clone()]);
    let (sifted, ignored) = ours.sift(&ns(), all.clone(), NOW);
    assert_eq!((&sifted.instances, sifted.coordinator), (&vec![one.clone(), two.clone()], Some(one.owner.clone())));
    let why = |ignored: &[Ignored]| ignored.iter().map(|ignored| ignored.why.clone()).collect::<Vec<_>>();
    assert_eq!(why(&ignored), [Distrust::Unsigned, Distrust::Copied]);
    let (lax, told) = lax(OLD).sift(&ns(), all.clone(), NOW);
    assert_eq!((lax.instances.len(), lax.coordinator), (3, all.coordinator), "not required: told, and not kept out");
    assert_eq!(why(&told), [Distrust::Unsigned, Distrust::Copied]);
    let kept = View { coordinator: Some(two.owner.clone()), ..view(vec![one, two.clone()]) };
    assert_eq!(ours.sift(&ns(), kept, NOW).0.coordinator, Some(two.owner), "a coordinator who is trusted stays");
    assert_eq!(ours.sift(&ns(), view(vec![stranger]), NOW).0.coordinator, None);
}

#[test]
fn v22_v23_an_instance_knows_by_the_seal_that_it_is_outside() {
    let (ours, lax) = (keys(OLD), lax(OLD));
    let seal = ours.seal(&ns()).unwrap();
    let of = |keys: Option<&Keyring>, seal: &str| membership(keys, &ns(), seal);
    for keys in [None, Some(&ours), Some(&lax)] {
        assert_eq!(of(keys, ""), Ok(()), "nothing is required yet");
    }
    assert_eq!((of(Some(&ours), &seal), of(Some(&lax), &seal)), (Ok(()), Ok(())));
    assert_eq!(of(None, &seal), Err(Outside::NoKeys("old".into())));
    assert_eq!(of(Some(&keys(WRONG)), &seal), Err(Outside::OtherKeys("old".into())));
    assert_eq!(of(Some(&keys(NEW)), &seal), Err(Outside::OtherKeys("old".into())));
    assert_eq!(
        membership(Some(&ours), &Namespace::new("other").unwrap(), &seal),
        Err(Outside::OtherKeys("old".into()))
    );
    // What cannot be read lets nobody in.
    for broken in ["old", "old:", "\u{1b}[31m:00", &"x".repeat(1_000)] {
        for keys in [None, Some(&ours)] {
            let why = of(keys, broken).unwrap_err().to_string();
            assert!(why.contains("trust.keys") && !why.contains('\u{1b}') && why.len() < 250, "{why}");
        }
    }
    // Whoever requires signatures seals; the seal goes when nobody requires them any more.
    let nobody = View::default();
    let me = card("one").owner;
    assert_eq!(ours.reseal(&ns(), "", &nobody, &me, NOW), Some(seal.clone()));
    assert_eq!(lax.reseal(&ns(), "", &nobody, &me, NOW), None);
    let some = view(vec![signed(&lax, "one", NOW), signed(&ours, "two", NOW)]);
    assert_eq!(lax.reseal(&ns(), &seal, &some, &me, NOW), None);
    let last = view(vec![signed(&lax, "one", NOW), card("stranger"), signed(&keys(WRONG), "wrong", NOW)]);
    assert_eq!(lax.reseal(&ns(), &seal, &last, &me, NOW), Some(String::new()));
    assert_eq!(keys(WRONG).reseal(&ns(), &seal, &last, &last.instances[2].owner, NOW), None);
}

#[test]
fn v23_keys_are_read_with_care_and_never_shown() {
    let key = "0123456789abcdef0123456789abcdef";
    let nine: Vec<String> = (0..=limits::TRUST_KEYS).map(|n| format!("k{n}={key}")).collect();
    for (text, why) in [
        (key, "name=key"),
        (&format!("a b={key}"), "name"),
        (&format!("{}={key}", "n".repeat(limits::TRUST_NAME_BYTES + 1)), "32"),
        (&format!("k={}", &key[1..]), "openssl rand"),
        (&format!("k={key},k={key}"), "twice"),
        (&nine.join(","), "9 keys are more than 8"),
    ] {
        let error = Keyring::read(&Secret::new(text), true).unwrap_err();
        assert!(error.contains(why) && !error.contains("123456789"), "{error}");
    }
    assert_eq!(keys(&nine[..limits::TRUST_KEYS].join(", ")).names().len(), limits::TRUST_KEYS);
    assert!(Keyring::read(&Secret::default(), true).unwrap().is_none());
    let ring = keys(&format!("k={key}"));
    for text in [format!("{ring:?}"), format!("{:?}", Secret::new(format!("k={key}")))] {
        assert!(!text.contains("123456789"), "{text}");
    }
    let signed = serde_json::to_string(&signed(&ring, "i", NOW)).unwrap();
    assert!(!signed.contains("0123456789abcdef"), "{signed}");
}
