//! Lanes: the broker's queues of one topic, in which runnable jobs wait.
//!
//! Every topic has one. A second one, the high lane, is made when the first urgent job of the topic needs it: quorum
//! queues of RabbitMQ 3.10 have no priorities, and one lane is first in, first out. Jobs that are to run at some site
//! ([`crate::placement`]) have lanes of their own, a normal and a high one for each topic and site, as not everybody
//! who takes the topic takes these. What a lane's queue is called is said by [`crate::names`].

use crate::placement::Site;
use crate::priority::Priority;
use crate::topic::Topic;
use std::fmt;

/// A lane of a topic. The normal ones come before the high ones in the order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Lane {
    /// Its topic.
    pub topic: Topic,
    /// Where its jobs are to run; `None`: wherever somebody takes the topic.
    pub site: Option<Site>,
    /// Whether it is the one of urgent jobs.
    pub high: bool,
}

impl Lane {
    /// The lane of urgent jobs that may run anywhere.
    #[must_use]
    pub const fn high(topic: Topic) -> Self {
        Self { topic, site: None, high: true }
    }

    /// The lane in which a job of this priority waits that is to run there.
    #[must_use]
    pub const fn of(topic: Topic, priority: Priority, site: Option<Site>) -> Self {
        Self { topic, site, high: priority.is_high() }
    }

    /// Both lanes that the jobs of a topic have which may run anywhere.
    #[must_use]
    pub fn both(topic: &Topic) -> [Self; 2] {
        [topic.clone().into(), Self::high(topic.clone())]
    }

    /// This lane and the other one of its topic and site: the normal one, and the high one.
    #[must_use]
    pub fn pair(&self) -> [Self; 2] {
        [false, true].map(|high| Self { high, ..self.clone() })
    }

    /// Whether every topic has it, from the first job on.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        !self.high && self.site.is_none()
    }

    /// As the store spells it: the topic, `+` behind it if it is a high lane, and where it has one its site, a space
    /// between.
    #[must_use]
    pub fn spelled(&self) -> String {
        let site = self.site.as_ref().map(|site| format!(" {site}")).unwrap_or_default();
        format!("{}{}{site}", self.topic, if self.high { "+" } else { "" })
    }

    /// The lane that is spelled so.
    #[must_use]
    pub fn spelt(text: &str) -> Option<Self> {
        let (topic, site) = text.split_once(' ').map_or((text, None), |(topic, site)| (topic, Some(site)));
        let site = site.map(str::parse).transpose().ok()?;
        let (topic, high) = topic.strip_suffix('+').map_or((topic, false), |topic| (topic, true));
        Some(Self { topic: Topic::new(topic).ok()?, site, high })
    }
}

/// The lane of jobs that are not urgent and may run anywhere.
impl From<Topic> for Lane {
    fn from(topic: Topic) -> Self {
        Self { topic, site: None, high: false }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic.as_str())?;
        if let Some(site) = &self.site {
            write!(f, " ({site})")?;
        }
        f.write_str(if self.high { " (high)" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urgent_jobs_go_into_the_high_lane() {
        let topic = || Topic::new("a/b").unwrap();
        for priority in Priority::ALL {
            assert_eq!(Lane::of(topic(), priority, None).high, priority == Priority::Urgent);
        }
        let [normal, high] = Lane::both(&topic());
        assert!(normal < high && normal.is_first() && !high.is_first());
        assert_eq!(normal.pair(), Lane::both(&topic()));
        assert_eq!((normal.to_string(), high.to_string()), ("a/b".into(), "a/b (high)".into()));
        assert!(high < Lane::from(Topic::new("a/c").unwrap()));
    }

    #[test]
    fn each_site_has_a_lane_of_each_kind() {
        let topic = || Topic::new("a/b").unwrap();
        for (site, spelled) in [
            (None, ["a/b", "a/b+"]),
            (Some(Site::Leader), ["a/b leader", "a/b+ leader"]),
            (Some(Site::Instance("b c+ d".into())), ["a/b instance:b c+ d", "a/b+ instance:b c+ d"]),
        ] {
            let lanes = Lane { topic: topic(), site, high: true }.pair();
            assert_eq!(lanes.each_ref().map(Lane::spelled), spelled);
            for lane in lanes {
                assert_eq!(Lane::spelt(&lane.spelled()), Some(lane.clone()));
                assert_eq!(lane.is_first(), lane.spelled() == "a/b");
            }
        }
        for text in ["", "a/b++", "a/b ", "a/b nowhere", "+ leader"] {
            assert_eq!(Lane::spelt(text), None, "{text}");
        }
        let lane = Lane::of(topic(), Priority::Urgent, Some(Site::Leader));
        assert_eq!(lane.to_string(), "a/b (leader) (high)");
    }
}
