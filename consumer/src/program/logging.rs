//! The program's log: lines on stderr, for people or for machines (`log.format`), by level (`log.level`).
//!
//! Secrets never get here: types that hold one do not print it.

use longshore_model::settings::LogFormat;
use std::io::{self, IsTerminal};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::prelude::*;

/// What is logged.
pub type Filter = EnvFilter;

/// Reads `log.level`.
///
/// # Errors
/// What is wrong with it, with the remedy.
pub fn filter(level: &str) -> Result<Filter, String> {
    // The client library calls every closed connection an error, the orderly ones too; Longshore tells what a lost
    // one means. Whoever names it gets it.
    let level = if level.contains("lapin") { level.to_owned() } else { format!("{level},lapin=off") };
    EnvFilter::try_new(level).map_err(|error| {
        format!("log.level: {error}; write a level, or `info,longshore_link=debug` for more of one part")
    })
}

/// Starts to log. Once per process: a later call changes nothing.
pub fn start(filter: Filter, format: LogFormat) {
    let filter = filter.and(filter_fn(harmless));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let _ = match format {
        LogFormat::Text => {
            let lines = lines.with_ansi(io::stderr().is_terminal());
            tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
        }
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
        }
    };
}

/// Whether it may be logged at all. At its finest level the client library prints the frames that it sends, and the
/// first one holds the password.
fn harmless(about: &Metadata<'_>) -> bool {
    *about.level() != Level::TRACE || !about.target().starts_with("lapin")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_is_told_with_the_remedy() {
        assert!(filter("info,longshore_link=debug").is_ok());
        assert!(filter("info,=,[").unwrap_err().contains("log.level: "));
    }
}
