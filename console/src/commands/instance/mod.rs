//! `longshore instance`: one instance or all of them, draining one, and asking some.

mod ask;

use super::topic::word;
use super::topology::{Instance, Topology};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean, moment};
use crate::session::Session;
use longshore_model::span::rfc3339;
use longshore_producer::{InstanceId, KeptRow, Producer, Rule, Stand, Topic, TopicPattern};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a live instance may take to go by a row: one beat.
const IN_EFFECT: Duration = Duration::from_secs(5);

/// The instances: what they are, and draining one of them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// The live instances, and those that are away and have a row in the topic matrix.
    List,
    /// Everything about one instance, with how it stands to each topic.
    Show {
        /// Its id, or its name where only one has it.
        instance: String,
    },
    /// Make it take nothing new: it finishes what runs and goes on living, also after a restart, until it is resumed.
    Drain(Who),
    /// Let a drained instance take jobs again.
    Resume(Who),
    /// Ask live instances something for which they have a handler, and tell who has answered and who has not.
    Ask(ask::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Who {
    /// Its id, or its name where only one has it.
    instance: String,
    /// Who asks, for those who wonder.
    #[arg(long, value_name = "NAME", default_value = "the command line")]
    by: String,
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    match command {
        Command::List => {
            let (live, away) = read(&producer).await?;
            session.out.answer(&Instances { instances: live.instances, away })?;
            Ok(Exit::Done)
        }
        Command::Ask(args) => ask::run(args, &producer, session).await,
        Command::Show { instance } => show(&producer, &instance, session).await,
        Command::Drain(Who { instance, by }) => {
            let id = producer.find_instance(&instance).await?;
            let kept = producer.drain_instance(&id, &by).await?;
            answer(&producer, id, kept, session).await
        }
        Command::Resume(Who { instance, by }) => {
            let id = producer.find_instance(&instance).await?;
            let kept = producer.resume_instance(&id, &by).await?;
            answer(&producer, id, kept, session).await
        }
    }
}

/// The live instances, and the rows of those that are away.
async fn read(producer: &Producer) -> Result<(Topology, Vec<RowShown>), Failure> {
    let (view, mut rows) = (producer.topology().await?, producer.matrix().await?);
    rows.retain(|id, kept| !kept.row.is_open() && !view.instances.iter().any(|card| card.owner.instance == *id));
    let away = rows.into_iter().map(|(id, kept)| RowShown::new(id, kept, false)).collect();
    Ok((Topology::new(view), away))
}

async fn show(producer: &Producer, text: &str, session: &mut Session) -> Result<Exit, Failure> {
    let id = producer.find_instance(text).await?;
    let view = producer.topology().await?;
    let row = producer.matrix().await?.remove(&id);
    let card = view.instances.iter().find(|card| card.owner.instance == id);
    let in_effect = card.is_some_and(|card| row.as_ref().is_none_or(|kept| kept.row == card.row));
    let mut topics = Vec::new();
    if let Some(card) = card {
        let stand = |topic: Topic| StandTo { stand: card.stand(&topic), topic };
        topics = producer.topics().await?.into_iter().map(stand).collect();
    }
    let instance = Topology::new(view).instances.into_iter().find(|instance| instance.instance == id.0);
    let row = RowShown::new(id, row.unwrap_or_default(), in_effect);
    session.out.answer(&Shown { live: instance.is_some(), instance, row, topics })?;
    Ok(Exit::Done)
}

/// Tells what a row is now, and whether its instance goes by it.
pub(super) async fn answer(
    producer: &Producer,
    id: InstanceId,
    kept: KeptRow,
    session: &mut Session,
) -> Result<Exit, Failure> {
    let in_effect = producer.row_in_effect(&id, &kept.row, IN_EFFECT).await?;
    session.out.answer(&RowShown::new(id, kept, in_effect))?;
    Ok(Exit::Done)
}

/// A row of the topic matrix.
#[derive(Debug, Serialize)]
pub(super) struct RowShown {
    instance: String,
    pub(super) rules: BTreeMap<TopicPattern, Rule>,
    drained: bool,
    by: String,
    /// When it was changed last; `None`: never.
    since: Option<String>,
    /// Whether the instance is live and goes by it.
    in_effect: bool,
}

impl RowShown {
    fn new(id: InstanceId, kept: KeptRow, in_effect: bool) -> Self {
        let since = (kept.revision > 0).then(|| rfc3339(kept.since()));
        let row = kept.row;
        Self { instance: id.0, rules: row.rules, drained: row.drained, by: row.by, since, in_effect }
    }
}

impl Answer for RowShown {
    fn text(&self, screen: Screen) -> String {
        let mut says = Vec::new();
        if self.drained {
            says.push(screen.paint(Tone::Waiting, "drained"));
        }
        if !self.rules.is_empty() {
            says.push(self.rules());
        }
        if says.is_empty() {
            says.push("no rule: it takes whatever it has handlers for".to_owned());
        }
        let by = if self.by.is_empty() { String::new() } else { format!(" (by {})", self.by) };
        let effect = if self.in_effect { "" } else { "\nnot in effect yet: the instance is away, or has not answered" };
        let id = clean(&self.instance);
        format!("{id}: {}{}{effect}", says.join("; "), clean(&by))
    }
}

/// How an instance stands to a topic.
#[derive(Debug, Serialize)]
struct StandTo {
    topic: Topic,
    stand: Stand,
}

#[derive(Debug, Serialize)]
struct Shown {
    live: bool,
    instance: Option<Instance>,
    row: RowShown,
    topics: Vec<StandTo>,
}

impl Answer for Shown {
    fn text(&self, screen: Screen) -> String {
        let row = self.row.text(screen);
        let Some(instance) = &self.instance else { return format!("{row}\nit is not live") };
        let mut table = Table::new(&["TOPIC", ""]);
        for StandTo { topic, stand } in &self.topics {
            let tone = match stand {
                Stand::Takes => Tone::Good,
                Stand::NoHandler => Tone::Faint,
                _ => Tone::Waiting,
            };
            table.row([topic.as_str().into(), Cell::new(word(*stand), tone)]);
        }
        format!("{}\n{row}\n\n{}", instance.text(), table.show(screen))
    }
}

#[derive(Debug, Serialize)]
struct Instances {
    instances: Vec<Instance>,
    away: Vec<RowShown>,
}

impl Answer for Instances {
    fn text(&self, screen: Screen) -> String {
        let mut text = if self.instances.is_empty() {
            "no live instance; start a consumer".to_owned()
        } else {
            Instance::table(&self.instances, screen)
        };
        if !self.away.is_empty() {
            let mut table = Table::new(&["AWAY", "RULES", "DRAINED", "BY", "SINCE"]);
            for row in &self.away {
                let since = row.since.as_deref().map(moment).unwrap_or_default();
                let drained = if row.drained { "drained" } else { "" };
                table.row([
                    row.instance.as_str().into(),
                    row.rules().into(),
                    drained.into(),
                    row.by.as_str().into(),
                    since.into(),
                ]);
            }
            text.push_str("\n\n");
            text.push_str(&table.show(screen));
        }
        text
    }
}
