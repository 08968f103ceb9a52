//! `longshore topology`: the live instances and what they take, once or whenever it changes.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean, moment};
use crate::session::Session;
use longshore_model::span::{rfc3339, show};
use longshore_model::topology::properties::write_labels;
use longshore_model::topology::{Allowed, Capability, Card};
use longshore_producer::{Distrust, Fault, Ignored, Row, View, World};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Time between two looks: a beat, after which load may have changed.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show it again whenever it changes, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let look = async || {
        let (view, strangers) = (producer.topology().await?, producer.strangers().await?);
        Ok::<_, Fault>(Topology {
            strangers: strangers.into_iter().map(Stranger::from).collect(),
            ..Topology::new(view)
        })
    };
    let mut last = look().await?;
    session.out.answer(&last)?;
    if !args.watch {
        return Ok(Exit::Done);
    }
    let World { clock, .. } = &producer.link().world;
    loop {
        clock.sleep(LOOK).await;
        let now = match look().await {
            Ok(now) => now,
            Err(fault) if fault.is_passing() => {
                session.out.note(&format!("{fault}; asking again"));
                continue;
            }
            Err(fault) => return Err(fault.into()),
        };
        if !now.looks_like(&last) {
            session.out.answer(&now)?;
            last = now;
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Topology {
    /// Grows whenever the set of instances or the coordinator changes.
    number: u64,
    /// Grows whenever another incarnation becomes coordinator.
    term: u64,
    pub(super) instances: Vec<Instance>,
    /// Live instances that are not signed with the fleet's keys.
    strangers: Vec<Stranger>,
}

/// A live instance that is not trusted.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Stranger {
    instance: String,
    incarnation: String,
    name: String,
    why: Distrust,
    #[serde(skip)]
    text: String,
}

impl From<Ignored> for Stranger {
    fn from(ignored: Ignored) -> Self {
        let text = ignored.to_string();
        let Ignored { owner, name, why } = ignored;
        Self { instance: owner.instance.0, incarnation: owner.incarnation.0, name, why, text }
    }
}

/// A live instance, as it says of itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Instance {
    pub(super) instance: String,
    incarnation: String,
    name: String,
    cluster: String,
    version: String,
    started: String,
    slots: u32,
    running: u32,
    draining: bool,
    /// Whether it says that it does not belong to the fleet, and takes nothing.
    outside: bool,
    coordinator: bool,
    /// Whether it leads its cluster.
    leader: bool,
    /// How much it is to lead.
    leader_preference: i32,
    capabilities: Vec<Capability>,
    #[serde(flatten)]
    allowed: Allowed,
    /// The row of the topic matrix that it goes by.
    row: Row,
    labels: BTreeMap<String, String>,
    endpoints: Vec<String>,
    properties: BTreeMap<String, String>,
    /// Deliveries that wait in it for a slot.
    held: u64,
    /// How long the one waits that waits longest, ms.
    lag_ms: u64,
    /// By how much its clock is ahead of the store's, ms.
    skew_ms: Option<i64>,
}

impl Topology {
    /// Whether nothing differs that is worth to be shown again: clocks and waiting times always do.
    fn looks_like(&self, other: &Self) -> bool {
        let still = |topology: &Self| {
            let mut still = topology.clone();
            for instance in &mut still.instances {
                (instance.skew_ms, instance.lag_ms) = (None, 0);
            }
            still
        };
        still(self) == still(other)
    }

    pub(super) fn new(view: View) -> Self {
        let leads = |card: &Card| view.leader(&card.cluster).is_some_and(|leader| leader.owner == card.owner);
        let leaders: Vec<bool> = view.instances.iter().map(leads).collect();
        let View { number, term, coordinator, instances } = view;
        let instances = instances.into_iter().zip(leaders).map(|(card, leader)| {
            let coordinator = coordinator.as_ref() == Some(&card.owner);
            Instance::new(card, coordinator, leader)
        });
        Self { number, term, instances: instances.collect(), strangers: Vec::new() }
    }
}

impl Instance {
    fn new(card: Card, coordinator: bool, leader: bool) -> Self {
        Self {
            instance: card.owner.instance.0,
            incarnation: card.owner.incarnation.0,
            name: card.name,
            cluster: card.cluster,
            version: card.version,
            started: rfc3339(card.started),
            slots: card.slots,
            running: card.running,
            draining: card.draining,
            outside: card.outside,
            coordinator,
            leader,
            leader_preference: card.leader_preference,
            capabilities: card.capabilities,
            allowed: card.allowed,
            row: card.row,
            labels: card.labels,
            endpoints: card.endpoints,
            properties: card.properties,
            held: card.held.values().chain(card.held_at.values()).sum(),
            lag_ms: card.lag_ms,
            skew_ms: card.skew_ms,
        }
    }

    /// What it takes, for people.
    fn takes(&self) -> String {
        let mut patterns: Vec<String> = self.capabilities.iter().map(|c| c.pattern.to_string()).collect();
        if !self.allowed.is_open() {
            patterns.push("(bounded by allow and deny)".into());
        }
        if !self.row.rules.is_empty() {
            patterns.push("(bounded by the topic matrix)".into());
        }
        patterns.join(" ")
    }

    fn role(&self) -> Cell {
        if self.outside {
            return Cell::new("outside", Tone::Bad);
        }
        match (self.draining, self.row.drained, self.coordinator) {
            (true, ..) => Cell::new("draining", Tone::Waiting),
            (false, true, _) => Cell::new("drained", Tone::Waiting),
            (false, false, true) => Cell::new("coordinator", Tone::Good),
            (false, false, false) if self.leader => Cell::new("leader", Tone::Good),
            _ => Cell::default(),
        }
    }

    /// Many of them.
    pub(super) fn table(instances: &[Self], screen: Screen) -> String {
        let mut table = Table::new(&["NAME", "INSTANCE", "CLUSTER", "ROLE", "BUSY", "STARTED", "TAKES"]);
        for instance in instances {
            let busy = format!("{}/{}", instance.running, instance.slots);
            table.row([
                instance.name.as_str().into(),
                instance.instance.as_str().into(),
                instance.cluster.as_str().into(),
                instance.role(),
                busy.into(),
                moment(&instance.started).into(),
                instance.takes().into(),
            ]);
        }
        table.show(screen)
    }

    /// One of them, in lines.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![
            format!("{} ({})", self.name, self.instance),
            format!("cluster {}, version {}, since {}", self.cluster, self.version, moment(&self.started)),
            format!("{} of {} slots are busy", self.running, self.slots),
            format!("takes {}", self.takes()),
        ];
        let lag = show(Duration::from_millis(self.lag_ms));
        lines.extend((self.held > 0).then(|| format!("deliveries that wait for a slot: {}, up to {lag}", self.held)));
        lines.extend(self.skew_ms.map(|skew| format!("clock {skew:+} ms against the store's")));
        lines.extend((!self.labels.is_empty()).then(|| format!("labels {}", write_labels(&self.labels))));
        lines.extend((!self.endpoints.is_empty()).then(|| format!("reached at {}", self.endpoints.join(", "))));
        lines.extend(self.properties.iter().map(|(name, value)| format!("{name} = {value}")));
        let lines: Vec<String> = lines.iter().map(|line| clean(line).into_owned()).collect();
        lines.join("\n")
    }
}

impl Answer for Topology {
    fn text(&self, screen: Screen) -> String {
        let mut text = if self.instances.is_empty() {
            format!("view {}: no live instance; start a consumer", self.number)
        } else {
            format!("view {}, term {}\n{}", self.number, self.term, Instance::table(&self.instances, screen))
        };
        for Stranger { text: says, .. } in &self.strangers {
            text.push_str("\nnot trusted: ");
            text.push_str(&clean(says));
        }
        text
    }
}
