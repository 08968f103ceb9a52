//! `longshore instance ask`: what live instances say to a question.

use crate::args::{self, Label, Payload};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean, one_line};
use crate::session::Session;
use longshore_producer::{Answers, AskOutcome, Producer, Ran, Topic};
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of the question, as handlers have it: a topic.
    name: String,
    /// What it is about: JSON, `@FILE`, or `-` for stdin.
    #[arg(long, value_name = "JSON", default_value = "null")]
    payload: Payload,
    /// Ask only this instance, by its id, or its name where only one has it; several times: these.
    #[arg(long = "instance", value_name = "INSTANCE")]
    instances: Vec<String>,
    /// Ask only instances whose settings say this; several times: all of it.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<Label>,
    /// Ask only instances that take jobs of this topic now.
    #[arg(long, value_name = "TOPIC")]
    takes: Vec<Topic>,
    /// Wait no longer than this for the answers.
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = args::duration)]
    timeout: Duration,
    /// Ask those as well that join meanwhile.
    #[arg(long)]
    newcomers: bool,
}

/// Ends with 0 when everybody who was asked has answered, with 1 when all are known to have answered, failed, no
/// handler or gone away, with 3 when no live instance fits, and with 4 when somebody has not said anything in time.
pub(super) async fn run(args: Args, producer: &Producer, session: &mut Session) -> Result<Exit, Failure> {
    let payload = args.payload.read().await?;
    let mut ask = producer.ask_raw(&args.name, payload).within(args.timeout);
    if !args.instances.is_empty() {
        let mut ids = Vec::new();
        for instance in &args.instances {
            ids.push(producer.find_instance(instance).await?);
        }
        ask = ask.of_instances(ids);
    }
    for Label { name, value } in args.labels {
        ask = ask.labelled(name, value);
    }
    for topic in args.takes {
        ask = ask.taking(topic);
    }
    if args.newcomers {
        ask = ask.and_newcomers();
    }
    let answers = ask.send().await?;
    let exit = match (answers.instances.is_empty(), answers.complete, answers.all_answered()) {
        (true, ..) => Exit::NotFound,
        (_, false, _) => Exit::TimedOut,
        (_, true, false) => Exit::Failed,
        (_, true, true) => Exit::Done,
    };
    session.out.answer(&Said(answers))?;
    Ok(exit)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Said(Answers);

impl Answer for Said {
    fn text(&self, screen: Screen) -> String {
        let answers = &self.0;
        let mut text = if answers.instances.is_empty() {
            "no live instance fits, so nobody was asked".to_owned()
        } else {
            let mut table = Table::new(&["INSTANCE", "NAME", "", "ANSWER"]);
            for one in &answers.instances {
                let (word, tone, said) = match &one.outcome {
                    AskOutcome::Answered(answer) => ("answered", Tone::Good, one_line(answer.get()).into_owned()),
                    AskOutcome::Failed(error) => ("failed", Tone::Bad, error.clone()),
                    AskOutcome::NoHandler => ("no handler", Tone::Bad, "it answers nothing under this name".to_owned()),
                    AskOutcome::Gone => ("gone", Tone::Waiting, ran(one.ran).to_owned()),
                    AskOutcome::Silent => ("silent", Tone::Bad, ran(one.ran).to_owned()),
                    AskOutcome::Unknown(why) => ("unknown", Tone::Bad, why.clone()),
                    other => (other.as_str(), Tone::Bad, String::new()),
                };
                table.row([
                    one.member.owner.instance.0.as_str().into(),
                    one.member.name.as_str().into(),
                    Cell::new(word, tone),
                    said.as_str().into(),
                ]);
            }
            table.show(screen)
        };
        match &answers.not_asked {
            None => text.push_str("\nwhether others joined meanwhile is not known"),
            Some(others) if !others.is_empty() => {
                let ids: Vec<String> = others.iter().map(|member| clean(&member.owner.instance.0).into()).collect();
                text.push_str(&format!("\njoined meanwhile and not asked: {}", ids.join(", ")));
            }
            Some(_) => {}
        }
        if !answers.complete {
            text.push_str("\nnot complete: not everybody has answered in time");
        }
        text
    }
}

/// Whether a handler ran that has not answered.
const fn ran(ran: Ran) -> &'static str {
    match ran {
        Ran::Yes => "its handler ran",
        Ran::No => "its handler did not run, and never will",
        Ran::Unknown => "its handler began; whether it came to its end is not known",
    }
}
