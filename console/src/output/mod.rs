//! The only place that prints: answers on stdout, everything else on stderr.
//!
//! An answer of a command is one value with two forms: JSON, from its `Serialize`, and text, from its
//! [`Answer::text`]. Colours and drawn tables are for terminals; whatever came from a job is shown with its
//! control characters escaped.

mod job;
mod json;
mod progress;
mod style;
mod table;
mod text;

pub(crate) use job::{Detail, crash_line, moment, state_tone, wait_line};
pub(crate) use json::one_line;
pub(crate) use progress::Progress;
pub(crate) use style::{Screen, Tone};
pub(crate) use table::{Cell, Table};
pub(crate) use text::{clean, clean_lines};

use crate::cli::{Color, Format, Look};
use crate::exit::Exit;
use crate::failure::Failure;
use serde::Serialize;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// Most bytes of an answer to a question that are read.
const ANSWER_BYTES: u64 = 1_024;

/// Where the program prints to.
pub struct Streams {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// Somebody looks at stdout.
    terminal: bool,
    /// Somebody looks at stderr, where progress bars are drawn.
    err_terminal: bool,
    /// Somebody can answer a question: stdin and stderr are terminals.
    answers: bool,
    /// stdout takes colours, where the command line does not decide.
    colors: bool,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Streams {
    /// The process's own.
    #[must_use]
    pub fn standard() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        Self {
            terminal: out.is_terminal(),
            err_terminal: err.is_terminal(),
            answers: io::stdin().is_terminal() && err.is_terminal(),
            // Also honours NO_COLOR and its relatives.
            colors: anstream::AutoStream::choice(&out) != anstream::ColorChoice::Never,
            out: Box::new(out),
            err: Box::new(err),
        }
    }

    /// Into writers that are no terminals.
    pub fn into_writers(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            terminal: false,
            err_terminal: false,
            answers: false,
            colors: false,
        }
    }
}

/// What a command answers.
pub(crate) trait Answer: Serialize {
    /// The form for people, without a newline at its end; empty for nothing to say.
    fn text(&self, screen: Screen) -> String;
}

/// Prints.
#[derive(Debug)]
pub(crate) struct Output {
    streams: Streams,
    format: Format,
    screen: Screen,
}

impl Output {
    pub(crate) fn new(streams: Streams, look: Look) -> Self {
        let colors = match look.color {
            Color::Auto => streams.colors,
            Color::Always => true,
            Color::Never => false,
        };
        let screen = Screen { terminal: streams.terminal, colors };
        Self { streams, format: look.output, screen }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints an answer, in the form asked for.
    pub(crate) fn answer(&mut self, answer: &impl Answer) -> Result<(), Failure> {
        let text = if self.is_json() { json::document(answer)? } else { answer.text(self.screen) };
        if text.is_empty() {
            return Ok(());
        }
        let out = &mut self.streams.out;
        out.write_all(text.as_bytes())
            .and_then(|()| out.write_all(b"\n"))
            .and_then(|()| out.flush())
            .map_err(|error| Failure::writing(&error))
    }

    /// Says something on stderr that is no answer: what is waited for, what was left out. Not to machines.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.is_json() {
            // Nobody to tell is no reason to fail.
            let _ = writeln!(self.streams.err, "{}", clean_lines(text));
        }
    }

    /// Shows on stderr what is about to happen (the text of an answer, which is harmless already), and asks whether it
    /// shall; `None` where nobody can answer.
    pub(crate) async fn ask(&mut self, about: &str, question: &str) -> Option<bool> {
        if !self.streams.answers || self.is_json() {
            return None;
        }
        let err = &mut self.streams.err;
        write!(err, "{about}\n{} [y/N] ", clean_lines(question)).and_then(|()| err.flush()).ok()?;
        let mut line = String::new();
        let mut input = BufReader::new(tokio::io::stdin()).take(ANSWER_BYTES);
        input.read_line(&mut line).await.ok()?;
        Some(is_yes(&line))
    }

    /// Says on stderr what went wrong.
    pub(crate) fn error(&mut self, text: &str) {
        complain(&mut self.streams, text);
    }

    /// What stdout can show.
    pub(crate) const fn screen(&self) -> Screen {
        self.screen
    }

    /// A progress bar, which is nothing where nobody looks.
    pub(crate) fn progress(&self) -> Progress {
        Progress::new(self.streams.terminal && self.streams.err_terminal && !self.is_json())
    }
}

/// Anything but a clear yes is a no.
fn is_yes(line: &str) -> bool {
    matches!(line.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Says on stderr what went wrong.
pub(crate) fn complain(streams: &mut Streams, text: &str) {
    let _ = writeln!(streams.err, "longshore: {}", clean_lines(text));
}

/// Prints help and the version where they belong, and what is wrong with a command line.
pub(crate) fn usage(streams: &mut Streams, error: &clap::Error) -> Exit {
    let text = error.render();
    if error.use_stderr() {
        // The text repeats what was typed.
        let _ = streams.err.write_all(clean_lines(&text.to_string()).as_bytes());
        return Exit::Usage;
    }
    let text = if streams.colors { text.ansi().to_string() } else { text.to_string() };
    let _ = streams.out.write_all(text.as_bytes()).and_then(|()| streams.out.flush());
    Exit::Done
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_clear_yes_is_a_yes() {
        for yes in ["y\n", "Y", " yes \r\n", "YES"] {
            assert!(super::is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "yep", "y y", "no\n"] {
            assert!(!super::is_yes(no), "{no:?}");
        }
    }
}
