//! What happened to the jobs of one queue and topic, and how the store keeps it: numbers in fixed places.
//!
//! One string of 64-bit numbers, so that a script adds to many of them in one command. [`slots`] are the places; both
//! stores keep the same ones, and the scripts get them from here.

use std::ops::AddAssign;

/// Buckets of a time: the last one has everything from 2³¹ ms (24 days) on.
pub const BUCKETS: usize = 120;
/// Minutes of which is remembered what was processed.
const MINUTES: u64 = 16;
/// Minutes over which a rate is taken.
const RATE_MINUTES: u64 = 5;
const MINUTE_MS: u64 = 60_000;
/// Numbers of one queue and topic.
pub const SLOTS: usize = slots::RUNNING as usize + BUCKETS;

/// Places of the numbers.
pub mod slots {
    /// How often something was added: 1 tells that it is new.
    pub const CALLS: u64 = 0;
    /// When counting began, ms.
    pub const SINCE: u64 = 1;
    /// When an attempt last started, ms.
    pub const LAST_STARTED: u64 = 2;
    /// When a job last succeeded, ms.
    pub const LAST_FINISHED: u64 = 3;
    /// Sum of the times that attempts waited for their start, ms.
    pub const WAITED: u64 = 4;
    /// Sum of the times that successful attempts ran, ms.
    pub const RAN: u64 = 5;
    /// Attempts that failed and were followed by another one.
    pub const FAILED: u64 = 6;
    /// Jobs that ended as `error`, `given_up` or `stopped`.
    pub const CANCELLED: u64 = 7;
    /// What was processed in a minute, at the minute's number modulo [`MINUTES`]: the number times [`MINUTE_UNIT`], and
    /// the count.
    pub const PROCESSED: u64 = 8;
    /// Buckets of waiting times.
    pub const WAITING: u64 = 24;
    /// Buckets of running times.
    pub const RUNNING: u64 = 144;
    /// How many minutes there are places for.
    pub const MINUTES: u64 = super::MINUTES;
    /// More than is processed in a minute.
    pub const MINUTE_UNIT: u64 = 1 << 24;
}

/// Times in buckets: exact below 8 ms, and within an eighth of the time above, up to 24 days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    sum: u64,
    buckets: [u64; BUCKETS],
}

impl Default for Spans {
    fn default() -> Self {
        Self { sum: 0, buckets: [0; BUCKETS] }
    }
}

impl Spans {
    /// The bucket of a time: four for each doubling.
    #[must_use]
    pub fn bucket(ms: u64) -> usize {
        if ms < 4 {
            return usize::try_from(ms).unwrap_or(0);
        }
        let doublings = ms.ilog2();
        let place = u64::from(doublings - 1) * 4 + (ms >> (doublings - 2)) - 4;
        usize::try_from(place).unwrap_or(BUCKETS).min(BUCKETS - 1)
    }

    /// The middle of a bucket, ms.
    fn middle(bucket: usize) -> u64 {
        if bucket < 8 {
            return bucket as u64;
        }
        let (doublings, quarter) = (bucket / 4 + 1, (bucket % 4) as u64);
        let width = 1_u64 << (doublings - 2);
        (4 + quarter) * width + width / 2
    }

    fn add(&mut self, ms: u64) {
        self.sum += ms;
        self.buckets[Self::bucket(ms)] += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their mean, ms; 0 without any.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count()).unwrap_or(0)
    }

    /// The time that so many of a hundred do not exceed, ms: the middle of its bucket; 0 without any.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Self::middle(bucket);
            }
        }
        0
    }
}

impl AddAssign<&Self> for Spans {
    fn add_assign(&mut self, other: &Self) {
        self.sum += other.sum;
        for (mine, others) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += others;
        }
    }
}

/// What happened to the jobs of one queue and topic since counting began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Activity {
    /// When counting began, ms.
    pub since: Option<u64>,
    /// When an attempt last started, ms.
    pub last_started: Option<u64>,
    /// When a job last succeeded, ms.
    pub last_finished: Option<u64>,
    /// From entering the lane to the start, of every attempt.
    pub waiting: Spans,
    /// How long successful attempts ran.
    pub running: Spans,
    /// Attempts that failed and were followed by another one.
    pub failed: u64,
    /// Jobs that ended as `error`, `given_up` or `stopped`.
    pub cancelled: u64,
    /// What was processed in the last minutes: number of the minute since 1970, and how many; at the number modulo
    /// [`MINUTES`].
    minutes: [(u64, u64); MINUTES as usize],
}

impl Activity {
    /// Counting begins, ms.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self { since: Some(now), ..Self::default() }
    }

    /// An attempt starts after it waited so long, ms.
    pub fn started(&mut self, now: u64, waited: u64) {
        self.waiting.add(waited);
        self.last_started = Some(now);
    }

    /// A job succeeds after its attempt ran so long, ms.
    pub fn finished(&mut self, now: u64, ran: u64) {
        self.running.add(ran);
        self.last_finished = Some(now);
        self.processed(now);
    }

    /// An attempt failed and is followed by another one.
    pub fn failed(&mut self, now: u64) {
        self.failed += 1;
        self.processed(now);
    }

    /// A job ended without success.
    pub fn cancelled(&mut self, now: u64) {
        self.cancelled += 1;
        self.processed(now);
    }

    fn processed(&mut self, now: u64) {
        let minute = now / MINUTE_MS;
        let place = &mut self.minutes[place_of(minute)];
        if place.0 != minute {
            *place = (minute, 0);
        }
        place.1 += 1;
    }

    /// What was processed in the last minutes, for each minute.
    #[must_use]
    pub fn per_minute(&self, now: u64) -> f64 {
        let minute = now / MINUTE_MS;
        let first = minute.saturating_sub(RATE_MINUTES);
        let counts = self.minutes.iter().filter(|(at, _)| (first..=minute).contains(at)).map(|(_, count)| count);
        let begin = (first * MINUTE_MS).max(self.since.unwrap_or(0));
        per_minute(counts.sum(), now.saturating_sub(begin))
    }

    /// Reads what a store keeps: big-endian numbers, each in its slot. Short strings have zeros behind them.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let mut numbers = [0_u64; SLOTS];
        for (number, chunk) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
            let signed = i64::from_be_bytes(chunk.try_into().unwrap_or_default());
            *number = u64::try_from(signed).unwrap_or(0);
        }
        let at = |slot: u64| numbers[usize::try_from(slot).unwrap_or(0)];
        let time = |slot: u64| Some(at(slot)).filter(|time| *time > 0);
        let spans = |sum: u64, first: u64| {
            let mut spans = Spans { sum: at(sum), ..Spans::default() };
            for (bucket, slot) in spans.buckets.iter_mut().zip(first..) {
                *bucket = at(slot);
            }
            spans
        };
        let mut activity = Self {
            since: time(slots::SINCE),
            last_started: time(slots::LAST_STARTED),
            last_finished: time(slots::LAST_FINISHED),
            waiting: spans(slots::WAITED, slots::WAITING),
            running: spans(slots::RAN, slots::RUNNING),
            failed: at(slots::FAILED),
            cancelled: at(slots::CANCELLED),
            minutes: Default::default(),
        };
        for (minute, slot) in activity.minutes.iter_mut().zip(slots::PROCESSED..) {
            *minute = (at(slot) / slots::MINUTE_UNIT, at(slot) % slots::MINUTE_UNIT);
        }
        activity
    }
}

impl AddAssign<&Self> for Activity {
    fn add_assign(&mut self, other: &Self) {
        self.since = self.since.into_iter().chain(other.since).min();
        self.last_started = self.last_started.max(other.last_started);
        self.last_finished = self.last_finished.max(other.last_finished);
        self.waiting += &other.waiting;
        self.running += &other.running;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        for (mine, (minute, count)) in self.minutes.iter_mut().zip(other.minutes) {
            match mine.0.cmp(&minute) {
                std::cmp::Ordering::Less => *mine = (minute, count),
                std::cmp::Ordering::Equal => mine.1 += count,
                std::cmp::Ordering::Greater => {}
            }
        }
    }
}

fn place_of(minute: u64) -> usize {
    usize::try_from(minute % MINUTES).unwrap_or(0)
}

/// So many in a span, ms, for each minute.
pub(super) fn per_minute(count: u64, span: u64) -> f64 {
    // Less than a second tells nothing.
    float(count) * float(MINUTE_MS) / float(span.max(1_000))
}

#[allow(clippy::cast_precision_loss, reason = "counts and times of these sizes are exact")]
const fn float(number: u64) -> f64 {
    number as f64
}
