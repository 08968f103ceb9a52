//! A job for people.

use super::style::{Screen, Tone};
use super::text::clean;
use super::{Answer, one_line};
use longshore_model::snapshot::{CrashView, ProgressView};
use longshore_producer::{FileRef, JobView, State};
use serde::Serialize;
use std::fmt::Write as _;

/// A job with all that is known of it.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Detail(pub(crate) JobView);

/// How a state looks.
pub(crate) const fn state_tone(state: State) -> Tone {
    match state {
        State::Active => Tone::Busy,
        State::Succeeded => Tone::Good,
        State::Error | State::GivenUp => Tone::Bad,
        State::Retrying | State::Blocked => Tone::Waiting,
        State::Stopped | State::Dropped => Tone::Faint,
        State::Scheduled | State::Queued => Tone::Plain,
    }
}

/// A time to the second.
pub(crate) fn moment(rfc3339: &str) -> String {
    match rfc3339.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => rfc3339.to_owned(),
    }
}

/// Why a job is where it is, in one line; empty where its state says all.
pub(crate) fn wait_line(job: &JobView) -> String {
    match (&job.waiting, &job.message, job.reason) {
        (Some(waiting), ..) => waiting.detail.clone(),
        (None, Some(message), _) => message.clone(),
        (None, None, Some(reason)) => reason.to_string(),
        (None, None, None) => String::new(),
    }
}

impl Answer for Detail {
    fn text(&self, screen: Screen) -> String {
        let mut page = Page { screen, text: String::new() };
        page.job(&self.0);
        page.text.truncate(page.text.trim_end().len());
        page.text
    }
}

struct Page {
    screen: Screen,
    text: String,
}

impl Page {
    fn job(&mut self, job: &JobView) {
        self.line("job", &job.id.to_string(), Tone::Strong);
        self.line("topic", job.topic.as_str(), Tone::Plain);
        self.line("queue", &job.queue, Tone::Plain);
        self.line("state", &state_line(job), state_tone(job.state));
        self.maybe("waits", job.waiting.as_ref().map(|waiting| waiting.detail.as_str()));
        self.maybe("title", job.title.as_deref());
        let labels: Vec<String> = job.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.maybe("labels", (!labels.is_empty()).then(|| labels.join(" ")).as_deref());
        self.line("payload", &one_line(job.payload.get()), Tone::Plain);
        self.files("inputs", &job.inputs);
        self.times(job);
        self.maybe("message", job.message.as_deref());
        self.maybe("progress", progress(job).as_deref());
        self.maybe("result", job.result.as_ref().map(|result| one_line(result.get())).as_deref());
        self.files("outputs", &job.outputs);
        for (name, value) in &job.properties {
            self.line("property", &format!("{name} = {value}"), Tone::Plain);
        }
        self.maybe("parent", job.parent.map(|id| id.to_string()).as_deref());
        self.maybe("retry of", job.retry_of.map(|id| id.to_string()).as_deref());
        self.maybe("retried as", job.retried_as.map(|id| id.to_string()).as_deref());
        for attempt in &job.attempts {
            let error = attempt.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
            let ended = attempt.ended.as_deref().map(|at| format!(" to {}", moment(at))).unwrap_or_default();
            let (number, instance, started) = (attempt.number, &attempt.instance, moment(&attempt.started));
            let kind = attempt.kind.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
            let text = format!("{number} on {instance} {started}{ended}, {}{kind}{error}", attempt.outcome);
            self.line("attempt", &text, Tone::Plain);
            self.maybe("", attempt.crash.as_ref().map(crash_line).as_deref());
            if attempt.number != job.attempt {
                self.maybe("", attempt.progress.as_ref().map(steps).as_deref());
                let lines = (!attempt.log.is_empty())
                    .then(|| format!("{} lines: job log {} --attempt {}", attempt.log.len(), job.id, attempt.number));
                self.maybe("", lines.as_deref());
            }
        }
        for line in &job.log {
            let more = if line.truncated { " …(older lines were let go)" } else { "" };
            self.line("log", &format!("{} {} {}{more}", moment(&line.at), line.level, line.text), Tone::Faint);
        }
    }

    fn times(&mut self, job: &JobView) {
        let by = job.created_by.as_ref().map(|who| format!(" by {who}")).unwrap_or_default();
        self.line("created", &format!("{}{by}", moment(&job.created)), Tone::Plain);
        let on = job.instance.as_ref().map(|who| format!(" on {who}")).unwrap_or_default();
        let started = job.started.as_deref().map(|at| format!("{}{on}", moment(at)));
        let shown = |at: &Option<String>| at.as_deref().map(moment);
        for (name, value) in [
            ("due", shown(&job.due)),
            ("expires", shown(&job.expires)),
            ("retries end", shown(&job.retry_until)),
            ("started", started),
            ("finished", shown(&job.finished)),
        ] {
            self.maybe(name, value.as_deref());
        }
    }

    fn files(&mut self, name: &str, files: &[FileRef]) {
        for file in files {
            self.line(name, &format!("{} ({} bytes)", file.name, file.size), Tone::Plain);
        }
    }

    fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.line(name, value, Tone::Plain);
        }
    }

    fn line(&mut self, name: &str, value: &str, tone: Tone) {
        let name = self.screen.paint(Tone::Faint, &format!("{name:<11}"));
        let value = self.screen.paint(tone, &clean(value));
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name} {value}");
    }
}

fn state_line(job: &JobView) -> String {
    let reason = job.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let allowed = if job.max_retries < 0 { "any number".into() } else { job.max_retries.to_string() };
    let attempts = match job.attempt {
        0 => String::new(),
        started => {
            let used = job.retries.saturating_sub(job.kinds.total()).min(job.attempt);
            format!(", attempt {started}, {used} of {allowed} retries used")
        }
    };
    let kinds: Vec<String> = job.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" and {}", kinds.join(", ")) };
    let crashes = if job.crashes > 0 { format!(", {} crashes", job.crashes) } else { String::new() };
    format!("{}{reason}{attempts}{kinds}{crashes}", job.state)
}

/// What is known of the end of an attempt's process, in one line.
pub(crate) fn crash_line(crash: &CrashView) -> String {
    let CrashView { incarnation, alone, beside, neighbours, progress } = crash;
    let company = match (alone, beside) {
        (true, _) => "it ran alone".to_owned(),
        (false, 0) => "others may have run beside it".to_owned(),
        (false, beside) => {
            let some: Vec<String> = neighbours.iter().map(ToString::to_string).collect();
            let more = if neighbours.len() < *beside as usize { " …" } else { "" };
            format!("{beside} beside it: {}{more}", some.join(" "))
        }
    };
    let at = progress.as_ref().map(|progress| format!(", last at {}", steps(progress))).unwrap_or_default();
    format!("process {incarnation} went away, {company}{at}")
}

fn progress(job: &JobView) -> Option<String> {
    job.progress.as_ref().map(steps)
}

fn steps(progress: &ProgressView) -> String {
    let steps = match progress.steps {
        0 => progress.step.to_string(),
        steps => format!("{}/{steps}", progress.step),
    };
    let eta = progress.eta.as_deref().map(|at| format!(", to end at {}", moment(at))).unwrap_or_default();
    format!("{steps} {}{eta}", progress.text.as_deref().unwrap_or_default())
}
