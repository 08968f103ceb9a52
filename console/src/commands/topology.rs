//! `longshore topology`: the live instances and what they take, once or whenever it changes.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, moment};
use crate::session::Session;
use longshore_model::span::rfc3339;
use longshore_model::topology::{Allowed, Capability, Card};
use longshore_producer::{View, World};
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
    let mut last = Topology::new(producer.topology().await?);
    session.out.answer(&last)?;
    if !args.watch {
        return Ok(Exit::Done);
    }
    let World { clock, .. } = &producer.link().world;
    loop {
        clock.sleep(LOOK).await;
        let now = match producer.topology().await {
            Ok(view) => Topology::new(view),
            Err(fault) if fault.is_passing() => {
                session.out.note(&format!("{fault}; asking again"));
                continue;
            }
            Err(fault) => return Err(fault.into()),
        };
        if now != last {
            session.out.answer(&now)?;
            last = now;
        }
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Topology {
    /// Grows whenever the set of instances or the coordinator changes.
    number: u64,
    /// Grows whenever another incarnation becomes coordinator.
    term: u64,
    instances: Vec<Instance>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Instance {
    instance: String,
    incarnation: String,
    name: String,
    cluster: String,
    version: String,
    started: String,
    slots: u32,
    running: u32,
    draining: bool,
    coordinator: bool,
    capabilities: Vec<Capability>,
    #[serde(flatten)]
    allowed: Allowed,
    properties: BTreeMap<String, String>,
}

impl Topology {
    fn new(view: View) -> Self {
        let View { number, term, coordinator, instances } = view;
        let instances = instances.into_iter().map(|card| {
            let coordinator = coordinator.as_ref() == Some(&card.owner);
            Instance::new(card, coordinator)
        });
        Self { number, term, instances: instances.collect() }
    }
}

impl Instance {
    fn new(card: Card, coordinator: bool) -> Self {
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
            coordinator,
            capabilities: card.capabilities,
            allowed: card.allowed,
            properties: card.properties,
        }
    }

    /// What it takes, for people.
    fn takes(&self) -> String {
        let mut patterns: Vec<String> = self.capabilities.iter().map(|c| c.pattern.to_string()).collect();
        if !self.allowed.is_open() {
            patterns.push("(bounded by allow and deny)".into());
        }
        patterns.join(" ")
    }

    fn role(&self) -> Cell {
        match (self.draining, self.coordinator) {
            (true, _) => Cell::new("draining", Tone::Waiting),
            (false, true) => Cell::new("coordinator", Tone::Good),
            (false, false) => Cell::default(),
        }
    }
}

impl Answer for Topology {
    fn text(&self, screen: Screen) -> String {
        if self.instances.is_empty() {
            return format!("view {}: no live instance; start a consumer", self.number);
        }
        let mut table = Table::new(&["NAME", "INSTANCE", "CLUSTER", "ROLE", "BUSY", "STARTED", "TAKES"]);
        for instance in &self.instances {
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
        format!("view {}, term {}\n{}", self.number, self.term, table.show(screen))
    }
}
