//! Placement: which of the instances that can run a job are to run it.
//!
//! A sender, a type of jobs or a queue asks for a [`Placement`]; when the job is made, that becomes a [`Site`], which
//! is kept with the job for good, or nothing. Jobs with a site wait in lanes of their own ([`crate::lane`]); whether
//! an instance takes such a lane follows from the site, from the instance and from who else is there
//! ([`crate::topology::View::is_for`]). So nothing is assigned to anybody, and nobody has to move a job because an
//! instance died.

use crate::lane::Lane;
use crate::limits;
use crate::topic::Topic;
use crate::topology::{Card, View};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What is asked of where a job runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Placement {
    /// Wherever somebody takes its topic.
    #[default]
    Any,
    /// In the sender's cluster while an instance of it takes the topic, else anywhere.
    LocalFirst,
    /// On the sender's own instance while it takes the topic, else anywhere. Anywhere, too, where the sender is no
    /// instance.
    PreferCreator,
    /// On the leader of the fleet, and nowhere else.
    Leader,
    /// On instances with a label, and nowhere else.
    Label(Label),
    /// On instances with a label while one of them takes the topic, else anywhere.
    PreferLabel(Label),
    /// On one instance, by its id, while it takes the topic, else anywhere.
    Target(String),
}

/// A label of instances, as in their setting `instance.labels`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Its value; `None`: any.
    pub value: Option<String>,
}

/// Which instances are to run a job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    /// Rather those of a cluster.
    Cluster(String),
    /// Rather this instance.
    Instance(String),
    /// The leader of the fleet alone.
    Leader,
    /// Those with a label alone.
    Label(Label),
    /// Rather those with a label.
    PreferLabel(Label),
}

/// Who sends a job, as far as it matters for where the job runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origin {
    /// Its cluster, if it has one.
    pub cluster: Option<String>,
    /// The id of its instance, if it is one.
    pub instance: Option<String>,
}

impl Placement {
    /// Where a job of this sender and this topic is to run; `None`: wherever. A preference that no lane can be named
    /// after is none.
    ///
    /// # Errors
    /// A sentence with the bound, when no lane can be named after what the job needs.
    pub fn site(&self, origin: &Origin, topic: &Topic) -> Result<Option<Site>, String> {
        let site = match self {
            Self::Any => None,
            Self::LocalFirst => origin.cluster.clone().map(Site::Cluster),
            Self::PreferCreator => origin.instance.clone().map(Site::Instance),
            Self::Leader => Some(Site::Leader),
            Self::Label(label) => Some(Site::Label(label.clone())),
            Self::PreferLabel(label) => Some(Site::PreferLabel(label.clone())),
            Self::Target(instance) => Some(Site::Instance(instance.clone())),
        };
        let Some(site) = site else { return Ok(None) };
        match site.check(topic) {
            Ok(()) => Ok(Some(site)),
            Err(_) if !site.is_firm() => Ok(None),
            Err(why) => Err(why),
        }
    }
}

impl Site {
    /// Whether the job runs there or not at all. Else it runs anywhere while nobody there takes its topic.
    #[must_use]
    pub const fn is_firm(&self) -> bool {
        matches!(self, Self::Leader | Self::Label(_))
    }

    /// Whether an instance of this view belongs to it.
    #[must_use]
    pub fn has(&self, card: &Card, view: &View) -> bool {
        match self {
            Self::Cluster(cluster) => card.cluster == *cluster,
            Self::Instance(instance) => card.owner.instance.0 == *instance,
            Self::Leader => view.coordinator.as_ref() == Some(&card.owner),
            Self::Label(label) | Self::PreferLabel(label) => label.is_of(&card.labels),
        }
    }

    /// Checks that a lane of this topic can be named after it.
    ///
    /// # Errors
    /// A sentence with the bound.
    pub fn check(&self, topic: &Topic) -> Result<(), String> {
        let text = self.to_string();
        if text.len() > limits::SITE_BYTES || text.parse().as_ref() != Ok(self) {
            let (shown, most) = (limits::cut(&text, 80), limits::SITE_BYTES);
            let why = format!("names nothing, has a `=` in a name, control characters, or more than {most} bytes");
            return Err(format!("placement: `{}` {why}", shown.escape_debug()));
        }
        let lane = Lane { topic: topic.clone(), high: true, site: Some(self.clone()) };
        if !lane.has_name() {
            return Err(format!(
                "placement: `{text}` and the topic {topic} together are too long; shorten one of them"
            ));
        }
        Ok(())
    }

    /// For people: which instances these are, `the cluster web`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Cluster(cluster) => format!("the cluster {cluster}"),
            Self::Instance(instance) => format!("the instance {instance}"),
            Self::Leader => "the leader".to_owned(),
            Self::Label(label) | Self::PreferLabel(label) => format!("instances with the label {label}"),
        }
    }
}

impl Label {
    /// Whether these labels have it.
    #[must_use]
    pub fn is_of(&self, labels: &std::collections::BTreeMap<String, String>) -> bool {
        labels.get(&self.name).is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}={value}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl FromStr for Label {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
        if name.is_empty() {
            return Err("a label has a name: write label:NAME=VALUE, or label:NAME for any value".to_owned());
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::LocalFirst => f.write_str("local_first"),
            Self::PreferCreator => f.write_str("prefer_creator"),
            Self::Leader => f.write_str("leader"),
            Self::Label(label) => write!(f, "label:{label}"),
            Self::PreferLabel(label) => write!(f, "prefer_label:{label}"),
            Self::Target(instance) => write!(f, "target:{instance}"),
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(cluster) => write!(f, "cluster:{cluster}"),
            Self::Instance(instance) => write!(f, "instance:{instance}"),
            Self::Leader => f.write_str("leader"),
            Self::Label(label) => write!(f, "label:{label}"),
            Self::PreferLabel(label) => write!(f, "prefer_label:{label}"),
        }
    }
}

/// A text that names something, and is within bounds.
fn named(text: &str) -> Result<&str, String> {
    if text.is_empty() || text.len() > limits::SITE_BYTES || text.chars().any(char::is_control) {
        return Err(format!(
            "a placement names what it means in 1 to {} bytes without control characters",
            limits::SITE_BYTES
        ));
    }
    Ok(text)
}

impl FromStr for Placement {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, of) = text.split_once(':').map_or((text, None), |(kind, of)| (kind, Some(of)));
        match (kind, of) {
            ("any", None) => Ok(Self::Any),
            ("local_first", None) => Ok(Self::LocalFirst),
            ("prefer_creator", None) => Ok(Self::PreferCreator),
            ("leader", None) => Ok(Self::Leader),
            ("label", Some(label)) => named(label)?.parse().map(Self::Label),
            ("prefer_label", Some(label)) => named(label)?.parse().map(Self::PreferLabel),
            ("target", Some(instance)) => named(instance).map(|instance| Self::Target(instance.to_owned())),
            _ => Err(format!(
                "`{}` is not a placement: use any, local_first, prefer_creator, leader, label:NAME=VALUE, \
                 prefer_label:NAME=VALUE or target:INSTANCE",
                limits::cut(text, 80).escape_debug()
            )),
        }
    }
}

impl FromStr for Site {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, of) = text.split_once(':').map_or((text, None), |(kind, of)| (kind, Some(of)));
        match (kind, of) {
            ("cluster", Some(cluster)) => named(cluster).map(|cluster| Self::Cluster(cluster.to_owned())),
            ("instance", Some(instance)) => named(instance).map(|instance| Self::Instance(instance.to_owned())),
            ("leader", None) => Ok(Self::Leader),
            ("label", Some(label)) => named(label)?.parse().map(Self::Label),
            ("prefer_label", Some(label)) => named(label)?.parse().map(Self::PreferLabel),
            _ => Err(format!(
                "`{}` is not a site: use cluster:ID, instance:ID, leader, label:NAME=VALUE or prefer_label:NAME=VALUE",
                limits::cut(text, 80).escape_debug()
            )),
        }
    }
}

macro_rules! as_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

as_text!(Placement, Site);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Incarnation, InstanceId, Owner};
    use std::collections::BTreeMap;

    fn topic() -> Topic {
        Topic::new("a/b").unwrap()
    }

    fn site(text: &str) -> Site {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "any",
            "local_first",
            "prefer_creator",
            "leader",
            "label:gpu",
            "label:gpu=yes=no",
            "prefer_label:zone=a b",
            "label:gpu=",
            "target:host-1",
        ] {
            assert_eq!(text.parse::<Placement>().unwrap().to_string(), text);
        }
        for text in ["cluster:web", "instance:host:1", "leader", "label:gpu=yes", "prefer_label:gpu"] {
            assert_eq!(site(text).to_string(), text);
            assert_eq!(serde_json::from_str::<Site>(&serde_json::to_string(&site(text)).unwrap()).unwrap(), site(text));
        }
        let long = format!("target:{}", "x".repeat(limits::SITE_BYTES + 1));
        for text in ["", "ANY", "any:x", "leader:x", "label", "label:", "label:=x", "target:", "target:a\nb", &long] {
            assert!(text.parse::<Placement>().is_err(), "{text}");
            assert!(text.parse::<Site>().is_err(), "{text}");
        }
        let why = "near".parse::<Placement>().unwrap_err();
        assert!(why.contains("prefer_label:NAME=VALUE or target:INSTANCE"), "{why}");
    }

    #[test]
    fn who_sends_decides_what_is_near() {
        let of = |text: &str, origin: &Origin| {
            let placement: Placement = text.parse().unwrap();
            placement.site(origin, &topic()).unwrap().map(|site| site.to_string())
        };
        let nobody = Origin::default();
        let instance = Origin { cluster: Some("web".into()), instance: Some("host-1".into()) };
        for (asked, unknown, known) in [
            ("any", None, None),
            ("local_first", None, Some("cluster:web")),
            ("prefer_creator", None, Some("instance:host-1")),
            ("leader", Some("leader"), Some("leader")),
            ("label:gpu=yes", Some("label:gpu=yes"), Some("label:gpu=yes")),
            ("prefer_label:gpu", Some("prefer_label:gpu"), Some("prefer_label:gpu")),
            ("target:x", Some("instance:x"), Some("instance:x")),
        ] {
            assert_eq!(of(asked, &nobody).as_deref(), unknown, "{asked}");
            assert_eq!(of(asked, &instance).as_deref(), known, "{asked}");
        }
    }

    #[test]
    fn a_preference_that_no_lane_can_be_named_after_is_none_and_a_need_is_refused() {
        let far = Topic::new(["x".repeat(44), "y".repeat(44), "z".repeat(44)].join("/")).unwrap();
        let value = "v".repeat(100);
        let asked = |text: String| text.parse::<Placement>().unwrap().site(&Origin::default(), &far);
        assert_eq!(asked(format!("prefer_label:l={value}")), Ok(None));
        assert_eq!(asked(format!("target:{value}")), Ok(None));
        assert!(asked(format!("label:l={value}")).unwrap_err().contains("too long"));
        assert!(asked("label:l=v".into()).unwrap().is_some());
        // What would not read back.
        let near = Origin { cluster: Some(String::new()), instance: Some("a\nb".into()) };
        assert_eq!(Placement::LocalFirst.site(&near, &topic()), Ok(None));
        assert_eq!(Placement::PreferCreator.site(&near, &topic()), Ok(None));
        let odd = Placement::Label(Label { name: "a=b".into(), value: None });
        assert!(odd.site(&near, &topic()).unwrap_err().contains("a `=` in a name"));
    }

    #[test]
    fn instances_are_of_a_site_by_cluster_id_lead_and_labels() {
        let card = |id: &str, cluster: &str, labels: &[(&str, &str)]| Card {
            cluster: cluster.into(),
            labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<BTreeMap<_, _>>(),
            ..Card::bare(Owner { instance: InstanceId(id.into()), incarnation: Incarnation(format!("{id}-1")) })
        };
        let instances =
            vec![card("a", "web", &[]), card("b", "web", &[("gpu", "yes")]), card("c", "c", &[("gpu", "no")])];
        let view = View { coordinator: Some(instances[1].owner.clone()), instances, ..View::default() };
        let of = |text: &str| {
            let (site, cards) = (site(text), view.instances.iter());
            cards.filter(|card| site.has(card, &view)).map(|card| card.owner.instance.0.as_str()).collect::<String>()
        };
        let sites =
            ["cluster:web", "instance:a", "leader", "label:gpu=yes", "label:gpu", "prefer_label:gpu=no", "cluster:x"];
        assert_eq!(sites.map(of), ["ab", "a", "b", "b", "bc", "c", ""]);
        assert_eq!(sites.map(|text| site(text).is_firm()), [false, false, true, true, true, false, false]);
    }
}
