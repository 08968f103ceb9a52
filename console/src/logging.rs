//! What the libraries below have to say, on stderr. Quiet unless asked: a command's own message is the one to read.

use longshore_model::settings::OnUnreachable;
use longshore_producer::Loaded;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts the log, once a process.
pub(crate) fn start(loaded: &Loaded) {
    let level = if loaded.origins.contains_key("log.level") {
        loaded.settings.log.level.as_str()
    } else if loaded.settings.on_unreachable == OnUnreachable::Wait {
        // Otherwise a program that waits for its broker looks as if it hung.
        "warn"
    } else {
        "off"
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second run in the same process (a test) keeps the first log.
    let _ = log.try_init();
}
