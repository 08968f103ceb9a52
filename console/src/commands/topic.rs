//! `longshore topic`: topics × instances, and which instance may take which topic.

use super::instance::{self, RowShown};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean};
use crate::session::Session;
use clap::ValueEnum;
use longshore_producer::{Rule, Stand, StandOf, TopicLine, TopicPattern};
use serde::Serialize;

/// Which instance takes which topic: the topic × instance matrix.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Every topic: what waits, who takes it, who does not and why, and where nobody takes what waits.
    List(List),
    /// Let an instance take topics, keep it from them, or make them the only ones that it takes. In effect within two
    /// seconds, without a restart, and for good: it gives back what it had not started, and finishes what runs.
    Set(Set),
    /// Take all rules of an instance away.
    Clear(Clear),
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only these topics, such as media/**.
    topics: Option<TopicPattern>,
    /// Only topics of which jobs wait that nobody takes; exit code 1 if there are any.
    #[arg(long)]
    gaps: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    /// The instance: its id, or its name where only one has it.
    instance: String,
    /// A topic, or a pattern such as media/* or media/** or **; of several rules the nearest one holds.
    topic: TopicPattern,
    /// What holds from now on.
    #[arg(value_enum)]
    rule: What,
    /// Who asks, for those who wonder.
    #[arg(long, value_name = "NAME", default_value = "the command line")]
    by: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Clear {
    /// The instance: its id, or its name where only one has it.
    instance: String,
    /// Who asks, for those who wonder.
    #[arg(long, value_name = "NAME", default_value = "the command line")]
    by: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// It takes them, as without a rule.
    Enabled,
    /// It does not take them.
    Disabled,
    /// It takes them and nothing else; replaces all its rules.
    Exclusive,
}

impl From<What> for Rule {
    fn from(what: What) -> Self {
        match what {
            What::Enabled => Self::Enabled,
            What::Disabled => Self::Disabled,
            What::Exclusive => Self::Exclusive,
        }
    }
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    match command {
        Command::List(List { topics, gaps }) => {
            let mut lines = producer.topic_table().await?;
            lines.retain(|line| topics.as_ref().is_none_or(|topics| topics.matches(&line.topic)));
            lines.retain(|line| !gaps || line.gap.is_some());
            let found = !lines.is_empty();
            session.out.answer(&Topics { topics: lines, gaps })?;
            Ok(if gaps && found { Exit::Failed } else { Exit::Done })
        }
        Command::Set(Set { instance, topic, rule, by }) => {
            let id = producer.find_instance(&instance).await?;
            let kept = producer.set_topic(&id, &topic, rule.into(), &by).await?;
            instance::answer(&producer, id, kept, session).await
        }
        Command::Clear(Clear { instance, by }) => {
            let id = producer.find_instance(&instance).await?;
            let kept = producer.clear_topics(&id, &by).await?;
            instance::answer(&producer, id, kept, session).await
        }
    }
}

#[derive(Debug, Serialize)]
struct Topics {
    topics: Vec<TopicLine>,
    #[serde(skip)]
    gaps: bool,
}

/// Why an instance that has a handler does not take a topic, for people.
pub(super) const fn word(stand: Stand) -> &'static str {
    match stand {
        Stand::Takes => "takes it",
        Stand::NoHandler => "no handler",
        Stand::Denied => "denied by its settings",
        Stand::Disabled => "disabled",
        Stand::Excluded => "another topic is exclusive",
        Stand::Drained => "drained",
        Stand::Stopping => "shutting down",
        Stand::Outside => "outside the fleet",
    }
}

impl Answer for Topics {
    fn text(&self, screen: Screen) -> String {
        if self.topics.is_empty() {
            let none = if self.gaps { "no gap: whatever waits is taken by somebody" } else { "no topic is known" };
            return none.to_owned();
        }
        let mut table = Table::new(&["TOPIC", "WAITING", "RUNNING", "TAKEN BY", "NOT BY"]);
        for line in &self.topics {
            let of = |takes: bool| {
                let stands = move |of: &&StandOf| (of.stand == Stand::Takes) == takes && of.stand != Stand::NoHandler;
                line.instances.iter().filter(stands)
            };
            let takers: Vec<&str> = of(true).map(|of| of.name.as_str()).collect();
            let others: Vec<String> = of(false).map(|of| format!("{} ({})", of.name, word(of.stand))).collect();
            let taken = if takers.is_empty() { Cell::new("nobody", Tone::Bad) } else { takers.join(", ").into() };
            let waiting = line.waiting.to_string();
            let tone = if line.gap.is_some() { Tone::Bad } else { Tone::Plain };
            let running = line.running.to_string();
            let topic = line.topic.as_str();
            table.row([topic.into(), Cell::new(&waiting, tone), running.into(), taken, others.join(", ").into()]);
        }
        let gaps = self.topics.iter().filter_map(|line| line.gap.as_deref());
        let gaps: String = gaps.map(|gap| format!("\n{}", screen.paint(Tone::Bad, &clean(gap)))).collect();
        format!("{}{gaps}", table.show(screen))
    }
}

impl RowShown {
    /// The rules, for people.
    pub(super) fn rules(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(|(topics, rule)| format!("{topics} {rule}")).collect();
        rules.join(", ")
    }
}
