//! `longshore namespace remove NAME`: everything of one namespace goes, after a plan and with the name typed again.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Tone};
use crate::session::Session;
use longshore_model::names::Namespace;
use longshore_producer::{NamespaceContents, RemovalError, Topic};
use serde::Serialize;

/// Look after namespaces.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Remove every queue, exchange and key of a namespace: jobs, history, letters, journal. Files stay.
    ///
    /// Without --confirm it prints what there is and changes nothing. It refuses while instances are live.
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    /// The namespace.
    #[arg(value_name = "NAME")]
    name: Namespace,
    /// The name once more: do it.
    #[arg(long, value_name = "NAME")]
    confirm: Option<Namespace>,
    /// Delete the lanes of this topic as well, which the store does not know of.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<Topic>,
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    let Command::Remove(args) = command;
    if args.confirm.as_ref().is_some_and(|confirmed| *confirmed != args.name) {
        return Err(Failure::Usage(format!("--confirm names another namespace than `{}`", args.name)));
    }
    session.set_namespace(&args.name);
    let producer = session.producer().await?;
    let contents = producer.namespace_contents().await?;
    let mut answer = Removal { namespace: args.name.to_string(), contents, queues: 0, keys: 0, removed: false };
    if args.confirm.is_some() {
        match producer.remove_namespace(&args.topic).await {
            Ok((queues, keys)) => (answer.queues, answer.keys, answer.removed) = (queues, keys, true),
            Err(RemovalError::Fault(fault)) => return Err(fault.into()),
            Err(used @ RemovalError::InUse(_)) => return Err(Failure::Failed(used.to_string())),
        }
    }
    session.out.answer(&answer)?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Removal {
    namespace: String,
    /// What there was before.
    #[serde(flatten)]
    contents: NamespaceContents,
    /// Queues that were deleted.
    queues: u64,
    /// Keys that were deleted.
    keys: u64,
    removed: bool,
}

impl Answer for Removal {
    fn text(&self, screen: Screen) -> String {
        let NamespaceContents { jobs, topics, messages, letters, instances } = &self.contents;
        let jobs: Vec<String> = jobs.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let jobs = if jobs.is_empty() { "no jobs".to_owned() } else { format!("jobs: {}", jobs.join(", ")) };
        let last = if self.removed {
            screen.paint(Tone::Good, &format!("removed: {} queues, {} keys", self.queues, self.keys))
        } else if instances.is_empty() {
            format!("to remove all of it for good: --confirm {}", self.namespace)
        } else {
            screen.paint(Tone::Bad, &format!("live instances, stop them first: {}", instances.join(", ")))
        };
        format!("namespace {}: {jobs}; {topics} topics, {messages} messages, {letters} letters\n{last}", self.namespace)
    }
}
