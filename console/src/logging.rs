//! What the libraries below have to say, on stderr. Quiet unless asked: a command's own message is the one to read.

use longshore_model::settings::OnUnreachable;
use longshore_producer::Loaded;
use std::io::IsTerminal;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::prelude::*;

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
    let filter = EnvFilter::new(level).and(filter_fn(harmless));
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    // A second run in the same process (a test) keeps the first log.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

/// Whether it may be logged at all. At its finest level the client library prints the frames that it sends, and the
/// first one holds the password.
fn harmless(about: &Metadata<'_>) -> bool {
    *about.level() != Level::TRACE || !about.target().starts_with("lapin")
}
