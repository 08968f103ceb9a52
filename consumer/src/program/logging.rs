//! The program's log: lines on stderr, for people or for machines (`log.format`), by level (`log.level`).
//!
//! Secrets never get here: types that hold one do not print it.

use longshore_model::settings::LogFormat;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

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
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let _ = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
    };
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
