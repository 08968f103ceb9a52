//! Lanes: the broker's queues of one topic, in which runnable jobs wait.
//!
//! Every topic has one. A second one, the high lane, is made when the first urgent job of the topic needs it: quorum
//! queues of RabbitMQ 3.10 have no priorities, and one lane is first in, first out. What a lane's queue is called is said
//! by [`crate::names`].

use crate::priority::Priority;
use crate::topic::Topic;
use std::fmt;

/// A lane of a topic. The normal one comes before the high one in the order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lane {
    /// Its topic.
    pub topic: Topic,
    /// Whether it is the one of urgent jobs.
    pub high: bool,
}

impl Lane {
    /// The lane of urgent jobs.
    #[must_use]
    pub const fn high(topic: Topic) -> Self {
        Self { topic, high: true }
    }

    /// The lane in which a job of this priority waits.
    #[must_use]
    pub const fn of(topic: Topic, priority: Priority) -> Self {
        Self { topic, high: priority.is_high() }
    }

    /// Both lanes that a topic may have.
    #[must_use]
    pub fn both(topic: &Topic) -> [Self; 2] {
        [topic.clone().into(), Self::high(topic.clone())]
    }
}

/// The lane of jobs that are not urgent.
impl From<Topic> for Lane {
    fn from(topic: Topic) -> Self {
        Self { topic, high: false }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.topic, if self.high { " (high)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urgent_jobs_go_into_the_high_lane() {
        let topic = || Topic::new("a/b").unwrap();
        for priority in Priority::ALL {
            assert_eq!(Lane::of(topic(), priority).high, priority == Priority::Urgent);
        }
        let [normal, high] = Lane::both(&topic());
        assert!(normal < high);
        assert_eq!((normal.to_string(), high.to_string()), ("a/b".into(), "a/b (high)".into()));
        assert!(high < Lane::from(Topic::new("a/c").unwrap()));
    }
}
