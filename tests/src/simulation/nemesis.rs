//! What goes wrong, and when: drawn from the seed.

use super::rough::Roughness;
use super::{Fleet, Losses, Member, Plan};
use longshore_model::topic::Topic;
use std::collections::BTreeMap;
use std::time::Duration;

/// Injects the plan's faults, one after the other, and heals everything at the end. Answers how many of each kind.
pub async fn torment(
    fleet: &Fleet,
    members: &mut [Member],
    plan: Plan,
    producer: &Roughness,
) -> BTreeMap<&'static str, usize> {
    let (clock, random) = (&fleet.world.clock, &fleet.world.random);
    let mut faults = BTreeMap::new();
    for _ in 0..plan.faults {
        clock.sleep(Duration::from_millis(random.below(8_000))).await;
        fleet.replace_dead(members).await;
        let span = Duration::from_millis(random.below(20_000));
        let victim = usize::try_from(random.below(members.len() as u64)).unwrap_or(0);
        let kinds = if plan.losses == Losses::None { 10 } else { 13 };
        let kind = match random.below(kinds) {
            0 | 1 => {
                let number = members[victim].number;
                members[victim].world.tasks.kill();
                members[victim].running = None;
                clock.sleep(span / 4).await;
                members[victim] = fleet.spawn(number).await;
                "kill"
            }
            2 => {
                let number = members[victim].number;
                if let Some(running) = members[victim].running.take() {
                    running.drain().await;
                }
                members[victim].world.tasks.kill();
                members[victim] = fleet.spawn(number).await;
                "drain"
            }
            3 => {
                members[victim].roughness.cut_store(true);
                clock.sleep(span).await;
                members[victim].roughness.cut_store(false);
                "store cut off for one"
            }
            4 => {
                fleet.backend.set_store_away(Some("the nemesis took it"));
                clock.sleep(span).await;
                fleet.backend.set_store_away(None);
                "store away"
            }
            5 => {
                fleet.backend.restart_store();
                "store restart"
            }
            6 => {
                fleet.backend.set_broker_away(Some("the nemesis took it"));
                clock.sleep(span).await;
                fleet.backend.set_broker_away(None);
                "broker away"
            }
            7 => {
                fleet.backend.close_all_sessions("the nemesis closed it");
                "sessions closed"
            }
            8 => {
                fleet.backend.lose_store_answers(u32::try_from(1 + random.below(6)).unwrap_or(1));
                "store answers lost"
            }
            10.. if plan.losses == Losses::Store => {
                let lost = fleet.backend.wipe_store();
                fleet.history.wipe(&lost, |id| fleet.backend.copies(&id.to_string()));
                "store wiped"
            }
            10 | 11 => {
                fleet.backend.lose_copies(&lane(random.below(2)));
                "copies of a lane lost"
            }
            12 => {
                fleet.backend.delete_lane(&lane(random.below(2)));
                "lane deleted"
            }
            _ => {
                fleet.backend.lose_confirms(u32::try_from(1 + random.below(6)).unwrap_or(1));
                "confirms lost"
            }
        };
        *faults.entry(kind).or_default() += 1;
    }
    producer.cut_store(false);
    faults
}

fn lane(number: u64) -> Topic {
    Topic::new(if number == 0 { "sim/slow" } else { "sim/quick" }).expect("a topic")
}
