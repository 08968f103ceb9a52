//! Progress on stderr while something takes its time. Drawn only when the program says that something happened: no
//! thread of its own.

use super::text::clean;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar, or nothing where nobody looks.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target) }
    }

    /// Draws a bar of this length; 0: not known, so a count.
    pub(crate) fn length(&self, length: u64, unit: &str) {
        let template = match length {
            0 => format!("{{spinner}} {{pos}} {unit} {{msg}}"),
            _ => format!("{{bar:30}} {{pos}}/{{len}} {unit} {{eta}} {{msg}}"),
        };
        // The templates above are sound; with another one the plain bar stays.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            self.bar.set_style(style);
        }
        if length > 0 {
            self.bar.set_length(length);
        }
    }

    /// Draws a bar of this many bytes.
    pub(crate) fn bytes(&self, length: u64) {
        self.length(length, "");
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {eta} {msg}") {
            self.bar.set_style(style);
        }
    }

    /// Whether anybody sees it.
    pub(crate) fn is_shown(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// So far.
    pub(crate) fn at(&self, position: u64) {
        self.bar.set_position(position);
        self.bar.tick();
    }

    /// What goes on.
    pub(crate) fn say(&self, text: &str) {
        self.bar.set_message(clean(text).into_owned());
    }

    /// Does something that prints, with the bar out of its way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
