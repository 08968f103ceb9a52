//! The commands, one file each: its arguments, what it does, what it answers.

mod audit;
mod bench;
mod config;
mod demo;
mod doctor;
mod events;
mod files;
mod history;
mod instance;
mod job;
mod letters;
mod limit;
mod namespace;
mod queue;
mod schedule;
mod stats;
mod topic;
mod topology;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send, find, look at and control jobs.
    #[command(subcommand)]
    Job(job::Command),
    #[command(subcommand)]
    Queue(queue::Command),
    #[command(subcommand)]
    Limit(limit::Command),
    #[command(subcommand)]
    History(history::Command),
    Letters(letters::Args),
    /// Send jobs again and again, or once, at times known before.
    #[command(subcommand)]
    Schedule(schedule::Command),
    /// Who is there: the live instances and what they take.
    Topology(topology::Args),
    #[command(subcommand)]
    Instance(instance::Command),
    #[command(subcommand)]
    Topic(topic::Command),
    Stats(stats::Args),
    Events(events::Args),
    Audit(audit::Args),
    #[command(subcommand)]
    Files(files::Command),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Namespace(namespace::Command),
    /// Every setting with its value and where it was set; secrets are hidden.
    Config,
    Demo(demo::Args),
    Bench(bench::Args),
}

pub(crate) async fn run(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    match command {
        Command::Job(command) => job::run(command, session).await,
        Command::Queue(command) => queue::run(command, session).await,
        Command::Limit(command) => limit::run(command, session).await,
        Command::History(command) => history::run(command, session).await,
        Command::Schedule(command) => schedule::run(command, session).await,
        Command::Letters(args) => letters::run(args, session).await,
        Command::Topology(args) => topology::run(&args, session).await,
        Command::Instance(command) => instance::run(command, session).await,
        Command::Topic(command) => topic::run(command, session).await,
        Command::Stats(args) => stats::run(&args, session).await,
        Command::Events(args) => events::run(args, session).await,
        Command::Audit(args) => audit::run(&args, session).await,
        Command::Files(command) => files::run(command, session).await,
        Command::Doctor(args) => doctor::run(args, session).await,
        Command::Namespace(command) => namespace::run(command, session).await,
        Command::Config => config::run(session),
        Command::Demo(args) => demo::run(args, session).await,
        Command::Bench(args) => bench::run(args, session).await,
    }
}
