//! What a handler's program and the consumer agree on: lines on stderr, the exit status, stdout. Pure.
//!
//! | The program | Meaning |
//! |---|---|
//! | stderr `::progress 3/10 text` | step 3 of 10, with an optional text |
//! | stderr `::kind name` | the kind of error, should it fail |
//! | stderr `::beat` | a sign of life, and nothing else |
//! | stderr `::set name=value` | sets a property; the value is JSON if it parses, else text |
//! | stderr, anything else | a line of the job's log |
//! | exit 0 | succeeded; stdout is the result, JSON if it parses, else text |
//! | exit 65 | permanent error (`EX_DATAERR` of sysexits.h) |
//! | exit 75 (`EX_TEMPFAIL`) or any other | failed attempt, to be retried |
//! | ended by a signal | failed attempt that names the signal |

use longshore_model::limits;
use serde_json::Value;

use crate::program::reply::{Reply, printable};

/// Exit status that says: trying again is pointless.
pub const EXIT_PERMANENT: i32 = 65;

/// Longest line that is read as a whole, bytes: room for the largest property and its name. Of a longer one the
/// beginning goes to the log and the rest is dropped.
const LINE_BYTES: usize = limits::PROPERTY_BYTES + limits::LABEL_BYTES + 64;

/// One line of stderr, understood.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecLine {
    /// How far the job is: `1 <= steps`, `step <= steps`.
    Progress {
        /// Finished steps.
        step: u64,
        /// All steps.
        steps: u64,
        /// What is being done, at most [`limits::MESSAGE_BYTES`]; may be empty.
        text: String,
    },
    /// A property of the job.
    Set {
        /// At most [`limits::LABEL_BYTES`], not empty, no control characters.
        name: String,
        /// At most [`limits::PROPERTY_BYTES`] as JSON.
        value: Value,
    },
    /// The kind of error, should the run fail: legal as [`longshore_model::kind::check`] asks.
    Kind(String),
    /// A sign of life.
    Beat,
    /// A line for the job's log: at most [`limits::LOG_LINE_BYTES`], no control characters but tabs.
    Log(String),
}

impl ExecLine {
    /// Understands one line without its line end. What looks like a directive but is not well formed is logged as it
    /// stands, so that its author sees it.
    #[must_use]
    pub fn parse(line: &[u8]) -> Self {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\r').unwrap_or(&text);
        if text == "::beat" {
            return Self::Beat;
        }
        parse_progress(text).or_else(|| parse_set(text)).or_else(|| parse_kind(text)).unwrap_or_else(|| Self::log(text))
    }

    fn log(text: &str) -> Self {
        Self::Log(limits::cut(&printable(text), limits::LOG_LINE_BYTES))
    }
}

fn parse_progress(line: &str) -> Option<ExecLine> {
    let rest = line.strip_prefix("::progress ")?.trim_start();
    let (steps, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let (step, steps) = steps.split_once('/')?;
    let (step, steps) = (step.parse().ok()?, steps.parse().ok()?);
    let text = limits::cut(&printable(text.trim()), limits::MESSAGE_BYTES);
    (steps > 0 && step <= steps).then_some(ExecLine::Progress { step, steps, text })
}

fn parse_kind(line: &str) -> Option<ExecLine> {
    let kind = line.strip_prefix("::kind ")?.trim();
    longshore_model::kind::check(kind).ok().map(|()| ExecLine::Kind(kind.to_owned()))
}

fn parse_set(line: &str) -> Option<ExecLine> {
    let (name, value) = line.strip_prefix("::set ")?.split_once('=')?;
    let name = name.trim();
    if name.is_empty() || name.len() > limits::LABEL_BYTES || name.contains(char::is_control) {
        return None;
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    let bytes = serde_json::to_vec(&value).map_or(usize::MAX, |json| json.len());
    if bytes > limits::PROPERTY_BYTES {
        return Some(ExecLine::log(&format!(
            "property {name} was not set: its value has {bytes} bytes and {} are allowed; write it to an output file",
            limits::PROPERTY_BYTES
        )));
    }
    Some(ExecLine::Set { name: name.to_owned(), value })
}

/// Cuts a stream of bytes into lines, in bounded memory however long a line is.
#[derive(Debug, Default)]
pub struct Lines {
    line: Vec<u8>,
    overlong: bool,
}

impl Lines {
    /// Takes the next bytes of the stream and hands every line that they complete to `on_line`.
    pub fn push(&mut self, mut bytes: &[u8], mut on_line: impl FnMut(ExecLine)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend(&bytes[..end]);
            on_line(self.take());
            bytes = &bytes[end + 1..];
        }
        self.extend(bytes);
    }

    /// The stream has ended: hands on a last line that had no line end.
    pub fn finish(&mut self, mut on_line: impl FnMut(ExecLine)) {
        if !self.line.is_empty() {
            on_line(self.take());
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES - self.line.len();
        self.overlong |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// An overlong line is never a directive: half a value would be a wrong value.
    fn take(&mut self) -> ExecLine {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.overlong) {
            ExecLine::log(&String::from_utf8_lossy(&line))
        } else {
            ExecLine::parse(&line)
        }
    }
}

/// How the handler's program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It never ran; the reason, with the program's name.
    Unstarted(String),
    /// Its guard was killed, and it with its guard: how it would have ended is not known.
    GuardLost,
}

/// What the run of a handler's program means for its job.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecOutcome {
    /// Done, with this result.
    Succeeded(Value),
    /// Failed, and trying again is pointless; with the kind of error, where it has one.
    Permanent(String, Option<String>),
    /// Failed; the next attempt may do better. With the kind of error, where it has one.
    Retry(String, Option<String>),
    /// It was asked to stop, and ended after that. Whatever its exit status then was: programs commonly end a stop
    /// request with status 0, and half-done work must not pass for a success.
    Interrupted(String),
}

impl Ending {
    /// The kind of error that it is, for rules by kind: `exit-75`, `signal-9`, `unstarted`.
    #[must_use]
    pub fn kind(&self) -> Option<String> {
        match self {
            Self::Exited(0) | Self::GuardLost => None,
            Self::Exited(code) => Some(format!("exit-{code}")),
            Self::Signalled(number) => Some(format!("signal-{number}")),
            Self::Unstarted(_) => Some("unstarted".to_owned()),
        }
    }

    /// Judges a run by how it ended and what it wrote. `last_line`, the last line of its log, tells people why it
    /// failed.
    #[must_use]
    pub fn outcome(&self, stdout: &Reply, last_line: Option<&str>) -> ExecOutcome {
        let message = || match last_line {
            Some(line) => limits::cut(&format!("{self}: {line}"), limits::MESSAGE_BYTES),
            None => self.to_string(),
        };
        match self {
            Self::Exited(0) => match stdout.value() {
                Ok(result) => ExecOutcome::Succeeded(result),
                Err(too_large) => ExecOutcome::Permanent(too_large.to_string(), None),
            },
            Self::Exited(EXIT_PERMANENT) => ExecOutcome::Permanent(message(), self.kind()),
            Self::Exited(_) | Self::Signalled(_) => ExecOutcome::Retry(message(), self.kind()),
            Self::Unstarted(_) | Self::GuardLost => ExecOutcome::Retry(self.to_string(), self.kind()),
        }
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signalled(number) => match signal_name(*number) {
                Some(name) => write!(f, "ended by signal {number} ({name})"),
                None => write!(f, "ended by signal {number}"),
            },
            Self::Unstarted(reason) => f.write_str(reason),
            Self::GuardLost => {
                f.write_str("the process that guards the handler's program was killed, and the program with it")
            }
        }
    }
}

/// Names of the signals that end programs; numbers differ between systems, so they come from the system.
fn signal_name(number: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    Some(match Signal::from_named_raw(number)? {
        Signal::HUP => "SIGHUP",
        Signal::INT => "SIGINT",
        Signal::QUIT => "SIGQUIT",
        Signal::ILL => "SIGILL",
        Signal::TRAP => "SIGTRAP",
        Signal::ABORT => "SIGABRT",
        Signal::BUS => "SIGBUS",
        Signal::FPE => "SIGFPE",
        Signal::KILL => "SIGKILL",
        Signal::USR1 => "SIGUSR1",
        Signal::SEGV => "SIGSEGV",
        Signal::USR2 => "SIGUSR2",
        Signal::PIPE => "SIGPIPE",
        Signal::ALARM => "SIGALRM",
        Signal::TERM => "SIGTERM",
        Signal::XCPU => "SIGXCPU",
        Signal::XFSZ => "SIGXFSZ",
        Signal::SYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn check(line: &str, expect: &ExecLine) {
        assert_eq!(&ExecLine::parse(line.as_bytes()), expect, "{line:?}");
    }

    fn log(text: &str) -> ExecLine {
        ExecLine::Log(text.to_owned())
    }

    fn progress(step: u64, steps: u64, text: &str) -> ExecLine {
        ExecLine::Progress { step, steps, text: text.to_owned() }
    }

    fn set(name: &str, value: Value) -> ExecLine {
        ExecLine::Set { name: name.to_owned(), value }
    }

    fn split(chunks: &[&[u8]]) -> Vec<ExecLine> {
        let (mut lines, mut seen) = (Lines::default(), Vec::new());
        for chunk in chunks {
            lines.push(chunk, |line| seen.push(line));
        }
        lines.finish(|line| seen.push(line));
        seen
    }

    #[test]
    fn progress_lines() {
        check("::progress 3/10 resizing", &progress(3, 10, "resizing"));
        check("::progress 3/10", &progress(3, 10, ""));
        check("::progress 0/1  two  words \r", &progress(0, 1, "two  words"));
        for bad in ["::progress", "::progress ", "::progress 3", "::progress a/b", "::progress 1/0", "::progress 4/3"] {
            check(bad, &log(bad));
        }
        check("::progress -1/3", &log("::progress -1/3"));
        check(" ::progress 1/3", &log(" ::progress 1/3"));
    }

    #[test]
    fn set_lines() {
        check("::set width=640", &set("width", json!(640)));
        check(r#"::set size={"w":1}"#, &set("size", json!({"w": 1})));
        check("::set camera=Nikon = good", &set("camera", json!("Nikon = good")));
        check("::set empty=", &set("empty", json!("")));
        for bad in ["::set", "::set x", "::set =1", "::set  =1"] {
            check(bad, &log(bad));
        }
    }

    #[test]
    fn kinds_and_beats() {
        check("::kind rate-limited", &ExecLine::Kind("rate-limited".into()));
        check("::kind  busy ", &ExecLine::Kind("busy".into()));
        check("::beat", &ExecLine::Beat);
        for bad in ["::kind", "::kind ", "::kind a b", "::beat 1", " ::beat"] {
            check(bad, &log(bad));
        }
    }

    #[test]
    fn properties_fill_their_bound_and_no_more() {
        let value = "v".repeat(limits::PROPERTY_BYTES - 2);
        let fits = format!("::set x={value}\n::set x={value}v\n");
        let seen = split(&[fits.as_bytes()]);
        assert_eq!(seen[0], set("x", json!(value)));
        assert!(matches!(&seen[1], ExecLine::Log(text) if text.starts_with("property x was not set")), "{:?}", seen[1]);
    }

    #[test]
    fn log_lines_are_bounded_and_clean() {
        check("plain\ttext", &log("plain\ttext"));
        check("\x1b[2Jgone", &log("\\u{1b}[2Jgone"));
        assert_eq!(ExecLine::parse(b"\xff\xfe"), log("\u{fffd}\u{fffd}"));
        let ExecLine::Log(cut) = ExecLine::parse(&vec![b'x'; 9_000]) else { panic!("not a log line") };
        assert!(cut.len() <= limits::LOG_LINE_BYTES);
    }

    #[test]
    fn lines_are_found_across_chunks() {
        assert_eq!(split(&[b"on", b"e\n\ntw", b"o"]), [log("one"), log(""), log("two")]);
        assert_eq!(split(&[b"", b"x\n"]), [log("x")]);
    }

    #[test]
    fn an_overlong_directive_is_not_obeyed() {
        let line = format!("::set x={}\nnext\n", "9".repeat(LINE_BYTES));
        let seen = split(&[line.as_bytes()]);
        assert!(matches!(&seen[0], ExecLine::Log(text) if text.starts_with("::set x=99")));
        assert_eq!(seen[1], log("next"));
    }

    #[test]
    fn outcomes() {
        let reply = |text: &str| {
            let mut reply = Reply::default();
            reply.push(text.as_bytes());
            reply
        };
        let outcome = |ending: Ending, stdout: &str, last: Option<&str>| ending.outcome(&reply(stdout), last);
        assert_eq!(outcome(Ending::Exited(0), "[1]", None), ExecOutcome::Succeeded(json!([1])));
        assert_eq!(outcome(Ending::Exited(0), "fine", Some("x")), ExecOutcome::Succeeded(json!("fine")));
        assert_eq!(
            outcome(Ending::Exited(65), "", Some("not a picture")),
            ExecOutcome::Permanent("exit status 65: not a picture".into(), Some("exit-65".into()))
        );
        for code in [1, 75, 127, 255] {
            let expected = ExecOutcome::Retry(format!("exit status {code}"), Some(format!("exit-{code}")));
            assert_eq!(outcome(Ending::Exited(code), "", None), expected);
        }
        assert_eq!(
            outcome(Ending::Signalled(9), "", Some("x")),
            ExecOutcome::Retry("ended by signal 9 (SIGKILL): x".into(), Some("signal-9".into()))
        );
        let unnamed = ExecOutcome::Retry("ended by signal 40".into(), Some("signal-40".into()));
        assert_eq!(outcome(Ending::Signalled(40), "", None), unnamed);
        assert!(matches!(
            outcome(Ending::Exited(0), &"x".repeat(70_000), None),
            ExecOutcome::Permanent(text, None) if text.contains("65536")
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_chunks_keep_every_bound(
            text in proptest::collection::vec(any::<u8>(), 0..300),
            directive in "(::(progress|set|kind|beat) ?)?",
            repeat in 1_usize..100,
            chunk in 1_usize..5_000,
        ) {
            let mut bytes = directive.into_bytes();
            (0..repeat).for_each(|_| bytes.extend(&text));
            let chunks: Vec<&[u8]> = bytes.chunks(chunk).collect();
            let seen = split(&chunks);
            prop_assert_eq!(&seen, &split(&[&bytes]), "chunking must not matter");
            for line in seen {
                match line {
                    ExecLine::Log(text) => {
                        prop_assert!(text.len() <= limits::LOG_LINE_BYTES);
                        prop_assert!(!text.contains(|c: char| c.is_control() && c != '\t'));
                    }
                    ExecLine::Progress { step, steps, text } => {
                        prop_assert!(step <= steps && steps > 0 && text.len() <= limits::MESSAGE_BYTES);
                    }
                    ExecLine::Kind(kind) => prop_assert!(longshore_model::kind::check(&kind).is_ok()),
                    ExecLine::Beat => {}
                    ExecLine::Set { name, value } => {
                        prop_assert!(!name.is_empty() && name.len() <= limits::LABEL_BYTES);
                        prop_assert!(serde_json::to_vec(&value).unwrap().len() <= limits::PROPERTY_BYTES);
                    }
                }
            }
        }

        #[test]
        fn what_a_program_reports_is_understood(step in 0_u64..1000, more in 0_u64..1000, text in "[a-z]{1,9}( [a-z]{1,9})?") {
            let steps = step + more + 1;
            let line = format!("::progress {step}/{steps} {text}");
            prop_assert_eq!(ExecLine::parse(line.as_bytes()), progress(step, steps, &text));
            let line = format!("::set {}={}", "name", json!(text));
            prop_assert_eq!(ExecLine::parse(line.as_bytes()), set("name", json!(text)));
        }
    }
}
