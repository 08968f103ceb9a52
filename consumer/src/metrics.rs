//! What this instance did, as counters, and their Prometheus text.
//!
//! The names and meanings below are part of the contract with whoever builds dashboards on them.

mod fleet;

use longshore_link::store::LossKind;
use longshore_model::ledger::Sums;
use longshore_model::record::State;
use longshore_model::statistics::Overview;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The counters of one instance.
#[derive(Debug, Default)]
pub struct Metrics {
    claimed: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    errors: AtomicU64,
    stopped: AtomicU64,
    released: AtomicU64,
    stale: AtomicU64,
    parked: AtomicU64,
    refused_copies: AtomicU64,
    quarantined: AtomicU64,
    no_room: AtomicU64,
    published: AtomicU64,
    promoted: AtomicU64,
    scheduled: AtomicU64,
    rescued: AtomicU64,
    buried: AtomicU64,
    revived: AtomicU64,
    reconciled: AtomicU64,
    adopted: AtomicU64,
    recommitted: AtomicU64,
    swapped: AtomicU64,
    store_losses: AtomicU64,
    scheduled_lost: AtomicU64,
    scrubbed: AtomicU64,
    last_beat: AtomicU64,
    ledger: Mutex<Option<(Sums, usize)>>,
    statistics: Mutex<Option<Overview>>,
}

/// What is known at the moment of asking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gauges {
    /// Jobs that run.
    pub running: usize,
    /// Slots.
    pub slots: usize,
    /// Lanes that should be consumed.
    pub wanted: usize,
    /// Lanes that are.
    pub consuming: usize,
    /// Whether beats are answered.
    pub alive: bool,
    /// Whether it is the coordinator.
    pub coordinator: bool,
    /// Whether it does not belong to the fleet.
    pub outside: bool,
    /// Live instances that do not.
    pub strangers: usize,
    /// Whether the publishing connection is up.
    pub broker_connected: bool,
}

impl Metrics {
    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn claimed(&self) {
        Self::add(&self.claimed, 1);
    }

    pub(crate) fn finished(&self, state: State) {
        let counter = match state {
            State::Succeeded => &self.succeeded,
            State::Retrying => &self.failed,
            State::GivenUp => &self.given_up,
            State::Error => &self.errors,
            State::Stopped => &self.stopped,
            State::Queued | State::Scheduled | State::Blocked | State::Active | State::Dropped => &self.released,
        };
        Self::add(counter, 1);
    }

    pub(crate) fn stale(&self) {
        Self::add(&self.stale, 1);
    }

    pub(crate) fn parked(&self) {
        Self::add(&self.parked, 1);
    }

    pub(crate) fn refused_copy(&self) {
        Self::add(&self.refused_copies, 1);
    }

    pub(crate) fn quarantined(&self) {
        Self::add(&self.quarantined, 1);
    }

    pub(crate) fn no_room(&self) {
        Self::add(&self.no_room, 1);
    }

    pub(crate) fn published(&self, count: usize) {
        Self::add(&self.published, count as u64);
    }

    pub(crate) fn scheduled(&self, count: usize) {
        Self::add(&self.scheduled, count as u64);
    }

    pub(crate) fn promoted(&self, count: usize) {
        Self::add(&self.promoted, count as u64);
    }

    pub(crate) fn rescued(&self, runnable: usize, ended: u64) {
        Self::add(&self.rescued, runnable as u64 + ended);
    }

    pub(crate) fn scrubbed(&self, count: u64) {
        Self::add(&self.scrubbed, count);
    }

    pub(crate) fn buried(&self, count: usize) {
        Self::add(&self.buried, count as u64);
    }

    pub(crate) fn revived(&self, count: usize) {
        Self::add(&self.revived, count as u64);
    }

    pub(crate) fn swapped(&self) {
        Self::add(&self.swapped, 1);
    }

    /// So many commits that the store had lost.
    pub(crate) fn recommitted(&self, count: u64) {
        Self::add(&self.recommitted, count);
    }

    pub(crate) fn adopted(&self) {
        Self::add(&self.adopted, 1);
    }

    /// The store may have lost writes; so many scheduled jobs are not there any more.
    pub(crate) fn store_lost(&self, loss: LossKind, scheduled: u64) {
        Self::add(&self.store_losses, u64::from(loss != LossKind::Restarted));
        Self::add(&self.scheduled_lost, scheduled);
    }

    pub(crate) fn reconciled(&self, jobs: u64) {
        Self::add(&self.reconciled, jobs);
    }

    pub(crate) fn beat(&self, now: u64) {
        self.last_beat.store(now, Ordering::Relaxed);
    }

    /// The ledger of the whole store, and how many disagreements there are in it.
    pub(crate) fn audited(&self, sums: Sums, drifts: usize) {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) = Some((sums, drifts));
    }

    /// The statistics of the whole fleet; `None`: this instance does not read them any more.
    pub(crate) fn counted(&self, overview: Option<Overview>) {
        *self.statistics.lock().unwrap_or_else(PoisonError::into_inner) = overview;
    }

    /// The ledger, once it was read.
    fn render_ledger(&self, text: &mut String) {
        let Some((sums, drifts)) = *self.ledger.lock().unwrap_or_else(PoisonError::into_inner) else { return };
        let name = "longshore_ledger_drift";
        let help = "Disagreements between what the store counted and what it holds; anything but 0 is a fault.";
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {drifts}\n");
        let name = "longshore_ledger_jobs";
        let help =
            "Jobs of the whole store since it began: accepted = the others together. The same on every instance.";
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (part, jobs) in [
            ("accepted", sums.accepted),
            ("succeeded", sums.succeeded),
            ("failed", sums.failed),
            ("stopped", sums.stopped),
            ("dropped", sums.dropped),
            ("waiting", sums.waiting),
            ("active", sums.active),
        ] {
            let _ = writeln!(text, "{name}{{part=\"{part}\"}} {jobs}");
        }
    }

    /// The Prometheus text of all counters and the given gauges.
    #[must_use]
    pub fn render(&self, gauges: &Gauges) -> String {
        let mut text = String::new();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, help, value) in [
            ("longshore_attempts_started_total", "Attempts started by this instance.", load(&self.claimed)),
            (
                "longshore_stale_results_total",
                "Results refused because the attempt was not the current one.",
                load(&self.stale),
            ),
            (
                "longshore_parked_copies_total",
                "Copies parked because the job ran elsewhere or was not due.",
                load(&self.parked),
            ),
            (
                "longshore_refused_copies_total",
                "Copies acknowledged because the job had ended or a newer copy existed.",
                load(&self.refused_copies),
            ),
            (
                "longshore_quarantined_total",
                "Messages put into quarantine because they could not be read.",
                load(&self.quarantined),
            ),
            (
                "longshore_quarantine_full_total",
                "Messages that could not be read and for which the quarantine had no room: they come back.",
                load(&self.no_room),
            ),
            ("longshore_duty_published_total", "Jobs published by this instance's duties.", load(&self.published)),
            ("longshore_scheduled_total", "Jobs that schedules sent, by this instance.", load(&self.scheduled)),
            ("longshore_promoted_total", "Jobs made runnable because their time had come.", load(&self.promoted)),
            (
                "longshore_reconciled_total",
                "Queued jobs published again because the broker had lost their copies.",
                load(&self.reconciled),
            ),
            ("longshore_swapped_total", "Long runs whose message was swapped for a parked copy.", load(&self.swapped)),
            (
                "longshore_adopted_total",
                "Running attempts of this instance that the store had lost and knows again.",
                load(&self.adopted),
            ),
            (
                "longshore_recommitted_total",
                "Results of this instance that the store had lost and has again.",
                load(&self.recommitted),
            ),
            (
                "longshore_store_losses_total",
                "Times that this instance saw the store wiped or rolled back.",
                load(&self.store_losses),
            ),
            (
                "longshore_scheduled_lost_total",
                "Scheduled jobs that the store had before it lost what it held, and not after.",
                load(&self.scheduled_lost),
            ),
            (
                "longshore_scrub_mended_total",
                "Indexes, entries, unique keys and places at gates that did not agree with their job's record.",
                load(&self.scrubbed),
            ),
            ("longshore_rescued_total", "Jobs taken back from instances that went away.", load(&self.rescued)),
            (
                "longshore_evicted_settled_total",
                "Messages that the broker had evicted, of jobs that had ended.",
                load(&self.buried),
            ),
            (
                "longshore_evicted_returned_total",
                "Messages that the broker had evicted and that went back because their jobs had not ended.",
                load(&self.revived),
            ),
        ] {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}\n");
        }
        let name = "longshore_attempts_ended_total";
        let _ = write!(text, "# HELP {name} Attempts ended by this instance, by outcome.\n# TYPE {name} counter\n");
        for (outcome, counter) in [
            ("succeeded", &self.succeeded),
            ("retry", &self.failed),
            ("given_up", &self.given_up),
            ("error", &self.errors),
            ("stopped", &self.stopped),
            ("released", &self.released),
        ] {
            let _ = writeln!(text, "{name}{{outcome=\"{outcome}\"}} {}", load(counter));
        }
        for (name, help, value) in [
            ("longshore_running", "Jobs that run now.", gauges.running as u64),
            ("longshore_slots", "Jobs that may run at once.", gauges.slots as u64),
            ("longshore_lanes_wanted", "Lanes that should be consumed.", gauges.wanted as u64),
            ("longshore_lanes_consuming", "Lanes with a registered consumer.", gauges.consuming as u64),
            ("longshore_alive", "1 while beats are answered.", u64::from(gauges.alive)),
            ("longshore_coordinator", "1 on the coordinator.", u64::from(gauges.coordinator)),
            (
                "longshore_outside",
                "1 while this instance takes no work because it does not belong to the fleet.",
                u64::from(gauges.outside),
            ),
            (
                "longshore_untrusted_instances",
                "Live instances that are not signed with the fleet's keys, as far as this one has keys.",
                gauges.strangers as u64,
            ),
            (
                "longshore_broker_connected",
                "1 while the publishing connection is up.",
                u64::from(gauges.broker_connected),
            ),
            (
                "longshore_last_beat_milliseconds",
                "The store's clock at the last answered beat, ms since 1970.",
                load(&self.last_beat),
            ),
        ] {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
        }
        self.render_ledger(&mut text);
        if let Some(overview) = &*self.statistics.lock().unwrap_or_else(PoisonError::into_inner) {
            fleet::render(&mut text, overview);
        }
        text
    }
}
