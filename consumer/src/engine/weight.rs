//! How many bytes may wait for a slot.
//!
//! A broker bounds what it sends by the number of messages alone. So the bytes are looked at when they are here: when they
//! are too many, the heaviest lane gets back all that waits, and comes again with room for fewer, half of what would
//! fit. What a lane may hold grows again while little waits. The bound is passed by one round of deliveries at most, and by
//! single messages that are larger than it.

use super::intake::Session;
use longshore_model::lane::Lane;

impl Session {
    /// Whether more waits than may.
    pub(super) fn is_too_heavy(&self) -> bool {
        self.engine.held.bytes() > self.engine.held_bytes
    }

    /// Gives lanes back until no more waits than may, the heaviest first; one message of a lane may always wait.
    pub(super) async fn lighten(&mut self) {
        while self.is_too_heavy()
            && let Some((lane, count)) = self.heaviest()
        {
            let total = self.engine.held.bytes().max(1);
            let fits = u128::from(count) * u128::from(self.engine.held_bytes) / (2 * u128::from(total));
            let fits = u16::try_from(fits).unwrap_or(u16::MAX).max(1);
            tracing::info!(%lane, count, total, fits, "large messages: the lane gets back what waits, and holds fewer");
            self.narrow.insert(lane.clone(), fits);
            self.give_lane_back(&lane).await;
            self.resting.insert(lane);
        }
    }

    /// Lanes of large messages may hold more again while little waits.
    pub(super) async fn widen(&mut self) {
        if self.narrow.is_empty() || self.engine.held.bytes() > self.engine.held_bytes / 4 {
            return;
        }
        let lanes: Vec<Lane> = self.narrow.keys().filter(|lane| self.registered.contains(*lane)).cloned().collect();
        for lane in lanes {
            let Some(before) = self.narrow.remove(&lane) else { continue };
            let usual = self.prefetch(&lane, self.registered.len());
            let now = usual.min(before.saturating_mul(2));
            if now < usual {
                self.narrow.insert(lane.clone(), now);
            }
            self.make_room(lane, now).await;
        }
    }

    /// The lane of which most bytes wait, and how many messages they are.
    fn heaviest(&self) -> Option<(Lane, u64)> {
        let bytes = |lane: &Lane| self.held[lane].iter().map(|held| held.delivery.body.len()).sum::<usize>();
        let several = self.held.iter().filter(|(_, queue)| queue.len() > 1);
        several.max_by_key(|(lane, _)| bytes(lane)).map(|(lane, queue)| (lane.clone(), queue.len() as u64))
    }
}
