//! What goes wrong, and when: drawn from the seed.

use super::rough::Trap;
use super::{Fleet, Losses, Member, Plan, rules, sites};
use longshore_link::world::Random;
use longshore_model::lane::Lane;
use longshore_model::topic::Topic;
use std::collections::BTreeMap;
use std::time::Duration;

/// Every kind that strikes in every run.
pub const KINDS: [&str; 18] = [
    "kill",
    "crash at a call",
    "drain",
    "stand still",
    "stand still at a call",
    "answer of a call lost",
    "store cut off for one",
    "broker cut off for one",
    "store away",
    "store restart",
    "store answers lost",
    "broker away",
    "broker blocked",
    "sessions closed",
    "confirms lost",
    "copies delivered twice",
    "clock of one jumps",
    "clock of the store jumps",
];

/// Every kind that strikes in runs with such losses.
#[must_use]
pub const fn kinds_of(losses: Losses) -> &'static [&'static str] {
    match losses {
        Losses::None => &[],
        Losses::Lanes => &["copies of a lane lost", "lane deleted", "broker wiped"],
        Losses::Store => &["store wiped"],
    }
}

/// What strikes in runs with files.
pub const OF_FILES: &str = "files away";
/// How often that is drawn, in relation to one of the others.
const AWAY: u64 = 3;

/// How often a kind of loss is drawn, in relation to one of the others.
const LOSS: u64 = 3;
/// How long nobody waits for a trap to hit: a process that makes no calls.
const TRAP: Duration = Duration::from_secs(30);
/// Steps of calls before a trap hits, at most.
const STEPS: u64 = 100;
/// How far clocks jump, at most, ms.
const JUMP: u64 = 3_600_000;
/// Copies that arrive twice, at most.
const COPIES: usize = 12;

/// Injects the plan's faults, one after the other, and heals everything at the end. Answers how many of each kind.
pub async fn torment(fleet: &Fleet, members: &mut [Member], plan: Plan) -> BTreeMap<&'static str, usize> {
    let (clock, random) = (&fleet.world.clock, &fleet.world.random);
    let losses = kinds_of(plan.losses);
    let (mut faults, mut off) = (BTreeMap::new(), 0);
    for _ in 0..plan.faults {
        clock.sleep(Duration::from_millis(random.below(8_000))).await;
        fleet.replace_dead(members).await;
        let of_losses = if losses.is_empty() { 0 } else { LOSS };
        let of_files = if plan.files { AWAY } else { 0 };
        let drawn = random.below(KINDS.len() as u64 + of_losses + of_files) as usize;
        let kind = match KINDS.get(drawn) {
            Some(kind) => kind,
            None if drawn as u64 >= KINDS.len() as u64 + of_losses => OF_FILES,
            None => losses[random.below(losses.len() as u64) as usize],
        };
        let victim = usize::try_from(random.below(members.len() as u64)).unwrap_or(0);
        let struck = if kind == "clock of the store jumps" {
            let drawn = jump(random);
            // After a wipe only the clock makes fences grow: it must not go back as well.
            off = if plan.losses == Losses::Store { off + drawn.abs() } else { drawn };
            clock.jump(off);
            true
        } else {
            strike(fleet, &mut members[victim], kind).await
        };
        if struck {
            *faults.entry(kind).or_default() += 1;
        }
    }
    faults
}

/// Brings about one fault. Answers whether it struck.
async fn strike(fleet: &Fleet, member: &mut Member, kind: &str) -> bool {
    let (clock, random, backend) = (&fleet.world.clock, &fleet.world.random, &fleet.backend);
    let span = Duration::from_millis(random.below(20_000));
    let few = u32::try_from(1 + random.below(6)).unwrap_or(1);
    match kind {
        "kill" => {
            member.die();
            clock.sleep(span / 4).await;
            *member = fleet.spawn(member.number).await;
        }
        "crash at a call" => {
            let struck = spring(fleet, member, Trap::Crash).await;
            member.die();
            clock.sleep(span / 4).await;
            *member = fleet.spawn(member.number).await;
            return struck;
        }
        "drain" => {
            if let Some(running) = member.running.take() {
                running.drain().await;
            }
            member.die();
            *member = fleet.spawn(member.number).await;
        }
        "stand still" => {
            member.freeze(true);
            clock.sleep(span).await;
            member.freeze(false);
        }
        "stand still at a call" => {
            // It counts as standing from now on: the trap hits between two looks.
            member.stands.begin();
            let struck = spring(fleet, member, Trap::Freeze).await;
            if struck {
                clock.sleep(span).await;
            }
            member.freeze(false);
            return struck;
        }
        "answer of a call lost" => return spring(fleet, member, Trap::LostAnswer).await,
        "store cut off for one" => {
            member.roughness.cut_store(true);
            clock.sleep(span).await;
            member.roughness.cut_store(false);
        }
        "broker cut off for one" => {
            member.roughness.cut_broker(true);
            clock.sleep(span).await;
            member.roughness.cut_broker(false);
        }
        "store away" => {
            backend.set_store_away(Some("the nemesis took it"));
            clock.sleep(span).await;
            backend.set_store_away(None);
        }
        "store restart" => backend.restart_store(),
        "store answers lost" => backend.lose_store_answers(few),
        "broker away" => {
            backend.set_broker_away(Some("the nemesis took it"));
            clock.sleep(span).await;
            backend.set_broker_away(None);
        }
        OF_FILES => {
            backend.set_blobs_away(Some("the nemesis took it"));
            clock.sleep(span).await;
            backend.set_blobs_away(None);
        }
        "broker blocked" => {
            backend.set_blocked(Some("the nemesis filled its disk"));
            clock.sleep(span).await;
            backend.set_blocked(None);
        }
        "sessions closed" => backend.close_all_sessions("the nemesis closed it"),
        "confirms lost" => backend.lose_confirms(few),
        "copies delivered twice" => backend.duplicate_copies(&fleet.lane(), COPIES),
        "clock of one jumps" => member.world.clock.jump(jump(random)),
        "copies of a lane lost" => backend.lose_copies(&fleet.lane()),
        "lane deleted" => backend.delete_lane(&fleet.lane()),
        "broker wiped" => backend.wipe_broker(),
        "store wiped" => {
            let lost = backend.wipe_store();
            fleet.history.wipe(&lost, |id| backend.copies(&id.to_string()));
        }
        _ => return false,
    }
    true
}

/// Sets a trap for a process and waits until it has hit; answers whether it did.
async fn spring(fleet: &Fleet, member: &Member, trap: Trap) -> bool {
    let (clock, random) = (&fleet.world.clock, &fleet.world.random);
    member.roughness.set_trap(trap, 1 + random.below(STEPS));
    let begun = clock.boot();
    while member.roughness.is_trapped() && clock.boot() - begun < TRAP {
        clock.sleep(Duration::from_millis(5)).await;
    }
    member.roughness.take_trap()
}

/// Ahead or back, ms.
fn jump(random: &Random) -> i64 {
    i64::try_from(random.below(2 * JUMP)).unwrap_or_default() - i64::try_from(JUMP).unwrap_or_default()
}

impl Fleet {
    /// One of the lanes of the run's jobs.
    fn lane(&self) -> Lane {
        let topics = if self.rules.is_some() { &rules::TOPICS[..] } else { &["sim/slow", "sim/quick"] };
        let sites = if self.rules.is_some() { 1 } else { sites::DRAWN };
        let drawn = self.world.random.below(2 * topics.len() as u64 * sites);
        let (high, drawn) = (drawn % 2 == 1, drawn / 2);
        let topic = topics[usize::try_from(drawn / sites).unwrap_or(0)];
        Lane { topic: Topic::new(topic).expect("a topic"), site: sites::drawn(drawn % sites), high }
    }
}
