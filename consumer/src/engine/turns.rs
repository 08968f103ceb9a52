//! Turns: from which lane the next delivery is taken.
//!
//! Lanes take turns, those of urgent jobs among themselves and before all others, so that such a job does not wait behind
//! what was sent before it. But of every [`SPAN`] starts one is of a normal lane, where one waits and can be started: a
//! flood of urgent jobs starves nobody.

use longshore_model::lane::Lane;
use std::collections::VecDeque;

/// Of so many starts one is of a normal lane.
pub(super) const SPAN: usize = 8;

/// The lanes of which deliveries wait, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    high: VecDeque<Lane>,
    normal: VecDeque<Lane>,
    /// Starts of urgent jobs since the last one of a normal lane; no more than count.
    urgent: usize,
}

impl Turns {
    /// The lane's turn comes after those of its kind.
    pub(super) fn push(&mut self, lane: Lane) {
        self.lanes(lane.high).push_back(lane);
    }

    /// The high or the normal lane whose turn it is; it is out of turn until it is pushed again.
    pub(super) fn pop(&mut self, high: bool) -> Option<Lane> {
        self.lanes(high).pop_front()
    }

    /// Nothing of the lane waits any more.
    pub(super) fn remove(&mut self, lane: &Lane) {
        self.lanes(lane.high).retain(|other| other != lane);
    }

    /// How many of them there are.
    pub(super) fn len(&self, high: bool) -> usize {
        if high { self.high.len() } else { self.normal.len() }
    }

    /// Whether high lanes come first now, and then the other kind.
    pub(super) const fn order(&self) -> [bool; 2] {
        let high = self.urgent + 1 < SPAN;
        [high, !high]
    }

    /// One of these was started.
    pub(super) fn count(&mut self, high: bool) {
        self.urgent = if high { (self.urgent + 1).min(SPAN - 1) } else { 0 };
    }

    fn lanes(&mut self, high: bool) -> &mut VecDeque<Lane> {
        if high { &mut self.high } else { &mut self.normal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_model::topic::Topic;

    /// Starts so many, each lane having more, and answers what was started.
    fn start(turns: &mut Turns, count: usize) -> Vec<String> {
        let next = |turns: &mut Turns| {
            let [first, second] = turns.order();
            let lane = turns.pop(first).or_else(|| turns.pop(second)).unwrap();
            turns.count(lane.high);
            turns.push(lane.clone());
            lane.to_string()
        };
        (0..count).map(|_| next(turns)).collect()
    }

    fn turns(normal: &[&str], high: &[&str]) -> Turns {
        let mut turns = Turns::default();
        let topic = |text: &&str| Topic::new(*text).unwrap();
        normal.iter().map(topic).map(Lane::from).chain(high.iter().map(topic).map(Lane::high)).for_each(|lane| {
            turns.push(lane);
        });
        turns
    }

    #[test]
    fn lanes_of_one_kind_take_turns() {
        let mut normal = turns(&["a", "b"], &[]);
        assert_eq!(start(&mut normal, 5), ["a", "b", "a", "b", "a"]);
        normal.remove(&Topic::new("b").unwrap().into());
        assert_eq!(start(&mut normal, 2), ["a", "a"]);
        assert_eq!(start(&mut turns(&[], &["a", "b"]), 10)[7..], ["b (high)", "a (high)", "b (high)"]);
    }

    #[test]
    fn urgent_jobs_start_first_and_one_of_every_eight_is_none() {
        let mut turns = turns(&["a", "b"], &["a", "c"]);
        let started = start(&mut turns, 80);
        assert_eq!(started[..4], ["a (high)", "c (high)", "a (high)", "c (high)"]);
        for (span, lanes) in started.chunks(SPAN).enumerate() {
            let normal: Vec<_> = lanes.iter().filter(|lane| !lane.ends_with("(high)")).collect();
            assert_eq!(normal, [["a", "b"][span % 2]], "{lanes:?}");
        }
    }

    #[test]
    fn after_many_urgent_ones_alone_a_normal_one_is_next_and_then_urgent_ones_again() {
        let mut turns = turns(&[], &["a"]);
        start(&mut turns, 100);
        turns.push(Topic::new("b").unwrap().into());
        assert_eq!(start(&mut turns, 3), ["b", "a (high)", "a (high)"]);
    }
}
