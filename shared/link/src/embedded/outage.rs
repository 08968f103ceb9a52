//! When the embedded store believes in a death: an outage must not look like one.
//!
//! Owns the amnesty, once for the leases of jobs and once for those of members: until it ends nobody
//! is declared dead. It begins when the store restarted, or when somebody who beat before a silence
//! beats again after it. A process that is new finds the same silence, but it proves nothing: the
//! others may really be dead, and a fleet of one that restarts is no outage. So the others get the time to beat.

/// Beats, seen from the store.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// The last beat by anybody, ms.
    last: Option<u64>,
    /// The last silence: the beat before it and the one that ended it, ms.
    silence: Option<(u64, u64)>,
    /// Until when nobody is declared dead, ms.
    until: u64,
    restarted: bool,
}

impl Outage {
    /// Somebody beats whose own beat before was at `mine` (0: never); a span without any beat that is longer than
    /// `gap_ms` is a silence. Answers until when nobody is declared dead, ms; 0 without an amnesty.
    pub(super) fn beat(&mut self, now: u64, lease_ms: u64, gap_ms: u64, mine: u64) -> u64 {
        if self.restarted {
            self.restarted = false;
            self.until = self.until.max(now + lease_ms);
        }
        if let Some(last) = self.last
            && now - last > gap_ms
        {
            self.silence = Some((last, now));
        }
        self.last = Some(now);
        if let Some((from, to)) = self.silence
            && mine > 0
            && mine <= from
        {
            self.until = self.until.max(to + lease_ms);
        }
        if self.until > now { self.until } else { 0 }
    }

    /// The store restarted: whoever beats first brings an amnesty about, and until then nobody is declared dead.
    pub(super) const fn restart(&mut self) {
        self.restarted = true;
    }

    /// Whether nobody has beaten for so long that all may have stood still; whoever beats next finds out.
    pub(super) fn is_quiet(&self, now: u64, gap_ms: u64) -> bool {
        self.last.is_none_or(|last| now - last > gap_ms)
    }

    /// When the silence began that ended so lately that those who lived through it may not have beaten yet, ms.
    pub(super) fn just_ended(&self, now: u64, gap_ms: u64) -> Option<u64> {
        self.silence.filter(|(_, to)| now.saturating_sub(*to) <= gap_ms).map(|(from, _)| from)
    }

    /// Whether the dead may be declared dead now.
    pub(super) const fn is_over(&self, now: u64) -> bool {
        !self.restarted && self.until <= now
    }
}
