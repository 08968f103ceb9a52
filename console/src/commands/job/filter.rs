//! Which jobs a command is about: the options that `list`, `stop`, `retry` and `remove` share.

use crate::args::{self, Label};
use longshore_producer::{Condition, Find, State, TopicPattern};
use std::time::Duration;

#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Filter")]
pub(crate) struct Filter {
    /// In this state; may be given several times.
    #[arg(long = "state", value_name = "S", value_delimiter = ',')]
    states: Vec<State>,
    /// Of these topics: a/b itself, a/* its children, a/** all below it, ** all.
    #[arg(long, value_name = "PATTERN")]
    topic: Option<TopicPattern>,
    /// Accepted under this queue.
    #[arg(long, value_name = "Q")]
    queue: Option<String>,
    /// With this label; given several times, with all of them.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<Label>,
    /// Whose payload fits, such as width>=800 or asset.name=cat.jpg (=, <, <=, >, >=); given several times, all of them.
    #[arg(long = "where", value_name = "COND")]
    conditions: Vec<Condition>,
    /// Accepted within the last so much time, such as 1h.
    #[arg(long, value_name = "DUR", value_parser = args::duration)]
    since: Option<Duration>,
}

impl Filter {
    /// Jobs of a queue in these states.
    pub(crate) fn of_queue(name: String, states: Vec<State>) -> Self {
        Self { queue: Some(name), states, ..Self::default() }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        let Self { states, topic, queue, labels, conditions, since } = self;
        let of_job = topic.is_none() && queue.is_none() && labels.is_empty() && conditions.is_empty();
        states.is_empty() && of_job && since.is_none()
    }

    /// Whether jobs in this state are meant; `otherwise` where no state is named.
    pub(crate) fn names(&self, state: State, otherwise: bool) -> bool {
        if self.states.is_empty() { otherwise } else { self.states.contains(&state) }
    }

    /// Restricts a question, also to the states named.
    pub(crate) fn apply_all(&self, find: Find) -> Find {
        self.apply(find.states(self.states.iter().copied()))
    }

    /// Restricts a question, not to states.
    pub(crate) fn apply(&self, mut find: Find) -> Find {
        if let Some(topic) = &self.topic {
            find = find.topic(&topic.to_string());
        }
        if let Some(queue) = &self.queue {
            find = find.queue(queue);
        }
        for Label { name, value } in &self.labels {
            find = find.label(name, value);
        }
        if !self.conditions.is_empty() {
            find = find.matching(self.conditions.iter().map(ToString::to_string));
        }
        if let Some(since) = self.since {
            find = find.within(since);
        }
        find
    }
}
