//! What the fleet did, in numbers that outlive every process: counters, times and rates of each queue and topic.
//!
//! The store keeps one [`Activity`] for each queue and topic together, and counts jobs by state beside it
//! ([`Part`]). [`Statistics`] is what it answers; [`Summary`] what people read of any selection of it. What happens to a
//! job counts once, by [`Happened`], on both stores alike.

mod activity;
mod happened;

use activity::per_minute;
pub use activity::{Activity, BUCKETS, SLOTS, Spans, slots};
pub use happened::{Before, Happened};

use crate::record::State;
use crate::topic::{Topic, TopicPattern};
use crate::topology::View;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was counted of the jobs of one topic in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The queue.
    pub queue: String,
    /// The topic.
    pub topic: Topic,
    /// Jobs accepted since the store began.
    pub accepted: u64,
    /// Jobs in each state now; in terminal states, those that are still in the history.
    pub now: BTreeMap<State, u64>,
    /// Since when the job waits that has been queued or blocked for longest, ms; `None`: none waits, or all of them came
    /// after the [`crate::limits::LOOKED_AT_WAITING`] oldest of the fleet.
    pub oldest: Option<u64>,
    /// What happened since the counters were reset.
    pub activity: Activity,
}

/// What the store counted, by queue and topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The store's clock, ms.
    pub now: u64,
    /// Every queue and topic that ever had a job.
    pub parts: Vec<Part>,
    /// Since when the job of the whole fleet waits that has been queued or blocked for longest, ms.
    pub oldest: Option<u64>,
    /// How many schedules there are.
    pub schedules: u64,
}

/// Percentiles of a time, ms: the middle of the bucket, at most an eighth off ([`Spans`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of them took no longer.
    pub p50: u64,
    /// Nine of ten.
    pub p90: u64,
    /// Ninety-nine of a hundred.
    pub p99: u64,
}

/// The numbers of all jobs, of a queue, or of a topic (M01). Times are ms; counters count since `since`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When counting began, ms since 1970; `None`: nothing was counted yet.
    pub since: Option<u64>,
    /// Jobs accepted since the store began; a reset does not change it.
    pub accepted: u64,
    /// Jobs in each state now; in terminal states, those that are still in the history.
    pub states: BTreeMap<State, u64>,
    /// Jobs that wait now (scheduled, blocked, queued or retrying) and whose topic a live instance takes.
    pub queued: u64,
    /// Jobs that wait now and whose topic no live instance takes.
    pub unassigned: u64,
    /// Jobs that run now.
    pub active: u64,
    /// `queued` and `active`: jobs that nobody takes are not among them.
    pub jobs: u64,
    /// Since when the job waits that has been queued or blocked for longest, ms since 1970.
    pub oldest_waiting_since: Option<u64>,
    /// How long that is, ms; 0: none waits.
    pub oldest_waiting_age: u64,
    /// Attempts started.
    pub started: u64,
    /// Jobs that succeeded.
    pub finished: u64,
    /// Attempts that failed, or whose process went away, and that were followed by another one.
    pub failed: u64,
    /// Jobs that ended as `error`, `given_up` or `stopped`.
    pub cancelled: u64,
    /// `finished`, `failed` and `cancelled`.
    pub processed: u64,
    /// When an attempt last started, ms since 1970; -1: never.
    pub last_activated: i64,
    /// When a job last succeeded, ms since 1970; -1: never.
    pub last_finished: i64,
    /// Mean time from entering the lane to the start of the attempt, ms.
    pub average_waiting: u64,
    /// Mean time that the successful attempts ran, ms.
    pub average_processing: u64,
    /// Of the same times.
    pub waiting: Percentiles,
    /// Of the same times.
    pub processing: Percentiles,
    /// What was processed in the last five minutes, for each minute.
    pub processed_per_minute: f64,
    /// What was accepted since an earlier look, for each minute; `None`: there was no earlier look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_per_minute: Option<f64>,
}

impl Percentiles {
    fn of(spans: &Spans) -> Self {
        Self { p50: spans.percentile(50), p90: spans.percentile(90), p99: spans.percentile(99) }
    }
}

impl Summary {
    /// The numbers of these parts. `takes`: whether a live instance takes a topic.
    pub fn of<'p>(now: u64, parts: impl Iterator<Item = &'p Part>, takes: impl Fn(&Topic) -> bool) -> Self {
        let (mut summary, mut activity) = (Self::default(), Activity::default());
        for part in parts {
            let count = |state: State| part.now.get(&state).copied().unwrap_or(0);
            let waiting: u64 =
                [State::Scheduled, State::Blocked, State::Queued, State::Retrying].map(count).iter().sum();
            let place: &mut u64 = if takes(&part.topic) { &mut summary.queued } else { &mut summary.unassigned };
            *place += waiting;
            summary.active += count(State::Active);
            summary.accepted += part.accepted;
            for (state, count) in &part.now {
                *summary.states.entry(*state).or_default() += count;
            }
            summary.wait(now, part.oldest);
            activity += &part.activity;
        }
        summary.jobs = summary.queued + summary.active;
        summary.since = activity.since;
        (summary.started, summary.finished) = (activity.waiting.count(), activity.running.count());
        (summary.failed, summary.cancelled) = (activity.failed, activity.cancelled);
        summary.processed = summary.finished + summary.failed + summary.cancelled;
        let time = |at: Option<u64>| at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1);
        (summary.last_activated, summary.last_finished) = (time(activity.last_started), time(activity.last_finished));
        (summary.average_waiting, summary.average_processing) = (activity.waiting.mean(), activity.running.mean());
        (summary.waiting, summary.processing) =
            (Percentiles::of(&activity.waiting), Percentiles::of(&activity.running));
        summary.processed_per_minute = activity.per_minute(now);
        summary
    }

    /// Tells what was accepted since an earlier look, `span` ms before.
    fn compare(&mut self, earlier: Option<&Self>, span: u64) {
        let before = earlier.map_or(0, |earlier| earlier.accepted);
        self.accepted_per_minute = Some(per_minute(self.accepted.saturating_sub(before), span));
    }

    fn wait(&mut self, now: u64, since: Option<u64>) {
        let Some(since) = since else { return };
        let first = self.oldest_waiting_since.map_or(since, |first| first.min(since));
        self.oldest_waiting_since = Some(first);
        self.oldest_waiting_age = now.saturating_sub(first);
    }
}

/// Which numbers are asked for. Empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// One queue, by its name.
    pub queue: Option<String>,
    /// Topics.
    pub topic: Option<TopicPattern>,
}

impl Selection {
    /// Whether it restricts nothing.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.queue.is_none() && self.topic.is_none()
    }

    /// Whether this queue and topic are asked for.
    #[must_use]
    pub fn takes(&self, queue: &str, topic: &Topic) -> bool {
        self.queue.as_ref().is_none_or(|wanted| wanted == queue)
            && self.topic.as_ref().is_none_or(|pattern| pattern.matches(topic))
    }
}

/// The numbers of a selection: together, by queue and by topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// The store's clock, ms since 1970.
    pub now: u64,
    /// All of the selection together.
    pub all: Summary,
    /// Each queue.
    pub queues: BTreeMap<String, Summary>,
    /// Each topic.
    pub topics: BTreeMap<Topic, Summary>,
    /// How many schedules there are, whatever was selected.
    pub schedules: u64,
}

impl Overview {
    /// Tells what was accepted since an earlier look at the same selection.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        let span = self.now.saturating_sub(earlier.now);
        self.all.compare(Some(&earlier.all), span);
        for (queue, summary) in &mut self.queues {
            summary.compare(earlier.queues.get(queue), span);
        }
        for (topic, summary) in &mut self.topics {
            summary.compare(earlier.topics.get(topic), span);
        }
        self
    }

    /// The same without what changes by the mere passing of time: equal for two looks between which nothing happened.
    #[must_use]
    pub fn timeless(&self) -> Self {
        let still = |summary: &Summary| Summary {
            oldest_waiting_age: 0,
            processed_per_minute: 0.0,
            accepted_per_minute: None,
            ..summary.clone()
        };
        Self {
            now: 0,
            all: still(&self.all),
            queues: self.queues.iter().map(|(queue, summary)| (queue.clone(), still(summary))).collect(),
            topics: self.topics.iter().map(|(topic, summary)| (topic.clone(), still(summary))).collect(),
            schedules: self.schedules,
        }
    }
}

impl Statistics {
    /// The numbers of a selection, with `view` telling which topics a live instance takes.
    #[must_use]
    pub fn overview(&self, selection: &Selection, view: &View) -> Overview {
        let parts: Vec<&Part> = self.parts.iter().filter(|part| selection.takes(&part.queue, &part.topic)).collect();
        let takes: BTreeMap<&Topic, bool> =
            parts.iter().map(|part| (&part.topic, view.capable(&part.topic).next().is_some())).collect();
        let takes = |topic: &Topic| takes.get(topic).copied().unwrap_or(false);
        let (mut queues, mut topics) = (BTreeMap::<String, Vec<&Part>>::new(), BTreeMap::<Topic, Vec<&Part>>::new());
        for part in &parts {
            queues.entry(part.queue.clone()).or_default().push(part);
            topics.entry(part.topic.clone()).or_default().push(part);
        }
        let sum = |parts: Vec<&Part>| Summary::of(self.now, parts.into_iter(), takes);
        let mut all = sum(parts);
        if selection.is_all() {
            all.wait(self.now, self.oldest);
        }
        Overview {
            now: self.now,
            all,
            queues: queues.into_iter().map(|(queue, parts)| (queue, sum(parts))).collect(),
            topics: topics.into_iter().map(|(topic, parts)| (topic, sum(parts))).collect(),
            schedules: self.schedules,
        }
    }
}

#[cfg(test)]
mod tests;
