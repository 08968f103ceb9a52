//! What can be typed. Every command's own arguments are in its file under `commands`.

use crate::commands::Command;
use clap::{Args, Parser, ValueEnum};
use std::path::PathBuf;

/// Longshore: a distributed job system on RabbitMQ and Redis.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 timed out.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, propagate_version = true, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(flatten)]
    pub(crate) look: Look,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the settings come from.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Global {
    /// Settings file [default: $LONGSHORE_CONFIG, else longshore.toml where there is one].
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Address of the broker. Others see a password that is typed here: the file or $LONGSHORE_BROKER__URL hides it.
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) broker: Option<String>,
    /// Address of the store; $LONGSHORE_STORE__URL.
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) store: Option<String>,
    /// Prefix of every name in the broker and the store; $LONGSHORE_NAMESPACE.
    #[arg(long, value_name = "NS", global = true)]
    pub(crate) namespace: Option<String>,
}

impl Global {
    /// The flags as settings.
    pub(crate) fn settings(&self) -> Vec<(String, String)> {
        let flags = [("broker.url", &self.broker), ("store.url", &self.store), ("namespace", &self.namespace)];
        let set = flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        set.collect()
    }
}

/// How the output looks.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct Look {
    /// For people, or one JSON document on one line (one a line where something is followed).
    #[arg(long, value_enum, default_value_t, value_name = "FORM", global = true)]
    pub(crate) output: Format,
    /// Colours; `auto`: on a terminal.
    #[arg(long, value_enum, default_value_t, value_name = "WHEN", global = true)]
    pub(crate) color: Color,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Human,
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }
}
