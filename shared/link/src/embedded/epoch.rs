//! What the embedded store may have lost, as the scripts of the Redis store remember it.
//!
//! An epoch begins with the first renewal or rebuild that finds the store empty, restarted, or behind what the caller
//! had known. The span that ended with it is remembered: what was accepted in it may be missing.

use crate::store::{Known, Loss, LossKind};
use longshore_model::limits;
use std::collections::BTreeMap;

/// The incarnation of the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Epoch {
    current: u64,
    tick: u64,
    /// The last renewal, ms.
    beat: u64,
    restarted: bool,
    losses: BTreeMap<u64, Loss>,
    /// What the tick was when the current epoch began, unless the store was empty.
    behind: Option<u64>,
}

impl Epoch {
    /// The store restarted: the next renewal notices.
    pub(super) const fn restart(&mut self) {
        self.restarted = true;
    }

    /// Its number.
    pub(super) const fn current(&self) -> u64 {
        self.current
    }

    /// A renewal by a process that had known this. Answers epoch and tick now, and how the epoch began. `hold` is called
    /// when the store went back so far that everything has to be paused, with why.
    pub(super) fn renewed(
        &mut self,
        now_us: u64,
        known: Option<Known>,
        hold: impl FnOnce(String),
    ) -> (u64, u64, LossKind) {
        let seen = known.unwrap_or_default();
        let margin = self.beat.saturating_sub(limits::LOSS_MARGIN_MS);
        if self.current == 0 {
            self.begin(now_us, seen.epoch, LossKind::Wiped, 0);
        } else if seen.epoch == self.current && seen.tick > self.tick {
            self.begin(now_us, seen.epoch, LossKind::RolledBack, margin);
            self.behind = Some(self.tick);
        } else if self.restarted {
            self.begin(now_us, seen.epoch, LossKind::Restarted, margin);
            self.behind = Some(self.tick);
        }
        self.restarted = false;
        self.tick = now_us.max(self.tick + 1).max(seen.tick + 1);
        self.beat = now_us / 1_000;
        let mut kind = LossKind::default();
        if let Some(loss) = self.losses.get_mut(&self.current) {
            kind = loss.kind;
            if known.is_some() && seen.epoch != self.current {
                // Somebody else, who knew nothing of it, may have begun the epoch.
                let lag = self.behind.map_or(0, |tick| seen.tick.saturating_sub(tick));
                if lag > limits::ROLLBACK_MS * 1_000 && !loss.held {
                    (loss.kind, loss.held, kind) = (LossKind::RolledBack, true, LossKind::RolledBack);
                    let seconds = lag / 1_000_000;
                    hold(format!(
                        "the store went back by {seconds} s, as from a backup: jobs that ran since would run again"
                    ));
                }
                if loss.before.is_none_or(|before| before.scheduled < seen.scheduled) {
                    loss.before = known;
                }
            }
        }
        (self.current, self.tick, kind)
    }

    /// Whether a job that was accepted then may have been lost.
    pub(super) fn covers(&mut self, now_us: u64, accepted: u64) -> bool {
        if self.current == 0 {
            self.begin(now_us, 0, LossKind::Wiped, 0);
        }
        (self.restarted && accepted + limits::LOSS_MARGIN_MS >= self.beat)
            || self.losses.values().any(|loss| (loss.from..=loss.to).contains(&accepted))
    }

    pub(super) fn losses(&self) -> Vec<Loss> {
        self.losses.values().cloned().collect()
    }

    fn begin(&mut self, now_us: u64, seen: u64, kind: LossKind, from: u64) {
        self.current = now_us.max(self.current + 1).max(seen + 1);
        let loss = Loss { epoch: self.current, kind, from, to: now_us / 1_000, before: None, held: false };
        self.behind = None;
        self.losses.insert(self.current, loss);
        while self.losses.len() > limits::LOSSES {
            self.losses.pop_first();
        }
    }
}
