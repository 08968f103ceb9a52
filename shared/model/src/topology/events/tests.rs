//! The cases DV and CH, as tables: what happens, and what each listener has heard then.

use super::*;
use crate::id::{Incarnation, InstanceId};

const STABLE: u64 = 3_000;
const SYNCED: u64 = 10_000;

fn owner(name: &str) -> Owner {
    Owner { instance: InstanceId(name.to_owned()), incarnation: Incarnation("1".into()) }
}

/// A view of instances that are all of one cluster; `name=value` gives an instance a property.
fn view(number: u64, members: &[&str]) -> View {
    let card = |text: &&str| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let mut card = Card { name: name.to_owned(), cluster: "c".into(), ..Card::bare(owner(name)) };
        if !value.is_empty() {
            card.properties.insert("p".into(), value.into());
        }
        card
    };
    let instances: Vec<Card> = members.iter().map(card).collect();
    let coordinator = instances.first().map(|card| card.owner.clone());
    View { number, term: 1, coordinator, instances }
}

/// A process with listeners, and a clock.
struct Bench {
    /// Whether the process can prove that it is alive.
    alive: Arc<AtomicBool>,
    announcer: Announcer,
    listeners: Vec<Hearing>,
    now: u64,
}

impl Bench {
    fn new(stable_ms: u64) -> Self {
        let patience = Patience { stable_ms, synced_ms: SYNCED };
        let alive = Arc::new(AtomicBool::new(true));
        let proof = Proof::new({
            let alive = Arc::clone(&alive);
            move || alive.load(Ordering::SeqCst)
        });
        Self { alive, announcer: Announcer::new(patience, owner("a"), proof), listeners: Vec::new(), now: 0 }
    }

    /// A view that all members have reached.
    fn read(&mut self, view: View) {
        self.announcer.read(view, true, self.now);
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.announcer.tick(self.now);
    }

    fn listen(&mut self) -> usize {
        self.add(Hearing::default())
    }

    fn add(&mut self, listener: Hearing) -> usize {
        self.listeners.push(listener);
        self.listeners.len() - 1
    }

    /// What a listener hears now: `init 1`, `changing 1`, `changed 1 2`, `properties 1 1`.
    fn hears(&mut self, listener: usize) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(event) = self.listeners[listener].next(self.announcer.announced(), self.now) {
            all.push(said(&event));
        }
        all
    }
}

fn said(event: &TopologyEvent) -> String {
    match event {
        TopologyEvent::Init(view) => format!("init {}", view.number),
        TopologyEvent::Changing(old) => format!("changing {}", old.number),
        TopologyEvent::Changed { old, new } => format!("changed {} {}", old.number, new.number),
        TopologyEvent::PropertiesChanged { old, new } => format!("properties {} {}", old.number, new.number),
    }
}

fn current(bench: &Bench) -> bool {
    bench.announcer.announced().view.as_ref().is_some_and(|view| view.is_current())
}

#[test]
fn v03_dv_01_dv_02_before_the_first_view_there_is_nothing_to_hear() {
    let mut bench = Bench::new(STABLE);
    let early = bench.listen();
    bench.announcer.changing();
    assert_eq!(bench.hears(early), [""; 0]);
    bench.read(view(1, &["a"]));
    assert_eq!(bench.hears(early), ["init 1"], "at once: nothing was announced that could flap");
    assert_eq!(bench.hears(early), [""; 0]);
}

#[test]
fn v03_dv_03_dv_11_only_the_newest_view_is_announced() {
    let mut bench = Bench::new(0);
    let listener = bench.listen();
    bench.announcer.read(view(1, &["a"]), false, 0);
    bench.announcer.changing();
    bench.announcer.read(view(2, &["a", "b"]), false, 5);
    assert_eq!(bench.hears(listener), [""; 0], "not all have reached it");
    bench.announcer.synced(1, 6);
    assert_eq!(bench.hears(listener), [""; 0], "nobody waits for the one before");
    bench.announcer.synced(2, 7);
    assert_eq!(bench.hears(listener), ["init 2"]);
}

#[test]
fn v03_dv_04_dv_05_dv_06_equal_views_new_members_and_new_properties() {
    let mut bench = Bench::new(0);
    let listener = bench.listen();
    bench.read(view(1, &["a"]));
    assert_eq!(bench.hears(listener), ["init 1"]);
    let mut shown = bench.announcer.announced().clone();
    let first = shown.view.clone().unwrap();
    bench.read(view(1, &["a"]));
    assert_eq!(bench.hears(listener), [""; 0]);
    assert!(!shown.follow(bench.announcer.announced()) && first.is_current());
    bench.read(view(1, &["a=1"]));
    assert_eq!(bench.hears(listener), ["properties 1 1"]);
    assert!(shown.follow(bench.announcer.announced()));
    assert!(!first.is_current() && current(&bench), "DV-19: the old view is not current");
    bench.read(view(2, &["a=1", "b"]));
    assert_eq!(bench.hears(listener), ["changing 1", "changed 1 2"]);
    bench.announcer.changing();
    bench.announcer.changing();
    assert_eq!(bench.hears(listener), ["changing 2"], "said once");
    bench.read(view(2, &["a=1", "b"]));
    assert_eq!(bench.hears(listener), ["changed 2 2"], "what was said to change has changed, though it is the same");
}

#[test]
fn v04_dv_07_dv_08_dv_09_late_listeners_begin_with_init_at_a_view_that_holds() {
    let mut bench = Bench::new(STABLE);
    let first = bench.listen();
    bench.read(view(1, &["a"]));
    let second = bench.listen();
    assert_eq!((bench.hears(first), bench.hears(second)), (vec!["init 1".to_owned()], vec!["init 1".to_owned()]));
    bench.announcer.changing();
    let third = bench.listen();
    assert_eq!((bench.hears(third), bench.hears(first)), (vec![], vec!["changing 1".to_owned()]));
    bench.read(view(2, &["a", "b"]));
    bench.pass(STABLE);
    assert_eq!((bench.hears(third), bench.hears(first)), (vec!["init 2".to_owned()], vec!["changed 1 2".to_owned()]));
    // DV-10: one that listens twice hears twice; one that stops hears nothing more, the others do.
    bench.listeners.remove(third);
    bench.read(view(2, &["a", "b=1"]));
    assert_eq!(bench.hears(first), ["properties 2 2"]);
}

#[test]
fn v04_dv_20_a_slow_listener_misses_views_and_not_the_order() {
    let mut bench = Bench::new(0);
    let (prompt, slow) = (bench.listen(), bench.listen());
    bench.read(view(1, &["a"]));
    assert_eq!((bench.hears(prompt).len(), bench.hears(slow).len()), (1, 1));
    for number in 2..=5 {
        bench.read(view(number, &["a", "b"]));
        assert_eq!(bench.hears(prompt).len(), 2);
    }
    bench.read(view(5, &["a", "b=1"]));
    assert_eq!(bench.hears(slow), ["changing 1", "changed 1 5"]);
    bench.read(view(5, &["a", "b=2"]));
    bench.read(view(5, &["a", "b=3"]));
    assert_eq!(bench.hears(slow), ["properties 5 5"]);
    // In the middle of a change.
    bench.read(view(6, &["a"]));
    bench.announcer.changing();
    assert_eq!(bench.hears(slow), ["changing 5"]);
    bench.read(view(7, &["a"]));
    assert_eq!(bench.hears(slow), ["changed 5 7"]);
}

#[test]
fn v02_dv_14_dm_22_how_views_differ() {
    let before = view(1, &["a", "b"]);
    let leader = View { coordinator: Some(owner("b")), ..view(1, &["a", "b"]) };
    let mut load = view(1, &["a", "b"]);
    load.instances[0].running = 7;
    for (what, after, expected) in [
        ("same", view(1, &["a", "b"]), Difference::None),
        ("load", load, Difference::None),
        ("member", view(1, &["a", "b", "c"]), Difference::Members),
        ("order", view(1, &["b", "a"]), Difference::Members),
        ("property", view(1, &["a", "b=1"]), Difference::Properties),
        ("leader", leader, Difference::Members),
        ("number alone", view(2, &["a", "b"]), Difference::Members),
        ("property and number", view(2, &["a", "b=1"]), Difference::Members),
    ] {
        assert_eq!(before.differs(&after), expected, "{what}");
    }
}

#[test]
fn v02_dv_15_instances_are_found_by_what_they_are() {
    let view = TopologyView::new(view(1, &["a", "b", "c", "d"]), owner("b"), Proof::new(|| true));
    let ids = |fits: fn(&Card) -> bool| view.find(fits).map(|card| card.name.as_str()).collect::<Vec<_>>();
    assert_eq!(ids(|_| true), ["a", "b", "c", "d"]);
    assert_eq!(ids(|card| card.name == "c"), ["c"]);
    assert_eq!(view.find(|card| view.leader("c").unwrap().owner == card.owner).count(), 1);
    assert_eq!(view.local().unwrap().name, "b");
    assert!(!view.is_leader() && !view.is_coordinator());
}

#[test]
fn v14_dv_16_dv_23_dv_24_changing_at_once_and_changed_when_it_is_stable() {
    let mut bench = Bench::new(STABLE);
    let listener = bench.listen();
    bench.read(view(1, &["a"]));
    let first = bench.announcer.announced().view.clone().unwrap();
    assert_eq!(bench.hears(listener), ["init 1"]);
    bench.read(view(2, &["a", "b"]));
    assert_eq!(bench.hears(listener), ["changing 1"]);
    assert!(!first.is_current());
    bench.pass(STABLE - 1);
    assert_eq!(bench.hears(listener), [""; 0]);
    // It changes once more: the time begins anew, and only the last one is told.
    bench.read(view(3, &["a", "b", "c"]));
    bench.pass(STABLE - 1);
    assert_eq!(bench.hears(listener), [""; 0]);
    // Its properties change: it is as stable as before.
    bench.read(view(3, &["a", "b", "c=1"]));
    bench.pass(1);
    assert_eq!(bench.hears(listener), ["changed 1 3"]);
    assert_eq!(bench.announcer.due(), None, "no timer is left");
    bench.read(view(3, &["a", "b", "c=2"]));
    assert_eq!(bench.hears(listener), ["properties 3 3"], "properties do not wait");
}

#[test]
fn v16_v17_changed_waits_for_all_members_but_not_for_ever() {
    let mut bench = Bench::new(STABLE);
    let listener = bench.listen();
    bench.read(view(1, &["a"]));
    assert_eq!(bench.hears(listener), ["init 1"]);
    bench.announcer.read(view(2, &["a", "b"]), false, bench.now);
    assert_eq!(bench.hears(listener), ["changing 1"]);
    bench.pass(STABLE);
    assert_eq!(bench.hears(listener), [""; 0], "not all have reached it");
    bench.announcer.synced(2, bench.now);
    assert_eq!(bench.hears(listener), ["changed 1 2"]);
    // One that never reaches it.
    bench.announcer.read(view(3, &["a", "b", "c"]), false, bench.now);
    bench.pass(SYNCED - 1);
    assert_eq!(bench.hears(listener), ["changing 2"]);
    bench.pass(1);
    assert_eq!(bench.hears(listener), ["changed 2 3"]);
}

#[test]
fn v10_who_is_cut_off_is_nobody_until_it_is_back() {
    let mut bench = Bench::new(STABLE);
    let listener = bench.listen();
    bench.read(view(1, &["a"]));
    let view_1 = bench.announcer.announced().view.clone().unwrap();
    assert!(view_1.is_leader() && view_1.is_coordinator());
    assert_eq!(bench.hears(listener), ["init 1"]);
    bench.announcer.changing();
    assert!(!view_1.is_leader() && !view_1.is_coordinator() && !current(&bench));
    bench.pass(3_600_000);
    assert_eq!(bench.hears(listener), ["changing 1"], "and nothing else");
    bench.read(view(9, &["b", "a"]));
    bench.pass(STABLE);
    assert_eq!(bench.hears(listener), ["changed 1 9"]);
    let view_9 = bench.announcer.announced().view.clone().unwrap();
    assert!(!view_9.is_leader() && view_9.is_current());
}

#[test]
fn v11_a_view_lapses_when_nothing_proves_any_more_that_its_process_lives() {
    let mut bench = Bench::new(STABLE);
    let listener = bench.listen();
    bench.read(view(1, &["a"]));
    let view_1 = bench.announcer.announced().view.clone().unwrap();
    assert!(view_1.is_leader() && !bench.announcer.has_lapsed());
    assert_eq!(bench.hears(listener), ["init 1"]);
    bench.alive.store(false, Ordering::SeqCst);
    assert!(!view_1.is_current() && !view_1.is_leader(), "though nobody said a word");
    bench.alive.store(true, Ordering::SeqCst);
    assert!(!view_1.is_current(), "what was not current never is again");
    assert!(bench.announcer.has_lapsed());
    bench.announcer.changing();
    assert!(!bench.announcer.has_lapsed(), "it is told");
    bench.read(view(1, &["a"]));
    bench.pass(STABLE);
    assert_eq!(bench.hears(listener), ["changing 1", "changed 1 1"]);
    assert!(current(&bench) && !bench.announcer.has_lapsed());
}

#[test]
fn ch_03_ch_04_ch_05_ch_06_ch_07_a_start_delay_holds_events_back_and_tells_the_newest_as_init() {
    assert!(Hearing::after(0, 5).unwrap_err().to_string().contains("leave the delay out"), "CH-07");
    let mut bench = Bench::new(0);
    let listener = bench.add(Hearing::after(1_000, 0).unwrap());
    assert_eq!(bench.listeners[listener].silence(300), 700);
    // CH-03, CH-05: whatever happens meanwhile, the newest view is the first that is told.
    for number in 1..5 {
        bench.read(view(number, &["a"]));
        bench.pass(200);
        assert_eq!(bench.hears(listener), [""; 0]);
    }
    // CH-04: a change is under way when the delay ends.
    bench.announcer.changing();
    bench.pass(200);
    assert_eq!(bench.hears(listener), [""; 0]);
    bench.read(view(6, &["a"]));
    assert_eq!(bench.hears(listener), ["init 6"]);
    for number in 7..12 {
        bench.read(view(number, &["a"]));
        assert_eq!(bench.hears(listener).len(), 2, "from then on as it comes");
    }
}

/// Any sequence of happenings, looked at now and then by several listeners, gives each the grammar and the newest view.
#[test]
fn v03_whatever_happens_every_listener_hears_the_grammar() {
    let mut state = 7_u64;
    let mut random = move |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for _ in 0..300 {
        let mut bench = Bench::new(random(2) * STABLE);
        let listeners = [bench.listen(), bench.listen(), bench.listen()];
        let mut heard: [Vec<String>; 3] = Default::default();
        let mut number = 1;
        for _ in 0..40 {
            match random(6) {
                0 => bench.announcer.changing(),
                1 => {
                    number += 1;
                    bench.announcer.read(view(number, &["a", "b"]), random(2) == 0, bench.now);
                }
                2 => {
                    let member = format!("b={}", random(3) + 1);
                    bench.announcer.read(view(number, &["a", &member]), random(2) == 0, bench.now);
                }
                3 => bench.announcer.synced(number, bench.now),
                4 => bench.pass(random(4_000)),
                _ => {
                    let one = usize::try_from(random(3)).unwrap();
                    heard[one].extend(bench.hears(listeners[one]));
                }
            }
        }
        bench.read(view(number + 1, &["a"]));
        bench.pass(SYNCED);
        for (listener, heard) in listeners.into_iter().zip(&mut heard) {
            heard.extend(bench.hears(listener));
            let words: Vec<&str> = heard.iter().map(|event| event.split(' ').next().unwrap()).collect();
            assert_eq!(words[0], "init");
            for two in words[1..].chunks(1).zip(words[1..].iter().skip(1)) {
                assert_eq!(two.0[0] == "changing", *two.1 == "changed", "{words:?}");
            }
            assert!(matches!(words[words.len() - 1], "init" | "changed"), "{words:?}");
            assert!(heard.last().unwrap().ends_with(&(number + 1).to_string()), "{heard:?}");
            assert_eq!(words.iter().filter(|word| **word == "init").count(), 1);
        }
    }
}
